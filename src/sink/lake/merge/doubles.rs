//! Finds the doubles of a partition: of rows with the same event, all but the one received first.
//!
//! It needs only the columns of the key. Memory holds `MergeRequest::keys_max` keys; those of a larger partition are spread by a
//! hash over bins in scratch files, and each bin is examined alone.

use std::{
    collections::HashMap,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

use arrow_array::RecordBatch;

use super::{
    read_batches::read_batches,
    request::{Input, MergeError, MergeRequest, Unusable},
    row_bytes::Origin,
};
use crate::{
    limits::{LAKE_CHUNK_ROWS, LAKE_MERGE_BINS_MAX},
    sink::lake::{
        columns::DEDUP_SCOPE,
        event_key::identity,
        rows::{Millis, doubles, scopes, text_at, texts},
    },
};

/// The columns of the key, and what decides between two rows.
pub(super) const KEY_COLUMNS: [&str; 4] = ["event_uuid", "created_at", "received_datetime", DEDUP_SCOPE];

/// Rows that are doubles, of each file.
#[derive(Debug)]
pub(super) struct Doubles {
    /// A bit for each row, of each file; empty for a file without doubles.
    files: Vec<Vec<u8>>,
    pub(super) count: u64,
}

impl Doubles {
    /// No doubles in `files` files.
    pub(super) fn none(files: usize) -> Self {
        Self { files: vec![Vec::new(); files], count: 0 }
    }

    pub(super) fn holds(&self, origin: Origin) -> bool {
        let bits = &self.files[origin.file as usize];
        bits.get(origin.row as usize / 8).is_some_and(|byte| byte >> (origin.row % 8) & 1 == 1)
    }

    pub(super) fn has_any_in(&self, file: usize) -> bool {
        !self.files[file].is_empty()
    }

    fn add(&mut self, row: &Key) {
        let (bits, byte) = (&mut self.files[row.file as usize], row.row as usize / 8);
        if bits.len() <= byte {
            bits.resize(byte + 1, 0);
        }
        bits[byte] |= 1 << (row.row % 8);
        self.count += 1;
    }
}

/// The key of a row. The order of the fields is the order of the sort: of equal events the first received comes first, then
/// the first in the order of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    event_uuid: u128,
    created_at: u64,
    scope: u32,
    received_millis: i64,
    file: u32,
    row: u32,
}

impl Key {
    const BYTES: usize = 16 + 8 + 4 + 8 + 4 + 4;

    fn is_same_event(&self, other: &Self) -> bool {
        (self.event_uuid, self.created_at, self.scope) == (other.event_uuid, other.created_at, other.scope)
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.event_uuid.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created_at.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.scope.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.received_millis.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.file.to_le_bytes());
        bytes[40..].copy_from_slice(&self.row.to_le_bytes());
        to.write_all(&bytes)
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        fn fixed<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
            let mut bytes = [0; N];
            from.read_exact(&mut bytes).map(|()| bytes)
        }
        Ok(Self {
            event_uuid: u128::from_le_bytes(fixed(from)?),
            created_at: u64::from_le_bytes(fixed(from)?),
            scope: u32::from_le_bytes(fixed(from)?),
            received_millis: i64::from_le_bytes(fixed(from)?),
            file: u32::from_le_bytes(fixed(from)?),
            row: u32::from_le_bytes(fixed(from)?),
        })
    }
}

/// Keys in memory.
struct Keys {
    keys: Vec<Key>,
    keys_max: usize,
}

impl Keys {
    fn add(&mut self, key: Key, doubles: &mut Doubles) {
        if self.keys.len() >= self.keys_max {
            // Of an event that is there very often only one key stays.
            self.settle(doubles);
            // If the log does not know the rows of a file, there may be more events than were expected.
            self.keys_max = self.keys_max.max(2 * self.keys.len());
        }
        self.keys.push(key);
    }

    /// Keeps the first key of each event; the others are doubles.
    fn settle(&mut self, doubles: &mut Doubles) {
        self.keys.sort_unstable();
        self.keys.dedup_by(|later, first| {
            let is_double = later.is_same_event(first);
            if is_double {
                doubles.add(later);
            }
            is_double
        });
    }
}

/// Finds the doubles of a partition whose keys all fit in memory, while its rows are read.
pub(super) struct Finder {
    keys: Keys,
    scopes_seen: HashMap<Box<str>, u32>,
    doubles: Doubles,
}

