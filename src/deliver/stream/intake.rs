//! From the spool into the queues: new events and backlogs.
//!
//! One reader follows the spool's end. If a queue is full, the reader skips its events: the queue remembers where they begin,
//! and a second read fetches them when there is space. So a slow shard delays only its own events, and memory stays bounded.
//! After an outage the reader jumps to the end, so that new events need not wait; the skipped range is fetched in the same way,
//! the oldest first. A bit set records which events were taken, so that a second read never takes an event twice.

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
    deliver::{Shared, SinkNames, shared::received_millis},
    event::unix_millis,
    limits::{BACKLOG_AFTER, STREAM_AHEAD_EVENTS_MAX, STREAM_READ_BYTES, STREAM_READ_RECORDS},
    progress::SeqSet,
    sink::stream::{Entry, HashKey, KeyRules, Packing, StreamSettings, place_in_topic},
    spool::{Frame, ReadBatch, Reader, Spool},
};

/// See the module.
pub(super) struct Intake {
    pub(super) spool: Arc<Spool>,
    pub(super) form: StreamFormat,
    sinks: SinkNames,
    pub(super) packing: Packing,
    pub(super) record_bytes_max: usize,
    keys: KeyRules,
    live: Reader,
    /// Events in memory, or settled.
    taken: SeqSet,
    /// Events that were sent before the start, and never answered.
    maybe_sent: SeqSet,
    /// Memory of events that were taken and are not settled.
    held_bytes: usize,
    block: Option<Block>,
    /// Received time of the first event of each range that was read.
    ages: ReceivedTimes,
    /// Buffer for an event whose length is not known yet.
    scratch: Vec<u8>,
}

/// Consecutive events that go to one place, to share a record, if any place will do.
struct Block {
    place: HashKey,
    bytes_left: usize,
}

/// Items of one read that are not events for the queues.
#[derive(Debug, Default)]
pub(super) struct Unsendable {
    /// Frames without sendable contents, and why.
    pub(super) unreadable: Vec<(Frame, String)>,
    /// Events too large for any record, and why.
    pub(super) too_large: Vec<(Frame, String)>,
    /// Events that are for another sink only.
    pub(super) of_other_sinks: Vec<u64>,
    /// Numbers whose frames decayed.
    pub(super) lost: Vec<Range<u64>>,
}

impl Intake {
    pub(super) fn new(shared: &Shared, form: StreamFormat, settings: &StreamSettings, settled: &SeqSet, sent: SeqSet) -> Self {
        let (spool, sinks) = (shared.spool.clone(), shared.sinks.clone());
        let live = spool.reader(settled.prefix());
        let (taken, block) = (settled.clone(), None);
        let (ages, scratch) = (ReceivedTimes::default(), Vec::new());
        let StreamSettings { packing, record_bytes_max, rules, .. } = *settings;
        let keys = rules.keys;
        Self {
            spool,
            form,
            sinks,
            packing,
            record_bytes_max,
            keys,
            live,
            taken,
            maybe_sent: sent,
            held_bytes: 0,
            block,
            ages,
            scratch,
        }
    }

    /// Bytes of memory of events that were taken and are not settled.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether everything up to `end` was read.
    pub(super) fn has_read_up_to(&self, end: u64) -> bool {
        self.live.next_seq() >= end
    }

    /// Releases the memory of a settled event.
    pub(super) fn release(&mut self, entry: &Entry) {
        self.held_bytes -= weight(entry);
    }

    /// Events that may have been sent: all that were taken, and those sent before the start.
    pub(super) fn maybe_sent_set(&self) -> SeqSet {
        let mut set = self.taken.clone();
        for seq in (set.prefix()..self.maybe_sent.prefix()).chain(self.maybe_sent.ranges_ahead().flatten()) {
            set.insert(seq);
        }
        set
    }

    /// When the oldest unsettled event, number `first_unsettled`, was received, to the second. Reads the disk if nothing was
    /// read yet.
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

    /// Reads on at the spool's end. `None` if there is nothing to read, or no space.
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

