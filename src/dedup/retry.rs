//! When the background thread tries a failed task again.

use std::io;
use std::time::{Duration, Instant};

use crate::conditions::{Condition, Conditions};
use crate::fault::{FaultKind, Operation, Tries, fault_kind};
use crate::limits::{DEDUP_TRANSIENT_PATIENCE, DEDUP_WRITE_PATIENCE};

/// Schedules the retries of the task `what`. The condition with this name is raised while the task fails.
pub(super) struct Retry {
    what: &'static str,
    conditions: Conditions,
    tries: Tries,
    try_at: Option<Instant>,
}

impl Retry {
    pub(super) fn new(what: &'static str, conditions: Conditions) -> Self {
        Self { what, conditions, tries: Tries::default(), try_at: None }
    }

    pub(super) fn failed(&mut self, error: &io::Error) {
        self.conditions.raise(Condition::DedupUnwritable, self.what, error.to_string());
        let patience = match fault_kind(error, Operation::Write) {
            FaultKind::Transient => DEDUP_TRANSIENT_PATIENCE,
            _ => DEDUP_WRITE_PATIENCE,
        };
        let now = Instant::now();
        self.try_at = self.tries.failed(&patience, now).map(|pause| now + pause);
    }

    pub(super) fn succeeded(&mut self) {
        if self.tries.are_failing() {
            self.conditions.clear(Condition::DedupUnwritable, self.what);
            self.tries.succeeded();
            self.try_at = None;
        }
    }

    pub(super) fn pause_left(&self, now: Instant) -> Option<Duration> {
        self.try_at?.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}
