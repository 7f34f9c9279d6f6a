//! A file of the table, as its log describes it.

use uuid::Uuid;

use crate::sink::lake::partition::Partition;

/// A live file of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableFile {
    /// The values of its partition columns. The folder has the same, unless another tool wrote the file.
    pub partition: Partition,
    /// Path below the root.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// When it was written, in Unix milliseconds.
    pub modified_millis: i64,
    /// What is in it.
    pub statistics: FileStatistics,
    /// The ranges of spools whose rows a rewritten file may hold: one hull for each identity. Empty for a file that is named after
    /// its range, and for files of other tools.
    pub ranges: Vec<SpoolRange>,
}

impl TableFile {
    /// The file's name, without its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }
}

/// A range of sequence numbers under an identity of [`lake_identities`](super::super::lake_identities).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolRange {
    /// The identity in the file's name.
    pub identity: Uuid,
    /// First sequence number.
    pub first_inclusive: u64,
    /// Number after the last one.
    pub end_exclusive: u64,
}

/// Number of rows, and minimum and maximum of some columns. What the writer did not record is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileStatistics {
    /// Rows; other tools may leave it out.
    pub rows: Option<u64>,
    /// Of `created_datetime`, in Unix milliseconds.
    pub created_millis: Option<(i64, i64)>,
    /// Of `received_datetime`, in Unix milliseconds.
    pub received_millis: Option<(i64, i64)>,
    /// Of `created_at`, in Unix seconds.
    pub created_at: Option<(f64, f64)>,
    /// Of `event_name`.
    pub event_name: Option<(Box<str>, Box<str>)>,
}

/// A file that the log removed from the table, and still remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedFile {
    /// Path below the root.
    pub path: String,
    /// When it was removed, in Unix milliseconds.
    pub removed_millis: i64,
    /// Its partition, if the log has it.
    pub partition: Option<Partition>,
    /// Size in bytes, if the log has it.
    pub bytes: Option<u64>,
    /// Whether rows were removed from the table with it; false if another file took over its rows.
    pub data_change: bool,
}
