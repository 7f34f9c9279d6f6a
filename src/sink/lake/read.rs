//! Reads the lake without a query engine. All calls block; use a separate thread (`spawn_blocking` in async code).
//!
//! Partitions that the filters exclude are not listed; for the rest the footers answer as much as possible; rows are decoded a
//! thousand at a time. A damaged or foreign file is reported in the result and left out.

mod already_written;
mod file;
mod filters;
mod queries;
mod survey;

pub(super) use already_written::not_held;
pub(super) use file::{LakeFile, footer_statistics};
pub use filters::Filters;

use super::{LakeConfig, LakeError, partition::Partition, store::Store};

/// A lake, open for reading.
#[derive(Debug)]
pub struct Lake {
    store: Store,
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

    /// Opens the lake of `config`.
    ///
    /// # Errors
    /// [`LakeError`] if the root is invalid, or cannot be listed.
    pub fn open_with(config: &LakeConfig) -> Result<Self, LakeError> {
        Ok(Self { store: Store::for_reading(config)? })
    }
}
