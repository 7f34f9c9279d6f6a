//! Buckets: governor's GCRA with its own state, because unused units are given back, which governor's state cannot do. The
//! whole state of a bucket is the time at which it will be full again.

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

/// A time of governor's clock, which is the processor's counter.
pub(super) type Moment = <DefaultClock as Clock>::Instant;

/// Stores the times at which buckets are full again, in nanoseconds of their [`Buckets`]; 0 is a full bucket.
pub(super) trait Times: StateStore + Clone {
    /// The time of one bucket.
    fn full_at(&self, key: &Self::Key) -> u64;
    /// Moves the time of one bucket back.
    fn move_back(&self, key: &Self::Key, nanos: u64);
}

/// The buckets of one policy.
#[derive(Debug)]
pub(super) struct Buckets<T: Times<Key: Clone + Eq + Hash>> {
    pub(super) policy: Policy,
    pub(super) allowance: Allowance,
    times: T,
    limiter: RateLimiter<T::Key, T, DefaultClock>,
    /// The zero of `times`. The limiter's zero is some nanoseconds later.
    start: Moment,
}

impl<T: Times<Key: Clone + Eq + Hash>> Buckets<T> {
    /// Creates buckets with the state in `times`.
    pub(super) fn new(policy: Policy, allowance: Allowance, times: T) -> Self {
        let clock = DefaultClock::default();
        let start = clock.now();
        Self { policy, allowance, times: times.clone(), limiter: RateLimiter::new(allowance.quota(), times, clock), start }
    }

    /// The current time, which is the same for all buckets.
    pub(super) fn now(&self) -> Moment {
        self.limiter.clock().now()
    }

    /// Takes `units`: all of them, or none.
    pub(super) fn take(&self, key: &T::Key, units: u32) -> Result<(), RateExceeded> {
        let Some(at_least_one) = NonZeroU32::new(units) else { return Ok(()) };
        match self.limiter.check_key_n(key, at_least_one) {
            Ok(Ok(())) => Ok(()),
            // More than the bucket holds now, or more than it can hold.
            Ok(Err(_)) | Err(_) => Err(self.exceeded(key, units)),
        }
    }

    /// Gives back `units` that were not used.
    pub(super) fn give_back(&self, key: &T::Key, units: u32) {
        self.times.move_back(key, self.allowance.nanos(units));
    }

    /// Nanoseconds until the bucket is full.
    pub(super) fn until_full(&self, key: &T::Key, now: Moment) -> u64 {
        self.times.full_at(key).saturating_sub(self.nanos_until(now))
    }

    /// `moment` in the nanoseconds of `times`.
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

/// The units in a bucket that is full after `until_full` nanoseconds.
fn left(allowance: Allowance, until_full: u64) -> u32 {
    let left = allowance.nanos(allowance.burst).saturating_sub(until_full) / allowance.nanos(1);
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// A bucket for concurrent requests, without a lock.
#[derive(Debug)]
pub struct Bucket(Buckets<Time>);

impl Bucket {
    /// Creates a full bucket.
    #[must_use]
    pub fn new(policy: Policy, allowance: Allowance) -> Self {
        Self(Buckets::new(policy, allowance, Time::default()))
    }

    /// The policy that the bucket enforces.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    /// The size of the bucket, and how fast it fills.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.0.allowance
    }

    /// Units in the bucket now.
    #[must_use]
    pub fn left(&self) -> u32 {
        left(self.allowance(), self.0.until_full(&(), self.now()))
    }

    /// Units in the bucket, if it is less than half full.
    pub(super) fn left_where_low(&self, now: Moment) -> Option<u32> {
        let (until_full, allowance) = (self.0.until_full(&(), now), self.allowance());
        // Half of the burst, in whole units.
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

    /// Gives back `units` that were not used.
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
        // Seconds may pass between the calls, but not ten.
        let bucket = Bucket::new(Policy::KeyEvents, Allowance { per_second: 1, burst: 100 });
        assert_eq!((bucket.take(60), bucket.left()), (Ok(()), 40));
        let exceeded = bucket.take(80).unwrap_err();
        // 40 events are missing, at one per second.
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
