//! How many operators are answered at one time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, ProblemCode};
use crate::limits::{OPERATOR_RETRY_AFTER, SCRAPES_MAX};

/// Limits how many operators are answered at one time, because an answer costs time and memory that events need. One too many
/// is told to come back.
#[derive(Debug)]
pub struct Turns {
    looks: Arc<Semaphore>,
    repairs: Arc<Semaphore>,
    scrapes: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self { looks: of(1), repairs: of(1), scrapes: of(SCRAPES_MAX) }
    }
}

/// A turn, until it is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

impl Turns {
    /// The turn to read dead letters: one at a time, since each reads all of them.
    pub(super) fn look(&self) -> Result<Turn, Problem> {
        take(&self.looks, "another request reads the dead letters")
    }

    /// The turn to read the metrics.
    pub(super) fn scrape(&self) -> Result<Turn, Problem> {
        take(&self.scrapes, "too many scrapes at one time")
    }

    /// The turn to replay or to drop dead letters: one at a time, and those that wait hold no body meanwhile.
    pub(super) fn repair(&self) -> Result<Turn, Problem> {
        take(&self.repairs, "another replay or drop of dead letters goes on")
    }
}

fn take(turns: &Arc<Semaphore>, detail: &str) -> Result<Turn, Problem> {
    let busy = || Problem::new(ProblemCode::Busy, detail).retry_after(OPERATOR_RETRY_AFTER);
    turns.clone().try_acquire_owned().map_err(|_| busy())
}
