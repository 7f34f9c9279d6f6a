//! Inspects a spool's folder without opening the spool: nothing is changed, and a gateway may use it at the same time.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    cursor::{Cursor, Cursors, StoredCursors},
    disk::Disk,
    frame::{Frame, Salt},
    losses::{LOSSES_NAME, Loss, read_losses},
    recovery::spool_id,
    scan::{Scan, Step},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, parse_segment_name, quarantine_dir, segment_name},
};

/// Content of a spool's folder.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Id of the spool; `None` if it cannot be read.
    pub spool_id: Option<Uuid>,
    /// The position of the sink that has come the least far; `None` if it cannot be read.
    pub cursor: Option<Cursor>,
    /// The position of each sink with its name, if there are several.
    pub sinks: Vec<(String, Cursor)>,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentFile>,
    /// Files in the quarantine.
    pub quarantine: Vec<SegmentFile>,
    /// Recorded losses.
    pub losses: Vec<Loss>,
}

/// A segment, in the spool or in its quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// The spool that wrote it; `None` if its header is damaged.
    pub spool_id: Option<Uuid>,
    /// Its first sequence number.
    pub first_seq: u64,
    /// Its frames, if they were read.
    pub content: Option<SegmentContent>,
}

/// The frames of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentContent {
    /// Whole frames.
    pub frames: u64,
    /// One past the sequence number of the last whole frame.
    pub end_seq_exclusive: u64,
    /// Bytes that are not frames: damage, or in the newest segment a write in progress.
    pub damaged_bytes: u64,
    /// Frames missing between whole ones.
    pub lost_frames: u64,
    /// Blocks that cannot be read.
    pub unreadable_blocks: u64,
}

/// Inspects the spool in `dir`. `verify`: reads every frame.
///
/// # Errors
/// If the folder cannot be read.
pub fn inspect(disk: &dyn Disk, dir: &Path, verify: bool) -> io::Result<Inspection> {
    let spool_id = spool_id(disk, dir);
    let cursors = spool_id.and_then(|id| match StoredCursors::load(disk, dir, id) {
        Ok(StoredCursors::Read(cursors)) => Some(cursors),
        Ok(StoredCursors::Missing | StoredCursors::Damaged) | Err(_) => None,
    });
    let named = cursors.iter().flat_map(Cursors::named).filter(|(name, _)| !name.is_empty());
    let quarantine = quarantine_dir(dir);
    Ok(Inspection {
        spool_id,
        cursor: cursors.as_ref().map(Cursors::lowest),
        sinks: named.map(|(name, cursor)| (name.to_owned(), cursor)).collect(),
        segments: segments(disk, dir, spool_id, verify)?,
        quarantine: segments(disk, &quarantine, spool_id, true)?,
        losses: read_losses(disk, &quarantine),
    })
}

fn segments(disk: &dyn Disk, dir: &Path, spool_id: Option<Uuid>, reads: bool) -> io::Result<Vec<SegmentFile>> {
    let mut names = disk.list(dir)?;
    names.sort_unstable();
    let segments = names.into_iter().filter_map(|name| {
        let first_seq = seq_of(&name)?;
        let bytes = disk.size_at(&dir.join(&name)).unwrap_or(0);
        let header = disk.open(&dir.join(&name)).map(|file| SegmentHeader::read(&*file));
        let said = match header {
            Ok(SegmentHeader::Read { spool_id, .. }) => Some(spool_id),
            _ => None,
        };
        let content = reads.then(|| read_frames(disk, dir, &name, said.or(spool_id), &mut |_| ()).ok()).flatten();
        Some(SegmentFile { name, bytes, spool_id: said, first_seq, content })
    });
    Ok(segments.collect())
}

/// The sequence number in the name of a segment. In the quarantine, the name may have a further number at its end.
pub(super) fn seq_of(name: &str) -> Option<u64> {
    let length = segment_name(0).len();
    name.get(..length).and_then(parse_segment_name)
}

