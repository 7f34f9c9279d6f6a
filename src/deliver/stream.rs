//! From the spool to a stream: many calls in flight, each record on its own, shard by shard.
//!
//! ```text
//! spool ─▶ intake ─▶ queues ─▶ call ─▶ answer ─▶ journal ─▶ progress ─▶ cursor ─▶ unlink
//!          formats,  one per   500     per        settled    tells      the part
//!          places    shard     records record     or again   waiters    without gaps
//! ```
//! One task owns all of this. A failed record goes back into its queue and is sent again, alone; a shard that throttles slows
//! only itself ([`shard_throttle`]); during an outage one call at a time probes the stream ([`health`]). Events may arrive in
//! any order, unless [`StreamSettings::ordered_by_key`] is set.

mod by_seq;
mod call_results;
mod erased;
mod health;
mod intake;
mod invalid_records;
mod reading;
mod received_times;
mod record_format;
mod refusal;
mod refused;
mod shard_queues;
mod shard_throttle;
mod shard_watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    journal::{Journal, Journaled},
    shared::{CursorMover, Shared},
};
use crate::{
    limits::STREAM_COMMIT_INTERVAL,
    sink::stream::{Answer, MapNeed, ShardMap, ShardsUnknown, Stream, StreamRecord, StreamSettings},
    spool::AttemptGuard,
};
use health::Health;
use intake::Intake;
use invalid_records::{Success, SuspectedRecords, Suspicion};
pub use record_format::{EventFormat, KeySource, StreamFormat};
use refusal::Refusal;
use shard_queues::{CallBounds, Class, ShardQueues};
use shard_watch::ShardWatch;

/// Delivers to a stream.
pub struct StreamDeliverer {
    /// The context of every deliverer.
    pub shared: Shared,
    /// The destination of the records.
    pub stream: Arc<dyn Stream>,
    /// The format of the records.
    pub form: StreamFormat,
    /// The settings of the delivery.
    pub settings: StreamSettings,
    journal: Journal,
    known: Journaled,
}

/// A call that ended.
struct Done {
    records: Vec<StreamRecord>,
    class: Class,
    answer: Answer,
    /// The shard whose only call this was.
    shard: Option<String>,
    /// Version of the shard map when the call was sent.
    map_version: u64,
    /// Set if the call was sent to find out which of its records is invalid.
    suspicion: Option<Suspicion>,
    /// The last call that had stored something when this call was sent.
    success_before: Option<Success>,
    sent_at: Instant,
    took: Duration,
    /// An erasure waits until the answer is processed.
    under_way: AttemptGuard,
}

impl StreamDeliverer {
    /// A deliverer with the journal in the file `journal`. `shared.progress` takes over what the journal knows to be delivered.
    #[must_use]
    pub fn open(shared: Shared, stream: Arc<dyn Stream>, form: StreamFormat, settings: StreamSettings, journal: PathBuf) -> Self {
        let (journal, mut known) = shared.open_journal(journal);
        let cursor = shared.cursor.get();
        if let Some(end) = cursor.planned_end_exclusive {
            // A lake may become the sink again.
            known.stretches.entry(cursor.delivered_exclusive).or_insert(end);
        }
        Self { shared, stream, form, settings, journal, known }
    }

    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        Flow::new(self, Instant::now()).run(stopping).await;
    }
}

/// A running deliverer.
struct Flow {
    shared: Shared,
    stream: Arc<dyn Stream>,
    settings: StreamSettings,
    intake: Intake,
    queues: ShardQueues,
    shards: ShardWatch,
    health: Health,
    journal: Journal,
    calls: JoinSet<Done>,
    backlog_in_flight: usize,
    /// Parts of calls that the stream rejected as invalid.
    suspects: SuspectedRecords,
    is_suspects_turn: bool,
    /// Events that the stream will never take, until they are in the dead letters.
    refusals: Vec<Refusal>,
    /// Shards that take nothing.
    failing_shards: BTreeSet<String>,
    /// Shards with gauges.
    shown_shards: BTreeSet<String>,
    /// Ranges that a lake began: first number to end.
    stretches: BTreeMap<u64, u64>,
    cursor: CursorMover,
    /// When reading at the spool's end, and of a backlog, is retried after a failure.
    reading: [Option<Instant>; 2],
    /// Bytes sent by each class since both had something to send.
    turns: [u64; 2],
    /// Number after the newest event that was sent: a request that waits for a later event is urgent.
    sent_up_to: u64,
    /// Since when live events wait; failed events do not linger again.
    waiting_since: Option<Instant>,
    /// No read at the spool's end before this time, unless a request is urgent.
    read_again_at: Instant,
    looked_at_age: Instant,
    committed_at: Instant,
    /// When the journal was last checked.
    booked_at: Instant,
}

