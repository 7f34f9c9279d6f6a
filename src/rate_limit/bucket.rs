//! One bucket.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::{Policy, RateExceeded};

/// What a bucket holds, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Units that come back in a second.
    pub per_second: u32,
    /// Units in a full bucket.
    pub burst: u32,
}

impl Allowance {
    /// The same in governor's words.
    pub(super) fn quota(self) -> Quota {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(self.per_second)).allow_burst(at_least_one(self.burst))
    }

    /// Seconds in which an empty bucket is full again, at least one.
    #[must_use]
    pub fn window_seconds(self) -> u32 {
        self.burst.div_ceil(self.per_second.max(1)).max(1)
    }
}

/// A bucket that many requests take from at once, without a lock.
#[derive(Debug)]
pub struct Bucket {
    policy: Policy,
    allowance: Allowance,
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    /// What was left when it was last asked.
    left: AtomicU32,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(policy: Policy, allowance: Allowance) -> Self {
        let clock = DefaultClock::default();
        let limiter = RateLimiter::new(allowance.quota(), InMemoryState::default(), clock.clone());
        Self { policy, allowance, limiter, clock, left: AtomicU32::new(allowance.burst) }
    }

    /// What it limits.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What it holds when it is full.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// What was left when it was last asked.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes `units`: all of them, or none.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn take(&self, units: u32) -> Result<(), RateExceeded> {
        let Some(units) = NonZeroU32::new(units) else { return Ok(()) };
        let exceeded = |retry_after| RateExceeded::new(self.policy, self.allowance, units, retry_after);
        match self.limiter.check_n(units) {
            Ok(Ok(state)) => {
                self.left.store(state.remaining_burst_capacity(), Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(not_until)) => {
                let exceeded = exceeded(not_until.wait_time_from(self.clock.now()));
                self.left.store(exceeded.left, Ordering::Relaxed);
                Err(exceeded)
            }
            // Larger than the bucket: cannot be, since the burst holds the largest request (checked by the configuration).
            Err(_) => Err(exceeded(Duration::from_secs(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_is_used_up_says_when_to_come_back_and_what_is_left() {
        let bucket = Bucket::new(Policy::KeyEvents, Allowance { per_second: 10, burst: 100 });
        assert_eq!(bucket.take(60), Ok(()));
        assert_eq!(bucket.left(), 40);
        let exceeded = bucket.take(60).unwrap_err();
        // 20 events are missing, at 10 a second.
        let about_two_seconds = Duration::from_millis(1500)..=Duration::from_secs(2);
        assert!(about_two_seconds.contains(&exceeded.retry_after), "{exceeded:?}");
        assert!((40..=45).contains(&bucket.left()) && exceeded.left == bucket.left(), "{exceeded:?}");
        assert_eq!(bucket.take(40), Ok(()), "a refusal takes nothing");
        assert!(bucket.take(101).is_err());
        assert_eq!(Allowance { per_second: 10, burst: 101 }.window_seconds(), 11);
    }
}
