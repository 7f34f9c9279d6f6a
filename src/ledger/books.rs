//! What the ledger knows, in memory: what is counted, what each sink has settled, and the changes that are not on disk yet.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::{Range, RangeFrom},
};

use uuid::Uuid;

use super::{
    account::{Account, Answers, Endings},
    encode::{Decoder, Encoder, SettledEvents},
    minutes::{MinutesBySeq, minute_of},
    names::NameId,
    notes::{Notes, SettledNote},
    store::{Changes, StoredPositions},
    tables::Repeats,
};
use crate::{
    limits::ENDINGS_MAX,
    progress::{SeqSet, Settlement},
};

/// What one sink has settled, as far as it is counted.
#[derive(Debug)]
pub(super) struct SinkBook {
    pub(super) name: Box<str>,
    pub(super) id: NameId,
    /// Events before this number are none of this sink's business.
    pub(super) start: u64,
    /// Minutes before this one are none of its business either.
    pub(super) start_minute: i64,
    pub(super) settled: SeqSet,
    /// The newest events that were settled, and not delivered.
    pub(super) exceptions: BTreeMap<u64, Settlement>,
    pub(super) totals: Endings,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) spool: Uuid,
    pub(super) minutes: MinutesBySeq,
    pub(super) sinks: Vec<SinkBook>,
    pub(super) changes: Changes,
    /// Events that got no answer, or that rows have too many or too few of.
    pub(super) unbalanced: u64,
    /// Settled events whose acceptance is not counted yet.
    pub(super) waiting: Vec<SettledNote>,
}

impl SinkBook {
    /// A sink that gets the events from `start` on, the first of which was received in `start_minute`.
    pub(super) fn new(name: &str, id: NameId, start: u64, start_minute: i64) -> Self {
        let (settled, exceptions) = (SeqSet::below(start), BTreeMap::new());
        Self { name: name.into(), id, start, start_minute, settled, exceptions, totals: Endings::default() }
    }

    /// How many events below `end` wait for the sink: by the numbers that it settled, and by the counts.
    pub(super) fn waiting(&self, end: u64) -> (u64, u64) {
        let owed = end.saturating_sub(self.start);
        let settled = (self.settled.prefix() + self.settled.ahead()).saturating_sub(self.start);
        (owed.saturating_sub(settled), owed.saturating_sub(self.totals.total()))
    }

    fn settle(&mut self, range: Range<u64>, settlement: Settlement) -> Vec<Range<u64>> {
        let new = self.settled.insert_range(range);
        if settlement != Settlement::Delivered {
            for seq in new.iter().cloned().flatten() {
                self.exceptions.insert(seq, settlement);
                if self.exceptions.len() > ENDINGS_MAX {
                    self.exceptions.pop_first();
                }
            }
        }
        *self.totals.of(settlement) += new.iter().map(|range| range.end - range.start).sum::<u64>();
        new
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.number(self.settled.prefix()).number(self.start).signed(self.start_minute).number(self.exceptions.len() as u64);
        for (seq, settlement) in &self.exceptions {
            out.number(*seq).number(*settlement as u64);
        }
        out.endings(&self.totals).ranges(self.settled.prefix(), &self.settled.ranges_ahead().collect::<Vec<_>>());
        out.0
    }

    /// What is stored of the sink.
    pub(super) fn decode(name: &str, id: NameId, bytes: &[u8]) -> Option<Self> {
        let mut bytes = Decoder(bytes);
        let (prefix, start, start_minute) = (bytes.number()?, bytes.number()?, bytes.signed()?);
        let mut exceptions = BTreeMap::new();
        for _ in 0..bytes.number()? {
            exceptions.insert(bytes.number()?, Settlement::of(bytes.number()?)?);
        }
        let totals = bytes.endings()?;
        let mut settled = SeqSet::below(prefix);
        for range in bytes.ranges(prefix)? {
            settled.insert_range(range);
        }
        Some(Self { name: name.into(), id, start, start_minute, settled, exceptions, totals })
    }
}

/// The spool that is counted, and one past its last event that is.
pub(super) fn decode_events(bytes: &[u8]) -> Option<(Uuid, u64)> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    Some((Uuid::from_bytes(*id), Decoder(rest).number()?))
}

impl Books {
    pub(super) fn new(spool: Uuid, minutes: MinutesBySeq, sinks: Vec<SinkBook>) -> Self {
        Self { spool, minutes, sinks, changes: Changes::default(), unbalanced: 0, waiting: Vec::new() }
    }

    /// One past the last event that is counted.
    pub(super) fn end(&self) -> u64 {
        self.minutes.end()
    }

