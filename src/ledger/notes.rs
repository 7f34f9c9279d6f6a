//! What the way of the events leaves for the ledger's thread, which takes it every second.

use std::{collections::HashMap, ops::Range};

use uuid::Uuid;

use super::{
    accepted::{AcceptedEvents, Run},
    account::Answers,
    minutes::minute_of,
    names::{NameId, OTHER},
};
use crate::{
    limits::{LEDGER_DUPLICATES_AT_ONCE, LEDGER_NOTES_MAX},
    progress::Settlement,
};

/// An event that was answered `duplicate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Its identity in the dedup window.
    pub identity: Uuid,
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
    /// Its key.
    pub key: NameId,
}

/// Events that one sink settled at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettledNote {
    pub(super) sink: usize,
    pub(super) settlement: Settlement,
    pub(super) place: NameId,
    /// When the last of them was settled: never before one of them was received.
    pub(super) at_millis: i64,
    pub(super) ranges: Vec<Range<u64>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The first event in `accepted`.
    pub(super) accepted_first: Option<u64>,
    /// Consecutive events.
    pub(super) accepted: Vec<Run>,
    /// By minute, key and name: events that were not accepted, or were stored again.
    pub(super) answered: HashMap<(i64, NameId, NameId), Answers>,
    /// Of `accepted`, by minute: those that were received before.
    pub(super) replayed: HashMap<i64, u64>,
    pub(super) repeated: Vec<Repeated>,
    pub(super) settled: Vec<SettledNote>,
    /// Events whose handling ended without an answer.
    pub(super) unanswered: u64,
}

impl Notes {
    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
            && self.answered.is_empty()
            && self.repeated.is_empty()
            && self.settled.is_empty()
            && self.unanswered == 0
    }

    /// Adds accepted events. Call it in the order of the appends.
    pub(super) fn accept(&mut self, first_seq: u64, events: &AcceptedEvents) {
        self.accepted_first.get_or_insert(first_seq);
        for run in events.runs() {
            if events.are_replayed {
                *self.replayed.entry(minute_of(run.received_millis)).or_default() += u64::from(run.events);
            }
            self.push_run(*run);
        }
    }

    fn push_run(&mut self, mut run: Run) {
        if self.accepted.len() >= LEDGER_NOTES_MAX {
            // The thread cannot write for long: minutes stay right, keys and names are not told apart any more.
            (run.key, run.name) = (OTHER, OTHER);
            run.received_millis -= run.received_millis.rem_euclid(60_000);
        }
        match self.accepted.last_mut().filter(|last| last.is_like(&run)) {
            Some(last) => last.events += run.events,
            None => self.accepted.push(run),
        }
    }

    /// Adds the answers of events that were not accepted.
    pub(super) fn answer(&mut self, received_millis: i64, key: NameId, name: NameId, answers: &Answers) {
        self.answered.entry((minute_of(received_millis), key, name)).or_default().add(answers);
    }

    /// Remembers a duplicate; of very many at once only the first.
    pub(super) fn repeat(&mut self, repeated: Repeated) {
        if self.repeated.len() < LEDGER_DUPLICATES_AT_ONCE {
            self.repeated.push(repeated);
        }
    }

    /// Adds settled events. Those of one second are one note.
    pub(super) fn settle(&mut self, note: SettledNote) {
        let is_like = |last: &SettledNote| {
            (last.sink, last.settlement, last.place) == (note.sink, note.settlement, note.place)
                && last.at_millis.div_euclid(1_000) == note.at_millis.div_euclid(1_000)
        };
        match self.settled.last_mut().filter(|last| is_like(last)) {
            Some(last) => {
                last.at_millis = last.at_millis.max(note.at_millis);
                for range in note.ranges {
                    match last.ranges.last_mut().filter(|known| known.end == range.start) {
                        Some(known) => known.end = range.end,
                        None => last.ranges.push(range),
                    }
                }
            }
            None => self.settled.push(note),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_write_costs_keys_and_names_but_neither_memory_nor_a_count() {
        let mut notes = Notes::default();
        let events = 3 * LEDGER_NOTES_MAX as u64;
        for seq in 0..events {
            let mut one = AcceptedEvents::default();
            one.push(60_000 * 7 + (seq % 60_000) as i64, (seq % 5) as NameId + 1, (seq % 7) as NameId + 1);
            notes.accept(100 + seq, &one);
        }
        assert!(notes.accepted.len() <= LEDGER_NOTES_MAX + 1);
        assert_eq!(notes.accepted.iter().map(|run| u64::from(run.events)).sum::<u64>(), events);
        assert!(notes.accepted.iter().all(|run| minute_of(run.received_millis) == 7));
        assert_eq!(notes.accepted_first, Some(100));
        for seq in 0..2 * LEDGER_DUPLICATES_AT_ONCE as u128 {
            notes.repeat(Repeated { identity: Uuid::from_u128(seq), received_millis: 0, key: 1 });
        }
        assert_eq!(notes.repeated.len(), LEDGER_DUPLICATES_AT_ONCE);
    }

    fn settled(sink: usize, at_millis: i64, range: Range<u64>) -> SettledNote {
        SettledNote { sink, settlement: Settlement::Delivered, place: 0, at_millis, ranges: vec![range] }
    }

    #[test]
    fn what_one_sink_settles_in_a_row_is_one_note() {
        let mut notes = Notes::default();
        [settled(0, 5, 0..5), settled(0, 5, 5..9), settled(0, 5, 10..11), settled(1, 5, 0..3)]
            .into_iter()
            .for_each(|one| notes.settle(one));
        assert_eq!(notes.settled.len(), 2);
        assert_eq!(notes.settled[0].ranges, [0..9, 10..11]);
    }

    #[test]
    fn an_event_is_never_settled_before_it_was_received_and_at_most_a_second_late() {
        let mut notes = Notes::default();
        for (at, seq) in [(1_000, 0), (1_990, 1), (1_980, 2), (2_400, 3)] {
            notes.settle(settled(0, at, seq..seq + 1));
        }
        let found: Vec<_> = notes.settled.iter().map(|note| (note.at_millis, note.ranges.clone())).collect();
        assert_eq!(found, [(1_990, vec![0..3]), (2_400, vec![3..4])]);
    }
}
