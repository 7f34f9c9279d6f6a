//! The segment: a file of frames, named by the sequence number of its first frame (layout: see [the spool](super)).

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    disk::{Disk, DiskFile, read_full_at, write_all_at},
    fault::{Fault, seal, unseal},
    folder::Folder,
};

/// Bytes before a segment's first frame.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 40;

const MAGIC: &[u8; 8] = b"LKGSPOOL";
const VERSION: u32 = 1;

/// `00000000000000000042.seg`: twenty digits fit every u64, and the names sort like the numbers.
pub(super) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The sequence number in a segment's name; `None` for any other file.
pub(super) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// Path of the segment, in the spool's folder or in its quarantine.
pub(super) fn segment_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(segment_name(first_seq))
}

/// Content of a segment's header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    /// Whole and of this version.
    Read { spool_id: Uuid, first_seq: u64 },
    /// Whole, but of a version that this program does not know.
    Foreign { version: u32 },
    /// Torn or decayed.
    Damaged,
}

impl SegmentHeader {
    /// Reads the header of `file`. Unreadable bytes count as damaged.
    pub(super) fn read(file: &dyn DiskFile) -> Self {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        match read_full_at(file, &mut bytes, 0) {
            Ok(_) => Self::decode(&bytes),
            Err(_) => Self::Damaged,
        }
    }

    fn encode(spool_id: Uuid, first_seq: u64) -> Vec<u8> {
        seal(&[MAGIC, &VERSION.to_le_bytes(), spool_id.as_bytes(), &first_seq.to_le_bytes()])
    }

    fn decode(bytes: &[u8]) -> Self {
        let Some(fields) = unseal(bytes).and_then(|fields| fields.strip_prefix(MAGIC)) else {
            return Self::Damaged;
        };
        let Some((version, fields)) = fields.split_first_chunk() else { return Self::Damaged };
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Self::Foreign { version };
        }
        match fields.split_first_chunk().map(|(id, seq)| (Uuid::from_bytes(*id), <[u8; 8]>::try_from(seq))) {
            Some((spool_id, Ok(first_seq))) => Self::Read { spool_id, first_seq: u64::from_le_bytes(first_seq) },
            _ => Self::Damaged,
        }
    }
}

/// Creates the segment that begins with `first_seq`. File, header and name are durable when this returns.
///
/// If the disk refuses, the creation is undone *durably*. Otherwise the name could reappear after a crash and say that the
/// segment before it ends there, although more frames were written to that segment.
pub(super) fn create_segment(disk: &dyn Disk, folder: &Folder, id: Uuid, first_seq: u64) -> Result<Arc<dyn DiskFile>, Fault> {
    let path = segment_path(folder.path(), first_seq);
    let file = disk.create_new(&path).map_err(Fault::naming)?;
    if let Err(refusal) = write_all_at(&*file, &mut [IoSlice::new(&SegmentHeader::encode(id, first_seq))], 0) {
        disk.remove(&path).and_then(|()| folder.sync()).map_err(Fault::Broken)?;
        return Err(Fault::writing(refusal));
    }
    file.sync_data().and_then(|()| folder.sync()).map_err(Fault::Broken)?;
    Ok(file)
}

/// Keeps a damaged segment for a person: a second name in `quarantine` for the same file, which takes no extra space until the
/// segment is unlinked. Done once; further damage changes nothing.
pub(super) fn quarantine_segment(disk: &dyn Disk, dir: &Path, quarantine: &Folder, first_seq: u64) -> Result<(), Fault> {
    let segment = segment_path(dir, first_seq);
    let Some(id) = disk.id_at(&segment).map_err(Fault::naming)? else { return Ok(()) };
    for path in names_in_quarantine(quarantine, first_seq) {
        match disk.id_at(&path).map_err(Fault::naming)? {
            Some(there) if there == id => return Ok(()),
            // It belongs to an earlier spool, or was set aside before.
            Some(_) => {}
            None => {
                disk.link(&segment, &path).map_err(Fault::naming)?;
                return quarantine.sync().map_err(Fault::Broken);
            }
        }
    }
    unreachable!("there is always another name")
}

/// Moves a segment to the quarantine, under a free name.
pub(super) fn set_aside(disk: &dyn Disk, dir: &Path, quarantine: &Folder, first_seq: u64) -> Result<PathBuf, Fault> {
    for path in names_in_quarantine(quarantine, first_seq) {
        if disk.id_at(&path).map_err(Fault::naming)?.is_none() {
            disk.rename(&segment_path(dir, first_seq), &path).map_err(Fault::naming)?;
            quarantine.sync().map_err(Fault::Broken)?;
            return Ok(path);
        }
    }
    unreachable!("there is always another name")
}

/// Names that a segment may have in the quarantine: its own, then numbered ones.
fn names_in_quarantine(quarantine: &Folder, first_seq: u64) -> impl Iterator<Item = PathBuf> {
    let name = segment_name(first_seq);
    (0_u64..).map(move |n| quarantine.join(if n == 0 { name.clone() } else { format!("{name}.{n}") }))
}

/// The quarantine folder.
pub(super) fn quarantine_dir(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let id = Uuid::from_u128(5);
        let bytes = SegmentHeader::encode(id, 42);
        assert_eq!(bytes.len() as u64, SEGMENT_HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), SegmentHeader::Read { spool_id: id, first_seq: 42 });
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), SegmentHeader::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_another_version_is_told_from_damage() {
        let bytes = seal(&[MAGIC, &9u32.to_le_bytes(), &[0; 24]]);
        assert_eq!(SegmentHeader::decode(&bytes), SegmentHeader::Foreign { version: 9 });
    }

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
        for other in ["cursor", "1.seg", "+0000000000000000001.seg", "99999999999999999999.seg", "00000000000000000001.seg.tmp"] {
            assert_eq!(parse_segment_name(other), None, "{other}");
        }
    }
}
