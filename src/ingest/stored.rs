//! A request that waits until its events are stored, and the results.

use tokio::time::Instant;

use super::{submission::Submission, validate::Verdict};
use crate::outcome::Outcome;

/// A request whose events are stored.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) submission: &'a Submission,
    /// What was judged of its events.
    pub(super) verdicts: &'a [Verdict],
    /// How long it waits for a delivery.
    pub(super) until: Instant,
}

/// The results for the valid events of a body: one entry per event in each list, in order.
pub(super) struct Stored {
    pub(super) outcomes: Vec<Outcome>,
    /// The numbers of the events in the spool; `None` for events that this body did not store.
    pub(super) places: Vec<Option<u64>>,
}
