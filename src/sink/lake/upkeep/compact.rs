//! Compaction: the files of a partition become few, large and sorted, and have each event once.

use std::{sync::Arc, time::SystemTime};

use super::{
    Upkeep, UpkeepError,
    plan::{Rules, Urgency, is_to_rewrite, urgency},
    rewrite::{Outcome, Rewrite},
};
use crate::{
    event::unix_millis,
    limits::LAKE_REWRITE_TRIES_MAX,
    sink::lake::{
        Filters,
        pace::Pace,
        partition::Partition,
        read::LeftOut,
        table::{Operation, Snapshot, TableFile},
    },
};

/// What to compact.
#[derive(Clone, Debug)]
pub struct CompactRequest {
    /// Which partitions; names of events are ignored.
    pub filters: Filters,
    /// Files to merge at which a partition is compacted that still gets events.
    pub files_max: usize,
}

/// What a compaction did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The partition.
    pub partition: Partition,
    /// Files before, those that stay included, and their bytes.
    pub files_before: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Files after.
    pub files_after: u64,
    /// Their bytes.
    pub bytes_after: u64,
    /// Rows in the new files.
    pub rows: u64,
    /// Rows dropped because the same event was received before.
    pub doubles: u64,
    /// Files that were left alone, because they cannot be read or merged.
    pub left_out: Vec<LeftOut>,
}

impl Upkeep {
    /// The partitions that need a compaction, the most urgent first.
    ///
    /// # Errors
    /// [`UpkeepError`] if the log cannot be read.
    pub fn to_compact(&self, request: &CompactRequest) -> Result<Vec<Partition>, UpkeepError> {
        let snapshot = self.table.refresh()?;
        let rules = Rules { now_millis: unix_millis(SystemTime::now()), files_max: request.files_max };
        let admitted = snapshot.partitions().map(|(partition, _)| partition).filter(|partition| {
            request.filters.admits_type(&partition.event_type) && request.filters.admits_date(&partition.created_date)
        });
        let planned = admitted.filter_map(|partition| {
            let files = self.mergeable(&snapshot, partition);
            Some((urgency(partition, &files, rules)?, files.len(), partition.clone()))
        });
        let mut planned: Vec<(Urgency, usize, Partition)> = planned.collect();
        planned.sort_by(|(a, a_files, a_partition), (b, b_files, b_partition)| {
            let by_date = a_partition.created_date.cmp(&b_partition.created_date);
            a.cmp(b).then(if *a == Urgency::Settled { by_date } else { b_files.cmp(a_files) }).then(a_partition.cmp(b_partition))
        });
        Ok(planned.into_iter().map(|(_, _, partition)| partition).collect())
    }

    /// Compacts a partition in one commit. `None` if it needs none any more, or another writer was faster each time.
    ///
    /// # Errors
    /// [`UpkeepError`] if it was stopped, or the store or the log fails. Then nothing has changed.
    pub fn compact(
        &self,
        partition: &Partition,
        request: &CompactRequest,
        pace: &Pace,
    ) -> Result<Option<Compacted>, UpkeepError> {
        for _ in 0..LAKE_REWRITE_TRIES_MAX {
            // The version is not kept, because a commit copies a version that somebody holds: with all files, each time.
            let files = self.mergeable(&*self.table.refresh()?, partition);
            let rules = Rules { now_millis: unix_millis(SystemTime::now()), files_max: request.files_max };
            if urgency(partition, &files, rules).is_none() {
                return Ok(None);
            }
            let outcome = Rewrite {
                table: &self.table,
                store: &self.store,
                scratch: &self.scratch,
                pace,
                partition,
                files: &files,
                must_rewrite: &is_to_rewrite,
                drop_doubles: true,
                keep: &|_| true,
                operation: Operation::Optimize,
                data_change: false,
            }
            .run()?;
            let Outcome::Done(done) = outcome else { continue };
            self.memory().unmergeable.extend(done.left_out.iter().map(|left_out| left_out.file.clone()));
            let bytes = |files: &[Arc<TableFile>]| files.iter().map(|file| file.bytes).sum::<u64>();
            let added: u64 = done.added.iter().map(|file| file.bytes).sum();
            return Ok(Some(Compacted {
                partition: partition.clone(),
                files_before: files.len() as u64,
                bytes_before: bytes(&files),
                files_after: (files.len() - done.removed.len() + done.added.len()) as u64,
                bytes_after: bytes(&files) - bytes(&done.removed) + added,
                rows: done.rows,
                doubles: done.doubles,
                left_out: done.left_out,
            }));
        }
        tracing::info!(%partition, "other writers change the partition faster than it can be compacted; later again");
        Ok(None)
    }

    /// What [`Upkeep::compact`] would do at most: the files after are not known before.
    #[must_use]
    pub fn describe(&self, partition: &Partition) -> Compacted {
        let snapshot = self.table.known();
        let files = self.mergeable(&snapshot, partition);
        let sum = |count: fn(&TableFile) -> u64| files.iter().map(|file| count(file)).sum::<u64>();
        Compacted {
            partition: partition.clone(),
            files_before: files.len() as u64,
            bytes_before: sum(|file| file.bytes),
            files_after: 0,
            bytes_after: 0,
            rows: sum(|file| file.statistics.rows.unwrap_or_default()),
            doubles: 0,
            left_out: Vec::new(),
        }
    }

    /// The live files of a partition that can be merged, as far as known.
    pub(super) fn mergeable(&self, snapshot: &Snapshot, partition: &Partition) -> Vec<Arc<TableFile>> {
        let memory = self.memory();
        let files = snapshot.files_of(partition).iter();
        files.filter(|file| !memory.unmergeable.contains(&file.path)).map(Arc::clone).collect()
    }
}
