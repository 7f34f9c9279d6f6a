//! Where the newest segment ends: the one place at which a crash and a decayed disk must be told apart.

use std::sync::Arc;

use super::{
    disk::DiskFile,
    frame::{FRAME_HEADER_BYTES, Salt},
    scan::{Scan, Step},
    segment::SEGMENT_HEADER_BYTES,
};

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
    /// It cannot be told. None of its frames has this sequence number or a higher one.
    Unknown { seq_bound: u64 },
}

impl Tail {
    /// Reads the segment through.
    ///
    /// A group whose fsync a crash interrupted may have reached the disk in any part, so a hole in it, with whole frames
    /// behind, is nothing to report: all of it was unacknowledged, and it is cut from the hole on. But a hole before a
    /// frame that *began* a group is a hole in what was durable. It stays for the reader to find and to report, and the
    /// frames behind it stay too.
    pub(super) fn find(file: &Arc<dyn DiskFile>, salt: Salt, first_seq: u64, size: u64, has_header: bool) -> Self {
        let mut scan = Scan::new(Arc::clone(file), salt, first_seq, size);
        let (mut bytes, mut end_seq) = (SEGMENT_HEADER_BYTES, first_seq);
        let mut hole = None;
        loop {
            match scan.next(u64::MAX) {
                Ok(Step::Frame { starts_group, .. }) => {
                    if starts_group {
                        hole = None;
                    }
                    (bytes, end_seq) = (scan.offset(), scan.expected_seq());
                }
                Ok(Step::Damage { bytes, lost, frame_follows: true }) => hole = hole.or(Some((bytes.start, lost.start))),
                // The header was durable before the first frame was written. A bad header with nothing whole behind it
                // means that the file decayed, and its frames may have been acknowledged.
                Ok(Step::Damage { .. } | Step::End) if has_header || end_seq > first_seq => break,
                Ok(Step::Damage { .. } | Step::End) | Err(_) => {
                    let frames_max = size.saturating_sub(SEGMENT_HEADER_BYTES).div_ceil(FRAME_HEADER_BYTES as u64);
                    return Self::Unknown { seq_bound: first_seq + frames_max };
                }
            }
        }
        let (bytes, end_seq) = hole.unwrap_or((bytes, end_seq));
        Self::At { bytes, end_seq }
    }
}
