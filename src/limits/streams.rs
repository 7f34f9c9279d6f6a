//! Limits of the streams: of each service, of the clients of AWS, and of the delivery to any stream.

use std::time::Duration;

use super::units::{KIB, MIB};

// ---- any stream -----------------------------------------------------------------------------------------------------

/// Time that an event waits for other events to share its record (default).
/// Why: consumers poll five times a second; at 1 M events/hour a call then carries 70 events.
pub const STREAM_LINGER: Duration = Duration::from_millis(250);

/// PutRecords calls in flight at one time (default).
/// Why: at 30 ms a call 8 × 500 records are 130,000 events/s.
pub const STREAM_CALLS_IN_FLIGHT: usize = 8;

/// Timeout of a PutRecords call (default).
/// Why: 5 MiB over a slow line take some seconds; AWS answers in some 20 ms.
pub const STREAM_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of events for a stream held in memory (default).
/// Why: nearly 5 calls of 5 MiB, or 60 of 500 usual events, where 8 are in flight; more would only wait in memory instead of on
/// disk. Memory does not grow during an outage of the stream.
pub const STREAM_MEMORY_BYTES: usize = 24 * MIB;

/// Least memory of each shard in bytes, for any number of shards.
/// Why: the largest record fits.
pub const STREAM_SHARD_BYTES_MIN: usize = 2 * MIB;

/// Bookkeeping bytes of one waiting event beside its data and its key.
/// Why: measured with the structures of `deliver/stream`; counted because a million empty events take memory too.
pub const STREAM_ENTRY_OVERHEAD_BYTES: usize = 160;

/// Least time between two reads of the stream's shard list.
/// Why: ListShards allows 1,000 calls/s, but a fleet shares them; meanwhile the responses show a reshard.
pub const STREAM_SHARDS_REFRESH_MIN: Duration = Duration::from_secs(5);

/// Time after which the shard list is read again in any case.
/// Why: a scaled stream is fully used within minutes even if no response showed the reshard.
pub const STREAM_SHARDS_REFRESH: Duration = Duration::from_secs(300);

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

// ---- AWS ------------------------------------------------------------------------------------------------------------

/// Bytes read of the response to a call.
/// Why: a result takes some 120 bytes, an error with its message under 1 KiB, and there are 500; a longer body is not a valid
/// response.
pub const AWS_ANSWER_BYTES_MAX: usize = 2 * MIB;

/// Timeout for connecting to the stream.
/// Why: far above any round trip; a dead address is noticed soon.
pub const AWS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time after which the gateway closes an idle connection to the stream.
/// Why: servers close idle connections sooner than the SDK's 90 s and then reset the next call (aws-sdk-rust 1106).
pub const AWS_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

// ---- Kinesis --------------------------------------------------------------------------------------------------------

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

/// Events in one packed record.
/// Why: Firehose splits a record into 500 at most.
pub const KINESIS_AGGREGATE_EVENTS_MAX: usize = 500;

/// Shards of a stream that are handled separately; a stream with more is treated as one.
/// Why: bounds the metrics and the memory; 10,000 shards take 10 GB/s.
pub const KINESIS_SHARDS_MAX: usize = 10_000;

/// Records and bytes per second that an undisturbed shard takes.
/// Why: the API's limits per shard; only the ratio of records to bytes is used, because the rate itself is learned.
pub const SHARD_PER_SECOND: (f64, f64) = (1_000.0, 1_000_000.0);

// ---- Firehose -------------------------------------------------------------------------------------------------------

/// Records in one PutRecordBatch call.
/// Why: the API takes no more ("Each PutRecordBatch request supports up to 500 records").
pub const FIREHOSE_CALL_RECORDS_MAX: usize = 500;

/// Bytes of one PutRecordBatch call, before base64 (bound and default).
/// Why: the API takes no more ("up to a limit of 4 MB for the entire request").
pub const FIREHOSE_CALL_BYTES_MAX: usize = 4 * MIB;

/// Bytes of one record, before base64 (bound and default).
/// Why: the API takes no more ("as large as 1,000 KB", which its model says as 1,024,000 bytes).
pub const FIREHOSE_RECORD_BYTES_MAX: usize = 1_000 * KIB;

/// Bytes in which Firehose bills every record, rounded up.
/// Why: AWS's price list for Direct PUT says 5 KB; taken as 5,000 B, the stricter reading, as for [`PUT_UNIT_BYTES`].
pub const FIREHOSE_BILLED_UNIT_BYTES: usize = 5_000;

/// Bytes of one packed record (default).
/// Why: 50 units of 5 KB, so that rounding up costs a hundredth; some 350 events of 700 B, below the 500 that are split again.
pub const FIREHOSE_AGGREGATE_BYTES: usize = 50 * FIREHOSE_BILLED_UNIT_BYTES;

/// Events in one packed record.
/// Why: "Record deaggregation by JSON or by delimiter is capped at 500 per record."
pub const FIREHOSE_AGGREGATE_EVENTS_MAX: usize = 500;

