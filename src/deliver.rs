//! From the spool to the sink: read, deliver, commit, retire. One batch at a time.
//!
//! A batch is read when it is due (by age, by size, because somebody waits for it, or because the gateway stops), so that
//! nothing is held in memory while it waits. Each record's own [`Delivery`] decides: what is to be retried is sent again,
//! and only that, until the sink has it or refuses it. Nothing is given up.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    dead_letter::{DeadLetters, Letter, Lines, write_letter},
    dedup::Window,
    event::{Record, unix_millis},
    limits::{CROWDED_ROLL_AFTER, DELIVERY_BACKOFF, IDLE_ROLL_AFTER},
    outcome::{RejectCode, Rejection},
    progress::Progress,
    sink::{Batch, Delivery, Sink},
    spool::{Frame, Reader, Spool},
    telemetry::Metrics,
};

/// When a batch is due.
#[derive(Clone, Copy, Debug)]
pub struct BatchBounds {
    /// Records in one batch.
    pub records_max: usize,
    /// Bytes of records in one batch.
    pub bytes_max: usize,
    /// Age of its oldest record.
    pub age_max: Duration,
}

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

/// What the deliverer works with.
pub struct Deliverer {
    /// Where the records come from.
    pub spool: Arc<Spool>,
    /// Must have an identity on disk before its segment goes.
    pub window: Window,
    /// Where the records go.
    pub sink: Box<dyn Sink>,
    /// Where the records go that the sink refuses.
    pub dead_letters: Arc<DeadLetters>,
    /// Whom to tell how far it has come.
    pub progress: Arc<Progress>,
    /// When a batch is due.
    pub bounds: BatchBounds,
    /// Bytes that the spool may have.
    pub quota_bytes: u64,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How the sink does.
    pub state: watch::Sender<SinkState>,
}

