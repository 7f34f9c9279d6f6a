//! Opening the folder: which of its files count, and what becomes of the others.

use std::cmp::Reverse;
use std::path::PathBuf;
use std::sync::Arc;

use super::folder::{Folder, Generations};
use super::format::RunError;
use super::identity::KeyedHash;
use super::run::Run;
use super::runs::RunSet;
use super::window::{OpenError, OpenReport};

/// What the folder held.
pub(super) struct Recovered {
    pub(super) runs: RunSet,
    pub(super) hash: KeyedHash,
    pub(super) report: OpenReport,
}

/// Takes every run that counts. A crash leaves a run unfinished (its temporary file is removed), or a merged run beside
/// its inputs (they are removed). A damaged run is set aside, after which the inputs of a merge, if still there, count.
pub(super) fn recover(folder: &Folder) -> Result<Recovered, OpenError> {
    let failed = |source| OpenError::Folder { path: folder.path().to_owned(), source };
    let listing = folder.list().map_err(failed)?;
    let mut report = OpenReport::default();
    for temporary in listing.temporary {
        folder.remove_temporary(temporary).map_err(failed)?;
        report.leftovers_removed += 1;
    }

    let mut candidates = listing.runs;
    // Merged runs before their inputs; among equals the oldest, so that every start takes the same ones.
    candidates.sort_by_key(|run| (Reverse(run.span()), *run));
    let mut runs: Vec<Arc<Run>> = Vec::new();
    for candidate in candidates {
        if runs.iter().any(|run| run.generations.contains(&candidate)) {
            folder.remove(candidate).map_err(failed)?;
            report.leftovers_removed += 1;
            continue;
        }
        match open(folder, candidate, runs.first().map(|run| run.hash)) {
            Ok(run) => runs.push(Arc::new(run)),
            Err(RunError::Damaged(reason)) => {
                let aside: PathBuf = folder.set_aside(candidate).map_err(failed)?;
                tracing::error!(path = %aside.display(), reason, "dedup: a damaged run is set aside; its identities are forgotten");
                report.set_aside.push(aside);
            }
            Err(RunError::Io(source)) => return Err(OpenError::Folder { path: folder.run_path(candidate), source }),
            Err(RunError::Version(version)) => return Err(OpenError::Version { path: folder.run_path(candidate), version }),
        }
    }
    if report.leftovers_removed > 0 || !report.set_aside.is_empty() {
        folder.sync_folder().map_err(failed)?;
    }

    runs.sort_by_key(|run| run.generations);
    let hash = runs.first().map_or_else(KeyedHash::random, |run| run.hash);
    let runs = RunSet { runs, sealed_generation: listing.newest_generation };
    report.runs = runs.runs.len();
    report.identities = runs.sum(|run| run.footer.identities);
    Ok(Recovered { runs, hash, report })
}

fn open(folder: &Folder, generations: Generations, hash: Option<KeyedHash>) -> Result<Run, RunError> {
    let run = Run::open(&folder.run_path(generations), generations)?;
    if hash.is_some_and(|hash| hash != run.hash) {
        return Err(RunError::Damaged("its seed is another than that of the other runs: it is from another folder"));
    }
    Ok(run)
}
