//! The buckets of client addresses, limited in number.
//!
//! An IPv6 customer has at least a /64, so a /64 is one address here. The table has shards with one lock each, so that requests
//! rarely wait for a lock. A full shard forgets an address for each new one. A client at a forgotten address finds full buckets
//! again, so other addresses never cause it to be refused.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use governor::{nanos::Nanos, state::StateStore};
use hashbrown::HashMap;

use super::{
    allowance::Allowance,
    bucket::{Buckets, Times},
    policy::{Policy, RateExceeded},
};
use crate::limits::{ADDRESS_SHARDS, ADDRESSES_PER_SHARD_MAX};

/// An IPv4 address, or the first half of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(u64);

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            // No IPv6 network in use begins with 32 zero bits, so this is never the value of an IPv4 address.
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

/// The rate limits of client addresses.
#[derive(Debug)]
pub struct AddressRates {
    table: Arc<Table>,
    events: Buckets<Column>,
    bytes: Buckets<Column>,
    requests: Buckets<Column>,
}

/// The time at which the buckets of each address are full again.
#[derive(Debug)]
struct Table {
    shards: Box<[Mutex<HashMap<Prefix, Row>>]>,
    seed: RandomState,
}

/// The times at which the buckets of one address are full again.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    events: u64,
    bytes: u64,
    requests: u64,
}

/// The same bucket of all addresses.
#[derive(Clone, Debug)]
struct Column {
    table: Arc<Table>,
    of: fn(&mut Row) -> &mut u64,
}

impl AddressRates {
    /// Creates full buckets for all addresses.
    #[must_use]
    pub fn new(events: Allowance, bytes: Allowance, requests: Allowance) -> Self {
        let shards = (0..ADDRESS_SHARDS).map(|_| Mutex::default()).collect();
        let table = Arc::new(Table { shards, seed: RandomState::new() });
        let buckets = |policy, allowance, of| Buckets::new(policy, allowance, Column { table: table.clone(), of });
        Self {
            events: buckets(Policy::AddressEvents, events, |row| &mut row.events),
            bytes: buckets(Policy::AddressBytes, bytes, |row| &mut row.bytes),
            requests: buckets(Policy::AddressRequests, requests, |row| &mut row.requests),
            table,
        }
    }

    /// The allowances of the buckets.
    #[must_use]
    pub fn allowances(&self) -> [Allowance; 3] {
        [self.events.allowance, self.bytes.allowance, self.requests.allowance]
    }

    /// Takes events and bytes of one address: all of them, or none.
    pub(super) fn take_work(&self, from: Prefix, events: u32, bytes: u32) -> Result<(), RateExceeded> {
        self.events.take(&from, events)?;
        self.bytes.take(&from, bytes).inspect_err(|_| self.events.give_back(&from, events))
    }

    /// Gives back events and bytes of one address that were not used.
    pub(super) fn give_back(&self, from: Prefix, events: u32, bytes: u32) {
        self.events.give_back(&from, events);
        self.bytes.give_back(&from, bytes);
    }

    /// Takes one request of an address.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn take_request(&self, from: Prefix) -> Result<(), RateExceeded> {
        self.requests.take(&from, 1)
    }

    /// Removes the addresses whose buckets are full again.
    pub fn sweep(&self) {
        // The clocks of the three buckets started at nearly the same time.
        let now = self.requests.nanos_until(self.requests.now());
        for shard in &self.table.shards {
            let is_used = |row: &Row| row.events.max(row.bytes).max(row.requests) > now;
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, row| is_used(row));
        }
    }

    /// The number of addresses in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn shard(&self, from: Prefix) -> MutexGuard<'_, HashMap<Prefix, Row>> {
        let shard = &self.shards[self.seed.hash_one(from) as usize % ADDRESS_SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Column {
    type Key = Prefix;

    fn measure_and_replace<T, F, E>(&self, from: &Prefix, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.table.shard(*from);
        if let Some(row) = shard.get_mut(from) {
            let full_at = (self.of)(row);
            let (outcome, then) = measure(Some((*full_at).into()))?;
            *full_at = then.into();
            return Ok(outcome);
        }
        let (outcome, then) = measure(None)?;
        if shard.len() >= ADDRESSES_PER_SHARD_MAX {
            let someone = shard.keys().next().copied();
            someone.map(|someone| shard.remove(&someone));
        }
        let mut row = Row::default();
        *(self.of)(&mut row) = then.into();
        shard.insert(*from, row);
        Ok(outcome)
    }
}

impl Times for Column {
    fn full_at(&self, from: &Prefix) -> u64 {
        self.table.shard(*from).get_mut(from).map_or(0, |row| *(self.of)(row))
    }

    fn move_back(&self, from: &Prefix, nanos: u64) {
        if let Some(row) = self.table.shard(*from).get_mut(from) {
            let full_at = (self.of)(row);
            *full_at = full_at.saturating_sub(nanos);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::limits::ADDRESS_BYTES_MAX;

    const WIDE: Allowance = Allowance { per_second: 1, burst: 10_000 };

    fn rates(requests: Allowance) -> AddressRates {
        AddressRates::new(WIDE, WIDE, requests)
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
    }

    #[test]
    fn events_and_bytes_are_taken_together_or_not_at_all() {
        let (rates, from) = (rates(WIDE), Prefix(7));
        let refused = |events, bytes| rates.take_work(from, events, bytes).unwrap_err().policy;
        assert_eq!(rates.take_work(from, 9_000, 100), Ok(()));
        // Seconds may pass between the calls, and as many units come back.
        assert_eq!(refused(1_100, 100), Policy::AddressEvents);
        assert_eq!(refused(100, 10_000), Policy::AddressBytes);
        assert_eq!(rates.take_work(from, 1_000, 9_900), Ok(()), "the refusals took nothing");
        rates.give_back(from, 300, 400);
        assert_eq!((refused(400, 100), refused(100, 500)), (Policy::AddressEvents, Policy::AddressBytes));
        assert_eq!(rates.take_work(from, 300, 400), Ok(()));
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
            assert_eq!(rates.take_request(from), Ok(()), "newcomers are not refused");
        }
        // The tables are full, and were never larger than now, because they do not shrink.
        let full = ADDRESS_SHARDS * ADDRESSES_PER_SHARD_MAX;
        assert!((full * 99 / 100..=full).contains(&rates.len()), "{}", rates.len());
        let bytes: usize = rates.table.shards.iter().map(|shard| shard.lock().unwrap().allocation_size()).sum();
        assert!((ADDRESS_BYTES_MAX * 3 / 4..=ADDRESS_BYTES_MAX).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn an_address_whose_buckets_are_full_again_is_forgotten() {
        let fast = Allowance { per_second: 1_000_000, burst: 1_000_000 };
        let rates = AddressRates::new(WIDE, fast, fast);
        let [soon, later] = [1, 2].map(|last| Prefix::from(IpAddr::from([192, 0, 2, last])));
        assert_eq!(rates.take_request(soon), Ok(()));
        assert_eq!(rates.take_work(later, 10_000, 1), Ok(()));
        // A microsecond has passed; the ten thousand seconds for the events have not.
        while rates.len() > 1 {
            rates.sweep();
        }
        assert!(rates.table.shard(later).contains_key(&later));
    }
}
