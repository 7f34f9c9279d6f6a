//! Limits of delivery: the lake, Kinesis, the dead letters.

use std::time::Duration;

use super::{
    FRAME_BODY_BYTES_MAX,
    units::{KIB, MIB},
};
use crate::fault::Patience;

// ---- delivery and lake -----------------------------------------------------------------------------------------------

/// Bytes of records in one batch for the lake (default).
/// Why: the batch is in memory while its files are written; this size gives large enough Parquet row groups.
pub const LAKE_BATCH_BYTES_MAX: usize = 32 * MIB;

/// Records in one batch for the lake.
/// Why: bounds the memory per record, and the time of one flush (LAKE.md: 1 M events in 1.9 s).
pub const LAKE_BATCH_RECORDS_MAX: usize = 131_072;

/// Age of the oldest record at which a batch for the lake is flushed (default).
/// Why: a minute is fresh enough for reports, and makes 60 times fewer files than a second.
pub const LAKE_FLUSH_AGE: Duration = Duration::from_secs(60);

/// Least time between two flushes of the lake that requests wait for (`durability=delivered`).
/// Why: all waiting requests share one flush, and each flush writes a file per partition; this allows four flushes a second. A
/// request waits for at most a quarter of a second more; after a quiet time it does not wait more.
pub const LAKE_AWAITED_FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Partitions that one flush of the lake writes. The next flushes write the rest of the same events.
/// Why: each takes an open file and some hundred bytes of bookkeeping; at 8 at a time they take some seconds, and then newer
/// events have their turn. A usual minute has 20.
pub const LAKE_FLUSH_PARTITIONS_MAX: usize = 256;

/// Partitions of one key in a flush when more partitions wait.
/// Why: the other half is for all other keys, so that their events do not wait behind those of one key.
pub const LAKE_FLUSH_PARTITIONS_PER_KEY: usize = LAKE_FLUSH_PARTITIONS_MAX / 2;

/// First and longest pause between two attempts of a delivery that failed as a whole.
/// Why: with full jitter; 30 s is soon enough after an outage and no load while it lasts.
pub const DELIVERY_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How long a delivery retries after a disk error: reads, the cursor, the journal, a dead letter.
/// Why: the first pauses are short for transient errors, the long ones cost nothing; there is no end, because an accepted event
/// is never given up. The spool decides when an unreadable block counts as lost.
pub const DELIVERY_DISK_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(10), budget: Duration::MAX };

/// Ranges of which some partition could not be written; with more, reading stops until one is written.
/// Why: each takes a few hundred bytes in memory. At a flush a minute this lasts eleven days, so the spool's quota comes first.
pub const LAKE_UNDELIVERED_RANGES_MAX: usize = 16_384;

/// Quiet time after which a fully delivered active segment is closed and unlinked.
/// Why: a gateway with little traffic must not keep delivered events on its disk for weeks.
pub const IDLE_ROLL_AFTER: Duration = Duration::from_secs(300);

/// The same when delivered data takes half of the quota, so that new events would soon find no space.
/// Why: below the time after which a refused client retries ([`super::RETRY_STORAGE_SECONDS`]).
pub const CROWDED_ROLL_AFTER: Duration = Duration::from_secs(1);

/// Bytes that quota and disk must have free for the gateway to be ready.
/// Why: ready means that a new event of the largest size can be stored, with its frame and a new segment's header.
pub const READY_BYTES_MIN: u64 = (FRAME_BODY_BYTES_MAX + KIB) as u64;

/// Time that a stop gives the spool to drain into the sink (default); the rest stays spooled.
/// Why: Kubernetes kills after 30 s and systemd after 90 s; the requests in flight take the rest of that time.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Time that a stop gives the requests in flight.
/// Why: longer than any request that is not stalled.
pub const STOP_REQUESTS_TIMEOUT: Duration = Duration::from_secs(10);

