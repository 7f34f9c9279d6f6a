//! The frame: one body with its length, checksum and sequence number (layout: see [the spool](super)).

use std::convert::Infallible;

use bytes::Bytes;
use uuid::Uuid;

use crate::limits::FRAME_BODY_BYTES_MAX;

/// Bytes before a frame's body.
pub(super) const FRAME_HEADER_BYTES: usize = 16;

/// Bit of the length that marks the start of a group commit: everything before this frame was durable when it was written.
const GROUP_START: u32 = 1 << 31;

const _: () = assert!(FRAME_BODY_BYTES_MAX < GROUP_START as usize);

/// A frame read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its position among all frames of this spool.
    pub seq: u64,
    /// The appended bytes. They share the memory of the chunk (128 KiB) that they were read with, so copy a small body that is
    /// kept for long.
    pub body: Bytes,
}

impl Frame {
    /// Bytes on disk, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        FRAME_HEADER_BYTES + self.body.len()
    }
}

/// Why a [`FrameBuffer`] rejected a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a body of {0} bytes; at most {FRAME_BODY_BYTES_MAX} are allowed")]
pub struct BodyTooLong(pub usize);

/// Frames of one append, built by the calling thread. The writer stamps the sequence numbers and checksums in place, so that
/// no byte is copied again on its way to the disk.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    frames: u64,
}

impl FrameBuffer {
    /// An empty buffer with room for `bytes`, including the 16 of each frame's header.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), frames: 0 }
    }

    /// Adds one frame. Its body is what `append_body` appends to the given vector.
    ///
    /// # Errors
    /// [`BodyTooLong`]; the buffer is unchanged.
    ///
    /// # Panics
    /// If `append_body` shortens the vector, which would damage earlier frames.
    pub fn push(&mut self, append_body: impl FnOnce(&mut Vec<u8>)) -> Result<(), BodyTooLong> {
        let append_body = |buffer: &mut Vec<u8>| {
            append_body(buffer);
            Ok::<(), Infallible>(())
        };
        self.try_push(append_body).map(|_| ())
    }

    /// Like [`push`](Self::push), but adds no frame if `append_body` fails.
    ///
    /// # Errors
    /// [`BodyTooLong`]; the buffer is unchanged.
    ///
    /// # Panics
    /// If `append_body` shortens the vector, which would damage earlier frames.
    pub fn try_push<T, E>(
        &mut self,
        append_body: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<Result<T, E>, BodyTooLong> {
        let start = self.bytes.len();
        let body_start = start + FRAME_HEADER_BYTES;
        self.bytes.resize(body_start, 0);
        let appended = append_body(&mut self.bytes);
        if appended.is_err() {
            self.bytes.truncate(start);
            return Ok(appended);
        }
        assert!(self.bytes.len() >= body_start, "a body is only ever appended");
        let body_bytes = self.bytes.len() - body_start;
        if body_bytes > FRAME_BODY_BYTES_MAX {
            self.bytes.truncate(start);
            return Err(BodyTooLong(body_bytes));
        }
        self.bytes[start..start + 4].copy_from_slice(&(body_bytes as u32).to_le_bytes());
        self.frames += 1;
        Ok(appended)
    }

    /// Keeps the frames for which `keep` returns true. `keep` is called with the index and the body of each frame, in order,
    /// and may change the body. If all are kept, no bytes move.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &mut [u8]) -> bool) {
        let (mut from, mut to, mut index, mut kept) = (0, 0, 0, 0);
        while let Some(header) = self.bytes[from..].first_chunk().and_then(FrameHeader::parse) {
            let end = from + header.frame_bytes();
            if keep(index, &mut self.bytes[from + FRAME_HEADER_BYTES..end]) {
                if from != to {
                    self.bytes.copy_within(from..end, to);
                }
                to += end - from;
                kept += 1;
            }
            (from, index) = (end, index + 1);
        }
        self.bytes.truncate(to);
        self.frames = kept;
    }

    /// The bodies, in order.
    #[cfg(test)]
    pub(crate) fn bodies(&self) -> Vec<&[u8]> {
        let (mut rest, mut bodies) = (self.bytes.as_slice(), Vec::new());
        while let Some(header) = rest.first_chunk().and_then(FrameHeader::parse) {
            let (frame, after) = rest.split_at(header.frame_bytes());
            bodies.push(&frame[FRAME_HEADER_BYTES..]);
            rest = after;
        }
        bodies
    }

    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Number of bytes, headers included: the size of the append on disk.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The frames as they are written to disk, after [`stamp`](Self::stamp).
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets the sequence numbers of the frames from `first_seq` on, and their checksums. Stamping again replaces both.
    pub(super) fn stamp(&mut self, salt: Salt, first_seq: u64, starts_group: bool) {
        let mut rest = self.bytes.as_mut_slice();
        let mut seq = first_seq;
        while let Some((head, _)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
            let mut length_word = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) & !GROUP_START;
            let frame_end = FRAME_HEADER_BYTES + length_word as usize;
            if starts_group && seq == first_seq {
                length_word |= GROUP_START;
            }
            let (frame, after) = rest.split_at_mut(frame_end);
            frame[0..4].copy_from_slice(&length_word.to_le_bytes());
            frame[8..16].copy_from_slice(&seq.to_le_bytes());
            let crc = salt.checksum(length_word, &frame[8..]);
            frame[4..8].copy_from_slice(&crc.to_le_bytes());
            seq += 1;
            rest = after;
        }
    }
}

