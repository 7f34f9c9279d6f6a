//! From the spool to a stream: many calls in flight, each record on its own, shard by shard.
//!
//! ```text
//! spool ─▶ intake ─▶ lanes ─▶ call ─▶ answer ─▶ journal ─▶ progress ─▶ cursor ─▶ unlink
//!          forms,    one per   500     per        settled    who        the part
//!          places    shard     records record     or again   waits      without gaps
//! ```
//!
//! One task owns all of it. What failed goes back into its lane and is sent again, alone; a shard that throttles slows
//! itself only ([`pace`]); an outage is met by one call at a time ([`health`]). Events may arrive in any order, unless
//! [`StreamSettings::ordered_by_key`] is set.

mod ages;
mod answers;
mod by_seq;
mod form;
mod health;
mod intake;
mod journal;
mod lanes;
mod pace;
mod refused;
mod shard_watch;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use super::shared::Shared;
use crate::{
    config::KinesisConfig,
    limits::{DELIVERY_BACKOFF, STREAM_COMMIT_INTERVAL, STREAM_READ_INTERVAL},
    sink::kinesis::{Answer, Packing, ShardMap, ShardsUnknown, Stream, StreamRecord},
};
pub use form::{EventForm, Form};
use health::Health;
use intake::Intake;
use journal::{Journal, Journaled};
use lanes::{CallBounds, Class, Lanes};
use shard_watch::ShardWatch;

/// How a stream is sent to.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// How events are packed into records.
    pub packing: Packing,
    /// Records in one call.
    pub call_records_max: usize,
    /// Bytes of one call.
    pub call_bytes_max: usize,
    /// Bytes of one record with its key.
    pub record_bytes_max: usize,
    /// Calls in flight at one time.
    pub calls_in_flight_max: usize,
    /// How long an event waits for others.
    pub linger: Duration,
    /// Bytes of events in memory.
    pub memory_bytes_max: usize,
    /// Percent of the throughput that a backlog gets while new events flow.
    pub backlog_percent: u8,
    /// Whether events of one key arrive in order.
    pub ordered_by_key: bool,
}

impl StreamSettings {
    /// As configured, for what `form` makes.
    #[must_use]
    pub fn new(config: &KinesisConfig, form: &Form) -> Self {
        let shares_key = config.aggregation != crate::config::Aggregation::None && form.key_is_identity();
        Self {
            packing: Packing { aggregation: config.aggregation, bytes_max: config.aggregate_bytes_max, shares_key },
            call_records_max: config.call_records_max,
            call_bytes_max: config.call_bytes_max,
            record_bytes_max: config.record_bytes_max,
            calls_in_flight_max: config.calls_in_flight_max,
            linger: Duration::from_millis(config.linger_ms),
            memory_bytes_max: config.memory_bytes_max,
            backlog_percent: config.backlog_percent,
            ordered_by_key: config.ordered_by_key,
        }
    }
}

/// Delivers to a stream.
pub struct StreamDeliverer {
    /// What every deliverer works with.
    pub shared: Shared,
    /// Where the records go.
    pub stream: Arc<dyn Stream>,
    /// What they look like.
    pub form: Form,
    /// How they are sent.
    pub settings: StreamSettings,
    journal: Journal,
    known: Journaled,
}

/// A call that ended.
struct Done {
    records: Vec<StreamRecord>,
    class: Class,
    answer: Answer,
    /// How often the shards had changed when it was sent.
    map_version: u64,
    /// Set where it was sent to find out which of its records is not valid.
    is_suspect: bool,
    /// Calls that had stored something when it was sent.
    successes_before: u64,
    sent_at: Instant,
    took: Duration,
}

impl StreamDeliverer {
    /// A deliverer with the journal in the file `journal`. What that knows to be delivered, `shared.progress` knows from now on.
    ///
    /// # Errors
    /// Where the journal cannot be opened.
    pub fn open(
        shared: Shared,
        stream: Arc<dyn Stream>,
        form: Form,
        settings: StreamSettings,
        journal: PathBuf,
    ) -> std::io::Result<Self> {
        let (cursor, end) = (shared.spool.cursor().delivered_exclusive, shared.spool.durable_end());
        let (journal, known) = Journal::open(journal, shared.spool.id(), cursor, end)?;
        shared.progress.settle(shared.progress.delivered_exclusive()..known.settled.prefix());
        shared.progress.settle(known.settled.ranges_ahead().flatten());
        let settled_beyond = known.settled.prefix() - cursor + known.settled.ahead();
        if settled_beyond > 0 {
            tracing::info!(settled_beyond, "events beyond the cursor are delivered already, as the journal says");
        }
        Ok(Self { shared, stream, form, settings, journal, known })
    }

    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        Flow::new(self, Instant::now()).run(stopping).await;
    }
}

