//! The results of storing the valid events of a body.

use crate::{ledger::NameId, outcome::Outcome};

/// The results for the valid events of a body: one entry per event in each list, in order.
pub(super) struct Stored {
    pub(super) outcomes: Vec<Outcome>,
    /// The numbers of the events in the spool; `None` for events that this body did not store.
    pub(super) places: Vec<Option<u64>>,
    /// The numbers of their names in the ledger.
    pub(super) names: Vec<NameId>,
}
