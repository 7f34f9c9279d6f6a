//! One queue per shard: the events that wait in memory, the throttle of the shard, and where its other events are on disk.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque, hash_map},
    time::Instant,
};

use super::{by_seq::BySeq, shard_throttle::ShardThrottle};
use crate::{
    limits::STREAM_ENTRY_OVERHEAD_BYTES,
    sink::stream::{Entry, HashKey, Packing, RecordBuilder, Shard, ShardMap, StreamRecord, StreamRules, StreamSettings},
    spool::Reader,
};

/// Why an event is sent now: it is new, or it is left over from an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Live = 0,
    Backlog = 1,
}

/// See the module.
pub(super) struct ShardQueue {
    pub(super) shard: Shard,
    pub(super) throttle: ShardThrottle,
    /// Where the first skipped event of this queue may lie; all earlier events of the queue are in memory or settled.
    pub(super) backlog: Option<Reader>,
    waiting: [Waiting; 2],
    /// The code of the last failure of a record.
    pub(super) last_failure: String,
    /// The call in flight, if a shard has one call at a time.
    call: Option<ShardCall>,
}

/// The only call in flight of a shard.
#[derive(Clone, Copy, Debug)]
struct ShardCall {
    sent_at: Instant,
    /// Memory of its events.
    bytes: usize,
}

#[derive(Default)]
struct Waiting {
    /// Events that may be sent, in the order of the spool.
    entries: BySeq,
    /// Memory of these events, and of events held back for the order of their keys.
    bytes: usize,
}

impl Waiting {
    fn insert(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.entries.insert(entry);
    }

    fn take_first(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_first()?;
        self.bytes -= weight(&entry);
        Some(entry)
    }
}

/// Approximate bytes of memory of an entry.
pub(super) fn weight(entry: &Entry) -> usize {
    entry.data.len() + entry.key.len() + STREAM_ENTRY_OVERHEAD_BYTES
}

impl ShardQueue {
    fn new(shard: Shard, now: Instant) -> Self {
        Self {
            shard,
            throttle: ShardThrottle::new(now),
            backlog: None,
            waiting: Default::default(),
            last_failure: String::new(),
            call: None,
        }
    }

    /// The earliest time for the next call; `None` while the only call of the shard is in flight.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        self.call.is_none().then(|| self.throttle.ready_at())
    }

    /// Since when the shard takes nothing; `None` if it takes records. A shard with one call at a time takes nothing while this
    /// call has no answer.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.throttle.failing_since().or(self.call.map(|call| call.sent_at))
    }

    /// Whether the shard has events to take.
    pub(super) fn has_events(&self) -> bool {
        self.call.is_some() || self.waiting_events() > 0
    }

    fn head(&self, class: Class) -> Option<&Entry> {
        self.waiting[class as usize].entries.first()
    }

    pub(super) fn waiting_events(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.entries.len()).sum()
    }
}

/// Limits of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallBounds {
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
}

/// All queues.
pub(super) struct ShardQueues {
    pub(super) map: ShardMap,
    queues: Vec<ShardQueue>,
    /// Index of the queue that [`ShardQueues::any_place`] returned last.
    turn: usize,
    rules: StreamRules,
    memory_bytes_max: usize,
    backlog_percent: usize,
    /// If events of one key must arrive in order: each key with an event that may be sent or is in flight, and its later
    /// events, which are held back.
    held_by_key: Option<HashMap<Box<str>, VecDeque<Entry>>>,
}

impl ShardQueues {
    pub(super) fn new(settings: &StreamSettings, now: Instant) -> Self {
        let StreamSettings { memory_bytes_max, backlog_percent, ordered_by_key, rules, .. } = *settings;
        let map = ShardMap::unknown();
        let queues = map.shards().iter().map(|shard| ShardQueue::new(shard.clone(), now)).collect();
        let held_by_key = ordered_by_key.then(HashMap::new);
        Self { map, queues, turn: 0, rules, memory_bytes_max, backlog_percent: backlog_percent.into(), held_by_key }
    }

