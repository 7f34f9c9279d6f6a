//! An event that is to become a dead letter.

use std::time::Instant;

use crate::{
    fault::Tries,
    spool::{Frame, Reader},
};

/// See the module.
pub(super) struct Refusal {
    pub(super) seq: u64,
    pub(super) reason: String,
    /// Where its bytes are at hand.
    pub(super) frame: Option<Frame>,
    /// Where they are not, and could not be read.
    pub(super) reader: Option<Reader>,
    pub(super) tries: Tries,
    pub(super) retry_at: Option<Instant>,
}

impl Refusal {
    /// Its bytes are read when it is kept.
    pub(super) fn new(seq: u64, reason: &str) -> Self {
        Self { seq, reason: reason.to_owned(), frame: None, reader: None, tries: Tries::default(), retry_at: None }
    }
}