/// A deliverer at work.
struct Flow {
    shared: Shared,
    stream: Arc<dyn Stream>,
    settings: StreamSettings,
    intake: Intake,
    lanes: Lanes,
    shards: ShardWatch,
    health: Health,
    journal: Journal,
    calls: JoinSet<Done>,
    backlog_in_flight: usize,
    /// Parts of calls that were not valid.
    suspects: VecDeque<Vec<StreamRecord>>,
    is_suspects_turn: bool,
    /// Bytes that each class sent since both had something to send.
    turns: [u64; 2],
    /// Number after the newest event that was sent: who waits for one beyond it is in a hurry.
    sent_up_to: u64,
    /// Since when live events wait; what failed does not linger again.
    waiting_since: Option<Instant>,
    /// Before this nothing is read at the spool's end, unless somebody is in a hurry.
    read_again_at: Instant,
    looked_at_age: Instant,
    committed_at: Instant,
}

impl Flow {
    fn new(deliverer: StreamDeliverer, now: Instant) -> Self {
        let StreamDeliverer { shared, stream, form, settings, journal, known } = deliverer;
        let StreamSettings { packing, record_bytes_max, .. } = settings;
        let Journaled { settled, sent } = known;
        let lanes = Lanes::new(settings.memory_bytes_max, settings.backlog_percent, settings.ordered_by_key, now);
        Self {
            intake: Intake::new(shared.spool.clone(), form, packing, record_bytes_max, &settled, sent),
            shared,
            stream,
            settings,
            lanes,
            shards: ShardWatch::new(packing.is_packed()),
            health: Health::new(now),
            journal,
            calls: JoinSet::new(),
            backlog_in_flight: 0,
            suspects: VecDeque::new(),
            is_suspects_turn: false,
            turns: [0; 2],
            sent_up_to: 0,
            waiting_since: None,
            read_again_at: now,
            looked_at_age: now,
            committed_at: now,
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
            let has_read = self.read(is_hurried, now).await;
            if self.waiting_since.is_none() && self.lanes.waiting(Class::Live).0 > 0 {
                self.waiting_since = Some(now);
            }
            let has_sent = self.send(is_hurried, now);
            self.commit(end, now).await;
            if is_stopping && self.calls.is_empty() && self.shared.progress.delivered_exclusive() >= end {
                return;
            }
            if has_read || has_sent {
                // The answers that are there by now come first.
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
                    self.shards.take(shards, &mut self.lanes, now);
                    self.look_at_shards();
                }
                () = tokio::time::sleep_until(wake_at.into()) => {}
                _ = durable_end.changed(), if now >= self.read_again_at => {}
                _ = awaited.changed() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Before anything was sent, the shards are what shows whether the stream can be reached.
    fn report_shards(&self, shards: &Result<ShardMap, ShardsUnknown>) {
        match shards {
            _ if self.health.has_been_tried() => {}
            Ok(_) => self.shared.report(None, 0),
            Err(unknown) if unknown.is_denied => {}
            Err(unknown) => self.shared.report(Some(&unknown.reason), 0),
        }
    }

    /// Reads from the spool what there is room for. Whether it read anything.
    async fn read(&mut self, is_hurried: bool, now: Instant) -> bool {
        if self.intake.held_bytes() >= self.settings.memory_bytes_max || !self.shards.is_known_or_unknowable() {
            return false;
        }
        let (intake, lanes) = (&mut self.intake, &mut self.lanes);
        // What comes in now lingers anyway: many small groups of the spool are read at once.
        let is_due = is_hurried || now >= self.read_again_at;
        let reads_live = is_due && !intake.has_read_up_to(intake.spool.durable_end());
        if !reads_live && lanes.iter().all(|lane| lane.backlog.is_none()) {
            return false;
        }
        let (live, backlog) = tokio::task::block_in_place(|| {
            let live = if reads_live { intake.read_live(lanes, now) } else { None };
            (live, intake.read_backlog(lanes, now))
        });
        if live.is_some() && intake.has_read_up_to(intake.spool.durable_end()) {
            self.read_again_at = now + STREAM_READ_INTERVAL.min(self.settings.linger / 4);
        }
        let has_read = live.is_some() || backlog.is_some();
        for found in [live, backlog].into_iter().flatten() {
            match found {
                Ok(found) => self.keep_what_cannot_be_sent(found).await,
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read; trying again");
                    tokio::time::sleep(DELIVERY_BACKOFF.0).await;
                }
            }
        }
        has_read
    }

    /// These are settled: delivered, or kept elsewhere.
    fn confirm(&mut self, seqs: &[u64]) {
        self.journal.settled(seqs);
        self.shared.progress.settle(seqs.iter().copied());
    }

    /// Makes the calls that are due. Whether it made any.
    fn send(&mut self, is_hurried: bool, now: Instant) -> bool {
        let mut has_sent = false;
        while self.calls.len() < self.health.calls_max(self.settings.calls_in_flight_max) && self.health.ready_at() <= now {
            let class = self.next_class(is_hurried, now);
            // Suspects and others take turns: whether a suspect is bad shows only when others were stored.
            self.is_suspects_turn = !self.is_suspects_turn || class.is_none();
            let suspect = if self.is_suspects_turn { self.suspects.pop_front() } else { None };
            if let Some(records) = suspect {
                self.call(records, Class::Live, true);
                has_sent = true;
                continue;
            }
            let Some(class) = class else { break };
            let bounds = CallBounds { records_max: self.settings.call_records_max, bytes_max: self.settings.call_bytes_max };
            let records = self.lanes.take_call(class, self.settings.packing, bounds, now);
            if records.is_empty() {
                break;
            }
            self.turns[class as usize] += records.iter().map(|record| record.size() as u64).sum::<u64>();
            if class == Class::Live {
                self.waiting_since = (self.lanes.waiting(Class::Live).0 > 0).then_some(now);
            }
            self.call(records, class, false);
            has_sent = true;
        }
        has_sent
    }

    /// Whose turn it is: where both new events and a backlog could be sent, each gets its share.
    fn next_class(&mut self, is_hurried: bool, now: Instant) -> Option<Class> {
        let is_ready = |class| self.lanes.ready_at(class).is_some_and(|at| at <= now);
        let live = is_ready(Class::Live) && self.live_due_at(is_hurried).is_some_and(|at| at <= now);
        // A backlog leaves one call for what is new.
        let backlog_calls_max = (self.settings.calls_in_flight_max - 1).max(1);
        let backlog = is_ready(Class::Backlog) && self.backlog_in_flight < backlog_calls_max;
        if !(live && backlog) {
            // Whoever had nothing to send has no claim to make up for it.
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

    /// When what is new is due: when a call is full or the oldest has waited long enough.
    fn live_due_at(&self, is_hurried: bool) -> Option<Instant> {
        let since = self.waiting_since?;
        let (events, bytes) = self.lanes.waiting(Class::Live);
        let is_full = bytes >= self.settings.call_bytes_max
            || (!self.settings.packing.is_packed() && events >= self.settings.call_records_max);
        Some(if is_hurried || is_full { since } else { since + self.settings.linger })
    }

    fn call(&mut self, mut records: Vec<StreamRecord>, class: Class, is_suspect: bool) {
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
        let (stream, map_version, successes_before) = (self.stream.clone(), self.shards.version(), self.health.successes());
        let sent_at = Instant::now();
        self.calls.spawn(async move {
            let answer = stream.put(&records).await;
            Done { records, class, answer, map_version, is_suspect, successes_before, sent_at, took: sent_at.elapsed() }
        });
    }

    /// When something is due at the latest, if nothing happens before.
    fn wake_at(&self, is_hurried: bool, now: Instant) -> Instant {
        let sends = self.calls.len() < self.health.calls_max(self.settings.calls_in_flight_max);
        let live = self.lanes.ready_at(Class::Live).zip(self.live_due_at(is_hurried)).map(|(ready, due)| ready.max(due));
        let next = live.into_iter().chain(self.lanes.ready_at(Class::Backlog)).min().filter(|_| sends);
        let suspects = (sends && !self.suspects.is_empty()).then_some(now);
        let next = next.into_iter().chain(suspects).map(|at| at.max(self.health.ready_at())).min();
        // In any case in a while: the cursor, the shards and the gauges want to be looked at.
        let later = now + Duration::from_secs(1);
        let soonest = now + Duration::from_millis(1);
        let commit = (self.shared.progress.delivered_exclusive() > self.shared.spool.cursor().delivered_exclusive)
            .then_some(self.committed_at + STREAM_COMMIT_INTERVAL);
        // Until then nobody is told what comes in.
        let read = (now < self.read_again_at).then_some(self.read_again_at);
        next.into_iter().chain(commit).chain(read).min().map_or(later, |at| at.clamp(soonest, later))
    }

    /// Moves the cursor over what is settled, and now and then looks at how old the rest is.
    async fn commit(&mut self, end: u64, now: Instant) {
        let settled = self.shared.progress.delivered_exclusive();
        let is_idle = self.calls.is_empty() && settled >= end;
        if settled > self.shared.spool.cursor().delivered_exclusive
            && (is_idle || now >= self.committed_at + STREAM_COMMIT_INTERVAL)
        {
            self.committed_at = now;
            self.shared.durably("moving the cursor", || self.shared.spool.commit(settled)).await;
            self.shared.retire(false).await;
            if self.journal.is_long() {
                let known = Journaled { settled: self.shared.progress.delivered_now(), sent: self.intake.maybe_sent_set() };
                tokio::task::block_in_place(|| self.journal.shorten(settled, &known));
            }
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
}

#[cfg(test)]
mod tests;