/// Reads the whole frames of the segment `name` in `dir`; skips damaged and unreadable bytes.
fn read_frames(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    spool_id: Option<Uuid>,
    frame_found: &mut dyn FnMut(Frame),
) -> io::Result<SegmentContent> {
    let (Some(first_seq), Some(spool_id)) = (seq_of(name), spool_id) else {
        return Err(io::Error::other("nothing says which spool wrote it"));
    };
    let file = disk.open(&dir.join(name))?;
    let size = file.size()?;
    let mut scan = Scan::new(Arc::clone(&file), Salt::of(spool_id), first_seq, size.max(SEGMENT_HEADER_BYTES));
    let mut content = SegmentContent { end_seq_exclusive: first_seq, ..SegmentContent::default() };
    loop {
        match scan.next(u64::MAX) {
            Ok(Step::Frame { frame, .. }) => {
                content.frames += 1;
                content.end_seq_exclusive = frame.seq + 1;
                frame_found(frame);
            }
            Ok(Step::Damage { bytes, lost, frame_follows }) => {
                content.damaged_bytes += bytes.end - bytes.start;
                content.lost_frames += if frame_follows { lost.end - lost.start } else { 0 };
            }
            Ok(Step::End) => return Ok(content),
            Err(fault) => {
                content.unreadable_blocks += 1;
                scan.give_up(fault.block);
            }
        }
    }
}

/// Whole frames of a quarantined segment that were never delivered: those recorded as lost that can be read after all, and all
/// frames of another spool, because their delivery is unknown here.
#[derive(Clone, Debug, Default)]
pub struct Salvageable {
    /// Recorded as lost by this spool: certainly not delivered.
    pub lost: Vec<Frame>,
    /// Frames of another spool.
    pub foreign: Vec<Frame>,
}

/// The frames that can be salvaged from `file` in the quarantine of the spool in `dir`.
///
/// # Errors
/// If the file cannot be read at all.
pub fn salvageable(disk: &dyn Disk, dir: &Path, whole: &Inspection, file: &SegmentFile) -> io::Result<Salvageable> {
    let mut found = Salvageable::default();
    let of_this = |loss: &&Loss| Some(loss.spool_id) == whole.spool_id;
    let lost: Vec<_> = whole.losses.iter().filter(of_this).map(|loss| loss.first_seq..loss.end_seq_exclusive).collect();
    let is_foreign = file.spool_id.is_some() && file.spool_id != whole.spool_id;
    read_frames(disk, &quarantine_dir(dir), &file.name, file.spool_id.or(whole.spool_id), &mut |frame| {
        // A small body must not keep the chunk that it was read with in memory.
        let frame = Frame { body: frame.body.to_vec().into(), ..frame };
        if is_foreign {
            found.foreign.push(frame);
        } else if lost.iter().any(|lost| lost.contains(&frame.seq)) {
            found.lost.push(frame);
        }
    })?;
    Ok(found)
}

/// Removes the files `names`, or all files, from the quarantine of the spool in `dir`. Returns their number.
///
/// # Errors
/// The disk's I/O error.
pub fn remove_quarantined(disk: &dyn Disk, dir: &Path, names: Option<&[String]>) -> io::Result<u64> {
    let quarantine = quarantine_dir(dir);
    let mut removed = 0;
    for name in disk.list(&quarantine)? {
        let is_ours = name == LOSSES_NAME || name == SALVAGED_NAME || seq_of(&name).is_some();
        if is_ours && names.is_none_or(|names| names.contains(&name)) {
            disk.remove(&quarantine.join(name))?;
            removed += 1;
        }
    }
    disk.open_dir(&quarantine)?.sync()?;
    Ok(removed)
}

/// Name of the list of salvaged events in the quarantine: one identity on each line.
pub const SALVAGED_NAME: &str = "salvaged.txt";
