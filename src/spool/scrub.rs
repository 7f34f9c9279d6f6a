//! Erases events from the quarantine.
//!
//! A quarantined segment is kept for a person, who may salvage its whole frames. The bodies of erased frames are overwritten
//! with zeros in a copy, which then replaces the file: a crash leaves the old file or the new one. Such a frame counts as
//! damaged from then on. A file that is still a segment of the spool (a second name for it) is left until the segment is
//! unlinked, because deliverers read it.

use std::{
    io::{self, IoSlice},
    ops::Range,
    sync::Arc,
};

use uuid::Uuid;

use super::{
    disk::{Disk, DiskFile, read_full_at, write_all_at},
    fault::{Fault, TEMP_SUFFIX, read_file, replace_file},
    folder::Folder,
    frame::{Frame, Salt},
    inspect::{SALVAGED_NAME, seq_of},
    losses::{LOSSES_NAME, Loss},
    scan::{BLOCK, Scan, Step},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
    shared::Shared,
};
use crate::limits::SPOOL_READ_CHUNK_BYTES;

/// What the search of a quarantined file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchedFile {
    /// Its name.
    pub name: String,
    /// Whole frames that were searched.
    pub frames: u64,
    /// Those that are to be erased, or were.
    pub erased: u64,
    /// Bytes that are no frames, or cannot be read, so that they could not be searched.
    pub unsearched_bytes: u64,
    /// Whether it is still a segment of the spool: its erased frames go when the segment is unlinked.
    pub is_segment: bool,
}

/// Searches every segment in `quarantine`, and erases the frames that `is_erased` selects, unless `dry_run` is set.
/// `is_erased` gets the id of the spool that wrote the frame.
pub(super) fn scrub(
    disk: &dyn Disk,
    quarantine: &Folder,
    spool_id: Uuid,
    dry_run: bool,
    is_erased: &mut dyn FnMut(Uuid, &Frame) -> bool,
) -> Result<Vec<SearchedFile>, Fault> {
    let mut names = disk.list(quarantine.path()).map_err(Fault::naming)?;
    names.sort_unstable();
    let mut searched = Vec::new();
    for name in names {
        // A leftover of a copy that a crash interrupted.
        if name.ends_with(TEMP_SUFFIX) {
            if !dry_run {
                disk.remove(&quarantine.join(&name)).map_err(Fault::naming)?;
            }
            continue;
        }
        let Some(first_seq) = seq_of(&name) else { continue };
        let file = match disk.open(&quarantine.join(&name)) {
            Ok(file) => file,
            // A person may remove it at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Fault::naming(error)),
        };
        let mut found = SearchedFile { name, frames: 0, erased: 0, unsearched_bytes: 0, is_segment: false };
        let bodies = search(&file, first_seq, spool_id, &mut found, is_erased).map_err(Fault::naming)?;
        found.is_segment = file.links().map_err(Fault::naming)? > 1;
        if !bodies.is_empty() && !dry_run && !found.is_segment {
            overwrite(disk, quarantine, &found.name, &file, &bodies)?;
        }
        searched.push(found);
    }
    Ok(searched)
}

/// The places of the bodies of erased frames, in order.
fn search(
    file: &Arc<dyn DiskFile>,
    first_seq: u64,
    spool_id: Uuid,
    found: &mut SearchedFile,
    is_erased: &mut dyn FnMut(Uuid, &Frame) -> bool,
) -> io::Result<Vec<Range<u64>>> {
    let writer = match SegmentHeader::read(&**file) {
        SegmentHeader::Read { spool_id, .. } => spool_id,
        _ => spool_id,
    };
    let end = file.size()?.max(SEGMENT_HEADER_BYTES);
    let mut scan = Scan::new(Arc::clone(file), Salt::of(writer), first_seq, end);
    let mut bodies = Vec::new();
    loop {
        match scan.next(u64::MAX) {
            Ok(Step::Frame { frame, .. }) => {
                found.frames += 1;
                if is_erased(writer, &frame) {
                    found.erased += 1;
                    bodies.push(scan.offset() - frame.body.len() as u64..scan.offset());
                }
            }
            // Bytes that are zero hold nothing: those of a frame that was erased before.
            Ok(Step::Damage { bytes, .. }) => found.unsearched_bytes += bytes_left(&**file, bytes),
            Ok(Step::End) => return Ok(bodies),
            Err(fault) => scan.give_up(fault.block),
        }
    }
}

/// Bytes of `range` that are not zero. Bytes that cannot be read count.
fn bytes_left(file: &dyn DiskFile, range: Range<u64>) -> u64 {
    let mut left = 0;
    let mut buffer = vec![0; SPOOL_READ_CHUNK_BYTES];
    for start in range.clone().step_by(SPOOL_READ_CHUNK_BYTES) {
        let size = (range.end - start).min(SPOOL_READ_CHUNK_BYTES as u64) as usize;
        left += match read_full_at(file, &mut buffer[..size], start) {
            Ok(read) => buffer[..read].iter().filter(|byte| **byte != 0).count() as u64,
            Err(_) => size as u64,
        };
    }
    left
}

