//! The table at one version: its live files, and the removed files that the log remembers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    actions::{CommitInfo, Line, Metadata, Protocol, Txn},
    change::TransactionState,
    error::TableError,
    file::{RemovedFile, TableFile},
    names::commit_path,
};
use crate::sink::lake::partition::Partition;

/// The table at one version. Cheap to keep: versions share their files.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The version, from 0.
    pub version: u64,
    /// When it was committed, in Unix milliseconds, if its commit was read.
    pub committed_millis: Option<i64>,
    pub(super) protocol: Option<Arc<Protocol>>,
    pub(super) metadata: Option<Arc<Metadata>>,
    pub(super) transactions: BTreeMap<String, Txn>,
    partitions: BTreeMap<Partition, Vec<Arc<TableFile>>>,
    removed: HashMap<Box<str>, Arc<RemovedFile>>,
    files: usize,
}

impl Snapshot {
    /// The partitions that have files, sorted, with their files in the order in which they joined.
    pub fn partitions(&self) -> impl Iterator<Item = (&Partition, &[Arc<TableFile>])> {
        self.partitions.iter().map(|(partition, files)| (partition, files.as_slice()))
    }

    /// The live files of a partition.
    #[must_use]
    pub fn files_of(&self, partition: &Partition) -> &[Arc<TableFile>] {
        self.partitions.get(partition).map_or(&[], Vec::as_slice)
    }

    /// All live files, partition by partition.
    pub fn files(&self) -> impl Iterator<Item = &Arc<TableFile>> {
        self.partitions.values().flatten()
    }

    /// Number of live files.
    #[must_use]
    pub fn files_count(&self) -> usize {
        self.files
    }

    /// Whether this path of this partition is live.
    #[must_use]
    pub fn is_live(&self, partition: &Partition, path: &str) -> bool {
        // From the end: who asks, asks for a new file.
        self.files_of(partition).iter().rev().any(|file| file.path == path)
    }

    /// The removed files that the log remembers, in no order.
    pub fn removed(&self) -> impl Iterator<Item = &Arc<RemovedFile>> {
        self.removed.values()
    }

    /// How many removed files the log remembers.
    #[must_use]
    pub fn removed_count(&self) -> usize {
        self.removed.len()
    }

    /// What the log remembers of a removed file.
    #[must_use]
    pub fn removed_file(&self, path: &str) -> Option<&Arc<RemovedFile>> {
        self.removed.get(path)
    }

    /// The table's own identity, the same in all versions.
    #[must_use]
    pub fn id(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.id)
    }

    /// The columns, as the JSON text of the log.
    #[cfg(test)]
    pub(in crate::sink::lake) fn schema_string(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.schema_string)
    }

    /// The newest commit of an application.
    pub(in crate::sink::lake) fn transaction(&self, app_id: &str) -> Option<TransactionState> {
        let Txn { version, last_updated, .. } = self.transactions.get(app_id)?;
        Some(TransactionState { version: *version, updated_millis: *last_updated })
    }

    /// A setting of the table.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.configuration.get(key).map(String::as_str)
    }

    /// Applies one action. `path` is the log's file, for errors.
    pub(super) fn apply(&mut self, line: Line, path: &str) -> Result<Option<CommitInfo>, TableError> {
        let damaged = |reason: String| TableError::damaged(path, reason);
        if let Some(protocol) = line.protocol {
            protocol.check()?;
            self.protocol = Some(Arc::new(protocol));
        }
        if let Some(metadata) = line.meta_data {
            metadata.check()?;
            self.metadata = Some(Arc::new(metadata));
        }
        if let Some(txn) = line.txn {
            self.transactions.insert(txn.app_id.clone(), txn);
        }
        if let Some(remove) = line.remove {
            self.remove(remove.file().map_err(damaged)?);
        }
        if let Some(add) = line.add {
            self.add(add.file().map_err(damaged)?);
        }
        Ok(line.commit_info)
    }

    pub(super) fn add(&mut self, file: TableFile) {
        self.removed.remove(file.path.as_str());
        let files = self.partitions.entry(file.partition.clone()).or_default();
        match files.iter_mut().find(|live| live.path == file.path) {
            Some(live) => *live = Arc::new(file),
            None => {
                files.push(Arc::new(file));
                self.files += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, removed: RemovedFile) {
        // Another tool may leave the partition out; then it is searched.
        let holder = match &removed.partition {
            Some(partition) => Some(partition.clone()),
            None => {
                let holds = |files: &Vec<Arc<TableFile>>| files.iter().any(|file| file.path == removed.path);
                self.partitions.iter().find(|(_, files)| holds(files)).map(|(partition, _)| partition.clone())
            }
        };
        if let Some(partition) = holder
            && let Some(files) = self.partitions.get_mut(&partition)
        {
            let before = files.len();
            files.retain(|file| file.path != removed.path);
            self.files -= before - files.len();
            if files.is_empty() {
                self.partitions.remove(&partition);
            }
        }
        self.removed.insert(removed.path.as_str().into(), Arc::new(removed));
    }

    /// Forgets files that were removed before this time.
    pub(super) fn forget_removed_before(&mut self, millis: i64) {
        self.removed.retain(|_, removed| removed.removed_millis >= millis);
    }

    /// Checks that the log began with a protocol and a schema.
    pub(super) fn check(&self) -> Result<(), TableError> {
        match (&self.protocol, &self.metadata) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err(TableError::damaged(&commit_path(self.version), "the log has no protocol or no schema up to here")),
        }
    }
}
