//! Limits of the spool and of what knows identities.

use std::time::Duration;

use super::{ENVELOPE_BYTES_MAX, EVENT_BYTES_MAX, KIB, MIB};

// ---- spool -----------------------------------------------------------------------------------------------------------

/// Bytes of one frame's body in the spool: a record with its envelope.
/// Why: what [`EVENT_BYTES_MAX`] and [`ENVELOPE_BYTES_MAX`] allow together; a longer length on disk is corruption.
pub const FRAME_BODY_BYTES_MAX: usize = EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// Bytes at which a spool segment is closed and the next one begun (default).
/// Why: the unit of unlinking; small enough to free space soon, large enough that files stay few (160 in 10 GiB).
pub const SEGMENT_BYTES: u64 = 64 * MIB as u64;

/// Bytes of a delivered segment that are given back to the file system at once.
/// Why: measured on ext4 with `discard`, a segment of 64 MiB in one go keeps every `fdatasync` waiting for 40 to 50 ms, in
/// pieces of this size for 4 to 7; all of it takes some 60 ms either way.
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

/// Appends of a group commit after which the next one waits for as many, and for how long at most.
/// Why: an fsync costs the processor 50 to 100 µs beside the disk's time; shared by 60 appends instead of 30 that is 1.5 µs
/// less for each, and half a millisecond is less than any disk's own hiccups. Below it there is little to share.
pub const GROUP_GATHER_FROM: usize = 8;
/// See [`GROUP_GATHER_FROM`].
/// Why: the same.
pub const GROUP_GATHER_TIME: Duration = Duration::from_micros(500);

/// Bytes that one read takes from a segment.
/// Why: large enough that a read costs little beside its bytes, small enough that it is still in the processor's own cache
/// when it is checked and sent, and that one body kept for long keeps little.
pub const SPOOL_READ_CHUNK_BYTES: usize = 128 * KIB;

/// Bytes that a disk fails to read at a time.
/// Why: the sector of today's disks and the page of the system's cache.
pub const SPOOL_UNREADABLE_BLOCK_BYTES: usize = 4096;

/// Failed reads in a row after which blocks that the disk does not yield are taken for damaged.
/// Why: one failure may be a hiccup of a network disk and is worth waiting for; a bad sector stays bad, and must not keep
/// what lies behind it from being delivered. At the deliverer's backoff this is some minutes.
pub const SPOOL_READ_TRIES: u32 = 10;

/// Records of the spool read at once while their identities are restored.
/// Why: some 8 MB of usual events; a start with a full spool stays within flat memory.
pub const RESTORE_RECORDS: usize = 16_384;

// ---- dedup window ----------------------------------------------------------------------------------------------------

/// Days that an identity is remembered (default).
/// Why: the JS client replays for three days; services are redeployed within a week.
pub const DEDUP_WINDOW_DAYS: u32 = 7;

/// Identities remembered at most (default).
/// Why: 1.7 GB on disk (a quarter more while runs are merged) and 120 MB of filters; the mission's load for four days,
/// longer than any client replays.
pub const DEDUP_IDENTITIES_MAX: u64 = 100_000_000;

/// Identities in the hot generation, in memory, before it is sealed into a sorted run on disk.
/// Why: about 4 MB of hash set, of which there are two, and half a second of the highest rate that two processors reach;
/// sealing sorts and writes 2 MB in some 25 ms. Twice as many took 20 MiB more at its peak and made no event cheaper.
pub const DEDUP_HOT_IDENTITIES: usize = 131_072;

/// Identities in one slice of a run, at most, about.
/// Why: a merge holds one slice in memory while it builds the filter, some 10 MB; a seal waits for one at most.
pub const DEDUP_SLICE_IDENTITIES: u64 = 1 << 18;

/// Identities restored under one hold of the lock.
/// Why: what the caller reads them from is not read under the lock.
pub const DEDUP_RESTORE_BATCH: usize = 4096;

/// Runs of one tier that become one of the next.
/// Why: each identity is rewritten once a tier (4 times on its way to 67 M), and a lookup probes at most 3 runs a tier.
pub const DEDUP_MERGE_FACTOR: usize = 4;

