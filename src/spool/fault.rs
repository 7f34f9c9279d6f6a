//! Classifies failed changes by the policy of [`crate::fault`], and replaces small files as a whole.

use std::{
    io::{self, IoSlice},
    path::Path,
};

use super::{
    disk::{Disk, DiskFile, write_all_at},
    folder::Folder,
};
use crate::fault::{FaultKind, Operation, fault_kind};

/// State after a failed change.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing changed; the next attempt may succeed.
    Refused(io::Error),
    /// The content of the disk is unknown, because an fsync or the undo of a change failed. Never retry; restart.
    Broken(io::Error),
    /// The file system is mounted read-only. Nothing changed, and nothing will change.
    ReadOnly(io::Error),
}

impl Fault {
    /// The state after a single operation failed.
    pub(super) fn of(error: io::Error, operation: Operation) -> Self {
        match fault_kind(&error, operation) {
            FaultKind::Medium if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(error),
            FaultKind::Medium => Self::Broken(error),
            FaultKind::Transient | FaultKind::NoSpace | FaultKind::Place => Self::Refused(error),
        }
    }

    pub(super) fn naming(error: io::Error) -> Self {
        Self::of(error, Operation::Name)
    }

    pub(super) fn writing(error: io::Error) -> Self {
        Self::of(error, Operation::Write)
    }

    pub(super) fn error(&self) -> &io::Error {
        match self {
            Self::Refused(error) | Self::Broken(error) | Self::ReadOnly(error) => error,
        }
    }
}

/// Suffix of an incomplete file. The next start removes leftovers of a crash.
pub(super) const TEMP_SUFFIX: &str = ".tmp";

/// Replaces `name` in `folder` by `bytes`, durably, so that a crash leaves the old content or the new one: written to a
/// temporary file, fsynced, renamed, the folder fsynced.
pub(super) fn replace_file(disk: &dyn Disk, folder: &Folder, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let temp = folder.join(format!("{name}{TEMP_SUFFIX}"));
    let renamed = create_with(disk, &temp, bytes).and_then(|file| {
        file.sync_data().map_err(Fault::Broken)?;
        disk.rename(&temp, &folder.join(name)).map_err(Fault::naming)
    });
    if let Err(fault) = renamed {
        // Only to free its bytes; a leftover does no harm.
        let _ = disk.remove(&temp);
        return Err(fault);
    }
    folder.sync().map_err(Fault::Broken)
}

/// Creates a file with `bytes`, not yet synced. Removes an existing file of that name.
pub(super) fn create_with(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<std::sync::Arc<dyn DiskFile>, Fault> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::naming(error)),
        _ => {}
    }
    let file = disk.create_new(path).map_err(Fault::naming)?;
    write_all_at(&*file, &mut [IoSlice::new(bytes)], 0).map_err(Fault::writing)?;
    Ok(file)
}

/// The file's content, at most `size_max` bytes.
pub(super) fn read_file(disk: &dyn Disk, path: &Path, size_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; size_max];
    let size = super::disk::read_full_at(&*file, &mut bytes, 0)?;
    bytes.truncate(size);
    Ok(bytes)
}

/// `fields` one after another, then their checksum: the format of every small record in a spool's folder.
pub(super) fn seal(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = fields.concat();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The bytes before the checksum, if the checksum is right.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (fields, crc) = bytes.split_last_chunk()?;
    (crc32c::crc32c(fields) == u32::from_le_bytes(*crc)).then_some(fields)
}
