//! From the spool to the sink: read, deliver, commit, retire. One batch at a time.
//!
//! A batch is read when it is due (by age, by size, because somebody waits for it, or because the gateway stops), so that
//! nothing is held in memory while it waits. Each record's own [`Delivery`] decides: what is to be retried is sent again,
//! and only that, until the sink has it or refuses it. Nothing is given up.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::shared::{Given, Shared, backoff, received_millis};
use crate::{
    event::{Record, unix_millis},
    limits::DELIVERY_BACKOFF,
    sink::{Batch, Delivery, Sink},
    spool::Reader,
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

/// Delivers in batches, one at a time, each a stretch of the spool.
pub struct BatchDeliverer {
    /// What every deliverer works with.
    pub shared: Shared,
    /// Where the records go.
    pub sink: Box<dyn Sink>,
    /// When a batch is due.
    pub bounds: BatchBounds,
}

impl BatchDeliverer {
    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut reader = self.shared.spool.reader(self.shared.spool.cursor().delivered_exclusive);
        let mut planned_end = self.shared.spool.cursor().planned_end_exclusive;
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
        let mut durable_end = self.shared.spool.watch_durable_end();
        let mut awaited = self.shared.progress.watch_awaited();
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
                    () = tokio::time::sleep(self.shared.roll_after()) => self.shared.retire(true).await,
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

    /// When the oldest record that waits, the one `reader` comes to next, is as old as it may get.
    fn due_at(&self, reader: &Reader) -> Instant {
        let first = tokio::task::block_in_place(|| reader.clone().read(1, usize::MAX));
        let received = first.ok().and_then(|first| received_millis(first.frames.first()?));
        let waited = received.map_or(Duration::ZERO, |received| {
            Duration::from_millis(u64::try_from(unix_millis(SystemTime::now()) - received).unwrap_or(0))
        });
        self.shared.state.send_if_modified(|state| {
            state.oldest_received_millis = received;
            false
        });
        Instant::now() + self.bounds.age_max.saturating_sub(waited)
    }

    /// Whether `pending` records fill a batch, taking their bytes from the average of what is on disk.
    fn is_full(&self, pending: u64) -> bool {
        let stats = self.shared.spool.stats();
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
            self.shared.metrics.lost_events.inc_by(lost.end - lost.start);
        }
        let end_seq_exclusive = reader.next_seq();
        if self.sink.replays_by_stretch() && !stretch.frames.is_empty() {
            self.shared.durably("planning a delivery", || self.shared.spool.plan(end_seq_exclusive)).await;
        }
        let mut batch = Batch { spool_id: self.shared.spool.id(), first_seq_inclusive, end_seq_exclusive, records: Vec::new() };
        batch.records.reserve(stretch.frames.len());
        let mut unreadable = Vec::new();
        for frame in stretch.frames {
            match Record::decode(frame.body.clone()) {
                Ok(record) => batch.records.push(record),
                Err(error) => unreadable.push((frame, error.to_string())),
            }
        }
        for (frame, reason) in unreadable {
            self.shared.keep_unreadable(&frame, &reason).await;
        }
        self.deliver(batch).await;
        self.shared.durably("moving the cursor", || self.shared.spool.commit(end_seq_exclusive)).await;
        self.shared.progress.advance(end_seq_exclusive);
        self.shared.retire(false).await;
    }

    /// Delivers a batch, however long it takes.
    async fn deliver(&self, mut batch: Batch) {
        let mut failures = 0;
        while !batch.records.is_empty() {
            let started = Instant::now();
            let mut deliveries = self.sink.deliver(&batch).await;
            let (took, events) = (started.elapsed(), batch.records.len());
            let bytes = batch.records.iter().map(Record::size).sum();
            // Absence never means success.
            deliveries.resize(batch.records.len(), Delivery::Retry("the sink did not say".into()));
            let mut owed = Vec::new();
            let mut cause = None;
            for (record, delivery) in batch.records.into_iter().zip(deliveries) {
                match delivery {
                    Delivery::Delivered => {
                        self.shared.metrics.delivered_events.inc();
                    }
                    Delivery::Refused(reason) => self.shared.keep_refused(&record, &reason).await,
                    Delivery::Retry(reason) => {
                        cause.get_or_insert(reason);
                        owed.push(record);
                    }
                }
            }
            batch.records = owed;
            self.shared.note(&Given { events, bytes, took, failing: cause.as_deref() });
            self.shared.report(cause.as_deref(), batch.records.len());
            if cause.is_some() {
                failures += 1;
                self.shared.metrics.retries.inc();
                tokio::time::sleep(backoff(failures, DELIVERY_BACKOFF)).await;
            }
        }
    }
}

enum Due {
    Batch,
    Drained,
}

#[cfg(test)]
mod tests;
