//! A start: brings the ledger to where the spool and the sinks are.
//!
//! The ledger is written every second, so a killed gateway leaves it a second behind. What it misses is in the spool and in the
//! cursors, which were durable before anything was said of it:
//!
//! - accepted events that it has not counted are read from the spool;
//! - events that a sink settled and the ledger has not counted are delivered, unless the ledger, the spool or the record says
//!   otherwise: refusals, losses and drops are in the ledger before a cursor or a journal says that they are settled;
//! - events that the ledger counted, and of which no cursor or journal says that they are settled, will be settled again: their
//!   count is taken back.
//!
//! So each event has one ending for each sink, whenever the gateway is killed. The answers of the last second that say `duplicate`,
//! `rejected` or `retry` are not counted: nobody but their senders knows of them.

use std::{
    ops::{Range, RangeFrom},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    accepted::AcceptedEvents,
    books::{Books, SinkBook, decode_events},
    minutes::{MinutesBySeq, minute_of},
    names::OTHER,
    notes::{Notes, SettledNote},
    reading::{minutes, runs_from},
    shared::{Opening, SinkStart},
    store::{Changes, Store},
    tables::LedgerError,
};
use crate::{
    event::Record,
    limits::{LEDGER_RECOVERY_EVENTS, RESTORE_RECORDS},
    progress::{SeqSet, Settlement},
    spool::{Frame, Spool},
};

/// The books at a start.
pub(super) fn open_books(store: &mut Store, opening: &Opening) -> Result<Books, LedgerError> {
    let stored = store.positions()?;
    let counted = stored.as_ref().and_then(|stored| decode_events(&stored.events));
    let known = stored.map_or_else(Vec::new, |stored| stored.sinks);
    let known: Vec<SinkBook> =
        known.into_iter().filter_map(|(name, bytes)| SinkBook::decode(&name, opening.names.sinks.id(&name), &bytes)).collect();
    let mut books = match counted {
        Some((spool, end)) if spool == opening.spool.id() && end <= opening.spool_end => continued(store, opening, known, end)?,
        Some((spool, end)) => replaced(store, opening, known, spool, end)?,
        None => begun(opening, Changes::default()),
    };
    count_spooled(store, &mut books, opening)?;
    for (index, sink) in opening.sinks.iter().flatten().enumerate() {
        reconcile(&mut books, index, sink, opening)?;
    }
    Ok(books)
}

/// The books of the same spool, which counted its events below `end`.
fn continued(store: &Store, opening: &Opening, known: Vec<SinkBook>, end: u64) -> Result<Books, LedgerError> {
    let prefixes = opening.sinks.iter().flatten().map(|sink| sink.settled.prefix());
    let prefixes = prefixes.chain(known.iter().map(|sink| sink.settled.prefix()));
    let minutes = stored_minutes(store, prefixes.min().unwrap_or(end).min(end), end)?;
    let Some(starts) = &opening.sinks else { return Ok(Books::new(opening.spool.id(), minutes, known)) };
    let (gone, mut kept): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|book| starts.iter().all(|sink| *sink.name != *book.name));
    let mut new = Vec::new();
    let sinks = starts.iter().enumerate().map(|(index, sink)| match kept.iter().position(|book| *book.name == *sink.name) {
        Some(known) => kept.swap_remove(known),
        None => {
            new.push(index);
            new_sink(sink, opening)
        }
    });
    let sinks: Vec<SinkBook> = sinks.collect();
    let configured = sinks.len();
    let mut books = Books::new(opening.spool.id(), minutes, sinks.into_iter().chain(gone).collect());
    for index in new {
        skip_before_start(store, &mut books, index)?;
    }
    // A sink that is gone gets nothing more.
    give_up(&mut books, configured.., Settlement::Dropped, opening.now_millis);
    books.remove_sinks(configured..);
    Ok(books)
}

/// Counts the events of the first minute of a sink that came before it as skipped.
fn skip_before_start(store: &Store, books: &mut Books, index: usize) -> Result<(), LedgerError> {
    let SinkBook { id, start, start_minute: minute, .. } = books.sinks[index];
    let Some(stored) = minutes(store.database(), minute..minute + 1)?.remove(&minute) else { return Ok(()) };
    if stored.by_sink.contains_key(&id) {
        return Ok(()); // A sink of this name was here in this minute already.
    }
    let mut after = 0;
    books.minutes.visit(start..books.end(), |other, events| after += if other == minute { events } else { 0 });
    let skipped = stored.answers.accepted.saturating_sub(after);
    books.changes.minutes.entry(minute).or_default().by_sink.entry(id).or_default().skipped += skipped;
    Ok(())
}