/// Partitions encoded and written at one time.
/// Why: fsyncs and uploads wait more than they compute; the encoded files together stay below one batch.
pub const LAKE_PARTITIONS_AT_ONCE: usize = 8;

/// Rows collected into arrays before they are encoded.
/// Why: a few hundred KB of events stay in the cache, and are enough to amortise the call.
pub const LAKE_CHUNK_ROWS: usize = 8_192;

/// Bytes of payload that end a chunk early.
/// Why: arrow's string offsets are 32 bits wide; this stays far below for events of any size.
pub const LAKE_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// Folders remembered as durably created.
/// Why: 100 types of 366 days; about 5 MB. When full, all are forgotten and fsynced again.
pub const LAKE_KNOWN_FOLDERS_MAX: usize = 40_000;

/// Identities by which a data folder recognises its files in the lake, in addition to its spool's identity.
/// Why: a copied folder needs one, a folder restored from a backup one for each restore; an old identity is no longer needed
/// when the delivery that used it is complete.
pub const LAKE_IDENTITIES_MAX: usize = 16;

/// File names tried for one file of the lake before the deliverer pauses.
/// Why: the spool's identity and a new one are enough; a third covers two instances that collide at the same moment.
pub const LAKE_NAMES_TRIED_MAX: usize = 3;

/// Names of lake files remembered, of the partitions that were written to.
/// Why: 100 types, a file a minute, for a week; about 50 MB. When full, all are forgotten and listed again.
pub const LAKE_KNOWN_FILES_MAX: usize = 1_000_000;

/// How long the read of a lake file that must be compared is retried.
/// Why: as for a block of the spool; its partition waits until then, and afterwards the rows are written a second time.
pub const LAKE_UNREADABLE_PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(5), budget: Duration::from_secs(120) };

/// Rows that the reader decodes at one time.
/// Why: 400 KB of usual events; memory does not grow with the lake.
pub const LAKE_READ_ROWS: usize = 1_024;

/// Files that the reader opens at one time, local and on S3.
/// Why: a local footer costs CPU, a remote footer costs a round trip of some 30 ms.
pub const LAKE_READERS: (usize, usize) = (2, 16);

/// Partitions listed, and then opened, at one time.
/// Why: bounds the list of files in memory, and still gives every thread work.
pub const LAKE_PARTITIONS_PER_WAVE: usize = 256;

/// Timeout of one S3 request.
/// Why: 32 MiB in 60 s is 4.5 Mbit/s; a slower request is better started again.
pub const S3_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that the reader fetches from S3 at one time.
/// Why: most files are smaller and take one request; a block in 30 ms is 35 MB/s.
pub const S3_BLOCK_BYTES: u64 = 1024 * 1024;

/// Blocks cached per file.
/// Why: a reader reads its nine columns side by side.
pub const S3_BLOCKS_KEPT: usize = 12;

/// Bytes of the name that a generated view gives to a table or a column.
/// Why: Athena's catalogue takes 255, and a number may be appended to make two names distinct.
pub const VIEW_NAME_BYTES_MAX: usize = 240;

// ---- kinesis ---------------------------------------------------------------------------------------------------------

/// Records in one PutRecords call.
/// Why: the API takes no more ("Each PutRecords request can support up to 500 records").
pub const KINESIS_CALL_RECORDS_MAX: usize = 500;

/// Upper bound for the configured bytes of one PutRecords call, partition keys included.
/// Why: the API takes no more since its limit was raised from 5 to 10 MiB (KINESIS.md).
pub const KINESIS_CALL_BYTES_MAX: usize = 10 * MIB;

/// Bytes of one PutRecords call, partition keys included (default).
/// Why: the older limit, which third-party servers still enforce; a call of 5 MiB is efficient already.
pub const KINESIS_CALL_BYTES: usize = 5 * MIB;

