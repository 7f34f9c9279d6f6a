//! Two kinds of failure that the writer and the cursor must tell apart, and the small files that are replaced whole.

use std::{
    io::{self, IoSlice},
    path::Path,
};

use super::disk::{Disk, DiskFile, write_all_at};

/// What a failed change left behind.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing changed; the next try may succeed.
    Refused(io::Error),
    /// Nobody can say what the disk holds: an fsync failed, or the way back. Never try again, restart.
    Broken(io::Error),
}

/// Suffix of a file that is not complete yet; what a crash leaves of it is removed at the next start.
pub(super) const TEMP_SUFFIX: &str = ".tmp";

/// Replaces `dir/name` by `bytes`, durably, so that a crash leaves the old content or the new one: written beside,
/// fsynced, renamed, the folder fsynced.
pub(super) fn replace_file(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let temp = dir.join(format!("{name}{TEMP_SUFFIX}"));
    let written = create_with(disk, &temp, bytes).map_err(Fault::Refused);
    let renamed = written.and_then(|file| {
        file.sync_data().map_err(Fault::Broken)?;
        disk.rename(&temp, &dir.join(name)).map_err(Fault::Refused)
    });
    if let Err(fault) = renamed {
        // Only to free its bytes; a leftover harms nothing.
        let _ = disk.remove(&temp);
        return Err(fault);
    }
    disk.sync_dir(dir).map_err(Fault::Broken)
}

/// A new file with `bytes`, not yet synced.
fn create_with(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<std::sync::Arc<dyn DiskFile>> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_new(path)?;
    write_all_at(&*file, &mut [IoSlice::new(bytes)], 0)?;
    Ok(file)
}

/// The file's whole content, at most `size_max` bytes of it.
pub(super) fn read_file(disk: &dyn Disk, path: &Path, size_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; size_max];
    let size = super::disk::read_full_at(&*file, &mut bytes, 0)?;
    bytes.truncate(size);
    Ok(bytes)
}

/// `fields` one after another, with a checksum behind them: the form of every small record in a spool's folder.
pub(super) fn seal(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = fields.concat();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The bytes before the checksum, if it is right.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (fields, crc) = bytes.split_last_chunk()?;
    (crc32c::crc32c(fields) == u32::from_le_bytes(*crc)).then_some(fields)
}
