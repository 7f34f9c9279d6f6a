//! Limits of the spool and of the dedup stores.

use std::time::Duration;

use super::{
    ENVELOPE_BYTES_MAX, EVENT_BYTES_MAX,
    units::{KIB, MIB},
};
use crate::fault::Patience;

// ---- spool -----------------------------------------------------------------------------------------------------------

/// Bytes of one frame's body in the spool: a record with its envelope.
/// Why: the sum of [`EVENT_BYTES_MAX`] and [`ENVELOPE_BYTES_MAX`]; a longer length on disk is corruption.
pub const FRAME_BODY_BYTES_MAX: usize = EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// Bytes at which a spool segment is closed and the next one is opened (default).
/// Why: the unit of unlinking; small enough to free space soon, large enough that files stay few (160 in 10 GiB).
pub const SEGMENT_BYTES: u64 = 64 * MIB as u64;

/// Bytes of a delivered segment that are returned to the file system at once.
/// Why: measured on ext4 with `discard`: freeing a segment of 64 MiB at once delays every `fdatasync` by 40 to 50 ms, in pieces
/// of this size by 4 to 7; the total is some 60 ms in both cases.
pub const SEGMENT_PIECE_BYTES: u64 = MIB as u64;

/// Bytes that the spool may hold on disk (default quota).
/// Why: at 1 M events/hour of 500 B about 20 hours of outage.
pub const SPOOL_BYTES_MAX: u64 = 10 * 1024 * MIB as u64;

/// Bytes that must stay free on the spool's file system (default).
/// Why: the cursor, the dedup runs, the dead letters and the lake need room to drain what is spooled.
pub const SPOOL_FREE_BYTES_MIN: u64 = 128 * MIB as u64;

/// Bytes waiting for the spool's writer; beyond it appends are refused.
/// Why: two largest bodies and a burst of small ones; more would only be latency.
pub const SPOOL_QUEUE_BYTES_MAX: usize = 64 * MIB;

/// Bytes that one group commit writes before its `fdatasync`.
/// Why: bounds the wait of the first request in the group: 8 MiB take under 50 ms on a slow disk.
pub const GROUP_COMMIT_BYTES_MAX: usize = 8 * MIB;

/// Appends in a group commit from which the next commit waits for as many, and for how long at most.
/// Why: an fsync costs the processor 50 to 100 µs beside the disk's time; shared by 60 appends instead of 30 this saves 1.5 µs
/// each, and half a millisecond is less than any disk's own hiccups. With fewer appends there is little to share.
pub const GROUP_GATHER_FROM: usize = 8;
/// See [`GROUP_GATHER_FROM`].
/// Why: the same.
pub const GROUP_GATHER_TIME: Duration = Duration::from_micros(500);

/// Bytes that one read takes from a segment.
/// Why: large enough that a read costs little per byte; small enough that the bytes are still in the processor's cache when
/// they are checked and sent, and that one body kept for long keeps little memory.
pub const SPOOL_READ_CHUNK_BYTES: usize = 128 * KIB;

/// Bytes in the unit of a failed disk read.
/// Why: the sector size of today's disks and the page size of the system's cache.
pub const SPOOL_UNREADABLE_BLOCK_BYTES: usize = 4096;

/// How long the read of a spool block is retried before its events are given up (default of the budget).
/// Why: the first pause is shorter than a hiccup of a network disk; with the longest pause a recovered disk is noticed within
/// seconds; a multipath failover or a volume that is attached again takes one to two minutes.
pub const SPOOL_UNREADABLE_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(120) };

/// How long a start waits for missing system resources, or for an unreadable folder.
/// Why: if descriptors and memory come back, they do within seconds; a supervisor takes a longer start for a hang.
pub const SPOOL_START_PATIENCE: Patience =
    Patience { first: Duration::from_millis(50), longest: Duration::from_secs(1), budget: Duration::from_secs(20) };

/// Time between two checks that the spool's folder and files still exist.
/// Why: a removal must be noticed within a second, and a check costs some ten system calls.
pub const SPOOL_LOOK_EVERY: Duration = Duration::from_millis(500);

/// Closed segments whose names are checked at one time.
/// Why: a spool of the default size has 160; a hundred system calls take a tenth of a millisecond.
pub const SPOOL_LOOK_SEGMENTS: usize = 100;

/// How long a spool whose folder disappeared with undelivered events waits for the folder before it continues without it.
/// Why: as long as for a block that cannot be read, because a person may restore the folder.
pub const SPOOL_MISSING_PATIENCE: Patience =
    Patience { first: Duration::from_millis(500), longest: Duration::from_millis(500), budget: Duration::from_secs(120) };

/// Largest size of a segment, as a multiple of the usual size, while the next segment cannot be opened.
/// Why: descriptors come back within seconds, and a start still reads a segment of 256 MiB in a second.
pub const SEGMENT_STRETCH_MAX: u64 = 4;

/// Records that `lakegate spool quarantine salvage` stores at once.
/// Why: as many as a largest request has; the dedup window and the spool take them in one step.
pub const SALVAGE_RECORDS: usize = 1_000;

