//! Buckets: governor's GCRA over a state of our own, because what was paid for nothing is given back, which governor's own state
//! cannot do. The whole state of a bucket is a time: when it will be full again.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    nanos::Nanos,
    state::StateStore,
};

use super::{
    allowance::Allowance,
    policy::{Policy, RateExceeded},
};

/// A moment of governor's clock, which is the processor's counter.
pub(super) type Moment = <DefaultClock as Clock>::Instant;

/// Where the times are kept at which buckets are full again, in nanoseconds of their [`Buckets`]; 0 is long ago.
pub(super) trait Times: StateStore + Clone {
    /// That of one bucket.
    fn full_at(&self, key: &Self::Key) -> u64;
    /// Moves it back.
    fn move_back(&self, key: &Self::Key, nanos: u64);
}

/// The buckets of one policy.
#[derive(Debug)]
pub(super) struct Buckets<T: Times<Key: Clone + Eq + Hash>> {
    pub(super) policy: Policy,
    pub(super) allowance: Allowance,
    times: T,
    limiter: RateLimiter<T::Key, T, DefaultClock>,
    /// What `times` count from; the limiter has begun nanoseconds later.
    start: Moment,
}

impl<T: Times<Key: Clone + Eq + Hash>> Buckets<T> {
    /// Buckets as full as `times` say.
    pub(super) fn new(policy: Policy, allowance: Allowance, times: T) -> Self {
        let clock = DefaultClock::default();
        let start = clock.now();
        Self { policy, allowance, times: times.clone(), limiter: RateLimiter::new(allowance.quota(), times, clock), start }
    }

    /// The present moment, which is the same for all buckets.
    pub(super) fn now(&self) -> Moment {
        self.limiter.clock().now()
    }

    /// Takes `units`: all of them, or none.
    pub(super) fn take(&self, key: &T::Key, units: u32) -> Result<(), RateExceeded> {
        let Some(at_least_one) = NonZeroU32::new(units) else { return Ok(()) };
        match self.limiter.check_key_n(key, at_least_one) {
            Ok(Ok(())) => Ok(()),
            // More than there is, or more than it ever holds.
            Ok(Err(_)) | Err(_) => Err(self.exceeded(key, units)),
        }
    }

    /// Puts `units` back that were taken for nothing.
    pub(super) fn give_back(&self, key: &T::Key, units: u32) {
        self.times.move_back(key, self.allowance.nanos(units));
    }

    /// Nanoseconds until the bucket is full.
    pub(super) fn until_full(&self, key: &T::Key, now: Moment) -> u64 {
        self.times.full_at(key).saturating_sub(self.nanos_until(now))
    }

    /// A moment as `times` have it.
    pub(super) fn nanos_until(&self, moment: Moment) -> u64 {
        moment.duration_since(self.start).into()
    }

    fn exceeded(&self, key: &T::Key, units: u32) -> RateExceeded {
        let (policy, allowance) = (self.policy, self.allowance);
        let until_full = self.until_full(key, self.now());
        let missing = (until_full + allowance.nanos(units)).saturating_sub(allowance.nanos(allowance.burst));
        RateExceeded { policy, allowance, left: left(allowance, until_full), retry_after: Duration::from_nanos(missing) }
    }
}

/// What a bucket holds that is full after so many nanoseconds.
fn left(allowance: Allowance, until_full: u64) -> u32 {
    let left = allowance.nanos(allowance.burst).saturating_sub(until_full) / allowance.nanos(1);
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// A bucket that many requests take from at once, without a lock.
#[derive(Debug)]
pub struct Bucket(Buckets<Time>);

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(policy: Policy, allowance: Allowance) -> Self {
        Self(Buckets::new(policy, allowance, Time::default()))
    }

    /// What it limits.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    /// What it holds when it is full.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.0.allowance
    }

    /// What it holds now.
    #[must_use]
    pub fn left(&self) -> u32 {
        left(self.allowance(), self.0.until_full(&(), self.now()))
    }

    /// What it holds, where that is less than half.
    pub(super) fn left_where_low(&self, now: Moment) -> Option<u32> {
        let (until_full, allowance) = (self.0.until_full(&(), now), self.allowance());
        // Half of what it holds, in whole units.
        (until_full > allowance.nanos(allowance.burst - allowance.burst / 2)).then(|| left(allowance, until_full))
    }

    pub(super) fn now(&self) -> Moment {
        self.0.now()
    }

    /// Takes `units`: all of them, or none.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn take(&self, units: u32) -> Result<(), RateExceeded> {
        self.0.take(&(), units)
    }

    /// Puts `units` back that were taken for nothing.
    pub fn give_back(&self, units: u32) {
        self.0.give_back(&(), units);
    }
}

/// The time of one bucket.
#[derive(Clone, Debug, Default)]
struct Time(Arc<AtomicU64>);

impl StateStore for Time {
    type Key = ();

    fn measure_and_replace<T, F, E>(&self, (): &(), measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut full_at = self.0.load(Relaxed);
        loop {
            let (outcome, then) = measure(Some(full_at.into()))?;
            match self.0.compare_exchange_weak(full_at, then.into(), Relaxed, Relaxed) {
                Ok(_) => return Ok(outcome),
                Err(changed) => full_at = changed,
            }
        }
    }
}

impl Times for Time {
    fn full_at(&self, (): &()) -> u64 {
        self.0.load(Relaxed)
    }

    fn move_back(&self, (): &(), nanos: u64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |full_at| Some(full_at.saturating_sub(nanos)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_is_used_up_says_when_to_come_back_and_what_is_left() {
        // Seconds may pass meanwhile, and not ten of them.
        let bucket = Bucket::new(Policy::KeyEvents, Allowance { per_second: 1, burst: 100 });
        assert_eq!((bucket.take(60), bucket.left()), (Ok(()), 40));
        let exceeded = bucket.take(80).unwrap_err();
        // 40 events are missing, at one a second.
        assert!((38..=40).contains(&exceeded.retry_after.as_secs()), "{exceeded:?}");
        assert!((40..=42).contains(&exceeded.left), "{exceeded:?}");
        assert_eq!(bucket.take(40), Ok(()), "a refusal takes nothing");
        assert!(bucket.take(10).is_err());
        bucket.give_back(30);
        assert_eq!((bucket.take(30), bucket.take(10).is_err()), (Ok(()), true));
        bucket.give_back(1_000);
        assert!(bucket.take(101).is_err(), "more than it ever holds");
        assert_eq!(bucket.take(100), Ok(()), "full again");
        assert!(bucket.take(10).is_err(), "and no more than full");
        assert_eq!(Allowance { per_second: 10, burst: 101 }.window_seconds(), 11);
    }

    #[test]
    fn what_was_taken_comes_back_with_time() {
        let bucket = Bucket::new(Policy::KeyEvents, Allowance { per_second: 1_000, burst: 1_000 });
        let started = std::time::Instant::now();
        assert_eq!(bucket.take(1_000), Ok(()));
        while bucket.left() < 20 {
            std::thread::yield_now();
        }
        let passed = started.elapsed();
        assert!(
            (Duration::from_millis(18)..Duration::from_secs(5)).contains(&passed),
            "20 units come back in 20 ms, not {passed:?}"
        );
    }
}