/// Replaces a file by a copy with zeros in these places, and in blocks that cannot be read.
fn overwrite(disk: &dyn Disk, folder: &Folder, name: &str, file: &Arc<dyn DiskFile>, zeros: &[Range<u64>]) -> Result<(), Fault> {
    let temp = folder.join(format!("{name}{TEMP_SUFFIX}"));
    match disk.remove(&temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::naming(error)),
        _ => {}
    }
    let copy = disk.create_new(&temp).map_err(Fault::naming)?;
    let end = file.size().map_err(Fault::naming)?;
    let mut buffer = vec![0; BLOCK as usize];
    for start in (0..end).step_by(BLOCK as usize) {
        let size = (end - start).min(BLOCK) as usize;
        let block = &mut buffer[..size];
        if read_full_at(&**file, block, start).is_err() {
            block.fill(0);
        }
        for zero in zeros.iter().filter(|zero| zero.start < start + size as u64 && zero.end > start) {
            let from = zero.start.saturating_sub(start) as usize;
            let to = (zero.end - start).min(size as u64) as usize;
            block[from..to].fill(0);
        }
        write_all_at(&*copy, &mut [IoSlice::new(block)], start).map_err(Fault::writing)?;
    }
    copy.sync_data().map_err(Fault::Broken)?;
    disk.rename(&temp, &folder.join(name)).map_err(Fault::naming)?;
    folder.sync().map_err(Fault::Broken)
}

/// Removes the identities that `is_erased` selects from the lists of lost and of salvaged events. Returns how many there were.
pub(super) fn scrub_lists(
    disk: &dyn Disk,
    quarantine: &Folder,
    dry_run: bool,
    is_erased: &dyn Fn(Uuid) -> bool,
) -> Result<u64, Fault> {
    let mut erased = 0;
    for name in [LOSSES_NAME, SALVAGED_NAME] {
        let path = quarantine.join(name);
        if disk.id_at(&path).map_err(Fault::naming)?.is_none() {
            continue;
        }
        let size = disk.size_at(&path).map_err(Fault::naming)?;
        let text = read_file(disk, &path, usize::try_from(size).unwrap_or(0)).map_err(Fault::naming)?;
        let mut kept = Vec::with_capacity(text.len());
        let before = erased;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            kept.extend(without_identities(line, is_erased, &mut erased));
        }
        if erased > before && !dry_run {
            replace_file(disk, quarantine, name, &kept)?;
        }
    }
    Ok(erased)
}

/// A line of a list without these identities. A line of another form stays as it is.
fn without_identities(line: &[u8], is_erased: &dyn Fn(Uuid) -> bool, erased: &mut u64) -> Vec<u8> {
    if let Ok(mut loss) = serde_json::from_slice::<Loss>(line) {
        let before = loss.probable_events.len();
        loss.probable_events.retain(|event| !is_erased(event.event_uuid));
        let gone = (before - loss.probable_events.len()) as u64;
        *erased += gone;
        if gone > 0 {
            let mut text = serde_json::to_vec(&loss).unwrap_or_default();
            text.push(b'\n');
            return text;
        }
    } else if Uuid::try_parse_ascii(line.trim_ascii()).is_ok_and(is_erased) {
        *erased += 1;
        return Vec::new();
    }
    line.to_vec()
}