    /// Applies a new shard map: waiting events move to the queues of the new shards, and a shard that stays keeps its rate.
    pub(super) fn remap(&mut self, map: ShardMap, now: Instant) {
        let old = std::mem::take(&mut self.queues);
        let backlog = old.iter().filter_map(|queue| queue.backlog.as_ref()).min_by_key(|reader| reader.next_seq()).cloned();
        self.queues = map.shards().iter().map(|shard| ShardQueue::new(shard.clone(), now)).collect();
        self.map = map;
        for queue in &mut self.queues {
            queue.backlog.clone_from(&backlog);
        }
        for queue in old {
            if let Some(same) = self.queues.iter_mut().find(|other| other.shard == queue.shard) {
                same.throttle = queue.throttle;
                same.call = queue.call;
                same.last_failure = queue.last_failure;
            }
            for (class, waiting) in [Class::Live, Class::Backlog].into_iter().zip(queue.waiting) {
                waiting.entries.into_iter().for_each(|entry| self.put_back(entry, class));
            }
        }
        for entry in self.held_by_key.iter().flat_map(HashMap::values).flatten() {
            self.queues[self.map.owner(entry.place)].waiting[Class::Live as usize].bytes += weight(entry);
        }
    }

    /// Whether events of one key must arrive in order. Then all events are of the class [`Class::Live`].
    pub(super) fn is_ordered(&self) -> bool {
        self.held_by_key.is_some()
    }

