//! The cursor's file: the positions of all sinks, replaced as a whole.
//!
//! ```text
//! one sink        magic "LKGCURS1" | spool id | delivered u64 | planned end u64 (2^64-1: none) | crc u32
//! several sinks   magic "LKGCURS2" | spool id | (delivered u64 | planned end u64 | name length u8 | name)* | crc u32
//! ```
//!
//! The only sink of a spool has no name here, so that a gateway which knows one sink only reads the file too.

use std::{io, path::Path};

use uuid::Uuid;

use super::position::{Cursor, CursorName};
use crate::{
    limits::{SINK_NAME_CHARS_MAX, SINKS_MAX},
    spool::{
        disk::Disk,
        fault::{read_file, seal, unseal},
    },
};

/// Name of the file.
pub(in crate::spool) const CURSOR_NAME: &str = "cursor";
const MAGIC: &[u8; 8] = b"LKGCURS1";
const MAGIC_OF_SEVERAL: &[u8; 8] = b"LKGCURS2";
const NO_PLAN: u64 = u64::MAX;
const BYTES_MAX: usize = 8 + 16 + SINKS_MAX * (8 + 8 + 1 + SINK_NAME_CHARS_MAX) + 4;

const _: () = assert!(SINK_NAME_CHARS_MAX <= u8::MAX as usize, "its length is one byte");

/// The positions of all sinks of a spool, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spool) struct Cursors(pub(super) Vec<(CursorName, Cursor)>);

impl Default for Cursors {
    fn default() -> Self {
        Self::one(Cursor::default())
    }
}

impl Cursors {
    /// The position of the only sink.
    pub(in crate::spool) fn one(cursor: Cursor) -> Self {
        Self(vec![(CursorName::default(), cursor)])
    }

    /// The position of the sink that has come the least far.
    pub(in crate::spool) fn lowest(&self) -> Cursor {
        self.0.iter().map(|(_, cursor)| *cursor).min_by_key(|cursor| cursor.delivered_exclusive).unwrap_or_default()
    }

    /// One past the last number that any sink knows.
    pub(in crate::spool) fn known_end(&self) -> u64 {
        let ends = self.0.iter().map(|(_, cursor)| cursor.planned_end_exclusive.unwrap_or(0).max(cursor.delivered_exclusive));
        ends.max().unwrap_or(0)
    }

    /// The position of each sink with its name.
    pub(in crate::spool) fn named(&self) -> impl Iterator<Item = (&str, Cursor)> {
        self.0.iter().map(|(name, cursor)| (&**name, *cursor))
    }

    pub(super) fn encode(&self, spool_id: Uuid) -> Vec<u8> {
        let numbers = |cursor: &Cursor| {
            let planned = cursor.planned_end_exclusive.unwrap_or(NO_PLAN);
            [cursor.delivered_exclusive.to_le_bytes(), planned.to_le_bytes()].concat()
        };
        match &*self.0 {
            [(name, cursor)] if name.is_empty() => seal(&[MAGIC, spool_id.as_bytes(), &numbers(cursor)]),
            sinks => {
                let sink =
                    |(name, cursor): &(CursorName, Cursor)| [&*numbers(cursor), &[name.len() as u8], name.as_bytes()].concat();
                seal(&[MAGIC_OF_SEVERAL, spool_id.as_bytes(), &sinks.iter().flat_map(sink).collect::<Vec<u8>>()])
            }
        }
    }

    fn decode(bytes: &[u8], spool_id: Uuid) -> Option<Self> {
        let content = unseal(bytes)?;
        if let Some(numbers) = content.strip_prefix(MAGIC) {
            let (cursor, rest) = decode_numbers(numbers.strip_prefix(spool_id.as_bytes())?)?;
            return rest.is_empty().then(|| Self::one(cursor));
        }
        let mut rest = content.strip_prefix(MAGIC_OF_SEVERAL)?.strip_prefix(spool_id.as_bytes())?;
        let mut sinks = Vec::new();
        while !rest.is_empty() {
            let (cursor, named) = decode_numbers(rest)?;
            let (length, after) = named.split_first()?;
            let (name, after) = after.split_at_checked((*length).into())?;
            sinks.push((std::str::from_utf8(name).ok()?.into(), cursor));
            rest = after;
        }
        (!sinks.is_empty()).then_some(Self(sinks))
    }
}

fn decode_numbers(bytes: &[u8]) -> Option<(Cursor, &[u8])> {
    let (delivered, rest) = bytes.split_first_chunk()?;
    let (planned, rest) = rest.split_first_chunk()?;
    let planned = u64::from_le_bytes(*planned);
    let planned_end_exclusive = (planned != NO_PLAN).then_some(planned);
    Some((Cursor { delivered_exclusive: u64::from_le_bytes(*delivered), planned_end_exclusive }, rest))
}

/// Content of the cursor's file at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spool) enum StoredCursors {
    Read(Cursors),
    Missing,
    Damaged,
}

impl StoredCursors {
    pub(in crate::spool) fn load(disk: &dyn Disk, dir: &Path, spool_id: Uuid) -> io::Result<Self> {
        match read_file(disk, &dir.join(CURSOR_NAME), BYTES_MAX + 1) {
            Ok(bytes) => Ok(Cursors::decode(&bytes, spool_id).map_or(Self::Damaged, Self::Read)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_cut_or_flipped_anywhere_is_noticed() {
        let id = Uuid::from_u128(3);
        let cursor = |planned_end_exclusive| Cursor { delivered_exclusive: 0xA1B2_C3D4, planned_end_exclusive };
        let several = Cursors(vec![("lake".into(), cursor(Some(0x0102_0304))), ("kinesis".into(), cursor(None))]);
        for (cursors, bytes_expected) in [(Cursors::one(cursor(None)), 44), (Cursors::one(cursor(Some(7))), 44), (several, 73)] {
            let bytes = cursors.encode(id);
            assert_eq!(bytes.len(), bytes_expected);
            assert_eq!(Cursors::decode(&bytes, id), Some(cursors));
            assert_eq!(Cursors::decode(&bytes, Uuid::from_u128(4)), None, "the cursor of another spool");
            for cut in 0..bytes.len() {
                assert_eq!(Cursors::decode(&bytes[..cut], id), None, "cut at {cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Cursors::decode(&damaged, id), None, "bit {bit}");
            }
            assert_eq!(Cursors::decode(&[&bytes[..], b"x"].concat(), id), None, "longer than a cursor");
        }
    }
}
