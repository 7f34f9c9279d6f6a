//! From the spool into the queues: what came in just now, and what is left over.
//!
//! One reader follows the spool's end. Where a queue has no room, its events are read past: the queue remembers from where
//! on, and a second look fetches them when there is room. So a shard that takes little holds up its own events alone, and
//! memory stays bounded. After an outage the reader goes straight to the end, so that new events need not wait, and the
//! whole stretch before it is fetched like that, the oldest first. A set of bits knows what was taken, so that a second
//! look never takes anything twice.

use std::{
    ops::Range,
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    received_times::ReceivedTimes,
    record_format::{FormattedEvent, StreamFormat},
    shard_queues::{Class, ShardQueues, weight},
};
use crate::{
    deliver::shared::received_millis,
    event::unix_millis,
    limits::{BACKLOG_AFTER, STREAM_AHEAD_EVENTS_MAX, STREAM_READ_BYTES, STREAM_READ_RECORDS},
    progress::SeqSet,
    sink::kinesis::{Entry, HashKey, Packing, hash_key},
    spool::{Frame, ReadBatch, Reader, Spool},
};

/// See the module.
pub(super) struct Intake {
    pub(super) spool: Arc<Spool>,
    pub(super) form: StreamFormat,
    pub(super) packing: Packing,
    pub(super) record_bytes_max: usize,
    live: Reader,
    /// In memory, or settled.
    taken: SeqSet,
    /// Sent before the start, and never answered.
    maybe_sent: SeqSet,
    /// Memory of what was taken and is not settled.
    held_bytes: usize,
    block: Option<Block>,
    /// Of each stretch that was read, the first.
    ages: ReceivedTimes,
    /// Where an event is written before its length is known.
    scratch: Vec<u8>,
}

/// Consecutive events that go to one place, to share a record, where any place will do.
struct Block {
    place: HashKey,
    bytes_left: usize,
}

/// What one read came upon besides events for the queues.
#[derive(Debug, Default)]
pub(super) struct Unsendable {
    /// Frames that hold nothing that can be sent, and why.
    pub(super) unreadable: Vec<(Frame, String)>,
    /// Events that no record can hold, and why.
    pub(super) too_large: Vec<(Frame, String)>,
    /// Numbers whose frames decayed.
    pub(super) lost: Vec<Range<u64>>,
}

impl Intake {
    pub(super) fn new(
        spool: Arc<Spool>,
        form: StreamFormat,
        packing: Packing,
        record_bytes_max: usize,
        settled: &SeqSet,
        sent: SeqSet,
    ) -> Self {
        let live = spool.reader(settled.prefix());
        let (taken, block) = (settled.clone(), None);
        let (ages, scratch) = (ReceivedTimes::default(), Vec::new());
        Self { spool, form, packing, record_bytes_max, live, taken, maybe_sent: sent, held_bytes: 0, block, ages, scratch }
    }

    /// Bytes of memory that what was taken and is not settled takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether everything up to `end` was read.
    pub(super) fn has_read_up_to(&self, end: u64) -> bool {
        self.live.next_seq() >= end
    }

    /// This one is settled.
    pub(super) fn release(&mut self, entry: &Entry) {
        self.held_bytes -= weight(entry);
    }

    /// What may have been sent: all that was taken, and what was sent before the start.
    pub(super) fn maybe_sent_set(&self) -> SeqSet {
        let mut set = self.taken.clone();
        for seq in (set.prefix()..self.maybe_sent.prefix()).chain(self.maybe_sent.ranges_ahead().flatten()) {
            set.insert(seq);
        }
        set
    }

    /// When the oldest event was received, to the second, that is not settled: the one with the number `first_unsettled`.
    /// Reads the disk where nothing was read yet.
    pub(super) fn oldest_received_millis(&mut self, first_unsettled: u64) -> Option<i64> {
        if let Some(known) = self.ages.at(first_unsettled) {
            return known;
        }
        let batch = self.spool.reader(first_unsettled).read(1, usize::MAX).ok()?;
        self.note_age(&batch);
        self.ages.at(first_unsettled).flatten()
    }

