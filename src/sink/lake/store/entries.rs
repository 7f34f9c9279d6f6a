//! The files and folders of a store, and the result of creating a file.

use std::time::Duration;

/// A file of a partition.
#[derive(Clone, Debug, Default)]
pub(in crate::sink::lake) struct FileEntry {
    pub(in crate::sink::lake) name: String,
    pub(in crate::sink::lake) bytes: u64,
    /// When it was last changed, in Unix milliseconds, by the clock of the store.
    pub(in crate::sink::lake) modified_millis: i64,
}

impl FileEntry {
    /// Whether it was last changed longer than `age` before `now_millis`.
    pub(in crate::sink::lake) fn is_older_than(&self, age: Duration, now_millis: i64) -> bool {
        now_millis.saturating_sub(self.modified_millis) > i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The result of creating a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink::lake) enum Created {
    /// The file was created.
    New,
    /// The name was taken, and the existing entry is unchanged.
    Taken,
}

/// The direct contents of a folder, sorted by name.
#[derive(Debug, Default)]
pub(in crate::sink::lake) struct Folder {
    pub(in crate::sink::lake) folders: Vec<String>,
    pub(in crate::sink::lake) files: Vec<FileEntry>,
}