    /// Counts what was noted.
    pub(super) fn take(&mut self, notes: Notes) {
        let Notes { accepted_first, accepted, answered, replayed, repeated, settled, unanswered } = notes;
        self.unbalanced += unanswered;
        if let Some(first) = accepted_first.filter(|first| *first != self.end()) {
            // Events that were appended before the notes began are counted from the spool: see `start.rs`.
            tracing::error!(first, counted = self.end(), "the ledger missed events of the spool");
            self.unbalanced += first.abs_diff(self.end());
            self.minutes.skip_to(first);
        }
        if !accepted.is_empty() {
            for run in &accepted {
                self.minutes.push(run);
                let account = self.changes.minutes.entry(minute_of(run.received_millis)).or_default();
                account.received += u64::from(run.events);
                account.count(run.key, run.name, &Answers { accepted: run.events.into(), ..Answers::default() });
            }
            let first = self.end() - accepted.iter().map(|run| u64::from(run.events)).sum::<u64>();
            self.changes.runs.push((first, accepted));
        }
        for (minute, events) in replayed {
            let account = self.changes.minutes.entry(minute).or_default();
            account.received = account.received.saturating_sub(events);
            account.replayed += events;
        }
        for ((minute, key, name), answers) in answered {
            let account = self.changes.minutes.entry(minute).or_default();
            account.received += answers.total();
            account.count(key, name, &answers);
        }
        for one in repeated {
            let now = Repeats { times: 1, first_millis: one.received_millis, last_millis: one.received_millis, key: one.key };
            match self.changes.repeats.entry(one.identity) {
                Entry::Occupied(mut known) => *known.get_mut() = known.get().with(now),
                Entry::Vacant(place) => _ = place.insert(now),
            }
        }
        self.waiting.extend(settled);
        for note in std::mem::take(&mut self.waiting) {
            // A sink may be faster than the thread that stored the events.
            match note.ranges.last().is_some_and(|range| range.end > self.end()) {
                true => self.waiting.push(note),
                false => self.settle(note),
            }
        }
    }

    /// Whether anything is to be stored.
    pub(super) fn has_changes(&self) -> bool {
        let Changes { minutes, undone, runs, settled, repeats, forgets_numbers, removed_sinks } = &self.changes;
        *forgets_numbers
            || !(minutes.is_empty()
                && undone.is_empty()
                && runs.is_empty()
                && settled.is_empty()
                && repeats.is_empty()
                && removed_sinks.is_empty())
    }

    /// The changes are on disk.
    pub(super) fn stored(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.unbalanced += changes.minutes.values().map(Account::imbalance).sum::<u64>();
    }

    /// Counts what a sink settled. What is counted already is not counted again.
    pub(super) fn settle(&mut self, note: SettledNote) {
        let Some(sink) = self.sinks.get_mut(note.sink) else { return };
        let mut new: Vec<Range<u64>> = note.ranges.into_iter().flat_map(|range| sink.settle(range, note.settlement)).collect();
        // Records are settled in any order.
        new.sort_unstable_by_key(|range| range.start);
        if new.is_empty() {
            return;
        }
        let (id, changes) = (sink.id, &mut self.changes);
        for range in &new {
            self.minutes.visit(range.clone(), |minute, events| {
                let account = changes.minutes.entry(minute).or_default();
                *account.by_sink.entry(id).or_default().of(note.settlement) += events;
            });
        }
        let settled = SettledEvents { at_millis: note.at_millis, settlement: note.settlement, place: note.place, ranges: new };
        changes.settled.push((id, settled));
    }

    /// Takes back that a sink settled these events, because the sink will settle them again.
    pub(super) fn undo(&mut self, sink: usize, ranges: &[Range<u64>]) {
        let Some(book) = self.sinks.get_mut(sink) else { return };
        for seq in ranges.iter().cloned().flatten() {
            let settlement = book.exceptions.remove(&seq).unwrap_or(Settlement::Delivered);
            *book.totals.of(settlement) = book.totals.of(settlement).saturating_sub(1);
            let (id, changes) = (book.id, &mut self.changes);
            self.minutes.visit(seq..seq + 1, |minute, events| {
                *changes.undone.entry((minute, id)).or_default().of(settlement) += events;
            });
        }
    }

    /// Removes these sinks.
    pub(super) fn remove_sinks(&mut self, sinks: RangeFrom<usize>) {
        let removed = self.sinks.drain(sinks);
        self.changes.removed_sinks.extend(removed.map(|sink| sink.name));
    }

    /// Forgets what no sink settles any more: events below `seq` are unlinked.
    pub(super) fn forget_below(&mut self, seq: u64) {
        self.minutes.forget_below(seq);
        for sink in &mut self.sinks {
            sink.exceptions = sink.exceptions.split_off(&seq);
        }
    }

