//! Reads the lake without a query engine. All calls block; use a separate thread (`spawn_blocking` in async code).
//!
//! A lake with a table's log is read at one version: its log says which files count. In a lake without a log, every file of its
//! folders counts. Partitions that the filters exclude are not listed; for the rest the statistics of the log answer as much as
//! possible, then the footers; rows are decoded a thousand at a time. A damaged or foreign file is reported in the result and
//! left out.

mod already_written;
mod check;
mod check_report;
mod file;
mod filters;
mod minute_report;
mod minutes;
mod near;
mod near_report;
mod queries;
mod removed;
mod sample;
mod survey;

pub(super) use already_written::not_held;
pub use check_report::{CheckReport, Finding, FindingCode, Severity};
pub(super) use file::{Batches, LakeFile, footer_statistics};
pub use filters::Filters;
pub use minute_report::{RemovedByMinute, RemovedInMinute, RemovedSpan, RowsByMinute, UncountedFile};
pub use near_report::{Hints, Located};

use std::sync::Arc;

use super::{
    LakeConfig, LakeError,
    config::TableFormat,
    partition::Partition,
    store::Store,
    table::{ADOPTING, AsOf, Snapshot, Table},
};

/// A lake, open for reading.
#[derive(Debug)]
pub struct Lake {
    store: Arc<Store>,
    /// The table at the version that is read; `None` if the lake has no log.
    table: Option<Arc<Snapshot>>,
}

/// The result of [`Lake::ls`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// One entry per partition, sorted.
    pub partitions: Vec<PartitionSummary>,
    /// Files that could not be read.
    pub left_out: Vec<LeftOut>,
}

/// One partition, as the footers of its files describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSummary {
    /// The partition.
    pub partition: Partition,
    /// Files in it.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Smallest `created_datetime`, in Unix milliseconds; `None` if no footer has it.
    pub oldest_millis: Option<i64>,
    /// Largest `created_datetime`, in Unix milliseconds.
    pub newest_millis: Option<i64>,
}

/// The result of [`Lake::count`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// One entry per event type and day (and name, if requested), sorted; no entry is zero.
    pub counts: Vec<Count>,
    /// Files that could not be read.
    pub left_out: Vec<LeftOut>,
}

/// Number of rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Event type and day.
    pub partition: Partition,
    /// Event name, if counted by name.
    pub event_name: Option<String>,
    /// Number of rows.
    pub rows: u64,
}

/// A row found by [`Lake::find`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, below the root.
    pub file: String,
    /// Row number in the file, from 0.
    pub row: u64,
    /// The row group that has it, from 0.
    pub row_group: u64,
}

/// The result of [`Lake::find_near`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near {
    /// The rows, file by file: more than one if the event was delivered more than once, or if another one has the same identity.
    pub rows: Vec<Located>,
    /// Files that were opened.
    pub files_opened: u64,
    /// Files that could not be read.
    pub left_out: Vec<LeftOut>,
}

/// The result of [`Lake::export`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Exported rows.
    pub rows: u64,
    /// Files that could not be read, or not completely.
    pub left_out: Vec<LeftOut>,
}

/// A file that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file, below the root.
    pub file: String,
    /// The reason.
    pub reason: String,
}

impl Lake {
    /// Opens the lake at a local folder or `s3://bucket/prefix`; S3 settings come from the environment.
    ///
    /// # Errors
    /// [`LakeError`] if the root is invalid, or cannot be listed.
    pub fn open(root: &str) -> Result<Self, LakeError> {
        Self::open_with(&LakeConfig::at(root))
    }

    /// Opens the lake of `config`; its table, if it has one, at the newest version.
    ///
    /// # Errors
    /// [`LakeError`] if the root is invalid, or cannot be listed, or if the table's log cannot be read.
    pub fn open_with(config: &LakeConfig) -> Result<Self, LakeError> {
        let store = Arc::new(Store::for_upkeep(config)?);
        let table = match config.table {
            TableFormat::Delta => Table::open_in(Arc::clone(&store))?.map(|table| table.known()),
            // A log from before is not continued.
            TableFormat::None => None,
        };
        // Until the adoption of an older lake is complete, its log lacks files.
        let table = table.filter(|table| table.setting(ADOPTING).is_none());
        Ok(Self { store, table })
    }

    /// The lake in `store`, with its table at one version if it has one.
    pub(super) fn of(store: Arc<Store>, table: Option<Arc<Snapshot>>) -> Self {
        Self { store, table }
    }

    /// Opens the lake of `config` as its table was at a version or a time.
    ///
    /// # Errors
    /// Like [`Lake::open_with`]; also if the lake has no log, or its log does not go back that far.
    pub fn open_as_of(config: &LakeConfig, as_of: AsOf) -> Result<Self, LakeError> {
        let store = Arc::new(Store::for_upkeep(config)?);
        let Some(table) = Table::open_in(Arc::clone(&store))? else {
            let reason = "it has no table's log (`_delta_log`), so it has no versions".to_owned();
            return Err(LakeError::Root { root: config.root.clone(), reason });
        };
        Ok(Self { store, table: Some(table.snapshot_at(as_of)?) })
    }

    /// The version of the table that is read; `None` if the lake has no log.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.table.as_ref().map(|table| table.version)
    }
}