/// Upper bound for the configured bytes of one record with its partition key.
/// Why: the greatest `MaxRecordSize` of a stream.
pub const KINESIS_RECORD_BYTES_MAX: usize = 10 * MIB;

/// Bytes of one record with its partition key (default).
/// Why: a stream's `MaxRecordSize` unless it was raised.
pub const KINESIS_RECORD_BYTES: usize = MIB;

/// Characters of a partition key.
/// Why: the API's limit; a longer one is replaced by its hash.
pub const KINESIS_KEY_CHARS_MAX: usize = 256;

/// Bytes of one packed record (default).
/// Why: two of the 25 KB units that AWS bills (taken as 25,000 B, the stricter reading): little of the last unit is wasted, and
/// 70 events of 700 B cost as much as one event alone.
pub const KINESIS_AGGREGATE_BYTES: usize = 50_000;

/// Bytes of a PUT payload unit, in which provisioned streams bill every record.
/// Why: AWS's price list says 25 KB and 40 units per megabyte; so 25,000 is meant, or AWS bills less than we count.
pub const PUT_UNIT_BYTES: usize = 25_000;

/// Hours per month in AWS's price calculations.
/// Why: 365 days × 24 / 12.
pub const PLAN_HOURS_PER_MONTH: f64 = 730.0;

/// Events in one packed record.
/// Why: Firehose splits a record into 500 at most.
pub const KINESIS_AGGREGATE_EVENTS_MAX: usize = 500;

/// Time that an event waits for other events to share its record (default).
/// Why: consumers poll five times a second; at 1 M events/hour a call then carries 70 events.
pub const KINESIS_LINGER: Duration = Duration::from_millis(250);

/// PutRecords calls in flight at one time (default).
/// Why: at 30 ms a call 8 × 500 records are 130,000 events/s.
pub const KINESIS_CALLS_IN_FLIGHT: usize = 8;

/// Bytes read of the response to a call.
/// Why: a result takes some 120 bytes, an error with its message under 1 KiB, and there are 500; a longer body is not a valid
/// response.
pub const KINESIS_ANSWER_BYTES_MAX: usize = 2 * MIB;

/// Timeout of a PutRecords call (default).
/// Why: 5 MiB over a slow line take some seconds; AWS answers in some 20 ms.
pub const KINESIS_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for connecting to the stream.
/// Why: far above any round trip; a dead address is noticed soon.
pub const KINESIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time after which the gateway closes an idle connection to the stream.
/// Why: servers close idle connections sooner than the SDK's 90 s and then reset the next call (aws-sdk-rust 1106).
pub const KINESIS_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of events for a stream held in memory (default).
/// Why: nearly 5 calls of 5 MiB, or 60 of 500 usual events, where 8 are in flight; more would only wait in memory instead of on
/// disk. Memory does not grow during an outage of the stream.
pub const KINESIS_MEMORY_BYTES: usize = 24 * MIB;

/// Least memory of each shard in bytes, for any number of shards.
/// Why: the largest record fits.
pub const KINESIS_SHARD_BYTES_MIN: usize = 2 * MIB;

/// Bookkeeping bytes of one waiting event beside its data and its key.
/// Why: measured with the structures of `deliver/stream`; counted because a million empty events take memory too.
pub const KINESIS_ENTRY_OVERHEAD_BYTES: usize = 160;

/// Least time between two reads of the stream's shard list.
/// Why: ListShards allows 1,000 calls/s, but a fleet shares them; meanwhile the responses show a reshard.
pub const KINESIS_SHARDS_REFRESH_MIN: Duration = Duration::from_secs(5);

/// Time after which the shard list is read again in any case.
/// Why: a scaled stream is fully used within minutes even if no response showed the reshard.
pub const KINESIS_SHARDS_REFRESH: Duration = Duration::from_secs(300);

/// Shards of a stream that are handled separately; a stream with more is treated as one.
/// Why: bounds the metrics and the memory; 10,000 shards take 10 GB/s.
pub const KINESIS_SHARDS_MAX: usize = 10_000;

