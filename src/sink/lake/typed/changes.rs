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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::lake::{
        LakeConfig,
        store::Store,
        table::{Change, FileStatistics, Operation},
    };

    fn partition() -> Partition {
        Partition { event_type: "menu".into(), created_date: "2026-11-20".into() }
    }

    fn file(name: &str) -> TableFile {
        TableFile {
            partition: partition(),
            path: format!("{}/{name}.parquet", partition()),
            bytes: 1,
            modified_millis: 0,
            statistics: FileStatistics::default(),
            ranges: Vec::new(),
        }
    }

    /// Commits, and returns the version.
    fn commit(table: &Table, operation: Operation, data_change: bool, remove: &[&str], add: &[&str]) -> u64 {
        let known = table.known();
        let removed = |name: &&str| known.files().find(|live| live.path == file(name).path).unwrap().clone();
        let change = Change {
            add: add.iter().map(|name| file(name)).collect(),
            remove: remove.iter().map(removed).collect(),
            ..Change::new(operation, data_change)
        };
        table.commit(&change).unwrap().version
    }

    #[test]
    fn what_came_is_appended_what_left_is_rebuilt_and_files_that_were_merged_say_nothing_new() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_building(&LakeConfig::at(folder.path().to_str().unwrap())).unwrap();
        let table = Table::open_or_create(Arc::new(store), &[]).unwrap();
        let work = |built: Option<u64>| {
            let snapshot = table.known();
            let changes = RawChanges::read(&table, built.unwrap_or(snapshot.version), snapshot.version).unwrap();
            changes.work(&snapshot, &partition(), built, true).map(|work| match work {
                Work::Append(files) => files.iter().map(|file| file.name().to_owned()).collect::<Vec<_>>().join(" "),
                Work::Rebuild { fence } => format!("rebuild, fence {fence}"),
            })
        };
        let said = |text: &str| Some(text.to_owned());
        let first = commit(&table, Operation::Write, true, &[], &["a"]);
        let second = commit(&table, Operation::Write, true, &[], &["b", "c"]);
        assert_eq!(work(None), said("rebuild, fence false"));
        assert_eq!((work(Some(first)), work(Some(second))), (said("b.parquet c.parquet"), None));
        let merged = commit(&table, Operation::Optimize, false, &["a", "b"], &["ab"]);
        assert_eq!(work(Some(first)), said("rebuild, fence true"), "b was not built, and is in another file now");
        assert_eq!((work(Some(second)), work(Some(merged))), (None, None));
        commit(&table, Operation::Write, true, &[], &["d"]);
        assert_eq!(work(Some(second)), said("d.parquet"));
        let erased = commit(&table, Operation::Delete, true, &["c"], &["e"]);
        assert_eq!((work(Some(second)), work(Some(erased))), (said("rebuild, fence true"), None));
        // The log forgets what came before.
        table.checkpoint().unwrap();
        (0..=second)
            .for_each(|version| std::fs::remove_file(folder.path().join(format!("_delta_log/{version:020}.json"))).unwrap());
        assert_eq!((work(Some(first)), work(Some(merged))), (said("rebuild, fence true"), said("rebuild, fence true")));
        assert_eq!(work(Some(erased - 1)), said("rebuild, fence true"));
        assert_eq!(work(Some(erased)), None);
    }
}