/// Pages read at once from an input.
/// Why: 256 KiB an input; sequential enough for any disk.
pub const DEDUP_READ_PAGES: usize = 64;

/// The part of the window and of its duration that one run may span: what is forgotten at once.
/// Why: a quarter is the grain that the limits promise; finer means more runs to probe.
pub const DEDUP_RUN_GRAIN: u64 = 4;

/// First and longest pause after a seal or a merge that failed.
/// Why: a disk that is full or broken stays so for longer; half a minute is soon enough once a person has made room.
pub const DEDUP_RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Bytes of pages gathered before they are written.
/// Why: 64 pages a system call; more gains nothing.
pub const DEDUP_WRITE_BYTES: usize = 256 * KIB;

/// Bytes after which a run in the making is synced.
/// Why: one slice of the usual size; a single sync of 400 MB at the end would hold up the seals that wait behind it.
pub const DEDUP_SYNC_BYTES: u64 = 16 << 20;

// ---- the dedup store of a fleet --------------------------------------------------------------------------------------

/// Time that a request waits for the shared store to answer its claims (default).
/// Why: in one data centre the store answers in about 1 ms, and a pause for its snapshot of some GB stays below this too.
/// Longer would be felt by whoever waits while the store is slow, for an event that is accepted anyway.
pub const FLEET_DEADLINE: Duration = Duration::from_millis(50);

/// Time that is added to the deadline for each identity that is claimed.
/// Why: four times what store and gateway need (2 µs each way), so that a largest request, which takes some 30 ms, is not
/// taken for a store that hangs.
pub const FLEET_DEADLINE_PER_IDENTITY: Duration = Duration::from_micros(10);

/// Time that a claim in the shared store lives which is neither confirmed nor released (default).
/// Why: longer than a full queue of the spool takes on a disk that stalls for seconds; and no longer, because for this time
/// a client whose gateway died is told to retry.
pub const FLEET_CLAIM_TTL: Duration = Duration::from_secs(30);

/// Longest deadline and longest life of a claim that can be configured.
/// Why: beyond them a request outlasts its client, and a dead gateway's events are held up for longer than clients retry.
pub const FLEET_DEADLINE_MAX: Duration = Duration::from_secs(5);
/// See [`FLEET_DEADLINE_MAX`].
/// Why: likewise.
pub const FLEET_CLAIM_TTL_MAX: Duration = Duration::from_secs(3600);

/// Bytes of the prefix of every key in the shared store.
/// Why: it is stored with each identity; up to 14 bytes cost nothing there, and a long one is a mistake.
pub const FLEET_KEY_PREFIX_BYTES_MAX: usize = 64;

/// Identities that wait to be confirmed in the shared store; beyond it the oldest are given up, and counted.
/// Why: 16 MB; an hour of the mission's load while the store is away.
pub const FLEET_BACKLOG_IDENTITIES_MAX: usize = 1 << 20;

/// Identities claimed or confirmed in one round trip.
/// Why: the store executes them in some 2 ms, for which what others ask on the same connection waits. Nearly every request
/// has fewer.
pub const FLEET_PIPELINE_IDENTITIES: usize = 1_000;

/// Time that a round trip may take for which no request waits: confirmations, and the probe of a store that answers.
/// Why: a store that takes longer hangs.
pub const FLEET_SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time to connect to the shared store: name, TCP, TLS, password.
/// Why: four round trips with one packet lost; the start waits for it once.
pub const FLEET_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two probes of a shared store that answers.
/// Why: `/readyz` knows within about a second that it does not, also when no events come.
pub const FLEET_PROBE_EVERY: Duration = Duration::from_secs(1);

/// First and longest pause between two tries to reach a shared store that fails.
/// Why: a failover takes seconds, and in every second that it is back unnoticed events are accepted unchecked.
pub const FLEET_PROBE_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Time for which the shared store must have answered for its next failure to count as the first.
/// Why: of a store that answers probes but not claims, one request in a longest pause waits for the deadline, not every one.
pub const FLEET_STEADY_AFTER: Duration = Duration::from_secs(10);

/// Time that a stop gives to telling the shared store what was accepted.
/// Why: the longest backlog that a store which answers leaves is told in less; one that is away must not hold up the stop.
pub const FLEET_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
