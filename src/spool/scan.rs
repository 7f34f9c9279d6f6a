//! Reading one segment, frame by frame and past damage.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    disk::{DiskFile, read_full_at},
    frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, Salt},
    segment::SEGMENT_HEADER_BYTES,
};
use crate::limits::{SPOOL_READ_CHUNK_BYTES, SPOOL_UNREADABLE_BLOCK_BYTES};

/// What lies next in a segment.
#[derive(Debug)]
pub(super) enum Step {
    Frame {
        frame: Frame,
        /// All before this frame was durable when it was written.
        starts_group: bool,
    },
    /// Bytes that are no frame.
    Damage {
        bytes: Range<u64>,
        /// The frames that are missing for it: none, if the bytes were put between two.
        lost: Range<u64>,
        /// Whether a whole frame follows.
        frame_follows: bool,
    },
    End,
}

/// A position in one segment.
#[derive(Clone)]
pub(super) struct Scan {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    chunk: Bytes,
    chunk_start: u64,
    /// Where the next frame begins.
    offset: u64,
    /// Durable length of the file: nothing beyond it is looked at.
    end: u64,
    /// Sequence number that the next frame must have.
    expected_seq: u64,
    unreadable_as_damage: bool,
}

impl Scan {
    pub(super) fn new(file: Arc<dyn DiskFile>, salt: Salt, first_seq: u64, end: u64) -> Self {
        Self {
            file,
            salt,
            chunk: Bytes::new(),
            chunk_start: 0,
            offset: SEGMENT_HEADER_BYTES,
            end,
            expected_seq: first_seq,
            unreadable_as_damage: false,
        }
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn expected_seq(&self) -> u64 {
        self.expected_seq
    }

    /// The file has become longer.
    pub(super) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// Whether blocks that the disk fails to read are taken for damaged, instead of failing [`Scan::next`].
    pub(super) fn take_unreadable_for_damage(&mut self, yes: bool) {
        self.unreadable_as_damage = yes;
    }

    /// Goes one frame, or one stretch of damage, further. Frames at `seq_end` or beyond belong to other segments.
    ///
    /// # Errors
    /// The disk's; the position is then as it was.
    pub(super) fn next(&mut self, seq_end: u64) -> io::Result<Step> {
        if self.offset >= self.end || self.expected_seq >= seq_end {
            return Ok(Step::End);
        }
        let expected = self.expected_seq;
        match self.frame_at(self.offset, expected..=expected)? {
            Some((header, body)) => {
                self.offset += header.frame_bytes() as u64;
                self.expected_seq += 1;
                Ok(Step::Frame { frame: Frame { seq: header.seq, body }, starts_group: header.starts_group() })
            }
            None => self.skip_damage(seq_end),
        }
    }

    /// Looks for the next whole frame, byte by byte: a frame's length cannot be trusted when the frame cannot.
    fn skip_damage(&mut self, seq_end: u64) -> io::Result<Step> {
        let (damage_start, expected) = (self.offset, self.expected_seq);
        for offset in damage_start + 1..self.end {
            // Each lost frame took at least its header. This tells frames from what only looks like one.
            let lost_max = (offset - damage_start) / FRAME_HEADER_BYTES as u64;
            let seq_max = expected.saturating_add(lost_max).min(seq_end - 1);
            if let Some((header, _)) = self.frame_at(offset, expected..=seq_max)? {
                (self.offset, self.expected_seq) = (offset, header.seq);
                return Ok(Step::Damage { bytes: damage_start..offset, lost: expected..header.seq, frame_follows: true });
            }
        }
        (self.offset, self.expected_seq) = (self.end, seq_end);
        Ok(Step::Damage { bytes: damage_start..self.end, lost: expected..seq_end, frame_follows: false })
    }

    /// The frame at `offset`, if there is a whole one with one of these sequence numbers.
    fn frame_at(&mut self, offset: u64, seqs: std::ops::RangeInclusive<u64>) -> io::Result<Option<(FrameHeader, Bytes)>> {
        let rest = self.end - offset;
        if rest < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let at = self.load(offset, FRAME_HEADER_BYTES)?;
        let header = self.chunk[at..].first_chunk().and_then(FrameHeader::parse);
        let Some(header) = header.filter(|header| seqs.contains(&header.seq) && header.frame_bytes() as u64 <= rest) else {
            return Ok(None);
        };
        let at = self.load(offset, header.frame_bytes())?;
        let frame = at..at + header.frame_bytes();
        if !header.matches(self.salt, &self.chunk[frame.clone()]) {
            return Ok(None);
        }
        Ok(Some((header, self.chunk.slice(frame.start + FRAME_HEADER_BYTES..frame.end))))
    }

    /// Has the `size` bytes at `offset` in the chunk, and answers where in it.
    fn load(&mut self, offset: u64, size: usize) -> io::Result<usize> {
        let is_loaded = offset >= self.chunk_start && offset + size as u64 <= self.chunk_start + self.chunk.len() as u64;
        if !is_loaded {
            let rest = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            // Bytes that the file should have and has not stay zero, which no frame is.
            let mut bytes = vec![0; size.max(rest.min(SPOOL_READ_CHUNK_BYTES))];
            match read_full_at(&*self.file, &mut bytes, offset) {
                Err(failure) if self.unreadable_as_damage => self.read_around(&mut bytes, offset, failure)?,
                result => {
                    result?;
                }
            }
            self.chunk = bytes.into();
            self.chunk_start = offset;
        }
        Ok((offset - self.chunk_start) as usize)
    }

    /// Reads what the disk still yields, and zeros for the rest. A disk that yields nothing at all is gone, not damaged,
    /// and may come back: then the failure stays one.
    fn read_around(&self, bytes: &mut [u8], offset: u64, failure: io::Error) -> io::Result<()> {
        let mut answers = false;
        for (index, block) in bytes.chunks_mut(SPOOL_UNREADABLE_BLOCK_BYTES).enumerate() {
            match read_full_at(&*self.file, block, offset + (index * SPOOL_UNREADABLE_BLOCK_BYTES) as u64) {
                Ok(_) => answers = true,
                Err(_) => block.fill(0),
            }
        }
        let yields_header =
            || self.file.forget_cached().and_then(|()| read_full_at(&*self.file, &mut [0; SEGMENT_HEADER_BYTES as usize], 0));
        if answers || yields_header().is_ok() { Ok(()) } else { Err(failure) }
    }
}
