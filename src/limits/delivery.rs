//! Limits of delivery: the lake, Kinesis, the dead letters.

use std::time::Duration;

use super::{
    FRAME_BODY_BYTES_MAX,
    units::{KIB, MIB},
};
use crate::fault::Patience;

// ---- delivery and lake -----------------------------------------------------------------------------------------------

/// Bytes of records in one batch for the lake (default).
/// Why: held in memory while its files are written; gives Parquet row groups worth having.
pub const LAKE_BATCH_BYTES_MAX: usize = 32 * MIB;

/// Records in one batch for the lake.
/// Why: bounds the memory beside the bytes, and how long one flush takes (LAKE.md: 1 M events in 1.9 s).
pub const LAKE_BATCH_RECORDS_MAX: usize = 131_072;

/// Age of the oldest record at which a batch for the lake is flushed (default).
/// Why: a minute is fresh enough for reports, and 60 times fewer files than a second.
pub const LAKE_FLUSH_AGE: Duration = Duration::from_secs(60);

/// Least time between two flushes of the lake that requests wait for (`durability=delivered`).
/// Why: all that wait share one, and each costs a file of every partition; so it is four a second however many ask. Who waits
/// is answered a quarter of a second later at most, and after a quiet time at once.
pub const LAKE_AWAITED_FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Partitions that one flush of the lake writes; those beyond it are written by the next ones, of the same events.
/// Why: each takes a file in the making and some hundred bytes of upkeep; 8 at a time are some seconds of work, after which
/// newer events have their turn. A usual minute has 20.
pub const LAKE_FLUSH_PARTITIONS_MAX: usize = 256;

/// Partitions of one key among them, where more wait.
/// Why: half is left for all others, so that their events do not wait behind those of one key.
pub const LAKE_FLUSH_PARTITIONS_PER_KEY: usize = LAKE_FLUSH_PARTITIONS_MAX / 2;

/// First and longest pause between two tries of a delivery that failed as a whole.
/// Why: full jitter between them; 30 s is soon enough after an outage and no load while it lasts.
pub const DELIVERY_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How long a delivery waits for a fault of the disk: reading, the cursor, the journal, a dead letter.
/// Why: what passes is met soon, what stays costs nothing; and there is no end to it, because an accepted event is never given
/// up. When a block that cannot be read counts as lost, the spool decides.
pub const DELIVERY_DISK_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(10), budget: Duration::MAX };

/// Stretches of which some partition could not be written; beyond it nothing more is read until one is.
/// Why: each is a few hundred bytes in memory. At a flush a minute it is eleven days, so the quota of the spool comes first.
pub const LAKE_UNDELIVERED_RANGES_MAX: usize = 16_384;

/// Quiet time after which the active segment, when all of it is delivered, is closed and unlinked.
/// Why: a gateway with little traffic must not keep delivered events on its disk for weeks.
pub const IDLE_ROLL_AFTER: Duration = Duration::from_secs(300);

/// The same where what is delivered still takes half of the quota, so that new events would soon find no room.
/// Why: below the seconds after which a refused client comes again ([`super::RETRY_AFTER_SECONDS`]).
pub const CROWDED_ROLL_AFTER: Duration = Duration::from_secs(1);

/// Bytes that quota and disk must leave for the gateway to be ready.
/// Why: "an event posted now would be stored" has to be true of the largest one, with its frame and a new segment's header.
pub const READY_BYTES_MIN: u64 = (FRAME_BODY_BYTES_MAX + KIB) as u64;

/// Time that a stop gives the spool to drain into the sink (default); what is left stays spooled.
/// Why: Kubernetes and systemd kill after 30 and 90 s; the answer to requests in flight takes the rest.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Time that a stop gives the requests in flight.
/// Why: longer than any request takes that is not stalled.
pub const STOP_REQUESTS_TIMEOUT: Duration = Duration::from_secs(10);

/// Partitions that are encoded and written at one time.
/// Why: fsyncs and uploads wait more than they compute; their encoded files together stay below one batch.
pub const LAKE_PARTITIONS_AT_ONCE: usize = 8;

