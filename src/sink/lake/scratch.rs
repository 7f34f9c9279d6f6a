//! Scratch files: bytes that do not fit in memory, for as long as they are needed. The name of a scratch file is removed at
//! once, so a crash leaves nothing.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use uuid::Uuid;

/// The folder of the scratch files.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Scratch files in `folder`, which is created when it is needed.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Bytes that the file system of the folder has free, if that is known.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        // Created when it is needed; its parent is on the same file system then.
        let folder = self.folder.ancestors().find(|folder| folder.is_dir())?;
        let found = rustix::fs::statvfs(folder).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// A new empty file.
    pub(super) fn file(&self) -> io::Result<File> {
        let path = self.folder.join(format!(".lakegate-{}.tmp", Uuid::new_v4()));
        let create = || OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                create()?
            }
            file => file?,
        };
        fs::remove_file(&path)?;
        Ok(file)
    }
}
