//! How much one key may send: a token bucket of events (`governor`'s GCRA), one per source.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};

use crate::config::RateLimitConfig;

/// The limiter of all sources. It holds one small state per key name, and key names are configured, so it is bounded.
#[derive(Debug)]
pub struct EventRate {
    limiter: RateLimiter<Arc<str>, DefaultKeyedStateStore<Arc<str>>, DefaultClock>,
    clock: DefaultClock,
}

/// A source has used up what it may send for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this key may send no more events for {} s", retry_after.as_secs_f64().ceil())]
pub struct RateExceeded {
    /// When the same request would pass.
    pub retry_after: Duration,
}

impl EventRate {
    /// A limiter with every bucket full.
    #[must_use]
    pub fn new(config: &RateLimitConfig) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(config.events_per_second)).allow_burst(at_least_one(config.events_burst));
        let clock = DefaultClock::default();
        Self { limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()), clock }
    }

    /// Takes `events` from the bucket of `source`: all of them, or none.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn take(&self, source: &Arc<str>, events: usize) -> Result<(), RateExceeded> {
        let Some(events) = u32::try_from(events).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match self.limiter.check_key_n(source, events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(RateExceeded { retry_after: not_until.wait_time_from(self.clock.now()) }),
            // Larger than the bucket: cannot be, since the burst holds the largest request (checked by the configuration).
            Err(_) => Err(RateExceeded { retry_after: Duration::from_secs(1) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_spent_its_burst_is_told_when_to_come_back_and_others_are_not_touched() {
        let rate = EventRate::new(&RateLimitConfig { events_per_second: 10, events_burst: 100 });
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(rate.take(&a, 60), Ok(()));
        let exceeded = rate.take(&a, 60).unwrap_err();
        // 20 events are missing, at 10 a second.
        assert!(
            exceeded.retry_after > Duration::from_millis(1500) && exceeded.retry_after <= Duration::from_secs(2),
            "{exceeded:?}"
        );
        assert_eq!(rate.take(&a, 40), Ok(()), "a refusal takes nothing");
        assert_eq!(rate.take(&b, 100), Ok(()));
        assert!(rate.take(&b, 101).is_err());
    }
}
