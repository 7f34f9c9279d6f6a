//! Common parts of both delivery modes: the dead letters, the state of the sink, and the end of a segment.

use std::{
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    journal::{Journal, Journaled},
    sink_names::SinkNames,
};
use crate::{
    conditions::Conditions,
    dead_letters::{Claims, DeadLetters, Letter, Lines, write_letter, write_letter_of_sink},
    dedup::{Scopes, Window},
    event::{Record, iso_millis, unix_millis},
    fault::Tries,
    limits::{CROWDED_ROLL_AFTER, DELIVERY_DISK_PATIENCE, IDLE_ROLL_AFTER},
    outcome::{RejectCode, Rejection},
    progress::{Ending, Settlement, SinkProgress},
    spool::{Frame, SinkCursor, Spool},
    telemetry::{DeliveryMetrics, DeliverySpan, Traces},
};

/// The state of the sink, for `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkState {
    /// Its name.
    pub name: Arc<str>,
    /// The error of the last delivery, if it failed.
    pub failing: Option<String>,
    /// When the oldest waiting record was received, in Unix milliseconds.
    pub oldest_received_millis: Option<i64>,
}

/// The context of a deliverer, for every sink.
#[derive(Clone)]
pub struct Shared {
    /// Where the records come from.
    pub spool: Arc<Spool>,
    /// The position of this sink in the spool.
    pub cursor: SinkCursor,
    /// The name under which faults of this sink are raised; empty if it is the only one.
    pub place: Arc<str>,
    /// The name of this sink among those of all sinks.
    pub sinks: SinkNames,
    /// Must have an identity on disk before its segment is unlinked. `None` if the spool holds no events with identities.
    pub window: Option<Window>,
    /// Takes the records that the sink refuses.
    pub dead_letters: Arc<DeadLetters>,
    /// Receives the delivery progress.
    pub progress: Arc<SinkProgress>,
    /// Quota of the spool in bytes.
    pub quota_bytes: u64,
    /// Metrics of the delivery.
    pub metrics: DeliveryMetrics,
    /// The state of the sink.
    pub state: watch::Sender<SinkState>,
    /// Receives a trace of each delivery.
    pub traces: Traces,
    /// Where faults are raised.
    pub conditions: Conditions,
    /// The scope in which an event's identity is unique.
    pub scopes: Scopes,
}

/// One batch given to the sink, or one call to the stream.
pub(super) struct DeliveryAttempt<'a> {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) took: Duration,
    /// The error, if not all records were taken.
    pub(super) failing: Option<&'a str>,
}

impl Shared {
    /// Records the result of a batch or a call.
    pub(super) fn note(&self, given: &DeliveryAttempt<'_>) {
        let DeliveryAttempt { events, bytes, took, failing } = *given;
        self.metrics.seconds.observe(took.as_secs_f64());
        self.metrics.batch_events.observe(events as f64);
        self.metrics.batch_bytes.observe(bytes as f64);
        self.traces.delivery(&DeliverySpan { sink: &self.state.borrow().name, events, bytes, failing, took });
    }

    /// How long everything must have been delivered before the active segment is closed.
    pub(super) fn roll_after(&self) -> Duration {
        let is_crowded = self.spool.stats().bytes >= self.quota_bytes / 2;
        if is_crowded { CROWDED_ROLL_AFTER } else { IDLE_ROLL_AFTER }
    }

    /// Logs when the sink begins to fail and when it recovers; not in between.
    pub(super) fn report(&self, failing: Option<&str>, owed: usize) {
        self.metrics.sink_up.set(i64::from(failing.is_none()));
        self.state.send_if_modified(|state| {
            match (&state.failing, failing) {
                (None, Some(error)) => {
                    tracing::error!(sink = &*state.name, error, owed, "the sink fails; trying until it is back");
                }
                (Some(_), None) => tracing::info!(sink = &*state.name, "the sink is back"),
                _ => {}
            }
            let changed = state.failing.is_some() != failing.is_some();
            state.failing = failing.map(str::to_owned);
            changed
        });
    }

