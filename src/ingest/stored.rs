//! What became of the valid events of a body.

use crate::outcome::Outcome;

/// What became of a body's valid events: one of each per event, in order.
pub(super) struct Stored {
    pub(super) outcomes: Vec<Outcome>,
    /// Their numbers in the spool; `None` for what this body did not store.
    pub(super) places: Vec<Option<u64>>,
}
