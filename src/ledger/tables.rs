//! The tables of the ledger on disk: `ledger/ledger.redb`, a database of one file (redb: copy-on-write trees, each commit is one atomic step that
//! survives a power cut).
//!
//! ```text
//! positions   text → bytes                  what is counted: `events`, and `sink/NAME` for each sink
//! names       (kind, number) → text         kinds: 0 keys, 1 event names, 2 sinks, 3 places in a sink (shards)
//! minutes     minute → account              whole minutes since 1970 by the time of receipt; kept for LEDGER_DAYS
//! runs        first seq → runs              the accepted events in order; kept as long as the dedup window
//! settled     (sink, chunk, serial) → row   which events of a chunk of 16,384 a sink settled together, when, how and where
//! repeats_0/1 identity → times              how often an event was sent again; the older table is removed when the other is full
//! ```
//! The rows are described in `encode.rs`.

use std::io;

use redb::{DatabaseError, StorageError, TableDefinition, TableError};

use super::names::NameId;

pub(super) const POSITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("positions");
pub(super) const NAMES: TableDefinition<'_, (u8, NameId), &str> = TableDefinition::new("names");
pub(super) const MINUTES: TableDefinition<'_, i64, &[u8]> = TableDefinition::new("minutes");
pub(super) const RUNS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("runs");
pub(super) const SETTLED: TableDefinition<'_, (NameId, u64, u64), &[u8]> = TableDefinition::new("settled");
/// How often, first and last time in Unix milliseconds, and the key that sent it last.
pub(super) const REPEATS: [TableDefinition<'_, u128, RepeatsRow>; 2] =
    [TableDefinition::new("repeats_0"), TableDefinition::new("repeats_1")];

/// Names in the table `positions`.
pub(super) const EVENTS: &str = "events";
pub(super) const SINK: &str = "sink/";
pub(super) const NEWER_REPEATS: &str = "repeats";

/// Events of a chunk of the table `settled`.
/// Why: a look-up reads the rows of one chunk; a row as bits has 2 KiB at most.
pub(super) const CHUNK_EVENTS: u64 = 1 << 14;

/// See [`REPEATS`].
pub(super) type RepeatsRow = (u64, i64, i64, NameId);

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The error of the disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The file is damaged, or of another format.
    #[error("{0}")]
    Damaged(String),
}

impl From<redb::Error> for LedgerError {
    fn from(error: redb::Error) -> Self {
        match error {
            // It is no such file.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            redb::Error::Io(error) => Self::Disk(error),
            error @ (redb::Error::PreviousIo | redb::Error::DatabaseAlreadyOpen | redb::Error::DatabaseClosed) => {
                Self::Disk(io::Error::other(error.to_string()))
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($Error:ty),*) => { $(impl From<$Error> for LedgerError {
        fn from(error: $Error) -> Self {
            redb::Error::from(error).into()
        }
    })* };
}
from_redb!(DatabaseError, StorageError, TableError, redb::TransactionError, redb::CommitError);

/// How often an event was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeats {
    /// How often.
    pub(super) times: u64,
    /// For the first time, Unix milliseconds.
    pub(super) first_millis: i64,
    /// For the last time, Unix milliseconds.
    pub(super) last_millis: i64,
    /// The key that sent it last.
    pub(super) key: NameId,
}

impl Repeats {
    pub(super) fn with(self, other: Self) -> Self {
        let newer = if other.last_millis >= self.last_millis { other } else { self };
        Self {
            times: self.times + other.times,
            first_millis: self.first_millis.min(other.first_millis),
            last_millis: newer.last_millis,
            key: newer.key,
        }
    }
}

impl Repeats {
    pub(super) fn of((times, first_millis, last_millis, key): RepeatsRow) -> Self {
        Self { times, first_millis, last_millis, key }
    }
}

pub(super) fn damaged() -> LedgerError {
    LedgerError::Damaged("a row of the ledger is damaged".to_owned())
}
