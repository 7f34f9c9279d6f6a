//! Rewrites files of a partition in one commit: what compaction and retention have in common, and erasure may use.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    event::unix_millis,
    limits::{
        LAKE_FILE_BYTES_MAX, LAKE_MERGE_KEYS_MAX, LAKE_REWRITE_SPACE_FACTOR, LAKE_REWRITE_SPARE_BYTES, LAKE_SORT_BYTES_MAX,
        LAKE_UNCOMMITTED_MAX,
    },
    sink::lake::{
        encode::FileName,
        merge::{Gone, MergeError, MergeInput, MergeRequest, Merged, MergedFile, merge},
        pace::Pace,
        partition::Partition,
        read::LeftOut,
        removed_rows::{RemovedRows, RemovedWhy},
        row::LakeRow,
        scratch::Scratch,
        store::Store,
        table::{Change, FileStatistics, Operation, SpoolRange, Table, TableError, TableFile},
    },
};

use super::UpkeepError;

/// Files of a partition to rewrite.
pub(in crate::sink::lake) struct Rewrite<'a> {
    pub(in crate::sink::lake) table: &'a Table,
    pub(in crate::sink::lake) store: &'a Store,
    pub(in crate::sink::lake) scratch: &'a Scratch,
    pub(in crate::sink::lake) pace: &'a Pace,
    pub(in crate::sink::lake) partition: &'a Partition,
    /// All live files of the partition that can be read, in the order of the snapshot.
    pub(in crate::sink::lake) files: &'a [Arc<TableFile>],
    /// Which of them to rewrite in any case; the others only if doubles are dropped, and they have some.
    pub(in crate::sink::lake) must_rewrite: &'a dyn Fn(&TableFile) -> bool,
    pub(in crate::sink::lake) drop_doubles: bool,
    pub(in crate::sink::lake) keep: &'a dyn Fn(&LakeRow<'_>) -> bool,
    pub(in crate::sink::lake) operation: Operation,
    pub(in crate::sink::lake) data_change: bool,
}

/// What one commit did.
#[derive(Debug, Default)]
pub(in crate::sink::lake) struct Rewritten {
    /// Files that the commit removed, and added.
    pub(in crate::sink::lake) removed: Vec<Arc<TableFile>>,
    pub(in crate::sink::lake) added: Vec<TableFile>,
    pub(in crate::sink::lake) rows: u64,
    pub(in crate::sink::lake) doubles: u64,
    pub(in crate::sink::lake) not_kept: u64,
    pub(in crate::sink::lake) left_out: Vec<LeftOut>,
}

/// The result of a rewriting.
#[derive(Debug)]
pub(in crate::sink::lake) enum Outcome {
    /// It is committed, or there was nothing to do.
    Done(Rewritten),
    /// Another writer removed a file meanwhile: plan again from a new snapshot.
    Outdated,
}

