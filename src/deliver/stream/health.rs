//! The health of the stream as a whole: whether calls are answered, and the pause after failures.

use std::time::Instant;

use super::invalid_records::Success;
use crate::{
    deliver::shared::backoff,
    limits::{BACKLOG_AFTER, STREAM_BACKOFF, STREAM_FAILURES_REPORTED},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Health {
    /// Failures in a row; calls that were in flight together count once.
    failures: u32,
    failed_at: Option<Instant>,
    failing_since: Option<Instant>,
    paused_until: Instant,
    /// Of all calls that stored something, the call that was made last.
    success: Option<Success>,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, failed_at: None, failing_since: None, paused_until: now, success: None }
    }

    /// Records that a call made at `sent_at` stored something. Returns whether a long outage (a backlog) ends.
    pub(super) fn succeeded(&mut self, sent_at: Instant, now: Instant) -> bool {
        self.failures = 0;
        if self.success.is_none_or(|success| success.sent_at <= sent_at) {
            self.success = Some(Success { sent_at, done_at: now });
        }
        self.failing_since.take().is_some_and(|since| now.duration_since(since) >= BACKLOG_AFTER)
    }

    /// Records that a call made at `sent_at` failed as a whole. Returns whether to report this: at once if a person has to act,
    /// otherwise when failures continue. Calls that were in flight at the last failure are not counted: a short cut of all
    /// calls is one failure.
    pub(super) fn failed(&mut self, needs_somebody: bool, sent_at: Instant, now: Instant) -> bool {
        if self.failed_at.is_none_or(|failed_at| sent_at >= failed_at) {
            self.failures += 1;
            self.failed_at = Some(now);
            self.failing_since.get_or_insert(now);
            self.paused_until = now + backoff(self.failures, STREAM_BACKOFF);
        }
        needs_somebody || self.failures >= STREAM_FAILURES_REPORTED
    }

    /// The earliest time for the next call.
    pub(super) fn ready_at(&self) -> Instant {
        self.paused_until
    }

    /// Limit of the calls in flight: one probe while the stream fails.
    pub(super) fn calls_max(&self, calls_max: usize) -> usize {
        if self.failures > 0 { 1 } else { calls_max }
    }

    /// Whether a call has shown the health of the stream.
    pub(super) fn has_been_tried(&self) -> bool {
        self.failures > 0 || self.success.is_some()
    }

    /// The last call that stored something.
    pub(super) fn success(&self) -> Option<Success> {
        self.success
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_that_were_in_flight_together_fail_once_and_an_outage_is_reported_when_it_goes_on() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut health = Health::new(start);
        assert!((1..20).all(|millis| !health.failed(false, start, at(millis))), "a moment that cut all of them");
        assert_eq!(health.calls_max(8), 1);
        assert!(health.ready_at() <= at(1) + Duration::from_millis(200), "{:?}", health.ready_at() - start);
        assert!(!health.failed(false, at(300), at(310)));
        assert!(health.failed(false, at(900), at(910)), "the third try in a row");
        assert!(!health.succeeded(at(990), at(1_000)), "what waits is still new");
        assert_eq!((health.calls_max(8), health.failed(true, at(2_000), at(2_001))), (8, true), "somebody has to act");
        assert!(health.succeeded(at(2_001), at(2_001) + BACKLOG_AFTER), "what waits is a backlog");
    }
}
