//! The aggregated record of the Kinesis Producer Library (KPL), which KCL and Firehose unpack.
//!
//! ```text
//! F3 89 9A C2 | protobuf | MD5 of the protobuf (16 B)
//!
//! AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
//!                    repeated Record records = 3 }
//! Record           { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//!                    required bytes data = 3 }
//! ```

use md5::{Digest, Md5};

use super::entry::Entry;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const DIGEST_BYTES: usize = 16;
/// Digits of the greatest place.
const PLACE_BYTES_MAX: usize = 39;

// Field numbers with their wire type: 0 is a number, 2 is bytes with their length.
const PARTITION_KEY: u8 = 1 << 3 | 2;
const EXPLICIT_HASH_KEY: u8 = 2 << 3 | 2;
const RECORD: u8 = 3 << 3 | 2;
const PARTITION_KEY_INDEX: u8 = 1 << 3;
const EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
const DATA: u8 = 3 << 3 | 2;

/// The aggregated record of `entries`, which all go to the place of the first.
#[must_use]
pub(super) fn encode(entries: &[Entry], shares_key: bool) -> Vec<u8> {
    let mut size = KplSize::new(shares_key, &entries[0]);
    entries[1..].iter().for_each(|entry| size.add(entry));
    let mut out = Vec::with_capacity(size.bytes);
    out.extend_from_slice(&MAGIC);
    let keys = if shares_key { &entries[..1] } else { entries };
    for entry in keys {
        write_bytes(PARTITION_KEY, entry.key.as_bytes(), &mut out);
    }
    write_bytes(EXPLICIT_HASH_KEY, entries[0].place.to_string().as_bytes(), &mut out);
    for (index, entry) in entries.iter().enumerate() {
        let key_index = if shares_key { 0 } else { index as u64 };
        out.push(RECORD);
        write_varint(record_bytes(key_index, entry.data.len()) as u64, &mut out);
        out.push(PARTITION_KEY_INDEX);
        write_varint(key_index, &mut out);
        out.extend_from_slice(&[EXPLICIT_HASH_KEY_INDEX, 0]);
        write_bytes(DATA, &entry.data, &mut out);
    }
    let digest = Md5::digest(&out[MAGIC.len()..]);
    out.extend_from_slice(&digest);
    out
}

/// The size of an aggregated record, computed without writing it. Never too small.
#[derive(Clone, Copy, Debug)]
pub(super) struct KplSize {
    bytes: usize,
    entries: u64,
    shares_key: bool,
    outer_key_bytes: usize,
}

impl KplSize {
    pub(super) fn new(shares_key: bool, first: &Entry) -> Self {
        let place = 1 + 1 + PLACE_BYTES_MAX;
        let bytes = MAGIC.len() + place + DIGEST_BYTES;
        let mut size = Self { bytes, entries: 0, shares_key, outer_key_bytes: first.key.len() };
        size.add(first);
        size
    }

    /// The size with `entry` added, including the record's own partition key, which counts too.
    pub(super) fn with(&self, entry: &Entry) -> usize {
        let mut with = *self;
        with.add(entry);
        with.bytes + with.outer_key_bytes
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        if self.entries == 0 || !self.shares_key {
            self.bytes += 1 + varint_bytes(entry.key.len() as u64) + entry.key.len();
        }
        let record = record_bytes(if self.shares_key { 0 } else { self.entries }, entry.data.len());
        self.bytes += 1 + varint_bytes(record as u64) + record;
        self.entries += 1;
    }
}

/// The bytes of each event in an aggregated record, without their keys; `None` if `record` is none, or is not whole.
#[must_use]
pub(super) fn decode(record: &[u8]) -> Option<Vec<&[u8]>> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (mut message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let mut events = Vec::new();
    while !message.is_empty() {
        let (field, mut value) = read_field(&mut message)?;
        while field == u64::from(RECORD) && !value.is_empty() {
            let (field, data) = read_field(&mut value)?;
            if field == u64::from(DATA) {
                events.push(data);
            }
        }
    }
    Some(events)
}

/// The next field with its wire type, and its bytes if it has any.
fn read_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let field = read_varint(bytes)?;
    let number = read_varint(bytes)?;
    match field & 7 {
        0 => Some((field, &[])),
        2 => {
            let (value, rest) = bytes.split_at_checked(usize::try_from(number).ok()?)?;
            *bytes = rest;
            Some((field, value))
        }
        _ => None,
    }
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn record_bytes(key_index: u64, data: usize) -> usize {
    1 + varint_bytes(key_index) + 2 + 1 + varint_bytes(data as u64) + data
}

fn write_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: &str, data: &[u8]) -> Entry {
        Entry { seq: 0, key: key.into(), place: u128::MAX - 7, data: data.into(), headers_bytes: 0, is_maybe_sent: false }
    }

    /// Reads one field: its number, and its value as a number or as bytes.
    fn field<'a>(bytes: &mut &'a [u8]) -> (u8, u64, &'a [u8]) {
        let varint = |bytes: &mut &[u8]| {
            let mut number = 0_u64;
            for shift in (0..).step_by(7) {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                number |= u64::from(byte & 0x7F) << shift;
                if byte < 0x80 {
                    return number;
                }
            }
            unreachable!()
        };
        let tag = varint(bytes) as u8;
        let number = varint(bytes);
        if tag & 7 == 0 {
            return (tag >> 3, number, &[]);
        }
        let (value, rest) = bytes.split_at(number as usize);
        *bytes = rest;
        (tag >> 3, 0, value)
    }

    proptest! {
        // tests/acceptance uses independent decoders; this test reads the bytes field by field.
        #[test]
        fn every_event_comes_back_with_the_one_place(
            events in prop::collection::vec(("[a-z]{1,40}", prop::collection::vec(any::<u8>(), 0..300)), 1..200),
            shares_key in any::<bool>(),
        ) {
            let entries: Vec<Entry> = events.iter().map(|(key, data)| entry(key, data)).collect();
            let bytes = encode(&entries, shares_key);
            let mut size = KplSize::new(shares_key, &entries[0]);
            entries[1..].iter().for_each(|entry| size.add(entry));
            prop_assert!(size.bytes >= bytes.len() && size.bytes <= bytes.len() + PLACE_BYTES_MAX, "{} {}", size.bytes, bytes.len());
            let (body, digest) = bytes[4..].split_at(bytes.len() - 20);
            prop_assert_eq!(&Md5::digest(body)[..], digest);
            let (mut rest, mut keys, mut places, mut found) = (body, vec![], vec![], vec![]);
            while !rest.is_empty() {
                match field(&mut rest) {
                    (1, _, key) => keys.push(key),
                    (2, _, place) => places.push(place),
                    (3, _, mut record) => {
                        let (key, place, data) = (field(&mut record), field(&mut record), field(&mut record));
                        prop_assert_eq!((key.0, place.0, data.0, record.len()), (1, 2, 3, 0));
                        found.push((keys[key.1 as usize], places[place.1 as usize], data.2));
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(found.len(), entries.len());
            let data: Vec<&[u8]> = entries.iter().map(|entry| &*entry.data).collect();
            prop_assert_eq!(decode(&bytes), Some(data));
            // Cut, damaged, or of another producer: it is no aggregate.
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(decode(&bytes[4..]), None);
            let place = (u128::MAX - 7).to_string();
            for (found, entry) in found.into_iter().zip(&entries) {
                let key = if shares_key { &entries[0].key } else { &entry.key };
                prop_assert_eq!(found, (key.as_bytes(), place.as_bytes(), &*entry.data));
            }
        }
    }
}
