//! Every hard number of Lakegate, in one place: what it bounds, why it has this value, where the value comes from.
//!
//! Configuration may move many of these at run time; then the constant is the default or the outermost bound.
//! Numbers that a file format consists of stand beside the format.
//! The assertions at the end hold the relations between the numbers, so that a change which breaks one does not compile.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// ---- the edge ------------------------------------------------------------------------------------------------------

/// Bytes of a request body as received, before inflation.
/// Why: eight times Segment's 500 KB batch; a client that needs more is better served by two requests.
pub const BODY_BYTES_MAX: usize = 4 * MIB;

/// Bytes of a request body after inflation.
/// Why: JSON of events compresses 4 to 10 times; what inflates further is a bomb, not a batch.
pub const INFLATED_BYTES_MAX: usize = 16 * MIB;

/// Bytes of all request bodies that the gateway holds at one time, received and inflated together.
/// Why: bounds memory however many clients connect; beyond it the answer is 503 with `Retry-After`.
pub const BODIES_IN_FLIGHT_BYTES_MAX: usize = 96 * MIB;

/// Time a client has to send its request body once the headers are read.
/// Why: 4 MiB in 20 s is 1.6 Mbit/s, slower than any mobile link worth waiting for (Snowplow answers 408 likewise).
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for which the rest of a refused body is still read, so that its sender sees the answer and not a reset.
/// Why: enough for what is on its way already.
pub const DRAIN_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Time a client has to send the headers of a request on an idle or a new connection.
/// Why: it is also how long an idle connection is kept; shorter would cost services a handshake for each quiet half minute.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Time a client has to finish the TLS handshake.
/// Why: three round trips on the slowest satellite link take under 3 s.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections open at one time.
/// Why: about 20 KiB each with TLS, 200 MiB in all; half of the usual descriptor limit of a service (65,536) is left free.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Streams that one HTTP/2 connection may have open at one time.
/// Why: browsers use a handful; the cap bounds what one connection can make the gateway hold.
pub const H2_STREAMS_MAX: u32 = 128;

/// Characters of a request id that a client may bring in `X-Request-Id`; a longer or odd one is replaced.
/// Why: it is logged; a UUID has 36 characters and a trace id 55.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

// ---- a request and its events --------------------------------------------------------------------------------------

/// Events in one request.
/// Why: 4 MiB of the smallest sensible events (200 B) are 20,000; half of that keeps one request under 100 ms of CPU.
pub const EVENTS_PER_REQUEST_MAX: usize = 10_000;

/// Bytes of one event as the client wrote it.
/// Why: a Kinesis record holds 1 MiB of data and key together; the rest is room for what the gateway adds
/// ([`ENVELOPE_BYTES_MAX`]) and the partition key (256 characters, up to 1 KiB of UTF-8).
pub const EVENT_BYTES_MAX: usize = MIB - 8 * KIB;

/// Bytes that the added fields take in a record, in any format.
/// Why: the names and values below, each at its own bound, with quotes and commas, stay well under this.
pub const ENVELOPE_BYTES_MAX: usize = 4 * KIB;

/// Values and names in one event.
/// Why: the most that [`EVENT_BYTES_MAX`] bytes can hold, two bytes each; bounds the parser's tape at 10 MB a request.
pub const EVENT_NODES_MAX: usize = EVENT_BYTES_MAX / 2;

/// Levels of nesting in one event.
/// Why: validators recurse; the deepest event anyone has shown us has 9 levels.
pub const EVENT_DEPTH_MAX: usize = 64;

/// Levels of nesting at which a whole body is refused instead of one event.
/// Why: bounds the parser's stack (4 bytes a level); nothing this deep is a batch of events.
pub const BODY_DEPTH_MAX: usize = 1024;

/// Bytes of an `event_name`.
/// Why: it becomes a folder name (255 bytes on Linux file systems) and a column repeated in every record.
pub const EVENT_NAME_BYTES_MAX: usize = 200;

/// Parts of an `event_name`, separated by `:`.
/// Why: each is a folder level in the schema registry; real names have two to four.
pub const EVENT_NAME_PARTS_MAX: usize = 8;

/// Errors reported for one event; the rest are counted, not listed.
/// Why: a reader fixes a few at a time, and a hostile event must not make a large answer.
pub const ERRORS_PER_EVENT_MAX: usize = 8;

/// Characters of an error's `detail`, its `pointer`, and an `event_uuid` echoed back.
/// Why: keeps the answer to 10,000 bad events within about the size of the request that brought them.
pub const DETAIL_CHARS_MAX: usize = 300;

