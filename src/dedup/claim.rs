//! The answer to one identity of a claimed batch, and why a batch cannot be claimed.

/// The result for one identity of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Unknown until now. The batch's [`Claims`](super::Claims) own it.
    Fresh,
    /// Confirmed before, within the window.
    Duplicate {
        /// The payload certainly differs: both fingerprints are known, and they are not equal.
        differs: bool,
    },
    /// Claimed by another batch that is neither confirmed nor released yet.
    InFlight,
    /// The same identity is at that index, earlier in this batch, and fresh there: both have the same result. The caller
    /// compares the payloads.
    TwinOf(usize),
    /// The identity may be a duplicate, but the page that would tell cannot be read at the moment. The client must retry.
    Unreadable,
}

/// Why a batch could not be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Sealing to disk cannot keep up with the confirmations, or fails: see [`Stats::sealing`](super::Stats::sealing).
    #[error("the dedup window is full until its hot generation is sealed to disk")]
    Full,
}
