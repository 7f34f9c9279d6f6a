//! From the spool to the sink: read, deliver, commit, retire. One range at a time, and each place of it on its own.
//!
//! ```text
//! spool ─▶ range ─▶ plan ─▶ sink ─▶ settled ─▶ cursor ─▶ unlink
//!                      ▲       │
//!                      └─ owed ◀ a place that failed: later, under the same name, in its own time
//! ```
//!
//! A range is read when it is due (by age, by size, because somebody waits for it, or because the gateway stops), so that
//! nothing is held in memory while it waits. Each record's own [`Delivery`] decides: what is to be retried is sent again,
//! and only that, until the sink has it or refuses it. Nothing is given up.
//!
//! # Many places
//!
//! An attempt gives the sink records of so many places at most, and of one key's so many: [`LAKE_FLUSH_PARTITIONS_MAX`]. The
//! others of the range are owed at once, and come in the next attempts, which take turns with newer ranges. So one key that
//! spreads its events over very many places holds up itself, and each place has one file of a range all the same.
//!
//! # A place that fails
//!
//! The sink says of each record to which place it belongs ([`Sink::place_of`]: a partition of the lake). A place that fails is
//! owed its records of this range, and of those that follow, and they are tried again in its own pauses, while all other
//! places go on. What is remembered of it are the numbers of the ranges: the records are on disk.
//!
//! # Each event once
//!
//! The sink names what it writes by the range, so that a range which is delivered again takes the place of itself. So
//! every range is planned durably before its first delivery, in the cursor's file where it begins at the cursor and in the
//! journal otherwise, and is read again by its numbers, whatever decayed in it meanwhile. The cursor stands only where a
//! range begins. What is settled beyond it is in the journal, also what another sink has settled there.

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

/// Delivers in batches, one at a time, each of a range of the spool.
pub struct BatchDeliverer {
    shared: Shared,
    sink: Box<dyn Sink>,
    bounds: BatchBounds,
    journal: Journal,
    /// What a stream may have been sent, kept for the day when it is the sink again.
    sent: SeqSet,
    /// Ranges that are in the journal: the ends by the firsts.
    planned: BTreeMap<u64, u64>,
    undelivered: Undelivered,
    /// The places that are said to fail.
    unwritable: BTreeSet<Place>,
    reader: Reader,
    cursor: CursorMover,
    /// Reading at the front failed: not before then.
    read_at: Option<Instant>,
    /// When the oldest record that was not read was received.
    front_received: Option<i64>,
    /// When the oldest record that was not read is as old as it may get.
    due_at: Option<Instant>,
    /// When the newest records were read last.
    flushed_at: Option<Instant>,
    is_undelivered_turn: bool,
}

/// What one attempt came to.
#[derive(Debug, Default)]
struct Attempt {
    /// Places of which something was tried, and why not all of it was taken, where it was not.
    places: BTreeMap<Place, Option<String>>,
    /// Places that were not tried, because they fail and rest.
    resting: Vec<Place>,
    /// Whether others were not tried because there are too many for one attempt.
    has_more: bool,
    /// When the first event of the range was received.
    received: Option<i64>,
}

impl BatchDeliverer {
    /// A deliverer with the journal in the file `journal`. What that knows to be settled, `shared.progress` knows from now on.
    #[must_use]
    pub fn open(shared: Shared, sink: Box<dyn Sink>, bounds: BatchBounds, journal: PathBuf) -> Self {
        let (journal, known) = shared.open_journal(journal);
        let cursor = shared.spool.cursor();
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
            // A range all of whose places rested is in no book, because nothing of it was given to the sink; later ones may be.
            while next < first {
                let until = first.min(next + piece);
                undelivered.add(next..until, None, None);
                next = until;
            }
            // What a crash interrupted is repeated as the same range; which places owe anything of it shows when it is read.
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
    pub async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut durable_end = self.shared.spool.watch_durable_end();
        let mut awaited = self.shared.progress.watch_awaited();
        let mut quiet_since = Instant::now();
        loop {
            let now = Instant::now();
            let end = *durable_end.borrow_and_update();
            let is_stopping = *stopping.borrow_and_update();
            let is_awaited = *awaited.borrow_and_update() > self.reader.next_seq();
            let hurried_at = if is_stopping { Some(now) } else { is_awaited.then(|| self.shared_flush_at(now)) };
            let owed = self.undelivered.due(now);
            let front_at = self.front_at(end, hurried_at, now);
            let is_front_due = front_at.is_some_and(|at| at <= now);
            // Both take turns, so that neither what is owed nor what is new waits behind all of the other.
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

    /// When the next range is due to be read; `None` where there is nothing to read, or no more may be owed.
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

    /// When the flush is due that all requests share which wait for one.
    fn shared_flush_at(&self, now: Instant) -> Instant {
        self.flushed_at.map_or(now, |at| at + LAKE_AWAITED_FLUSH_INTERVAL).max(now)
    }

    /// When the oldest record that waits, the one the reader comes to next, is as old as it may get.
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

    /// Whether `pending` records fill a batch, taking their bytes from the average of what is on disk.
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
            // The spool says so, and knows when the next try makes sense.
            self.read_at = Some(now + self.shared.spool.unreadable_pause());
            return;
        };
        (self.read_at, self.due_at, self.flushed_at) = (None, None, Some(now));
        let range = first..self.reader.next_seq();
        let attempt = self.attempt(&range, found, now).await;
        self.conclude(range, &attempt);
    }

    /// Delivers of a range what its places are owed, as far as they may be tried now.
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

    /// Gives what is not settled of a range to the sink, once.
    async fn attempt(&mut self, range: &Range<u64>, found: ReadBatch, now: Instant) -> Attempt {
        let received = found.frames.first().and_then(received_millis);
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
            match Record::decode(frame.body.clone()) {
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
        // Where a range is settled as a whole, and nothing before it is owed, the cursor says it.
        if !self.undelivered.is_only(range) || attempt.owes() || self.cursor.retry_at().is_some() {
            self.journal.settled(&settled);
        }
        attempt
    }

    async fn give(&self, batch: &Batch, seqs: &[u64], places: &[Place], attempt: &mut Attempt, settled: &mut Vec<u64>) {
        let started = Instant::now();
        let mut deliveries = self.sink.deliver(batch).await;
        let took = started.elapsed();
        // Absence never means success.
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

    /// Makes durable that the delivery of `range` begins. Whether it is.
    fn plan(&mut self, range: &Range<u64>) -> bool {
        let cursor = self.shared.spool.cursor();
        let is_in_cursor = cursor.delivered_exclusive == range.start && cursor.planned_end_exclusive == Some(range.end);
        if !self.sink.replays_by_range() || is_in_cursor || self.planned.get(&range.start) == Some(&range.end) {
            return true;
        }
        tokio::task::block_in_place(|| {
            let is_at_cursor = cursor.delivered_exclusive == range.start && cursor.planned_end_exclusive.is_none();
            if is_at_cursor && self.shared.spool.plan(range.end).is_ok() {
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
