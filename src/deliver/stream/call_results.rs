//! Applies the answer of a call to the records of the call.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    super::shared::DeliveryAttempt,
    Done, Flow,
    invalid_records::{Success, Suspicion},
    refusal::Refusal,
    shard_queues::{Class, ShardQueue},
    shard_throttle::ShardTally,
};
use crate::{
    conditions::Condition,
    limits::{SHARD_FAILING_AFTER, STREAM_FAILURES_REPORTED},
    sink::stream::{Answer, Entry, HashKey, RecordResult, StreamRecord, StreamRules},
};

impl Flow {
    /// Processes the end of a call: stored records are settled, all others go back into their queues.
    pub(super) async fn settle(&mut self, done: Result<Done, tokio::task::JoinError>) {
        // A panicked task loses its records; the process would send them again after a restart. A task panics only if the SDK
        // panics, and then the process must end with the panic.
        let done = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let now = Instant::now();
        self.backlog_in_flight -= usize::from(done.class == Class::Backlog);
        self.shared.note(&DeliveryAttempt {
            events: done.records.iter().map(|record| record.entries.len()).sum(),
            bytes: done.records.iter().map(StreamRecord::size).sum(),
            took: done.took,
            failing: failing(&done.answer),
        });
        let count = |answer| self.shared.metrics.calls(answer).inc();
        let Done { mut records, class, answer, shard, map_version, suspicion, success_before, sent_at, under_way, .. } = done;
        if let Some(shard) = shard {
            self.queues.call_ended(&shard);
        }
        if suspicion.is_some() {
            self.suspects.came_back();
        }
        let at = (sent_at, now);
        match answer {
            Answer::Each(results) => {
                count("each");
                self.settle_each(records, results, class, map_version, at);
                self.keep_refusals(now).await;
            }
            Answer::Unknown(reason) => {
                count("unknown");
                records.iter_mut().flat_map(|record| &mut record.entries).for_each(|entry| entry.is_maybe_sent = true);
                self.call_failed(&reason, false, at);
                self.put_back(records, class, suspicion, now);
            }
            Answer::Refused(reason) => {
                count("refused");
                self.call_failed(&reason, false, at);
                self.put_back(records, class, suspicion, now);
            }
            Answer::Throttled(reason) => {
                count("throttled");
                self.throttle(&records, at);
                self.call_failed(&reason, false, at);
                self.put_back(records, class, suspicion, now);
            }
            Answer::Held(reason) => {
                count("held");
                self.call_failed(&reason, true, at);
                self.put_back(records, class, suspicion, now);
            }
            Answer::Invalid(reason) => {
                count("invalid");
                self.suspect(records, &reason, suspicion, success_before, at);
                self.keep_refusals(now).await;
            }
        }
        if self.suspects.is_empty() {
            self.shared.conditions.clear(Condition::RecordsHeld, &self.shared.place);
        }
        drop(under_way);
    }

    fn say_that_records_are_held(&self, reason: &str) {
        let detail = format!("{reason}; what it may mean is held and sent again until the stream takes it or takes others");
        self.shared.conditions.raise(Condition::RecordsHeld, &self.shared.place, detail);
    }

    fn settle_each(
        &mut self,
        records: Vec<StreamRecord>,
        results: Vec<RecordResult>,
        class: Class,
        map_version: u64,
        (sent_at, now): (Instant, Instant),
    ) {
        let mut tallies: BTreeMap<usize, ShardTally> = BTreeMap::new();
        let mut settled = Vec::with_capacity(records.len());
        let (mut stored_at, mut by_owner) = (BTreeMap::<Arc<str>, Vec<u64>>::new(), BTreeMap::<usize, Vec<u64>>::new());
        let mut stored = StoredRecords::default();
        let mut owed = false;
        let mut failures: BTreeMap<usize, String> = BTreeMap::new();
        let rules = self.settings.rules;
        for (mut record, result) in records.into_iter().zip(results) {
            let place = record.entries[0].place;
            let owner = self.queues.map.owner(place);
            let tally = tallies.entry(owner).or_default();
            match result {
                RecordResult::Stored { shard } => {
                    tally.stored += rules.cost(record.size());
                    stored.add(&record, &rules);
                    if let Some(shard) = &shard {
                        self.shards.check(&self.queues.map, place, shard, map_version);
                    }
                    let seqs = record.entries.iter().map(|entry| entry.seq);
                    settled.extend(seqs.clone());
                    let by_shard = match shard {
                        Some(shard) => stored_at.entry(shard).or_default(),
                        None => by_owner.entry(owner).or_default(),
                    };
                    by_shard.extend(seqs);
                    record.entries.iter().for_each(|entry| self.release(entry));
                    continue;
                }
                RecordResult::Throttled => {
                    tally.throttled += rules.cost(record.size());
                    self.count_throttled(place);
                }
                RecordResult::Failed { code } => {
                    tally.failed += rules.cost(record.size());
                    tracing::debug!(code, "a record failed; it is sent again");
                    failures.insert(owner, code);
                }
                RecordResult::Unknown { code } => {
                    tally.failed += rules.cost(record.size());
                    tracing::debug!(code, "whether a record was stored is not known; it is sent again");
                    failures.insert(owner, code);
                    record.entries.iter_mut().for_each(|entry| entry.is_maybe_sent = true);
                }
                RecordResult::Refused { reason } => {
                    for entry in record.entries {
                        self.release(&entry);
                        self.refusals.push(Refusal::new(entry.seq, &reason));
                    }
                    continue;
                }
            }
            owed = true;
            record.entries.into_iter().for_each(|entry| self.queues.put_back(entry, class));
        }
        self.learn(tallies, (sent_at, now));
        for (index, code) in failures {
            if let Some(queue) = self.queues.iter_mut().nth(index) {
                queue.last_failure = code;
            }
        }
        if !settled.is_empty() {
            self.suspects.hurry(now);
            if self.health.succeeded(sent_at, now) && !self.queues.is_ordered() {
                self.queues.make_backlog();
                self.intake.make_backlog(&mut self.queues);
            }
            self.shared.report(None, 0);
            settled.sort_unstable();
            // What the metrics say is not sent again after a kill, and what counts as settled is in the metrics.
            self.journal.settled(&settled);
            self.count_stored(&stored);
            for (owner, seqs) in by_owner {
                let shard: Arc<str> = self.queues.iter().nth(owner).map_or("", |queue| &*queue.shard.id).into();
                stored_at.entry(shard).or_default().extend(seqs);
            }
            for (shard, mut seqs) in stored_at {
                seqs.sort_unstable();
                self.shared.progress.settle_at(&shard, seqs);
            }
        }
        if owed {
            self.shared.metrics.retries.inc();
            self.hurry(class);
        }
    }

