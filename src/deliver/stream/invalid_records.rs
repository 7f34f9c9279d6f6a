//! Records of calls that the stream rejects as not valid.
//!
//! The stream does not say which record it rejects. A misconfigured stream, or an endpoint that is not Kinesis, rejects every
//! call. So a rejected call is sent again in halves. A single event counts as invalid only if the stream stored other events
//! meanwhile, in a call that was made after the first rejection of this event, and was answered shortly before the event was
//! sent once more. Until then the event is held, and retried with growing pauses. When the stream stores any other call, the
//! event is retried at once.

use std::{collections::VecDeque, time::Instant};

use crate::{
    deliver::shared::backoff,
    limits::{STREAM_BACKOFF, STREAM_PROOF_AGE},
    sink::stream::StreamRecord,
};

/// Since when some records are suspected, and how often they failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    since: Instant,
    pub(super) failures: u32,
}

/// A call that stored something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Success {
    pub(super) sent_at: Instant,
    pub(super) done_at: Instant,
}

impl Suspicion {
    /// The suspicion after a rejection at `now`; `before` is `None` for the first rejection.
    pub(super) fn grown(before: Option<Self>, now: Instant) -> Self {
        let Self { since, failures } = before.unwrap_or(Self { since: now, failures: 0 });
        Self { since, failures: failures + 1 }
    }

    /// Whether the stream stored other records since the first rejection.
    pub(super) fn is_answered_by(&self, success: Option<Success>) -> bool {
        success.is_some_and(|success| success.sent_at >= self.since)
    }

    /// Whether a rejection of a call made at `sent_at` is caused by the records of this call; `before` is the last success of
    /// the stream at that time.
    pub(super) fn is_proven_by(&self, before: Option<Success>, sent_at: Instant) -> bool {
        let is_recent =
            |success: Success| success.done_at <= sent_at && sent_at.duration_since(success.done_at) <= STREAM_PROOF_AGE;
        self.is_answered_by(before) && before.is_some_and(is_recent)
    }
}

/// The records that may be invalid, and when they are retried.
#[derive(Default)]
pub(super) struct SuspectedRecords {
    waiting: VecDeque<Suspect>,
    in_flight: usize,
    bytes: usize,
}

struct Suspect {
    records: Vec<StreamRecord>,
    suspicion: Suspicion,
    retry_at: Instant,
}

fn bytes(records: &[StreamRecord]) -> usize {
    records.iter().flat_map(|record| &record.entries).map(super::shard_queues::weight).sum()
}

impl SuspectedRecords {
    /// Whether there are no suspected records, waiting or in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// Bytes of memory of the waiting records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds records to retry, after a pause if `pauses` is set.
    pub(super) fn put(&mut self, records: Vec<StreamRecord>, suspicion: Suspicion, pauses: bool, now: Instant) {
        let retry_at = if pauses { now + backoff(suspicion.failures, STREAM_BACKOFF) } else { now };
        self.bytes += bytes(&records);
        self.waiting.push_back(Suspect { records, suspicion, retry_at });
    }

    /// Takes records that are due now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Vec<StreamRecord>, Suspicion)> {
        let at = self.waiting.iter().position(|suspect| suspect.retry_at <= now)?;
        let suspect = self.waiting.remove(at)?;
        self.bytes -= bytes(&suspect.records);
        self.in_flight += 1;
        Some((suspect.records, suspect.suspicion))
    }

    /// Records that taken records came back.
    pub(super) fn came_back(&mut self) {
        self.in_flight -= 1;
    }

    /// Makes all records due, because the stream stored something and a retry is now conclusive.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.waiting.iter_mut().for_each(|suspect| suspect.retry_at = suspect.retry_at.min(now));
    }

    /// When the next records are due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|suspect| suspect.retry_at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_success_between_the_first_complaint_and_the_last_call_is_a_proof() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let success = |sent, done| Some(Success { sent_at: at(sent), done_at: at(done) });
        let suspicion = Suspicion::grown(None, at(1_000));
        let suspicion = Suspicion::grown(Some(suspicion), at(1_100));
        assert!(!suspicion.is_proven_by(None, at(1_500)));
        assert!(!suspicion.is_proven_by(success(900, 1_200), at(1_500)), "it was on its way when the stream complained");
        assert!(!suspicion.is_proven_by(success(1_001, 1_600), at(1_500)), "it was on its way when this call was made");
        assert!(suspicion.is_proven_by(success(1_001, 1_400), at(1_500)));
        let late = at(1_400) + STREAM_PROOF_AGE + Duration::from_millis(1);
        assert!(!suspicion.is_proven_by(success(1_001, 1_400), late), "it says nothing of now");
    }
}