/// Bytes that are read of the list of losses.
/// Why: some ten thousand losses; a disk with more has other problems.
pub const SPOOL_LOSSES_READ_BYTES: usize = 4 * MIB;

/// Identities of lost events in one line of the list of losses.
/// Why: 400 KB a line; a whole segment of usual events has more, and then the sequence numbers tell which.
pub const SPOOL_LOSS_EVENTS_MAX: usize = 5_000;

/// Records of the spool read at once while their identities are restored.
/// Why: some 8 MB of usual events; memory stays bounded at a start with a full spool.
pub const RESTORE_RECORDS: usize = 16_384;

// ---- shares of keys ---------------------------------------------------------------------------------------------------

/// Percent of the spool and of the dedup window that a browser key may hold (default, where there is another key).
/// Why: the key is public. Half of the spool is always left to the other keys: the default quota then lasts them for ten hours.
pub const BROWSER_SHARE_PERCENT: u8 = 50;

/// Percent of the spool and of the dedup window that a server key may hold (default, where there is another key).
/// Why: services are trusted and send the most; but a service in an endless loop leaves the others two hours of an outage.
pub const SERVER_SHARE_PERCENT: u8 = 90;

/// Ranges in which the undelivered bytes of a key are counted, in a full spool.
/// Why: the usage of a key is known to 0.03 % of the quota (2.5 MiB of 10 GiB), in some 100 KiB of memory for all keys.
pub const SHARE_STRETCHES: u64 = 4096;

/// Time buckets in which the identities of a key are counted.
/// Why: a bucket of the default window has ten hours, so a key may send again at most ten hours late; 17 of them are 272 bytes.
pub const DEDUP_SHARE_BUCKETS: i64 = 16;

/// Percent of `dedup.identities_max` from which the shares of keys are enforced.
/// Why: below it no identity is forgotten early, so no key is harmed; the rest is left to the keys within their shares.
pub const DEDUP_SHARE_FROM_PERCENT: u8 = 90;

/// Bytes of the spool read at once while the usage of each key is counted after a start.
/// Why: a read takes some milliseconds, and then the disk is free for others for as long.
pub const RECOUNT_BYTES: usize = 4 * MIB;

// ---- dedup window ----------------------------------------------------------------------------------------------------

/// Days for which an identity is remembered (default).
/// Why: the JS client replays for three days; services are redeployed within a week.
pub const DEDUP_WINDOW_DAYS: u32 = 7;

/// Identities remembered at most (default).
/// Why: 2.5 GB on disk (a quarter more while runs are merged) and 120 MB of filters; the mission's load for four days,
/// longer than any client replays.
pub const DEDUP_IDENTITIES_MAX: u64 = 100_000_000;

/// Identities in the hot generation, in memory, before it is sealed into a sorted run on disk.
/// Why: about 5.5 MB of hash set, of which there are two, and half a second of the highest rate that two processors reach;
/// sealing sorts and writes 3.3 MB in some 25 ms. Twice as many took 20 MiB more at its peak and made no event cheaper.
pub const DEDUP_HOT_IDENTITIES: usize = 131_072;

/// Bytes on disk that tell where the event of an identity is in the spool.
/// Why: the answer to "where is this event?" would else need a search of spool and lake. Half of a sequence number, because the
/// numbers of one run are close together: 4 billion fit, and a run has at most 25 million identities (default).
pub const DEDUP_PLACE_BYTES: usize = 4;

/// Identities looked up without a claim per acquisition of the lock.
/// Why: claims wait for it some 0.1 ms, as for a largest request.
pub const DEDUP_LOOK_UP_BATCH: usize = 1024;

/// Approximate limit of the identities in one slice of a run.
/// Why: a merge holds one slice in memory while it builds the filter, some 10 MB; a seal waits for at most one slice.
pub const DEDUP_SLICE_IDENTITIES: u64 = 1 << 18;

/// Identities restored per acquisition of the lock.
/// Why: the caller's source is not read under the lock.
pub const DEDUP_RESTORE_BATCH: usize = 4096;

/// Runs of one tier that are merged into one run of the next.
/// Why: each identity is rewritten once per tier (4 times on its way to 67 M), and a lookup probes at most 3 runs per tier.
pub const DEDUP_MERGE_FACTOR: usize = 4;

/// Pages read at once from an input.
/// Why: 256 KiB an input; sequential enough for any disk.
pub const DEDUP_READ_PAGES: usize = 64;

/// Inverse of the fraction of the window, and of its duration, that one run may span: the unit of forgetting.
/// Why: a quarter is the granularity that the limits promise; smaller runs mean more runs to probe.
pub const DEDUP_RUN_GRAIN: u64 = 4;

/// How a failed seal or merge is retried, without end.
/// Why: a full or broken disk stays so for longer; half a minute is soon enough once a person has freed space.
pub const DEDUP_WRITE_PATIENCE: Patience =
    Patience { first: Duration::from_millis(200), longest: Duration::from_secs(30), budget: Duration::MAX };

