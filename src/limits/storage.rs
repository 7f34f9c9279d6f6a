//! Limits of the spool and of what knows identities.

use std::time::Duration;

use super::{
    ENVELOPE_BYTES_MAX, EVENT_BYTES_MAX,
    units::{KIB, MIB},
};
use crate::fault::Patience;

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

/// How long a block of the spool that cannot be read is tried again before its events are given up (default of the budget).
/// Why: the first pause is shorter than a hiccup of a network disk, the longest still notices within seconds that it is
/// back; and a multipath failover or a volume that is attached again takes one to two minutes.
pub const SPOOL_UNREADABLE_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(120) };

/// How long a start waits for what the system lacks, or for a folder that cannot be read.
/// Why: descriptors and memory are there again within seconds where they are at all; a start that takes longer is taken for
/// a hang by whoever supervises it.
pub const SPOOL_START_PATIENCE: Patience =
    Patience { first: Duration::from_millis(50), longest: Duration::from_secs(1), budget: Duration::from_secs(20) };

/// Time after which the spool's folder and files are looked at, whether they are still there.
/// Why: what vanished is to be noticed within a second, and a look costs some ten system calls.
pub const SPOOL_LOOK_EVERY: Duration = Duration::from_millis(500);

/// Closed segments whose names are looked at in one look.
/// Why: a spool of the default size has 160; a hundred system calls take a tenth of a millisecond.
pub const SPOOL_LOOK_SEGMENTS: usize = 100;

/// How long a spool whose folder is gone, with events in it that are not delivered, waits for it to come back before it goes
/// on without them.
/// Why: as long as for a block that cannot be read: somebody may put the folder back.
pub const SPOOL_MISSING_PATIENCE: Patience =
    Patience { first: Duration::from_millis(500), longest: Duration::from_millis(500), budget: Duration::from_secs(120) };

/// How many times its usual size a segment may have where the next one cannot be begun.
/// Why: descriptors are there again within seconds, and a segment of 256 MiB is still read through in a second at a start.
pub const SEGMENT_STRETCH_MAX: u64 = 4;

/// Records that `lakegate spool quarantine salvage` stores at once.
/// Why: as many as a largest request has, which the window and the spool take in one go.
pub const SALVAGE_RECORDS: usize = 1_000;

/// Bytes that are read of the list of losses.
/// Why: some ten thousand losses; a disk with more has other worries.
pub const SPOOL_LOSSES_READ_BYTES: usize = 4 * MIB;

/// Identities of lost events that one line of the list of losses names.
/// Why: 400 KB a line; a whole segment of usual events has more, and then the numbers say which.
pub const SPOOL_LOSS_EVENTS_MAX: usize = 5_000;

/// Records of the spool read at once while their identities are restored.
/// Why: some 8 MB of usual events; a start with a full spool stays within flat memory.
pub const RESTORE_RECORDS: usize = 16_384;

// ---- shares of keys ---------------------------------------------------------------------------------------------------

/// Percent of the spool and of the dedup window that a browser key may hold (default, where there is another key).
/// Why: everybody who opens the page has the key. Whatever is sent with it, half of the spool is left to all others: the
/// default quota then lasts them for ten hours.
pub const BROWSER_SHARE_PERCENT: u8 = 50;

/// Percent of the spool and of the dedup window that a server key may hold (default, where there is another key).
/// Why: services are trusted and send the most; but one that runs in a loop leaves two hours of an outage to the others.
pub const SERVER_SHARE_PERCENT: u8 = 90;

/// Stretches in which the undelivered bytes of a key are counted, in a full spool.
/// Why: what a key holds is known to 0.03 % of the quota (2.5 MiB of 10 GiB), in some 100 KiB of memory for all keys.
pub const SHARE_STRETCHES: u64 = 4096;

/// Buckets of time in which the identities of a key are counted.
/// Why: those of the default window have ten hours, so a key may send again at most ten hours late; 17 of them are 272 bytes.
pub const DEDUP_SHARE_BUCKETS: i64 = 16;

/// Percent of `dedup.identities_max` from which on keys are held to their shares of it.
/// Why: below it no identity is forgotten before its time, so nobody is harmed; the rest is left to the keys within theirs.
pub const DEDUP_SHARE_FROM_PERCENT: u8 = 90;

/// Bytes of the spool read at once while what each key has in it is counted after a start.
/// Why: read in some milliseconds, after which the disk is left to others for as long.
pub const RECOUNT_BYTES: usize = 4 * MIB;

// ---- dedup window ----------------------------------------------------------------------------------------------------

/// Days that an identity is remembered (default).
/// Why: the JS client replays for three days; services are redeployed within a week.
pub const DEDUP_WINDOW_DAYS: u32 = 7;

/// Identities remembered at most (default).
/// Why: 2.1 GB on disk (a quarter more while runs are merged) and 120 MB of filters; the mission's load for four days,
/// longer than any client replays.
pub const DEDUP_IDENTITIES_MAX: u64 = 100_000_000;

/// Identities in the hot generation, in memory, before it is sealed into a sorted run on disk.
/// Why: about 5.5 MB of hash set, of which there are two, and half a second of the highest rate that two processors reach;
/// sealing sorts and writes 2.6 MB in some 25 ms. Twice as many took 20 MiB more at its peak and made no event cheaper.
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

/// How a seal or a merge that failed is tried again, without end.
/// Why: a disk that is full or broken stays so for longer; half a minute is soon enough once a person has made room.
pub const DEDUP_WRITE_PATIENCE: Patience =
    Patience { first: Duration::from_millis(200), longest: Duration::from_secs(30), budget: Duration::MAX };

/// The same after an error that passes by itself, as a missing descriptor.
/// Why: half a second of the highest load fits into memory meanwhile; a try costs next to nothing.
pub const DEDUP_TRANSIENT_PATIENCE: Patience =
    Patience { first: Duration::from_millis(50), longest: Duration::from_secs(1), budget: Duration::MAX };

/// How long a page that cannot be read is tried again before its identities count as forgotten.
/// Why: a disk that is reset or a volume that is attached anew is back within two minutes; until then an event that may be
/// in the page is answered with retry, which is one of 250 of those that are new.
pub const DEDUP_READ_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(120) };

/// How long a start waits for runs that cannot be opened or read, all of them together, before it sets them aside.
/// Why: whoever waits for the start waits for this; an error that passes is gone within seconds.
pub const DEDUP_OPEN_PATIENCE: Patience =
    Patience { first: Duration::from_millis(50), longest: Duration::from_secs(1), budget: Duration::from_secs(10) };

/// How often the window looks whether its folder and its files are still there.
/// Why: what is removed is noticed within a second, for some 20 calls that read no disk.
pub const DEDUP_LOOK_EVERY: Duration = Duration::from_secs(1);

/// For how long claims may be refused because the window is full, before that is a fault.
/// Why: a seal takes some 25 ms; a disk that needs a second for one is not keeping up.
pub const DEDUP_FULL_AFTER: Duration = Duration::from_secs(1);

/// Confirmed time for which a run that has left the window stays on disk, set aside, at least.
/// Why: a person who sees that something was forgotten wrongly needs a day to stop that.
pub const DEDUP_SET_ASIDE_FOR: Duration = Duration::from_secs(86_400);

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
