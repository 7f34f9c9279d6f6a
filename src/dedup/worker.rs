//! The background thread: checks the files, seals, forgets, merges, in this order of urgency. Only this thread changes the set
//! of runs.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::folder::{Folder, Generations};
use super::folder_watch::{FolderWatch, report_forgetting};
use super::format::RunError;
use super::identity::Entry;
use super::memtable::Generation;
use super::merge::{Merge, MergeError, MergeLimits};
use super::recovery::ExpiredRun;
use super::retry::Retry;
use super::run::Run;
use super::shared::Shared;
use super::writer::{Facts, RunWriter};
use crate::conditions::Condition;
use crate::limits::{DEDUP_LOOK_EVERY, DEDUP_RUN_GRAIN, DEDUP_SET_ASIDE_FOR};

/// The thread's own state.
pub(super) struct Worker {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    merge: Option<Merge>,
    /// There may be a run to forget or to merge.
    has_upkeep: bool,
    /// Runs that have left the window and are still kept, oldest first.
    kept: Vec<ExpiredRun>,
    seal_retry: Retry,
    merge_retry: Retry,
    look_at: Instant,
    folder_watch: FolderWatch,
}

enum Job {
    Look,
    Seal(Arc<Generation>),
    Upkeep,
    Stop,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, folder: Arc<Folder>, kept: Vec<ExpiredRun>) -> Self {
        let retry = |what| Retry::new(what, shared.config.conditions.clone());
        Self {
            folder,
            merge: None,
            has_upkeep: true,
            kept,
            seal_retry: retry("sealing"),
            merge_retry: retry("merging"),
            look_at: Instant::now(),
            folder_watch: FolderWatch::new(retry("folder")),
            shared,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Look => {
                    self.folder_watch.look(&self.shared, &self.folder, &mut self.merge, &mut self.has_upkeep);
                    self.look_at = Instant::now() + DEDUP_LOOK_EVERY;
                }
                Job::Seal(generation) => self.seal(&generation),
                Job::Upkeep => self.upkeep(),
                Job::Stop => return,
            }
        }
    }

    /// Waits for the next job. A merge is done in steps, so a seal waits for one step at most.
    fn next_job(&mut self) -> Job {
        let mut state = self.shared.lock();
        loop {
            if state.control.stop {
                return Job::Stop;
            }
            self.has_upkeep |= std::mem::take(&mut state.control.tidy);
            let now = Instant::now();
            if now >= self.look_at {
                return Job::Look;
            }
            let mut pause: Option<Duration> = None;
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
            let until_look = self.look_at.saturating_duration_since(now);
            let pause = pause.map_or(until_look, |pause| pause.min(until_look));
            state = self.shared.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn seal(&mut self, generation: &Generation) {
        match self.write(generation) {
            Ok(run) => {
                self.seal_retry.succeeded();
                self.has_upkeep = true;
                let runs = Arc::new(self.shared.runs.load().with(run, generation.number));
                let mut state = self.shared.lock();
                // Under the lock, so that a claim always finds the identities, in the runs or in the generation.
                self.shared.runs.store(runs);
                let sealed = state.unsealed.sealed();
                state.control.failure = None;
                state.control.refused_since = None;
                drop(state);
                self.shared.config.conditions.clear(Condition::DedupFull, "");
                // After the lock is released, because this returns megabytes to the system.
                drop(sealed);
            }
            Err(error) => {
                self.seal_retry.failed(&error);
                // The seal may have failed because the folder is gone.
                self.look_at = Instant::now();
                let mut state = self.shared.lock();
                state.control.failure = Some(Arc::new(error));
                state.control.failures += 1;
            }
        }
        self.shared.progress.notify_all();
    }

    fn write(&self, generation: &Generation) -> io::Result<Option<Run>> {
        let mut entries: Vec<Entry> = generation.ids.iter().map(|known| self.shared.hash.entry(*known)).collect();
        entries.sort_unstable();
        let facts = Facts {
            oldest_millis: generation.oldest_millis,
            newest_millis: generation.newest_millis,
            mark_first_inclusive: generation.first_mark,
            mark_end_exclusive: generation.mark_end_exclusive,
            spool_history: self.shared.config.spool_history,
        };
        let slice_identities = self.shared.config.slice_identities;
        let generations = generation.generations();
        let mut writer = RunWriter::create(&self.folder, generations, &self.shared.hash, entries.len() as u64, slice_identities)?;
        for entry in entries {
            writer.push(entry)?;
        }
        writer.finish(facts).map_err(RunError::into_io)
    }

    fn upkeep(&mut self) {
        let result = match self.merge.take() {
            Some(merge) => self.continue_merge(merge),
            None => {
                self.forget();
                self.start_merge()
            }
        };
        match result {
            Ok(()) => {}
            // That input is not merged until its page is readable or lost; others may be merged.
            Err(MergeError::Waits) => self.has_upkeep = true,
            Err(MergeError::Disk(error)) => self.merge_retry.failed(&error),
        }
    }

    /// Removes expired runs from the window, and the oldest runs if there are too many identities.
    fn forget(&mut self) {
        let now_millis = self.shared.now_millis.load(Ordering::Relaxed);
        let expired_before_millis = now_millis.saturating_sub(self.shared.window_millis());
        let (kept, forgotten) = self.shared.runs.load().forget(expired_before_millis, self.shared.config.identities_max);
        let next = kept.next_newest_millis().map_or(i64::MAX, |newest| newest.saturating_add(self.shared.window_millis()));
        // Plus one, because a run is forgotten when it is older than the window, not when it is as old.
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
        report_forgetting(&self.shared);
        self.unlink_kept(now_millis);
        for run in forgotten.expired.iter().chain(&forgotten.surplus) {
            match self.folder.expire(run.generations) {
                Ok(()) => {
                    let identities = run.footer.identities;
                    self.kept.push(ExpiredRun { run: run.generations, identities, since_millis: now_millis });
                }
                // The next start finds the run again, and removes it for the same reason.
                Err(error) => tracing::warn!(run = %run.generations, %error, "dedup: an expired run could not be set aside"),
            }
        }
        // Bounds the kept runs, however fast runs leave.
        let mut identities: u64 = self.kept.iter().map(|kept| kept.identities).sum();
        while identities > self.shared.config.identities_max / DEDUP_RUN_GRAIN {
            let oldest = self.kept.remove(0);
            identities -= oldest.identities;
            self.unlink(oldest.run);
        }
    }

    /// Unlinks runs that left the window long enough ago. Called only when other runs leave, so that a wrong time alone
    /// unlinks nothing.
    fn unlink_kept(&mut self, now_millis: i64) {
        let kept_for_millis = DEDUP_SET_ASIDE_FOR.as_millis() as i64;
        let is_old = |kept: &mut ExpiredRun| now_millis.saturating_sub(kept.since_millis) >= kept_for_millis;
        for old in self.kept.extract_if(.., is_old).collect::<Vec<_>>() {
            self.unlink(old.run);
        }
    }

    fn unlink(&self, run: Generations) {
        if let Err(error) = self.folder.remove_expired(run)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%run, %error, "dedup: a run that has left the window could not be removed");
        }
    }

    fn start_merge(&mut self) -> Result<(), MergeError> {
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

    fn continue_merge(&mut self, mut merge: Merge) -> Result<(), MergeError> {
        if merge.step(&self.shared.counters)? {
            self.merge = Some(merge);
            return Ok(());
        }
        let inputs = merge.inputs();
        let merged = merge.finish()?;
        let is_input = |run: &Arc<Run>| inputs.iter().any(|input| Arc::ptr_eq(input, run));
        let runs = self.shared.runs.load().replaced(is_input, merged);
        self.shared.runs.store(Arc::new(runs));
        self.merge_retry.succeeded();
        self.remove(inputs.iter());
        Ok(())
    }

    /// Unlinks runs that no longer count. If that fails, the next start finds the run and unlinks it for the same reason.
    fn remove<'a>(&self, runs: impl Iterator<Item = &'a Arc<Run>>) {
        for run in runs {
            // A damaged run is kept for a person.
            let removed = match run.faults().have_losses() {
                true => {
                    // Before the next look at the folder, so that a look-up has its doubt at once.
                    self.shared.runs_set_aside.fetch_add(1, Ordering::Relaxed);
                    self.folder.set_aside(run.generations).map(drop)
                }
                false => self.folder.remove(run.generations),
            };
            if let Err(error) = removed {
                tracing::warn!(run = %run.generations, %error, "dedup: a run that no longer counts could not be removed");
            }
        }
    }
}

impl Drop for Worker {
    /// However the thread ends, no other thread may wait for it any longer.
    fn drop(&mut self) {
        self.shared.lock().control.is_stopped = true;
        self.shared.progress.notify_all();
    }
}
