//! Why the table's log cannot be read or written.

/// Why the table's log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The store failed. The same call may succeed later.
    #[error("{path}: {cause}")]
    Store {
        /// The affected path, below the root.
        path: String,
        /// The reason.
        cause: String,
    },
    /// The log has bytes that no writer of Delta Lake makes, or lacks a commit.
    #[error("the table's log: {path}: {reason}")]
    Damaged {
        /// The affected file, below the root.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The table is not one that this build may read or write.
    #[error("the table's log: {0}")]
    Unsupported(String),
    /// Files that the change removes are no longer in the table, because another writer removed or replaced them. Nothing was
    /// changed. Plan the change again from a new snapshot.
    #[error("{} of the files to replace are no longer in the table, {} among them", .0.len(), .0.first().map_or("none", String::as_str))]
    FilesGone(Vec<String>),
    /// Another writer completed the same work, or changed the table's definition. Nothing was changed. Plan the change again.
    #[error("another writer was faster: {0}")]
    Overtaken(String),
    /// The newest known version is not in the log any more: somebody removed the log, or a long sleep outlasted it. Open the
    /// table anew.
    #[error("the table's log no longer has version {0}")]
    LogGone(u64),
    /// Other writers were faster each time.
    #[error("other writers committed {0} times meanwhile")]
    Contended(u32),
    /// The table has no such version, or its log was cleaned up.
    #[error("no version {0}")]
    NoVersion(String),
    /// The lake cannot be opened.
    #[error(transparent)]
    Lake(#[from] super::super::LakeError),
}

impl TableError {
    /// Whether the log of this table is the reason, and no other table has it.
    pub(in crate::sink::lake) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unsupported(_))
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers pass texts and errors alike")]
    pub(in crate::sink::lake) fn store(path: &str, cause: impl ToString) -> Self {
        Self::Store { path: path.to_owned(), cause: cause.to_string() }
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers pass texts and errors alike")]
    pub(in crate::sink::lake) fn damaged(path: &str, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl From<TableError> for super::super::LakeError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Lake(error) => error,
            other => Self::Table(Box::new(other)),
        }
    }
}
