//! Opening the folder: what a crash or a decaying disk left is made whole, or set aside, and told.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    cursor::{Cursor, StoredCursor},
    disk::Disk,
    fault::{Fault, TEMP_SUFFIX, read_file, replace_file, seal, unseal},
    frame::Salt,
    segment::{
        SEGMENT_HEADER_BYTES, SegmentHeader, create_segment, parse_segment_name, quarantine_dir, segment_name, segment_path,
    },
    shared::{Segments, Span},
    tail::Tail,
    writer::Active,
};

const ID_NAME: &str = "spool.id";
const ID_MAGIC: &[u8; 8] = b"LKGSPID1";
const ID_BYTES: usize = 8 + 16 + 4;

/// Why a spool cannot be opened. Damage is never a reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another spool of this one, has the folder open.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// A segment was written by another version of this program.
    #[error("{} has format version {version}, which this program does not know", .segment.display())]
    UnknownVersion {
        /// The segment.
        segment: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The disk failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The disk's answer.
        source: io::Error,
    },
}

/// What was found at the start, beside whole segments. Losses are *also* returned by the [`Reader`](super::Reader) that
/// comes to the place, exactly; count them there, and log these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes behind the last whole frame that were cut: a write that a crash interrupted, never acknowledged.
    pub torn_bytes_cut: u64,
    /// Segments that a crash interrupted before their header was written; removed, they held nothing.
    pub torn_segments_removed: u64,
    /// Files that a crash left before they were complete; removed.
    pub temp_files_removed: u64,
    /// Segments of another spool, moved to `quarantine/`, and the sequence numbers they stood for.
    pub set_aside: Vec<(PathBuf, Range<u64>)>,
    /// Segments whose header decayed, or says another name. Their frames are read all the same.
    pub damaged_headers: Vec<PathBuf>,
    /// The newest segment could not be read to its end, so writing goes on behind all sequence numbers that it could hold.
    pub newest_unreadable: Option<PathBuf>,
    /// The cursor was unreadable, so all that is stored will be delivered again.
    pub cursor_lost: bool,
    /// `spool.id` was unreadable and was restored from the segments.
    pub id_restored: bool,
}

impl RecoveryReport {
    /// Whether the folder was as a clean stop leaves it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// An opened folder.
pub(super) struct Recovered {
    pub(super) id: Uuid,
    pub(super) cursor: Cursor,
    pub(super) segments: Segments,
    pub(super) active: Active,
    pub(super) report: RecoveryReport,
}

/// Makes the folder ready and reads it. The lock must be held.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered, OpenError> {
    let mut report = RecoveryReport::default();
    disk.make_dir(&quarantine_dir(dir)).map_err(failed("making the quarantine folder"))?;
    let mut found = list(disk, dir, &mut report)?;
    let stored_id = load_id(disk, dir)?;
    let header_id = found.iter().rev().find_map(|segment| match segment.header {
        SegmentHeader::Read { spool_id, .. } => Some(spool_id),
        _ => None,
    });
    let mut id = stored_id.or(header_id).unwrap_or_else(Uuid::new_v4);
    report.id_restored = stored_id.is_none() && header_id.is_some();

    set_aside_strangers(disk, dir, id, &mut found, &mut report)?;
    let torn_seq = remove_torn_creations(disk, dir, &mut found, &mut report)?;
    // The names as they are now must be what the next crash finds: should a removed segment reappear, it would say that
    // the segment before it ends there. And should the newest one vanish, so would what is about to be acknowledged.
    disk.sync_dir(dir).map_err(failed("syncing the spool's folder"))?;

