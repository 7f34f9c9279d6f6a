//! The public side of the ledger.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::SystemTime,
};

use redb::Database;

use super::{
    accepted::AcceptedEvents,
    account::Answers,
    names::{LedgerNames, NameId},
    notes::Repeated,
    shared::{LedgerConfig, Opening, PLACE, Shared, SinkStart},
    store::Store,
    tables::LedgerError,
    writer::Writer,
};
use crate::{
    conditions::Condition,
    event::unix_millis,
    progress::{Observer, SinkProgress},
    spool::Spool,
};

/// The ledger of a gateway. Clones share it.
#[derive(Clone)]
pub struct Ledger(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// Whether the ledger could be opened at the start. If not, nothing is noted until the next start.
    is_on: bool,
    store: Mutex<Option<Store>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the ledger. If that fails, a condition tells it, and nothing is noted until the next start: no event waits for its
    /// ledger.
    #[must_use]
    pub fn open(config: LedgerConfig) -> Self {
        let opened = Store::open(&config.folder).and_then(|(mut store, damaged)| {
            let names = store.names()?;
            Ok((store, damaged, names))
        });
        let (store, names) = match opened {
            Ok((store, damaged, names)) => {
                if let Some(reason) = damaged {
                    tracing::error!(reason, "the ledger was damaged, and begins again");
                    config.conditions.raise(Condition::LedgerDamaged, PLACE, reason);
                }
                (Some(store), LedgerNames::of(names))
            }
            Err(error) => {
                let detail = format!("{error}; nothing is noted until the next start, and then counted from the spool");
                config.conditions.raise(Condition::LedgerUnwritable, PLACE, detail);
                (None, LedgerNames::default())
            }
        };
        let shared = Arc::new(Shared {
            names: Arc::new(names),
            notes: Mutex::default(),
            work: Mutex::default(),
            changed: Condvar::new(),
            database: Mutex::new(store.as_ref().map(|store| store.database().clone())),
            config,
        });
        let (is_on, store) = (store.is_some(), Mutex::new(store));
        Self(Arc::new(Handle { shared, is_on, store, thread: Mutex::default() }))
    }

    /// Begins to count. Call it before the first append and before the first delivery, once the progress of the `sinks` knows what
    /// their cursors and journals say. Without sinks, those that are known keep what waits for them.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn begin(&self, spool: &Arc<Spool>, sinks: Option<Vec<(Box<str>, Arc<SinkProgress>)>>) -> std::io::Result<()> {
        let shared = &self.0.shared;
        let Some(store) = self.0.store.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let sinks = sinks.map(|sinks| {
            let start = |(index, (name, progress)): (usize, (Box<str>, Arc<SinkProgress>))| {
                let (settling, durable) = (shared.clone(), shared.clone());
                progress.observe(Observer {
                    settled: Box::new(move |settlement, place, ranges| settling.settle(index, settlement, place, ranges)),
                    make_durable: Box::new(move |unlinked| {
                        let mut work = durable.work();
                        work.unlinked = work.unlinked.max(unlinked);
                        drop(work);
                        durable.flush();
                    }),
                });
                SinkStart { name, settled: progress.settled_now(), progress }
            };
            sinks.into_iter().enumerate().map(start).collect()
        });
        let opening = Opening {
            spool: spool.clone(),
            spool_end: spool.durable_end(),
            sinks,
            names: shared.names.clone(),
            now_millis: unix_millis(SystemTime::now()),
            window_millis: i64::try_from(shared.config.window.as_millis()).unwrap_or(i64::MAX),
            events_max: shared.config.events_max,
        };
        let writer = Writer::new(shared.clone(), opening);
        let ended = shared.clone();
        let thread = shared.config.conditions.vital("ledger").thread(move || {
            writer.run(store);
            ended.publish(None);
            ended.work().has_ended = true;
            ended.changed.notify_all();
        })?;
        *self.0.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// The names that have numbers.
    #[must_use]
    pub fn names(&self) -> &LedgerNames {
        &self.0.shared.names
    }

    /// Notes events that are durable in the spool from `first_seq` on. Call it in the order of the appends.
    pub fn accepted(&self, first_seq: u64, events: &AcceptedEvents) {
        if self.0.is_on {
            self.0.shared.notes().accept(first_seq, events);
        }
    }

    /// Notes the answers of a request that are not `accepted`: for each event the number of its name, and 1 in one of the counts.
    pub fn answered(&self, received_millis: i64, key: NameId, answers: impl IntoIterator<Item = (NameId, Answers)>) {
        let mut answers = answers.into_iter().peekable();
        if !self.0.is_on || answers.peek().is_none() {
            return;
        }
        let mut notes = self.0.shared.notes();
        answers.for_each(|(name, answers)| notes.answer(received_millis, key, name, &answers));
    }

    /// Notes events that were answered `duplicate`.
    pub fn repeated(&self, events: impl IntoIterator<Item = Repeated>) {
        let mut events = events.into_iter().peekable();
        if self.0.is_on && events.peek().is_some() {
            let mut notes = self.0.shared.notes();
            events.for_each(|repeated| notes.repeat(repeated));
        }
    }

    /// Notes events whose handling ended without an answer: a bug.
    pub fn unanswered(&self, events: u64) {
        if self.0.is_on && events > 0 {
            self.0.shared.notes().unanswered += events;
        }
    }

    /// Runs `read` with the database, after everything that was noted is on disk. Blocks.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Database, &LedgerNames) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        self.0.shared.flush();
        let database = self.0.shared.database.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let away = || LedgerError::Disk(std::io::Error::other("the ledger cannot be read at the moment: see /readyz"));
        read(&*database.ok_or_else(away)?, &self.0.shared.names)
    }

    /// By how many events the ledger does not balance.
    #[must_use]
    pub fn imbalance(&self) -> u64 {
        u64::try_from(self.0.shared.config.imbalance.get()).unwrap_or(0)
    }

    /// Waits until everything that was noted is on disk. Returns whether it is.
    pub fn flush(&self) -> bool {
        self.0.shared.flush()
    }

    /// Forgets what is noted and not on disk, as a kill does.
    #[cfg(test)]
    pub(super) fn lose_notes(&self) {
        drop(self.0.shared.take_notes());
    }

    /// Makes everything that was noted durable, and ends the thread. Blocks.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Handle {
    fn close(&self) {
        self.shared.work().is_closing = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said so.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
