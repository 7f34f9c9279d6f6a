//! The end mark: the end of what was certainly durable, written when the spool is idle.
//!
//! Each group of frames is proved by the next one, whose first frame says that everything before it was durable. Nothing in
//! the segments proves the last group. So the writer stores its end here when idle, and when it stops. Then damage in the last
//! group is recognized, and the lost sequence numbers are known. The mark is one small write in place, never in the path of an
//! append. A mark torn by a power cut is ignored, and the last group is unproved as before.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    disk::{Disk, DiskFile, write_all_at},
    fault::{Fault, read_file, replace_file, seal, unseal},
    folder::Folder,
};

const NAME: &str = "end";
const MAGIC: &[u8; 8] = b"LKGSEND1";
const BYTES: usize = 8 + 16 + 8 + 8 + 8 + 4;

/// Position up to which a segment was durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndMark {
    /// First sequence number of the newest segment.
    pub(super) segment: u64,
    /// Its durable length.
    pub(super) bytes: u64,
    /// One past the sequence number of its last frame.
    pub(super) end_seq: u64,
}

impl EndMark {
    /// The mark in `folder`, if it is whole and belongs to this spool.
    pub(super) fn load(disk: &dyn Disk, folder: &Folder, spool_id: Uuid) -> Option<Self> {
        let bytes = read_file(disk, &folder.join(NAME), BYTES + 1).ok()?;
        let fields = unseal(&bytes)?.strip_prefix(MAGIC)?.strip_prefix(spool_id.as_bytes())?;
        let number = |at: usize| Some(u64::from_le_bytes(fields.get(at..at + 8)?.try_into().ok()?));
        (fields.len() == 24).then_some(())?;
        Some(Self { segment: number(0)?, bytes: number(8)?, end_seq: number(16)? })
    }

    fn encode(self, spool_id: Uuid) -> Vec<u8> {
        let Self { segment, bytes, end_seq } = self;
        seal(&[MAGIC, spool_id.as_bytes(), &segment.to_le_bytes(), &bytes.to_le_bytes(), &end_seq.to_le_bytes()])
    }
}

/// The file of the mark, and its content.
pub(super) struct EndMarkFile {
    spool_id: Uuid,
    file: Option<Arc<dyn DiskFile>>,
    written: Option<EndMark>,
}

impl EndMarkFile {
    pub(super) fn new(spool_id: Uuid) -> Self {
        Self { spool_id, file: None, written: None }
    }

    /// Durably records that everything up to `mark` is durable.
    pub(super) fn write(&mut self, disk: &dyn Disk, folder: &Folder, mark: EndMark) -> Result<(), Fault> {
        if self.written == Some(mark) {
            return Ok(());
        }
        let bytes = mark.encode(self.spool_id);
        self.written = None;
        match &self.file {
            None => {
                replace_file(disk, folder, NAME, &bytes)?;
                self.file = Some(disk.open(&folder.join(NAME)).map_err(Fault::naming)?);
            }
            Some(file) => {
                write_all_at(&**file, &mut [IoSlice::new(&bytes)], 0).map_err(Fault::writing)?;
                file.sync_data().map_err(Fault::Broken)?;
            }
        }
        self.written = Some(mark);
        Ok(())
    }

    /// Checks that its file is still in place; if not, the next mark creates a new one.
    pub(super) fn look_after(&mut self, disk: &dyn Disk, folder: &Folder) -> io::Result<()> {
        if let Some(file) = &self.file
            && disk.id_at(&folder.join(NAME))? != Some(file.id()?)
        {
            (self.file, self.written) = (None, None);
        }
        Ok(())
    }
}
