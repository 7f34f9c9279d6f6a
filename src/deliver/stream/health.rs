//! How the stream as a whole does: whether calls are answered, and how long to wait where they are not.

use std::time::Instant;

use crate::{
    deliver::shared::backoff,
    limits::{DELIVERY_BACKOFF, STREAM_FAILURES_REPORTED},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Health {
    failures: u32,
    paused_until: Instant,
    /// How many calls stored something.
    successes: u64,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, paused_until: now, successes: 0 }
    }

    /// A call stored something.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.successes += 1;
    }

    /// A call failed as a whole. Whether that is to be reported: at once where somebody has to act, else when it goes on.
    pub(super) fn failed(&mut self, needs_somebody: bool, now: Instant) -> bool {
        self.failures += 1;
        self.paused_until = now + backoff(self.failures, DELIVERY_BACKOFF);
        needs_somebody || self.failures >= STREAM_FAILURES_REPORTED
    }

    /// From when on a call may be made.
    pub(super) fn ready_at(&self) -> Instant {
        self.paused_until
    }

    /// Calls that may be in flight: one to try with while the stream fails.
    pub(super) fn calls_max(&self, calls_max: usize) -> usize {
        if self.failures > 0 { 1 } else { calls_max }
    }

    /// Whether a call showed how the stream does.
    pub(super) fn has_been_tried(&self) -> bool {
        self.failures > 0 || self.successes > 0
    }

    /// How many calls stored something since the start.
    pub(super) fn successes(&self) -> u64 {
        self.successes
    }
}
