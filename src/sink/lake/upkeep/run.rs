//! The upkeep in the background of a gateway: rounds of expiry, compaction, vacuum and clean-up, until the gateway stops.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Instant, SystemTime},
};

use super::{
    CompactRequest, Upkeep, UpkeepError, VacuumRequest,
    lease::Lease,
    settings::UpkeepSettings,
    typed_round::{TypedRound, TypedRounds, TypedSettings},
};
use crate::{
    conditions::{Condition, Conditions},
    event::{Date, unix_millis},
    limits::{LAKE_UPKEEP_DAILY, LAKE_UPKEEP_HOURLY, LAKE_UPKEEP_NICE},
    sink::lake::{
        Filters, LakeConfig,
        pace::{Pace, StopSignal, Stopped},
        store::Store,
    },
    telemetry::LakeMetrics,
};

/// The upkeep of one lake.
#[derive(Debug)]
pub struct UpkeepRun {
    /// Where the lake is.
    pub lake: LakeConfig,
    /// Folder for scratch files, if the lake is in S3.
    pub scratch: PathBuf,
    /// The rules.
    pub settings: UpkeepSettings,
    /// The typed tables, if they are kept up.
    pub typed: Option<TypedSettings>,
    /// Its metrics.
    pub metrics: LakeMetrics,
    /// Where lasting failures are raised.
    pub conditions: Conditions,
    /// The name of the sink in conditions.
    pub place: String,
    /// Ends it.
    pub stop: StopSignal,
}

/// What a run remembers between its rounds.
struct State {
    upkeep: Option<Upkeep>,
    lease: Lease,
    last_hourly: Option<Instant>,
    /// The first full vacuum comes a day after the start: most starts are followed by another one soon.
    last_daily: Instant,
    failing_since: Option<Instant>,
    typed: TypedRounds,
}

impl State {
    fn new() -> Self {
        Self {
            upkeep: None,
            lease: Lease::new(),
            last_hourly: None,
            last_daily: Instant::now(),
            failing_since: None,
            typed: TypedRounds::default(),
        }
    }
}

impl UpkeepRun {
    /// Runs until it is told to stop. Blocks: give it a thread, which gets a low priority.
    pub fn run(self) {
        // Best effort: the pauses bound the work anyway.
        let _ = rustix::process::setpriority_process(None, LAKE_UPKEEP_NICE);
        let mut state = State::new();
        while self.stop.wait(self.settings.pause.mul_f64(0.5 + fastrand::f64())).is_ok() {
            let round = catch_unwind(AssertUnwindSafe(|| self.round(&mut state)));
            match round.unwrap_or_else(|_| Err(UpkeepError::files(&self.lake.root, "a panic, see the log"))) {
                Err(UpkeepError::Stopped) => break,
                Ok(()) => {
                    state.failing_since = None;
                    self.conditions.clear(Condition::LakeUpkeepFailing, &self.place);
                }
                Err(error) => self.failed(&mut state, &error),
            }
        }
        if let Some(upkeep) = &state.upkeep {
            state.lease.give_back(upkeep);
        }
    }

    /// One round, as after a start.
    #[cfg(test)]
    pub(in crate::sink::lake) fn one_round(&self) -> Result<(), UpkeepError> {
        self.round(&mut State::new())
    }

    fn failed(&self, state: &mut State, error: &UpkeepError) {
        self.metrics.upkeep_failures.inc();
        let since = *state.failing_since.get_or_insert_with(Instant::now);
        tracing::warn!(%error, lake = self.lake.root, "the upkeep of the lake failed, and is tried again");
        if since.elapsed() >= self.settings.failing_after {
            self.conditions.raise(Condition::LakeUpkeepFailing, &self.place, error.to_string());
        }
    }

