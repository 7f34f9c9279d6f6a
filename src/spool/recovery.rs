//! Opens the folder: repairs, sets aside and reports what a crash or a decaying disk left.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;
use uuid::Uuid;

use super::{
    cursor::{Cursor, Cursors, StoredCursors},
    disk::{Disk, DiskFile},
    end_mark::EndMark,
    fault::{Fault, TEMP_SUFFIX, read_file, replace_file, seal, unseal},
    folder::Folder,
    frame::Salt,
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, create_segment, parse_segment_name, segment_path, set_aside},
    shared::{Segments, Span},
    tail::Tail,
    writer::Active,
};
use crate::fault::{FaultKind, Operation, fault_kind};

/// Name of the lock file.
pub(super) const LOCK_NAME: &str = "lock";
/// Name of the file with the spool's id.
pub(super) const ID_NAME: &str = "spool.id";
const ID_MAGIC: &[u8; 8] = b"LKGSPID1";
const ID_BYTES: usize = 8 + 16 + 4;

/// Operations that only read, as errors name them.
const READING: [&str; 4] = [LISTING, READING_ID, READING_CURSOR, "asking for a segment's length"];
const LISTING: &str = "listing the spool";
const READING_ID: &str = "reading the spool's id";
const READING_CURSOR: &str = "reading the cursor";

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
        /// The operation that failed.
        doing: &'static str,
        /// The I/O error.
        source: io::Error,
    },
}

/// What the start found, besides whole segments. The [`Reader`](super::Reader) *also* reports losses, exactly, when it comes
/// to the place. Count losses there, and only log these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes cut after the last whole frame: a write that a crash interrupted, never acknowledged.
    pub torn_bytes_cut: u64,
    /// Segments that a crash interrupted before their header was written. They held no frames and were removed.
    pub torn_segments_removed: u64,
    /// Incomplete files that a crash left, removed.
    pub temp_files_removed: u64,
    /// Segments of another spool, moved to `quarantine/`, and their sequence numbers.
    pub set_aside: Vec<(PathBuf, Range<u64>)>,
    /// Segments whose header decayed, or does not match the name. Their frames are read all the same.
    pub damaged_headers: Vec<PathBuf>,
    /// The newest segment is damaged at its end, so writing continues after all sequence numbers that it could hold.
    pub newest_unreadable: Option<PathBuf>,
    /// The cursor was unreadable, so all stored events will be delivered again.
    pub cursor_lost: bool,
    /// `spool.id` was unreadable and was restored from the segments.
    pub id_restored: bool,
}

impl OpenError {
    /// Whether a retry may help: a resource is missing for a moment, or something could not be read. A failed sync is never
    /// retried.
    pub(super) fn may_pass(&self) -> bool {
        let Self::Io { doing, source } = self else { return false };
        match fault_kind(source, Operation::Name) {
            FaultKind::Transient => true,
            FaultKind::Place => READING.contains(doing) && source.raw_os_error() == Some(Errno::IO.raw_os_error()),
            FaultKind::NoSpace | FaultKind::Medium => false,
        }
    }
}

impl RecoveryReport {
    /// Whether the folder was as a clean stop leaves it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Text for the log: what was found, or that nothing was.
impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut found = Vec::new();
        let mut count = |count: u64, what: &str| found.extend((count > 0).then(|| format!("{count} {what}")));
        count(self.torn_bytes_cut, "bytes of a write that a crash interrupted were cut");
        count(self.torn_segments_removed, "segments that a crash left without a header were removed");
        count(self.temp_files_removed, "unfinished files were removed");
        for (path, seqs) in &self.set_aside {
            found.push(format!(
                "{} with the events {} to {} is of another spool and was set aside",
                path.display(),
                seqs.start,
                seqs.end
            ));
        }
        found.extend(self.damaged_headers.iter().map(|path| format!("the header of {} is damaged", path.display())));
        found.extend(self.newest_unreadable.iter().map(|path| format!("{} is damaged at its end", path.display())));
        found.extend(
            self.cursor_lost.then(|| "the cursor is unreadable, so all events in the spool are delivered again".to_owned()),
        );
        found.extend(self.id_restored.then(|| "spool.id was unreadable and was restored".to_owned()));
        if found.is_empty() { f.write_str("nothing had to be repaired") } else { f.write_str(&found.join("; ")) }
    }
}