    /// The shards of these records have reached their limits.
    fn throttle(&mut self, records: &[StreamRecord], at: (Instant, Instant)) {
        let mut tallies: BTreeMap<usize, ShardTally> = BTreeMap::new();
        for record in records {
            let place = record.entries[0].place;
            let tally = tallies.entry(self.queues.map.owner(place)).or_default();
            tally.throttled += self.settings.rules.cost(record.size());
            self.count_throttled(place);
        }
        self.learn(tallies, at);
    }

    fn count_throttled(&mut self, place: HashKey) {
        self.shared.metrics.shard_throttled(label(&self.queues.owner(place).shard.id));
    }

    fn learn(&mut self, tallies: BTreeMap<usize, ShardTally>, (sent_at, now): (Instant, Instant)) {
        for (index, tally) in tallies {
            if let Some(queue) = self.queues.iter_mut().nth(index) {
                queue.throttle.learn(tally, sent_at, now);
            }
        }
    }

    fn count_stored(&self, stored: &StoredRecords) {
        let metrics = &self.shared.metrics;
        metrics.delivered_events.inc_by(stored.events);
        metrics.stream_records.inc_by(stored.records);
        metrics.stream_bytes.inc_by(stored.bytes);
        metrics.stream_put_units.inc_by(stored.billed_units);
    }

    /// Releases a settled event: frees its memory, and lets the next event of its key go.
    pub(super) fn release(&mut self, entry: &Entry) {
        self.intake.release(entry);
        self.queues.release(entry);
    }

    fn call_failed(&mut self, reason: &str, needs_somebody: bool, (sent_at, now): (Instant, Instant)) {
        self.shared.metrics.retries.inc();
        if self.health.failed(needs_somebody, sent_at, now) {
            let owed = self.shared.progress.unsettled(self.shared.spool.durable_end());
            self.shared.report(Some(reason), owed as usize);
            // The person who repairs the stream may have changed its shards.
            self.shards.forget_age();
        }
    }

    fn put_back(&mut self, records: Vec<StreamRecord>, class: Class, suspicion: Option<Suspicion>, now: Instant) {
        if let Some(suspicion) = suspicion {
            return self.suspects.put(records, suspicion, false, now);
        }
        // The latest first, because each entry goes to the front.
        for entry in records.into_iter().flat_map(|record| record.entries).rev() {
            self.queues.put_back(entry, class);
        }
        self.hurry(class);
    }

    /// Events that were sent once do not linger again.
    fn hurry(&mut self, class: Class) {
        if class == Class::Live {
            let now = Instant::now();
            self.waiting_since = now.checked_sub(self.settings.linger).or(Some(now));
        }
    }