/// Rows that are gathered into arrays before they are encoded.
/// Why: a few hundred KB of events at a time stay in the cache, and are enough to amortise the call.
pub const LAKE_CHUNK_ROWS: usize = 8_192;

/// Bytes of payload that end a chunk early.
/// Why: arrow's string offsets are 32 bits wide; this stays far below whatever the sizes of events.
pub const LAKE_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// Folders remembered as durably created.
/// Why: 100 types of 366 days; about 5 MB. Beyond it they are forgotten, and fsynced once more.
pub const LAKE_KNOWN_FOLDERS_MAX: usize = 40_000;

/// Identities by which a data folder knows its files in the lake, beside its spool's.
/// Why: a copied folder needs one, a folder restored from a backup one for each time; older ones matter no more once the
/// delivery that used them is complete.
pub const LAKE_IDENTITIES_MAX: usize = 16;

/// Names under which a file of the lake is tried to be put, one after the other, before the deliverer pauses.
/// Why: the spool's identity and a new one are enough; a third serves two lives that meet at the same moment.
pub const LAKE_NAMES_TRIED_MAX: usize = 3;

/// Files of the lake remembered by name, of the partitions that were written to.
/// Why: 100 types, a file a minute, for a week; about 50 MB. Beyond it they are forgotten, and listed once more.
pub const LAKE_KNOWN_FILES_MAX: usize = 1_000_000;

/// How long a file of the lake that is to be compared, and cannot be read, is tried again.
/// Why: as for a block of the spool; until then its partition waits, and after it the rows are written a second time.
pub const LAKE_UNREADABLE_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(120) };

/// Rows that the reader decodes at one time.
/// Why: 400 KB of usual events; memory stays flat however large the lake is.
pub const LAKE_READ_ROWS: usize = 1_024;

/// Files that the reader looks into at one time, local and on S3.
/// Why: a local footer costs CPU, a remote one a round trip of some 30 ms.
pub const LAKE_READERS: (usize, usize) = (2, 16);

/// Partitions that are listed, and then looked into, at one time.
/// Why: bounds the list of files in memory, and still gives every thread something to do.
pub const LAKE_PARTITIONS_PER_WAVE: usize = 256;

/// Time that one request may take.
/// Why: 32 MiB in 60 s is 4.5 Mbit/s; what takes longer is better begun anew.
pub const S3_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that the reader fetches at one time.
/// Why: most files are smaller, and are then one request; a block in 30 ms is 35 MB/s.
pub const S3_BLOCK_BYTES: u64 = 1024 * 1024;

/// Blocks that are kept of a file.
/// Why: a reader goes through its nine columns side by side.
pub const S3_BLOCKS_KEPT: usize = 12;

/// Bytes of a name that a generated view gives to a table or a column.
/// Why: Athena's catalogue takes 255, and a number may be added to tell two names apart.
pub const VIEW_NAME_BYTES_MAX: usize = 240;

// ---- kinesis ---------------------------------------------------------------------------------------------------------

/// Records in one PutRecords call.
/// Why: the API takes no more ("Each PutRecords request can support up to 500 records").
pub const KINESIS_CALL_RECORDS_MAX: usize = 500;

/// Bytes of one PutRecords call, partition keys included, that may be configured.
/// Why: the API takes no more since its limit was raised from 5 to 10 MiB (KINESIS.md).
pub const KINESIS_CALL_BYTES_MAX: usize = 10 * MIB;

/// Bytes of one PutRecords call, partition keys included (default).
/// Why: the older limit, which third-party servers still enforce; a call of 5 MiB is efficient already.
pub const KINESIS_CALL_BYTES: usize = 5 * MIB;

/// Bytes of one record with its partition key that may be configured.
/// Why: the greatest `MaxRecordSize` that a stream can be given.
pub const KINESIS_RECORD_BYTES_MAX: usize = 10 * MIB;

/// Bytes of one record with its partition key (default).
/// Why: a stream's `MaxRecordSize` unless it was raised.
pub const KINESIS_RECORD_BYTES: usize = MIB;

/// Characters of a partition key.
/// Why: the API's limit; a longer one is replaced by its hash.
pub const KINESIS_KEY_CHARS_MAX: usize = 256;

