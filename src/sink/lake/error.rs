//! Why a lake cannot be opened, listed or queried.

/// Why a lake cannot be opened, listed or queried. What concerns one file alone is a [`LeftOut`](super::LeftOut) instead.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The root is none that this build can use.
    #[error("lake root `{root}`: {reason}")]
    Root {
        /// As configured.
        root: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder or a listing failed.
    #[error("{path}: {cause}")]
    Io {
        /// What was touched.
        path: String,
        /// How it failed.
        cause: std::io::Error,
    },
    /// The receiver of rows failed.
    #[error("output: {0}")]
    Output(std::io::Error),
}
