//! Reads one segment, frame by frame, and skips damage.

use std::{collections::BTreeSet, io, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    disk::{DiskFile, read_full_at},
    frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, Salt},
    segment::SEGMENT_HEADER_BYTES,
};
use crate::{
    event::probable_uuid,
    limits::{SPOOL_READ_CHUNK_BYTES, SPOOL_UNREADABLE_BLOCK_BYTES},
};

/// See [`SPOOL_UNREADABLE_BLOCK_BYTES`].
pub(super) const BLOCK: u64 = SPOOL_UNREADABLE_BLOCK_BYTES as u64;

/// The next item in a segment.
#[derive(Debug)]
pub(super) enum Step {
    Frame {
        frame: Frame,
        /// Everything before this frame was durable when it was written.
        starts_group: bool,
    },
    /// Bytes that are not a frame.
    Damage {
        bytes: Range<u64>,
        /// The frames lost in these bytes. Empty if the bytes were inserted between two frames.
        lost: Range<u64>,
        /// Whether a whole frame follows.
        frame_follows: bool,
    },
    End,
}

/// A block that cannot be read now.
#[derive(Debug)]
pub(super) struct ReadFault {
    /// Offset of the block.
    pub(super) block: u64,
    pub(super) error: io::Error,
}

/// A position in one segment.
#[derive(Clone)]
pub(super) struct Scan {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    chunk: Bytes,
    chunk_start: u64,
    /// Offset of the next frame.
    offset: u64,
    /// Durable length of the file: nothing beyond it is read.
    end: u64,
    /// Sequence number of the next frame.
    expected_seq: u64,
    /// Blocks that were given up: they count as damaged, even if a later read succeeds.
    given_up: BTreeSet<u64>,
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
            given_up: BTreeSet::new(),
        }
    }

    /// Offset of the next frame.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn expected_seq(&self) -> u64 {
        self.expected_seq
    }

    /// Extends the scan to a grown file.
    pub(super) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// Marks the block that begins here as damaged.
    pub(super) fn give_up(&mut self, block: u64) {
        self.given_up.insert(block);
        self.forget_chunk();
    }

    /// Whether the block was given up.
    pub(super) fn has_given_up(&self, block: u64) -> bool {
        self.given_up.contains(&block)
    }

    /// Whether any block was given up.
    pub(super) fn has_given_up_any(&self) -> bool {
        !self.given_up.is_empty()
    }

    fn forget_chunk(&mut self) {
        self.chunk = Bytes::new();
    }

    /// Whether the block can be read after all, from the disk itself and not from the system's cache.
    pub(super) fn yields(&self, block: u64) -> bool {
        let mut bytes = vec![0; SPOOL_UNREADABLE_BLOCK_BYTES];
        let size = self.end.saturating_sub(block).min(BLOCK) as usize;
        self.file.forget_cached().is_ok() && read_full_at(&*self.file, &mut bytes[..size], block).is_ok()
    }

    /// Advances by one frame, or by one damaged range. Frames at `seq_end` or beyond belong to other segments.
    ///
    /// # Errors
    /// The disk's I/O error; the position does not move.
    pub(super) fn next(&mut self, seq_end: u64) -> Result<Step, ReadFault> {
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

    /// Searches for the next whole frame, byte by byte, because the length of a damaged frame cannot be trusted.
    fn skip_damage(&mut self, seq_end: u64) -> Result<Step, ReadFault> {
        let (damage_start, expected) = (self.offset, self.expected_seq);
        for offset in damage_start + 1..self.end {
            // Each lost frame took at least its header. This limit rejects bytes that only look like a frame.
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

    /// The frame at `offset`, if it is whole and has one of these sequence numbers.
    fn frame_at(&mut self, offset: u64, seqs: std::ops::RangeInclusive<u64>) -> Result<Option<(FrameHeader, Bytes)>, ReadFault> {
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

    /// Frames that the damaged `bytes` seem to have held, from their headers: sequence number and end of each. Stops at the
    /// first header that cannot be valid. Nothing proves any of it.
    pub(super) fn seeming_frames(&self, bytes: Range<u64>, first_seq: u64) -> Vec<SeemingFrame> {
        let mut found = Vec::new();
        let (mut offset, mut seq) = (bytes.start, first_seq);
        while let Some(frame) = self.seeming_frame(offset, seq, bytes.end) {
            (offset, seq) = (frame.end, seq + 1);
            found.push(frame);
        }
        found
    }

    fn seeming_frame(&self, offset: u64, seq: u64, end: u64) -> Option<SeemingFrame> {
        let head: [u8; FRAME_HEADER_BYTES] = self.damaged_bytes(offset, end)?;
        let header = FrameHeader::parse(&head).filter(|header| header.seq == seq)?;
        let frame_end = offset + header.frame_bytes() as u64;
        (frame_end <= end).then(|| SeemingFrame { seq, end: frame_end, event: self.probable_event(offset, frame_end) })
    }

    /// Whether the frame that begins here is longer than the file: a write that a crash interrupted.
    pub(super) fn runs_past_the_end(&self, offset: u64, seq: u64) -> bool {
        let head: Option<[u8; FRAME_HEADER_BYTES]> = self.damaged_bytes(offset, self.end);
        let header = head.as_ref().and_then(FrameHeader::parse).filter(|header| header.seq == seq);
        header.is_some_and(|header| offset + header.frame_bytes() as u64 > self.end)
    }

    /// Whether the byte lies in a block that was given up.
    pub(super) fn cannot_read(&self, offset: u64) -> bool {
        self.given_up.contains(&(offset - offset % BLOCK))
    }

    /// The event whose frame, header included, was in these bytes.
    pub(super) fn probable_event(&self, start: u64, end: u64) -> Option<uuid::Uuid> {
        let body: [u8; 26] = self.damaged_bytes(start + FRAME_HEADER_BYTES as u64, end)?;
        probable_uuid(&body)
    }

    /// Whether all of `bytes` are zero, as if a write never reached the disk. Unreadable bytes count as zero.
    pub(super) fn is_zero(&self, bytes: Range<u64>) -> bool {
        let mut offset = bytes.start;
        while offset < bytes.end {
            let size = (bytes.end - offset).min(BLOCK - offset % BLOCK) as usize;
            let mut block = vec![0; size];
            if read_full_at(&*self.file, &mut block, offset).is_ok() && block.iter().any(|byte| *byte != 0) {
                return false;
            }
            offset += size as u64;
        }
        true
    }

    fn damaged_bytes<const N: usize>(&self, offset: u64, end: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let is_whole = offset + N as u64 <= end && read_full_at(&*self.file, &mut bytes, offset).ok()? == N;
        is_whole.then_some(bytes)
    }

    /// Loads `size` bytes at `offset` into the chunk. Returns their position in it.
    fn load(&mut self, offset: u64, size: usize) -> Result<usize, ReadFault> {
        let is_loaded = offset >= self.chunk_start && offset + size as u64 <= self.chunk_start + self.chunk.len() as u64;
        if !is_loaded {
            let rest = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            // Bytes that the file should have but has not stay zero, and zeros are never a frame.
            let mut bytes = vec![0; size.max(rest.min(SPOOL_READ_CHUNK_BYTES))];
            let read = match self.given_up.is_empty() {
                true => read_full_at(&*self.file, &mut bytes, offset),
                false => Err(io::ErrorKind::Other.into()),
            };
            if read.is_err() {
                self.read_by_blocks(&mut bytes, offset, size)?;
            }
            self.chunk = bytes.into();
            self.chunk_start = offset;
        }
        Ok((offset - self.chunk_start) as usize)
    }

    /// Reads block by block, with zeros for blocks that were given up. If a block cannot be read, the bytes before it are
    /// enough if there are at least `size`.
    fn read_by_blocks(&self, bytes: &mut Vec<u8>, offset: u64, size: usize) -> Result<(), ReadFault> {
        let mut at = 0;
        while at < bytes.len() {
            let start = offset + at as u64;
            let block = start - start % BLOCK;
            let end = bytes.len().min((block + BLOCK - offset) as usize);
            if self.given_up.contains(&block) {
                bytes[at..end].fill(0);
            } else if let Err(error) = read_full_at(&*self.file, &mut bytes[at..end], start) {
                if at < size {
                    return Err(ReadFault { block, error });
                }
                bytes.truncate(at);
            }
            at = end;
        }
        Ok(())
    }
}

/// The content of a damaged frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeemingFrame {
    pub(super) seq: u64,
    pub(super) end: u64,
    pub(super) event: Option<uuid::Uuid>,
}