/// Bytes of one packed record (default).
/// Why: two of the 25 KB units that AWS bills (taken as 25,000 B, the stricter reading): the last event wastes little,
/// and 70 events of 700 B share what one event alone would be billed for.
pub const KINESIS_AGGREGATE_BYTES: usize = 50_000;

/// Bytes of a PUT payload unit, in which provisioned streams bill every record.
/// Why: 25 KB by AWS's prices; a megabyte is said to have 40, so 25,000 is meant, or less is billed than counted.
pub const PUT_UNIT_BYTES: usize = 25_000;

/// Hours of a month, as AWS reckons.
/// Why: 365 days × 24 / 12.
pub const PLAN_HOURS_PER_MONTH: f64 = 730.0;

/// Events in one packed record.
/// Why: Firehose splits a record into 500 at most.
pub const KINESIS_AGGREGATE_EVENTS_MAX: usize = 500;

/// Time that an event waits for others to be sent with it (default).
/// Why: consumers poll five times a second; at 1 M events/hour a call then carries 70 events.
pub const KINESIS_LINGER: Duration = Duration::from_millis(250);

/// PutRecords calls in flight at one time (default).
/// Why: at 30 ms a call 8 × 500 records are 130,000 events/s.
pub const KINESIS_CALLS_IN_FLIGHT: usize = 8;

/// Bytes of the answer to a call that are read.
/// Why: a result takes some 120 bytes, an error with its message under 1 KiB, and there are 500; what is longer is no answer.
pub const KINESIS_ANSWER_BYTES_MAX: usize = 2 * MIB;

/// Time after which a PutRecords call counts as unanswered (default).
/// Why: 5 MiB over a slow line take some seconds; AWS answers in some 20 ms.
pub const KINESIS_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a connection to the stream may take to be made.
/// Why: far above any round trip; a dead address is noticed soon.
pub const KINESIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time after which an idle connection to the stream is closed by us.
/// Why: servers close theirs sooner than the SDK's 90 s and then reset the next call (aws-sdk-rust 1106).
pub const KINESIS_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of events for a stream held in memory (default).
/// Why: nearly 5 calls of 5 MiB, or 60 of 500 events of the usual size, where 8 are in flight; more would only wait in memory
/// instead of on disk, and memory stays flat however long the stream is down.
pub const KINESIS_MEMORY_BYTES: usize = 24 * MIB;

/// Bytes of memory that every shard may have at least, whatever the number of shards.
/// Why: a largest record fits.
pub const KINESIS_SHARD_BYTES_MIN: usize = 2 * MIB;

/// Bytes that the upkeep of one waiting event takes beside its data and its key.
/// Why: measured with the structures of `deliver/stream`; counted so that a million empty events are no surprise.
pub const KINESIS_ENTRY_OVERHEAD_BYTES: usize = 160;

/// Least time between two looks at the stream's shards.
/// Why: ListShards allows 1,000 calls/s, but a fleet shares it; a reshard is noticed by the answers meanwhile.
pub const KINESIS_SHARDS_REFRESH_MIN: Duration = Duration::from_secs(5);

/// Time after which the stream's shards are looked at again in any case.
/// Why: a scaled stream is used whole within minutes even where no answer gave it away.
pub const KINESIS_SHARDS_REFRESH: Duration = Duration::from_secs(300);

/// Shards of a stream that are told apart; a stream with more is treated as one.
/// Why: bounds the metrics and the memory; 10,000 shards take 10 GB/s.
pub const KINESIS_SHARDS_MAX: usize = 10_000;

/// Percent of the throughput that events from an outage get while new ones flow (default).
/// Why: half and half: the backlog drains as fast as new events flow, or faster where there is room.
pub const BACKLOG_PERCENT: u8 = 50;

/// Age from which undelivered events are a backlog, so that newer ones need not wait behind them.
/// Why: above any linger and any pause between two tries of a stream in health.
pub const BACKLOG_AFTER: Duration = Duration::from_secs(10);

/// Bytes of the spool that one read for a stream takes.
/// Why: a full call of usual events and some more.
pub const STREAM_READ_BYTES: usize = MIB;

/// Time between two reads at the spool's end, at most a quarter of the linger.
/// Why: at 10,000 single events a second the spool commits some 1,000 groups; to look at each would wake a thread for each.
pub const STREAM_READ_INTERVAL: Duration = Duration::from_millis(10);