/// An opened folder.
pub(super) struct Recovered {
    pub(super) id: Uuid,
    pub(super) cursors: Cursors,
    pub(super) segments: Segments,
    pub(super) active: Active,
    pub(super) report: RecoveryReport,
}

/// Prepares the folder and reads it. The lock must be held. `gives_up`: an id or a cursor that cannot be read counts as
/// damaged, because its retry time is over.
pub(super) fn recover(disk: &dyn Disk, folder: &Folder, quarantine: &Folder, gives_up: bool) -> Result<Recovered, OpenError> {
    let mut report = RecoveryReport::default();
    let dir = folder.path();
    let mut found = list(disk, dir, &mut report)?;
    let stored_id = match load_id(disk, dir) {
        // The segments hold the id too.
        Err(error) if gives_up && error.may_pass() => None,
        loaded => loaded?,
    };
    let header_id = found.iter().rev().find_map(|segment| match segment.header {
        SegmentHeader::Read { spool_id, .. } => Some(spool_id),
        _ => None,
    });
    let mut id = stored_id.or(header_id).unwrap_or_else(Uuid::new_v4);
    report.id_restored = stored_id.is_none() && header_id.is_some();

    set_aside_strangers(disk, dir, quarantine, id, &mut found, &mut report)?;
    let torn_seq = remove_torn_creations(disk, dir, &mut found, &mut report)?;
    // Make the current names durable for the next crash. If a removed segment reappeared, it would say that the segment before
    // it ends there. If the newest one vanished, the frames acknowledged next would vanish too.
    folder.sync().map_err(sync_failed("syncing the spool's folder"))?;

    let stored = match StoredCursors::load(disk, dir, id).map_err(failed(READING_CURSOR)) {
        Err(error) if gives_up && error.may_pass() => StoredCursors::Damaged,
        loaded => loaded?,
    };
    if found.is_empty() && !matches!(stored, StoredCursors::Read(_)) {
        // No file tells which sequence numbers were used, so they begin again at 0, under a new id that sinks never saw.
        id = Uuid::new_v4();
    }
    if stored_id != Some(id) {
        replace_file(disk, folder, ID_NAME, &id_bytes(id)).map_err(fault("writing the spool's id"))?;
    }
    let first_seq = found.first().map_or(torn_seq, |first| first.first_seq);
    let cursors = match stored {
        StoredCursors::Read(cursors) => cursors,
        StoredCursors::Missing | StoredCursors::Damaged => {
            report.cursor_lost = stored == StoredCursors::Damaged || first_seq > 0;
            Cursors::one(Cursor { delivered_exclusive: first_seq, planned_end_exclusive: None })
        }
    };
    let mark = EndMark::load(disk, folder, id);
    // Everything below was durable once, so none of these numbers is used again, even if the frames are gone.
    let seq_floor = torn_seq.max(cursors.known_end()).max(mark.map_or(0, |mark| mark.end_seq));
    let (segments, active) = recover_segments(disk, folder, id, &found, seq_floor, mark, &mut report)?;
    Ok(Recovered { id, cursors, segments, active, report })
}

/// Content of the file with the spool's id.
pub(super) fn id_bytes(id: Uuid) -> Vec<u8> {
    seal(&[ID_MAGIC, id.as_bytes()])
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, source }
}

/// A failed sync must not be retried, whatever its error.
fn sync_failed(doing: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |error| OpenError::Io { doing, source: io::Error::other(error) }
}