/// Percent of the throughput for events from an outage while new events arrive (default).
/// Why: the backlog drains as fast as new events arrive, or faster if there is capacity.
pub const BACKLOG_PERCENT: u8 = 50;

/// Age from which undelivered events are a backlog, so that newer events need not wait behind them.
/// Why: above any linger and any pause between two attempts of a healthy stream.
pub const BACKLOG_AFTER: Duration = Duration::from_secs(10);

/// Bytes that one read for a stream takes from the spool.
/// Why: one full call of usual events and some more.
pub const STREAM_READ_BYTES: usize = MIB;

/// Time between two reads at the spool's end, at most a quarter of the linger.
/// Why: at 10,000 single events a second the spool commits some 1,000 groups; a read per group would wake a thread each time.
pub const STREAM_READ_INTERVAL: Duration = Duration::from_millis(10);

/// Records that one read for a stream takes from the spool.
/// Why: some milliseconds of work between two checks for responses.
pub const STREAM_READ_RECORDS: usize = 2_000;

/// Events between the oldest undelivered event and the newest that was read.
/// Why: the state of each is two bits in memory: 16 MiB here. Beyond this limit reading waits for the oldest.
pub const STREAM_AHEAD_EVENTS_MAX: u64 = 64 << 20;

/// Calls in a row that must fail as a whole before the stream is reported unreachable, if no person has to act.
/// Why: one reset or one time-out is normal; three in a row are an outage.
pub const STREAM_FAILURES_REPORTED: u32 = 3;

/// Age up to which a success of the stream proves that the next "not valid" is caused by the record itself.
/// Why: the two calls follow each other; the proof is wrong only if the stream broke within these seconds.
pub const STREAM_PROOF_AGE: Duration = Duration::from_secs(10);

/// Events that wait to become dead letters because the stream never accepts them; with more, reading stops.
/// Why: some 2 MB. They wait only when dead letters cannot be written, or when their own blocks cannot be read.
pub const STREAM_REFUSALS_MAX: usize = 10_000;

/// Time after which `/readyz` names a shard that accepts nothing.
/// Why: a hot second is normal, and the shard's pauses have grown by then.
pub const SHARD_FAILING_AFTER: Duration = Duration::from_secs(5);

/// Least time between two writes of the cursor to disk.
/// Why: each costs two fsyncs; the journal already records what was delivered.
pub const STREAM_COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes by which the journal of deliveries grows before it is rewritten.
/// Why: some 100,000 calls; reading the journal takes milliseconds.
pub const JOURNAL_BYTES_MAX: u64 = 8 * MIB as u64;

/// Time over which a shard's responses are collected before its rate changes.
/// Why: some round trips; a shard's own limits count per second.
pub const PACE_INTERVAL: Duration = Duration::from_millis(250);

/// Time for which a rate-limited shard accumulates capacity before the next call.
/// Why: without it every record would go in its own call as soon as the rate allows; this gives ten calls a second.
pub const PACE_REST: Duration = Duration::from_millis(100);

/// Share of throttled records up to which a shard's rate is not lowered.
/// Why: finding the limit takes some throttling; a tenth costs little, and a shard that throttles at random is not starved.
pub const PACE_THROTTLED_SHARE: f64 = 0.1;

/// Fraction by which a shard's rate grows in one interval without much throttling.
/// Why: from half of the limit back to the limit in four seconds; faster growth would cause more throttling.
pub const PACE_GROWTH: f64 = 0.05;

/// Intervals without much throttling after which the growth doubles with each further interval.
/// Why: after two seconds without throttling the limit is not near, as after a reshard or an outage.
pub const PACE_CALM_INTERVALS: u32 = 8;