/// Records of the spool that one read for a stream takes.
/// Why: some milliseconds of work between two looks at the answers.
pub const STREAM_READ_RECORDS: usize = 2_000;

/// Events between the oldest undelivered one and the newest that was read.
/// Why: what is known of each is two bits in memory: 16 MiB here. Beyond it reading waits for the oldest.
pub const STREAM_AHEAD_EVENTS_MAX: u64 = 64 << 20;

/// Calls in a row that fail as a whole before the stream is said to be unreachable, where nobody has to act.
/// Why: one reset or one time-out is daily life; three in a row are an outage.
pub const STREAM_FAILURES_REPORTED: u32 = 3;

/// Age up to which a success of the stream proves that what it finds not valid just after is bad itself.
/// Why: the two calls follow each other; a stream that broke in between is taken for one that works only if it broke in these
/// seconds.
pub const STREAM_PROOF_AGE: Duration = Duration::from_secs(10);

/// Events that wait to become dead letters because the stream never takes them; beyond it nothing more is read.
/// Why: some 2 MB. They wait only where dead letters cannot be written, or their own blocks not be read.
pub const STREAM_REFUSALS_MAX: usize = 10_000;

/// Time after which a shard that takes nothing is named in `/readyz`.
/// Why: a hot second is daily life, and its pauses have grown by then.
pub const SHARD_FAILING_AFTER: Duration = Duration::from_secs(5);

/// Least time between two moves of the cursor on disk.
/// Why: two fsyncs each; the journal already knows what was delivered.
pub const STREAM_COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes that the journal of deliveries grows by before it is written anew.
/// Why: some 100,000 calls; reading it takes milliseconds.
pub const JOURNAL_BYTES_MAX: u64 = 8 * MIB as u64;

/// Time over which a shard's answers are gathered before its rate is changed.
/// Why: some round trips; a shard's own limits count per second.
pub const PACE_INTERVAL: Duration = Duration::from_millis(250);

/// Time that a shard held to a rate gathers room before it is sent to again.
/// Why: without it every record would go in a call of its own as soon as there is room for one; this is ten calls a second.
pub const PACE_REST: Duration = Duration::from_millis(100);

/// Share of throttled records up to which a shard's rate is not lowered.
/// Why: finding the limit takes some throttling; a tenth costs little, and a shard that throttles at random is not starved.
pub const PACE_THROTTLED_SHARE: f64 = 0.1;

/// The part by which a shard's rate grows in one interval without much throttling.
/// Why: from half of the limit back to it in four seconds; faster would throttle more of what is sent.
pub const PACE_GROWTH: f64 = 0.05;

/// Intervals without much throttling after which the growth doubles with each further one.
/// Why: two seconds at a rate that the shard takes mean that its limit is not near, as after a reshard or an outage.
pub const PACE_CALM_INTERVALS: u32 = 8;

/// First and longest pause between two tries of a stream, or of a shard, that takes nothing.
/// Why: full jitter between them; it is one call at a time, so every few seconds is no load, and so long after an outage
/// nothing is delivered.
pub const STREAM_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Least rate of a shard, as a part of what an undisturbed shard takes (1,000 records/s, 1 MB/s).
/// Why: 20 gateways that share one shard.
pub const PACE_RATE_MIN: f64 = 0.05;

/// Records and bytes per second that an undisturbed shard takes.
/// Why: the API's limits per shard; only the relation of records to bytes is used, the rate itself is learned.
pub const SHARD_PER_SECOND: (f64, f64) = (1_000.0, 1_000_000.0);

// ---- dead letters ----------------------------------------------------------------------------------------------------

/// Bytes of dead letters kept per source (default); beyond it that key's bad events are answered `retry`.
/// Why: half a million letters; a source that fills it needs a person, and the others must not suffer.
pub const DEAD_LETTER_BYTES_PER_SOURCE_MAX: u64 = 256 * MIB as u64;

/// Percent of what a key's dead letters may hold from which on `/readyz` warns.
/// Why: a person has time to replay or drop some before events are answered `retry`.
pub const DEAD_LETTER_WARN_PERCENT: u64 = 50;

