//! The letters of one request as lines, and why they are not kept.

use std::sync::Arc;

/// Why letters were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// The source is at its quota.
    #[error("the dead letters of this source are full")]
    Full,
    /// Too many are waiting to be written.
    #[error("too many dead letters are waiting to be written")]
    Busy,
    /// The disk refused.
    #[error("the dead letters cannot be written")]
    Unavailable,
}

/// Letters of one request: whole lines, each with its line end.
#[derive(Debug)]
pub struct Lines {
    /// Whose they are.
    pub source: Arc<str>,
    /// The lines.
    pub text: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// Whether the quota counts. It does not for events that were accepted before: those are never sent back.
    pub within_quota: bool,
}
