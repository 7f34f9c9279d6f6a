//! The cursor: the position up to which the spool has been delivered. A small file, replaced as a whole.

use std::{
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{
    disk::Disk,
    fault::{Fault, read_file, replace_file, seal, unseal},
    folder::Folder,
    shared::Shared,
};

/// Name of its file.
pub(super) const CURSOR_NAME: &str = "cursor";
const MAGIC: &[u8; 8] = b"LKGCURS1";
const NO_PLAN: u64 = u64::MAX;
const BYTES: usize = 8 + 16 + 8 + 8 + 4;

/// Position up to which the spool has been delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Everything below this sequence number is delivered and never needed again.
    pub delivered_exclusive: u64,
    /// End of the range whose delivery had begun. After a crash the same range, from `delivered_exclusive` to here, must be
    /// delivered again, because a sink may have named its output after the range.
    pub planned_end_exclusive: Option<u64>,
}

/// Why the cursor was not moved.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Below the cursor (it never moves back) or above the durable end.
    #[error("sequence number {seq} is outside {from_inclusive}..={to_inclusive}")]
    OutOfRange {
        /// The requested number.
        seq: u64,
        /// Least number allowed.
        from_inclusive: u64,
        /// Greatest number allowed.
        to_inclusive: u64,
    },
    /// The disk refused. The cursor did not move, and the next attempt may succeed.
    #[error("the cursor was not written: {0}")]
    Refused(#[source] io::Error),
    /// The spool has failed; the process must restart.
    #[error("the spool has failed")]
    Failed,
}

/// Content of the cursor's file at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredCursor {
    Read(Cursor),
    Missing,
    Damaged,
}

impl StoredCursor {
    pub(super) fn load(disk: &dyn Disk, dir: &Path, spool_id: Uuid) -> io::Result<Self> {
        match read_file(disk, &dir.join(CURSOR_NAME), BYTES + 1) {
            Ok(bytes) => Ok(decode(&bytes, spool_id).map_or(Self::Damaged, Self::Read)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }
}

fn encode(cursor: Cursor, spool_id: Uuid) -> Vec<u8> {
    let planned = cursor.planned_end_exclusive.unwrap_or(NO_PLAN);
    seal(&[MAGIC, spool_id.as_bytes(), &cursor.delivered_exclusive.to_le_bytes(), &planned.to_le_bytes()])
}

fn decode(bytes: &[u8], spool_id: Uuid) -> Option<Cursor> {
    let numbers = unseal(bytes)?.strip_prefix(MAGIC)?.strip_prefix(spool_id.as_bytes())?;
    let (delivered, planned) = numbers.split_first_chunk()?;
    let planned = u64::from_le_bytes(planned.try_into().ok()?);
    Some(Cursor {
        delivered_exclusive: u64::from_le_bytes(*delivered),
        planned_end_exclusive: (planned != NO_PLAN).then_some(planned),
    })
}

/// The cursor of an open spool. Its lock is held while its file is written, so that the value of [`CursorCell::get`] is
/// durable. No append waits for it.
#[derive(Debug)]
pub(super) struct CursorCell(Mutex<Cursor>);

impl CursorCell {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self(Mutex::new(cursor))
    }

    pub(super) fn get(&self) -> Cursor {
        *self.lock()
    }

    /// Writes the cursor's file again because it is gone. A cursor that was never written is not written.
    pub(super) fn restore(&self, shared: &Shared) -> Result<(), Fault> {
        let cursor = self.lock();
        if *cursor == Cursor::default() { Ok(()) } else { write(&*shared.disk, &shared.folder, *cursor, shared.id) }
    }

    fn lock(&self) -> MutexGuard<'_, Cursor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn commit(&self, shared: &Shared, seq: u64) -> Result<(), CursorError> {
        let mut cursor = self.lock();
        check_range(seq, cursor.delivered_exclusive, shared.durable_end())?;
        let planned_end_exclusive = cursor.planned_end_exclusive.filter(|end| *end > seq);
        store(shared, &mut cursor, Cursor { delivered_exclusive: seq, planned_end_exclusive })
    }

    pub(super) fn plan(&self, shared: &Shared, end_seq: u64) -> Result<(), CursorError> {
        let mut cursor = self.lock();
        check_range(end_seq, cursor.delivered_exclusive.saturating_add(1), shared.durable_end())?;
        let delivered_exclusive = cursor.delivered_exclusive;
        store(shared, &mut cursor, Cursor { delivered_exclusive, planned_end_exclusive: Some(end_seq) })
    }
}

fn check_range(seq: u64, from_inclusive: u64, to_inclusive: u64) -> Result<(), CursorError> {
    if (from_inclusive..=to_inclusive).contains(&seq) {
        return Ok(());
    }
    Err(CursorError::OutOfRange { seq, from_inclusive, to_inclusive })
}

fn store(shared: &Shared, cursor: &mut Cursor, new: Cursor) -> Result<(), CursorError> {
    if shared.has_failed() {
        // The folder may be what failed to sync, and a second fsync of it would prove nothing.
        return Err(CursorError::Failed);
    }
    if *cursor == new {
        return Ok(());
    }
    let stored = write(&*shared.disk, &shared.folder, new, shared.id);
    shared.note_cursor(stored.as_ref().err().map(Fault::error));
    match stored {
        Ok(()) => {
            *cursor = new;
            shared.set_delivered(new.delivered_exclusive);
            Ok(())
        }
        Err(Fault::Refused(error)) => Err(CursorError::Refused(error)),
        Err(Fault::ReadOnly(error)) => {
            shared.note_read_only();
            Err(CursorError::Refused(error))
        }
        Err(Fault::Broken(error)) => {
            shared.fail("writing the cursor", &error);
            Err(CursorError::Failed)
        }
    }
}

fn write(disk: &dyn Disk, folder: &Folder, cursor: Cursor, spool_id: Uuid) -> Result<(), Fault> {
    replace_file(disk, folder, CURSOR_NAME, &encode(cursor, spool_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_cut_or_flipped_anywhere_is_noticed() {
        let id = Uuid::from_u128(3);
        for planned_end_exclusive in [None, Some(0x0102_0304)] {
            let cursor = Cursor { delivered_exclusive: 0xA1B2_C3D4, planned_end_exclusive };
            let bytes = encode(cursor, id);
            assert_eq!(bytes.len(), BYTES);
            assert_eq!(decode(&bytes, id), Some(cursor));
            assert_eq!(decode(&bytes, Uuid::from_u128(4)), None, "the cursor of another spool");
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut], id), None, "cut at {cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&damaged, id), None, "bit {bit}");
            }
            assert_eq!(decode(&[&bytes[..], b"x"].concat(), id), None, "longer than a cursor");
        }
    }
}