/// The initial value of every checksum of a spool. It is made from the spool's random id, so that a scan of damaged bytes
/// accepts neither a frame of another spool nor one that a client wrote inside a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn of(spool_id: Uuid) -> Self {
        Self(crc32c::crc32c(spool_id.as_bytes()))
    }

    fn checksum(self, length_word: u32, seq_and_body: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &length_word.to_le_bytes()), seq_and_body)
    }
}

/// The first 16 bytes of a frame, not verified yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHeader {
    length_word: u32,
    crc: u32,
    pub(super) seq: u64,
}

impl FrameHeader {
    /// Parses 16 bytes; `None` if their length cannot be a frame's.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let [l0, l1, l2, l3, c0, c1, c2, c3, seq @ ..] = *bytes;
        let header = Self {
            length_word: u32::from_le_bytes([l0, l1, l2, l3]),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            seq: u64::from_le_bytes(seq),
        };
        (header.frame_bytes() <= FRAME_HEADER_BYTES + FRAME_BODY_BYTES_MAX).then_some(header)
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_bytes(self) -> usize {
        FRAME_HEADER_BYTES + (self.length_word & !GROUP_START) as usize
    }

    pub(super) fn starts_group(self) -> bool {
        self.length_word & GROUP_START != 0
    }

    /// Whether `frame`, all bytes of this frame, matches the checksum.
    pub(super) fn matches(self, salt: Salt, frame: &[u8]) -> bool {
        salt.checksum(self.length_word, &frame[8..]) == self.crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_over_the_limit_leaves_the_buffer_as_it_was() {
        let mut frames = FrameBuffer::default();
        frames.push(|buffer| buffer.extend_from_slice(b"one")).unwrap();
        let before = frames.as_bytes().to_vec();
        let too_long = frames.push(|buffer| buffer.resize(buffer.len() + FRAME_BODY_BYTES_MAX + 1, b'x'));
        assert_eq!(too_long, Err(BodyTooLong(FRAME_BODY_BYTES_MAX + 1)));
        assert_eq!((frames.as_bytes(), frames.frames()), (before.as_slice(), 1));
        assert_eq!(frames.push(|buffer| buffer.resize(buffer.len() + FRAME_BODY_BYTES_MAX, b'x')), Ok(()));
    }

    #[test]
    fn only_what_is_kept_stays_and_what_fails_is_never_there() {
        let mut frames = FrameBuffer::default();
        let mut push = |body: &[u8], result: Result<(), &'static str>| {
            frames.try_push(|buffer| {
                buffer.extend_from_slice(body);
                result
            })
        };
        assert_eq!(push(b"one", Ok(())), Ok(Ok(())));
        assert_eq!(push(b"no", Err("why")), Ok(Err("why")));
        for body in [b"".as_slice(), b"three", b"four", b"five!"] {
            assert_eq!(push(body, Ok(())), Ok(Ok(())));
        }
        let whole = frames.size();
        frames.retain(|_, _| true);
        assert_eq!((frames.frames(), frames.size()), (5, whole));
        frames.retain(|index, body| {
            body.make_ascii_uppercase();
            index % 3 != 0
        });
        assert_eq!((frames.bodies(), frames.frames()), (vec![b"".as_slice(), b"THREE", b"FIVE!"], 3));
        frames.retain(|_, _| false);
        assert_eq!((frames.frames(), frames.size()), (0, 0));
    }

    #[test]
    fn every_bit_of_a_frame_is_covered_by_its_checksum() {
        let salt = Salt::of(Uuid::from_u128(1));
        let mut frames = FrameBuffer::default();
        frames.push(|buffer| buffer.extend_from_slice(b"body")).unwrap();
        frames.stamp(salt, 7, true);
        let passes = |bytes: &[u8]| {
            let header = FrameHeader::parse(bytes.first_chunk().unwrap());
            header.is_some_and(|header| header.frame_bytes() == bytes.len() && header.matches(salt, bytes))
        };
        assert!(passes(frames.as_bytes()));
        for bit in 0..frames.size() * 8 {
            let mut damaged = frames.as_bytes().to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!passes(&damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_spool_does_not_pass() {
        let mut frames = FrameBuffer::default();
        frames.push(|buffer| buffer.extend_from_slice(b"body")).unwrap();
        frames.stamp(Salt::of(Uuid::from_u128(1)), 7, true);
        let header = FrameHeader::parse(frames.as_bytes().first_chunk().unwrap()).unwrap();
        assert!(!header.matches(Salt::of(Uuid::from_u128(2)), frames.as_bytes()));
    }

    #[test]
    fn only_the_first_frame_of_a_group_says_that_it_begins_one() {
        let mut frames = FrameBuffer::default();
        for body in [&b"a"[..], b"", b"ccc"] {
            frames.push(|buffer| buffer.extend_from_slice(body)).unwrap();
        }
        let starts = |frames: &FrameBuffer| {
            let mut rest = frames.as_bytes();
            let mut found = Vec::new();
            while let Some(header) = rest.first_chunk().and_then(FrameHeader::parse) {
                found.push((header.seq, header.starts_group()));
                rest = &rest[header.frame_bytes()..];
            }
            found
        };
        frames.stamp(Salt::of(Uuid::nil()), 5, true);
        assert_eq!(starts(&frames), [(5, true), (6, false), (7, false)]);
        // A group that the disk refused may be stamped again at another position in the next group.
        frames.stamp(Salt::of(Uuid::nil()), 8, false);
        assert_eq!(starts(&frames), [(8, false), (9, false), (10, false)]);
    }
}