impl Rewrite<'_> {
    /// Rewrites and commits.
    pub(in crate::sink::lake) fn run(&self) -> Result<Outcome, UpkeepError> {
        match self.merge()? {
            None => Ok(Outcome::Outdated),
            Some(merged) if merged.replaced.is_empty() => {
                Ok(Outcome::Done(Rewritten { left_out: merged.left_out, ..Rewritten::default() }))
            }
            Some(merged) => self.commit(merged),
        }
    }

    /// Merges the files. `None` if one of them left the lake meanwhile.
    pub(in crate::sink::lake) fn merge(&self) -> Result<Option<Merged>, UpkeepError> {
        let partition = self.partition;
        self.check_space()?;
        let inputs: Vec<MergeInput> = self.files.iter().map(|file| self.input(file)).collect();
        let merged = merge(&MergeRequest {
            store: self.store,
            partition,
            files: &inputs,
            drop_doubles: self.drop_doubles,
            refuse_unknown_columns: true,
            keep: self.keep,
            file_bytes_max: LAKE_FILE_BYTES_MAX,
            sort_bytes_max: LAKE_SORT_BYTES_MAX,
            keys_max: LAKE_MERGE_KEYS_MAX,
            scratch: self.scratch,
            pace: self.pace,
        });
        match merged {
            Ok(merged) => Ok(Some(merged)),
            Err(MergeError::Stopped) => Err(UpkeepError::Stopped),
            Err(MergeError::Gone(path)) => {
                tracing::debug!(path, "a file left the lake while it was to be merged");
                Ok(None)
            }
            Err(error) => Err(UpkeepError::files(partition, error)),
        }
    }

    fn input(&self, file: &TableFile) -> MergeInput {
        MergeInput {
            path: file.path.clone(),
            bytes: file.bytes,
            rows: file.statistics.rows.unwrap_or_default(),
            rewrite: (self.must_rewrite)(file),
        }
    }

    /// Commits the files that are merged.
    pub(in crate::sink::lake) fn commit(&self, mut merged: Merged) -> Result<Outcome, UpkeepError> {
        let removed: Vec<Arc<TableFile>> = merged.replaced.iter().map(|&position| Arc::clone(&self.files[position])).collect();
        let (rows, doubles, not_kept) = (merged.rows, merged.doubles, merged.not_kept);
        let (left_out, gone) = (std::mem::take(&mut merged.left_out), std::mem::take(&mut merged.gone));
        let began = SystemTime::now();
        let published = match merged.publish(self.store) {
            Ok(published) => published,
            // A gateway that starts removes all unfinished files of its lake, and another process may rewrite.
            Err(MergeError::Io(error)) if error.kind() == io::ErrorKind::NotFound && self.store.is_local() => {
                tracing::debug!(%error, "an unfinished file was removed before it was complete");
                return Ok(Outcome::Outdated);
            }
            Err(error) => return Err(UpkeepError::files(self.partition, error)),
        };
        let added: Vec<TableFile> = published.into_iter().map(|file| self.table_file(&file, &removed)).collect();
        // After this time a vacuum takes them for leftovers. The clock of the wall, because a machine may have slept.
        if began.elapsed().unwrap_or(Duration::MAX) > LAKE_UNCOMMITTED_MAX {
            self.remove(&added);
            return Ok(Outcome::Outdated);
        }
        let numbers = [("rows", rows), ("doubles", doubles), ("notKept", not_kept)];
        let change = Change {
            add: added.clone(),
            remove: removed.clone(),
            removed_rows: Some(self.removed_rows(&gone)),
            parameters: numbers
                .map(|(name, number)| (name.to_owned(), number.to_string()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            ..Change::new(self.operation, self.data_change)
        };
        match self.table.commit(&change) {
            Ok(_) => Ok(Outcome::Done(Rewritten { removed, added, rows, doubles, not_kept, left_out })),
            Err(TableError::FilesGone(_)) => {
                self.remove(&added);
                Ok(Outcome::Outdated)
            }
            Err(error) => {
                // The commit may be there all the same. If nobody can tell now, the vacuum removes the files later.
                let is_live = |snapshot: &crate::sink::lake::table::Snapshot| {
                    added.iter().any(|file| snapshot.is_live(&file.partition, &file.path))
                };
                if self.table.refresh().is_ok_and(|snapshot| !is_live(&snapshot)) {
                    self.remove(&added);
                }
                Err(error.into())
            }
        }
    }

    /// What the commit says of the rows that leave for good.
    fn removed_rows(&self, gone: &Gone) -> Vec<RemovedRows> {
        let why = if self.operation == Operation::Expire { RemovedWhy::Expired } else { RemovedWhy::Erased };
        gone.not_kept.removed(why).into_iter().chain(gone.doubles.removed(RemovedWhy::Doubles)).collect()
    }

    /// Best effort: what stays is removed by a vacuum.
    fn remove(&self, files: &[TableFile]) {
        for file in files {
            if let Err(error) = self.store.remove(&file.path) {
                tracing::debug!(path = file.path, %error, "a file that is not needed stays until the next vacuum");
            }
        }
    }

    fn table_file(&self, file: &MergedFile, replaced: &[Arc<TableFile>]) -> TableFile {
        TableFile {
            partition: self.partition.clone(),
            path: format!("{}/{}", self.partition, file.name),
            bytes: file.bytes,
            modified_millis: unix_millis(SystemTime::now()),
            statistics: FileStatistics::of_footer(&file.footer),
            ranges: hulls(replaced),
        }
    }

    fn check_space(&self) -> Result<(), UpkeepError> {
        let bytes: u64 = self.files.iter().filter(|file| (self.must_rewrite)(file)).map(|file| file.bytes).sum();
        check_space(self.scratch, bytes).map_err(|reason| UpkeepError::files(self.partition, reason))
    }
}

/// Whether there is room to rewrite files of so many bytes, or why not.
pub(in crate::sink::lake) fn check_space(scratch: &Scratch, bytes: u64) -> Result<(), String> {
    let needed = bytes * LAKE_REWRITE_SPACE_FACTOR + LAKE_REWRITE_SPARE_BYTES;
    match scratch.free_bytes() {
        Some(free) if free < needed => {
            Err(format!("rewriting {bytes} bytes may need {needed} bytes of disk, and {free} are free"))
        }
        _ => Ok(()),
    }
}

/// The ranges of spools whose rows the files may hold: one hull for each identity.
fn hulls(files: &[Arc<TableFile>]) -> Vec<SpoolRange> {
    let of_name = |file: &TableFile| FileName::parse(file.name()).map(|name| name.range());
    let ranges = files.iter().flat_map(|file| file.ranges.iter().copied().chain(of_name(file)));
    let mut hulls: BTreeMap<_, SpoolRange> = BTreeMap::new();
    for range in ranges {
        let hull = hulls.entry(range.identity).or_insert(range);
        hull.first_inclusive = hull.first_inclusive.min(range.first_inclusive);
        hull.end_exclusive = hull.end_exclusive.max(range.end_exclusive);
    }
    hulls.into_values().collect()
}
