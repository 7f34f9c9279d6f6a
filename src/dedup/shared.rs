//! State shared by the window's handles, its claims and its background thread.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{fmt, io};

use arc_swap::ArcSwap;

use super::config::WindowConfig;
use super::errors::SealError;
use super::identity::KeyedHash;
use super::memtable::Memtable;
use super::run::Run;
use super::runs::RunSet;
use super::stats::{Counters, Sealing, Stats};
use crate::conditions::Condition;
use crate::limits::DEDUP_FULL_AFTER;

/// The shared part of a window.
pub(super) struct Shared {
    pub(super) config: WindowConfig,
    pub(super) hash: KeyedHash,
    state: Mutex<State>,
    /// The background thread waits on this.
    pub(super) work: Condvar,
    /// Threads that wait for the background thread wait on this.
    pub(super) progress: Condvar,
    /// Only the background thread replaces it. A seal does so under the lock, together with its generation.
    pub(super) runs: ArcSwap<RunSet>,
    pub(super) counters: Counters,
    /// The latest time that a caller gave, for the background thread.
    pub(super) now_millis: AtomicI64,
    /// Time from which on a run may be forgotten.
    pub(super) expiry_due_millis: AtomicI64,
    /// The newest identity that was forgotten early; `i64::MIN` if there was none.
    pub(super) forgotten_millis: AtomicI64,
    /// Damaged runs in the folder, for the stats.
    pub(super) runs_set_aside: AtomicU64,
}

/// The state under the lock.
pub(super) struct State {
    pub(super) unsealed: Memtable,
    pub(super) control: Control,
}

/// Requests to the background thread, and its answers.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// End after the current step.
    pub(super) stop: bool,
    /// Retry a failed seal now, not after its pause.
    pub(super) seal_now: bool,
    /// A run may have to be forgotten.
    pub(super) tidy: bool,
    /// Error of the last seal, if it failed, and the number of failures.
    pub(super) failure: Option<Arc<io::Error>>,
    pub(super) failures: u64,
    /// When a batch was first refused since the last seal.
    pub(super) refused_since: Option<Instant>,
    /// The background thread has nothing to do, and has got no request since.
    pub(super) is_idle: bool,
    /// The background thread has ended.
    pub(super) is_stopped: bool,
}

impl Control {
    fn sealing(&self, is_busy: bool) -> Sealing {
        match (&self.failure, self.is_stopped) {
            (_, true) => Sealing::Stopped,
            (Some(failure), _) => Sealing::Failing(failure.to_string()),
            (None, _) if is_busy => Sealing::Busy,
            (None, _) => Sealing::Idle,
        }
    }
}

impl fmt::Debug for Shared {
    /// Without the tables, because a claim in a log line must not print a quarter of a million identities.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(config: WindowConfig, hash: KeyedHash, runs: RunSet, now_millis: i64) -> Self {
        let unsealed = Memtable::new(hash, config.hot_identities, runs.sealed_generation);
        Self {
            config,
            hash,
            state: Mutex::new(State { unsealed, control: Control::default() }),
            work: Condvar::new(),
            progress: Condvar::new(),
            runs: ArcSwap::from_pointee(runs),
            counters: Counters::default(),
            now_millis: AtomicI64::new(now_millis),
            expiry_due_millis: AtomicI64::new(i64::MIN),
            forgotten_millis: AtomicI64::new(i64::MIN),
            runs_set_aside: AtomicU64::new(0),
        }
    }

    /// The lock is held for table operations only, never for I/O. Nothing under it panics half-way.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the background thread.
    pub(super) fn wake(&self, state: &mut State) {
        state.control.is_idle = false;
        self.work.notify_one();
    }

    /// Waits for the background thread's progress. Returns an error if a seal failed since there were `failures`.
    pub(super) fn wait_for_seal<'a>(
        &self,
        state: MutexGuard<'a, State>,
        failures: u64,
    ) -> Result<MutexGuard<'a, State>, SealError> {
        if state.control.is_stopped {
            return Err(SealError::Stopped);
        }
        if state.control.failures != failures
            && let Some(failure) = &state.control.failure
        {
            return Err(SealError::Disk(Arc::clone(failure)));
        }
        Ok(self.wait_for_progress(state))
    }

    pub(super) fn wait_for_progress<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.progress.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the caller's time, and wakes the background thread when a run may be forgotten.
    pub(super) fn note_now(&self, now_millis: i64) {
        self.now_millis.store(now_millis, Ordering::Relaxed);
        let due = self.expiry_due_millis.load(Ordering::Relaxed);
        if now_millis >= due && due != i64::MAX {
            // Only once: the background thread sets the next time.
            self.expiry_due_millis.store(i64::MAX, Ordering::Relaxed);
            let mut state = self.lock();
            state.control.tidy = true;
            self.wake(&mut state);
        }
    }

    /// Counts a refused batch, and raises a condition if the refusals last longer than a busy moment.
    pub(super) fn note_refusal(&self) {
        self.counters.batches_refused.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let since = *state.control.refused_since.get_or_insert_with(Instant::now);
        let why = match &state.control.failure {
            Some(failure) => Some(format!("its identities cannot be sealed to disk: {failure}")),
            None if state.control.is_stopped => Some("its background thread has ended".to_owned()),
            None => {
                let waited = since.elapsed();
                (waited >= DEDUP_FULL_AFTER).then(|| format!("the disk has not taken its identities for {} s", waited.as_secs()))
            }
        };
        drop(state);
        if let Some(why) = why {
            self.config.conditions.raise(Condition::DedupFull, "", why);
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let forgotten_millis = self.forgotten_millis.load(Ordering::Relaxed);
        let now_millis = self.now_millis.load(Ordering::Relaxed);
        let certain_millis = self.window_millis().min(now_millis.saturating_sub(forgotten_millis)).max(0);

        let state = self.lock();
        let runs = self.runs.load();
        let oldest = runs.runs.iter().map(|run| run.footer.oldest_millis).chain(state.unsealed.oldest_millis()).min();
        Stats {
            identities_hot: state.unsealed.confirmed_len() as u64,
            identities_in_flight: state.unsealed.in_flight_len() as u64,
            identities_sealed: runs.sum(|run| run.footer.identities),
            runs: runs.runs.len() as u64,
            disk_bytes: runs.sum(Run::disk_bytes),
            filter_bytes: runs.sum(Run::filter_bytes),
            index_bytes: runs.sum(Run::index_bytes),
            oldest_millis: oldest,
            effective_window_seconds: certain_millis as u64 / 1000,
            identities_forgotten_early: count(&self.counters.identities_forgotten_early),
            lookups_read_disk: count(&self.counters.lookups_read_disk),
            damaged_pages: count(&self.counters.damaged_pages),
            identities_damaged: count(&self.counters.identities_damaged),
            runs_set_aside: count(&self.runs_set_aside),
            batches_refused: count(&self.counters.batches_refused),
            sealing: state.control.sealing(state.unsealed.sealing().is_some()),
        }
    }

    pub(super) fn window_millis(&self) -> i64 {
        i64::try_from(self.config.window.as_millis()).unwrap_or(i64::MAX)
    }
}
