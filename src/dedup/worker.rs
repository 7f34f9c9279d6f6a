//! The background thread: seals, forgets, merges, in this order of urgency. It alone changes the set of runs.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::hot::Generation;
use super::identity::Key;
use super::merge::{Merge, MergeLimits};
use super::run::Run;
use super::shared::Shared;
use super::writer::{Facts, RunWriter};
use crate::limits::{DEDUP_RETRY_PAUSE, DEDUP_RUN_GRAIN};

/// The thread's own state.
pub(super) struct Worker {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    merge: Option<Merge>,
    /// There may be something to forget or to merge.
    has_upkeep: bool,
    seal_retry: Retry,
    merge_retry: Retry,
}

enum Job {
    Seal(Arc<Generation>),
    Upkeep,
    Stop,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, folder: Folder) -> Self {
        Self {
            shared,
            folder: Arc::new(folder),
            merge: None,
            has_upkeep: true,
            seal_retry: Retry::new("sealing"),
            merge_retry: Retry::new("merging"),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Seal(generation) => self.seal(&generation),
                Job::Upkeep => self.upkeep(),
                Job::Stop => return,
            }
        }
    }

    /// Waits for something to do. A merge is done in steps, so a seal never waits for more than one of them.
    fn next_job(&mut self) -> Job {
        let mut state = self.shared.lock();
        loop {
            if state.control.stop {
                return Job::Stop;
            }
            self.has_upkeep |= std::mem::take(&mut state.control.tidy);
            let now = Instant::now();
            let mut pause = None;
            if let Some(generation) = state.unsealed.sealing().cloned() {
                let at_once = std::mem::take(&mut state.control.seal_now);
                pause = self.seal_retry.pause_left(now).filter(|_| !at_once);
                if pause.is_none() {
                    return Job::Seal(generation);
                }
            }
            if self.has_upkeep {
                let Some(merge_pause) = self.merge_retry.pause_left(now) else { return Job::Upkeep };
                pause = Some(pause.map_or(merge_pause, |pause| pause.min(merge_pause)));
            }
            state.control.is_idle = pause.is_none();
            self.shared.progress.notify_all();
            state = match pause {
                Some(pause) => self.shared.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0,
                None => self.shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn seal(&mut self, generation: &Generation) {
        match self.write(generation) {
            Ok(run) => {
                self.seal_retry.succeeded();
                self.has_upkeep = true;
                let runs = Arc::new(self.shared.runs.load().with(run, generation.number));
                let mut state = self.shared.lock();
                // Under the lock: a claim finds the identities in the runs or in the generation, at every moment.
                self.shared.runs.store(runs);
                let sealed = state.unsealed.sealed();
                state.control.failure = None;
                drop(state);
                // Megabytes are given back to the system only after the lock is.
                drop(sealed);
            }
            Err(error) => {
                self.seal_retry.failed(&error);
                let mut state = self.shared.lock();
                state.control.failure = Some(Arc::new(error));
                state.control.failures += 1;
            }
        }
        self.shared.progress.notify_all();
    }

    fn write(&self, generation: &Generation) -> io::Result<Option<Run>> {
        let mut keys: Vec<Key> = generation.ids.iter().map(|id| self.shared.hash.key(*id)).collect();
        keys.sort_unstable();
        let facts = Facts {
            oldest_millis: generation.oldest_millis,
            newest_millis: generation.newest_millis,
            mark_end_exclusive: generation.mark_end_exclusive,
        };
        let slice_identities = self.shared.config.slice_identities;
        let generations = generation.generations();
        let mut writer = RunWriter::create(&self.folder, generations, &self.shared.hash, keys.len() as u64, slice_identities)?;
        for key in keys {
            writer.push(key)?;
        }
        writer.finish(facts).map_err(io::Error::other)
    }

    fn upkeep(&mut self) {
        let result = match self.merge.take() {
            Some(merge) => self.continue_merge(merge),
            None => {
                self.forget();
                self.start_merge()
            }
        };
        if let Err(error) = result {
            self.merge_retry.failed(&error);
        }
    }

    /// Unlinks what has expired, and the oldest runs where there are too many identities.
    fn forget(&self) {
        let now_millis = self.shared.now_millis.load(Ordering::Relaxed);
        let expired_before_millis = now_millis.saturating_sub(self.shared.window_millis());
        let (kept, forgotten) = self.shared.runs.load().forget(expired_before_millis, self.shared.config.identities_max);
        let next = kept.next_newest_millis().map_or(i64::MAX, |newest| newest.saturating_add(self.shared.window_millis()));
        // One past it: a run is forgotten when it is older than the window, not when it is as old.
        self.shared.expiry_due_millis.store(next.saturating_add(1), Ordering::Relaxed);
        if forgotten.expired.is_empty() && forgotten.surplus.is_empty() {
            return;
        }
        self.shared.runs.store(Arc::new(kept));
        for run in &forgotten.expired {
            tracing::info!(run = %run.generations, identities = run.footer.identities, "dedup: a run has left the window");
        }
        for run in &forgotten.surplus {
            let identities = run.footer.identities;
            let newest_age_seconds = now_millis.saturating_sub(run.footer.newest_millis) / 1000;
            self.shared.counters.identities_forgotten_early.fetch_add(identities, Ordering::Relaxed);
            self.shared.forgotten_millis.fetch_max(run.footer.newest_millis, Ordering::Relaxed);
            tracing::warn!(
                run = %run.generations,
                identities,
                newest_age_seconds,
                identities_max = self.shared.config.identities_max,
                "dedup: too many identities; the oldest are forgotten before the window has passed"
            );
        }
        self.remove(forgotten.expired.iter().chain(&forgotten.surplus));
    }

    fn start_merge(&mut self) -> io::Result<()> {
        let limits = MergeLimits {
            hot_identities: self.shared.config.hot_identities as u64,
            identities_max: self.shared.config.identities_max / DEDUP_RUN_GRAIN,
            span_millis_max: self.shared.window_millis() / DEDUP_RUN_GRAIN as i64,
        };
        let runs = self.shared.runs.load_full();
        let Some(inputs) = runs.choose_merge(&limits) else {
            self.has_upkeep = false;
            self.merge_retry.succeeded();
            return Ok(());
        };
        let slice_identities = self.shared.config.slice_identities;
        self.merge = Merge::start(&self.folder, inputs, slice_identities, &self.shared.counters)?;
        Ok(())
    }

    fn continue_merge(&mut self, mut merge: Merge) -> io::Result<()> {
        if merge.step(&self.shared.counters)? {
            self.merge = Some(merge);
            return Ok(());
        }
        let inputs = merge.inputs();
        let merged = merge.finish().map_err(io::Error::other)?;
        let is_input = |run: &Arc<Run>| inputs.iter().any(|input| Arc::ptr_eq(input, run));
        let runs = self.shared.runs.load().replaced(is_input, merged);
        self.shared.runs.store(Arc::new(runs));
        self.merge_retry.succeeded();
        self.remove(inputs.iter());
        Ok(())
    }

    /// Unlinks runs that no longer count. One that stays is met again, and unlinked for the same reason, at the next start.
    fn remove<'a>(&self, runs: impl Iterator<Item = &'a Arc<Run>>) {
        for run in runs {
            if let Err(error) = self.folder.remove(run.generations) {
                tracing::warn!(run = %run.generations, %error, "dedup: a run that no longer counts could not be removed");
            }
        }
    }
}

impl Drop for Worker {
    /// However the thread ends, nobody may go on waiting for it.
    fn drop(&mut self) {
        self.shared.lock().control.is_stopped = true;
        self.shared.progress.notify_all();
    }
}

/// When to try again what failed; logs when it begins to fail and when it works again, not every try.
struct Retry {
    what: &'static str,
    failed: Option<(Instant, Duration)>,
}

impl Retry {
    fn new(what: &'static str) -> Self {
        Self { what, failed: None }
    }

    fn failed(&mut self, error: &io::Error) {
        let pause = match self.failed {
            Some((_, pause)) => (2 * pause).min(DEDUP_RETRY_PAUSE.1),
            None => {
                tracing::error!(%error, "dedup: {} fails; it is tried again until it succeeds", self.what);
                DEDUP_RETRY_PAUSE.0
            }
        };
        self.failed = Some((Instant::now(), pause));
    }

    fn succeeded(&mut self) {
        if self.failed.take().is_some() {
            tracing::info!("dedup: {} works again", self.what);
        }
    }

    fn pause_left(&self, now: Instant) -> Option<Duration> {
        let (at, pause) = self.failed?;
        pause.checked_sub(now.saturating_duration_since(at)).filter(|left| !left.is_zero())
    }
}