/// The same after a transient error, for example no free file descriptor.
/// Why: meanwhile memory takes half a second of the highest load; an attempt costs almost nothing.
pub const DEDUP_TRANSIENT_PATIENCE: Patience =
    Patience { first: Duration::from_millis(50), longest: Duration::from_secs(1), budget: Duration::MAX };

/// How long the read of a page is retried before its identities count as forgotten.
/// Why: a disk that is reset or a volume that is attached again is back within two minutes; until then an event whose identity
/// may be in the page is answered `retry`: one in 250 of the new events.
pub const DEDUP_READ_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(120) };

/// How long a start waits for all runs that cannot be opened or read together, before it sets them aside.
/// Why: the whole start waits for this; a transient error is gone within seconds.
pub const DEDUP_OPEN_PATIENCE: Patience =
    Patience { first: Duration::from_millis(50), longest: Duration::from_secs(1), budget: Duration::from_secs(10) };

/// Time between two checks that the window's folder and files still exist.
/// Why: a removal is noticed within a second, for some 20 calls that read no disk.
pub const DEDUP_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long claims may be refused because the window is full before this counts as a fault.
/// Why: a seal takes some 25 ms; a disk that needs a second for one is too slow.
pub const DEDUP_FULL_AFTER: Duration = Duration::from_secs(1);

/// Least confirmed time for which a run that has left the window stays on disk, set aside.
/// Why: a person who sees that identities were forgotten wrongly needs a day to stop that.
pub const DEDUP_SET_ASIDE_FOR: Duration = Duration::from_secs(86_400);

/// Bytes of pages gathered before they are written.
/// Why: 64 pages a system call; more gains nothing.
pub const DEDUP_WRITE_BYTES: usize = 256 * KIB;

/// Bytes after which an unfinished run is synced.
/// Why: one slice of the usual size; a single sync of 600 MB at the end would delay the seals that wait behind it.
pub const DEDUP_SYNC_BYTES: u64 = 16 << 20;

// ---- the dedup store of a fleet --------------------------------------------------------------------------------------

/// Time that a request waits for the shared store to answer its claims (default).
/// Why: in one data centre the store answers in about 1 ms, and a pause for its snapshot of some GB stays below this too. While
/// the store is slow, a longer wait would delay clients, for events that are accepted anyway.
pub const FLEET_DEADLINE: Duration = Duration::from_millis(50);

/// Time added to the deadline for each claimed identity.
/// Why: four times what store and gateway need (2 µs each way), so that a largest request, which takes some 30 ms, does not
/// look like a store that hangs.
pub const FLEET_DEADLINE_PER_IDENTITY: Duration = Duration::from_micros(10);

/// Lifetime of a claim in the shared store that is neither confirmed nor released (default).
/// Why: longer than a full queue of the spool takes on a disk that stalls for seconds; not longer, because for this time a
/// client whose gateway died is told to retry.
pub const FLEET_CLAIM_TTL: Duration = Duration::from_secs(30);

/// Longest deadline and longest lifetime of a claim that can be configured.
/// Why: beyond them a request outlasts its client, and a dead gateway's events are blocked for longer than clients retry.
pub const FLEET_DEADLINE_MAX: Duration = Duration::from_secs(5);
/// See [`FLEET_DEADLINE_MAX`].
/// Why: likewise.
pub const FLEET_CLAIM_TTL_MAX: Duration = Duration::from_secs(3600);

/// Bytes of the prefix of every key in the shared store.
/// Why: the prefix is stored with each identity; up to 14 bytes cost nothing there, and a long one is a mistake.
pub const FLEET_KEY_PREFIX_BYTES_MAX: usize = 64;

/// Identities that wait to be confirmed in the shared store; with more, the oldest are given up, and counted.
/// Why: 16 MB; an hour of the mission's load while the store is down.
pub const FLEET_BACKLOG_IDENTITIES_MAX: usize = 1 << 20;

/// Identities claimed or confirmed in one round trip.
/// Why: the store executes them in some 2 ms, for which other requests on the same connection wait. Nearly every request has
/// fewer.
pub const FLEET_PIPELINE_IDENTITIES: usize = 1_000;

/// Timeout of a round trip for which no request waits: confirmations, and the probe of a store that answers.
/// Why: a store that takes longer hangs.
pub const FLEET_SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time to connect to the shared store: name, TCP, TLS, password.
/// Why: four round trips with one packet lost; the start waits for it once.
pub const FLEET_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two probes of a shared store that answers.
/// Why: `/readyz` reports a failure within about a second, also without events.
pub const FLEET_PROBE_EVERY: Duration = Duration::from_secs(1);

/// First and longest pause between two attempts to reach a failed shared store.
/// Why: a failover takes seconds; until the gateway notices that the store is back, events are accepted unchecked.
pub const FLEET_PROBE_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Time for which the shared store must have answered for its next failure to count as the first.
/// Why: if a store answers probes but not claims, only one request per longest pause waits for the deadline, not every request.
pub const FLEET_STEADY_AFTER: Duration = Duration::from_secs(10);

/// Time that a stop gives to confirm accepted events in the shared store.
/// Why: a store that answers confirms the longest backlog in less; one that is down must not delay the stop.
pub const FLEET_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
