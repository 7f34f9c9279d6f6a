//! Why a window cannot be opened, and why it cannot write its identities to disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a window could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, or a file in it, cannot be made, read or changed.
    #[error("the dedup folder {path} cannot be used: {source}", path = path.display())]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another window has the folder open.
    #[error("the dedup folder {path} is in use by another process", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another version of Lakegate wrote the folder. Setting it aside would forget its identities, so a person must decide.
    #[error("{path} has dedup format {version}, which this version does not read", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The background thread could not be started.
    #[error("the dedup thread could not be started: {0}")]
    Thread(io::Error),
}

/// Why identities are not sealed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// The run could not be written. It is retried in the background; ask again later.
    #[error("sealing the dedup window to disk failed: {0}")]
    Disk(Arc<io::Error>),
    /// The window's background thread has ended.
    #[error("the dedup window is closed")]
    Stopped,
}
