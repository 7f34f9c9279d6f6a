//! A file that is written piece by piece, because it is too large for memory, and that gets its place when it is complete.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

/// A file without a place in the lake. It disappears when it is dropped.
#[derive(Debug)]
pub(in crate::sink::lake) struct Unfinished {
    pub(super) file: File,
    /// `None` if the file has no name at all.
    pub(super) path: Option<PathBuf>,
}

impl Unfinished {
    /// A handle to write the file.
    pub(in crate::sink::lake) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub(in crate::sink::lake) fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Best effort: otherwise the next start of a gateway removes it.
            let _ = fs::remove_file(path);
        }
    }
}
