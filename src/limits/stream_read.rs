//! Limits of reading a stream back, to compare it with the ledger.

use std::time::Duration;

use super::units::MIB;
use crate::fault::Patience;

/// Least time between two reads of a shard.
/// Why: Kinesis allows five a second, and the stream's own consumers need theirs: one with KCL makes one a second.
pub const STREAM_READ_BACK_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes a second that are read of a shard.
/// Why: Kinesis allows 2 MiB/s, and a full shard's own consumer needs half of it.
pub const STREAM_READ_BACK_BYTES_PER_SECOND: usize = MIB;

/// Records in one read.
/// Why: the most that the API gives; its other bound, 10 MiB, comes first for records of 1 KiB and more.
pub const STREAM_READ_BACK_RECORDS: i32 = 10_000;

/// Shards that are read at one time.
/// Why: an answer has up to 10 MiB, which are some 25 MiB while it is parsed: 200 MiB at worst. Eight shards bring 8 MiB/s.
pub const STREAM_READ_BACK_SHARDS: usize = 8;

/// Timeout of one read.
/// Why: 10 MiB over a slow line.
pub const STREAM_READ_BACK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a shard that cannot be read is tried again.
/// Why: a throttled shard answers within seconds; a minute without any answer is an outage, which the command should not wait for.
pub const STREAM_READ_BACK_PATIENCE: Patience =
    Patience { first: Duration::from_millis(500), longest: Duration::from_secs(5), budget: Duration::from_secs(60) };

/// Time by which a read must be later than the ledger, to have all that the ledger calls delivered.
/// Why: Kinesis shows a record to readers within a second of taking it, mostly.
pub const STREAM_READ_BACK_AFTER: Duration = Duration::from_secs(2);

/// Time before the first minute from which on the stream is read.
/// Why: the clocks of the gateway and of AWS may differ by some seconds, and a clock that was set by hand by more.
pub const STREAM_READ_BACK_SKEW: Duration = Duration::from_secs(300);

/// Copies of events that one comparison holds in memory.
/// Why: each takes 8 bytes, or 16 while a minute's list grows: 400 to 800 MB. They are an hour at 14,000 events a second.
pub const STREAM_READ_BACK_EVENTS_MAX: usize = 50_000_000;

/// Time between two lines that say how far the reading has come.
/// Why: who waits for an hour wants to know that it goes on.
pub const STREAM_READ_BACK_PROGRESS: Duration = Duration::from_secs(10);
