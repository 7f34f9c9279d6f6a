//! Limits of the ledger.

use std::time::Duration;

use super::units::{KIB, MIB};
use crate::fault::Patience;

/// Days for which the ledger keeps the account of a minute.
/// Why: a month is what people compare and bill; 43,200 rows of about 1 KiB with 100 event names are 45 MB.
pub const LEDGER_DAYS: u32 = 30;

/// Time between two commits of the ledger, while there is something to commit.
/// Why: what a killed gateway forgets of `duplicate`, `rejected` and `retry`; a commit costs a disk two syncs and some pages.
pub const LEDGER_COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How far back the ledger is shown, if nobody says.
/// Why: what an operator looks at after a deployment.
pub const LEDGER_SINCE: Duration = Duration::from_secs(3_600);

/// Minutes in one answer.
/// Why: all that the ledger keeps; a row has some 250 bytes.
pub const LEDGER_MINUTES_MAX: i64 = LEDGER_DAYS as i64 * 1_440 + 1_440;

/// Minutes in one answer with keys or event names.
/// Why: a day of 100 event names has some 10 MB.
pub const LEDGER_DETAIL_MINUTES_MAX: i64 = 1_440;

/// How long the ledger is retried after an error of the disk; it is retried for ever with the longest pause.
/// Why: as the other files that no event waits for.
pub const LEDGER_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(60) };

/// How long a delivery, or a question, waits for the ledger's thread.
/// Why: a commit takes some milliseconds; on a stuck disk nothing is gained by waiting longer, and no event may wait for its ledger.
pub const LEDGER_WAIT: Duration = Duration::from_secs(5);

/// Events that a start counts from the spool before it stores their count.
/// Why: some megabytes of runs; a first start may find 20 million events in a full spool.
pub const LEDGER_RECOVERY_EVENTS: u64 = 100_000;

/// Time between two removals of what is too old.
/// Why: the oldest minute may be some minutes older; each removal is one commit.
pub const LEDGER_TIDY_INTERVAL: Duration = Duration::from_secs(300);

/// Rows that one commit removes.
/// Why: some megabytes, so that the ledger's thread is back within a tenth of a second.
pub const LEDGER_ROWS_REMOVED_AT_ONCE: usize = 4_096;

/// Event names, keys, sinks and shards that the ledger tells apart, each; further ones are counted together.
/// Why: a company has some hundred event names; a client may invent names where unknown events are accepted.
pub const LEDGER_NAMES_MAX: usize = 4_096;

/// Runs of accepted events that wait for the ledger's thread; beyond it, keys and names are not told apart any more.
/// Why: 24 MB; a second at 100,000 single events has a tenth of it, so the thread may be stuck for ten seconds.
pub const LEDGER_NOTES_MAX: usize = 1_000_000;

/// Duplicates that one commit remembers one by one; further ones are only counted.
/// Why: each changes another page of the table, so 2,000 are 8 MB for the disk; usual traffic has a few a second.
pub const LEDGER_DUPLICATES_AT_ONCE: usize = 2_000;

/// Events of which the ledger knows how often they were sent again, in each of two tables.
/// Why: some 60 MB in all; a client that repeats everything for hours must not fill the disk.
pub const LEDGER_REPEATS_MAX: u64 = 500_000;

/// Memory in which the ledger's database caches pages.
/// Why: the rows of a minute or two and the upper levels of its trees; the rest is in the system's cache.
pub const LEDGER_CACHE_BYTES: usize = MIB / 2;

/// Bytes from which a second's runs are compressed.
/// Why: below, zstd's own header outweighs what it saves.
pub const LEDGER_COMPRESSED_FROM_BYTES: usize = KIB / 4;

/// Compression level of the runs.
/// Why: the ledger's own thread compresses them; higher levels save a tenth for twice the time.
pub const LEDGER_COMPRESSION_LEVEL: i32 = 1;

/// Bytes that a row of runs may have when it is inflated.
/// Why: four times the runs that may wait; more is damage.
pub const LEDGER_RUNS_BYTES_MAX: usize = 64 * MIB;