/// Bytes of the name of a key, which becomes the `source` of its events.
/// Why: repeated in every record and a folder name for dead letters.
pub const SOURCE_BYTES_MAX: usize = 64;

/// Unix seconds from which a `created_at` can only be milliseconds.
/// Why: as seconds it would be the year 5138; as milliseconds it is 1973.
pub const CREATED_AT_MILLIS_FROM: f64 = 1e11;

/// Value from which a `created_at` can only be microseconds.
/// Why: as milliseconds it would be the year 5138.
pub const CREATED_AT_MICROS_FROM: f64 = 1e14;

/// Value from which a `created_at` means nothing.
/// Why: as microseconds it would be the year 5138.
pub const CREATED_AT_END: f64 = 1e17;

/// Days before its receipt that an event may have been created and still get a `created_date` of its own; older ones
/// go to `created_date=late`.
/// Why: partitions a client can make appear must be bounded, and Firehose keeps 500 active ones at most (LAKE.md).
pub const CREATED_DATE_DAYS_BACK_MAX: i64 = 366;

/// Days after its receipt that an event may claim to have been created and still get a `created_date` of its own.
/// Why: covers every time zone and a wrong clock of a day.
pub const CREATED_DATE_DAYS_AHEAD_MAX: i64 = 2;

/// Time that `Prefer: durability=delivered` waits for the sink before it answers 503 with the event safely spooled.
/// Why: below the 30 s after which load balancers and clients commonly give up.
pub const DELIVERED_WAIT: Duration = Duration::from_secs(25);

/// Events per second that one key may send (default).
/// Why: 20 M events/hour, twenty times the load in the mission; a runaway loop is stopped, a spike is not.
pub const KEY_EVENTS_PER_SECOND: u32 = 5_000;

/// Events that one key may send at once, above its rate (default).
/// Why: one largest request always fits.
pub const KEY_EVENTS_BURST: u32 = 20_000;

/// Seconds named by `Retry-After` when the cause has no better estimate.
/// Why: long enough that a retry is no stampede, short enough that a browser is still there.
pub const RETRY_AFTER_SECONDS: u64 = 5;

/// Connections to the operators' listener at one time.
/// Why: a scraper, some probes and a person; they must not take descriptors from the events.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Bytes of a body from which judging it is announced to the runtime as blocking.
/// Why: about 2 ms of work; announcing costs some 10 µs, which small bodies need not pay.
pub const BLOCKING_FROM_BYTES: usize = 256 * 1024;

/// Unknown names of one body for which the nearest known one is looked for.
/// Why: it compares with every name, and a body may hold thousands.
pub const SUGGESTIONS_PER_BODY: usize = 8;

// ---- schema registry -----------------------------------------------------------------------------------------------

/// Bytes of one schema file.
/// Why: the largest published event schemas have about 60 KB.
pub const SCHEMA_BYTES_MAX: u64 = MIB as u64;

/// Schema versions in one registry.
/// Why: 100 types of 100 versions; each compiled validator takes some 10 KB.
pub const SCHEMAS_MAX: usize = 10_000;

// ---- spool ---------------------------------------------------------------------------------------------------------

/// Bytes of one frame's body in the spool: a record with its envelope.
/// Why: what [`EVENT_BYTES_MAX`] and [`ENVELOPE_BYTES_MAX`] allow together; a longer length on disk is corruption.
pub const FRAME_BODY_BYTES_MAX: usize = EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// Bytes at which a spool segment is closed and the next one begun (default).
/// Why: the unit of unlinking; small enough to free space soon, large enough that files stay few (160 in 10 GiB).
pub const SEGMENT_BYTES: u64 = 64 * MIB as u64;

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

/// Bytes that one read takes from a segment.
/// Why: large enough that a read costs little beside its bytes, small enough that one body kept for long keeps little.
pub const SPOOL_READ_CHUNK_BYTES: usize = 1024 * 1024;

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

// ---- dedup window --------------------------------------------------------------------------------------------------

/// Days that an identity is remembered (default).
/// Why: the JS client replays for three days; services are redeployed within a week.
pub const DEDUP_WINDOW_DAYS: u32 = 7;

/// Identities remembered at most (default).
/// Why: 1.7 GB on disk (a quarter more while runs are merged) and 120 MB of filters; the mission's load for four days,
/// longer than any client replays.
pub const DEDUP_IDENTITIES_MAX: u64 = 100_000_000;

/// Identities in the hot generation, in memory, before it is sealed into a sorted run on disk.
/// Why: about 10 MB of hash set; sealing sorts and writes 4 MB in some 50 ms.
pub const DEDUP_HOT_IDENTITIES: usize = 262_144;

