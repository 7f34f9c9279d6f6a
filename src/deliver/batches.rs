//! From the spool to the sink: read, deliver, commit, retire. One range at a time, each place (partition) on its own.
//!
//! ```text
//! spool ─▶ range ─▶ plan ─▶ sink ─▶ settled ─▶ cursor ─▶ unlink
//!                      ▲       │
//!                      └─ owed ◀ a place that failed: retried later, under the same name, with its own pauses
//! ```
//!
//! A range is read when it is due (by age, by size, because a request waits for it, or because the gateway stops), so that
//! waiting records take no memory. The [`Delivery`] of each record decides: only records with a retryable error are sent again,
//! until the sink stores them or refuses them. No record is given up.
//!
//! # Many places
//!
//! One attempt writes to a limited number of places, in total and per key: [`LAKE_FLUSH_PARTITIONS_MAX`]. The other places of
//! the range are owed at once and come in the next attempts, which alternate with newer ranges. So a key that spreads its
//! events over very many places delays only itself, and each place still gets one file per range.
//!
//! # A place that fails
//!
//! The sink tells the place of each record ([`Sink::place_of`]: a partition of the lake). A failed place is owed its records of
//! this range and of the following ranges. They are retried with the pauses of this place, while all other places continue.
//! Only the numbers of the ranges are in memory: the records are on disk.
//!
//! # Each event once
//!
//! The sink names its files by the range, so that a range which is delivered again replaces itself. Therefore every range is
//! planned durably before its first delivery: in the cursor's file if the range begins at the cursor, otherwise in the journal.
//! It is read again with the same numbers, even if some of its records decayed meanwhile. The cursor stands only at the
//! beginning of a range. The journal holds what is settled beyond the cursor, also by another sink.

mod attempt_results;
mod partition_limits;
mod undelivered;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    journal::Journal,
    shared::{CursorMover, DeliveryAttempt, Shared, received_millis},
};
use crate::{
    event::{Record, unix_millis},
    limits::{LAKE_AWAITED_FLUSH_INTERVAL, LAKE_FLUSH_PARTITIONS_MAX, LAKE_FLUSH_PARTITIONS_PER_KEY, STREAM_AHEAD_EVENTS_MAX},
    progress::SeqSet,
    sink::{Batch, Delivery, Sink},
    spool::{ReadBatch, Reader},
};
use partition_limits::PartitionLimits;
use undelivered::{Place, Undelivered};

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

/// Delivers in batches, one at a time, each for a range of the spool.
pub struct BatchDeliverer {
    shared: Shared,
    sink: Box<dyn Sink>,
    bounds: BatchBounds,
    journal: Journal,
    /// Events that may have been sent to a stream, kept in case a stream becomes the sink again.
    sent: SeqSet,
    /// Ranges in the journal: first number to end.
    planned: BTreeMap<u64, u64>,
    undelivered: Undelivered,
    /// The places reported as failing.
    unwritable: BTreeSet<Place>,
    reader: Reader,
    cursor: CursorMover,
    /// After a failed read at the front: no read before this time.
    read_at: Option<Instant>,
    /// When the oldest unread record was received.
    front_received: Option<i64>,
    /// When the oldest unread record reaches the maximum age.
    due_at: Option<Instant>,
    /// When the newest records were last read.
    flushed_at: Option<Instant>,
    is_undelivered_turn: bool,
}

/// The result of one attempt.
#[derive(Debug, Default)]
struct Attempt {
    /// Places that were tried; with the error if not all records were taken.
    places: BTreeMap<Place, Option<String>>,
    /// Places that were not tried, because they failed and pause.
    resting: Vec<Place>,
    /// Whether other places were not tried because one attempt cannot write to more.
    has_more: bool,
    /// When the first event of the range was received.
    received: Option<i64>,
}

