//! What changed in the raw table since a partition was built, and what is to be done about it.

use std::{collections::HashSet, sync::Arc};

use crate::sink::lake::{
    partition::Partition,
    table::{LogChanges, Snapshot, Table, TableError, TableFile},
};

/// What a partition of a typed table needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// The rows of these files join.
    Append(Vec<Arc<TableFile>>),
    /// All rows are written anew.
    Rebuild {
        /// Whether rows left the raw table. Then the commit is made even if it changes no file, so that a slow builder that has
        /// read those rows is refused.
        fence: bool,
    },
}

/// The changes of the raw table up to one of its versions.
pub(super) struct RawChanges {
    /// What came after this version is known.
    since: u64,
    changes: LogChanges,
}

impl RawChanges {
    /// Reads the changes since `wanted`, or, if the log does not go back that far, as many as it has.
    pub(super) fn read(raw: &Table, wanted: u64, until: u64) -> Result<Self, TableError> {
        let mut since = wanted.min(until);
        let mut changes = raw.changes(since, until)?;
        if changes.is_none() {
            since = raw.changes_known_since()?.clamp(since, until);
            changes = raw.changes(since, until)?;
        }
        let (since, changes) = changes.map_or((until, LogChanges::default()), |changes| (since, changes));
        Ok(Self { since, changes })
    }

    /// Whether all that came after `version` is known, and where it was.
    pub(super) fn cover(&self, version: u64) -> bool {
        self.since <= version && !self.changes.unplaced
    }

    /// The partitions that changed.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.changes.files.keys()
    }

    /// What a partition needs that was built up to version `built`; `None` if nothing. `raw` is the newest version.
    pub(super) fn work(&self, raw: &Snapshot, partition: &Partition, built: Option<u64>, has_files: bool) -> Option<Work> {
        let live = raw.files_of(partition);
        let Some(built) = built.filter(|built| self.cover(*built)) else {
            let is_empty = live.is_empty() && !has_files;
            // If it was built before, rows may have left.
            return (!is_empty).then_some(Work::Rebuild { fence: built.is_some() });
        };
        let (mut joined, mut needs_rebuild) = (HashSet::new(), false);
        let changes = self.changes.files.get(partition).into_iter().flatten();
        for change in changes.filter(|change| change.version > built) {
            if change.is_added && change.data_change {
                joined.insert(change.path.as_str());
            }
            needs_rebuild |= !change.is_added && (change.data_change || joined.contains(change.path.as_str()));
        }
        if needs_rebuild {
            return Some(Work::Rebuild { fence: true });
        }
        let files: Vec<_> = live.iter().filter(|file| joined.contains(file.path.as_str())).cloned().collect();
        (!files.is_empty()).then_some(Work::Append(files))
    }
}
