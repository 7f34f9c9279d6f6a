//! The typed tables in the upkeep of a gateway: a pass every few minutes, and before each compaction, so that a compaction does not
//! replace files that are not built yet.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{UpkeepError, settings::UpkeepSettings};
use crate::{
    event::EventColumns,
    limits::LAKE_UPKEEP_HOURLY,
    sink::lake::{
        LakeConfig,
        pace::Pace,
        typed::{BuildReport, BuildRequest, Definitions, TypedLake},
    },
    telemetry::LakeMetrics,
};

/// The typed tables of a lake.
#[derive(Clone, Debug)]
pub struct TypedSettings {
    /// Where they are.
    pub location: LakeConfig,
    /// Their columns.
    pub definitions: Definitions,
    /// Time between two passes.
    pub lag: Duration,
}

/// What the rounds of a gateway remember.
#[derive(Default)]
pub(super) struct TypedRounds {
    lake: Option<TypedLake>,
    last_pass: Option<Instant>,
    last_full: Option<Instant>,
    /// What was built, and by which columns.
    built: Option<(u64, Arc<Vec<EventColumns>>)>,
    /// When all was found to be built last.
    current: Option<Instant>,
}

/// The typed tables in one round.
pub(super) struct TypedRound<'a> {
    pub(super) lake: &'a LakeConfig,
    pub(super) scratch: &'a Path,
    pub(super) typed: &'a TypedSettings,
    pub(super) settings: &'a UpkeepSettings,
    pub(super) metrics: &'a LakeMetrics,
    /// The newest version of the raw table.
    pub(super) raw_version: u64,
    /// Whether a pass is due in any case, because files are about to be compacted.
    pub(super) is_urgent: bool,
    pub(super) is_daily: bool,
    pub(super) pace: &'a Pace,
}

impl TypedRound<'_> {
    pub(super) fn run(&self, rounds: &mut TypedRounds) -> Result<(), UpkeepError> {
        if rounds.lake.is_none() {
            rounds.lake = TypedLake::open(self.lake, &self.typed.location, self.scratch.to_owned())?;
        }
        let Some(lake) = &mut rounds.lake else { return Ok(()) };
        let definitions = self.typed.definitions.read();
        let is_built = rounds
            .built
            .as_ref()
            .is_some_and(|(version, columns)| *version == self.raw_version && Arc::ptr_eq(columns, &definitions));
        // Partitions of days that ended are tidied without a new event.
        let is_full = self.is_daily || rounds.last_full.is_none_or(|last| last.elapsed() >= LAKE_UPKEEP_HOURLY);
        if is_built {
            rounds.current = Some(Instant::now());
        }
        let lag = rounds.current.map_or(0.0, |current| current.elapsed().as_secs_f64());
        self.metrics.typed_lag_seconds.set(lag);
        let is_due = rounds.last_pass.is_none_or(|last| last.elapsed() >= self.typed.lag);
        if !(is_due && is_full || !is_built && (is_due || self.is_urgent)) {
            return Ok(());
        }
        rounds.current.get_or_insert_with(Instant::now);
        rounds.last_pass = Some(Instant::now());
        let files_max = self.settings.files_max;
        let request = BuildRequest { definitions: &definitions, admits: &|_| true, rebuild: false, files_max };
        let report = match lake.pass(&request, self.pace) {
            Ok(report) => report,
            Err(error) => {
                // A log may be gone, and another one be there.
                rounds.lake = None;
                return Err(error);
            }
        };
        self.count(&report);
        self.metrics.removed_files.inc_by(lake.vacuum(self.settings.vacuum_grace_millis, self.is_daily, self.pace)?);
        if is_full {
            lake.clean_logs(self.settings.log_retention_millis, self.pace)?;
            rounds.last_full = Some(Instant::now());
        }
        if let Some(failed) = report.not_built().next() {
            return Err(UpkeepError::files(format!("typed tables, {}", failed.file), &failed.reason));
        }
        if report.overtaken == 0 {
            rounds.built = Some((report.raw_version, definitions));
            rounds.current = Some(Instant::now());
            self.metrics.typed_lag_seconds.set(0.0);
        }
        Ok(())
    }

    fn count(&self, report: &BuildReport) {
        for table in &report.tables {
            self.metrics.typed_rows.inc_by(table.rows_written);
            if table.appended + table.rebuilt > 0 {
                tracing::debug!(
                    table = table.table,
                    appended = table.appended,
                    rebuilt = table.rebuilt,
                    rows = table.rows_written,
                    unconverted = table.unconverted,
                    "a typed table was built"
                );
            }
            if table.unconverted > 0 {
                self.metrics.typed_unconverted_rows.inc_by(&table.event_name, table.unconverted);
                tracing::warn!(
                    event_name = table.event_name,
                    rows = table.unconverted,
                    "values of events do not fit the columns of their typed table: they are in its column _unconverted"
                );
            }
        }
    }
}
