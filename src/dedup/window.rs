//! The embedded dedup window: opening, claiming, restoring, checkpoints, closing.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use uuid::Uuid;

use super::claims::{ClaimError, Claims};
use super::folder::Folder;
use super::identity::Key;
use super::recovery::{Recovered, recover};
use super::shared::Shared;
#[cfg(test)]
use super::shared::State;
use super::stats::Stats;
use super::worker::Worker;
use crate::limits::{DEDUP_HOT_IDENTITIES, DEDUP_IDENTITIES_MAX, DEDUP_WINDOW_DAYS};
use crate::limits::{DEDUP_RESTORE_BATCH, DEDUP_SLICE_IDENTITIES};

/// How a window is set up.
#[derive(Clone, Debug)]
pub struct WindowConfig {
    /// The folder of its runs, for this window alone.
    pub dir: PathBuf,
    /// How long an identity is remembered at least, unless there are too many.
    pub window: Duration,
    /// Identities in sealed runs at most; beyond it the oldest are forgotten early.
    pub identities_max: u64,
    /// Identities in the hot generation; twice as many, with the claims in flight, are held in memory at most.
    pub hot_identities: usize,
    /// Identities in one slice of a run, at most, about.
    pub slice_identities: u64,
}

impl WindowConfig {
    /// The defaults, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            window: Duration::from_secs(u64::from(DEDUP_WINDOW_DAYS) * 86_400),
            identities_max: DEDUP_IDENTITIES_MAX,
            hot_identities: DEDUP_HOT_IDENTITIES,
            slice_identities: DEDUP_SLICE_IDENTITIES,
        }
    }
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Runs taken.
    pub runs: usize,
    /// Identities in them.
    pub identities: u64,
    /// Files of unfinished seals and merges that were removed. Nothing is lost with them.
    pub leftovers_removed: usize,
    /// Damaged runs, under the name they have now. Their identities are forgotten.
    pub set_aside: Vec<PathBuf>,
}

/// Why a window could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, or a file in it, cannot be made, read or changed.
    #[error("the dedup folder {path} cannot be used: {source}", path = path.display())]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another window has the folder open.
    #[error("the dedup folder {path} is in use by another process", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another version of Lakegate wrote the folder. Setting it aside would forget what it holds, so a person decides.
    #[error("{path} has dedup format {version}, which this version does not read", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The background thread could not be started.
    #[error("the dedup thread could not be started: {0}")]
    Thread(io::Error),
}

/// Why identities are not sealed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// Writing the run failed. It is tried again in the background; ask again later.
    #[error("sealing the dedup window to disk failed: {0}")]
    Disk(Arc<io::Error>),
    /// The window's background thread has ended.
    #[error("the dedup window is closed")]
    Stopped,
}

/// The embedded dedup window. Clones are the same window; the last one dropped ends its thread.
#[derive(Clone, Debug)]
pub struct Window {
    handle: Arc<Handle>,
}

