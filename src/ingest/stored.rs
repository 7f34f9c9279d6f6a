//! A request that waits until its events are stored, and the results.

use tokio::time::Instant;

use super::{submission::Submission, validate::Verdict};
use crate::outcome::{Outcome, PerEvent};

/// A request whose events are stored.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) submission: &'a Submission,
    /// What was judged of its events.
    pub(super) verdicts: &'a [Verdict],
    /// When they were judged: this moment, as far as times of the dedup window and of metrics go.
    pub(super) validated_at: std::time::Instant,
    /// How long it waits for a delivery.
    pub(super) until: Instant,
}

/// The results for the valid events of a body: one entry per event in each list, in order.
pub(super) struct Stored {
    pub(super) outcomes: PerEvent<Outcome>,
    /// The numbers of the events in the spool; `None` for events that this body did not store.
    pub(super) places: PerEvent<Option<u64>>,
}
