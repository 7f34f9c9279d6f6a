//! Confirmed time: only differences that the monotonic clock confirms count as the passing of time (promise P7).
//!
//! The wall clock can jump: a battery is dead, somebody sets it, a virtual machine is resumed. What expires by the wall clock
//! then expires at once, and comes back never. So whatever is forgotten or removed by its age counts in confirmed time: it
//! begins where the newest thing on disk says that it was, goes on with the monotonic clock while the gateway runs, and stands
//! still while it does not. It is late, therefore, never early. The wall clock is for people: `received_datetime`, logs.

use std::time::{Duration, Instant};

use crate::limits::{CLOCK_JUMP_MIN, CLOCK_STEADY_AFTER};

/// A clock that nobody can set.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmedClock {
    base_millis: i64,
    base: Instant,
}

impl ConfirmedClock {
    /// At `base` it shows `base_millis`, Unix milliseconds.
    #[must_use]
    pub fn starting_at(base_millis: i64, base: Instant) -> Self {
        Self { base_millis, base }
    }

    /// What it shows at `now`.
    #[must_use]
    pub fn millis_at(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.base).as_millis();
        self.base_millis.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

/// Notices jumps of the wall clock, from looks at both clocks.
#[derive(Clone, Copy, Debug)]
pub struct JumpDetector {
    looked: Instant,
    wall_millis: i64,
    jumped: Option<Instant>,
}

impl JumpDetector {
    /// The first look.
    #[must_use]
    pub fn new(wall_millis: i64, now: Instant) -> Self {
        Self { looked: now, wall_millis, jumped: None }
    }

    /// Looks again: by how many milliseconds the wall clock jumped since the last look, where it did. A clock that is slewed,
    /// as time servers do it, does not jump.
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

    /// Whether it has not jumped for long enough to believe it again.
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
