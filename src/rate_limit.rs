//! How much may be sent: token buckets (`governor`'s GCRA) of events and of requests, one pair per key and one per client
//! address.
//!
//! A key's own buckets hold for whoever sends with it. Those of an address hold for what everyone can bring: requests
//! with a key for web pages, and requests with no good key. Services have secrets of their own and send from few
//! addresses, so they are held to their key's limits alone.

mod addresses;
mod bucket;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

pub use addresses::{AddressRates, Prefix};
pub use bucket::{Allowance, Bucket};

/// A bucket has not as much as was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no more {policy} may be sent for {} s", retry_after.as_secs_f64().ceil())]
pub struct RateExceeded {
    /// Name of the policy that says no: see [`Policy`].
    pub policy: Policy,
    /// What the bucket holds when it is full.
    pub allowance: Allowance,
    /// What it holds now.
    pub left: u32,
    /// When the same request would pass.
    pub retry_after: Duration,
}

impl RateExceeded {
    fn new(policy: Policy, allowance: Allowance, units: NonZeroU32, retry_after: Duration) -> Self {
        let missing = retry_after.as_secs_f64() * f64::from(allowance.per_second);
        Self { policy, allowance, left: (f64::from(units.get()) - missing).max(0.0) as u32, retry_after }
    }
}

/// What a bucket limits, as `RateLimit-Policy` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Events of one key.
    KeyEvents,
    /// Requests with one key.
    KeyRequests,
    /// Events from one client address.
    AddressEvents,
    /// Requests from one client address.
    AddressRequests,
}

impl Policy {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyEvents => "events",
            Self::KeyRequests => "requests",
            Self::AddressEvents => "address-events",
            Self::AddressRequests => "address-requests",
        }
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyEvents => "events with this key",
            Self::KeyRequests => "requests with this key",
            Self::AddressEvents => "events from this address",
            Self::AddressRequests => "requests from this address",
        })
    }
}

/// What one key may send.
#[derive(Debug)]
pub struct KeyRate {
    /// Its events.
    pub events: Bucket,
    /// Its requests.
    pub requests: Bucket,
}

impl KeyRate {
    /// Full buckets.
    #[must_use]
    pub fn new(events: Allowance, requests: Allowance) -> Self {
        Self { events: Bucket::new(Policy::KeyEvents, events), requests: Bucket::new(Policy::KeyRequests, requests) }
    }

    /// What they hold when they are full.
    #[must_use]
    pub fn allowances(&self) -> [Allowance; 2] {
        [self.events.allowance(), self.requests.allowance()]
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
    /// Takes `events` from each bucket.
    ///
    /// # Errors
    /// [`RateExceeded`]; the address may have paid already.
    pub fn take_events(&self, events: usize) -> Result<(), RateExceeded> {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        if let Some((rates, prefix)) = &self.address {
            rates.take_events(*prefix, events)?;
        }
        self.key.events.take(events)
    }
}