/// Owns the thread, apart from what is shared with it.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Window {
    /// Opens the window in its folder, which is made if need be. Times are Unix milliseconds throughout.
    ///
    /// Afterwards [`restore`](Self::restore) the identities that the spool holds from [`sealed_mark`](Self::sealed_mark) on,
    /// before the first claim: those were confirmed but not yet sealed.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged run is none: it is set aside and reported.
    pub fn open(config: WindowConfig, now_millis: i64) -> Result<(Self, OpenReport), OpenError> {
        let folder = Folder::open(&config.dir)?;
        Self::open_in(folder, config, now_millis)
    }

    pub(super) fn open_in(folder: Folder, config: WindowConfig, now_millis: i64) -> Result<(Self, OpenReport), OpenError> {
        let Recovered { runs, hash, report } = recover(&folder)?;
        let config = WindowConfig {
            hot_identities: config.hot_identities.max(1),
            slice_identities: config.slice_identities.max(1),
            ..config
        };
        let shared = Arc::new(Shared::new(config, hash, runs, now_millis));
        let worker = Worker::new(Arc::clone(&shared), folder);
        let thread = std::thread::Builder::new().name("dedup".into()).spawn(move || worker.run()).map_err(OpenError::Thread)?;
        let handle = Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) });
        Ok((Self { handle }, report))
    }

    /// Claims a batch of identities: for each of them its fate, and for all fresh ones the ownership, until the returned
    /// [`Claims`] are confirmed or dropped. One lock for the batch; the disk is read for sealed duplicates, mostly.
    ///
    /// # Errors
    /// [`ClaimError::Full`]: then nothing is claimed.
    pub fn claim(&self, ids: &[Uuid], now_millis: i64) -> Result<Claims, ClaimError> {
        let shared = &self.handle.shared;
        shared.note_now(now_millis);
        let keys: Vec<Key> = ids.iter().map(|id| shared.hash.key(*id)).collect();
        let mut sealed = Vec::new();
        loop {
            // The runs first and without the lock, because they may read the disk.
            let runs = shared.runs.load_full();
            runs.look_up(&keys, &mut sealed, &shared.counters);
            let mut state = shared.lock();
            // Where a generation was sealed meanwhile, its identities are neither in the runs that we looked at nor in
            // memory any more. That is rare, as a seal takes a full generation, so all is simply looked up again.
            if state.unsealed.sealed_generation() != runs.sealed_generation {
                continue;
            }
            let claimed = state.unsealed.claim(&keys, &sealed);
            drop(state);
            let (outcomes, fresh) = claimed.inspect_err(|_| {
                shared.counters.batches_refused.fetch_add(1, Ordering::Relaxed);
            })?;
            return Ok(Claims::new(Arc::clone(shared), outcomes, fresh));
        }
    }

    /// The mark from which on the spool's events must be [`restore`](Self::restore)d after opening: every identity confirmed
    /// with a smaller mark is in sealed runs (or has left the window).
    ///
    /// Where the spool's next sequence number is smaller than this, the spool is a new one: restore all of it.
    #[must_use]
    pub fn sealed_mark(&self) -> u64 {
        self.handle.shared.runs.load().mark_end_exclusive()
    }

    /// Takes in identities that were confirmed before the restart, with their marks in ascending order. They count as
    /// confirmed now: they may be remembered longer for it, never shorter. Returns how many there were.
    ///
    /// Blocks while what is in memory is sealed, so memory stays flat however many there are.
    ///
    /// # Errors
    /// [`SealError`] where that fails.
    pub fn restore(&self, ids: impl IntoIterator<Item = (Uuid, u64)>, now_millis: i64) -> Result<u64, SealError> {
        let shared = &self.handle.shared;
        shared.note_now(now_millis);
        let mut ids = ids.into_iter();
        let mut restored = 0;
        loop {
            let batch: Vec<(Key, u64)> =
                ids.by_ref().take(DEDUP_RESTORE_BATCH).map(|(id, mark)| (shared.hash.key(id), mark)).collect();
            if batch.is_empty() {
                return Ok(restored);
            }
            let mut state = shared.lock();
            for (key, mark) in &batch {
                let failures = state.control.failures;
                let rotated = loop {
                    if let Some(rotated) = state.unsealed.restore(key, *mark, now_millis) {
                        break rotated;
                    }
                    state.control.seal_now = true;
                    shared.wake(&mut state);
                    state = shared.wait_for_seal(state, failures)?;
                };
                if rotated {
                    shared.wake(&mut state);
                }
                restored += 1;
            }
        }
    }

    /// Makes every identity that is confirmed by now with a mark below `mark_exclusive` durable in sealed runs, and blocks
    /// until it is. The deliverer calls this before it unlinks the spool's segments below that mark.
    ///
    /// # Errors
    /// [`SealError`]: then the segments must stay. Sealing is tried again in the background.
    pub fn checkpoint(&self, mark_exclusive: u64) -> Result<(), SealError> {
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        let mark_exclusive = state.unsealed.seal_below(mark_exclusive);
        let failures = state.control.failures;
        if state.unsealed.has_below(mark_exclusive) {
            state.control.seal_now = true;
            shared.wake(&mut state);
        }
        while state.unsealed.has_below(mark_exclusive) {
            state = shared.wait_for_seal(state, failures)?;
        }
        Ok(())
    }

    /// The window at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }

    /// Seals what is in memory and ends the background thread. Not needed for correctness, as the spool restores what
    /// was not sealed; it makes the next start quick.
    ///
    /// # Errors
    /// [`SealError`] where sealing fails; the thread is ended all the same.
    pub fn close(&self) -> Result<(), SealError> {
        let sealed = self.checkpoint(u64::MAX);
        self.handle.stop();
        sealed
    }

    /// Waits until the background thread has nothing left to do.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        let is_settled = |state: &State| state.control.is_idle && state.unsealed.sealing().is_none();
        while !is_settled(&state) && !state.control.is_stopped {
            state = shared.wait_for_progress(state);
        }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

impl Handle {
    fn stop(&self) {
        {
            let mut state = self.shared.lock();
            state.control.stop = true;
            self.shared.wake(&mut state);
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said so; `stats` and every wait tell that it has ended.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}
