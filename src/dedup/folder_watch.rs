//! Checks once a second whether the folder and its runs still have their names, and raises the conditions of the window.
//!
//! An open file can be read even without its name. So if the folder or a run was moved away or removed, lookups continue, and
//! the missing files are written again from the open files. Nothing that the gateway still holds is lost.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::errors::OpenError;
use super::folder::Folder;
use super::merge::Merge;
use super::retry::Retry;
use super::run::Run;
use super::shared::Shared;
use super::unreadable_pages::PageState;
use crate::conditions::Condition;
use crate::limits::DEDUP_WRITE_BYTES;

/// Checks once a second whether the folder and its runs are still there.
pub(super) struct FolderWatch {
    retry: Retry,
    /// Damage that was raised as a condition. The condition is cleared when the damage is gone.
    reported: BTreeSet<(Condition, String)>,
}

impl FolderWatch {
    /// `retry` tells when a folder that could not be restored is tried again.
    pub(super) fn new(retry: Retry) -> Self {
        Self { retry, reported: BTreeSet::new() }
    }

    /// Checks the names, retries unreadable pages, and updates the conditions. Drops the `merge` if its inputs were written
    /// again; sets `has_upkeep` if there may be something to merge.
    pub(super) fn look(&mut self, shared: &Shared, folder: &Folder, merge: &mut Option<Merge>, has_upkeep: &mut bool) {
        let now = Instant::now();
        if self.retry.pause_left(now).is_none() {
            match keep_names(shared, folder, merge, has_upkeep) {
                Ok(()) => self.retry.succeeded(),
                Err(OpenError::Folder { source, .. }) => self.retry.failed(&source),
                Err(error) => self.retry.failed(&io::Error::other(error)),
            }
        }
        for run in &shared.runs.load_full().runs {
            if run.faults().are_waiting() {
                run.try_again(now, &shared.counters);
                // The run may be merged as soon as no page waits for a retry.
                *has_upkeep |= !run.faults().are_waiting();
            }
        }
        self.report_damage(shared, folder);
        report_forgetting(shared);
    }

    fn report_damage(&mut self, shared: &Shared, folder: &Folder) {
        let conditions = &shared.config.conditions;
        let mut reported = BTreeSet::new();
        let mut tell = |condition, place: String, detail: String| {
            conditions.raise(condition, &place, detail);
            reported.insert((condition, place));
        };
        for run in &shared.runs.load().runs {
            if let Some(why) = run.faults().told(PageState::Unreadable) {
                let detail = format!("{why}; tried again, and events that may be known there are answered with retry");
                tell(Condition::DedupUnreadable, run.generations.to_string(), detail);
            }
            if let Some(why) = run.faults().told(PageState::Damaged) {
                tell(Condition::DedupDamaged, run.generations.to_string(), format!("{why}; their identities are forgotten"));
            }
        }
        // If the folder cannot be listed, another check reports it; the reported damage stays.
        let Ok(listing) = folder.list() else { return };
        shared.runs_set_aside.store(listing.damaged.len() as u64, Ordering::Relaxed);
        for path in listing.damaged {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let detail = format!("{}: set aside because it is damaged; remove it once nobody needs it", path.display());
            tell(Condition::DedupDamaged, name, detail);
        }
        for (condition, place) in self.reported.difference(&reported) {
            conditions.clear(*condition, place);
        }
        self.reported = reported;
    }
}

/// Creates the folder again if it has lost its name, and writes the runs that are missing in it.
fn keep_names(shared: &Shared, folder: &Folder, merge: &mut Option<Merge>, has_upkeep: &mut bool) -> Result<(), OpenError> {
    let failed = |source| OpenError::Folder { path: folder.path().to_owned(), source };
    if !folder.is_there().map_err(failed)? {
        tracing::error!(path = %folder.path().display(), "dedup: the folder was removed, or another is in its place; it is filled anew");
        folder.reopen()?;
    }
    let mut missing = Vec::new();
    for run in &shared.runs.load_full().runs {
        if !run.is_at(&folder.run_path(run.generations)).map_err(failed)? {
            missing.push(Arc::clone(run));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // Its inputs are no longer the files in the folder.
    *merge = None;
    *has_upkeep = true;
    for run in missing {
        let copy = copy(folder, &run).map_err(failed)?;
        tracing::warn!(run = %run.generations, "dedup: a run was not in the folder any more and is written anew");
        let runs = shared.runs.load().replaced(|other| Arc::ptr_eq(other, &run), Some(copy));
        shared.runs.store(Arc::new(runs));
    }
    Ok(())
}

/// Raises the condition that identities are forgotten early, or clears it.
pub(super) fn report_forgetting(shared: &Shared) {
    let forgotten_millis = shared.forgotten_millis.load(Ordering::Relaxed);
    let certain_millis = shared.now_millis.load(Ordering::Relaxed).saturating_sub(forgotten_millis);
    let window_millis = shared.window_millis();
    let is_short = forgotten_millis != i64::MIN && certain_millis < window_millis;
    let (hours, wanted, most) = (certain_millis / 3_600_000, window_millis / 3_600_000, shared.config.identities_max);
    let detail = || format!("more than {most} identities: they are remembered for {hours} h instead of {wanted} h");
    shared.config.conditions.set(Condition::DedupForgetting, "", is_short.then(detail));
}

/// Copies the file of an open run into the folder again.
fn copy(folder: &Folder, run: &Run) -> io::Result<Run> {
    let generations = run.generations;
    let mut file = folder.create(generations)?;
    let mut piece = vec![0; DEDUP_WRITE_BYTES];
    let mut at = 0;
    while at < run.disk_bytes() {
        let length = (run.disk_bytes() - at).min(DEDUP_WRITE_BYTES as u64) as usize;
        run.read_piece(at, &mut piece[..length])?;
        folder.write(generations, &mut file, &piece[..length])?;
        at += length as u64;
    }
    folder.sync(generations, &file)?;
    let copy = Run::open(&folder.temporary_path(generations), generations).map_err(super::format::RunError::into_io)?;
    folder.install(generations)?;
    Ok(copy)
}
