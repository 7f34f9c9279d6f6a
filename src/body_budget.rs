//! The memory that all requests together may hold, and the part of it that one client may hold. Memory to receive, inflate,
//! validate and answer a body is taken from the budget before it is allocated, so that the budget bounds the process's memory.
//!
//! A client address, or a key, may hold at most as many bytes as are free. So a single client gets half of the budget, and with
//! several clients as much is left for the next client as each of them holds. A fixed share would refuse a service that sends
//! much while no other client does, or would let a few addresses take everything.
//!
//! Everyone can read a browser key, so many addresses together can use up the share of a key. Therefore an address that holds
//! no more than [`BEACON_BYTES_MAX`] is not refused because of its key: a visitor of a web page sends no more.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    limits::{BEACON_BYTES_MAX, BODIES_IN_FLIGHT_BYTES_MAX},
    rate_limit::{KeyRate, Prefix},
    telemetry::Metrics,
};

/// What all request bodies together may hold in memory.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    /// Bytes that no request holds.
    free: AtomicUsize,
    /// The addresses in use by connections, and by requests that came through a proxy.
    addresses: Mutex<HashMap<Prefix, Weak<AddressBodies>>>,
    metrics: Arc<Metrics>,
}

/// The memory that the bodies of one client address hold.
#[derive(Debug)]
pub struct AddressBodies {
    address: Prefix,
    bytes: AtomicUsize,
    budget: Arc<Budget>,
}

/// The memory that one request holds; given back when dropped.
#[derive(Debug)]
pub struct BodyShare {
    budget: Arc<Budget>,
    address: Option<Arc<AddressBodies>>,
    key: Option<Arc<KeyRate>>,
    bytes: usize,
}

/// Why a request gets no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetUsedUp {
    /// All requests together hold the whole budget.
    #[error("the gateway holds as many request bodies as it can")]
    Whole,
    /// One client would hold more than it leaves for all others.
    #[error(
        "bodies of this {} hold {held} bytes; with {more} more they would hold more than the {free} that are left for all \
         others; wait for answers before you send more", owner.as_str()
    )]
    Share {
        /// The owner of the share.
        owner: ShareOwner,
        /// Bytes that the owner holds.
        held: usize,
        /// Bytes that the request asked for.
        more: usize,
        /// Bytes that no request holds.
        free: usize,
    },
}

/// Whose share of the budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOwner {
    /// A client address.
    Address,
    /// A key.
    Key,
}

impl ShareOwner {
    /// The name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
        }
    }
}

impl BodyBudget {
    /// Creates a budget with all bytes free.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self::of(BODIES_IN_FLIGHT_BYTES_MAX, metrics)
    }

    fn of(bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Budget { free: AtomicUsize::new(bytes), addresses: Mutex::default(), metrics }))
    }

    /// The memory that `address` holds. A connection looks it up once.
    #[must_use]
    pub fn address(&self, address: Prefix) -> Arc<AddressBodies> {
        let mut addresses = self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = addresses.get(&address).and_then(Weak::upgrade) {
            return found;
        }
        let new = Arc::new(AddressBodies { address, bytes: AtomicUsize::new(0), budget: self.0.clone() });
        addresses.insert(address, Arc::downgrade(&new));
        new
    }

    /// An empty share for a request from `address` with `key`. If one of them is absent, its limit does not apply.
    #[must_use]
    pub fn share(&self, address: Option<Arc<AddressBodies>>, key: Option<Arc<KeyRate>>) -> BodyShare {
        BodyShare { budget: self.0.clone(), address, key, bytes: 0 }
    }
}

impl Drop for AddressBodies {
    fn drop(&mut self) {
        let mut addresses = self.budget.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        // A new entry may already be there.
        if addresses.get(&self.address).is_some_and(|known| known.strong_count() == 0) {
            addresses.remove(&self.address);
        }
    }
}

