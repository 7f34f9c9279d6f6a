//! Limits of the commands that look into the lake.

use std::time::Duration;

use super::units::MIB;

/// Rows that `lakegate lake sample` prints at most.
/// Why: each takes 16 bytes of memory while they are chosen; who wants more exports.
pub const LAKE_SAMPLE_ROWS_MAX: u64 = 1_000_000;

/// Versions that `lakegate lake history` prints at most.
/// Why: each is read from a file of its own, on S3 by a request.
pub const LAKE_HISTORY_VERSIONS_MAX: u64 = 100_000;

/// Events of one partition that a deep check of the lake remembers, to find those that are there more than once.
/// Why: 60 bytes each, 500 MB in all; a busy type has a million a day.
pub const LAKE_CHECK_IDENTITIES_MAX: usize = 8_000_000;

/// Age from which a file that the log does not know is an orphan.
/// Why: a flush that the sink retries, or a long compaction, commits its files within hours.
pub const LAKE_CHECK_UNKNOWN_AGE: Duration = Duration::from_secs(24 * 3_600);

/// Time after which a removed file should be gone.
/// Why: the vacuum's grace is a quarter of an hour, and it runs at least once a day.
pub const LAKE_CHECK_REMOVED_AGE: Duration = Duration::from_secs(48 * 3_600);

/// Findings of one code that `lakegate lake check` prints for people.
/// Why: a screen; programs get all.
pub const LAKE_CHECK_SHOWN_MAX: usize = 20;

/// Size from which a backup copies files one after the other.
/// Why: a file is in memory while it is copied; of smaller files up to [`super::LAKE_READERS`] are, 128 MB in all.
pub const LAKE_BACKUP_LARGE_BYTES: u64 = 8 * MIB as u64;

/// Times that a backup begins with a newer version because files were removed while it copied them.
/// Why: each round copies only what is new; a lake that is compacted without end would never be copied.
pub const LAKE_BACKUP_ROUNDS_MAX: u32 = 100;

/// Minutes of receipt that a commit tells of, when rows leave the lake; of more, hours, and of more of these, days.
/// Why: a week. The events of a day come within it, whatever their senders did before, and it takes 50 KB of log; a commit of a
/// flush has as much.
pub const LAKE_REMOVED_MINUTES_MAX: usize = 7 * 24 * 60;

/// Time for which removed rows are remembered after their receipt.
/// Why: the ledger of the gateway goes back a month. It is 100 KB if some are removed of every minute.
pub const LAKE_REMOVED_ROWS_REMEMBERED: Duration = Duration::from_secs(35 * 24 * 3_600);