    /// Opens the journal in the file `path`. [`Shared::progress`] takes over what the journal knows to be settled.
    pub(super) fn open_journal(&self, path: PathBuf) -> (Journal, Journaled) {
        let (cursor, end) = (self.cursor.get().delivered_exclusive, self.spool.durable_end());
        let (journal, known) = Journal::open(path, self.spool.id(), cursor, end, self.conditions.clone());
        self.progress.settle(self.progress.settled_exclusive()..known.settled.prefix());
        self.progress.settle(known.settled.ranges_ahead().flatten());
        let settled_beyond = known.settled.prefix() - cursor + known.settled.ahead();
        if settled_beyond > 0 {
            tracing::info!(settled_beyond, "events beyond the cursor are delivered already, as the journal says");
        }
        (journal, known)
    }

    /// Settles the numbers of `lost` (their frames decayed), and counts those that were not settled yet.
    pub(super) fn note_lost(&self, lost: &[Range<u64>]) -> Vec<u64> {
        let lost: Vec<u64> = lost.iter().flat_map(|lost| self.progress.unsettled_in(lost.clone())).collect();
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            tracing::error!(from = first, to = last, count = lost.len(), "events are lost to a damaged disk; see quarantine/");
            self.metrics.lost_events.inc_by(lost.len() as u64);
            self.progress.settle_as(&lost, None, &Ending::Lost);
        }
        lost
    }

    /// Settles an event that is for another sink only.
    pub(super) fn skip(&self, seqs: &[u64]) {
        self.metrics.skipped_events.inc_by(seqs.len() as u64);
        self.progress.leave_out(Settlement::Skipped, seqs.iter().copied());
    }

    /// Settles erased events, which the sink does not get.
    pub(super) fn leave_out_erased(&self, seqs: &[u64]) {
        self.metrics.erased_events.inc_by(seqs.len() as u64);
        self.progress.leave_out(Settlement::Erased, seqs.iter().copied());
    }

    /// Before a journal says that events are settled: makes durable how those ended that the sink does not have.
    pub(super) fn make_endings_durable(&self) {
        if self.progress.has_volatile_endings() {
            tokio::task::block_in_place(|| self.progress.make_endings_durable());
        }
    }

    /// Stores an accepted event that the sink will never take as a dead letter, and settles it. If it returns `false`, retry.
    pub(super) async fn keep_refused(&self, seq: u64, record: &Record, reason: &str) -> bool {
        let envelope = record.envelope();
        // An event that is refused again needs a letter that differs from the replayed one.
        let again =
            envelope.replayed.then(|| format!("{reason} (again at {})", iso_millis(unix_millis(SystemTime::now())).as_str()));
        let rejection = Rejection::new(RejectCode::RefusedBySink, again.as_deref().unwrap_or(reason), "");
        let event_uuid = envelope.event_uuid.to_string();
        let letter = Letter {
            source: envelope.source,
            received_millis: envelope.received_millis,
            event_uuid: Some(&event_uuid),
            event_name: Some(envelope.event_name.as_str()),
            rejection: &rejection,
            raw: record.payload(),
        };
        let mut text = Vec::new();
        write_letter_of_sink(&letter, self.sinks.only(), &mut text);
        let identity = record.identity(&self.scopes.secret());
        self.keep(seq, Some(identity), reason, envelope.source.into(), text, false).await
    }

    /// Stores a dead letter that its stream will never take in a file.
    pub(super) async fn keep_line(&self, frame: &Frame, reason: &str) -> bool {
        self.keep(frame.seq, None, reason, "refused".into(), frame.body.to_vec(), true).await
    }

    /// Stores a frame that is whole but holds no record of this version.
    pub(super) async fn keep_unreadable(&self, frame: &Frame, reason: &str) -> bool {
        tracing::error!(seq = frame.seq, reason, "a spooled record cannot be read; it goes to the dead letters");
        let rejection = Rejection::new(RejectCode::InternalError, reason, "");
        let source = "unreadable";
        let received_millis = unix_millis(SystemTime::now());
        let letter =
            Letter { source, received_millis, event_uuid: None, event_name: None, rejection: &rejection, raw: &frame.body };
        let mut text = Vec::new();
        write_letter(&letter, &mut text);
        self.keep(frame.seq, None, reason, source.into(), text, false).await
    }

    async fn keep(&self, seq: u64, identity: Option<Uuid>, reason: &str, source: Arc<str>, text: Vec<u8>, in_file: bool) -> bool {
        let lines = || Lines {
            source: source.clone(),
            text: text.clone(),
            count: 1,
            within_quota: false,
            may_discard: false,
            refused: identity,
            claims: Claims::default(),
        };
        // If the stream of the dead letters is full, a file takes them.
        let is_kept = (!in_file && matches!(self.dead_letters.append(lines()).await, Ok(Ok(()))))
            || matches!(self.dead_letters.append_to_file(lines()).await, Ok(Ok(())));
        if is_kept {
            self.metrics.refused_events.inc();
            self.progress.settle_as(&[seq], identity, &Ending::Refused(reason.into()));
        }
        is_kept
    }

    /// Unlinks delivered segments, once their identities are on disk in the dedup window.
    pub(super) async fn retire(&self, is_idle: bool) {
        if is_idle {
            self.spool.roll_if_delivered();
        }
        let delivered = self.spool.cursor().delivered_exclusive;
        // An event can be delivered before the thread that stored it has confirmed its identity.
        let is_confirmed = self.window.is_none() || self.progress.confirmed_exclusive() >= delivered;
        if !self.spool.has_delivered_segments() || !is_confirmed {
            return;
        }
        let retired = tokio::task::block_in_place(|| {
            if let Some(window) = &self.window {
                window.checkpoint(delivered).map_err(|error| error.to_string())?;
            }
            self.progress.before_unlink(delivered);
            self.spool.unlink_delivered().map_err(|error| error.to_string())
        });
        if let Err(error) = retired {
            // Not lost, only kept longer: the next batch retries.
            tracing::warn!(error, "delivered segments cannot be unlinked yet");
        }
    }

    /// The name of `part` of this sink, under which its faults are raised.
    pub(super) fn place_of(&self, part: &str) -> String {
        if self.place.is_empty() { part.to_owned() } else { format!("{}/{part}", self.place) }
    }
}