/// Forgets the erased events whose segments are unlinked. Damaged segments went to the quarantine, so the frames are erased
/// there first.
pub(super) fn forget_unlinked(shared: &Shared) -> Result<(), Fault> {
    let Shared { disk, folder, quarantine, erased, id, .. } = shared;
    let first_seq = shared.segments().first_seq();
    let gone = erased.now();
    if gone.first().is_none_or(|seq| *seq >= first_seq) {
        return Ok(());
    }
    let is_gone = &mut |writer: Uuid, frame: &Frame| writer == *id && frame.seq < first_seq && gone.contains(&frame.seq);
    scrub(&**disk, quarantine, *id, false, is_gone)?;
    erased.forget_below(&**disk, folder, first_seq)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::mpsc};

    use super::super::{FrameBuffer, RealDisk, Spool, SpoolConfig};
    use super::*;
    use crate::conditions::Conditions;

    fn open(dir: &Path) -> Spool {
        let config = SpoolConfig {
            dir: dir.to_owned(),
            segment_bytes: 1 << 20,
            quota_bytes: 1 << 30,
            free_bytes_min: 0,
            queue_bytes_max: 1 << 20,
            unreadable: crate::limits::SPOOL_UNREADABLE_PATIENCE,
            conditions: Conditions::default(),
        };
        Spool::open(Arc::new(RealDisk), config).unwrap().0
    }

    fn append(spool: &Spool, bodies: &[&str]) {
        let mut frames = FrameBuffer::default();
        bodies.iter().for_each(|body| frames.push(|buffer| buffer.extend_from_slice(body.as_bytes())).unwrap());
        let (done, appended) = mpsc::channel();
        spool.append(frames, move |result| done.send(result.is_ok()).unwrap());
        assert!(appended.recv().unwrap());
    }

    fn bodies_of(searched: &mut Vec<String>) -> impl FnMut(Uuid, &Frame) -> bool + '_ {
        |_, frame| {
            searched.push(String::from_utf8_lossy(&frame.body).into_owned());
            searched.last().is_some_and(|body| body.starts_with("anna"))
        }
    }

    #[test]
    fn erased_frames_are_overwritten_in_the_quarantine_and_all_others_can_still_be_read() {
        let root = tempfile::tempdir().unwrap();
        let spool = open(root.path());
        append(&spool, &["anna 1", "olga", "anna 2", "anton"]);
        let segment = root.path().join("00000000000000000000.seg");
        let kept = root.path().join("quarantine/00000000000000000000.seg.1");
        fs::copy(&segment, &kept).unwrap();
        let mut searched = Vec::new();
        let dry = spool.erase_quarantined(true, &mut bodies_of(&mut searched)).unwrap();
        assert_eq!((dry[0].frames, dry[0].erased, dry[0].unsearched_bytes), (4, 2, 0));
        assert!(fs::read(&kept).unwrap() == fs::read(&segment).unwrap());
        let done = spool.erase_quarantined(false, &mut bodies_of(&mut searched)).unwrap();
        assert_eq!(done, dry);
        searched.clear();
        let again = spool.erase_quarantined(false, &mut bodies_of(&mut searched)).unwrap();
        assert_eq!((again[0].erased, searched), (0, vec!["olga".to_owned(), "anton".to_owned()]));
        let bytes = fs::read(&kept).unwrap();
        assert!(memchr::memmem::find(&bytes, b"anna").is_none() && bytes.len() == fs::read(&segment).unwrap().len());
        assert_eq!(spool.reader(0).read(9, 999).unwrap().frames.len(), 4, "the spool itself is not touched");
    }

    #[test]
    fn a_damaged_segment_that_is_in_use_is_overwritten_when_it_is_unlinked_and_the_list_is_shorter_then() {
        let root = tempfile::tempdir().unwrap();
        let spool = open(root.path());
        append(&spool, &["anna", "olga", "damaged", "anton"]);
        drop(spool);
        let segment = root.path().join("00000000000000000000.seg");
        let mut bytes = fs::read(&segment).unwrap();
        let at = memchr::memmem::find(&bytes, b"damaged").unwrap();
        bytes[at] ^= 1;
        fs::write(&segment, &bytes).unwrap();
        let spool = open(root.path());
        assert_eq!(spool.reader(0).read(9, 999).unwrap().lost, [2..3]);
        let _ = spool.erase(&[0]).unwrap();
        let mut searched = Vec::new();
        let found = spool.erase_quarantined(false, &mut bodies_of(&mut searched)).unwrap();
        assert!(found[0].is_segment && found[0].erased == 1 && found[0].unsearched_bytes > 0);
        assert_eq!(spool.reader(0).read(9, 999).unwrap().frames.len(), 3, "deliverers still read it");
        spool.first_sink().commit(4).unwrap();
        spool.roll_if_delivered();
        let started = std::time::Instant::now();
        while spool.unlink_delivered().unwrap() == 0 {
            assert!(started.elapsed().as_secs() < 20, "the segment is not closed");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert_eq!(spool.erased_events(), 0);
        let kept = fs::read(root.path().join("quarantine/00000000000000000000.seg")).unwrap();
        assert!(memchr::memmem::find(&kept, b"anna").is_none() && memchr::memmem::find(&kept, b"anton").is_some());
    }

    #[test]
    fn identities_leave_the_lists_of_lost_and_salvaged_events() {
        let root = tempfile::tempdir().unwrap();
        let spool = open(root.path());
        let quarantine = root.path().join("quarantine");
        let (anna, olga) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let loss = |uuids: &[Uuid]| {
            let events: Vec<_> = uuids.iter().map(|uuid| serde_json::json!({"seq": 1, "event_uuid": uuid})).collect();
            serde_json::json!({
                "spool_id": spool.id(), "first_seq": 1, "end_seq_exclusive": 3, "probable_events": events, "segment": "s",
                "bytes": null, "reason": "r", "at": "a"
            })
            .to_string()
        };
        fs::write(quarantine.join(LOSSES_NAME), format!("{}\nno loss\n", loss(&[anna, olga]))).unwrap();
        fs::write(quarantine.join(SALVAGED_NAME), format!("{olga}\n{anna}\n")).unwrap();
        let is_anna = |uuid: Uuid| uuid == anna;
        assert_eq!((spool.erase_listed(true, &is_anna).unwrap(), spool.erase_listed(false, &is_anna).unwrap()), (2, 2));
        assert_eq!(spool.erase_listed(false, &is_anna).unwrap(), 0);
        let text = fs::read_to_string(quarantine.join(LOSSES_NAME)).unwrap();
        assert!(text.contains(&olga.to_string()) && !text.contains(&anna.to_string()) && text.ends_with("no loss\n"));
        assert_eq!(fs::read_to_string(quarantine.join(SALVAGED_NAME)).unwrap(), format!("{olga}\n"));
    }
}
