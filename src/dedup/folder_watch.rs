//! Whether the folder and its runs are still where they belong, and what is said about the window's faults: once a second.
//!
//! An open file can be read whatever became of its name. So where the folder or a run was moved away or removed, look-ups go on,
//! and what is missing is written anew from the open files: nothing is lost that the gateway still holds.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::folder::Folder;
use super::run::Run;
use super::unreadable_pages::PageState;
use super::window::OpenError;
use super::worker::Worker;
use crate::conditions::Condition;
use crate::limits::DEDUP_WRITE_BYTES;

/// Damage that was raised, so that it is cleared when it is gone.
#[derive(Debug, Default)]
pub(super) struct ReportedDamage(BTreeSet<(Condition, String)>);

impl Worker {
    /// Looks after the names, tries again what could not be read, and brings the list of conditions up to now.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        if self.names_retry.pause_left(now).is_none() {
            match self.keep_names() {
                Ok(()) => self.names_retry.succeeded(),
                Err(OpenError::Folder { source, .. }) => self.names_retry.failed(&source),
                Err(error) => self.names_retry.failed(&io::Error::other(error)),
            }
        }
        for run in &self.shared.runs.load_full().runs {
            if run.faults().are_waiting() {
                run.try_again(now, &self.shared.counters);
                // It may be merged as soon as that is decided.
                self.has_upkeep |= !run.faults().are_waiting();
            }
        }
        self.report_damage();
        self.report_forgetting();
    }

    /// Makes the folder anew where it has lost its name, and writes the runs that are not in it.
    fn keep_names(&mut self) -> Result<(), OpenError> {
        let folder = Arc::clone(&self.folder);
        let failed = |source| OpenError::Folder { path: folder.path().to_owned(), source };
        if !folder.is_there().map_err(failed)? {
            tracing::error!(path = %folder.path().display(), "dedup: the folder was removed, or another is in its place; it is filled anew");
            folder.reopen()?;
        }
        let mut missing = Vec::new();
        for run in &self.shared.runs.load_full().runs {
            if !run.is_at(&folder.run_path(run.generations)).map_err(failed)? {
                missing.push(Arc::clone(run));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // Its inputs are not the ones that are in the folder from now on.
        self.merge = None;
        self.has_upkeep = true;
        for run in missing {
            let copy = copy(&folder, &run).map_err(failed)?;
            tracing::warn!(run = %run.generations, "dedup: a run was not in the folder any more and is written anew");
            let runs = self.shared.runs.load().replaced(|other| Arc::ptr_eq(other, &run), Some(copy));
            self.shared.runs.store(Arc::new(runs));
        }
        Ok(())
    }

    fn report_damage(&mut self) {
        let conditions = &self.shared.config.conditions;
        let mut told = ReportedDamage::default();
        let mut tell = |condition, place: String, detail: String| {
            conditions.raise(condition, &place, detail);
            told.0.insert((condition, place));
        };
        for run in &self.shared.runs.load().runs {
            if let Some(why) = run.faults().told(PageState::Unreadable) {
                let detail = format!("{why}; tried again, and events that may be known there are answered with retry");
                tell(Condition::DedupUnreadable, run.generations.to_string(), detail);
            }
            if let Some(why) = run.faults().told(PageState::Damaged) {
                tell(Condition::DedupDamaged, run.generations.to_string(), format!("{why}; their identities are forgotten"));
            }
        }
        // Where the folder cannot be listed, that is said elsewhere; what was told before stays.
        let Ok(listing) = self.folder.list() else { return };
        self.shared.runs_set_aside.store(listing.damaged.len() as u64, Ordering::Relaxed);
        for path in listing.damaged {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let detail = format!("{}: set aside because it is damaged; remove it once nobody needs it", path.display());
            tell(Condition::DedupDamaged, name, detail);
        }
        for (condition, place) in self.reported.0.difference(&told.0) {
            conditions.clear(*condition, place);
        }
        self.reported = told;
    }

    pub(super) fn report_forgetting(&self) {
        let forgotten_millis = self.shared.forgotten_millis.load(Ordering::Relaxed);
        let certain_millis = self.shared.now_millis.load(Ordering::Relaxed).saturating_sub(forgotten_millis);
        let window_millis = self.shared.window_millis();
        let is_short = forgotten_millis != i64::MIN && certain_millis < window_millis;
        let (hours, wanted, most) = (certain_millis / 3_600_000, window_millis / 3_600_000, self.shared.config.identities_max);
        let detail = || format!("more than {most} identities: they are remembered for {hours} h instead of {wanted} h");
        self.shared.config.conditions.set(Condition::DedupForgetting, "", is_short.then(detail));
    }
}

/// Writes the file of an open run into the folder again, as it is.
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