/// Characters of a delivery stream's name.
/// Why: the API's limit.
pub const FIREHOSE_NAME_CHARS_MAX: usize = 64;

/// Records and bytes per second that an undisturbed delivery stream takes.
/// Why: the smaller of AWS's quotas by region; only the ratio of records to bytes is used, because the rate itself is learned.
pub const FIREHOSE_PER_SECOND: (f64, f64) = (100_000.0, 1_000_000.0);

// ---- Kafka ----------------------------------------------------------------------------------------------------------

/// Topics that one gateway writes to.
/// Why: a client that may send events of any type could otherwise make any number of topics, each with partitions, metrics and
/// memory. An event of one topic more becomes a dead letter.
pub const KAFKA_TOPICS_MAX: usize = 200;

/// Partitions, of all topics together, that are handled separately; with more, a topic is treated as one.
/// Why: bounds the metrics and the memory, as for the shards of Kinesis.
pub const KAFKA_PARTITIONS_MAX: usize = 10_000;

/// Characters of the name of a topic.
/// Why: the brokers take no more, because the names are folders.
pub const KAFKA_TOPIC_CHARS_MAX: usize = 249;

/// Records in one call to a partition (bound and default).
/// Why: the batches of librdkafka have 10,000 at most.
pub const KAFKA_CALL_RECORDS_MAX: usize = 10_000;

/// Bytes of one call to a partition (default).
/// Why: about the bytes of one batch, before compression.
pub const KAFKA_CALL_BYTES: usize = MIB;

/// Upper bound for the configured bytes of one call to a partition.
/// Why: more would wait in librdkafka's memory instead of on disk.
pub const KAFKA_CALL_BYTES_MAX: usize = 64 * MIB;

/// Bytes of one record with its key and headers (default).
/// Why: brokers and topics take batches of 1,048,588 bytes unless `max.message.bytes` is raised; this leaves space for the
/// framing of the batch and of the record.
pub const KAFKA_RECORD_BYTES: usize = 1_000_000;

/// Upper bound for the configured bytes of one record with its key.
/// Why: Amazon MSK Serverless takes 8 MiB; an event has at most [`EVENT_BYTES_MAX`](super::EVENT_BYTES_MAX) anyway.
pub const KAFKA_RECORD_BYTES_MAX: usize = 8 * MIB;

/// Bytes in which records are billed.
/// Why: Amazon MSK bills bytes without rounding.
pub const KAFKA_BILLED_UNIT_BYTES: usize = 1;

/// Bytes that a batch, and each record in it, has beside keys, headers and values.
/// Why: 61 for the batch, and for the record varints of its lengths, offset and time, and of up to 15 headers; rounded up.
pub const KAFKA_FRAMING_BYTES: usize = 512;

/// Time for which a record is tried until it counts as unanswered (default).
/// Why: a partition has a new leader within seconds of a broker's death. An answer that was lost within this time is asked for
/// again without making a duplicate, because the producer is idempotent; after it the record is sent anew.
pub const KAFKA_DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout of a request for the partitions of a topic.
/// Why: far above any round trip.
pub const KAFKA_METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of events for Kafka held in memory (default).
/// Why: as for the other streams, and [`KAFKA_PARTITION_BYTES_MIN`] for each of 750 partitions.
pub const KAFKA_MEMORY_BYTES: usize = 24 * MIB;

/// Least memory of each partition in bytes, for any number of partitions.
/// Why: some 40 usual events, so that a batch is worth its request, and hundreds of partitions whose broker is away leave memory
/// for the others.
pub const KAFKA_PARTITION_BYTES_MIN: usize = 32 * KIB;

/// Records and bytes per second that an undisturbed partition takes.
/// Why: only the ratio of records to bytes is used, because brokers limit by delaying their answers.
pub const KAFKA_PER_SECOND: (f64, f64) = (100_000.0, 10_000_000.0);

/// Time that librdkafka has beyond the delivery timeout to report a record.
/// Why: its timers run once a second; a record without a report counts as unanswered, so that no call waits for ever.
pub const KAFKA_REPORT_GRACE: Duration = Duration::from_secs(10);

/// Timeout for connecting to a broker, with TLS and SASL.
/// Why: far above any round trip; a dead address is noticed soon.
pub const KAFKA_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest pause between two attempts to connect to a broker.
/// Why: a connection every few seconds is no load, and after an outage delivery starts again within this time.
pub const KAFKA_RECONNECT_MAX: Duration = Duration::from_secs(2);

/// Life of a token for Amazon MSK, and of a token whose own end is not known.
/// Why: MSK takes tokens of 15 minutes; librdkafka asks for the next one after four fifths of it.
pub const KAFKA_TOKEN_LIFE: Duration = Duration::from_secs(900);

// ---- plan -----------------------------------------------------------------------------------------------------------

/// Hours per month in AWS's price calculations.
/// Why: 365 days × 24 / 12.
pub const PLAN_HOURS_PER_MONTH: f64 = 730.0;
