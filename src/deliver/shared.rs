//! What both ways of delivering need: the dead letters, the state of the sink, and the end of a segment.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{oneshot, watch};

use crate::{
    dead_letter::{DeadLetterError, DeadLetters, Letter, Lines, write_letter},
    dedup::Window,
    event::{Record, unix_millis},
    limits::{CROWDED_ROLL_AFTER, DELIVERY_BACKOFF, IDLE_ROLL_AFTER},
    outcome::{RejectCode, Rejection},
    progress::Progress,
    spool::{Frame, Spool},
    telemetry::{DeliveryMetrics, DeliverySpan, Traces},
};

/// How the sink does, for `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkState {
    /// Its name.
    pub name: &'static str,
    /// Why the last delivery failed, if it did.
    pub failing: Option<String>,
    /// When the oldest record that waits was received, Unix milliseconds.
    pub oldest_received_millis: Option<i64>,
}

/// What a deliverer works with, whatever its sink.
pub struct Shared {
    /// Where the records come from.
    pub spool: Arc<Spool>,
    /// Must have an identity on disk before its segment goes. `None` where the spool holds no events with identities.
    pub window: Option<Window>,
    /// Where the records go that the sink refuses.
    pub dead_letters: Arc<DeadLetters>,
    /// Whom to tell how far it has come.
    pub progress: Arc<Progress>,
    /// Bytes that the spool may have.
    pub quota_bytes: u64,
    /// What is counted.
    pub metrics: DeliveryMetrics,
    /// How the sink does.
    pub state: watch::Sender<SinkState>,
    /// Who is told of each delivery.
    pub traces: Traces,
}

/// One batch that was given to the sink, or one call to the stream.
pub(super) struct Given<'a> {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) took: Duration,
    /// Why not all of it was taken, where it was not.
    pub(super) failing: Option<&'a str>,
}

impl Shared {
    /// Notes what a batch or a call took, once its answer is there.
    pub(super) fn note(&self, given: &Given<'_>) {
        let Given { events, bytes, took, failing } = *given;
        self.metrics.seconds.observe(took.as_secs_f64());
        self.metrics.batch_events.observe(events as f64);
        self.metrics.batch_bytes.observe(bytes as f64);
        self.traces.delivery(&DeliverySpan { sink: self.state.borrow().name, events, bytes, failing, took });
    }

    /// For how long everything must have been delivered before the segment that it lies in is closed.
    pub(super) fn roll_after(&self) -> Duration {
        let is_crowded = self.spool.stats().bytes >= self.quota_bytes / 2;
        if is_crowded { CROWDED_ROLL_AFTER } else { IDLE_ROLL_AFTER }
    }

    /// Logs when the sink begins to fail and when it is back; not in between.
    pub(super) fn report(&self, failing: Option<&str>, owed: usize) {
        self.metrics.sink_up.set(i64::from(failing.is_none()));
        self.state.send_if_modified(|state| {
            match (&state.failing, failing) {
                (None, Some(error)) => tracing::error!(sink = state.name, error, owed, "the sink fails; trying until it is back"),
                (Some(_), None) => tracing::info!(sink = state.name, "the sink is back"),
                _ => {}
            }
            let changed = state.failing.is_some() != failing.is_some();
            state.failing = failing.map(str::to_owned);
            changed
        });
    }

    /// Keeps an accepted event that the sink will never take.
    pub(super) async fn keep_refused(&self, record: &Record, reason: &str) {
        let envelope = record.envelope();
        let rejection = Rejection::new(RejectCode::RefusedBySink, reason, "");
        let event_uuid = envelope.event_uuid.to_string();
        let letter = Letter {
            source: envelope.source,
            received_millis: envelope.received_millis,
            event_uuid: Some(&event_uuid),
            event_name: Some(envelope.event_name.as_str()),
            rejection: &rejection,
            raw: record.payload(),
        };
        self.keep_letter(envelope.source.into(), &letter).await;
    }

    /// Keeps a dead letter that its stream will never take, in a file.
    pub(super) async fn keep_line(&self, line: &[u8]) {
        let lines = || Lines { source: "refused".into(), text: line.to_vec(), count: 1, within_quota: false };
        self.keep(|| self.dead_letters.append_to_file(lines())).await;
    }

    /// Keeps a frame that is whole but holds no record of this version.
    pub(super) async fn keep_unreadable(&self, frame: &Frame, reason: &str) {
        tracing::error!(seq = frame.seq, reason, "a spooled record cannot be read; it goes to the dead letters");
        let rejection = Rejection::new(RejectCode::InternalError, reason, "");
        let source = "unreadable";
        let received_millis = unix_millis(SystemTime::now());
        let letter =
            Letter { source, received_millis, event_uuid: None, event_name: None, rejection: &rejection, raw: &frame.body };
        self.keep_letter(source.into(), &letter).await;
    }

    async fn keep_letter(&self, source: Arc<str>, letter: &Letter<'_>) {
        let mut text = Vec::new();
        write_letter(letter, &mut text);
        let lines = || Lines { source: source.clone(), text: text.clone(), count: 1, within_quota: false };
        match self.dead_letters.append(lines()).await {
            Ok(Ok(())) => drop(self.metrics.refused_events.inc()),
            // Where the stream of the dead letters has no room, a file has.
            _ => self.keep(|| self.dead_letters.append_to_file(lines())).await,
        }
    }

    async fn keep(&self, append: impl Fn() -> oneshot::Receiver<Result<(), DeadLetterError>>) {
        while !matches!(append().await, Ok(Ok(()))) {
            tokio::time::sleep(DELIVERY_BACKOFF.1).await;
        }
        self.metrics.refused_events.inc();
    }

    /// Unlinks what is delivered, once its identities are on disk in the dedup window.
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
            self.spool.unlink_delivered().map_err(|error| error.to_string())
        });
        if let Err(error) = retired {
            // Not lost, only kept longer: the next batch tries again.
            tracing::warn!(error, "delivered segments cannot be unlinked yet");
        }
    }

    /// Does what must not be left undone, again and again.
    pub(super) async fn durably<E: std::fmt::Display>(&self, doing: &str, action: impl Fn() -> Result<(), E>) {
        let mut failures = 0;
        while let Err(error) = tokio::task::block_in_place(&action) {
            if failures == 0 {
                tracing::error!(%error, doing, "the disk refuses; trying again");
            }
            failures += 1;
            tokio::time::sleep(backoff(failures, DELIVERY_BACKOFF)).await;
        }
    }
}

/// Full jitter: anywhere between nothing and a bound that doubles with each failure.
pub(super) fn backoff(failures: u32, (first, longest): (Duration, Duration)) -> Duration {
    let bound = first.saturating_mul(1 << failures.min(16)).min(longest);
    bound.mul_f64(fastrand::f64())
}

/// When a record was received; `None` of one that was replayed, which has not waited since then, and of what is no record.
pub(super) fn received_millis(frame: &Frame) -> Option<i64> {
    let record = Record::decode(frame.body.clone()).ok()?;
    let envelope = record.envelope();
    (!envelope.replayed).then_some(envelope.received_millis)
}
