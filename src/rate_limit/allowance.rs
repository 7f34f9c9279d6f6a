//! The size of a bucket, and how fast the bucket fills.

use std::num::NonZeroU32;

use governor::Quota;

use crate::limits::{INFLATED_BYTES_MAX, RATE_BYTES_PER_EVENT, RATE_BYTES_PER_SECOND_MIN};

/// The size of a bucket, and how fast the bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Units that are added per second.
    pub per_second: u32,
    /// Units in a full bucket.
    pub burst: u32,
}

impl Allowance {
    /// The allowance of bytes: the configured values, or defaults for this many `events`.
    #[must_use]
    pub fn of_bytes(per_second: Option<u32>, burst: Option<u32>, events: Self) -> Self {
        let of_events = |events: u32| events.saturating_mul(RATE_BYTES_PER_EVENT);
        Self {
            per_second: per_second.unwrap_or(of_events(events.per_second).max(RATE_BYTES_PER_SECOND_MIN)),
            burst: burst.unwrap_or(of_events(events.burst).max(INFLATED_BYTES_MAX as u32)),
        }
    }

    /// The allowance as a `Quota` of governor.
    pub(super) fn quota(self) -> Quota {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(self.per_second)).allow_burst(at_least_one(self.burst))
    }

    /// Nanoseconds until `units` are added. governor drops fractions of a nanosecond per unit, in favour of the sender: up to 2
    /// % at 20 million units per second.
    pub(super) fn nanos(self, units: u32) -> u64 {
        u64::from(units) * (1_000_000_000 / u64::from(self.per_second.max(1))).max(1)
    }

    /// Seconds until an empty bucket is full again, at least one.
    #[must_use]
    pub fn window_seconds(self) -> u32 {
        self.burst.div_ceil(self.per_second.max(1)).max(1)
    }
}