/// First and longest pause between two attempts of a stream or a shard that accepts nothing.
/// Why: with full jitter; a call every few seconds is no load, and after an outage delivery starts again within the longest
/// pause.
pub const STREAM_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Least rate of a shard, as a fraction of the rate of an undisturbed shard (1,000 records/s, 1 MB/s).
/// Why: 20 gateways can share one shard.
pub const PACE_RATE_MIN: f64 = 0.05;

/// Records and bytes per second that an undisturbed shard takes.
/// Why: the API's limits per shard; only the ratio of records to bytes is used, because the rate itself is learned.
pub const SHARD_PER_SECOND: (f64, f64) = (1_000.0, 1_000_000.0);

// ---- dead letters ----------------------------------------------------------------------------------------------------

/// Bytes of dead letters kept per source (default); beyond it that key's bad events are answered `retry`.
/// Why: half a million letters; a source that fills it needs a person, and other sources must not suffer.
pub const DEAD_LETTER_BYTES_PER_SOURCE_MAX: u64 = 256 * MIB as u64;

/// Percent of a key's dead-letter quota from which `/readyz` warns.
/// Why: a person has time to replay or drop letters before events are answered `retry`.
pub const DEAD_LETTER_WARN_PERCENT: u64 = 50;

/// Percent of a key's dead-letter quota reserved for small letters: see [`DEAD_LETTER_SMALL_BYTES`].
/// Why: large letters that fill the rest must not keep out the few faults of a page or a service.
pub const DEAD_LETTER_RESERVE_PERCENT: u64 = 25;

/// Bytes on disk up to which the letters of one request count as small.
/// Why: twenty rejected events as they were sent, or some hundred packed.
pub const DEAD_LETTER_SMALL_BYTES: usize = 16 * KIB;

/// Bytes up to which the only letter of a request is always written unpacked.
/// Why: one event with a fault or two, which a person wants to read with `tail`.
pub const DEAD_LETTER_PLAIN_BYTES: usize = 2 * KIB;

/// Bytes that several letters of one request may have and still be written unpacked, even if the request was smaller.
/// Why: a request with eight faulty events of a byte each makes letters of 400 bytes each.
pub const DEAD_LETTERS_PLAIN_BYTES: usize = 512;

/// Largest ratio of the bytes of a request's letters to its received bytes at which they are written unpacked.
/// Why: two to three is usual for uncompressed events with their reasons; the rest is packed, so that a compressed request does
/// not fill the disk inflated.
pub const DEAD_LETTER_PLAIN_RATIO: usize = 4;

/// Bytes from which the letters of one request are packed, regardless of the received bytes.
/// Why: a hundred events; packed letters of one kind take a tenth of that.
pub const DEAD_LETTER_PLAIN_BYTES_MAX: usize = 64 * KIB;

/// Bytes of letters that are packed together.
/// Why: this much waits in memory; less would split the letters of one request into a dozen packs, each with a beginning that
/// compresses badly.
pub const DEAD_LETTER_PACK_BYTES: usize = 2 * MIB;

/// Bytes of packed letters after unpacking.
/// Why: the letters that are packed together; the last of them may have an event of [`DEAD_LETTER_EVENT_BYTES_MAX`] with each
/// quote escaped.
pub const DEAD_LETTER_UNPACKED_BYTES_MAX: usize = 10 * MIB;

/// Bytes of an event that a dead letter holds whole; of a larger event it holds the first [`DEAD_LETTER_HEAD_BYTES`].
/// Why: twice the limit of an event, so that an event which is slightly too large can be patched and replayed.
pub const DEAD_LETTER_EVENT_BYTES_MAX: usize = 2 * MIB;

/// Bytes stored of an event that is larger than [`DEAD_LETTER_EVENT_BYTES_MAX`].
/// Why: shows the sender and the kind of event; the whole event can never be accepted.
pub const DEAD_LETTER_HEAD_BYTES: usize = 64 * KIB;

