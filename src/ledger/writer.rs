//! The ledger's thread: takes the notes every second, counts them, and makes them durable.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    books::Books,
    minutes::minute_of,
    shared::{Opening, PLACE, Shared},
    start::open_books,
    store::{Kept, Store},
    tables::LedgerError,
};
use crate::{
    conditions::Condition,
    event::unix_millis,
    fault::Tries,
    limits::{LEDGER_COMMIT_INTERVAL, LEDGER_DAYS, LEDGER_PATIENCE, LEDGER_TIDY_INTERVAL},
};

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    opening: Opening,
    tries: Tries,
    tidied_at: Option<Instant>,
    /// How many events waited for each sink at the last commit, as the sinks say.
    waited: Vec<u64>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, opening: Opening) -> Self {
        Self { shared, opening, tries: Tries::default(), tidied_at: None, waited: Vec::new() }
    }

    /// Writes to `store` until the ledger is closed.
    pub(super) fn run(mut self, store: Store) {
        let (mut store, mut books) = (Some(store), None);
        loop {
            let Err(error) = self.work(&mut store, &mut books) else { return };
            // After an error the database must be opened again, once nobody reads it. What was counted stays in the books.
            self.shared.publish(None);
            self.shared.set_away();
            if let Some(store) = store.take() {
                while Arc::strong_count(store.database()) > 1 {
                    thread::sleep(READERS_END);
                }
            }
            let pause = self.tries.failed(&LEDGER_PATIENCE, Instant::now()).unwrap_or(LEDGER_PATIENCE.longest);
            let detail = format!("{error}; events are taken and delivered, and counted once it can be written again");
            self.shared.config.conditions.raise(Condition::LedgerUnwritable, PLACE, detail);
            if self.shared.rest(pause) {
                return;
            }
        }
    }

    /// Writes until the ledger is closed, or the disk fails.
    fn work(&mut self, store: &mut Option<Store>, books: &mut Option<Books>) -> Result<(), LedgerError> {
        let store = match store {
            Some(store) => store,
            None => store.insert(self.open_again(books)?),
        };
        self.shared.publish(Some(store.database().clone()));
        let books = match books {
            Some(books) => books,
            None => books.insert(open_books(store, &self.opening)?),
        };
        loop {
            self.commit(store, books)?;
            self.tidy(store, books)?;
            if self.shared.wait_for_work(LEDGER_COMMIT_INTERVAL) {
                // The last notes.
                return self.commit(store, books);
            }
        }
    }

    /// Opens the database after an error. If it is damaged, it begins again with the spool as far as it was counted: the notes
    /// go on from there.
    fn open_again(&mut self, books: &mut Option<Books>) -> Result<Store, LedgerError> {
        let (mut store, damaged) = Store::open(&self.shared.config.folder)?;
        store.names()?;
        if let Some(reason) = damaged {
            tracing::error!(reason, "the ledger is damaged, and begins again");
            self.shared.config.conditions.raise(Condition::LedgerDamaged, PLACE, reason);
            if let Some(books) = books.take() {
                self.opening.spool_end = books.end();
                let sinks = self.opening.sinks.iter_mut().flatten();
                sinks.zip(books.sinks).for_each(|(sink, book)| sink.settled = book.settled);
                books.waiting.into_iter().for_each(|note| self.shared.notes().settle(note));
            }
        }
        Ok(store)
    }

    fn commit(&mut self, store: &mut Store, books: &mut Books) -> Result<(), LedgerError> {
        let (asked, unlinked) = self.shared.asked();
        let notes = self.shared.take_notes();
        let is_quiet = notes.is_empty();
        books.take(notes);
        books.forget_below(unlinked);
        if books.has_changes() {
            store.commit(&books.changes, &books.positions(), self.shared.names.all())?;
            books.stored();
        }
        self.tries.succeeded();
        self.shared.config.conditions.clear(Condition::LedgerUnwritable, PLACE);
        let sinks = self.opening.sinks.iter().flatten();
        let waiting: Vec<u64> = sinks.map(|sink| sink.progress.unsettled(books.end())).collect();
        // If nothing happened between two looks, the sinks and the books agree.
        let apart: u64 = match is_quiet && waiting == self.waited {
            true => waiting.iter().zip(&books.sinks).map(|(waiting, book)| waiting.abs_diff(book.waiting(books.end()).0)).sum(),
            false => 0,
        };
        self.waited = waiting;
        self.shared.committed(asked, books.imbalance() + apart);
        Ok(())
    }

    /// Removes what is too old, from time to time.
    fn tidy(&mut self, store: &Store, books: &Books) -> Result<(), LedgerError> {
        let now = Instant::now();
        if self.tidied_at.is_some_and(|at| now.duration_since(at) < LEDGER_TIDY_INTERVAL) {
            return Ok(());
        }
        let now_millis = unix_millis(SystemTime::now());
        let kept = Kept {
            minutes_from: minute_of(now_millis) - i64::from(LEDGER_DAYS) * 1_440,
            events_from_millis: now_millis.saturating_sub(self.opening.window_millis),
            // What waits for a sink is kept, however old.
            settled_exclusive: books.sinks.iter().map(|sink| sink.settled.prefix()).min().unwrap_or(0),
            events_from_seq: books.end().saturating_sub(self.opening.events_max),
        };
        let has_more = store.remove_old(kept)?;
        self.tidied_at = (!has_more).then_some(now);
        Ok(())
    }
}

/// Between two looks whether readers have ended.
/// Why: a read takes some milliseconds.
const READERS_END: Duration = Duration::from_millis(5);
