//! How many operator requests are answered at one time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, ProblemCode};
use crate::limits::{OPERATOR_RETRY_AFTER, QUESTIONS_MAX, SCRAPES_MAX};

/// Limits how many operator requests are answered at one time, because an answer costs time and memory that events need. A
/// request beyond the limit is told to retry.
#[derive(Debug)]
pub struct Turns {
    looks: Arc<Semaphore>,
    repairs: Arc<Semaphore>,
    erasures: Arc<Semaphore>,
    scrapes: Arc<Semaphore>,
    questions: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self { looks: of(1), repairs: of(1), erasures: of(1), scrapes: of(SCRAPES_MAX), questions: of(QUESTIONS_MAX) }
    }
}

/// A turn; released when dropped.
pub(super) type Turn = OwnedSemaphorePermit;

impl Turns {
    /// The turn to read dead letters: one at a time, because each reader reads all of them.
    pub(super) fn look(&self) -> Result<Turn, Problem> {
        take(&self.looks, "another request reads the dead letters")
    }

    /// The turn to read the metrics.
    pub(super) fn scrape(&self) -> Result<Turn, Problem> {
        take(&self.scrapes, "too many scrapes at one time")
    }

    /// The turn to replay or drop dead letters: one at a time. Requests without a turn hold no body in memory.
    pub(super) fn repair(&self) -> Result<Turn, Problem> {
        take(&self.repairs, "another replay or drop of dead letters goes on")
    }

    /// The turn to ask for an event, or for the ledger.
    pub(super) fn question(&self) -> Result<Turn, Problem> {
        take(&self.questions, "too many questions at one time")
    }

    /// The turn to erase: one at a time, because each reads everything.
    pub(super) fn erasure(&self) -> Result<Turn, Problem> {
        take(&self.erasures, "another erasure goes on")
    }
}

fn take(turns: &Arc<Semaphore>, detail: &str) -> Result<Turn, Problem> {
    let busy = || Problem::new(ProblemCode::Busy, detail).retry_after(OPERATOR_RETRY_AFTER);
    turns.clone().try_acquire_owned().map_err(|_| busy())
}