    /// Makes a backlog of the block at which live reading fails, so that later blocks in other files continue. Does nothing if
    /// the order of events matters.
    pub(super) fn step_aside(&mut self, queues: &mut ShardQueues) {
        if !queues.is_ordered() && self.live.next_seq() < self.spool.durable_end() {
            self.make_backlog(queues);
        }
    }

    /// Makes a backlog of all unread events: reading continues at the spool's end, so that new events need not wait.
    pub(super) fn make_backlog(&mut self, queues: &mut ShardQueues) {
        for queue in queues.iter_mut() {
            queue.backlog.get_or_insert_with(|| self.live.clone());
        }
        self.live = self.spool.reader(self.spool.durable_end());
    }

    /// Fetches skipped events for the queues that have space again. `None` if there is nothing to do.
    pub(super) fn read_backlog(&mut self, queues: &mut ShardQueues, now: Instant) -> Option<std::io::Result<Unsendable>> {
        let class = if queues.is_ordered() { Class::Live } else { Class::Backlog };
        let with_room = queues.iter().filter(|queue| queues.queue_has_room(queue, class));
        let mut reader = with_room.filter_map(|queue| queue.backlog.as_ref()).min_by_key(|reader| reader.next_seq())?.clone();
        let before = reader.clone();
        let batch = match reader.read(STREAM_READ_RECORDS, STREAM_READ_BYTES) {
            Ok(batch) => batch,
            Err(error) => {
                // Every queue at this position gets the reader that failed, which knows the earlier attempts.
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
        // A queue whose backlog begins in this range continues behind it, unless the read meets events without space.
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

    /// The frame in the stream's format, and its place; `None` if it was taken before, or cannot be sent.
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
        let formed = match self.form.form(frame.seq, &frame.body, &self.sinks, &self.keys, &mut self.scratch) {
            Ok(Some(formed)) => formed,
            Ok(None) => {
                self.taken.insert(frame.seq);
                found.of_other_sinks.push(frame.seq);
                return None;
            }
            Err(reason) => {
                self.taken.insert(frame.seq);
                found.unreadable.push((frame.clone(), reason));
                return None;
            }
        };
        let bytes = formed.key.len() + formed.data.len();
        if bytes > self.record_bytes_max {
            self.taken.insert(frame.seq);
            let with_key = if formed.key.is_empty() { "" } else { " with its partition key" };
            let reason = format!("{bytes} bytes{with_key}; a record of the stream holds {}", self.record_bytes_max);
            found.too_large.push((frame.clone(), reason));
            return None;
        }
        let place = self.place(&formed, queues, class, now);
        Some((formed, place))
    }

    /// The place of an event. Packed events whose key is only their identity may go anywhere: consecutive events go together,
    /// the next ones to the next shard.
    fn place(&mut self, formed: &FormattedEvent, queues: &mut ShardQueues, class: Class, now: Instant) -> HashKey {
        if !self.packing.shares_key {
            return place_in_topic(formed.topic, (self.keys.place_of)(&formed.key));
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
        let FormattedEvent { key, data, headers_bytes, .. } = formed;
        let entry = Entry { seq: frame.seq, key, place, data, headers_bytes, is_maybe_sent };
        self.taken.insert(frame.seq);
        self.held_bytes += weight(&entry);
        entry
    }

    /// The lost numbers of a batch; they count as taken.
    fn losses(&mut self, batch: &ReadBatch) -> Vec<Range<u64>> {
        for seq in batch.lost.iter().cloned().flatten() {
            self.taken.insert(seq);
        }
        batch.lost.clone()
    }

    /// Whether a batch is so old that newer events must not wait behind it.
    fn is_backlog(&self, batch: &ReadBatch) -> bool {
        let first = batch.frames.iter().find(|frame| !self.taken.contains(frame.seq));
        let received = first.and_then(received_millis);
        received.is_some_and(|received| unix_millis(SystemTime::now()) - received > BACKLOG_AFTER.as_millis() as i64)
    }
}
