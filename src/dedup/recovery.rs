//! Opens the folder: decides which files count, and what happens to the others.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::config::{OpenReport, WindowConfig};
use super::errors::OpenError;
use super::folder::{Folder, Generations};
use super::format::{Footer, RunError};
use super::identity::KeyedHash;
use super::run::{Run, read_hash};
use super::runs::RunSet;
use crate::fault::{FaultKind, Operation, Patience, Tries, fault_kind};
use crate::limits::DEDUP_OPEN_PATIENCE;

/// A run that has left the window and is still kept, in case the time was wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpiredRun {
    pub(super) run: Generations,
    pub(super) identities: u64,
    /// When it left the window, in confirmed time.
    pub(super) since_millis: i64,
}

/// The content of the folder.
pub(super) struct Recovered {
    pub(super) runs: RunSet,
    pub(super) hash: KeyedHash,
    /// Runs that have left the window and are still kept.
    pub(super) kept: Vec<ExpiredRun>,
    /// The newest identity that was forgotten early, as far as the files tell; `i64::MIN` if there was none.
    pub(super) forgotten_millis: i64,
    /// Damaged runs in the folder.
    pub(super) set_aside: u64,
    pub(super) report: OpenReport,
}

/// Takes every run that counts. After a crash, a run may be unfinished (its temporary file is removed), or a merged run may
/// lie beside its inputs (they are removed). A damaged run is set aside; then the inputs of a merge, if they still exist,
/// count. A run that cannot be read for longer than a start waits is set aside too. Expired runs are taken back if they have
/// not expired by confirmed time.
pub(super) fn recover(folder: &Arc<Folder>, config: &WindowConfig, now_millis: i64) -> Result<Recovered, OpenError> {
    let failed = |source| OpenError::Folder { path: folder.path().to_owned(), source };
    let mut opening = Opening { folder, patience: DEDUP_OPEN_PATIENCE, tries: Tries::default(), report: OpenReport::default() };
    let mut listing = folder.list().map_err(failed)?;
    listing.expired.sort_unstable();
    for temporary in listing.temporary {
        folder.remove_temporary(temporary).map_err(failed)?;
        opening.report.leftovers_removed += 1;
    }

    let mut runs: Vec<Arc<Run>> = Vec::new();
    opening.take(listing.runs, &mut runs)?;
    let newest_of_runs = runs.iter().map(|run| run.footer.newest_millis).max();
    let footers: Vec<_> = listing.expired.iter().map(|run| (*run, opening.footer(*run))).collect();
    // Also those of runs that were set aside, because a person may put them back.
    let damaged = listing.damaged.iter().chain(&opening.report.set_aside);
    let of_damaged = damaged.filter_map(|path| Run::read_footer(path).ok());
    let of_expired = footers.iter().filter_map(|(_, footer)| *footer);
    let marked = runs.iter().map(|run| run.footer).chain(of_expired).chain(of_damaged);
    opening.report.spool_history = history_of_spool(config, marked);
    let newest_of_expired = footers.iter().filter_map(|(_, footer)| Some(footer.as_ref()?.newest_millis)).max();
    opening.report.now_millis = newest_of_runs.max(newest_of_expired).unwrap_or(now_millis);

    let window_millis = i64::try_from(config.window.as_millis()).unwrap_or(i64::MAX);
    let expired_before_millis = opening.report.now_millis.saturating_sub(window_millis);
    let mut room = config.identities_max.saturating_sub(runs.iter().map(|run| run.footer.identities).sum());
    let mut taken_back = Vec::new();
    let mut kept = Vec::new();
    let mut forgotten_millis = i64::MIN;
    // The newest first, because of the runs that were forgotten for lack of room, the newest lost the most time.
    for (run, footer) in footers.into_iter().rev() {
        match footer {
            Some(footer) if footer.newest_millis >= expired_before_millis && footer.identities <= room => {
                folder.take_back(run).map_err(failed)?;
                room -= footer.identities;
                taken_back.push(run);
            }
            footer => {
                let early = footer.map(|footer| footer.newest_millis).filter(|newest| *newest >= expired_before_millis);
                forgotten_millis = forgotten_millis.max(early.unwrap_or(i64::MIN));
                let identities = footer.map_or(0, |footer| footer.identities);
                kept.push(ExpiredRun { run, identities, since_millis: opening.report.now_millis });
            }
        }
    }
    opening.report.taken_back = taken_back.len();
    opening.take(taken_back, &mut runs)?;

    let mut report = opening.report;
    if report.leftovers_removed > 0 || report.taken_back > 0 || !report.set_aside.is_empty() {
        folder.sync_folder().map_err(failed)?;
    }
    runs.sort_by_key(|run| run.generations);
    // If no run is left, use the seed of the runs that were set aside, because a person may put them back.
    let set_aside = (listing.damaged.len() + report.set_aside.len()) as u64;
    let aside = listing.damaged.into_iter().chain(report.set_aside.iter().cloned());
    let aside = aside.chain(kept.iter().map(|kept| folder.expired_path(kept.run)));
    let of_aside = || aside.into_iter().find_map(|path| read_hash(&path).ok());
    let hash = runs.first().map(|run| run.hash).or_else(of_aside).unwrap_or_else(KeyedHash::random);
    let runs = RunSet { runs, sealed_generation: listing.newest_generation };
    report.runs = runs.runs.len();
    report.identities = runs.sum(|run| run.footer.identities);
    kept.reverse();
    Ok(Recovered { runs, hash, kept, forgotten_millis, set_aside, report })
}

