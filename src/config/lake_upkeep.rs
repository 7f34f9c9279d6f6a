//! `[lake.upkeep]`, `[lake.typed]` and `[lake.retention]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stream::within;
use crate::limits::{
    LAKE_FILES_MAX, LAKE_LOG_RETENTION_HOURS, LAKE_RETENTION_DAYS_MAX, LAKE_RETENTION_RULES_MAX, LAKE_UPKEEP_CPU_PERCENT,
    LAKE_VACUUM_GRACE_MINUTES,
};

/// `[lake.upkeep]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LakeUpkeepConfig {
    /// Whether the gateway compacts the lake, removes what has expired, and tidies up.
    pub enabled: bool,
    /// Percent of one core for it.
    pub cpu_percent: u32,
    /// Small files at which a partition is compacted that still gets events.
    pub files_max: usize,
    /// Minutes for which a file stays after the table removed it.
    pub vacuum_grace_minutes: u64,
    /// Hours for which every version stays in the table's log.
    pub log_retention_hours: u64,
}

impl Default for LakeUpkeepConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            cpu_percent: LAKE_UPKEEP_CPU_PERCENT,
            files_max: LAKE_FILES_MAX,
            vacuum_grace_minutes: LAKE_VACUUM_GRACE_MINUTES,
            log_retention_hours: LAKE_LOG_RETENTION_HOURS,
        }
    }
}

/// `[lake.typed]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LakeTypedConfig {
    /// Whether the gateway keeps a table with typed columns for each event name. Absent: for a local lake, not for one in S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Folder or `s3://bucket/prefix` of these tables. Empty: the lake's own, with `-typed` behind it.
    pub root: String,
}

/// `[lake.retention]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LakeRetentionConfig {
    /// Days for which events are kept in the lake, by pattern of their name.
    pub events: BTreeMap<String, u32>,
    /// Days for which dead letters are kept in files, whatever their state. 0: for ever.
    pub dead_letters_days: u32,
    /// Days for which files that were set aside from the spools as damaged are kept. 0: for ever.
    pub quarantine_days: u32,
}

/// Validates both sections.
pub(super) fn check(upkeep: &LakeUpkeepConfig, retention: &LakeRetentionConfig) -> Result<(), (String, String)> {
    within("lake.upkeep", "cpu_percent", upkeep.cpu_percent as usize, 1..=100)?;
    within("lake.upkeep", "files_max", upkeep.files_max, 2..=1_000_000)?;
    within("lake.upkeep", "vacuum_grace_minutes", upkeep.vacuum_grace_minutes as usize, 0..=60 * 24 * 366)?;
    // Below an hour a gateway that slept could take a version for free that had been cleaned up.
    within("lake.upkeep", "log_retention_hours", upkeep.log_retention_hours as usize, 1..=24 * 3_660)?;
    within("lake.retention", "dead_letters_days", retention.dead_letters_days as usize, 0..=LAKE_RETENTION_DAYS_MAX as usize)?;
    within("lake.retention", "quarantine_days", retention.quarantine_days as usize, 0..=LAKE_RETENTION_DAYS_MAX as usize)?;
    let wrong = |reason: String| Err(("lake.retention.events".to_owned(), reason));
    if retention.events.len() > LAKE_RETENTION_RULES_MAX {
        return wrong(format!("found {} patterns; at most {LAKE_RETENTION_RULES_MAX} are allowed", retention.events.len()));
    }
    for (pattern, days) in &retention.events {
        if pattern.is_empty() {
            return wrong("found an empty pattern; a pattern such as \"menu:*\" is allowed".to_owned());
        }
        if !(1..=LAKE_RETENTION_DAYS_MAX).contains(days) {
            return wrong(format!("found {days} days for {pattern:?}; 1 to {LAKE_RETENTION_DAYS_MAX} are allowed"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_retention_names_days_by_pattern_and_what_is_wrong_is_named() {
        let config = parse(None, "[lake.retention.events]\n\"menu:*\" = 30\n\"*\" = 400", []).unwrap();
        let events: Vec<(&str, u32)> = config.lake.retention.events.iter().map(|(name, days)| (name.as_str(), *days)).collect();
        assert_eq!(events, [("*", 400), ("menu:*", 30)]);
        let cases = [
            ("[lake.retention.events]\n\"menu:*\" = 0", "lake.retention.events: found 0 days for \"menu:*\""),
            ("[lake.retention.events]\n\"\" = 3", "lake.retention.events: found an empty pattern"),
            ("[lake.upkeep]\ncpu_percent = 0", "lake.upkeep.cpu_percent: found 0; 1 to 100"),
            ("[lake.upkeep]\nlog_retention_hours = 0", "lake.upkeep.log_retention_hours: found 0; 1 to"),
            ("[lake.upkeep]\nfiles_max = 1", "lake.upkeep.files_max: found 1; 2 to"),
        ];
        for (text, part) in cases {
            let error = parse(None, text, []).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}