/// Moves the cursor. If the disk refuses, the spool reports that and delivery continues: the cursor only says where a restart
/// begins, and the journal knows what is settled beyond it.
#[derive(Debug, Default)]
pub(super) struct CursorMover {
    tries: Tries,
    retry_at: Option<Instant>,
}

impl CursorMover {
    /// When the move is retried, if it failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Moves the cursor to `seq`, unless it is too soon after a failure. Returns whether the cursor is there.
    pub(super) fn move_to(&mut self, shared: &Shared, seq: u64, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        let commit = || {
            shared.progress.make_endings_durable();
            shared.cursor.commit(seq)
        };
        match tokio::task::block_in_place(commit) {
            Ok(()) => {
                *self = Self::default();
                true
            }
            Err(_) => {
                self.retry_at =
                    Some(now + self.tries.failed(&DELIVERY_DISK_PATIENCE, now).unwrap_or(DELIVERY_DISK_PATIENCE.longest));
                false
            }
        }
    }
}

/// Full jitter: a random pause between zero and a bound that doubles with each failure.
pub(super) fn backoff(failures: u32, (first, longest): (Duration, Duration)) -> Duration {
    let bound = first.saturating_mul(1 << failures.min(16)).min(longest);
    bound.mul_f64(fastrand::f64())
}

/// When a record was received; `None` for a replayed record, which has not waited since then, and for a frame without a record.
pub(super) fn received_millis(frame: &Frame) -> Option<i64> {
    let record = Record::decode(frame.body.clone()).ok()?;
    let envelope = record.envelope();
    (!envelope.replayed).then_some(envelope.received_millis)
}
