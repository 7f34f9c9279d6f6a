//! The reader: what the lake holds, without a query engine. It blocks; call it from a thread of its own
//! (`spawn_blocking` in async code).
//!
//! Partitions that the filters exclude are not listed; of the rest the footers say as much as they can; and rows are
//! decoded a thousand at a time. A file that is damaged, or none of ours, is named in the answer and left out.

mod already_written;
mod file;
mod filters;
mod queries;
mod survey;

pub(super) use already_written::not_held;
pub use filters::Filters;

use super::{LakeConfig, LakeError, partition::Partition, store::Store};

/// A lake, open for reading.
#[derive(Debug)]
pub struct Lake {
    store: Store,
}

/// What [`Lake::ls`] found.
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
    /// Which one.
    pub partition: Partition,
    /// Files in it.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size on disk.
    pub bytes: u64,
    /// Smallest `created_datetime`, Unix milliseconds; `None` where no footer says it.
    pub oldest_millis: Option<i64>,
    /// Largest `created_datetime`, Unix milliseconds.
    pub newest_millis: Option<i64>,
}

/// What [`Lake::count`] counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// One entry per event type and day (and name, where asked for), sorted; none that is zero.
    pub counts: Vec<Count>,
    /// Files that could not be read.
    pub left_out: Vec<LeftOut>,
}

/// Rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Event type and day.
    pub partition: Partition,
    /// Event name, where counted by it.
    pub event_name: Option<String>,
    /// How many.
    pub rows: u64,
}

/// Where [`Lake::find`] found a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, below the root.
    pub file: String,
    /// Number of the row in it, from 0.
    pub row: u64,
}

/// What [`Lake::export`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Rows handed over.
    pub rows: u64,
    /// Files that could not be read, or not to their end.
    pub left_out: Vec<LeftOut>,
}

/// A file that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file, below the root.
    pub file: String,
    /// Why.
    pub reason: String,
}

impl Lake {
    /// Opens the lake at a local folder or `s3://bucket/prefix`, the latter with what the environment says of it.
    ///
    /// # Errors
    /// [`LakeError`] where the root is none, or cannot be listed.
    pub fn open(root: &str) -> Result<Self, LakeError> {
        Self::open_with(&LakeConfig::at(root))
    }

    /// Opens the lake that `config` names.
    ///
    /// # Errors
    /// [`LakeError`] where the root is none, or cannot be listed.
    pub fn open_with(config: &LakeConfig) -> Result<Self, LakeError> {
        Ok(Self { store: Store::for_reading(config)? })
    }
}