    /// Where the books stand.
    pub(super) fn positions(&self) -> StoredPositions {
        let mut events = Encoder(self.spool.as_bytes().to_vec());
        events.number(self.end());
        let sinks = self.sinks.iter().map(|sink| (sink.name.clone(), sink.encode())).collect();
        StoredPositions { events: events.0, sinks }
    }

    /// By how many events the books do not balance.
    pub(super) fn imbalance(&self) -> u64 {
        let by_sink = |sink: &SinkBook| {
            let (by_number, by_count) = sink.waiting(self.end());
            by_number.abs_diff(by_count)
        };
        self.unbalanced + self.sinks.iter().map(by_sink).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::accepted::AcceptedEvents;

    fn books() -> Books {
        let sinks = vec![SinkBook::new("lake", 1, 100, 0), SinkBook::new("kinesis", 2, 100, 0)];
        Books::new(Uuid::nil(), MinutesBySeq::starting_at(100), sinks)
    }

    fn accepted(notes: &mut Notes, first: u64, minute: i64, events: u64) {
        let mut accepted = AcceptedEvents::default();
        (0..events).for_each(|_| accepted.push(minute * 60_000, 1, 1));
        notes.accept(first, &accepted);
    }

    fn settled(sink: usize, settlement: Settlement, ranges: &[Range<u64>]) -> SettledNote {
        SettledNote { sink, settlement, place: 0, at_millis: 0, ranges: ranges.to_vec() }
    }

    #[test]
    fn each_event_is_counted_once_for_each_sink_whatever_is_said_twice() {
        let mut books = books();
        let mut notes = Notes::default();
        accepted(&mut notes, 100, 7, 10);
        accepted(&mut notes, 110, 8, 5);
        notes.settle(settled(0, Settlement::Delivered, &[100..112]));
        notes.settle(settled(0, Settlement::Delivered, &[105..113]));
        notes.settle(settled(1, Settlement::Refused, &[109..111]));
        books.take(notes);
        assert_eq!(books.changes.minutes[&7].by_sink[&1].delivered, 10);
        assert_eq!(books.changes.minutes[&8].by_sink[&1].delivered, 3);
        assert_eq!((books.changes.minutes[&7].by_sink[&2].refused, books.changes.minutes[&8].by_sink[&2].refused), (1, 1));
        assert_eq!((books.sinks[0].waiting(books.end()), books.sinks[1].waiting(books.end())), ((2, 2), (13, 13)));
        assert_eq!(books.imbalance(), 0);
        books.sinks[0].totals.delivered += 1;
        assert_eq!(books.imbalance(), 1);
    }

    #[test]
    fn a_sink_may_be_faster_than_the_one_who_counts_the_accepted_events() {
        let mut books = books();
        let mut early = Notes::default();
        early.settle(settled(0, Settlement::Delivered, &[100..103]));
        books.take(early);
        assert_eq!(books.sinks[0].totals.delivered, 0);
        let mut notes = Notes::default();
        accepted(&mut notes, 100, 7, 3);
        books.take(notes);
        assert_eq!((books.sinks[0].totals.delivered, books.imbalance()), (3, 0));
    }

    #[test]
    fn what_is_stored_of_a_sink_is_read_back_and_what_is_undone_can_be_settled_again() {
        let mut books = books();
        let mut notes = Notes::default();
        accepted(&mut notes, 100, 7, 10);
        notes.settle(settled(0, Settlement::Delivered, &[100..103]));
        notes.settle(settled(0, Settlement::Refused, &[105..107]));
        books.take(notes);
        let stored = books.positions();
        let sink = SinkBook::decode("lake", 1, &stored.sinks[0].1).unwrap();
        assert_eq!((sink.settled.prefix(), sink.settled.ahead(), sink.totals.refused), (103, 2, 2));
        assert_eq!(decode_events(&stored.events), Some((Uuid::nil(), 110)));
        books.undo(0, &[102..103, 106..107]);
        assert_eq!(books.changes.undone[&(7, 1)], Endings { delivered: 1, refused: 1, ..Endings::default() });
        assert_eq!((books.sinks[0].totals.delivered, books.sinks[0].totals.refused), (2, 1));
    }

    #[test]
    fn an_event_without_an_answer_and_a_gap_in_the_numbers_are_told() {
        let mut books = books();
        books.take(Notes { unanswered: 2, ..Notes::default() });
        assert_eq!(books.imbalance(), 2);
        let mut notes = Notes::default();
        accepted(&mut notes, 103, 7, 1);
        books.take(notes);
        assert!(books.imbalance() >= 5);
    }
}
