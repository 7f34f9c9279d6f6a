//! The answer to one identity of a claimed batch, and why a batch cannot be claimed.

/// What became of one identity of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Unknown until now. The batch's [`Claims`](super::Claims) own it.
    Fresh,
    /// Confirmed before, within the window.
    Duplicate {
        /// Certainly with another payload: both fingerprints are known, and they differ.
        differs: bool,
    },
    /// Claimed by another batch that is neither confirmed nor released yet.
    InFlight,
    /// The same identity is earlier in this batch, at that index, and fresh there: it shares that one's fate.
    /// Whether their payloads differ, the caller sees for himself.
    TwinOf(usize),
    /// It may be a duplicate, but the place on disk that tells cannot be read at the moment: to be retried.
    Unreadable,
}

/// Why a batch could not be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Sealing to disk cannot keep up with the confirmations, or fails: see [`Stats::sealing`](super::Stats::sealing).
    #[error("the dedup window is full until its hot generation is sealed to disk")]
    Full,
}