/// The history of the spool from now on, given the footers of all runs that count or may count again.
fn history_of_spool(config: &WindowConfig, footers: impl Iterator<Item = Footer>) -> Uuid {
    let of_this = footers.filter(|footer| footer.spool_history == config.spool_history);
    let mark_end_exclusive = of_this.map(|footer| footer.mark_end_exclusive).max().unwrap_or(0);
    if mark_end_exclusive <= config.spool_end_exclusive {
        return config.spool_history;
    }
    // The spool was restored from an older backup. Its next events get numbers that the runs have for other events. Once they
    // are beyond the marks, nothing would show that. So their history gets another name, before there are such events.
    tracing::warn!(
        mark_end_exclusive,
        spool_end_exclusive = config.spool_end_exclusive,
        "dedup: the spool is older than the dedup window; all that it holds is compared anew"
    );
    Uuid::new_v4()
}

/// State while runs are opened.
struct Opening<'a> {
    folder: &'a Folder,
    patience: Patience,
    tries: Tries,
    report: OpenReport,
}

impl Opening<'_> {
    /// Opens those of `candidates` that count, beside `runs`.
    fn take(&mut self, mut candidates: Vec<Generations>, runs: &mut Vec<Arc<Run>>) -> Result<(), OpenError> {
        let folder = self.folder;
        let failed = |source| OpenError::Folder { path: folder.path().to_owned(), source };
        // Merged runs before their inputs; of equal ranges the oldest, so that every start takes the same runs.
        candidates.sort_by_key(|run| (Reverse(run.span()), *run));
        for candidate in candidates {
            if runs.iter().any(|run| run.generations.contains(&candidate)) {
                folder.remove(candidate).map_err(failed)?;
                self.report.leftovers_removed += 1;
                continue;
            }
            match self.open(candidate, runs.first().map(|run| run.hash)) {
                Ok(run) => runs.push(Arc::new(run)),
                Err(RunError::Version(version)) => return Err(OpenError::Version { path: folder.run_path(candidate), version }),
                Err(RunError::Io(source)) if fault_kind(&source, Operation::Read) != FaultKind::Place => {
                    return Err(OpenError::Folder { path: folder.run_path(candidate), source });
                }
                Err(error) => {
                    let aside = folder.set_aside(candidate).map_err(failed)?;
                    let reason = error.to_string();
                    tracing::error!(path = %aside.display(), reason, "dedup: a run is set aside; its identities are forgotten");
                    self.report.set_aside.push(aside);
                }
            }
        }
        Ok(())
    }

    /// Opens a run; retries if the disk does not answer.
    fn open(&mut self, generations: Generations, hash: Option<KeyedHash>) -> Result<Run, RunError> {
        let path = self.folder.run_path(generations);
        let run = self.patiently(|| Run::open(&path, generations))?;
        if hash.is_some_and(|hash| hash != run.hash) {
            return Err(RunError::Damaged("its seed is another than that of the other runs: it is from another folder"));
        }
        Ok(run)
    }

    /// The footer of an expired run; `None` if it cannot be read.
    fn footer(&mut self, generations: Generations) -> Option<Footer> {
        let path = self.folder.expired_path(generations);
        self.patiently(|| Run::read_footer(&path)).ok()
    }

    fn patiently<T>(&mut self, mut try_once: impl FnMut() -> Result<T, RunError>) -> Result<T, RunError> {
        loop {
            match try_once() {
                Err(RunError::Io(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    let Some(pause) = self.tries.failed(&self.patience, Instant::now()) else { return Err(RunError::Io(error)) };
                    tracing::warn!(%error, "dedup: a run cannot be read; trying again");
                    std::thread::sleep(pause);
                }
                result => return result,
            }
        }
    }
}