    pub(super) fn owner(&mut self, place: HashKey) -> &mut ShardQueue {
        let index = self.map.owner(place);
        &mut self.queues[index]
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, ShardQueue> {
        self.queues.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, ShardQueue> {
        self.queues.iter_mut()
    }

    /// Whether the queue of `place` has memory for one more event.
    pub(super) fn has_room(&self, place: HashKey, class: Class) -> bool {
        self.queue_has_room(&self.queues[self.map.owner(place)], class)
    }

    pub(super) fn queue_has_room(&self, queue: &ShardQueue, class: Class) -> bool {
        let whole = (self.memory_bytes_max / self.queues.len()).max(self.rules.shard_bytes_min);
        let share = match class {
            Class::Live if queue.backlog.is_none() && queue.waiting[1].entries.is_empty() => 100,
            Class::Live => 100 - self.backlog_percent,
            Class::Backlog => self.backlog_percent,
        };
        let in_flight = queue.call.map_or(0, |call| call.bytes);
        queue.waiting[class as usize].bytes + in_flight < whole / 100 * share
    }

    /// A place for an event of any place: the next queue in turn with space and without throttling, or else the queue with
    /// the fewest waiting bytes.
    pub(super) fn any_place(&mut self, class: Class, now: Instant) -> HashKey {
        let mut turns = (1..=self.queues.len()).map(|step| (self.turn + step) % self.queues.len());
        let is_free = |index: &usize| {
            let queue = &self.queues[*index];
            queue.throttle.rate().is_none() && queue.throttle.ready_at() <= now && self.queue_has_room(queue, class)
        };
        let least = || (0..self.queues.len()).min_by_key(|index| self.queues[*index].waiting[class as usize].bytes);
        self.turn = turns.find(is_free).or_else(least).unwrap_or(0);
        let range = self.queues[self.turn].shard.range;
        fastrand::u128(range.first..=range.last)
    }

    /// Puts an event into the queue of its shard.
    pub(super) fn put(&mut self, entry: Entry, class: Class) {
        if let Some(held) = &mut self.held_by_key {
            match held.entry(entry.key.clone()) {
                hash_map::Entry::Vacant(key) => drop(key.insert(VecDeque::new())),
                hash_map::Entry::Occupied(key) => {
                    self.queues[self.map.owner(entry.place)].waiting[class as usize].bytes += weight(&entry);
                    return key.into_mut().push_back(entry);
                }
            }
        }
        self.put_back(entry, class);
    }

    /// Returns an event that must be sent again to its queue; it goes before all others of its key.
    pub(super) fn put_back(&mut self, entry: Entry, class: Class) {
        self.owner(entry.place).waiting[class as usize].insert(entry);
    }

    /// Makes a backlog of all waiting events, so that new events need not wait behind them. Do not call if order matters.
    pub(super) fn make_backlog(&mut self) {
        debug_assert!(!self.is_ordered());
        for queue in &mut self.queues {
            let [live, backlog] = &mut queue.waiting;
            std::mem::take(live).entries.into_iter().for_each(|entry| backlog.insert(entry));
        }
    }

    /// Releases the next event of the key of a settled event.
    pub(super) fn release(&mut self, settled: &Entry) {
        let Some(held) = &mut self.held_by_key else { return };
        match held.get_mut(&settled.key).and_then(VecDeque::pop_front) {
            Some(next) => {
                let waiting = &mut self.queues[self.map.owner(next.place)].waiting[Class::Live as usize];
                waiting.entries.insert(next);
            }
            None => drop(held.remove(&settled.key)),
        }
    }

    /// Events and bytes that wait.
    pub(super) fn waiting(&self, class: Class) -> (usize, usize) {
        let waiting = || self.queues.iter().map(|queue| &queue.waiting[class as usize]);
        (waiting().map(|waiting| waiting.entries.len()).sum(), waiting().map(|waiting| waiting.bytes).sum())
    }

    /// When the first event of `class` may be sent, as far as the throttles allow. `None` if nothing waits.
    pub(super) fn ready_at(&self, class: Class) -> Option<Instant> {
        self.queues.iter().filter(|queue| queue.head(class).is_some()).filter_map(ShardQueue::ready_at).min()
    }

    /// Takes the records of one call, the oldest first, from the shards that are ready.
    pub(super) fn take_call(&mut self, class: Class, packing: Packing, bounds: CallBounds, now: Instant) -> Vec<StreamRecord> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let is_ready = |queue: &ShardQueue| queue.ready_at().is_some_and(|at| at <= now);
        let ready = self.queues.iter().enumerate().filter(|(_, queue)| is_ready(queue));
        let heads = ready.filter_map(|(index, queue)| queue.head(class).map(|entry| Reverse((entry.seq, index))));
        // The greatest in reverse is the oldest.
        let mut heads: BinaryHeap<_> =
            if self.rules.calls_by_shard { heads.max().into_iter().collect() } else { heads.collect() };
        while let Some(Reverse((_, index))) = heads.pop() {
            let Some(record) = self.take_record(index, class, packing) else { continue };
            if bytes + record.size() > bounds.bytes_max && !records.is_empty() {
                record.entries.into_iter().for_each(|entry| self.put_back(entry, class));
                break;
            }
            bytes += record.size();
            self.queues[index].throttle.spend(self.rules.cost(record.size()), now);
            records.push(record);
            if records.len() == bounds.records_max {
                break;
            }
            let queue = &self.queues[index];
            if let (true, Some(next)) = (is_ready(queue), queue.head(class)) {
                heads.push(Reverse((next.seq, index)));
            }
        }
        records
    }

    /// Records that a call with these records is made. Returns the id of the shard, if it has one call at a time.
    pub(super) fn call_made(&mut self, records: &[StreamRecord], sent_at: Instant) -> Option<String> {
        let first = records.iter().flat_map(|record| &record.entries).next().filter(|_| self.rules.calls_by_shard)?;
        let bytes = records.iter().flat_map(|record| &record.entries).map(weight).sum();
        let queue = self.owner(first.place);
        queue.call = Some(ShardCall { sent_at, bytes });
        Some(queue.shard.id.clone())
    }

    /// Records that the call in flight of this shard has ended.
    pub(super) fn call_ended(&mut self, shard: &str) {
        // A shard that no longer exists has no call.
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.shard.id == shard) {
            queue.call = None;
        }
    }

    fn take_record(&mut self, index: usize, class: Class, packing: Packing) -> Option<StreamRecord> {
        let waiting = &mut self.queues[index].waiting[class as usize];
        let mut builder = RecordBuilder::new(packing, waiting.take_first()?);
        while waiting.entries.first().is_some_and(|next| builder.has_room_for(next)) {
            if let Some(next) = waiting.take_first() {
                builder.push(next);
            }
        }
        Some(builder.finish())
    }
}
