//! The letters of one request as lines, and the errors of storing them.

use std::sync::Arc;

/// Why letters were not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// The source is at its quota.
    #[error("the dead letters of this source are full")]
    Full,
    /// Too many letters are waiting to be written.
    #[error("too many dead letters are waiting to be written")]
    Busy,
    /// The disk failed.
    #[error("the dead letters cannot be written")]
    Unavailable,
}

/// Letters of one request: whole lines, each with its line end.
#[derive(Debug)]
pub struct Lines {
    /// Source of the letters.
    pub source: Arc<str>,
    /// The lines.
    pub text: Vec<u8>,
    /// Number of letters.
    pub count: usize,
    /// Whether the quota applies. It does not apply to events that were accepted before, because those are never sent again.
    pub within_quota: bool,
}