fn fault(doing: &'static str) -> impl Fn(Fault) -> OpenError {
    move |fault| match fault {
        Fault::Broken(error) => sync_failed(doing)(error),
        Fault::Refused(error) | Fault::ReadOnly(error) => failed(doing)(error),
    }
}

/// A segment found in the folder.
struct Found {
    first_seq: u64,
    bytes: u64,
    header: SegmentHeader,
    /// Its file can be opened.
    opens: bool,
}

/// The segments in the folder, oldest first. Removes leftovers of files that were being replaced.
fn list(disk: &dyn Disk, dir: &Path, report: &mut RecoveryReport) -> Result<Vec<Found>, OpenError> {
    let names = disk.list(dir).map_err(failed(LISTING))?;
    for name in names.iter().filter(|name| name.ends_with(TEMP_SUFFIX)) {
        disk.remove(&dir.join(name)).map_err(failed("removing a temporary file"))?;
        report.temp_files_removed += 1;
    }
    let mut first_seqs: Vec<_> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    first_seqs.sort_unstable();
    let mut found = Vec::new();
    for &first_seq in &first_seqs {
        let segment = segment_path(dir, first_seq);
        let file = match disk.open(&segment) {
            Ok(file) => file,
            Err(error) if fault_kind(&error, Operation::Name) == FaultKind::Place => {
                // The segment stays in the list, and the reader retries it for its time.
                tracing::error!(segment = %segment.display(), %error, "a segment cannot be opened");
                let bytes = disk.size_at(&segment).unwrap_or(SEGMENT_HEADER_BYTES);
                let header = SegmentHeader::Damaged;
                found.push(Found { first_seq, bytes, header, opens: false });
                continue;
            }
            Err(error) => return Err(failed("opening a segment")(error)),
        };
        if first_seqs.last() == Some(&first_seq) {
            // After a failed fsync the system's cache may show a header or frames that the disk never got. (All other segments
            // were synced before the one after them began.) If the system refuses to drop its cache, only the following fsync
            // protects the data.
            let _ = file.forget_cached();
        }
        let bytes = file.size().map_err(failed("asking for a segment's length"))?;
        let header = match SegmentHeader::read(&*file) {
            SegmentHeader::Foreign { version } => return Err(OpenError::UnknownVersion { segment, version }),
            SegmentHeader::Read { first_seq: said, .. } if said != first_seq => SegmentHeader::Damaged,
            header => header,
        };
        found.push(Found { first_seq, bytes, header, opens: true });
    }
    Ok(found)
}

/// Id of the spool in `dir`, which may be open; `None` if there is no spool.
#[must_use]
pub fn spool_id(disk: &dyn Disk, dir: &Path) -> Option<Uuid> {
    load_id(disk, dir).ok().flatten()
}

