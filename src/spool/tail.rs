//! Finds the end of the newest segment: the only place where a crash and a decayed disk must be told apart.
//!
//! Durability is proved up to the last frame that *began* a group, because everything before it was durable when it was
//! written, and up to the end mark. After that comes the last group, which may or may not have been acknowledged. There, a
//! killed process leaves whole frames or a short file. A power cut leaves zeros, or a short file, where the write did not
//! reach the disk. So:
//!
//! - if the file ends within a frame, or zeros begin where a frame should: the group is torn, and is cut without a report,
//!   because its sync had not ended, or the mark would cover it;
//! - any other bytes that are not a frame are damage: their sequence numbers may have been acknowledged, so they are reported
//!   as lost and never used again. After a power cut in the middle of a write, that may report a few that were never
//!   acknowledged.

use std::{io, sync::Arc};

use super::{
    disk::DiskFile,
    end_mark::EndMark,
    frame::{FRAME_HEADER_BYTES, Salt},
    scan::{Scan, Step},
    segment::SEGMENT_HEADER_BYTES,
};
use crate::fault::{FaultKind, Operation, fault_kind};

/// Where the newest segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// After its last valid frame; the bytes after it are torn.
    At {
        /// Length to keep.
        bytes: u64,
        /// One past the sequence number of the last frame.
        end_seq: u64,
    },
    /// The segment is damaged at its end. None of its frames has this sequence number or a higher one.
    Damaged { end_seq: u64 },
}

/// A hole in the unproved part.
struct Hole {
    start: u64,
    first_lost: u64,
}

impl Tail {
    /// Reads the whole segment.
    ///
    /// # Errors
    /// Transient errors. A block that cannot be read counts as damaged here; the reader retries it for its time.
    pub(super) fn find(
        file: &Arc<dyn DiskFile>,
        salt: Salt,
        first_seq: u64,
        size: u64,
        has_header: bool,
        mark: Option<EndMark>,
    ) -> io::Result<Self> {
        let proved = mark.map_or(0, |mark| mark.bytes);
        let mut scan = Scan::new(Arc::clone(file), salt, first_seq, size);
        let (mut bytes, mut end_seq) = (SEGMENT_HEADER_BYTES, first_seq);
        // The first hole that a power cut may have left. Everything from there on is cut, unless a later group proves it.
        let mut torn: Option<Hole> = None;
        loop {
            match scan.next(u64::MAX) {
                Ok(Step::Frame { starts_group, .. }) => {
                    if starts_group {
                        torn = None;
                    }
                    (bytes, end_seq) = (scan.offset(), scan.expected_seq());
                }
                Ok(Step::Damage { bytes: hole, lost, frame_follows: true }) => {
                    if hole.start >= proved && begins_with_zeros(&scan, hole.start, hole.end) {
                        torn = torn.or(Some(Hole { start: hole.start, first_lost: lost.start }));
                    }
                }
                Ok(Step::Damage { .. } | Step::End) => break,
                Err(fault) if fault_kind(&fault.error, Operation::Read) == FaultKind::Transient => return Err(fault.error),
                Err(fault) => {
                    if !scan.yields(fault.block) {
                        scan.give_up(fault.block);
                    }
                }
            }
        }
        if let Some(Hole { start, first_lost }) = torn {
            return Ok(Self::At { bytes: start, end_seq: first_lost });
        }
        if let Some(EndMark { bytes, end_seq, .. }) = mark.filter(|mark| mark.end_seq > end_seq) {
            let more =
                if bytes >= size || scan.is_torn(bytes, end_seq, size) { 0 } else { frames_max(&scan, bytes, end_seq, size) };
            return Ok(Self::Damaged { end_seq: end_seq + more });
        }
        let nothing_follows = bytes >= size;
        // The header was durable before the first frame was written. A bad header without a whole frame after it means that
        // the file decayed, and its frames may have been acknowledged.
        let is_whole = has_header || end_seq > first_seq;
        if is_whole && (nothing_follows || bytes >= proved && scan.is_torn(bytes, end_seq, size)) {
            return Ok(Self::At { bytes, end_seq });
        }
        Ok(Self::Damaged { end_seq: end_seq + frames_max(&scan, bytes, end_seq, size) })
    }
}

/// Maximum number of frames that the damaged rest of the file can have held.
fn frames_max(scan: &Scan, start: u64, first_seq: u64, size: u64) -> u64 {
    let seeming = scan.seeming_frames(start..size, first_seq);
    let (count, end) = seeming.last().map_or((0, start), |last| (seeming.len() as u64, last.end));
    let rest = size - end;
    if rest == 0 || count > 0 && begins_with_zeros(scan, end, size) {
        return count;
    }
    count + rest.div_ceil(FRAME_HEADER_BYTES as u64)
}

fn begins_with_zeros(scan: &Scan, start: u64, end: u64) -> bool {
    !scan.cannot_read(start) && scan.is_zero(start..end.min(start + FRAME_HEADER_BYTES as u64))
}

impl Scan {
    /// Whether the bytes after the last whole frame are a write that did not reach the disk.
    fn is_torn(&self, start: u64, expected_seq: u64, size: u64) -> bool {
        size - start < FRAME_HEADER_BYTES as u64
            || begins_with_zeros(self, start, size)
            || self.runs_past_the_end(start, expected_seq)
    }
}
