//! Confirmed time: time counts as passed only if the monotonic clock confirms it (promise P7).
//!
//! The wall clock can jump: because of an empty battery, a manual change, or a resumed virtual machine. Anything that expires
//! by the wall clock then expires at once and is lost. So everything that is forgotten or removed by age uses confirmed time:
//! it starts at the newest time on disk, advances with the monotonic clock while the gateway runs, and stands still while the
//! gateway is stopped. So confirmed time can be late, but never early. The wall clock is for people: `received_datetime`, logs. And
//! for the end of a secret, which is a date that people agree on, and must hold also while the gateway is stopped.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::{CLOCK_JUMP_MIN, CLOCK_STEADY_AFTER};

/// The wall clock in whole Unix seconds, as of the kernel's last tick: some milliseconds late. It costs a few nanoseconds and no
/// system call, so every request can ask.
#[must_use]
pub fn coarse_unix_seconds() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

/// The seconds of the unit of a time such as `12h`: `s`, `m`, `h` or `d`.
#[must_use]
pub fn unit_seconds(unit: &str) -> Option<u32> {
    match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    }
}

/// A clock that cannot be set.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmedClock {
    base_millis: i64,
    base: Instant,
}

impl ConfirmedClock {
    /// A clock that shows `base_millis` (Unix milliseconds) at `base`.
    #[must_use]
    pub fn starting_at(base_millis: i64, base: Instant) -> Self {
        Self { base_millis, base }
    }

    /// The time that the clock shows at `now`, in Unix milliseconds.
    #[must_use]
    pub fn millis_at(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.base).as_millis();
        self.base_millis.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

/// Detects jumps of the wall clock by comparing it with the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct JumpDetector {
    looked: Instant,
    wall_millis: i64,
    jumped: Option<Instant>,
}

impl JumpDetector {
    /// Takes the first sample of both clocks.
    #[must_use]
    pub fn new(wall_millis: i64, now: Instant) -> Self {
        Self { looked: now, wall_millis, jumped: None }
    }

    /// Compares the clocks again. Returns the milliseconds by which the wall clock jumped since the last call, if it did.
    /// Slewing, as time servers do it, is not a jump.
    pub fn look(&mut self, wall_millis: i64, now: Instant) -> Option<i64> {
        let passed = i64::try_from(now.saturating_duration_since(self.looked).as_millis()).unwrap_or(i64::MAX);
        let jump = wall_millis.saturating_sub(self.wall_millis).saturating_sub(passed);
        (self.looked, self.wall_millis) = (now, wall_millis);
        let is_jump = Duration::from_millis(jump.unsigned_abs()) >= CLOCK_JUMP_MIN;
        if is_jump {
            self.jumped = Some(now);
        }
        is_jump.then_some(jump)
    }

    /// Whether the wall clock has not jumped for long enough to be trusted again.
    #[must_use]
    pub fn is_steady(&self, now: Instant) -> bool {
        self.jumped.is_none_or(|jumped| now.saturating_duration_since(jumped) >= CLOCK_STEADY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmed_time_goes_on_from_its_base_and_never_back() {
        let base = Instant::now();
        let clock = ConfirmedClock::starting_at(5_000, base);
        assert_eq!(clock.millis_at(base + Duration::from_millis(70)), 5_070);
        assert_eq!(ConfirmedClock::starting_at(0, base + Duration::from_secs(1)).millis_at(base), 0);
    }

    #[test]
    fn a_jump_either_way_is_noticed_once_and_a_slewed_or_late_look_is_none() {
        let mut now = Instant::now();
        let mut detector = JumpDetector::new(1_000_000, now);
        let mut wall = 1_000_000;
        let mut look = |seconds: u64, wall_millis: i64| {
            now += Duration::from_secs(seconds);
            wall += wall_millis;
            (detector.look(wall, now), detector.is_steady(now))
        };
        assert_eq!(look(1, 1_000), (None, true));
        assert_eq!(look(1, 1_400), (None, true), "slewed");
        assert_eq!(look(90, 90_000), (None, true), "looked late");
        let month = 30 * 86_400_000;
        assert_eq!(look(1, 1_000 + month), (Some(month), false));
        assert_eq!(look(1, 1_000 - month), (Some(-month), false));
        assert_eq!(look(1, 1_000), (None, false));
        assert_eq!(look(CLOCK_STEADY_AFTER.as_secs(), 1_000 * CLOCK_STEADY_AFTER.as_secs() as i64), (None, true));
    }
}