    fn note_age(&mut self, batch: &ReadBatch) {
        if let Some(first) = batch.frames.first() {
            self.ages.note(first.seq, received_millis(first));
        }
    }

    /// Reads on at the spool's end. `None` where nothing is there, or nothing more can be taken.
    pub(super) fn read_live(&mut self, queues: &mut ShardQueues, now: Instant) -> Option<std::io::Result<Unsendable>> {
        let is_far_ahead = self.live.next_seq() - self.taken.prefix().min(self.live.next_seq()) >= STREAM_AHEAD_EVENTS_MAX;
        let has_room = queues.iter().any(|queue| queues.queue_has_room(queue, Class::Live));
        if self.has_read_up_to(self.spool.durable_end()) || is_far_ahead || !has_room {
            return None;
        }
        let before = self.live.clone();
        let batch = match self.live.read(STREAM_READ_RECORDS, STREAM_READ_BYTES) {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        self.note_age(&batch);
        if !queues.is_ordered() && self.is_backlog(&batch) {
            self.live = before;
            self.make_backlog(queues);
            return Some(Ok(Unsendable::default()));
        }
        let is_ordered = queues.is_ordered();
        let mut found = Unsendable { lost: self.losses(&batch), ..Unsendable::default() };
        for frame in batch.frames {
            let Some((formed, place)) = self.look_at(&frame, queues, Class::Live, now, &mut found) else { continue };
            let has_room = queues.has_room(place, Class::Live);
            let queue = queues.owner(place);
            if has_room && (!is_ordered || queue.backlog.is_none()) {
                let entry = self.take(&frame, formed, place);
                queues.put(entry, Class::Live);
            } else {
                queue.backlog.get_or_insert_with(|| before.clone());
            }
        }
        Some(Ok(found))
    }

    /// The block at which live reading fails is waited for as a backlog, and what comes behind it in other files goes on. Not
    /// where the order of events matters.
    pub(super) fn step_aside(&mut self, queues: &mut ShardQueues) {
        if !queues.is_ordered() && self.live.next_seq() < self.spool.durable_end() {
            self.make_backlog(queues);
        }
    }

    /// What was not read yet is a backlog: reading goes on at the spool's end, and new events need not wait.
    pub(super) fn make_backlog(&mut self, queues: &mut ShardQueues) {
        for queue in queues.iter_mut() {
            queue.backlog.get_or_insert_with(|| self.live.clone());
        }
        self.live = self.spool.reader(self.spool.durable_end());
    }

    /// Fetches what was read past, for the queues that have room again. `None` where there is nothing to do.
    pub(super) fn read_backlog(&mut self, queues: &mut ShardQueues, now: Instant) -> Option<std::io::Result<Unsendable>> {
        let class = if queues.is_ordered() { Class::Live } else { Class::Backlog };
        let with_room = queues.iter().filter(|queue| queues.queue_has_room(queue, class));
        let mut reader = with_room.filter_map(|queue| queue.backlog.as_ref()).min_by_key(|reader| reader.next_seq())?.clone();
        let before = reader.clone();
        let batch = match reader.read(STREAM_READ_RECORDS, STREAM_READ_BYTES) {
            Ok(batch) => batch,
            Err(error) => {
                // Whoever waits there keeps the reader that failed, which knows what was tried.
                let waits_there = |at: &&mut Reader| at.next_seq() == before.next_seq();
                queues
                    .iter_mut()
                    .filter_map(|queue| queue.backlog.as_mut())
                    .filter(waits_there)
                    .for_each(|at| *at = reader.clone());
                return Some(Err(error));
            }
        };
        self.note_age(&batch);
        // Whoever waits for something in this stretch goes on behind it, unless it comes upon what there is no room for.
        for queue in queues.iter_mut() {
            let is_here =
                queue.backlog.as_ref().is_some_and(|at| (before.next_seq()..=reader.next_seq()).contains(&at.next_seq()));
            if is_here {
                queue.backlog = (reader.next_seq() < self.live.next_seq()).then(|| reader.clone());
            }
        }
        let mut found = Unsendable { lost: self.losses(&batch), ..Unsendable::default() };
        let is_ordered = queues.is_ordered();
        for frame in batch.frames {
            let Some((formed, place)) = self.look_at(&frame, queues, class, now, &mut found) else { continue };
            let is_left_behind = |at: &Reader| at.next_seq() <= frame.seq;
            let must_wait = is_ordered && queues.owner(place).backlog.as_ref().is_some_and(is_left_behind);
            if queues.has_room(place, class) && !must_wait {
                let entry = self.take(&frame, formed, place);
                queues.put(entry, class);
            } else {
                let queue = queues.owner(place);
                if !queue.backlog.as_ref().is_some_and(is_left_behind) {
                    queue.backlog = Some(before.clone());
                }
            }
        }
        Some(Ok(found))
    }

    /// The frame in the stream's form, and where it goes; `None` where it was taken before, or cannot be sent.
    fn look_at(
        &mut self,
        frame: &Frame,
        queues: &mut ShardQueues,
        class: Class,
        now: Instant,
        found: &mut Unsendable,
    ) -> Option<(FormattedEvent, HashKey)> {
        if self.taken.contains(frame.seq) {
            return None;
        }
        let formed = match self.form.form(frame.seq, &frame.body, &mut self.scratch) {
            Ok(formed) => formed,
            Err(reason) => {
                self.taken.insert(frame.seq);
                found.unreadable.push((frame.clone(), reason));
                return None;
            }
        };
        let bytes = formed.key.len() + formed.data.len();
        if bytes > self.record_bytes_max {
            self.taken.insert(frame.seq);
            let reason = format!("{bytes} bytes with its partition key; a record of the stream holds {}", self.record_bytes_max);
            found.too_large.push((frame.clone(), reason));
            return None;
        }
        let place = self.place(&formed, queues, class, now);
        Some((formed, place))
    }

    /// Where an event goes. Packed events whose key is only their identity may go anywhere: those that follow each other
    /// go together, the next ones to the next shard.
    fn place(&mut self, formed: &FormattedEvent, queues: &mut ShardQueues, class: Class, now: Instant) -> HashKey {
        if !self.packing.shares_key {
            return hash_key(&formed.key);
        }
        let bytes = formed.data.len();
        if let Some(block) = self.block.as_mut().filter(|block| block.bytes_left >= bytes && queues.has_room(block.place, class))
        {
            block.bytes_left -= bytes;
            return block.place;
        }
        let place = queues.any_place(class, now);
        self.block = Some(Block { place, bytes_left: self.packing.bytes_max.saturating_sub(bytes) });
        place
    }

    fn take(&mut self, frame: &Frame, formed: FormattedEvent, place: HashKey) -> Entry {
        let is_maybe_sent = self.maybe_sent.contains(frame.seq);
        let entry = Entry { seq: frame.seq, key: formed.key, place, data: formed.data, is_maybe_sent };
        self.taken.insert(frame.seq);
        self.held_bytes += weight(&entry);
        entry
    }

    /// What of a stretch is lost; it counts as taken.
    fn losses(&mut self, batch: &ReadBatch) -> Vec<Range<u64>> {
        for seq in batch.lost.iter().cloned().flatten() {
            self.taken.insert(seq);
        }
        batch.lost.clone()
    }

    /// Whether what was read is so old that newer events must not wait behind it.
    fn is_backlog(&self, batch: &ReadBatch) -> bool {
        let first = batch.frames.iter().find(|frame| !self.taken.contains(frame.seq));
        let received = first.and_then(received_millis);
        received.is_some_and(|received| unix_millis(SystemTime::now()) - received > BACKLOG_AFTER.as_millis() as i64)
    }
}