/// Bytes at which a dead-letter file is closed and the next one is opened.
/// Why: opens in an editor; the file is the unit of deletion.
pub const DEAD_LETTER_FILE_BYTES: u64 = 16 * MIB as u64;

/// Files tried in turn when a dead-letter file cannot be used, and attempts to write letters again when the file lost its name
/// meanwhile.
/// Why: one foreign folder or file in the way is an accident; eight mean that the whole folder is unusable.
pub const DEAD_LETTER_FILE_TRIES: u32 = 8;

/// Time between two checks of the state of the dead letters: full, unwritable, number of bytes.
/// Why: soon enough for a person who freed space and checks `/readyz`, and cheap: a listing of some folders.
pub const DEAD_LETTER_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Bytes of dead letters that may wait on disk for their own stream (default).
/// Why: twice the quota of a source in files; the events themselves need the disk more.
pub const DEAD_LETTER_SPOOL_BYTES_MAX: u64 = 512 * MIB as u64;

/// Percent of [`DEAD_LETTER_SPOOL_BYTES_MAX`] that the dead letters of one key may have (default).
/// Why: three other keys keep their share while one key sends only garbage and the stream is down.
pub const DEAD_LETTER_SHARE_PERCENT: u8 = 25;

/// Bytes of dead letters waiting for their writer; beyond it bad events are answered `retry`.
/// Why: one largest body with its reasons, and some more.
pub const DEAD_LETTER_QUEUE_BYTES_MAX: usize = 48 * MIB;

/// Dead letters that are remembered, so that the same event makes no second letter.
/// Why: some 15 MB; a client sends a rejected event again soon, and beyond the limit a letter is only written twice, within the
/// key's quota.
pub const KNOWN_LETTERS_MAX: usize = 65_536;

/// Milliseconds after the receipt of an event in which it makes no second dead letter.
/// Why: clients give up within a day or two; who still sends the event the next day is worth a fresh letter a day.
pub const REPEAT_MILLIS_MAX: u64 = 24 * 3_600 * 1_000;

/// Bytes of dead letters that a start reads to remember those of the last day, of all sources together.
/// Why: [`KNOWN_LETTERS_MAX`] letters of 500 bytes; the start waits for it, some 300 ms.
pub const KNOWN_LETTERS_READ_BYTES: u64 = 32 * MIB as u64;

/// Time between two writes of the counts of repeated dead letters.
/// Why: a kill forgets the repetitions of this time only, and an event that is sent in an endless loop costs a line each time.
pub const REPEATS_NOTE_INTERVAL: Duration = Duration::from_secs(5);

/// Bytes of a source's journal of repeated dead letters, at which it is rewritten with the newest half.
/// Why: the last line of some 8,000 letters each; it counts against the quota of the source.
pub const REPEATS_JOURNAL_BYTES_MAX: u64 = 2 * MIB as u64;

/// Letters whose repetitions wait to be noted while the journal cannot be written; with more, the counts are given up.
/// Why: as many as are remembered.
pub const REPEATS_UNNOTED_MAX: usize = KNOWN_LETTERS_MAX;

/// Minutes for which a source's bad events are answered `retry` in whole answers before its oldest dead letters are discarded
/// (default).
/// Why: a person who is told has time to replay or drop; a sender keeps an hour of events.
pub const DEAD_LETTERS_HOLD_MINUTES: u64 = 60;

/// Most such minutes.
/// Why: a month; who wants to wait longer says `when_full = "retry"`.
pub const DEAD_LETTERS_HOLD_MINUTES_MAX: u64 = 30 * 24 * 60;

/// Time for which `/readyz` tells that dead letters were discarded, and for which the next ones are discarded without holding
/// the sender again, unless a person made room.
/// Why: a person looks at least once a day; a sender that was held an hour for each file would be stopped for most of the time.
pub const DISCARDED_LETTERS_TOLD: Duration = Duration::from_secs(24 * 3_600);
