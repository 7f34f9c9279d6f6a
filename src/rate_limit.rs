//! Rate limits: token buckets (governor's GCRA) for events, bytes and requests, three per key and three per client address.
//!
//! Bytes are counted after inflating, because the inflated body costs memory, CPU time and disk. A request pays for all its
//! events and bytes at once, before the events are validated. If one bucket has not enough, nothing is taken from any bucket.
//!
//! The buckets of a key hold for all senders with that key. The buckets of an address hold for requests that anyone can send:
//! requests with a browser key, and requests without a valid key. Services have secret keys and send from few addresses, so
//! only the limits of their key apply.

mod addresses;
mod allowance;
mod bucket;
mod policy;

use std::sync::{Arc, atomic::AtomicUsize};

pub use addresses::{AddressRates, Prefix};
pub use allowance::Allowance;
pub use bucket::Bucket;
pub use policy::{Policy, RateExceeded};

/// The rate limits of one key.
#[derive(Debug)]
pub struct KeyRate {
    /// The bucket of events.
    pub events: Bucket,
    /// The bucket of bytes of inflated bodies.
    pub bytes: Bucket,
    /// The bucket of requests.
    pub requests: Bucket,
    /// Bytes that request bodies with this key hold in memory: see `body_budget.rs`.
    pub body_bytes: AtomicUsize,
}

impl KeyRate {
    /// Creates full buckets.
    #[must_use]
    pub fn new(events: Allowance, bytes: Allowance, requests: Allowance) -> Self {
        Self {
            events: Bucket::new(Policy::KeyEvents, events),
            bytes: Bucket::new(Policy::KeyBytes, bytes),
            requests: Bucket::new(Policy::KeyRequests, requests),
            body_bytes: AtomicUsize::new(0),
        }
    }

    /// The allowances of the buckets.
    #[must_use]
    pub fn allowances(&self) -> [Allowance; 3] {
        [self.events.allowance(), self.bytes.allowance(), self.requests.allowance()]
    }

    /// The buckets that are less than half full, with the units left in each.
    pub fn low(&self) -> impl Iterator<Item = (&Bucket, u32)> {
        let now = self.events.now();
        let buckets = [&self.events, &self.bytes, &self.requests].into_iter();
        buckets.filter_map(move |bucket| Some((bucket, bucket.left_where_low(now)?)))
    }

    fn take_work(&self, events: u32, bytes: u32) -> Result<(), RateExceeded> {
        self.events.take(events)?;
        self.bytes.take(bytes).inspect_err(|_| self.events.give_back(events))
    }
}

/// The buckets from which the events of a request are taken.
#[derive(Clone, Debug)]
pub struct Payers {
    /// The buckets of the key.
    pub key: Arc<KeyRate>,
    /// The buckets of the address, if limits apply to it.
    pub address: Option<(Arc<AddressRates>, Prefix)>,
}

impl Payers {
    /// Pays for `events` and `bytes` from every bucket, or from none. The address pays first, so that a client that is refused
    /// for its address takes nothing from the key that it shares with others.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn pay(&self, events: usize, bytes: usize) -> Result<(), RateExceeded> {
        let [events, bytes] = [events, bytes].map(|units| u32::try_from(units).unwrap_or(u32::MAX));
        let Some((rates, from)) = &self.address else { return self.key.take_work(events, bytes) };
        rates.take_work(*from, events, bytes)?;
        self.key.take_work(events, bytes).inspect_err(|_| rates.give_back(*from, events, bytes))
    }

    /// Gives back units that were not used.
    pub fn give_back(&self, events: usize, bytes: usize) {
        if events == 0 && bytes == 0 {
            return;
        }
        let [events, bytes] = [events, bytes].map(|units| u32::try_from(units).unwrap_or(u32::MAX));
        if let Some((rates, from)) = &self.address {
            rates.give_back(*from, events, bytes);
        }
        self.key.events.give_back(events);
        self.key.bytes.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_paid_by_all_its_buckets_or_by_none() {
        let allow = |burst| Allowance { per_second: 1, burst };
        let key = Arc::new(KeyRate::new(allow(100), allow(1_000), allow(9)));
        let rates = Arc::new(AddressRates::new(allow(50), allow(5_000), allow(9)));
        let prefix = |last: u8| Prefix::from(std::net::IpAddr::from([192, 0, 2, last]));
        let from = |last| Payers { key: key.clone(), address: Some((rates.clone(), prefix(last))) };
        let refused = |last, events, bytes| from(last).pay(events, bytes).unwrap_err().policy;
        assert_eq!(refused(1, 51, 1), Policy::AddressEvents);
        assert_eq!(refused(1, 50, 1_001), Policy::KeyBytes);
        assert_eq!(from(1).pay(50, 600), Ok(()), "neither refusal took anything");
        assert_eq!(refused(2, 50, 401), Policy::KeyBytes);
        assert_eq!(from(2).pay(50, 400), Ok(()));
        assert_eq!(refused(3, 1, 0), Policy::KeyEvents);
        from(2).give_back(1, 0);
        assert_eq!((from(3).pay(1, 0), refused(2, 2, 0)), (Ok(()), Policy::AddressEvents));
    }
}