impl BodyShare {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`BudgetUsedUp`], and nothing is taken.
    pub fn take(&mut self, bytes: usize) -> Result<(), BudgetUsedUp> {
        let free = self.budget.free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes));
        let free = free.map_err(|_| BudgetUsedUp::Whole)? - bytes;
        self.bytes += bytes;
        self.budget.metrics.bodies_in_flight_bytes.inc_by(bytes as i64);
        let held = |counter: &AtomicUsize| counter.fetch_add(bytes, Relaxed) + bytes;
        let by_address = self.address.as_ref().map(|address| held(&address.bytes));
        let by_key = self.key.as_ref().map(|key| held(&key.body_bytes));
        let is_small = by_address.is_some_and(|held| held <= BEACON_BYTES_MAX);
        let (owner, held) = match (by_address, by_key) {
            (Some(held), _) if held > free => (ShareOwner::Address, held),
            (_, Some(held)) if held > free && !is_small => (ShareOwner::Key, held),
            _ => return Ok(()),
        };
        self.give_back(bytes);
        Err(BudgetUsedUp::Share { owner, held: held - bytes, more: bytes, free })
    }

    /// Takes what is missing to hold `bytes` in total.
    ///
    /// # Errors
    /// [`BudgetUsedUp`], and nothing is taken.
    pub fn hold(&mut self, bytes: usize) -> Result<(), BudgetUsedUp> {
        if bytes > self.bytes { self.take(bytes - self.bytes) } else { Ok(()) }
    }

    /// Bytes that this share holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(key) = &self.key {
            key.body_bytes.fetch_sub(bytes, Relaxed);
        }
        if let Some(address) = &self.address {
            address.bytes.fetch_sub(bytes, Relaxed);
        }
        self.budget.free.fetch_add(bytes, Relaxed);
        self.budget.metrics.bodies_in_flight_bytes.dec_by(bytes as i64);
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::rate_limit::Allowance;

    const KIB: usize = 1024;

    fn key() -> Option<Arc<KeyRate>> {
        let allowance = Allowance { per_second: 1, burst: 1 };
        Some(Arc::new(KeyRate::new(allowance, allowance, allowance)))
    }

    fn prefix(last: u8) -> Prefix {
        IpAddr::from([192, 0, 2, last]).into()
    }

    /// The owner whose share is used up.
    fn refused(result: Result<(), BudgetUsedUp>) -> ShareOwner {
        match result {
            Err(BudgetUsedUp::Share { owner, .. }) => owner,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_gets_as_much_as_it_leaves_to_others_and_there_is_always_some_left() {
        let budget = BodyBudget::of(900 * KIB, Arc::default());
        let mut shares: Vec<BodyShare> = Vec::new();
        for last in 1..=4 {
            // Each address has its own key.
            let mut share = budget.share(Some(budget.address(prefix(last))), key());
            while share.take(KIB).is_ok() {}
            assert_eq!(refused(share.take(KIB)), ShareOwner::Address);
            assert!(share.bytes >= 900 * KIB / (1 << last) - KIB, "{last}: {}", share.bytes);
            shares.push(share);
        }
        let mut newcomer = budget.share(Some(budget.address(prefix(5))), key());
        newcomer.take(20 * KIB).unwrap();
        drop((shares, newcomer));
        assert_eq!(budget.0.free.load(Relaxed), 900 * KIB, "all of it is given back");
        assert!(budget.0.addresses.lock().unwrap().is_empty(), "nothing is remembered of those who left");
    }

    #[test]
    fn a_key_has_its_share_from_however_many_addresses_and_a_page_that_sends_little_is_not_refused_for_it() {
        let budget = BodyBudget::of(2048 * KIB, Arc::default());
        let page = key();
        let from = |last, key: &Option<Arc<KeyRate>>| budget.share(Some(budget.address(prefix(last))), key.clone());
        let mut shares: Vec<BodyShare> = (1..=8).map(|last| from(last, &page)).collect();
        let mut refusals = Vec::new();
        for n in 0..300 {
            let taken = shares[n % 8].take(BEACON_BYTES_MAX + KIB);
            refusals.extend(taken.is_err().then(|| refused(taken)));
        }
        assert!(refusals.contains(&ShareOwner::Key), "{refusals:?}");
        assert!(page.as_ref().unwrap().body_bytes.load(Relaxed) <= 1024 * KIB);
        from(9, &page).take(BEACON_BYTES_MAX).unwrap();
        assert_eq!(refused(from(9, &page).take(BEACON_BYTES_MAX + KIB)), ShareOwner::Key);
        from(9, &key()).take(512 * KIB).unwrap();
    }

    #[test]
    fn who_counts_for_nobody_has_the_whole_budget_and_no_more() {
        let budget = BodyBudget::of(10, Arc::default());
        let mut share = budget.share(None, None);
        share.take(10).unwrap();
        assert_eq!(share.take(1), Err(BudgetUsedUp::Whole));
        assert_eq!((share.hold(10), share.hold(11), share.held()), (Ok(()), Err(BudgetUsedUp::Whole), 10));
    }
}
