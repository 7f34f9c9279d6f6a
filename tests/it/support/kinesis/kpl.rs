//! The KPL's aggregated records, read by hand, without a line of the product's code or of a protobuf library.
//!
//! `F3 89 9A C2`, then a protobuf message, then its MD5. In the message 1 is the table of partition keys, 2 that of explicit
//! hash keys, 3 a record: 1 and 2 index the tables, 3 is the data, 4 a tag.

use bytes::Bytes;
use md5::{Digest, Md5};

use super::shards::hash_of_key;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const DIGEST_BYTES: usize = 16;

/// What one `addUserRecord` put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    pub partition_key: String,
    pub explicit_hash_key: Option<u128>,
    pub data: Bytes,
}

impl UserRecord {
    /// The hash by which KCL decides whether it belongs to a shard.
    pub fn effective_hash(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_of_key(&self.partition_key))
    }
}

/// The records in an aggregate; `None` where `data` is none. Panics where it is one, and broken.
pub fn deaggregate(data: &Bytes) -> Option<Vec<UserRecord>> {
    let message = data.strip_prefix(&MAGIC)?;
    let (message, digest) = message.split_at_checked(message.len().checked_sub(DIGEST_BYTES)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let (mut keys, mut hashes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader(message);
    while let Some((field, value)) = reader.field() {
        match field {
            1 => keys.push(String::from_utf8(value.bytes().to_vec()).expect("keys are UTF-8")),
            2 => hashes.push(std::str::from_utf8(value.bytes()).ok().and_then(|text| text.parse().ok()).expect("a hash")),
            3 => records.push(value.bytes()),
            _ => panic!("field {field} in an aggregate"),
        }
    }
    let record = |message: &[u8]| {
        let (mut key, mut hash, mut data) = (None, None, None);
        let mut reader = Reader(message);
        while let Some((field, value)) = reader.field() {
            match field {
                1 => key = keys.get(value.number()).cloned(),
                2 => hash = Some(*hashes.get(value.number()).expect("an index into the table of hashes")),
                3 => data = Some(Bytes::copy_from_slice(value.bytes())),
                4 => {}
                _ => panic!("field {field} in a record of an aggregate"),
            }
        }
        let partition_key = key.expect("an index into the table of keys");
        UserRecord { partition_key, explicit_hash_key: hash, data: data.expect("a record has data") }
    };
    Some(records.into_iter().map(record).collect())
}

/// A value on the wire.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(&self) -> &'a [u8] {
        let Self::Bytes(bytes) = self else { panic!("bytes are expected") };
        bytes
    }

    fn number(&self) -> usize {
        let Self::Number(number) = self else { panic!("a number is expected") };
        usize::try_from(*number).expect("it fits")
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        if self.0.is_empty() {
            return None;
        }
        let tag = self.varint();
        let value = match tag & 7 {
            0 => Value::Number(self.varint()),
            2 => {
                let length = usize::try_from(self.varint()).expect("it fits");
                let (bytes, rest) = self.0.split_at_checked(length).expect("the message is whole");
                self.0 = rest;
                Value::Bytes(bytes)
            }
            kind => panic!("wire type {kind} in an aggregate"),
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().expect("the message is whole");
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return number;
            }
        }
        panic!("a number of more than 64 bits");
    }
}