/// The id in its file, if the file is whole.
pub(super) fn load_id(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, OpenError> {
    match read_file(disk, &dir.join(ID_NAME), ID_BYTES + 1) {
        Ok(bytes) => {
            let id = unseal(&bytes).and_then(|fields| fields.strip_prefix(ID_MAGIC));
            Ok(id.and_then(|id| Uuid::from_slice(id).ok()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(READING_ID)(error)),
    }
}

/// Moves segments of other spools to the quarantine, without replacing files there.
fn set_aside_strangers(
    disk: &dyn Disk,
    dir: &Path,
    quarantine: &Folder,
    id: Uuid,
    found: &mut Vec<Found>,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let mut kept: Vec<Found> = Vec::new();
    let mut next_seq = None;
    while let Some(segment) = found.pop() {
        let is_stranger = matches!(&segment.header, SegmentHeader::Read { spool_id, .. } if *spool_id != id);
        if is_stranger {
            let aside = set_aside(disk, dir, quarantine, segment.first_seq);
            let path = aside.map_err(fault("setting a segment aside"))?;
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

/// Removes the newest segment if a crash came before its header was durable, because no frame was ever written to it. Returns
/// its first sequence number, at which the segment before it ended.
fn remove_torn_creations(
    disk: &dyn Disk,
    dir: &Path,
    found: &mut Vec<Found>,
    report: &mut RecoveryReport,
) -> Result<u64, OpenError> {
    let is_torn =
        |segment: &mut Found| segment.opens && segment.header == SegmentHeader::Damaged && segment.bytes <= SEGMENT_HEADER_BYTES;
    let mut first_seq = 0;
    while let Some(torn) = found.pop_if(is_torn) {
        disk.remove(&segment_path(dir, torn.first_seq)).map_err(failed("removing a torn segment"))?;
        first_seq = first_seq.max(torn.first_seq);
        report.torn_segments_removed += 1;
    }
    Ok(first_seq)
}

/// Only the newest segment is read, because all others were durable before the one after them began.
fn recover_segments(
    disk: &dyn Disk,
    folder: &Folder,
    id: Uuid,
    found: &[Found],
    seq_floor: u64,
    mark: Option<EndMark>,
    report: &mut RecoveryReport,
) -> Result<(Segments, Active), OpenError> {
    let mut segments = Segments::default();
    for (segment, next) in found.iter().zip(found.iter().skip(1)) {
        segments.push(Span::new(segment.first_seq, next.first_seq, segment.bytes));
    }
    let mut begin_seq = seq_floor;
    if let Some(newest) = found.last() {
        let path = segment_path(folder.path(), newest.first_seq);
        let mark = mark.filter(|mark| mark.segment == newest.first_seq);
        let (tail, file) = read_newest(disk, &path, id, newest, mark, report)?;
        if let Some(file) = file.filter(|_| report.newest_unreadable.is_none() && tail.end_seq >= seq_floor) {
            segments.push(tail);
            let active =
                Active::new(folder, file, tail.first_seq, tail.bytes).map_err(failed("looking at the newest segment"))?;
            return Ok((segments, active));
        }
        begin_seq = seq_floor.max(tail.end_seq).max(tail.first_seq + 1);
        segments.push(Span { end_seq: begin_seq, ..tail });
    }
    let file = create_segment(disk, folder, id, begin_seq).map_err(fault("beginning a segment"))?;
    segments.push(Span::new(begin_seq, begin_seq, SEGMENT_HEADER_BYTES));
    let active = Active::new(folder, file, begin_seq, SEGMENT_HEADER_BYTES).map_err(failed("looking at the new segment"))?;
    Ok((segments, active))
}

/// Finds the end of the newest segment and cuts torn bytes. Returns no file if it cannot be opened.
fn read_newest(
    disk: &dyn Disk,
    path: &Path,
    id: Uuid,
    newest: &Found,
    mark: Option<EndMark>,
    report: &mut RecoveryReport,
) -> Result<(Span, Option<Arc<dyn DiskFile>>), OpenError> {
    let first_seq = newest.first_seq;
    if !newest.opens {
        report.newest_unreadable = Some(path.to_owned());
        return Ok((Span::new(first_seq, mark.map_or(first_seq, |mark| mark.end_seq), newest.bytes), None));
    }
    let file = disk.open(path).map_err(failed("opening the newest segment"))?;
    let has_header = newest.header != SegmentHeader::Damaged;
    let tail = Tail::find(&file, Salt::of(id), first_seq, newest.bytes, has_header, mark);
    let span = match tail.map_err(failed("reading the newest segment"))? {
        Tail::At { bytes, end_seq } => {
            if bytes < newest.bytes {
                file.truncate(bytes).map_err(failed("cutting the torn tail"))?;
                report.torn_bytes_cut = newest.bytes - bytes;
            }
            Span::new(first_seq, end_seq, bytes)
        }
        Tail::Damaged { end_seq } => {
            report.newest_unreadable = Some(path.to_owned());
            Span::new(first_seq, end_seq, newest.bytes)
        }
    };
    // Bytes that a dead process left in the system's cache are durable only after this sync.
    file.sync_data().map_err(sync_failed("syncing the newest segment"))?;
    Ok((span, Some(file)))
}