/// A sink that the ledger does not know gets what comes from now on.
fn new_sink(sink: &SinkStart, opening: &Opening) -> SinkBook {
    let start = sink.settled.prefix().min(opening.spool_end);
    SinkBook::new(&sink.name, opening.names.sinks.id(&sink.name), start, minute_of(opening.now_millis))
}

/// The first books of a spool: everything in it belongs to them, and what is settled counts as delivered.
fn begun(opening: &Opening, changes: Changes) -> Books {
    let first = opening.spool.stats().first_seq;
    let sink = |sink: &SinkStart| SinkBook::new(&sink.name, opening.names.sinks.id(&sink.name), first, i64::MIN);
    let sinks = opening.sinks.iter().flatten().map(sink).collect();
    let mut books = Books::new(opening.spool.id(), MinutesBySeq::starting_at(first), sinks);
    books.changes = changes;
    books
}

/// The books of another spool, or of an older copy of this one: what waited in the former spool is lost.
fn replaced(store: &Store, opening: &Opening, known: Vec<SinkBook>, spool: Uuid, end: u64) -> Result<Books, LedgerError> {
    let from = known.iter().map(|sink| sink.settled.prefix()).min().unwrap_or(end);
    let mut former = Books::new(spool, stored_minutes(store, from, end)?, known);
    give_up(&mut former, 0.., Settlement::Lost, opening.now_millis);
    let lost =
        former.changes.minutes.values().flat_map(|account| account.by_sink.values()).map(|endings| endings.lost).sum::<u64>();
    tracing::warn!(lost, "the spool is another one, or an older copy: events that waited in the former one count as lost");
    // The numbers begin again.
    let changes = Changes { minutes: former.changes.minutes, forgets_numbers: true, ..Changes::default() };
    Ok(begun(opening, changes))
}

/// Settles everything that waits for these sinks.
fn give_up(books: &mut Books, sinks: RangeFrom<usize>, settlement: Settlement, at_millis: i64) {
    let end = books.end();
    for index in sinks.start..books.sinks.len() {
        let book = &books.sinks[index];
        let ranges = difference(std::slice::from_ref(&(book.start..end)), &ranges_of(&book.settled, end));
        books.settle(SettledNote { sink: index, settlement, place: OTHER, at_millis, ranges });
    }
}

/// The minutes of the stored events from `from` to `end`.
fn stored_minutes(store: &Store, from: u64, end: u64) -> Result<MinutesBySeq, LedgerError> {
    let mut minutes: Option<MinutesBySeq> = None;
    for (first, runs) in runs_from(store.database(), from)? {
        let minutes = minutes.get_or_insert_with(|| MinutesBySeq::starting_at(first));
        minutes.skip_to(first);
        runs.iter().for_each(|run| minutes.push(run));
    }
    let mut minutes = minutes.unwrap_or_else(|| MinutesBySeq::starting_at(end));
    minutes.skip_to(end);
    Ok(minutes)
}

/// Counts the events that were stored and not counted. They may be a whole spool, so it is stored bit by bit.
fn count_spooled(store: &mut Store, books: &mut Books, opening: &Opening) -> Result<(), LedgerError> {
    let (first, end, names) = (books.end(), opening.spool_end, &opening.names);
    let mut notes = Notes::default();
    for_each_frame(&opening.spool, first..end, |range, frame| {
        let record = frame.and_then(|frame| Record::decode(frame.body.clone()).ok());
        let mut accepted = AcceptedEvents::new(record.as_ref().is_some_and(|record| record.envelope().replayed));
        match &record {
            Some(record) => {
                let envelope = record.envelope();
                let (key, name) = (names.keys.id(envelope.source), names.events.id(envelope.event_name.as_str()));
                accepted.push(envelope.received_millis, key, name);
            }
            // Nobody can read when they were received.
            None => range.clone().for_each(|_| accepted.push(opening.now_millis, OTHER, OTHER)),
        }
        notes.accept(range.start, &accepted);
        if range.end - books.end() >= LEDGER_RECOVERY_EVENTS {
            books.take(std::mem::take(&mut notes));
            store.commit(&books.changes, &books.positions(), names.all())?;
            books.stored();
        }
        Ok(())
    })?;
    books.take(notes);
    if end > first {
        tracing::info!(events = end - first, "events that the ledger had not counted yet are counted from the spool");
    }
    Ok(())
}