/// Percent of what a key's dead letters may hold that is left to small ones: see [`DEAD_LETTER_SMALL_BYTES`].
/// Why: whoever fills the rest with large ones does not keep out the few faults of a page or a service.
pub const DEAD_LETTER_RESERVE_PERCENT: u64 = 25;

/// Bytes on disk up to which the letters of one request are small.
/// Why: twenty rejected events as they were sent, or some hundred packed.
pub const DEAD_LETTER_SMALL_BYTES: usize = 16 * KIB;

/// Bytes up to which the only letter of a request is always written as it is.
/// Why: one event with a fault or two, which a person wants to read with `tail`.
pub const DEAD_LETTER_PLAIN_BYTES: usize = 2 * KIB;

/// Bytes that several letters of one request may have and still be written as they are, however few bytes were received.
/// Why: one that holds eight faulty events of a byte each makes letters of 400 bytes for each.
pub const DEAD_LETTERS_PLAIN_BYTES: usize = 512;

/// How many times the bytes that were received the letters of one request may have and still be written as they are.
/// Why: two to three times is usual for events that came uncompressed, with their reasons; the rest is packed, so that what
/// was sent compressed does not fill the disk inflated.
pub const DEAD_LETTER_PLAIN_RATIO: usize = 4;

/// Bytes from which the letters of one request are packed, however many were received.
/// Why: a hundred events; more of one kind are a tenth of that when packed.
pub const DEAD_LETTER_PLAIN_BYTES_MAX: usize = 64 * KIB;

/// Bytes of letters that are packed together.
/// Why: this is what waits in memory; less would make a dozen packs of the letters of one request, each with a beginning that
/// compresses badly.
pub const DEAD_LETTER_PACK_BYTES: usize = 2 * MIB;

/// Bytes that packed letters may have when they are unpacked.
/// Why: those that are packed together, the last of which may have an event of [`DEAD_LETTER_EVENT_BYTES_MAX`] with each
/// quote escaped.
pub const DEAD_LETTER_UNPACKED_BYTES_MAX: usize = 10 * MIB;

/// Bytes of an event that a dead letter holds whole; of a larger one it holds the first [`DEAD_LETTER_HEAD_BYTES`].
/// Why: twice what an event may have, so that one which is slightly too large can still be patched and replayed.
pub const DEAD_LETTER_EVENT_BYTES_MAX: usize = 2 * MIB;

/// Bytes that are kept of an event that is larger than [`DEAD_LETTER_EVENT_BYTES_MAX`].
/// Why: it shows who sent what; the whole can never be taken.
pub const DEAD_LETTER_HEAD_BYTES: usize = 64 * KIB;

/// Bytes at which a dead-letter file is closed and the next one begun.
/// Why: opens in an editor; the unit of deletion.
pub const DEAD_LETTER_FILE_BYTES: u64 = 16 * MIB as u64;

/// Files that are tried one after the other where a dead-letter file cannot be used, and times that letters are written anew
/// where it lost its name meanwhile.
/// Why: a folder or a file of somebody else's in one place is an accident; in eight it is the whole folder.
pub const DEAD_LETTER_FILE_TRIES: u32 = 8;

/// Time between two looks whether the dead letters still are what they were: full, unwritable, so many bytes.
/// Why: soon enough for whoever made room and looks at `/readyz`, and cheap: a listing of some folders.
pub const DEAD_LETTER_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Bytes of dead letters that may wait on disk for a stream of their own (default).
/// Why: as many as a source may keep in files, twice; the events themselves need the disk more.
pub const DEAD_LETTER_SPOOL_BYTES_MAX: u64 = 512 * MIB as u64;

/// Percent of [`DEAD_LETTER_SPOOL_BYTES_MAX`] that the dead letters of one key may have (default).
/// Why: three others still have theirs while one sends nothing but garbage and the stream is away.
pub const DEAD_LETTER_SHARE_PERCENT: u8 = 25;

/// Bytes of dead letters waiting for their writer; beyond it bad events are answered `retry`.
/// Why: one largest body with its reasons, and some more.
pub const DEAD_LETTER_QUEUE_BYTES_MAX: usize = 48 * MIB;