    let stored = StoredCursor::load(disk, dir, id).map_err(failed("reading the cursor"))?;
    if found.is_empty() && !matches!(stored, StoredCursor::Read(_)) {
        // Nothing tells which sequence numbers were given out, so they begin anew, under a name that sinks never saw.
        id = Uuid::new_v4();
    }
    if stored_id != Some(id) {
        let bytes = seal(&[ID_MAGIC, id.as_bytes()]);
        replace_file(disk, dir, ID_NAME, &bytes).map_err(fault("writing the spool's id"))?;
    }
    let first_seq = found.first().map_or(torn_seq, |first| first.first_seq);
    let cursor = match stored {
        StoredCursor::Read(cursor) => cursor,
        StoredCursor::Missing | StoredCursor::Damaged => {
            report.cursor_lost = stored == StoredCursor::Damaged || first_seq > 0;
            Cursor { delivered_exclusive: first_seq, planned_end_exclusive: None }
        }
    };
    // What is below was durable once, whatever is left of it: none of these numbers is given out again.
    let seq_floor = torn_seq.max(cursor.delivered_exclusive).max(cursor.planned_end_exclusive.unwrap_or(0));
    let (segments, active) = recover_segments(disk, dir, id, &found, seq_floor, &mut report)?;
    Ok(Recovered { id, cursor, segments, active, report })
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, source }
}

fn fault(doing: &'static str) -> impl Fn(Fault) -> OpenError {
    move |fault| match fault {
        Fault::Refused(source) | Fault::Broken(source) => OpenError::Io { doing, source },
    }
}

/// A segment as it was found.
struct Found {
    first_seq: u64,
    bytes: u64,
    header: SegmentHeader,
}

/// The segments in the folder, oldest first. Leftovers of files that were being replaced are removed.
fn list(disk: &dyn Disk, dir: &Path, report: &mut RecoveryReport) -> Result<Vec<Found>, OpenError> {
    let names = disk.list(dir).map_err(failed("listing the spool"))?;
    for name in names.iter().filter(|name| name.ends_with(TEMP_SUFFIX)) {
        disk.remove(&dir.join(name)).map_err(failed("removing a temporary file"))?;
        report.temp_files_removed += 1;
    }
    let mut first_seqs: Vec<_> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    first_seqs.sort_unstable();
    let mut found = Vec::new();
    for &first_seq in &first_seqs {
        let segment = segment_path(dir, first_seq);
        let file = disk.open(&segment).map_err(failed("opening a segment"))?;
        if first_seqs.last() == Some(&first_seq) {
            // After a failed fsync the system's memory may show a header or frames that the disk never got. (All other
            // segments were synced before the one after them began.) If it refuses to forget them, the fsync that
            // follows is all there is.
            let _ = file.forget_cached();
        }
        let bytes = file.size().map_err(failed("asking for a segment's length"))?;
        let header = match SegmentHeader::read(&*file) {
            SegmentHeader::Foreign { version } => return Err(OpenError::UnknownVersion { segment, version }),
            SegmentHeader::Read { first_seq: said, .. } if said != first_seq => SegmentHeader::Damaged,
            header => header,
        };
        found.push(Found { first_seq, bytes, header });
    }
    Ok(found)
}

/// The id in its file, if it is whole.
/// Identity of the spool in `dir`, which may be open; `None` where there is none.
#[must_use]
pub fn spool_id(disk: &dyn Disk, dir: &Path) -> Option<Uuid> {
    load_id(disk, dir).ok().flatten()
}

