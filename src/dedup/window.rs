//! The embedded dedup window: opening, claiming, restoring, checkpoints, closing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use uuid::Uuid;

use super::claim::ClaimError;
use super::claims::Claims;
use super::config::{OpenReport, WindowConfig};
use super::errors::{OpenError, SealError};
use super::folder::Folder;
use super::identity::{Identity, Key};
use super::look_up::{Doubt, LookUp, Place};
use super::recovery::{Recovered, recover};
use super::shared::Shared;
#[cfg(test)]
use super::shared::State;
use super::stats::Stats;
use super::worker::Worker;
use crate::clock::ConfirmedClock;
use crate::limits::{DEDUP_LOOK_UP_BATCH, DEDUP_RESTORE_BATCH};
use crate::outcome::PerEvent;

/// The embedded dedup window. Clones share it; dropping the last clone ends its thread.
#[derive(Clone, Debug)]
pub struct Window {
    handle: Arc<Handle>,
}

/// Owns the thread; separate from the state that the thread shares.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    clock: ConfirmedClock,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Window {
    /// Opens the window in its folder; creates the folder if it is missing. All times are Unix milliseconds of confirmed time
    /// ([`crate::clock`]). The window continues at the time of its newest identity, and [`clock`](Self::clock) returns that
    /// time. An empty window begins at `now_millis`.
    ///
    /// After this and before the first claim, [`restore`](Self::restore) the identities that the spool holds from
    /// [`sealed_mark`](Self::sealed_mark) on: they were confirmed but not yet sealed.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged run is not an error: it is set aside and reported.
    pub fn open(config: WindowConfig, now_millis: i64) -> Result<(Self, OpenReport), OpenError> {
        let folder = Folder::open(&config.dir)?;
        Self::open_in(folder, config, now_millis)
    }

    pub(super) fn open_in(folder: Folder, config: WindowConfig, now_millis: i64) -> Result<(Self, OpenReport), OpenError> {
        let folder = Arc::new(folder);
        let Recovered { runs, hash, kept, forgotten_millis, set_aside, report } = recover(&folder, &config, now_millis)?;
        let clock = ConfirmedClock::starting_at(report.now_millis, Instant::now());
        let config = WindowConfig {
            hot_identities: config.hot_identities.max(1),
            slice_identities: config.slice_identities.max(1),
            spool_history: report.spool_history,
            ..config
        };
        let shared = Arc::new(Shared::new(config, hash, runs, report.now_millis));
        shared.forgotten_millis.store(forgotten_millis, Ordering::Relaxed);
        shared.runs_set_aside.store(set_aside, Ordering::Relaxed);
        let vital = shared.config.conditions.vital("dedup");
        let worker = Worker::new(Arc::clone(&shared), folder, kept);
        let thread = vital.thread(move || worker.run()).map_err(OpenError::Thread)?;
        let handle = Arc::new(Handle { shared, clock, thread: Mutex::new(Some(thread)) });
        Ok((Self { handle }, report))
    }

    /// Claims a batch of identities: returns the result for each, and owns all fresh ones until the returned [`Claims`] are
    /// confirmed or dropped. Takes one lock for the batch; reads the disk mostly for sealed duplicates only.
    ///
    /// # Errors
    /// [`ClaimError::Full`]: nothing is claimed.
    pub fn claim(&self, identities: &[Identity], now_millis: i64) -> Result<Claims, ClaimError> {
        let shared = &self.handle.shared;
        shared.note_now(now_millis);
        let keys: PerEvent<Key> = identities.iter().map(|identity| shared.hash.key(*identity)).collect();
        let mut sealed = PerEvent::new();
        loop {
            // The runs first and without the lock, because the lookup may read the disk.
            let runs = shared.runs.load_full();
            runs.look_up(&keys, &mut sealed, &shared.counters);
            let mut state = shared.lock();
            // If a generation was sealed meanwhile, its identities are neither in the runs looked up nor in memory any more.
            // That is rare, because a seal takes a full generation, so look up everything again.
            if state.unsealed.sealed_generation() != runs.sealed_generation {
                continue;
            }
            let claimed = state.unsealed.claim(&keys, &sealed);
            drop(state);
            let (outcomes, fresh) = claimed.inspect_err(|_| shared.note_refusal())?;
            return Ok(Claims::new(Arc::clone(shared), outcomes, fresh));
        }
    }

    /// The mark from which on the spool's events must be [`restore`](Self::restore)d after opening. Every identity confirmed
    /// with a smaller mark is in sealed runs, or has left the window.
    ///
    /// It is 0 if the marks belong to another spool, or to a spool that has since been restored from an older backup. Then
    /// restore everything that the spool holds.
    #[must_use]
    pub fn sealed_mark(&self) -> u64 {
        self.handle.shared.runs.load().mark_end_exclusive(self.handle.shared.config.spool_history)
    }

    /// The mark of a window that release 0.1.0 wrote, which did not store the spool of its marks; else 0. It is too uncertain
    /// to skip a [`restore`](Self::restore), but it shows that identities with a smaller mark were not lost.
    #[must_use]
    pub fn unnamed_mark(&self) -> u64 {
        self.handle.shared.runs.load().unnamed_mark_end_exclusive()
    }

    /// Looks up what is known of identities. Claims nothing, and counts as no claim. Takes the lock for memory only, and reads the
    /// disk for what is sealed: call it where that may block.
    #[must_use]
    pub fn look_up(&self, ids: &[Uuid]) -> Vec<LookUp> {
        let shared = &self.handle.shared;
        let keys: Vec<Key> = ids.iter().map(|id| shared.hash.key(Identity::unknown(*id))).collect();
        let mut answers = Vec::with_capacity(ids.len());
        for keys in keys.chunks(DEDUP_LOOK_UP_BATCH) {
            let state = shared.lock();
            answers.extend(keys.iter().map(|key| state.unsealed.look_up(key)));
        }
        // The runs after the memory: what has left memory was in the runs before, so no seal can hide it. A claim looks in the
        // other order, because it must know the runs when it changes the memory.
        let runs = shared.runs.load_full();
        runs.complete(&keys, &mut answers, shared.config.spool_history, &shared.counters);
        if shared.runs_set_aside.load(Ordering::Relaxed) > 0 {
            let unknown = answers.iter_mut().filter(|answer| **answer == LookUp::Unknown);
            unknown.for_each(|answer| *answer = LookUp::CannotTell(Doubt::RunsSetAside));
        }
        answers
    }

    /// The positions of the events that were confirmed with these identities. Those of identities that the window does not know
    /// are before [`sealed_mark`](Self::sealed_mark). May read the disk, as a claim of the same identities does.
    #[must_use]
    pub fn places(&self, ids: &[Uuid]) -> Vec<Place> {
        let place = |answer| match answer {
            LookUp::Known(known) => known.place,
            LookUp::InFlight | LookUp::Unknown | LookUp::CannotTell(_) => Place::Before(self.sealed_mark()),
        };
        self.look_up(ids).into_iter().map(place).collect()
    }

    /// Since when the window knows every accepted event, as far as nothing is damaged: Unix milliseconds of confirmed time
    /// ([`crate::clock`]). Usually the time of the oldest identity; later if identities were forgotten early, because there were
    /// too many; now if it knows none.
    #[must_use]
    pub fn known_since_millis(&self) -> i64 {
        let shared = &self.handle.shared;
        let oldest = shared.stats().oldest_millis.unwrap_or_else(|| shared.now_millis.load(Ordering::Relaxed));
        oldest.max(shared.forgotten_millis.load(Ordering::Relaxed).saturating_add(1))
    }

    /// Learns that the event of a known identity, which the disk had lost, was stored again with this mark. If there is no room at
    /// the moment, the window goes on with the place of the lost copy.
    pub fn stored_again(&self, identity: Identity, mark: u64) {
        let shared = &self.handle.shared;
        let now_millis = shared.now_millis.load(Ordering::Relaxed);
        let mut state = shared.lock();
        if state.unsealed.restore(&shared.hash.key(identity), mark, now_millis) == Some(true) {
            shared.wake(&mut state);
        }
    }

    /// Confirmed time, for [`claim`](Self::claim) and [`restore`](Self::restore).
    #[must_use]
    pub fn clock(&self) -> ConfirmedClock {
        self.handle.clock
    }

    /// Restores identities that were confirmed before the restart, with their marks in ascending order. They count as
    /// confirmed now, so they may be remembered longer, never shorter. Returns their number.
    ///
    /// Blocks while memory is being sealed, so memory use stays bounded for any number of identities.
    ///
    /// # Errors
    /// [`SealError`] if sealing fails.
    pub fn restore(&self, identities: impl IntoIterator<Item = (Identity, u64)>, now_millis: i64) -> Result<u64, SealError> {
        let shared = &self.handle.shared;
        shared.note_now(now_millis);
        let mut identities = identities.into_iter();
        let mut restored = 0;
        loop {
            let batch: Vec<(Key, u64)> =
                identities.by_ref().take(DEDUP_RESTORE_BATCH).map(|(identity, mark)| (shared.hash.key(identity), mark)).collect();
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

    /// Makes every identity confirmed so far with a mark below `mark_exclusive` durable in sealed runs. Blocks until that is
    /// done. The deliverer calls this before it unlinks the spool's segments below that mark.
    ///
    /// # Errors
    /// [`SealError`]: the segments must stay. Sealing is retried in the background.
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

    /// The current statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }

    /// Seals what is in memory and ends the background thread. Not needed for correctness, because the spool restores unsealed
    /// identities; it makes the next start faster.
    ///
    /// # Errors
    /// [`SealError`] if sealing fails; the thread ends all the same.
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
        // A thread that panicked has logged that; `stats` and every wait report that it has ended.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}
