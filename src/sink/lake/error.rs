//! Why a lake cannot be opened, listed or queried.

/// Why a lake cannot be opened, listed or queried. Errors of a single file are a [`LeftOut`](super::LeftOut) instead.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// This build cannot use the root.
    #[error("lake root `{root}`: {reason}")]
    Root {
        /// As configured.
        root: String,
        /// The reason.
        reason: String,
    },
    /// A folder or a listing failed.
    #[error("{path}: {cause}")]
    Io {
        /// The affected path.
        path: String,
        /// The error.
        cause: std::io::Error,
    },
    /// The table's log cannot be read.
    #[error(transparent)]
    Table(Box<dyn std::error::Error + Send + Sync>),
    /// The receiver of rows failed.
    #[error("output: {0}")]
    Output(std::io::Error),
}

impl LakeError {
    /// Whether the folder does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound)
    }
}
