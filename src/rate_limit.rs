//! How much may be sent: token buckets (governor's GCRA) of events, of bytes and of requests, three per key and three per client address.
//!
//! Bytes are those of the inflated body: what costs memory, processor and disk is what a body becomes. All that a request pays
//! is paid together, before its events are judged; where one bucket has not enough, nothing is taken from any.
//!
//! A key's own buckets hold for whoever sends with it. Those of an address hold for what everyone can bring: requests
//! with a key for web pages, and requests with no good key. Services have secrets of their own and send from few
//! addresses, so they are held to their key's limits alone.

mod addresses;
mod allowance;
mod bucket;
mod policy;

use std::sync::{Arc, atomic::AtomicUsize};

pub use addresses::{AddressRates, Prefix};
pub use allowance::Allowance;
pub use bucket::Bucket;
pub use policy::{Policy, RateExceeded};

/// What one key may send.
#[derive(Debug)]
pub struct KeyRate {
    /// Its events.
    pub events: Bucket,
    /// The bytes of its inflated bodies.
    pub bytes: Bucket,
    /// Its requests.
    pub requests: Bucket,
    /// Bytes that bodies which came with it hold in memory: see `body_budget.rs`.
    pub body_bytes: AtomicUsize,
}

impl KeyRate {
    /// Full buckets.
    #[must_use]
    pub fn new(events: Allowance, bytes: Allowance, requests: Allowance) -> Self {
        Self {
            events: Bucket::new(Policy::KeyEvents, events),
            bytes: Bucket::new(Policy::KeyBytes, bytes),
            requests: Bucket::new(Policy::KeyRequests, requests),
            body_bytes: AtomicUsize::new(0),
        }
    }

    /// What they hold when they are full.
    #[must_use]
    pub fn allowances(&self) -> [Allowance; 3] {
        [self.events.allowance(), self.bytes.allowance(), self.requests.allowance()]
    }

    /// Its buckets of which less than half is left, and how much that is.
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

/// From whose buckets a request's events are taken.
#[derive(Clone, Debug)]
pub struct Payers {
    /// Its key's.
    pub key: Arc<KeyRate>,
    /// Its address's, where that is held to limits.
    pub address: Option<(Arc<AddressRates>, Prefix)>,
}

impl Payers {
    /// Pays for `events` in `bytes`: from each bucket, or from none. The address pays first, so that who is refused for his
    /// address never takes from the key that he shares with others.
    ///
    /// # Errors
    /// [`RateExceeded`], and nothing is taken.
    pub fn pay(&self, events: usize, bytes: usize) -> Result<(), RateExceeded> {
        let [events, bytes] = [events, bytes].map(|units| u32::try_from(units).unwrap_or(u32::MAX));
        let Some((rates, from)) = &self.address else { return self.key.take_work(events, bytes) };
        rates.take_work(*from, events, bytes)?;
        self.key.take_work(events, bytes).inspect_err(|_| rates.give_back(*from, events, bytes))
    }

    /// Gives back what was paid for nothing.
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
