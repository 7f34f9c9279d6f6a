//! The rules of the upkeep.

use std::time::Duration;

use super::Retention;

/// The rules of the upkeep.
#[derive(Clone, Debug)]
pub struct UpkeepSettings {
    /// Percent of one core.
    pub cpu_percent: u32,
    /// Files to merge at which a partition is compacted that still gets events.
    pub files_max: usize,
    /// Milliseconds for which a file stays after the table removed it.
    pub vacuum_grace_millis: i64,
    /// Milliseconds for which every version of the table can be read.
    pub log_retention_millis: i64,
    /// Pause between two rounds, on average.
    pub pause: Duration,
    /// Time of failures after which they are raised as a condition.
    pub failing_after: Duration,
    /// How long events are kept.
    pub retention: Retention,
}
