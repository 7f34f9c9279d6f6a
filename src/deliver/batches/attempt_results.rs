//! Records the results of an attempt: the undelivered ranges, the failing places, the cursor and the journal.

use std::{collections::BTreeSet, ops::Range, time::Instant};

use super::{Attempt, BatchDeliverer, undelivered::Place};
use crate::{conditions::Condition, deliver::journal::Journaled, limits::CONDITION_PLACES_MAX};

impl BatchDeliverer {
    /// Records what is still owed after an attempt, reports failing places, and moves the cursor.
    pub(super) fn conclude(&mut self, range: Range<u64>, attempt: &Attempt) {
        // An attempt may take long, and pauses begin at its end.
        let now = Instant::now();
        if !attempt.places.is_empty() {
            let is_away = self.undelivered.tried(&attempt.places, now);
            let cause = attempt.places.values().flatten().next().filter(|_| is_away);
            let owed = self.shared.progress.unsettled(self.shared.spool.durable_end());
            self.shared.report(cause.map(String::as_str), owed as usize);
            self.say_which_places_fail();
        }
        let failing = attempt.places.iter().filter(|(_, failing)| failing.is_some()).map(|(place, _)| place);
        let places: Vec<Place> = failing.chain(&attempt.resting).cloned().collect();
        if attempt.has_more {
            // The next read, which follows at once, shows which places those are.
            self.undelivered.add(range, None, attempt.received);
        } else if places.is_empty() {
            self.undelivered.settled(&range);
        } else {
            self.undelivered.add(range, Some(places), attempt.received);
        }
        self.move_cursor(now);
    }

    /// Raises a condition for each place that fails alone, and clears the condition when the place works again.
    fn say_which_places_fail(&mut self) {
        let conditions = &self.shared.conditions;
        let mut unwritable = BTreeSet::new();
        for (place, cause) in self.undelivered.unwritable() {
            let is_listed = unwritable.len() < CONDITION_PLACES_MAX;
            if is_listed {
                let detail = format!("{cause}; the others go on, and it is tried again");
                conditions.raise(Condition::PartitionUnwritable, &self.shared.place_of(place), detail);
                unwritable.insert(place.clone());
            }
        }
        for place in self.unwritable.difference(&unwritable) {
            conditions.clear(Condition::PartitionUnwritable, &self.shared.place_of(place));
        }
        self.unwritable = unwritable;
    }

    /// Moves the cursor to the beginning of the first owed range.
    pub(super) fn move_cursor(&mut self, now: Instant) {
        let target = self.undelivered.first().unwrap_or(self.reader.next_seq());
        let cursor = self.shared.cursor.get().delivered_exclusive;
        let was_failing = self.cursor.retry_at().is_some();
        if target <= cursor || self.cursor.move_to(&self.shared, target, now) {
            self.planned.retain(|_, end| *end > target.max(cursor));
        } else if !was_failing {
            // The cursor did not move, so the journal records which events are settled.
            let settled: Vec<u64> = (cursor..target).filter(|seq| self.shared.progress.is_settled(*seq)).collect();
            self.journal.settled(&settled);
        }
    }

    /// Syncs the journal, and rewrites it when that is due.
    pub(super) fn sync_journal(&mut self, now: Instant) {
        let oldest = self.undelivered.oldest_received().or(self.front_received);
        self.shared.state.send_if_modified(|state| {
            state.oldest_received_millis = oldest;
            false
        });
        tokio::task::block_in_place(|| {
            self.journal.sync();
            if self.journal.is_due(now) {
                let cursor = self.shared.cursor.get().delivered_exclusive;
                let (settled, sent) = (self.shared.progress.settled_now(), self.sent.clone());
                let known = Journaled { settled, sent, stretches: self.planned.clone() };
                self.journal.write_anew(cursor, &known, now);
            }
        });
        self.move_cursor_if_due(now);
    }

    fn move_cursor_if_due(&mut self, now: Instant) {
        if self.cursor.retry_at().is_some_and(|at| at <= now) {
            self.move_cursor(now);
        }
    }
}
