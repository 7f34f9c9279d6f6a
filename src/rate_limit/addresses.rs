//! The buckets of client addresses: a bounded number of them, whoever comes.
//!
//! An IPv6 customer has a /64 at least, so that is one address here. The table is cut into shards with a lock each, so
//! that requests do not meet. A full shard forgets some address for a new one: who comes back from there finds a full
//! bucket, which is what it would have had without the crowd.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock},
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use hashbrown::HashMap;

use super::{Allowance, Policy, RateExceeded};
use crate::limits::{ADDRESS_SHARDS, ADDRESSES_PER_SHARD_MAX};

/// An IPv4 address, or the first half of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(u64);

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            // No network on earth begins with 32 zero bits, so this meets no IPv4 address.
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

/// What client addresses may send.
#[derive(Debug)]
pub struct AddressRates {
    events: Buckets,
    requests: Buckets,
}

impl AddressRates {
    /// Full buckets for all.
    #[must_use]
    pub fn new(events: Allowance, requests: Allowance) -> Self {
        Self { events: Buckets::new(Policy::AddressEvents, events), requests: Buckets::new(Policy::AddressRequests, requests) }
    }

    /// What they hold when they are full.
    #[must_use]
    pub fn allowances(&self) -> [Allowance; 2] {
        [self.events.allowance, self.requests.allowance]
    }

    /// Takes events of one address: all of them, or none.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn take_events(&self, from: Prefix, events: u32) -> Result<(), RateExceeded> {
        self.events.take(from, events)
    }

    /// Takes one request of an address.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn take_request(&self, from: Prefix) -> Result<(), RateExceeded> {
        self.requests.take(from, 1)
    }

    /// Forgets the addresses whose buckets are full again.
    pub fn sweep(&self) {
        self.events.limiter.retain_recent();
        self.requests.limiter.retain_recent();
    }

    /// Addresses that are remembered, counted once for events and once for requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.limiter.len() + self.requests.limiter.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
struct Buckets {
    policy: Policy,
    allowance: Allowance,
    limiter: RateLimiter<Prefix, Shards, DefaultClock>,
    clock: DefaultClock,
}

impl Buckets {
    fn new(policy: Policy, allowance: Allowance) -> Self {
        let clock = DefaultClock::default();
        Self { policy, allowance, limiter: RateLimiter::new(allowance.quota(), Shards::new(), clock.clone()), clock }
    }

    fn take(&self, from: Prefix, units: u32) -> Result<(), RateExceeded> {
        let Some(units) = NonZeroU32::new(units) else { return Ok(()) };
        let exceeded = |retry_after| RateExceeded::new(self.policy, self.allowance, units, retry_after);
        match self.limiter.check_key_n(&from, units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(exceeded(not_until.wait_time_from(self.clock.now()))),
            // Larger than the bucket: see `Bucket::take`.
            Err(_) => Err(exceeded(Duration::from_secs(1))),
        }
    }
}

/// The states of the buckets, as governor keeps them: a time for each.
#[derive(Debug)]
struct Shards {
    shards: Box<[Mutex<HashMap<Prefix, Nanos>>]>,
    seed: RandomState,
}

impl Shards {
    fn new() -> Self {
        Self { shards: (0..ADDRESS_SHARDS).map(|_| Mutex::default()).collect(), seed: RandomState::new() }
    }
}

impl StateStore for Shards {
    type Key = Prefix;

    fn measure_and_replace<T, F, E>(&self, from: &Prefix, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let shard = &self.shards[self.seed.hash_one(from) as usize % ADDRESS_SHARDS];
        let mut states = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get_mut(from) {
            let (result, next) = measure(Some(*state))?;
            *state = next;
            return Ok(result);
        }
        let (result, next) = measure(None)?;
        if states.len() >= ADDRESSES_PER_SHARD_MAX {
            let someone = states.keys().next().copied();
            someone.map(|someone| states.remove(&someone));
        }
        states.insert(*from, next);
        Ok(result)
    }
}

impl ShrinkableKeyedStateStore<Prefix> for Shards {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, state| *state > drop_below);
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::limits::ADDRESS_BYTES_MAX;

    fn rates(requests: Allowance) -> AddressRates {
        AddressRates::new(Allowance { per_second: 1, burst: 10_000 }, requests)
    }

    #[test]
    fn an_address_is_held_to_its_own_bucket_and_a_v6_network_is_one() {
        let rates = rates(Allowance { per_second: 1, burst: 2 });
        let from = |text: &str| Prefix::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_eq!(from("2001:db8:0:7::1"), from("2001:db8:0:7:ffff::2"));
        assert_ne!(from("2001:db8:0:7::1"), from("2001:db8:0:8::1"));
        for _ in 0..2 {
            assert_eq!(rates.take_request(from("192.0.2.1")), Ok(()));
        }
        let exceeded = rates.take_request(from("192.0.2.1")).unwrap_err();
        assert_eq!(exceeded.policy.as_str(), "address-requests");
        assert_eq!(rates.take_request(from("192.0.2.2")), Ok(()));
        assert_eq!(rates.take_events(from("192.0.2.1"), 10_000), Ok(()));
        assert!(rates.take_events(from("192.0.2.1"), 10).is_err());
    }

    #[test]
    fn a_million_addresses_take_no_more_memory_than_is_said() {
        let rates = rates(Allowance { per_second: 1, burst: 10 });
        for number in 0..1_000_000_u32 {
            let scattered = number.wrapping_mul(2_654_435_761);
            let from = Prefix::from(match number % 2 {
                0 => IpAddr::from(Ipv4Addr::from_bits(scattered)),
                _ => IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(scattered) << 64)),
            });
            assert_eq!((rates.take_request(from), rates.take_events(from, 1)), (Ok(()), Ok(())), "newcomers are not refused");
        }
        // The tables are full, and none was ever larger than it is now: they do not shrink.
        let full = 2 * ADDRESS_SHARDS * ADDRESSES_PER_SHARD_MAX;
        assert!((full * 99 / 100..=full).contains(&rates.len()), "{}", rates.len());
        let stores = [rates.events.limiter, rates.requests.limiter].map(RateLimiter::into_state_store);
        let shards = stores.iter().flat_map(|store| &store.shards);
        let bytes: usize = shards.map(|shard| shard.lock().unwrap().allocation_size()).sum();
        assert!((ADDRESS_BYTES_MAX * 3 / 4..=ADDRESS_BYTES_MAX).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn an_address_whose_bucket_is_full_again_is_forgotten() {
        let rates = rates(Allowance { per_second: 1_000_000, burst: 1_000_000 });
        let from = Prefix::from(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(rates.take_request(from), Ok(()));
        assert_eq!(rates.take_events(from, 10_000), Ok(()));
        // A microsecond has long passed; the ten thousand seconds that the events take have not.
        while rates.len() > 1 {
            rates.sweep();
        }
        assert_eq!(rates.events.limiter.len(), 1);
    }
}
