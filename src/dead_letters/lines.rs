//! The letters of one request as lines.

use std::sync::Arc;

use uuid::Uuid;

use super::known::Claims;

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
    /// Whether the oldest letters of the source may be discarded for these, once the source has been at its quota for long.
    pub may_discard: bool,
    /// The event, if the sink refused it after it was accepted.
    pub refused: Option<Uuid>,
    /// The events of the letters.
    pub claims: Claims,
}