    /// Bisects a call to find its invalid record, and whether there is one: see [`invalid_records`](super::invalid_records).
    fn suspect(
        &mut self,
        mut records: Vec<StreamRecord>,
        reason: &str,
        before: Option<Suspicion>,
        success_before: Option<Success>,
        at: (Instant, Instant),
    ) {
        let (sent_at, now) = at;
        let suspicion = Suspicion::grown(before, now);
        let is_whole_call = before.is_none();
        if records.len() == 1 && records[0].entries.len() > 1 {
            let packing = self.settings.packing;
            records = records.remove(0).entries.into_iter().map(|entry| packing.record(vec![entry])).collect();
        }
        if records.len() == 1 && !is_whole_call && suspicion.is_proven_by(success_before, sent_at) {
            for entry in records.remove(0).entries {
                self.release(&entry);
                self.refusals.push(Refusal::new(entry.seq, reason));
            }
            return;
        }
        // While the stream stores nothing else, the rejection may have another cause than these records.
        let is_answered = suspicion.is_answered_by(self.health.success());
        if !is_whole_call && !is_answered {
            self.call_failed(reason, false, at);
            if suspicion.failures >= STREAM_FAILURES_REPORTED {
                self.say_that_records_are_held(reason);
            }
        }
        let second = records.split_off(records.len().div_ceil(2));
        let pauses = second.is_empty() && !is_answered;
        for half in [records, second].into_iter().filter(|half| !half.is_empty()) {
            self.suspects.put(half, suspicion, pauses, now);
        }
    }

    pub(super) fn look_at_gauges(&mut self, has_lag: bool) {
        let first_unsettled = self.shared.progress.settled_exclusive();
        let oldest =
            has_lag.then(|| tokio::task::block_in_place(|| self.intake.oldest_received_millis(first_unsettled))).flatten();
        self.shared.state.send_if_modified(|state| {
            state.oldest_received_millis = oldest;
            false
        });
        self.look_at_shards();
    }

    /// Updates the gauges of the shards, and removes those of shards that no longer exist.
    pub(super) fn look_at_shards(&mut self) {
        self.look_for_failing_shards(Instant::now());
        let metrics = &self.shared.metrics;
        let mut shown = BTreeSet::new();
        for queue in self.queues.iter() {
            let shard = label(&queue.shard.id);
            metrics.set_shard(shard, queue.waiting_events(), queue.throttle.rate());
            shown.insert(shard.to_owned());
        }
        self.shown_shards.difference(&shown).for_each(|gone| metrics.remove_shard(gone));
        self.shown_shards = shown;
    }
}

impl Flow {
    /// Reports the shards that have taken nothing for a while. Other shards continue.
    fn look_for_failing_shards(&mut self, now: Instant) {
        let is_failing = |since: Instant| now.duration_since(since) >= SHARD_FAILING_AFTER;
        let failing = self.queues.iter().filter(|queue| queue.failing_since().is_some_and(is_failing));
        let failing: BTreeMap<String, (usize, &str)> =
            failing.map(|queue| (label(&queue.shard.id).to_owned(), (queue.waiting_events(), &*queue.last_failure))).collect();
        for (shard, (waiting, failure)) in &failing {
            let why = if failure.is_empty() { String::new() } else { format!(" ({failure})") };
            let others = if self.queues.iter().len() > 1 { ", and the other shards go on" } else { "" };
            let detail = format!("it takes nothing{why}; {waiting} events wait for it in memory{others}");
            self.shared.conditions.raise(Condition::ShardFailing, &self.shared.place_of(shard), detail);
        }
        for shard in self.failing_shards.iter().filter(|shard| !failing.contains_key(*shard)) {
            self.shared.conditions.clear(Condition::ShardFailing, &self.shared.place_of(shard));
        }
        // Calls of single shards do not fail as a whole: the stream does if nothing was stored since the last of them began to fail.
        let success = self.health.success().map(|success| success.sent_at);
        let is_served = |queue: &ShardQueue| queue.has_events() && !queue.failing_since().is_some_and(is_failing);
        let last_failing = self.queues.iter().filter_map(ShardQueue::failing_since).filter(|since| is_failing(*since)).max();
        if self.settings.rules.calls_by_shard
            && last_failing.is_some_and(|since| success.is_none_or(|success| success < since))
            && !self.queues.iter().any(is_served)
        {
            let owed = self.shared.progress.unsettled(self.shared.spool.durable_end());
            let reason = format!("{} of its shards take nothing, and no other has events", failing.len());
            self.shared.report(Some(&reason), owed as usize);
        }
        self.failing_shards = failing.into_keys().collect();
    }
}

/// The records that a call stored.
#[derive(Default)]
struct StoredRecords {
    events: u64,
    records: u64,
    bytes: u64,
    billed_units: u64,
}

impl StoredRecords {
    fn add(&mut self, record: &StreamRecord, rules: &StreamRules) {
        let bytes = record.size();
        self.events += record.entries.len() as u64;
        self.records += 1;
        self.bytes += bytes as u64;
        self.billed_units += bytes.div_ceil(rules.billed_unit_bytes) as u64;
    }
}

/// The error, if not all records of a call were stored.
fn failing(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Each(results) => {
            results.iter().any(|result| !matches!(result, RecordResult::Stored { .. })).then_some("some records were not stored")
        }
        Answer::Unknown(reason)
        | Answer::Refused(reason)
        | Answer::Throttled(reason)
        | Answer::Held(reason)
        | Answer::Invalid(reason) => Some(reason),
    }
}

/// The name of a shard for people.
fn label(shard: &str) -> &str {
    if shard.is_empty() { "unknown" } else { shard }
}