/// Brings one sink to what its cursor and its journal say.
fn reconcile(books: &mut Books, index: usize, sink: &SinkStart, opening: &Opening) -> Result<(), LedgerError> {
    let end = opening.spool_end;
    let book = &books.sinks[index];
    let (now, counted) = (ranges_of(&sink.settled, end), ranges_of(&book.settled, end));
    let (missing, undone) = (difference(&now, &counted), difference(&counted, &now));
    books.undo(index, &undone);
    let mut by_ending: Vec<(Settlement, Range<u64>)> = Vec::new();
    let mut add = |settlement, range: Range<u64>| match by_ending.last_mut() {
        Some((last, known)) if *last == settlement && known.end == range.start => known.end = range.end,
        _ => by_ending.push((settlement, range)),
    };
    let erased = opening.spool.begin_attempt();
    for range in missing {
        for_each_frame(&opening.spool, range, |range, frame| {
            let record = frame.and_then(|frame| Record::decode(frame.body.clone()).ok());
            let settlement = match record {
                _ if range.clone().any(|seq| erased.is_erased(seq)) => Settlement::Erased,
                Some(record) if record.only_sink().is_some_and(|only| only != &*sink.name) => Settlement::Skipped,
                _ => Settlement::Delivered,
            };
            add(settlement, range);
            Ok(())
        })?;
    }
    books.sinks[index].settled = SeqSet::of(&difference(&counted, &undone));
    for (settlement, range) in by_ending {
        let note = SettledNote { sink: index, settlement, place: OTHER, at_millis: opening.now_millis, ranges: vec![range] };
        books.settle(note);
    }
    Ok(())
}

/// Calls `visit` for each event in `range`: with its frame, or without one for events that cannot be read or are gone.
fn for_each_frame(
    spool: &Arc<Spool>,
    range: Range<u64>,
    mut visit: impl FnMut(Range<u64>, Option<&Frame>) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    if range.is_empty() {
        return Ok(());
    }
    let mut reader = spool.reader(range.start).that_only_looks();
    let mut at = range.start;
    while at < range.end {
        let batch = match reader.read_patiently(range.end, RESTORE_RECORDS, usize::MAX) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(%error, "the spool cannot be read; the ledger counts the rest of it without keys and names");
                break;
            }
        };
        for frame in batch.frames.iter().filter(|frame| range.contains(&frame.seq)) {
            if at < frame.seq {
                visit(at..frame.seq, None)?;
            }
            visit(frame.seq..frame.seq + 1, Some(frame))?;
            at = frame.seq + 1;
        }
        if batch.frames.is_empty() && batch.lost.is_empty() {
            break;
        }
        if reader.next_seq() >= range.end {
            break;
        }
    }
    if at < range.end {
        visit(at..range.end, None)?;
    }
    Ok(())
}

/// The ranges of a set below `end`.
fn ranges_of(set: &SeqSet, end: u64) -> Vec<Range<u64>> {
    let below = std::iter::once(0..set.prefix()).chain(set.ranges_ahead());
    below.map(|range| range.start..range.end.min(end)).filter(|range| !range.is_empty()).collect()
}

/// What is in `all` and not in `without`; both ascend.
fn difference(all: &[Range<u64>], without: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    for range in all {
        let mut at = range.start;
        let from = without.partition_point(|other| other.end <= at);
        for other in without[from..].iter().take_while(|other| other.start < range.end) {
            if at < other.start {
                left.push(at..other.start);
            }
            at = at.max(other.end);
        }
        if at < range.end {
            left.push(at..range.end);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_what_only_the_first_has() {
        assert_eq!(difference(&[0..10, 20..30], &[0..3, 5..22, 29..40]), [3..5, 22..29]);
        assert_eq!(difference(&[0..10], &[]), [0..10]);
        assert_eq!(difference(&[0..10], &[0..10]), Vec::<Range<u64>>::new());
        let mut set = SeqSet::below(5);
        set.insert(7);
        assert_eq!(ranges_of(&set, 100), [0..5, 7..8]);
        assert_eq!(ranges_of(&set, 5), [0..5]);
    }
}