    fn round(&self, state: &mut State) -> Result<(), UpkeepError> {
        if state.upkeep.is_none() {
            // Before the first flush there may be neither a folder nor a table.
            match Upkeep::open(&self.lake, self.scratch.clone()) {
                Ok(Some(upkeep)) => state.upkeep = Some(upkeep),
                Ok(None) => return Ok(()),
                Err(_) if self.is_missing() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(upkeep) = &state.upkeep else { return Ok(()) };
        if !upkeep.store.is_local() && !state.lease.take(upkeep)? {
            self.count_files(upkeep);
            return Ok(());
        }
        let pace = Pace::new(self.settings.cpu_percent, self.stop.clone());
        let mut first_error = None;
        let is_hourly = state.last_hourly.is_none_or(|last| last.elapsed() >= LAKE_UPKEEP_HOURLY);
        if is_hourly {
            note(self.expire(upkeep, &pace), &mut first_error)?;
        }
        let is_daily = state.last_daily.elapsed() >= LAKE_UPKEEP_DAILY;
        note(self.build_typed(upkeep, &mut state.typed, is_daily, &pace), &mut first_error)?;
        note(self.compact(upkeep, &mut state.lease, &pace), &mut first_error)?;
        note(self.vacuum(upkeep, is_daily, &pace), &mut first_error)?;
        if is_hourly {
            note(upkeep.clean_log(self.settings.log_retention_millis, false, &pace).map(drop), &mut first_error)?;
            state.last_hourly = Some(Instant::now());
        }
        if is_daily {
            state.last_daily = Instant::now();
        }
        self.count_files(upkeep);
        match first_error {
            Some(error) => Err(error),
            None => {
                self.metrics.upkeep_success_timestamp_seconds.set(unix_millis(SystemTime::now()) as f64 / 1e3);
                Ok(())
            }
        }
    }

    fn expire(&self, upkeep: &Upkeep, pace: &Pace) -> Result<(), UpkeepError> {
        let (retention, mut first_error) = (&self.settings.retention, None);
        if retention.is_empty() {
            return Ok(());
        }
        let today = Date::of_millis(unix_millis(SystemTime::now()));
        for partition in upkeep.to_expire(retention, today)? {
            let expired = upkeep.expire(&partition, retention, today, false, pace).map(|expired| {
                if let Some(expired) = expired.filter(|expired| expired.files_removed + expired.files_rewritten > 0) {
                    self.metrics.expired_rows.inc_by(expired.rows);
                    tracing::info!(%partition, rows = expired.rows, names = ?expired.event_names, "events of the lake have expired");
                }
            });
            note(expired, &mut first_error)?;
        }
        first_error.map_or(Ok(()), Err)
    }

    fn build_typed(&self, upkeep: &Upkeep, rounds: &mut TypedRounds, is_daily: bool, pace: &Pace) -> Result<(), UpkeepError> {
        let Some(typed) = &self.typed else { return Ok(()) };
        let is_urgent = !upkeep.to_compact(&self.compaction())?.is_empty();
        let raw_version = upkeep.table.known().version;
        let (lake, scratch, settings, metrics) = (&self.lake, &*self.scratch, &self.settings, &self.metrics);
        TypedRound { lake, scratch, typed, settings, metrics, raw_version, is_urgent, is_daily, pace }.run(rounds)
    }

    fn compaction(&self) -> CompactRequest {
        CompactRequest { filters: Filters::default(), files_max: self.settings.files_max }
    }

    fn compact(&self, upkeep: &Upkeep, lease: &mut Lease, pace: &Pace) -> Result<(), UpkeepError> {
        let request = self.compaction();
        let mut first_error = None;
        for partition in upkeep.to_compact(&request)? {
            if !upkeep.store.is_local() && !lease.take(upkeep)? {
                break;
            }
            let compacted = upkeep.compact(&partition, &request, pace).map(|compacted| {
                let Some(compacted) = compacted else { return };
                self.metrics.compacted_rows.inc_by(compacted.rows);
                self.metrics.dropped_doubles.inc_by(compacted.doubles);
                for file in &compacted.left_out {
                    tracing::warn!(
                        file = file.file,
                        reason = file.reason,
                        "a file of the lake cannot be merged, and is left alone"
                    );
                }
                tracing::info!(
                    %partition,
                    files_before = compacted.files_before,
                    files_after = compacted.files_after,
                    rows = compacted.rows,
                    doubles = compacted.doubles,
                    "a partition of the lake was compacted"
                );
            });
            note(compacted, &mut first_error)?;
        }
        first_error.map_or(Ok(()), Err)
    }

    fn vacuum(&self, upkeep: &Upkeep, list_folders: bool, pace: &Pace) -> Result<(), UpkeepError> {
        let grace_millis = self.settings.vacuum_grace_millis;
        let done = upkeep.vacuum(VacuumRequest { grace_millis, list_folders, unknown: false, dry_run: false }, pace)?;
        self.metrics.removed_files.inc_by(done.removed_files + done.leftovers);
        if list_folders {
            self.metrics.unknown_files.set(done.unknown_files as i64);
            if done.unknown_files > 0 {
                tracing::warn!(files = done.unknown_files, some = ?done.unknown, "the lake's folders have files that its log does not know");
            }
        }
        Ok(())
    }

    fn count_files(&self, upkeep: &Upkeep) {
        let snapshot = upkeep.table.known();
        self.metrics.files.set(snapshot.files_count() as i64);
        self.metrics.bytes.set(snapshot.files().map(|file| file.bytes as i64).sum());
    }

    /// Whether the lake's folder does not exist yet.
    fn is_missing(&self) -> bool {
        Store::for_upkeep(&self.lake).is_err() && !self.lake.root.contains("://")
    }
}

/// Remembers the first error of one part of a round, so that the other parts have their turn. A stop ends the round.
fn note(done: Result<(), UpkeepError>, first_error: &mut Option<UpkeepError>) -> Result<(), Stopped> {
    match done {
        Err(UpkeepError::Stopped) => Err(Stopped),
        Err(error) => {
            tracing::debug!(%error, "a part of the lake's upkeep failed");
            first_error.get_or_insert(error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
