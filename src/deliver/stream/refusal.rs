//! An event that must become a dead letter.

use std::time::Instant;

use crate::{
    fault::Tries,
    spool::{Frame, Reader},
};

/// See the module.
pub(super) struct Refusal {
    pub(super) seq: u64,
    pub(super) reason: String,
    /// The frame, if its bytes are in memory.
    pub(super) frame: Option<Frame>,
    /// The reader, if the bytes are not in memory and could not be read.
    pub(super) reader: Option<Reader>,
    pub(super) tries: Tries,
    pub(super) retry_at: Option<Instant>,
}

impl Refusal {
    /// A refusal without its bytes, which are read when the letter is written.
    pub(super) fn new(seq: u64, reason: &str) -> Self {
        Self { seq, reason: reason.to_owned(), frame: None, reader: None, tries: Tries::default(), retry_at: None }
    }
}
