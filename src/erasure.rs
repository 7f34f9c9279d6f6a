//! Erases the events of a person wherever the gateway has them.
//!
//! ```text
//! request on disk ─▶ spool ─▶ attempts under way end ─▶ dead letters ─▶ quarantine ─▶ lake ─▶ report on disk
//! erasures/          no sink gets the events any more    files           of the spools  table   without the values
//! ```
//!
//! The order makes that nothing slips past the search. Events leave the spool for the dead letters and for the lake, so the
//! spool is first: afterwards no attempt to deliver has an erased event, and what earlier attempts wrote is found where they
//! wrote it. Dead letters go back into the spool when they are replayed, so nothing is replayed until both are searched.
//!
//! Every step can be repeated. A request is durable before anything is erased; if a crash or a stop interrupts it, the next
//! start continues it from the beginning, and the same command does, too.
//!
//! The identities of erased events stay in the dedup window, because they say nothing of a person without the events: an event
//! that is sent again is a duplicate, and not accepted anew.

mod criterion;
mod lakes;
mod letters;
mod parts;
mod report;
mod requests;
mod run;
mod spools;
mod statements;

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{repair::Repair, sink::lake::StopSignal};
pub use criterion::{ClauseText, Criterion, CriterionError, CriterionText, Subject, Verdict};
use parts::now;
pub use parts::{ErasureLake, ErasureParts};
pub use report::{LakeReport, LettersReport, QuarantineReport, Report, SpoolReport, TypedTablesReport};
pub use requests::{Requests, StoredRequest};
use run::Run;

/// Why an erasure failed. What was erased stays erased.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The criterion is invalid.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// The error of the disk. The request is kept, and continued by the next start or the same command.
    #[error("the erasure could not go on: {0}; repeat the command, or restart the gateway, to continue it")]
    Disk(#[from] io::Error),
}

/// Erases, one request after the other.
pub struct Erasure {
    parts: ErasureParts,
    requests: Requests,
    turn: Mutex<()>,
    is_interrupted: AtomicBool,
    stop: StopSignal,
}

impl Erasure {
    /// An erasure in these places.
    #[must_use]
    pub fn new(parts: ErasureParts) -> Self {
        let requests = Requests::in_data_dir(&parts.data_dir);
        Self { parts, requests, turn: Mutex::default(), is_interrupted: AtomicBool::new(false), stop: StopSignal::default() }
    }

    /// Ends the erasure under way soon, because the process stops. The next start continues it.
    pub fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::Relaxed);
        self.stop.stop();
    }

    /// Erases what `criterion` selects, or with `dry_run` only reports it. An unfinished erasure with the same criterion is
    /// continued. Replays wait meanwhile. Call it on a runtime with several threads.
    ///
    /// # Errors
    /// [`ErasureError`]
    pub async fn erase(&self, criterion: CriterionText, dry_run: bool, repair: &Repair) -> Result<Report, ErasureError> {
        let _turn = self.turn.lock().await;
        let criterion = Criterion::parse(criterion)?;
        if dry_run {
            let report = Report::new(&Uuid::now_v7().to_string(), criterion.text(), true, &now());
            return Ok(self.run(&criterion, report, repair).await?);
        }
        let same = self.requests.unfinished()?.into_iter().find(|request| request.criterion == *criterion.text());
        let report = same
            .map_or_else(|| Report::new(&Uuid::now_v7().to_string(), criterion.text(), false, &now()), |request| request.report);
        Ok(self.run(&criterion, report, repair).await?)
    }

    /// Continues the erasures that a stop or a crash interrupted.
    pub async fn continue_unfinished(&self, repair: &Repair) {
        let unfinished = match self.requests.unfinished() {
            Ok(unfinished) => unfinished,
            Err(error) => {
                tracing::error!(%error, "erasures that were interrupted cannot be continued; repeat them");
                return;
            }
        };
        for request in unfinished {
            let _turn = self.turn.lock().await;
            let id = request.report.id.clone();
            let continued = match Criterion::parse(request.criterion) {
                Ok(criterion) => self.run(&criterion, request.report, repair).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = continued {
                tracing::error!(error, erasure = id, "an erasure cannot be continued; the next start tries again");
            }
        }
    }

    /// Whether erasures are unfinished.
    #[must_use]
    pub fn has_unfinished(data_dir: &Path) -> bool {
        Requests::in_data_dir(data_dir).unfinished().is_ok_and(|unfinished| !unfinished.is_empty())
    }

    async fn run(&self, criterion: &Criterion, mut report: Report, repair: &Repair) -> io::Result<Report> {
        report.runs += 1;
        // The log never has the values.
        let fields = report.fields.join(" ");
        let (erasure, dry_run, values) = (report.id.clone(), report.dry_run, report.values);
        tracing::info!(erasure, dry_run, fields, values, run = report.runs, "an erasure begins");
        let mut run = Run {
            parts: &self.parts,
            requests: &self.requests,
            is_interrupted: &self.is_interrupted,
            stop: &self.stop,
            criterion,
            report,
        };
        run.all(repair).await?;
        let report = run.report;
        let (erased, complete) = (report.erased(), report.is_complete());
        tracing::info!(erasure, dry_run, fields, values, erased, complete, "an erasure ended");
        Ok(report)
    }
}