impl Finder {
    /// For `files` files with `rows` rows, as far as the log knows, at most `keys_max`.
    pub(super) fn new(files: usize, rows: u64, keys_max: usize) -> Self {
        let keys = Keys { keys: Vec::with_capacity(rows as usize), keys_max };
        Self { keys, scopes_seen: HashMap::new(), doubles: Doubles::none(files) }
    }

    /// Takes the rows of a batch, the first of which is the row `first_row` of the file.
    pub(super) fn add(&mut self, batch: &RecordBatch, file: u32, first_row: u32) -> Result<(), String> {
        let keys = keys_of(batch, file, first_row, &mut self.scopes_seen)?;
        keys.into_iter().for_each(|key| self.keys.add(key, &mut self.doubles));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Doubles {
        self.keys.settle(&mut self.doubles);
        self.doubles
    }
}

/// Finds the doubles of a partition with more rows than keys fit in memory.
pub(super) fn find(request: &MergeRequest<'_>, inputs: &[Input<'_>]) -> Result<Result<Doubles, Unusable>, MergeError> {
    let keys_max = request.keys_max;
    let rows: u64 = inputs.iter().map(|input| input.file.rows).sum();
    // A quarter of each bin stays free, because a hash does not spread evenly.
    let keys_of_bin = keys_max / 4 * 3;
    let bins = rows as usize / keys_of_bin + 1;
    if bins > LAKE_MERGE_BINS_MAX || inputs.iter().any(|input| input.file.rows > u64::from(u32::MAX)) {
        return Err(MergeError::TooManyRows { rows, rows_max: (LAKE_MERGE_BINS_MAX * keys_of_bin) as u64 });
    }
    let mut doubles = Doubles::none(inputs.len());
    let spilled = (0..bins).map(|_| request.scratch.file()).collect::<io::Result<Vec<File>>>()?;
    let mut writers: Vec<BufWriter<&File>> = spilled.iter().map(BufWriter::new).collect();
    let (mut scopes_seen, spread) = (HashMap::new(), RandomState::new());
    for (number, input) in inputs.iter().enumerate() {
        let read = read_batches(request, input.file, &KEY_COLUMNS, LAKE_CHUNK_ROWS, |batch, first_row| {
            let keys = match keys_of(batch, number as u32, first_row, &mut scopes_seen) {
                Ok(keys) => keys,
                Err(reason) => return Ok(Err(reason)),
            };
            for key in keys {
                key.write(&mut writers[spread.hash_one(key.event_uuid) as usize % bins])?;
            }
            Ok(Ok(()))
        });
        if let Err(reason) = read? {
            return Ok(Err(Unusable { input: number, reason }));
        }
    }
    writers.iter_mut().try_for_each(Write::flush)?;
    drop(writers);
    let mut in_memory = Keys { keys: Vec::with_capacity(keys_max), keys_max };
    for mut bin in spilled {
        in_memory.keys.clear();
        let keys = bin.stream_position()? / Key::BYTES as u64;
        bin.rewind()?;
        let mut reader = BufReader::new(bin);
        for number in 0..keys {
            in_memory.add(Key::read(&mut reader)?, &mut doubles);
            if number % 4_096 == 0 {
                request.pace.step()?;
            }
        }
        in_memory.settle(&mut doubles);
        request.pace.step()?;
    }
    Ok(Ok(doubles))
}

fn keys_of(batch: &RecordBatch, file: u32, first_row: u32, scopes_seen: &mut HashMap<Box<str>, u32>) -> Result<Vec<Key>, String> {
    let (uuids, created) = (texts(batch, "event_uuid")?, doubles(batch, "created_at")?);
    let received = Millis::of(batch, "received_datetime")?;
    let scopes = scopes(batch);
    let mut keys = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let Some((event_uuid, created_at)) = identity(uuids.value(row), created.value(row)) else { continue };
        // 0 is the scope that all server keys share.
        let scope = match text_at(scopes, row) {
            None => 0,
            Some(scope) => match scopes_seen.get(scope) {
                Some(number) => *number,
                None => {
                    let number = scopes_seen.len() as u32 + 1;
                    scopes_seen.insert(scope.into(), number);
                    number
                }
            },
        };
        let row_in_file = first_row + row as u32;
        keys.push(Key { event_uuid, created_at, scope, received_millis: received.value(row), file, row: row_in_file });
    }
    Ok(keys)
}
