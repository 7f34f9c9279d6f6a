//! What is told of minutes of receipt: the rows that are there, and those that left.

use std::{collections::BTreeMap, ops::Range};

use crate::sink::lake::{removed_rows::RemovedWhy, table::UnrecordedRemoval};

/// The result of [`Lake::rows_by_minute`](super::Lake::rows_by_minute).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowsByMinute {
    /// Rows by minute of receipt: `received_millis / 60000`, rounded down. No number is zero.
    pub minutes: BTreeMap<i64, u64>,
    /// The same by minute and event name, if it was asked for.
    pub names: BTreeMap<(i64, Box<str>), u64>,
    /// The version of the table; `None` if the lake has no log.
    pub version: Option<u64>,
    /// Files that were looked at, most of them in the log alone.
    pub files: u64,
    /// Files of them that were opened.
    pub files_opened: u64,
    /// Rows that were decoded.
    pub rows_decoded: u64,
    /// Files that could not be read, or not completely: their rows are missing here.
    pub left_out: Vec<UncountedFile>,
}

/// A file whose rows are not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncountedFile {
    /// The file, below the root.
    pub file: String,
    /// Why it could not be read.
    pub reason: String,
    /// Its rows, if the log has their number.
    pub rows: Option<u64>,
    /// When its first and its last row were received, in Unix milliseconds, if the log has that.
    pub received_millis: Option<(i64, i64)>,
}

/// The result of [`Lake::removed_by_minute`](super::Lake::removed_by_minute).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedByMinute {
    /// Rows by minute of receipt: `received_millis / 60000`, rounded down.
    pub minutes: BTreeMap<i64, RemovedInMinute>,
    /// Removed rows of which only a longer time is known, because one commit removed rows of very many minutes.
    pub spans: Vec<RemovedSpan>,
    /// Every removal of rows that were received at this time or later is known, in Unix milliseconds. `None`: nothing is known,
    /// because the lake has no table, or its log begins with a checkpoint.
    pub known_since_millis: Option<i64>,
    /// The newest commit that removed rows and does not say of which minutes, if there is one: the history is known since then.
    pub unrecorded: Option<UnrecordedRemoval>,
}

/// Removed rows of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedInMinute {
    /// By retention.
    pub expired: u64,
    /// By an erasure.
    pub erased: u64,
    /// By a compaction, because the same event was received before, and that row stays.
    pub doubles: u64,
}

impl RemovedInMinute {
    /// All of them.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.expired + self.erased + self.doubles
    }
}

/// Rows that were removed from some minutes of a longer time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedSpan {
    /// The minutes.
    pub minutes: Range<i64>,
    /// Why.
    pub why: RemovedWhy,
    /// How many.
    pub rows: u64,
}
