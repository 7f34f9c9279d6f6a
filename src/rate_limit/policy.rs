//! What a bucket limits, and the refusal if a bucket has not enough left.

use std::time::Duration;

use super::allowance::Allowance;

/// A bucket holds less than was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no more {policy} may be sent for {} s", retry_after.as_secs_f64().ceil())]
pub struct RateExceeded {
    /// The policy that refuses: see [`Policy`].
    pub policy: Policy,
    /// The size of the bucket, and how fast it fills.
    pub allowance: Allowance,
    /// Units in the bucket now.
    pub left: u32,
    /// The time after which the same request would pass.
    pub retry_after: Duration,
}

/// What a bucket limits, as named in `RateLimit-Policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Events of one key.
    KeyEvents,
    /// Bytes of the inflated bodies with one key.
    KeyBytes,
    /// Requests with one key.
    KeyRequests,
    /// Events from one client address.
    AddressEvents,
    /// Bytes of the inflated bodies from one client address.
    AddressBytes,
    /// Requests from one client address.
    AddressRequests,
}

impl Policy {
    /// The name of the policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyEvents => "events",
            Self::KeyBytes => "bytes",
            Self::KeyRequests => "requests",
            Self::AddressEvents => "address-events",
            Self::AddressBytes => "address-bytes",
            Self::AddressRequests => "address-requests",
        }
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyEvents => "events with this key",
            Self::KeyBytes => "bytes (of bodies after decompression) with this key",
            Self::KeyRequests => "requests with this key",
            Self::AddressEvents => "events from this address",
            Self::AddressBytes => "bytes (of bodies after decompression) from this address",
            Self::AddressRequests => "requests from this address",
        })
    }
}
