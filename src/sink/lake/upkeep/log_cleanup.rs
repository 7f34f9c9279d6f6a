//! Clean-up of the log: removes commits and checkpoints that are old, and that a checkpoint covers.
//!
//! Every version that was the newest one within the retention can still be read: all from the newest checkpoint on that is older
//! than that. Old checkpoints go first, then the commits from the oldest on, so that a kill in between leaves versions that are
//! clearly gone, and no gaps. Before that, what the commits say of removed rows is added up in a small file.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Upkeep, UpkeepError};
use crate::{
    event::unix_millis,
    sink::lake::{
        pace::Pace,
        table::{LOG_FOLDER, LogName, TABLE_KIND, note_removals},
    },
};

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanedLog {
    /// Commits.
    pub commits: u64,
    /// Files of checkpoints.
    pub checkpoints: u64,
    /// Bytes of both.
    pub bytes: u64,
}

impl Upkeep {
    /// Removes the log's files that are not needed for any version of the last `retention_millis`. What its commits say of
    /// removed rows is kept as sums.
    ///
    /// # Errors
    /// [`UpkeepError`] if it was stopped, or the store fails. What was removed until then is gone.
    pub fn clean_log(&self, retention_millis: i64, dry_run: bool, pace: &Pace) -> Result<CleanedLog, UpkeepError> {
        let mut done = CleanedLog::default();
        if !dry_run {
            self.note_removals()?;
        }
        let files = self.list(LOG_FOLDER)?.unwrap_or_default().files;
        let mut named: Vec<_> = files.iter().filter_map(|file| Some((LogName::parse(&file.name)?, file))).collect();
        named.sort_by_key(|(name, _)| *name);
        let cutoff = unix_millis(SystemTime::now()).saturating_sub(retention_millis);
        // A checkpoint in parts counts when all of them are there, by the youngest part.
        let mut parts_found: BTreeMap<(u64, u32), (u32, i64)> = BTreeMap::new();
        for (name, file) in &named {
            if let LogName::Checkpoint { version, parts, .. } = name {
                let (found, newest) = parts_found.entry((*version, *parts)).or_insert((0, i64::MIN));
                (*found, *newest) = (*found + 1, (*newest).max(file.modified_millis));
            }
        }
        let is_covering = |((_, parts), (found, newest)): &(&(u64, u32), &(u32, i64))| parts == found && *newest <= cutoff;
        let Some(covered) = parts_found.iter().filter(is_covering).map(|((version, _), _)| *version).max() else {
            return Ok(done);
        };
        let old = named.iter().filter(|(name, _)| name.version() < covered);
        let (checkpoints, commits): (Vec<_>, Vec<_>) = old.partition(|(name, _)| matches!(name, LogName::Checkpoint { .. }));
        for (name, file) in checkpoints.into_iter().chain(commits) {
            match name {
                LogName::Checkpoint { .. } => done.checkpoints += 1,
                LogName::Commit(_) => done.commits += 1,
            }
            done.bytes += file.bytes;
            if !dry_run {
                let path = format!("{LOG_FOLDER}/{}", file.name);
                self.store.remove(&path).map_err(|error| UpkeepError::files(&path, error))?;
                pace.step()?;
            }
        }
        Ok(done)
    }

    /// Adds up what the log says of removed rows. The commits of other tables than the raw one do not say it.
    fn note_removals(&self) -> Result<(), UpkeepError> {
        let snapshot = self.table.refresh()?;
        match snapshot.setting(TABLE_KIND) {
            None => Ok(note_removals(&self.store, &self.store, &snapshot)?),
            Some(_) => Ok(()),
        }
    }
}
