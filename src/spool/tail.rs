//! Where the newest segment ends: the one place at which a crash and a decayed disk must be told apart.
//!
//! What was durable is proved up to the last frame that *began* a group, because all before it was durable when it was written,
//! and up to the end mark. Behind that lies the last group, which may have been acknowledged or not. There, a process that was
//! killed leaves whole frames or a short file. A power cut leaves zeros, or a short file, where the write did not arrive. So:
//!
//! - the file ends within a frame, or zeros begin where a frame should: torn, and cut without a word, because the sync of that
//!   group had not ended, or the mark would know it;
//! - anything else that is no frame is damage: its numbers may have been acknowledged, so they are named as lost and never
//!   given again. After a power cut in the middle of a write that may name a few that were never acknowledged.

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
    /// Behind its last frame that counts; what follows is torn.
    At {
        /// Length to keep.
        bytes: u64,
        /// Sequence number after the last frame.
        end_seq: u64,
    },
    /// It is damaged at its end. None of its frames has this sequence number or a higher one.
    Damaged { end_seq: u64 },
}

/// A hole in what is not proved.
struct Hole {
    start: u64,
    first_lost: u64,
}

impl Tail {
    /// Reads the segment through.
    ///
    /// # Errors
    /// Those that pass by themselves. A block that cannot be read counts as damaged here; the reader gives it its time.
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
        // The first hole that a power cut may have left: from there on everything is cut, unless a later group proves it.
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
        // The header was durable before the first frame was written. A bad header with nothing whole behind it means that the
        // file decayed, and its frames may have been acknowledged.
        let is_whole = has_header || end_seq > first_seq;
        if is_whole && (nothing_follows || bytes >= proved && scan.is_torn(bytes, end_seq, size)) {
            return Ok(Self::At { bytes, end_seq });
        }
        Ok(Self::Damaged { end_seq: end_seq + frames_max(&scan, bytes, end_seq, size) })
    }
}

/// How many frames the damaged rest of the file can have held.
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
    /// Whether what follows the last whole frame is a write that did not arrive.
    fn is_torn(&self, start: u64, expected_seq: u64, size: u64) -> bool {
        size - start < FRAME_HEADER_BYTES as u64
            || begins_with_zeros(self, start, size)
            || self.runs_past_the_end(start, expected_seq)
    }
}
