//! Limits of delivery: the lake and the dead letters.

use std::time::Duration;

use super::{
    FRAME_BODY_BYTES_MAX,
    units::{KIB, MIB},
};
use crate::fault::Patience;

// ---- the sinks -------------------------------------------------------------------------------------------------------

/// Sinks that get every event.
/// Why: each reads the whole spool and has its own memory ([`super::STREAM_MEMORY_BYTES`] for a stream); three are usual, for
/// example a lake, a stream and a copy in another region.
pub const SINKS_MAX: usize = 8;

/// Characters of the name of a sink.
/// Why: it is a label of metrics, and part of a file name.
pub const SINK_NAME_CHARS_MAX: usize = 40;

/// Percent of its part of the quota that a sink keeps when its oldest events are dropped.
/// Why: dropping a tenth at a time makes it rare, so that the sink is not opened again for every segment.
pub const SINK_KEEP_PERCENT: u64 = 90;

/// How often a deliverer checks whether the events that wait for its sink fill its part of the quota.
/// Why: at 200 MB a second one interval is 2 % of the quota.
pub const SINK_SHARE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long it is told that events were dropped for a sink.
/// Why: a day is long enough for a person to see it; metrics and the log keep it.
pub const DROPPED_EVENTS_TOLD: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Seconds for which a stop may serve requests while `/readyz` fails (`stop.lame_duck_seconds`).
/// Why: load balancers notice within a minute, and supervisors kill after two (ECS) or what they are told; more is a slip.
pub const LAME_DUCK_SECONDS_MAX: u64 = 300;

/// Partitions encoded and written at one time.
/// Why: fsyncs and uploads wait more than they compute; the encoded files together stay below one batch.
pub const LAKE_PARTITIONS_AT_ONCE: usize = 8;

/// Rows collected into arrays before they are encoded.
/// Why: a few hundred KB of events stay in the cache, and are enough to amortise the call.
pub const LAKE_CHUNK_ROWS: usize = 8_192;

/// Bytes of payload that end a chunk early.
/// Why: arrow's string offsets are 32 bits wide; this stays far below for events of any size.
pub const LAKE_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// zstd's level for the columns of a file, beside [`LAKE_ZSTD_FAST_LEVEL`].
/// Why: beside level 1 it saves 4 % of the bytes of times and 7 % of those of free text.
pub const LAKE_ZSTD_LEVEL: i32 = 3;

/// zstd's level for `event_uuid`, and for payloads that it does not make larger.
/// Why: what is nearly random gets larger by a search for short matches: identities by 3 to 20 %, in twice the time.
pub const LAKE_ZSTD_FAST_LEVEL: i32 = 1;

/// Bytes of payload by which the level is chosen.
/// Why: compressed twice in 0.3 ms; for five kinds of events 16 KiB more did not change the choice.
pub const LAKE_LEVEL_SAMPLE_BYTES: usize = 32 * 1024;

/// Bytes of payload from which on the level is chosen so.
/// Why: then the sample costs a tenth of what the fast level saves; less payload costs little at either level.
pub const LAKE_LEVEL_SAMPLED_BYTES: usize = 256 * 1024;

/// Percent of the sample's bytes that the fast level may cost.
/// Why: zstd takes small tables for a sample: a file of the same events gets 4 % smaller where the sample stays the same.
pub const LAKE_FAST_LEVEL_LOSS_PERCENT: usize = 1;

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

/// Commits of the lake's table between two checkpoints of its log.
/// Why: a reader reads at most these commits, some 5 MB if each has 100 files; a checkpoint of 10,000 files takes 0.2 s.
pub const LAKE_CHECKPOINT_COMMITS: u64 = 100;

/// Files in a checkpoint, live or removed, for each [`LAKE_CHECKPOINT_COMMITS`] between two of them.
/// Why: a checkpoint has all of them, and of 150,000 it takes half a second: that was a fifth of a compaction's CPU.
pub const LAKE_CHECKPOINT_FILES: usize = 50_000;

/// How much rarer checkpoints of a large table become at most.
/// Why: a reader reads the commits after the last one; in S3 each is a request.
pub const LAKE_CHECKPOINT_RARER_MAX: usize = 5;

/// Times that a commit of the lake's table is tried while other writers are faster.
/// Why: with 20 gateways and a flush a minute three tries are rare; after these the deliverer pauses and tries again.
pub const LAKE_COMMIT_TRIES_MAX: u32 = 50;

/// Longest pause between two of these tries.
/// Why: a commit to S3 takes some 50 ms; this lets ten others pass.
pub const LAKE_COMMIT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Files that one commit adds when a lake without a log is taken over.
/// Why: some 400 KB of log; a crash repeats the reading of as many footers at most.
pub const LAKE_ADOPTED_FILES_PER_COMMIT: usize = 1_000;

/// How long the end of the lake's log is known from the commits that were read, without listing it.
/// Why: far shorter than the log is kept, so that the next versions cannot have been cleaned up meanwhile.
pub const LAKE_LOG_TRUSTED: Duration = Duration::from_secs(10 * 60);

/// How long the log remembers a file that left the table.
/// Why: a gateway that stopped in the middle of a flush recognises its files after this time; other readers of the table expect
/// a week.
pub const LAKE_REMOVED_REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long the log remembers a file that left the table and that a vacuum removed.
/// Why: 100 types make 144,000 small files a day, which a compaction removes; two hours of them take some 5 MB.
pub const LAKE_VACUUMED_REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

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

/// Bytes of payload from which on the payloads of a flushed file are compressed by zstd; fewer, in few rows, are by Snappy.
/// Why: to make zstd's compressor, and a decompressor in each reader, costs as much as to compress some ten kilobytes
/// ([`LAKE_COMPRESSED_ROWS`]); Snappy needs none. What it takes more, a third, is little for a small file and much for a large one.
pub const LAKE_SMALL_PAYLOAD_BYTES: usize = 64 * 1024;

/// Rows of a file from which on all its columns are compressed; in a smaller one only the payload is.
/// Why: a column of a few hundred rows has a few kilobytes, and each column costs a compressor here and a decompressor in each
/// reader. To make one costs 20 to 40 µs in a virtual machine, where zstd's question for the features of the processor goes to
/// the hypervisor: half of the CPU of a compaction of small files.
pub const LAKE_COMPRESSED_ROWS: usize = 1_000;

/// Bytes of the name that a generated view gives to a table or a column.
/// Why: Athena's catalogue takes 255, and a number may be appended to make two names distinct.
pub const VIEW_NAME_BYTES_MAX: usize = 240;

/// Bytes of the comment of a column in AWS Glue; the rest of a longer description is cut.
/// Why: the API of Glue takes 255.
pub const GLUE_COMMENT_BYTES_MAX: usize = 255;

/// First day of the projected dates of `lakegate lake tables`: days since 1970-01-01, 2025-11-01.
/// Why: the first gateway ran in November 2026, and no event is filed under a day more than a year before its receipt. A day
/// that moves, as in `lake views`, would be a change of every table in every run of Terraform.
pub const CATALOGUE_FIRST_DATE_DAYS: i32 = 20_393;

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