/// Identities in one slice of a run, at most, about.
/// Why: a merge holds one slice in memory while it builds the filter, some 40 MB; a seal waits for one at most.
pub const DEDUP_SLICE_IDENTITIES: u64 = 1 << 20;

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

// ---- the dedup store of a fleet ------------------------------------------------------------------------------------

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

// ---- delivery and lake ---------------------------------------------------------------------------------------------

/// Bytes of records in one batch for the lake (default).
/// Why: held in memory while its files are written; gives Parquet row groups worth having.
pub const LAKE_BATCH_BYTES_MAX: usize = 32 * MIB;

/// Records in one batch for the lake.
/// Why: bounds the memory beside the bytes, and how long one flush takes (LAKE.md: 1 M events in 1.9 s).
pub const LAKE_BATCH_RECORDS_MAX: usize = 131_072;

/// Age of the oldest record at which a batch for the lake is flushed (default).
/// Why: a minute is fresh enough for reports, and 60 times fewer files than a second.
pub const LAKE_FLUSH_AGE: Duration = Duration::from_secs(60);

/// First and longest pause between two tries of a delivery that failed as a whole.
/// Why: full jitter between them; 30 s is soon enough after an outage and no load while it lasts.
pub const DELIVERY_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Quiet time after which the active segment, when all of it is delivered, is closed and unlinked.
/// Why: a gateway with little traffic must not keep delivered events on its disk for weeks.
pub const IDLE_ROLL_AFTER: Duration = Duration::from_secs(300);

/// The same where what is delivered still takes half of the quota, so that new events would soon find no room.
/// Why: below the seconds after which a refused client comes again ([`RETRY_AFTER_SECONDS`]).
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

// ---- kinesis -------------------------------------------------------------------------------------------------------

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

/// Events in one packed record.
/// Why: Firehose splits a record into 500 at most.
pub const KINESIS_AGGREGATE_EVENTS_MAX: usize = 500;

/// Time that an event waits for others to be sent with it (default).
/// Why: consumers poll five times a second; at 1 M events/hour a call then carries 70 events.
pub const KINESIS_LINGER: Duration = Duration::from_millis(250);

/// PutRecords calls in flight at one time (default).
/// Why: at 30 ms a call 8 × 500 records are 130,000 events/s.
pub const KINESIS_CALLS_IN_FLIGHT: usize = 8;

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
/// Why: some 6 full calls; memory stays flat however long the stream is down.
pub const KINESIS_MEMORY_BYTES: usize = 32 * MIB;

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

/// Records of the spool that one read for a stream takes.
/// Why: some milliseconds of work between two looks at the answers.
pub const STREAM_READ_RECORDS: usize = 2_000;

/// Events between the oldest undelivered one and the newest that was read.
/// Why: what is known of each is two bits in memory: 16 MiB here. Beyond it reading waits for the oldest.
pub const STREAM_AHEAD_EVENTS_MAX: u64 = 64 << 20;

/// Calls in a row that fail as a whole before the stream is said to be unreachable, where nobody has to act.
/// Why: one reset or one time-out is daily life; three in a row are an outage.
pub const STREAM_FAILURES_REPORTED: u32 = 3;

/// Least time between two moves of the cursor on disk.
/// Why: two fsyncs each; the journal already knows what was delivered.
pub const STREAM_COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes at which the journal of deliveries is written anew.
/// Why: some 100,000 calls; reading it takes milliseconds.
pub const JOURNAL_BYTES_MAX: u64 = 8 * MIB as u64;

/// Time over which a shard's answers are gathered before its rate is changed.
/// Why: some round trips; a shard's own limits count per second.
pub const PACE_INTERVAL: Duration = Duration::from_millis(250);

/// Share of throttled records up to which a shard's rate is not lowered.
/// Why: finding the limit takes some throttling; a tenth costs little, and a shard that throttles at random is not starved.
pub const PACE_THROTTLED_SHARE: f64 = 0.1;

/// How much a shard's rate grows in one interval without much throttling.
/// Why: from half of the limit back to it in four seconds; faster would throttle more of what is sent.
pub const PACE_GROWTH: f64 = 1.05;

/// Least rate of a shard, as a part of what an undisturbed shard takes (1,000 records/s, 1 MB/s).
/// Why: 20 gateways that share one shard.
pub const PACE_RATE_MIN: f64 = 0.05;

/// Records and bytes per second that an undisturbed shard takes.
/// Why: the API's limits per shard; only the relation of records to bytes is used, the rate itself is learned.
pub const SHARD_PER_SECOND: (f64, f64) = (1_000.0, 1_000_000.0);

// ---- dead letters --------------------------------------------------------------------------------------------------