impl BatchDeliverer {
    /// A deliverer with the journal in the file `journal`. `shared.progress` takes over what the journal knows to be settled.
    #[must_use]
    pub fn open(shared: Shared, sink: Box<dyn Sink>, bounds: BatchBounds, journal: PathBuf) -> Self {
        let (journal, known) = shared.open_journal(journal);
        let cursor = shared.cursor.get();
        let mut begun = known.stretches.clone();
        if let Some(end) = cursor.planned_end_exclusive {
            begun.insert(cursor.delivered_exclusive, end);
        }
        let mut undelivered = Undelivered::default();
        let mut next = cursor.delivered_exclusive;
        let stats = shared.spool.stats();
        let average = (stats.bytes / (stats.end_seq_exclusive - stats.first_seq).max(1)).max(1);
        let piece = (bounds.records_max as u64).min(bounds.bytes_max as u64 / average).max(1);
        for (first, end) in begun {
            // A range whose places all paused is in no journal, because the sink got nothing of it; later ranges may be.
            while next < first {
                let until = first.min(next + piece);
                undelivered.add(next..until, None, None);
                next = until;
            }
            // A range that a crash interrupted is repeated as the same range; reading it shows which places it is owed to.
            undelivered.add(first..end, None, None);
            next = next.max(end);
        }
        let reader = shared.spool.reader(next.max(known.settled.prefix()));
        Self {
            shared,
            sink,
            bounds,
            journal,
            sent: known.sent,
            planned: known.stretches,
            undelivered,
            unwritable: BTreeSet::new(),
            reader,
            cursor: CursorMover::default(),
            read_at: None,
            front_received: None,
            due_at: None,
            flushed_at: None,
            is_undelivered_turn: true,
        }
    }

    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        let (_never, interrupted) = watch::channel(false);
        self.run_until_interrupted(stopping, interrupted).await;
    }

    /// The same, or until `interrupted` is true and no attempt is under way.
    pub(super) async fn run_until_interrupted(
        mut self,
        mut stopping: watch::Receiver<bool>,
        mut interrupted: watch::Receiver<bool>,
    ) {
        let mut durable_end = self.shared.spool.watch_durable_end();
        let mut awaited = self.shared.progress.watch_awaited();
        let mut quiet_since = Instant::now();
        loop {
            if *interrupted.borrow() {
                return;
            }
            let now = Instant::now();
            let end = *durable_end.borrow_and_update();
            let is_stopping = *stopping.borrow_and_update();
            let is_awaited = *awaited.borrow_and_update() > self.reader.next_seq();
            let hurried_at = if is_stopping { Some(now) } else { is_awaited.then(|| self.shared_flush_at(now)) };
            let owed = self.undelivered.due(now);
            let front_at = self.front_at(end, hurried_at, now);
            let is_front_due = front_at.is_some_and(|at| at <= now);
            // Owed and new ranges alternate, so that neither waits behind all of the other.
            self.is_undelivered_turn = owed.is_some() && (self.is_undelivered_turn || !is_front_due);
            match owed.filter(|_| self.is_undelivered_turn) {
                Some(range) => self.deliver_undelivered(range, now).await,
                None if is_front_due => self.deliver_front(end, now).await,
                None => {
                    if is_stopping && self.undelivered.is_empty() && self.reader.next_seq() >= end {
                        self.move_cursor(now);
                        return;
                    }
                    let quiet_until = quiet_since + self.shared.roll_after();
                    if now >= quiet_until {
                        quiet_since = now;
                        self.move_cursor(now);
                        self.shared.retire(true).await;
                    }
                    let wakes = [front_at, self.undelivered.wake_at(), self.cursor.retry_at(), Some(quiet_until)];
                    let wake_at = wakes.into_iter().flatten().min().unwrap_or(quiet_until);
                    tokio::select! {
                        () = tokio::time::sleep_until(wake_at.into()) => {}
                        _ = durable_end.changed() => {}
                        _ = awaited.changed() => {}
                        _ = stopping.changed() => {}
                        Ok(()) = interrupted.changed() => {}
                    }
                    self.sync_journal(Instant::now());
                    continue;
                }
            }
            self.is_undelivered_turn = !self.is_undelivered_turn;
            self.sync_journal(now);
            self.shared.retire(false).await;
            quiet_since = Instant::now();
        }
    }

    /// When the next range is due to be read; `None` if there is nothing to read, or if the limit of owed ranges is reached.
    fn front_at(&mut self, end: u64, hurried_at: Option<Instant>, now: Instant) -> Option<Instant> {
        let next = self.reader.next_seq();
        let is_far_ahead = next - self.shared.progress.settled_exclusive().min(next) >= STREAM_AHEAD_EVENTS_MAX;
        if end <= next || is_far_ahead || self.undelivered.is_full() {
            return None;
        }
        let due_at = if self.is_full(end - next) { now } else { self.due_at(now) };
        let due_at = hurried_at.map_or(due_at, |at| at.min(due_at));
        Some(self.read_at.map_or(due_at, |at| at.max(due_at)))
    }

    /// When the flush is due that all waiting requests share.
    fn shared_flush_at(&self, now: Instant) -> Instant {
        self.flushed_at.map_or(now, |at| at + LAKE_AWAITED_FLUSH_INTERVAL).max(now)
    }

    /// When the oldest unread record, the next that the reader comes to, reaches the maximum age.
    fn due_at(&mut self, now: Instant) -> Instant {
        if let Some(due_at) = self.due_at {
            return due_at;
        }
        let first = tokio::task::block_in_place(|| self.reader.clone().read(1, usize::MAX));
        let received = first.ok().and_then(|first| received_millis(first.frames.first()?));
        let waited = received.map_or(Duration::ZERO, |received| {
            Duration::from_millis(u64::try_from(unix_millis(SystemTime::now()) - received).unwrap_or(0))
        });
        self.front_received = received;
        *self.due_at.insert(now + self.bounds.age_max.saturating_sub(waited))
    }

    /// Whether `pending` records fill a batch, estimated from the average record size on disk.
    fn is_full(&self, pending: u64) -> bool {
        let stats = self.shared.spool.stats();
        let average = stats.bytes / (stats.end_seq_exclusive - stats.first_seq).max(1);
        pending >= self.bounds.records_max as u64 || pending * average >= self.bounds.bytes_max as u64
    }

    /// Delivers the next range.
    async fn deliver_front(&mut self, end: u64, now: Instant) {
        let first = self.reader.next_seq();
        let (records_max, bytes_max) = (self.bounds.records_max, self.bounds.bytes_max);
        let read = tokio::task::block_in_place(|| self.reader.read_until(end, records_max, bytes_max));
        let Ok(found) = read else {
            // The spool reports the error, and knows when the next attempt makes sense.
            self.read_at = Some(now + self.shared.spool.unreadable_pause());
            return;
        };
        (self.read_at, self.due_at, self.flushed_at) = (None, None, Some(now));
        let range = first..self.reader.next_seq();
        let attempt = self.attempt(&range, found, now).await;
        self.conclude(range, &attempt);
    }

    /// Delivers the records that a range owes to its places, for the places that may be tried now.
    async fn deliver_undelivered(&mut self, range: Range<u64>, now: Instant) {
        let mut reader = self.undelivered.take_reader(&range).unwrap_or_else(|| {
            let unsettled = self.shared.progress.unsettled_in(range.clone());
            self.shared.spool.reader(unsettled.first().copied().unwrap_or(range.end))
        });
        let mut found = ReadBatch::default();
        while reader.next_seq() < range.end {
            match tokio::task::block_in_place(|| reader.read_until(range.end, usize::MAX, usize::MAX)) {
                Ok(more) if more == ReadBatch::default() => break,
                Ok(more) => {
                    found.frames.extend(more.frames);
                    found.lost.extend(more.lost);
                }
                Err(_) => {
                    let retry_at = now + self.shared.spool.unreadable_pause();
                    return self.undelivered.could_not_read(&range, found.frames.is_empty().then_some(reader), retry_at);
                }
            }
        }
        self.undelivered.could_read(&range);
        let attempt = self.attempt(&range, found, now).await;
        self.conclude(range, &attempt);
    }

    /// Gives the unsettled records of a range to the sink, once.
    async fn attempt(&mut self, range: &Range<u64>, found: ReadBatch, now: Instant) -> Attempt {
        let received = found.frames.first().and_then(received_millis);
        // Held to the end of the attempt: an erasure waits for it.
        let under_way = self.shared.spool.begin_attempt();
        let mut attempt = Attempt { received, ..Attempt::default() };
        let mut settled = self.shared.note_lost(&found.lost);
        let mut seqs = Vec::new();
        let mut batch = Batch {
            spool_id: self.shared.spool.id(),
            first_seq_inclusive: range.start,
            end_seq_exclusive: range.end,
            records: Vec::new(),
        };
        let mut waiting = Vec::new();
        let mut turns = PartitionLimits::new(LAKE_FLUSH_PARTITIONS_MAX, LAKE_FLUSH_PARTITIONS_PER_KEY);
        for frame in found.frames {
            if self.shared.progress.is_settled(frame.seq) {
                continue;
            }
            if under_way.is_erased(frame.seq) {
                self.shared.leave_out_erased(&[frame.seq]);
                settled.push(frame.seq);
                continue;
            }
            match Record::decode(frame.body.clone()) {
                Ok(record) if !self.shared.sinks.include(&record) => {
                    self.shared.skip(&[frame.seq]);
                    settled.push(frame.seq);
                }
                Ok(record) => {
                    let place: Place = self.sink.place_of(&record).into();
                    if self.undelivered.rests(&place, now) {
                        attempt.resting.push(place);
                        continue;
                    }
                    turns.ask(&place, record.source());
                    waiting.push((frame.seq, place, record));
                }
                Err(error) if self.shared.keep_unreadable(&frame, &error.to_string()).await => settled.push(frame.seq),
                Err(error) => drop(attempt.places.insert("".into(), Some(error.to_string()))),
            }
        }
        let mut places = Vec::with_capacity(waiting.len());
        for (seq, place, record) in waiting {
            if !turns.has(&place) {
                attempt.has_more = true;
                continue;
            }
            if !attempt.places.contains_key(&place) {
                attempt.places.insert(place.clone(), None);
            }
            seqs.push(seq);
            places.push(place);
            batch.records.push(record);
        }
        attempt.resting.sort_unstable();
        attempt.resting.dedup();
        if !batch.records.is_empty() && !self.plan(range) {
            attempt.places.values_mut().for_each(|failing| *failing = Some("the delivery cannot be planned on disk".into()));
            return attempt;
        }
        if !batch.records.is_empty() {
            self.give(&batch, &seqs, &places, &mut attempt, &mut settled).await;
        }
        settled.sort_unstable();
        // If a range is settled as a whole, and nothing before it is owed, the cursor records that.
        if !self.undelivered.is_only(range) || attempt.owes() || self.cursor.retry_at().is_some() {
            self.shared.make_endings_durable();
            self.journal.settled(&settled);
        }
        attempt
    }

    async fn give(&self, batch: &Batch, seqs: &[u64], places: &[Place], attempt: &mut Attempt, settled: &mut Vec<u64>) {
        let started = Instant::now();
        let mut deliveries = self.sink.deliver(batch).await;
        let took = started.elapsed();
        // A missing result is not a success.
        deliveries.resize(batch.records.len(), Delivery::Retry("the sink did not say".into()));
        let mut delivered = Vec::with_capacity(seqs.len());
        let mut cause = None;
        for (((record, seq), place), delivery) in batch.records.iter().zip(seqs).zip(places).zip(deliveries) {
            let reason = match delivery {
                Delivery::Delivered => {
                    delivered.push(*seq);
                    continue;
                }
                Delivery::Refused(reason) if self.shared.keep_refused(*seq, record, &reason).await => {
                    settled.push(*seq);
                    continue;
                }
                Delivery::Refused(reason) => format!("{reason}, and its dead letter cannot be written"),
                Delivery::Retry(reason) => reason,
            };
            cause.get_or_insert_with(|| reason.clone());
            attempt.places.insert(place.clone(), Some(reason));
        }
        let events = batch.records.len();
        let bytes = batch.records.iter().map(Record::size).sum();
        self.shared.note(&DeliveryAttempt { events, bytes, took, failing: cause.as_deref() });
        self.shared.metrics.delivered_events.inc_by(delivered.len() as u64);
        self.shared.progress.settle(delivered.iter().copied());
        settled.extend(delivered);
        if cause.is_some() {
            self.shared.metrics.retries.inc();
        }
    }

    /// Records durably that the delivery of `range` begins. Returns whether this succeeded.
    fn plan(&mut self, range: &Range<u64>) -> bool {
        let cursor = self.shared.cursor.get();
        let is_in_cursor = cursor.delivered_exclusive == range.start && cursor.planned_end_exclusive == Some(range.end);
        if !self.sink.replays_by_range() || is_in_cursor || self.planned.get(&range.start) == Some(&range.end) {
            return true;
        }
        tokio::task::block_in_place(|| {
            let is_at_cursor = cursor.delivered_exclusive == range.start && cursor.planned_end_exclusive.is_none();
            if is_at_cursor && self.shared.cursor.plan(range.end).is_ok() {
                return true;
            }
            let is_planned = self.journal.plan(range).is_ok();
            if is_planned {
                self.planned.insert(range.start, range.end);
            }
            is_planned
        })
    }
}

impl Attempt {
    fn owes(&self) -> bool {
        self.has_more || !self.resting.is_empty() || self.places.values().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests;