impl Deliverer {
    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut reader = self.spool.reader(self.spool.cursor().delivered_exclusive);
        let mut planned_end = self.spool.cursor().planned_end_exclusive;
        loop {
            let (records_max, bytes_max) = match planned_end.take() {
                // A delivery that a crash interrupted is repeated as the same stretch, so that the sink overwrites it.
                Some(end) if end > reader.next_seq() => ((end - reader.next_seq()) as usize, usize::MAX),
                _ => match self.wait_until_due(&reader, &mut stopping).await {
                    Due::Batch => (self.bounds.records_max, self.bounds.bytes_max),
                    Due::Drained => return,
                },
            };
            self.deliver_next(&mut reader, records_max, bytes_max).await;
        }
    }

    /// Waits until a batch is due.
    async fn wait_until_due(&self, reader: &Reader, stopping: &mut watch::Receiver<bool>) -> Due {
        let mut durable_end = self.spool.watch_durable_end();
        let mut awaited = self.progress.watch_awaited();
        let next = reader.next_seq();
        let mut due_at = None;
        loop {
            let end = *durable_end.borrow_and_update();
            let is_awaited = *awaited.borrow_and_update() > next;
            let is_stopping = *stopping.borrow_and_update();
            if end == next {
                if is_stopping {
                    return Due::Drained;
                }
                tokio::select! {
                    _ = durable_end.changed() => {}
                    _ = stopping.changed() => {}
                    () = tokio::time::sleep(self.roll_after()) => self.retire(true).await,
                }
                continue;
            }
            let due_at = *due_at.get_or_insert_with(|| self.due_at(reader));
            if is_stopping || is_awaited || self.is_full(end - next) || Instant::now() >= due_at {
                return Due::Batch;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due_at.into()) => {}
                _ = durable_end.changed() => {}
                _ = awaited.changed() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// For how long everything must have been delivered before the segment that it lies in is closed.
    fn roll_after(&self) -> Duration {
        let is_crowded = self.spool.stats().bytes >= self.quota_bytes / 2;
        if is_crowded { CROWDED_ROLL_AFTER } else { IDLE_ROLL_AFTER }
    }

    /// When the oldest record that waits, the one `reader` comes to next, is as old as it may get.
    fn due_at(&self, reader: &Reader) -> Instant {
        let first = tokio::task::block_in_place(|| reader.clone().read(1, usize::MAX));
        let received = first.ok().and_then(|first| received_millis(first.frames.first()?));
        let waited = received.map_or(Duration::ZERO, |received| {
            Duration::from_millis(u64::try_from(unix_millis(SystemTime::now()) - received).unwrap_or(0))
        });
        self.state.send_if_modified(|state| {
            state.oldest_received_millis = received;
            false
        });
        Instant::now() + self.bounds.age_max.saturating_sub(waited)
    }

    /// Whether `pending` records fill a batch, taking their bytes from the average of what is on disk.
    fn is_full(&self, pending: u64) -> bool {
        let stats = self.spool.stats();
        let average = stats.bytes / (stats.end_seq_exclusive - stats.first_seq).max(1);
        pending >= self.bounds.records_max as u64 || pending * average >= self.bounds.bytes_max as u64
    }

    async fn deliver_next(&self, reader: &mut Reader, records_max: usize, bytes_max: usize) {
        let first_seq_inclusive = reader.next_seq();
        let stretch = loop {
            match tokio::task::block_in_place(|| reader.read(records_max, bytes_max)) {
                Ok(stretch) => break stretch,
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read; trying again");
                    tokio::time::sleep(DELIVERY_BACKOFF.0).await;
                }
            }
        };
        for lost in &stretch.lost {
            tracing::error!(from = lost.start, to_exclusive = lost.end, "events are lost to a damaged disk; see quarantine/");
            self.metrics.spool_lost_events.inc_by(lost.end - lost.start);
        }
        let end_seq_exclusive = reader.next_seq();
        if self.sink.replays_by_stretch() && !stretch.frames.is_empty() {
            self.durably("planning a delivery", || self.spool.plan(end_seq_exclusive)).await;
        }
        let mut batch = Batch { spool_id: self.spool.id(), first_seq_inclusive, end_seq_exclusive, records: Vec::new() };
        batch.records.reserve(stretch.frames.len());
        let mut unreadable = Vec::new();
        for frame in stretch.frames {
            match Record::decode(frame.body.clone()) {
                Ok(record) => batch.records.push(record),
                Err(error) => unreadable.push((frame, error.to_string())),
            }
        }
        for (frame, reason) in unreadable {
            self.keep_unreadable(&frame, &reason).await;
        }
        self.deliver(batch).await;
        self.durably("moving the cursor", || self.spool.commit(end_seq_exclusive)).await;
        self.progress.advance(end_seq_exclusive);
        self.retire(false).await;
    }

    /// Delivers a batch, however long it takes.
    async fn deliver(&self, mut batch: Batch) {
        let mut failures = 0;
        while !batch.records.is_empty() {
            let started = Instant::now();
            let mut deliveries = self.sink.deliver(&batch).await;
            self.metrics.delivery_seconds.observe(started.elapsed().as_secs_f64());
            // Absence never means success.
            deliveries.resize(batch.records.len(), Delivery::Retry("the sink did not say".into()));
            let mut owed = Vec::new();
            let mut cause = None;
            for (record, delivery) in batch.records.into_iter().zip(deliveries) {
                match delivery {
                    Delivery::Delivered => {
                        self.metrics.delivered_events.inc();
                    }
                    Delivery::Refused(reason) => self.keep_refused(&record, &reason).await,
                    Delivery::Retry(reason) => {
                        cause.get_or_insert(reason);
                        owed.push(record);
                    }
                }
            }
            batch.records = owed;
            self.report(cause.as_deref(), batch.records.len());
            if cause.is_some() {
                failures += 1;
                self.metrics.delivery_retries.inc();
                tokio::time::sleep(backoff(failures)).await;
            }
        }
    }

    /// Logs when the sink begins to fail and when it is back; not in between.
    fn report(&self, failing: Option<&str>, owed: usize) {
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
    async fn keep_refused(&self, record: &Record, reason: &str) {
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
        self.keep(envelope.source.into(), &letter).await;
    }

    /// Keeps a frame that is whole but holds no record of this version.
    async fn keep_unreadable(&self, frame: &Frame, reason: &str) {
        tracing::error!(seq = frame.seq, reason, "a spooled record cannot be read; it goes to the dead letters");
        let rejection = Rejection::new(RejectCode::InternalError, reason, "");
        let source = "unreadable";
        let received_millis = unix_millis(SystemTime::now());
        let letter =
            Letter { source, received_millis, event_uuid: None, event_name: None, rejection: &rejection, raw: &frame.body };
        self.keep(source.into(), &letter).await;
    }

    async fn keep(&self, source: Arc<str>, letter: &Letter<'_>) {
        let mut text = Vec::new();
        write_letter(letter, &mut text);
        loop {
            let lines = Lines { source: source.clone(), text: text.clone(), count: 1, within_quota: false };
            if let Ok(Ok(())) = self.dead_letters.append(lines).await {
                self.metrics.refused_events.inc();
                return;
            }
            tokio::time::sleep(DELIVERY_BACKOFF.1).await;
        }
    }

    /// Unlinks what is delivered, once its identities are on disk in the dedup window.
    async fn retire(&self, is_idle: bool) {
        if is_idle {
            self.spool.roll_if_delivered();
        }
        let delivered = self.spool.cursor().delivered_exclusive;
        // An event can be delivered before the thread that stored it has confirmed its identity.
        if !self.spool.has_delivered_segments() || self.progress.confirmed_exclusive() < delivered {
            return;
        }
        let retired = tokio::task::block_in_place(|| {
            self.window.checkpoint(delivered).map_err(|error| error.to_string())?;
            self.spool.unlink_delivered().map_err(|error| error.to_string())
        });
        if let Err(error) = retired {
            // Not lost, only kept longer: the next batch tries again.
            tracing::warn!(error, "delivered segments cannot be unlinked yet");
        }
    }

    /// Does what must not be left undone, again and again.
    async fn durably<E: std::fmt::Display>(&self, doing: &str, action: impl Fn() -> Result<(), E>) {
        let mut failures = 0;
        while let Err(error) = tokio::task::block_in_place(&action) {
            if failures == 0 {
                tracing::error!(%error, doing, "the disk refuses; trying again");
            }
            failures += 1;
            tokio::time::sleep(backoff(failures)).await;
        }
    }
}

enum Due {
    Batch,
    Drained,
}

fn received_millis(frame: &Frame) -> Option<i64> {
    Record::decode(frame.body.clone()).ok().map(|record| record.envelope().received_millis)
}

/// Full jitter: anywhere between nothing and a bound that doubles with each failure.
fn backoff(failures: u32) -> Duration {
    let (first, longest) = DELIVERY_BACKOFF;
    let bound = first.saturating_mul(1 << failures.min(16)).min(longest);
    bound.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests;