/// Bytes of dead letters kept per source (default); beyond it that key's bad events are answered `retry`.
/// Why: half a million letters; a source that fills it needs a person, and the others must not suffer.
pub const DEAD_LETTER_BYTES_PER_SOURCE_MAX: u64 = 256 * MIB as u64;

/// Bytes at which a dead-letter file is closed and the next one begun.
/// Why: opens in an editor; the unit of deletion.
pub const DEAD_LETTER_FILE_BYTES: u64 = 16 * MIB as u64;

/// Bytes of dead letters that may wait on disk for a stream of their own (default).
/// Why: as many as a source may keep in files, twice; the events themselves need the disk more.
pub const DEAD_LETTER_SPOOL_BYTES_MAX: u64 = 512 * MIB as u64;

/// Bytes of dead letters waiting for their writer; beyond it bad events are answered `retry`.
/// Why: one largest body with its reasons, and some more.
pub const DEAD_LETTER_QUEUE_BYTES_MAX: usize = 48 * MIB;

// ---- how the numbers relate ----------------------------------------------------------------------------------------

const _: () = assert!(BODY_BYTES_MAX <= INFLATED_BYTES_MAX);
const _: () = assert!(BODIES_IN_FLIGHT_BYTES_MAX >= 4 * (BODY_BYTES_MAX + INFLATED_BYTES_MAX), "four worst requests at once");
const _: () = assert!(EVENT_BYTES_MAX <= BODY_BYTES_MAX, "one largest event fits a plain body");
const _: () = assert!(EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX + KIB <= MIB, "a Kinesis record with its partition key");
const _: () = assert!(EVENT_NAME_BYTES_MAX * 3 + SOURCE_BYTES_MAX + KIB <= ENVELOPE_BYTES_MAX);
const _: () = assert!(EVENT_DEPTH_MAX < BODY_DEPTH_MAX);
const _: () = assert!(EVENT_NAME_BYTES_MAX <= 255 - "event_type=".len(), "a folder name");
const _: () = assert!(CREATED_AT_MILLIS_FROM * 1e3 == CREATED_AT_MICROS_FROM && CREATED_AT_MICROS_FROM * 1e3 == CREATED_AT_END);
const _: () = assert!(KEY_EVENTS_BURST as usize >= EVENTS_PER_REQUEST_MAX);
const _: () = assert!(SPOOL_QUEUE_BYTES_MAX >= 2 * INFLATED_BYTES_MAX);
const _: () = assert!(GROUP_COMMIT_BYTES_MAX >= FRAME_BODY_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES >= 2 * GROUP_COMMIT_BYTES_MAX as u64, "a group never spans three segments");
const _: () = assert!(CROWDED_ROLL_AFTER.as_secs() < RETRY_AFTER_SECONDS);
const _: () = assert!(READY_BYTES_MIN * 2 < 4 * FRAME_BODY_BYTES_MAX as u64, "the least quota is ready while it is half empty");
const _: () = assert!(SPOOL_BYTES_MAX >= 4 * SEGMENT_BYTES);
const _: () = assert!(DEDUP_IDENTITIES_MAX >= 16 * DEDUP_HOT_IDENTITIES as u64);
const _: () = assert!(2 * DEDUP_HOT_IDENTITIES >= 8 * EVENTS_PER_REQUEST_MAX, "several largest requests can be claimed at once");
const _: () = assert!(DEDUP_WINDOW_DAYS > 3, "outlasts the JS client's three days of replay (DESIGN.md)");
const _: () =
    assert!(FLEET_DEADLINE.as_millis() * 100 < FLEET_CLAIM_TTL.as_millis(), "a claim outlives the request that made it");
const _: () = assert!(FLEET_DEADLINE_PER_IDENTITY.as_micros() * EVENTS_PER_REQUEST_MAX as u128 <= 200_000, "a fifth of a second");
const _: () = assert!(FLEET_CLAIM_TTL.as_secs() > 2 * STOP_REQUESTS_TIMEOUT.as_secs(), "and a gateway that restarts");
const _: () = assert!(FLEET_DEADLINE.as_nanos() <= FLEET_DEADLINE_MAX.as_nanos());
const _: () = assert!(FLEET_CLAIM_TTL.as_nanos() <= FLEET_CLAIM_TTL_MAX.as_nanos());
const _: () = assert!(FLEET_BACKLOG_IDENTITIES_MAX >= 8 * EVENTS_PER_REQUEST_MAX);
const _: () = assert!(LAKE_CHUNK_BYTES + EVENT_BYTES_MAX < i32::MAX as usize, "arrow's string offsets have 32 bits");
const _: () = assert!(DEAD_LETTER_QUEUE_BYTES_MAX >= 2 * INFLATED_BYTES_MAX);
