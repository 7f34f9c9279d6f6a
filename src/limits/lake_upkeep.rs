//! Limits of the lake's upkeep: merging, compaction, retention, vacuum.

use std::time::Duration;

use super::units::{KIB, MIB};

/// Bytes of payload that the reader decodes at one time when it reads every row of a file.
/// Why: an event may have 1 MiB, so a number of rows alone bounds nothing; 4 MiB are 10,000 usual events.
pub const LAKE_READ_BYTES: usize = 4 * MIB;

/// Bytes of a local file that is read at once when it is opened.
/// Why: a file of a flush has 12 to 60 KiB, and to read it piece by piece are some fifty calls of the kernel, each with a buffer of
/// its own: 8 % of a compaction of files of 69 events, nothing that can be measured with 167. Of a larger file, readers often want a
/// part.
pub const LAKE_WHOLE_FILE_BYTES_MAX: u64 = 128 * KIB as u64;

/// Keys of rows in memory while doubles are searched.
/// Why: 48 bytes each, 24 MiB together; a partition of up to half a million rows needs no scratch file for them.
pub const LAKE_MERGE_KEYS_MAX: usize = 512 * 1024;

/// Scratch files over which the keys of a large partition are spread.
/// Why: each has a buffer of 8 KiB and an open file. They hold 200 million rows: a thousand events a second for two days of one
/// type.
pub const LAKE_MERGE_BINS_MAX: usize = 512;

/// Bytes of rows that are sorted in memory.
/// Why: a run of 32 MiB is long enough that reading it back is sequential, and with all other buffers a merge takes some 64 MiB
/// (measured: `loadtest/lake.py`).
pub const LAKE_SORT_BYTES_MAX: usize = 32 * MIB;

/// First rows of a rewriting whose length says how much room all of them take.
/// Why: enough that an odd one does not decide. A wrong guess costs a copy of the buffer, or address space.
pub const LAKE_SORT_SAMPLED_ROWS: usize = 16;

/// Sorted runs that are merged at one time.
/// Why: each has a read buffer; 128 runs are 4 GiB of rows, and more are merged in two levels.
pub const LAKE_MERGE_RUNS_MAX: usize = 128;

/// Bytes of the buffer of a run.
/// Why: large enough for sequential reads; 128 runs take 8 MiB.
pub const LAKE_MERGE_RUN_BUFFER_BYTES: usize = 64 * KIB;

/// Bytes of a file that a merge writes, at most, roughly.
/// Why: query engines read files of 64 to 256 MiB well: fewer requests than for small files, and still several readers at work.
pub const LAKE_FILE_BYTES_MAX: u64 = 256 * MIB as u64;

/// Bytes of an encoded row group that a merge writes.
/// Why: the writer holds it in memory; readers skip whole groups, and each is large enough to be worth a request.
pub const LAKE_ROW_GROUP_BYTES_MAX: usize = 32 * MIB;

/// Rows of a row group that a merge writes.
/// Why: bounds its Bloom filter, and what a reader must decode to find one row.
pub const LAKE_ROW_GROUP_ROWS_MAX: usize = 256 * 1024;

/// Bytes of a part of an upload.
/// Why: S3 takes parts from 5 MiB on; a part is in memory until it is sent.
pub const S3_UPLOAD_PART_BYTES: u64 = 8 * MIB as u64;

/// Free disk that rewriting files needs, in multiples of their size, if it is to begin.
/// Why: rows take some five times their compressed size in scratch files, and twice that while runs are merged; the new files
/// once more.
pub const LAKE_REWRITE_SPACE_FACTOR: u64 = 8;

/// Free disk beside that.
/// Why: the spool may be on the same disk, and events come first.
pub const LAKE_REWRITE_SPARE_BYTES: u64 = 256 * MIB as u64;

/// Times that a partition is planned anew because another writer changed it meanwhile.
/// Why: two compactors at once need two; if more are needed, a later round does it.
pub const LAKE_REWRITE_TRIES_MAX: u32 = 4;

/// Time after which new files that could not be committed yet are given up.
/// Why: far below [`LAKE_UNKNOWN_FILES_KEPT`], after which a vacuum removes them.
pub const LAKE_UNCOMMITTED_MAX: Duration = Duration::from_secs(60 * 60);

/// Time for which files that the log does not know are kept, if a rewriting wrote them or nobody finished them.
/// Why: a commit follows within seconds; a day outlasts any pause of a machine.
pub const LAKE_UNKNOWN_FILES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Time without a new file after which a partition of a past day counts as complete.
/// Why: flushes come each minute; what comes later is merged then.
pub const LAKE_PARTITION_QUIET: Duration = Duration::from_secs(60 * 60);

/// Pause between two rounds of the upkeep, on average.
/// Why: a round without work costs the reading of new commits.
pub const LAKE_UPKEEP_PAUSE: Duration = Duration::from_secs(60);

/// Time between two runs of what is needed seldom: expiry, and the clean-up of the log.
/// Why: events expire by the day.
pub const LAKE_UPKEEP_HOURLY: Duration = Duration::from_secs(60 * 60);

/// Time between two vacuums that list every folder.
/// Why: 36,500 folders (100 types, a year) are as many requests to S3, some 20 cents.
pub const LAKE_UPKEEP_DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time of failures after which `/readyz` tells of them.
/// Why: an outage of S3 or a full disk for minutes does no harm to the upkeep.
pub const LAKE_UPKEEP_FAILING_AFTER: Duration = Duration::from_secs(60 * 60);

/// Time that a stop waits for the upkeep.
/// Why: each step takes some tenths of a second; what takes longer, such as an upload, is given up, and leaves nothing that harms.
pub const LAKE_UPKEEP_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Priority of the thread of the upkeep.
/// Why: behind everything that serves requests, before programs that run only when nothing else does (19).
pub const LAKE_UPKEEP_NICE: i32 = 10;

/// Time for which a gateway has the lease of the upkeep without renewing it.
/// Why: renewed before each partition; merging one takes minutes at most, and after a crash the lake can wait so long.
pub const LAKE_LEASE: Duration = Duration::from_secs(10 * 60);

/// Percent of one core that the upkeep may use (default).
/// Why: at 4 CPU-seconds per million events it keeps up with 200 million events a day.
pub const LAKE_UPKEEP_CPU_PERCENT: u32 = 25;

/// Files to merge at which a partition is compacted that still gets events (default).
/// Why: at a flush a minute a partition is compacted once an hour, and queries meet 60 small files at most.
pub const LAKE_FILES_MAX: usize = 60;

/// Minutes for which a file stays after the table removed it (default).
/// Why: a query that began before has ended by then.
pub const LAKE_VACUUM_GRACE_MINUTES: u64 = 15;

/// Hours for which every version of the table can be read (default); their files may be gone.
/// Why: 100 types and a flush a minute write some 70 MB of log a day; readers that follow the table come more often.
pub const LAKE_LOG_RETENTION_HOURS: u64 = 24;

/// Days that a retention may name.
/// Why: a hundred years; more is a slip.
pub const LAKE_RETENTION_DAYS_MAX: u32 = 36_525;

/// Patterns of a retention.
/// Why: each is tried for every name; a hundred event types with a rule each are many.
pub const LAKE_RETENTION_RULES_MAX: usize = 1_000;
