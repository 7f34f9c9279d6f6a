//! The upkeep of each lake that the gateway writes, in a thread of its own.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use super::lake_location::{keeps_typed_tables, location_of, typed_location_of};
use crate::{
    conditions::Conditions,
    config::{Config, LakeConfig, LakeTable, SinkSettings},
    limits::{LAKE_TYPED_LAG, LAKE_UPKEEP_FAILING_AFTER, LAKE_UPKEEP_PAUSE, LAKE_UPKEEP_STOP_TIMEOUT},
    sink::lake::{
        Definitions, LakeConfig as Location, NameRetention, Retention, StopSignal, TypedSettings, UpkeepRun, UpkeepSettings,
    },
    telemetry::Metrics,
};

/// Folder for scratch files of a lake in S3, in the data folder.
pub const SCRATCH_FOLDER: &str = "lake-scratch";

/// The threads.
#[derive(Debug)]
pub(super) struct LakeUpkeep {
    stop: StopSignal,
    /// Disconnected when the last thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl LakeUpkeep {
    /// Starts the upkeep of each lake that is a table, unless it is switched off.
    pub(super) fn start(
        config: &Config,
        definitions: &Definitions,
        metrics: &Arc<Metrics>,
        conditions: &Conditions,
    ) -> anyhow::Result<Self> {
        let sinks = config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
        let is_only = sinks.len() == 1;
        let (stop, (running, ended)) = (StopSignal::default(), mpsc::channel());
        for sink in sinks {
            let SinkSettings::Lake(lake) = &sink.settings else { continue };
            if lake.table != LakeTable::Delta || !lake.upkeep.enabled {
                continue;
            }
            let location = location_of(lake, config);
            let typed = typed_settings(lake, &location, definitions)?;
            let run = UpkeepRun {
                typed,
                lake: location,
                scratch: config.data_dir.join(SCRATCH_FOLDER),
                settings: upkeep_settings(lake),
                metrics: metrics.lake.of(&sink.name),
                conditions: conditions.clone(),
                place: if is_only { String::new() } else { sink.name.clone() },
                stop: stop.clone(),
            };
            let running = running.clone();
            conditions.vital("upkeep of the lake").thread(move || {
                run.run();
                drop(running);
            })?;
        }
        Ok(Self { stop, ended: Mutex::new(ended) })
    }

    /// Ends the threads. What they were doing is given up; it leaves nothing that a later round does not tidy up.
    pub(super) fn stop(&self) {
        self.stop.stop();
        // Nobody sends: the channel only closes. An upload to S3 may take longer, and need not end.
        let _ = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LAKE_UPKEEP_STOP_TIMEOUT);
    }
}

/// The typed tables, if the gateway keeps them.
fn typed_settings(lake: &LakeConfig, location: &Location, definitions: &Definitions) -> anyhow::Result<Option<TypedSettings>> {
    if !keeps_typed_tables(lake, location) {
        return Ok(None);
    }
    let typed = typed_location_of(lake, location)?;
    Ok(typed.map(|location| TypedSettings { location, definitions: definitions.clone(), lag: LAKE_TYPED_LAG }))
}

/// The configured rules.
#[must_use]
pub fn upkeep_settings(lake: &LakeConfig) -> UpkeepSettings {
    let millis = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let rules = lake.retention.events.iter().map(|(pattern, days)| NameRetention { pattern: pattern.clone(), days: *days });
    UpkeepSettings {
        cpu_percent: lake.upkeep.cpu_percent,
        files_max: lake.upkeep.files_max,
        vacuum_grace_millis: millis(lake.upkeep.vacuum_grace_minutes.saturating_mul(60)),
        log_retention_millis: millis(lake.upkeep.log_retention_hours.saturating_mul(3_600)),
        pause: LAKE_UPKEEP_PAUSE,
        failing_after: LAKE_UPKEEP_FAILING_AFTER,
        retention: Retention::new(&rules.collect::<Vec<_>>()),
    }
}
