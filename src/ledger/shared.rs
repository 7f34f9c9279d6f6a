//! What the ledger's thread and its callers share.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicI64},
    time::{Duration, Instant, SystemTime},
};

use prometheus_client::metrics::gauge::Gauge;
use redb::Database;

use super::{
    names::{LedgerNames, OTHER},
    notes::{Notes, SettledNote},
};
use crate::{
    conditions::Conditions,
    event::unix_millis,
    limits::LEDGER_WAIT,
    progress::{SeqSet, Settlement, SinkProgress},
    spool::Spool,
};

/// Under this name its faults are raised.
pub(super) const PLACE: &str = "ledger";

/// Where the ledger is, and for how long it keeps what.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// Its folder; created if it is missing.
    pub folder: PathBuf,
    /// How long single events are remembered: as long as by the dedup window.
    pub window: Duration,
    /// How many single events are remembered at most.
    pub events_max: u64,
    /// Where faults are raised.
    pub conditions: Conditions,
    /// Shows by how many events the ledger does not balance.
    pub imbalance: Gauge<i64, AtomicI64>,
}

/// A sink at a start.
#[derive(Debug)]
pub(super) struct SinkStart {
    pub(super) name: Box<str>,
    pub(super) progress: Arc<SinkProgress>,
    /// What its cursor and its journal say.
    pub(super) settled: SeqSet,
}

/// What the ledger begins with.
pub(super) struct Opening {
    pub(super) spool: Arc<Spool>,
    pub(super) spool_end: u64,
    /// `None` if no sink runs, and those that are known keep what waits for them.
    pub(super) sinks: Option<Vec<SinkStart>>,
    pub(super) names: Arc<LedgerNames>,
    pub(super) now_millis: i64,
    pub(super) window_millis: i64,
    pub(super) events_max: u64,
}

/// What the ledger's thread and its callers share.
pub(super) struct Shared {
    pub(super) names: Arc<LedgerNames>,
    pub(super) notes: Mutex<Notes>,
    pub(super) work: Mutex<Work>,
    pub(super) changed: Condvar,
    /// For readers, while the ledger is open.
    pub(super) database: Mutex<Option<Arc<Database>>>,
    pub(super) config: LedgerConfig,
}

/// What the thread is asked for.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Commits that were asked for, and those that are done.
    pub(super) asked: u64,
    pub(super) done: u64,
    /// Events below this number are unlinked.
    pub(super) unlinked: u64,
    pub(super) is_closing: bool,
    pub(super) has_ended: bool,
    /// The disk failed, and the next attempt comes later: nobody waits for it.
    pub(super) is_away: bool,
}

impl Shared {
    /// Waits until there is work, for at most `pause`. Returns whether the ledger is closing.
    pub(super) fn wait_for_work(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut work = self.work();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if work.is_closing || work.asked > work.done || left.is_zero() {
                return work.is_closing;
            }
            work = self.changed.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for `pause`. Returns at once, with `true`, if the ledger is closing.
    pub(super) fn rest(&self, pause: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.work(), pause, |work| !work.is_closing);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }

    /// The last commit that is asked for, and the first event that is not unlinked.
    pub(super) fn asked(&self) -> (u64, u64) {
        let work = self.work();
        (work.asked, work.unlinked)
    }

    /// Takes the notes.
    pub(super) fn take_notes(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    /// Everything that was noted before the commit `asked` was asked for is on disk.
    pub(super) fn committed(&self, asked: u64, imbalance: u64) {
        self.config.imbalance.set(i64::try_from(imbalance).unwrap_or(i64::MAX));
        let mut work = self.work();
        (work.done, work.is_away) = (asked, false);
        drop(work);
        self.changed.notify_all();
    }

    /// Whoever waits for a commit waits no longer, until one succeeds.
    pub(super) fn set_away(&self) {
        self.work().is_away = true;
        self.changed.notify_all();
    }

    /// Readers read this database from now on.
    pub(super) fn publish(&self, database: Option<Arc<Database>>) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = database;
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settle(&self, sink: usize, settlement: Settlement, place: &str, ranges: Vec<Range<u64>>) {
        let place = if place.is_empty() { OTHER } else { self.names.places.id(place) };
        let at_millis = unix_millis(SystemTime::now());
        self.notes().settle(SettledNote { sink, settlement, place, at_millis, ranges });
    }

    /// Waits until everything that was noted is on disk. Returns whether it is.
    pub(super) fn flush(&self) -> bool {
        let until = Instant::now() + LEDGER_WAIT;
        let mut work = self.work();
        work.asked += 1;
        let asked = work.asked;
        self.changed.notify_all();
        while work.done < asked {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || work.has_ended || work.is_away {
                return false;
            }
            work = self.changed.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