impl Flow {
    fn new(deliverer: StreamDeliverer, now: Instant) -> Self {
        let StreamDeliverer { shared, stream, form, settings, journal, known } = deliverer;
        let Journaled { settled, sent, stretches } = known;
        let queues = ShardQueues::new(&settings, now);
        Self {
            intake: Intake::new(&shared, form, &settings, &settled, sent),
            shards: ShardWatch::new(settings.packing.is_packed()),
            shared,
            stream,
            settings,
            queues,
            health: Health::new(now),
            journal,
            calls: JoinSet::new(),
            backlog_in_flight: 0,
            suspects: SuspectedRecords::default(),
            is_suspects_turn: false,
            refusals: Vec::new(),
            failing_shards: BTreeSet::new(),
            shown_shards: BTreeSet::new(),
            stretches,
            cursor: CursorMover::default(),
            reading: Default::default(),
            turns: [0; 2],
            sent_up_to: 0,
            waiting_since: None,
            read_again_at: now,
            looked_at_age: now,
            committed_at: now,
            booked_at: now,
        }
    }

    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut durable_end = self.shared.spool.watch_durable_end();
        let mut awaited = self.shared.progress.watch_awaited();
        self.shards.look(&self.stream);
        loop {
            let now = Instant::now();
            let end = *durable_end.borrow_and_update();
            let is_stopping = *stopping.borrow_and_update();
            let is_hurried = is_stopping || *awaited.borrow_and_update() > self.sent_up_to;
            self.keep_refusals(now).await;
            let has_read = self.read(is_hurried, now).await;
            if has_read && self.stream.map_need() == MapNeed::Now {
                self.shards.look_soon(&self.stream);
            }
            if self.waiting_since.is_none() && self.queues.waiting(Class::Live).0 > 0 {
                self.waiting_since = Some(now);
            }
            let has_sent = self.send(is_hurried, now);
            self.commit(end, now).await;
            if is_stopping && self.calls.is_empty() && self.shared.progress.settled_exclusive() >= end {
                return;
            }
            if has_read || has_sent {
                // Answers that have already arrived come first.
                while let Some(done) = self.calls.try_join_next() {
                    self.settle(done).await;
                }
                tokio::task::yield_now().await;
                continue;
            }
            let wake_at = self.wake_at(is_hurried, now);
            tokio::select! {
                Some(done) = self.calls.join_next() => self.settle(done).await,
                shards = self.shards.answer() => {
                    self.report_shards(&shards);
                    self.shards.take(shards, &mut self.queues, now);
                    self.look_at_shards();
                }
                () = tokio::time::sleep_until(wake_at.into()) => {}
                _ = durable_end.changed(), if now >= self.read_again_at => {}
                _ = awaited.changed() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Before the first call, the shard list shows whether the stream is reachable.
    fn report_shards(&self, shards: &Result<ShardMap, ShardsUnknown>) {
        match shards {
            _ if self.health.has_been_tried() => {}
            Ok(_) => self.shared.report(None, 0),
            Err(unknown) if unknown.is_denied => {}
            Err(unknown) => self.shared.report(Some(&unknown.reason), 0),
        }
    }

    /// Makes the calls that are due. Returns whether it made any.
    fn send(&mut self, is_hurried: bool, now: Instant) -> bool {
        let mut has_sent = false;
        while self.calls.len() < self.health.calls_max(self.settings.calls_in_flight_max) && self.health.ready_at() <= now {
            let class = self.next_class(is_hurried, now);
            // Suspected and other records alternate: a suspected record is only proven invalid after other records were stored.
            self.is_suspects_turn = !self.is_suspects_turn || class.is_none();
            let suspect = if self.is_suspects_turn { self.suspects.take_due(now) } else { None };
            if let Some((records, suspicion)) = suspect {
                self.call(records, Class::Live, Some(suspicion));
                has_sent = true;
                continue;
            }
            let Some(class) = class else { break };
            let bounds = CallBounds { records_max: self.settings.call_records_max, bytes_max: self.settings.call_bytes_max };
            let records = self.queues.take_call(class, self.settings.packing, bounds, now);
            if records.is_empty() {
                break;
            }
            self.turns[class as usize] += records.iter().map(|record| record.size() as u64).sum::<u64>();
            if class == Class::Live && !self.has_shard_due(now) {
                self.waiting_since = (self.queues.waiting(Class::Live).0 > 0).then_some(now);
            }
            self.call(records, class, None);
            has_sent = true;
        }
        has_sent
    }

    /// Whether more shards get a call each in this turn.
    fn has_shard_due(&self, now: Instant) -> bool {
        self.settings.rules.calls_by_shard && self.queues.ready_at(Class::Live).is_some_and(|at| at <= now)
    }

    /// The class of the next call: if both new events and a backlog are ready, each gets its share.
    fn next_class(&mut self, is_hurried: bool, now: Instant) -> Option<Class> {
        let is_ready = |class| self.queues.ready_at(class).is_some_and(|at| at <= now);
        let live = is_ready(Class::Live) && self.live_due_at(is_hurried).is_some_and(|at| at <= now);
        // A backlog leaves one call for new events.
        let backlog_calls_max = (self.settings.calls_in_flight_max - 1).max(1);
        let backlog = is_ready(Class::Backlog) && self.backlog_in_flight < backlog_calls_max;
        if !(live && backlog) {
            // A class that had nothing to send gets no compensation for it.
            self.turns = [0; 2];
        }
        match (live, backlog) {
            (false, false) => None,
            (true, false) => Some(Class::Live),
            (false, true) => Some(Class::Backlog),
            (true, true) => {
                let percent = u64::from(self.settings.backlog_percent);
                let [live, backlog] = self.turns;
                let is_backlogs = backlog * (100 - percent) < live * percent;
                Some(if is_backlogs { Class::Backlog } else { Class::Live })
            }
        }
    }

    /// When new events are due: when a call is full or the oldest event has waited long enough.
    fn live_due_at(&self, is_hurried: bool) -> Option<Instant> {
        let since = self.waiting_since?;
        let (events, bytes) = self.queues.waiting(Class::Live);
        let is_full = bytes >= self.settings.call_bytes_max
            || (!self.settings.packing.is_packed() && events >= self.settings.call_records_max);
        Some(if is_hurried || is_full { since } else { since + self.settings.linger })
    }

    fn call(&mut self, records: Vec<StreamRecord>, class: Class, suspicion: Option<Suspicion>) {
        let under_way = self.shared.spool.begin_attempt();
        let mut records = self.without_erased(records, &under_way);
        if records.is_empty() {
            if suspicion.is_some() {
                self.suspects.came_back();
            }
            return;
        }
        let mut seqs: Vec<u64> = records.iter().flat_map(|record| &record.entries).map(|entry| entry.seq).collect();
        seqs.sort_unstable();
        self.journal.sent(&seqs);
        self.sent_up_to = self.sent_up_to.max(seqs.last().map_or(0, |seq| seq + 1));
        for entry in records.iter_mut().flat_map(|record| &mut record.entries) {
            if std::mem::take(&mut entry.is_maybe_sent) {
                self.shared.metrics.maybe_duplicate_events.inc();
            }
        }
        self.backlog_in_flight += usize::from(class == Class::Backlog);
        let (stream, map_version, success_before) = (self.stream.clone(), self.shards.version(), self.health.success());
        let sent_at = Instant::now();
        let shard = self.queues.call_made(&records, sent_at);
        self.calls.spawn(async move {
            let answer = stream.put(&records).await;
            let took = sent_at.elapsed();
            Done { records, class, answer, shard, map_version, suspicion, success_before, sent_at, took, under_way }
        });
    }

    /// When the next step is due at the latest, if nothing happens before.
    fn wake_at(&self, is_hurried: bool, now: Instant) -> Instant {
        let sends = self.calls.len() < self.health.calls_max(self.settings.calls_in_flight_max);
        let live = self.queues.ready_at(Class::Live).zip(self.live_due_at(is_hurried)).map(|(ready, due)| ready.max(due));
        let next = live.into_iter().chain(self.queues.ready_at(Class::Backlog)).min().filter(|_| sends);
        let suspects = self.suspects.next_at().filter(|_| sends);
        let next = next.into_iter().chain(suspects).map(|at| at.max(self.health.ready_at())).min();
        // After a while in any case, to check the cursor, the shards and the gauges.
        let later = now + Duration::from_secs(1);
        let soonest = now + Duration::from_millis(1);
        let commit = (self.shared.progress.settled_exclusive() > self.shared.cursor.get().delivered_exclusive)
            .then_some(self.committed_at + STREAM_COMMIT_INTERVAL);
        // Until then new events cause no wake-up.
        let read = (now < self.read_again_at).then_some(self.read_again_at);
        next.into_iter().chain(commit).chain(read).min().map_or(later, |at| at.clamp(soonest, later))
    }

    /// Moves the cursor over settled events, and from time to time updates the age of the rest.
    async fn commit(&mut self, end: u64, now: Instant) {
        let settled = self.shared.progress.settled_exclusive();
        let is_idle = self.calls.is_empty() && settled >= end;
        if settled > self.shared.cursor.get().delivered_exclusive
            && (is_idle || now >= self.committed_at + STREAM_COMMIT_INTERVAL)
        {
            self.committed_at = now;
            if self.cursor.move_to(&self.shared, settled, now) {
                self.shared.retire(false).await;
            }
        }
        if now >= self.booked_at + STREAM_COMMIT_INTERVAL {
            self.booked_at = now;
            self.sync_journal(now);
        }
        if is_idle && now >= self.committed_at + self.shared.roll_after() {
            self.committed_at = now;
            self.shared.retire(true).await;
        }
        if now >= self.looked_at_age + Duration::from_secs(1) {
            self.looked_at_age = now;
            self.look_at_gauges(settled < end);
            self.shards.look_if_due(&self.stream, now);
        }
    }

    /// Syncs the journal, and rewrites it when that is due, even if the cursor does not move.
    fn sync_journal(&mut self, now: Instant) {
        tokio::task::block_in_place(|| {
            self.journal.sync();
            if self.journal.is_due(now) {
                let (settled, sent) = (self.shared.progress.settled_now(), self.intake.maybe_sent_set());
                let known = Journaled { settled, sent, stretches: self.stretches.clone() };
                self.journal.write_anew(self.shared.cursor.get().delivered_exclusive, &known, now);
            }
        });
    }
}

#[cfg(test)]
mod tests;