fn load_id(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, OpenError> {
    match read_file(disk, &dir.join(ID_NAME), ID_BYTES + 1) {
        Ok(bytes) => {
            let id = unseal(&bytes).and_then(|fields| fields.strip_prefix(ID_MAGIC));
            Ok(id.and_then(|id| Uuid::from_slice(id).ok()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading the spool's id")(error)),
    }
}

/// Moves what is no segment of this spool out of the way, replacing nothing that was set aside before.
fn set_aside_strangers(
    disk: &dyn Disk,
    dir: &Path,
    id: Uuid,
    found: &mut Vec<Found>,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let quarantine = quarantine_dir(dir);
    let mut kept: Vec<Found> = Vec::new();
    let mut next_seq = None;
    while let Some(segment) = found.pop() {
        let is_stranger = matches!(&segment.header, SegmentHeader::Read { spool_id, .. } if *spool_id != id);
        if is_stranger {
            let taken = disk.list(&quarantine).map_err(failed("listing the quarantine"))?;
            let name = segment_name(segment.first_seq);
            let free = (1..).map(|n| format!("{name}.{n}")).find(|candidate| !taken.contains(candidate)).unwrap_or(name);
            let path = quarantine.join(free);
            disk.rename(&segment_path(dir, segment.first_seq), &path).map_err(failed("setting a segment aside"))?;
            disk.sync_dir(&quarantine).map_err(failed("syncing the quarantine folder"))?;
            report.set_aside.push((path, segment.first_seq..next_seq.unwrap_or(segment.first_seq)));
        } else {
            if segment.header == SegmentHeader::Damaged && segment.bytes > SEGMENT_HEADER_BYTES {
                report.damaged_headers.push(segment_path(dir, segment.first_seq));
            }
            next_seq = Some(segment.first_seq);
            kept.push(segment);
        }
    }
    kept.reverse();
    *found = kept;
    Ok(())
}

/// Removes the newest segment if a crash came before its header was durable: no frame was ever written to it. Answers the
/// sequence number that it was to begin with, at which the one before it ended.
fn remove_torn_creations(
    disk: &dyn Disk,
    dir: &Path,
    found: &mut Vec<Found>,
    report: &mut RecoveryReport,
) -> Result<u64, OpenError> {
    let is_torn = |segment: &mut Found| segment.header == SegmentHeader::Damaged && segment.bytes <= SEGMENT_HEADER_BYTES;
    let mut first_seq = 0;
    while let Some(torn) = found.pop_if(is_torn) {
        disk.remove(&segment_path(dir, torn.first_seq)).map_err(failed("removing a torn segment"))?;
        first_seq = first_seq.max(torn.first_seq);
        report.torn_segments_removed += 1;
    }
    Ok(first_seq)
}

/// Only the newest segment is read: all others were durable before the one after them began.
fn recover_segments(
    disk: &dyn Disk,
    dir: &Path,
    id: Uuid,
    found: &[Found],
    seq_floor: u64,
    report: &mut RecoveryReport,
) -> Result<(Segments, Active), OpenError> {
    let mut segments = Segments::default();
    for (segment, next) in found.iter().zip(found.iter().skip(1)) {
        segments.push(Span { first_seq: segment.first_seq, end_seq: next.first_seq, bytes: segment.bytes });
    }
    let mut begin_seq = seq_floor;
    if let Some(newest) = found.last() {
        let path = segment_path(dir, newest.first_seq);
        let file = disk.open(&path).map_err(failed("opening the newest segment"))?;
        let has_header = newest.header != SegmentHeader::Damaged;
        let tail = match Tail::find(&file, Salt::of(id), newest.first_seq, newest.bytes, has_header) {
            Tail::At { bytes, end_seq } => {
                if bytes < newest.bytes {
                    file.truncate(bytes).map_err(failed("cutting the torn tail"))?;
                    report.torn_bytes_cut = newest.bytes - bytes;
                }
                Span { first_seq: newest.first_seq, end_seq, bytes }
            }
            Tail::Unknown { seq_bound } => {
                report.newest_unreadable = Some(path);
                Span { first_seq: newest.first_seq, end_seq: seq_bound, bytes: newest.bytes }
            }
        };
        // What a dead process left in the system's memory counts as durable only now.
        file.sync_data().map_err(failed("syncing the newest segment"))?;
        if report.newest_unreadable.is_none() && tail.end_seq >= seq_floor {
            segments.push(tail);
            return Ok((segments, Active { file, first_seq: tail.first_seq, bytes: tail.bytes }));
        }
        begin_seq = seq_floor.max(tail.end_seq);
        segments.push(Span { end_seq: begin_seq, ..tail });
    }
    let file = create_segment(disk, dir, id, begin_seq).map_err(fault("beginning a segment"))?;
    segments.push(Span { first_seq: begin_seq, end_seq: begin_seq, bytes: SEGMENT_HEADER_BYTES });
    Ok((segments, Active { file, first_seq: begin_seq, bytes: SEGMENT_HEADER_BYTES }))
}
