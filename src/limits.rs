//! Every hard limit of Lakegate in one place: what it bounds, why it has this value, where the value comes from.
//!
//! Configuration can change many of these limits; the constant is then the default or the outer bound. Numbers that belong to a
//! file format are declared beside the format. The assertions at the end check the relations between the limits at compile
//! time.

mod compat;
mod delivery;
mod edge;
mod lake_daily;
mod lake_tools;
mod lake_typed;
mod lake_upkeep;
mod ledger;
mod live_events;
mod operations;
mod retry;
mod schemas;
mod storage;
mod stream_read;
mod streams;
mod units;

pub use compat::*;
pub use delivery::*;
pub use edge::*;
pub use lake_daily::*;
pub use lake_tools::*;
pub use lake_typed::*;
pub use lake_upkeep::*;
pub use ledger::*;
pub use live_events::*;
pub use operations::*;
pub use retry::*;
pub use schemas::*;
pub use storage::*;
pub use stream_read::*;
pub use streams::*;
use units::{KIB, MIB};

// ---- how the numbers relate ------------------------------------------------------------------------------------------

const _: () = assert!(BODY_BYTES_MAX <= INFLATED_BYTES_MAX);
const _: () = assert!(
    BODIES_IN_FLIGHT_BYTES_MAX >= 4 * (BODY_BYTES_MAX + INFLATED_BYTES_MAX / 4 * BODY_MEMORY_QUARTERS),
    "four worst requests at once"
);
const _: () = assert!(INFLATE_ALLOWANCE_BYTES <= INFLATE_STEP_BYTES && HEAVY_FROM_BYTES <= INFLATED_BYTES_MAX);
const _: () = assert!(WORK_WAITING_PER_SENDER_MAX * 4 <= WORK_WAITING_MAX);
const _: () = assert!(EVENT_BYTES_MAX <= BODY_BYTES_MAX, "one largest event fits a plain body");
const _: () = assert!(EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX + KIB <= MIB, "a Kinesis record with its partition key");
const _: () = assert!(EVENT_NAME_BYTES_MAX * 3 + SOURCE_BYTES_MAX + KIB <= ENVELOPE_BYTES_MAX);
const _: () = assert!(EVENT_DEPTH_MAX < BODY_DEPTH_MAX);
const _: () = assert!(EVENT_NAME_BYTES_MAX <= 255 - "event_type=".len(), "a folder name");
const _: () = assert!(CREATED_AT_MILLIS_FROM * 1e3 == CREATED_AT_MICROS_FROM && CREATED_AT_MICROS_FROM * 1e3 == CREATED_AT_END);
const _: () = assert!(KEY_EVENTS_BURST as usize >= EVENTS_PER_REQUEST_MAX);
const _: () = assert!(ADDRESS_EVENTS_BURST as usize >= EVENTS_PER_REQUEST_MAX);
const _: () = assert!(INFLATED_BYTES_MAX <= u32::MAX as usize && KEY_EVENT_BYTES_LEAST < BROWSER_EVENT_BYTES_MAX);
const _: () = assert!(BROWSER_EVENT_BYTES_MAX <= EVENT_BYTES_MAX);
const _: () = assert!(CONNECTIONS_PER_ADDRESS_MAX < CONNECTIONS_MAX);
const _: () =
    assert!(PIXEL_QUERY_BYTES_MAX * 2 <= H2_HEADER_BYTES_MAX as usize && PIXEL_QUERY_BYTES_MAX * 2 <= H1_BUFFER_BYTES_MAX);
const _: () = assert!(
    H2_REQUEST_TIMEOUT.as_secs() > BODY_READ_TIMEOUT.as_secs() + DELIVERED_WAIT.as_secs() + RESPONSE_WRITE_TIMEOUT.as_secs()
);
const _: () = assert!(IDLE_TIMEOUT.as_secs() > 60, "above the time for which load balancers keep a connection");
const _: () = assert!(DELIVERY_WAITS_MAX < CONNECTIONS_MAX, "who waits for delivery keeps nobody out");
const _: () = assert!(HEADER_READ_TIMEOUT.as_secs() <= IDLE_TIMEOUT.as_secs());
const _: () = assert!(ANSWER_READ_TIMEOUT.as_secs() > RESPONSE_WRITE_TIMEOUT.as_secs());
const _: () = assert!(REFUSED_BODY_BYTES_MAX > INFLATED_BYTES_MAX, "more than is read before the answer");
const _: () = assert!(REFUSED_BODY_PAUSE_MAX.as_secs() < REFUSED_BODY_TIMEOUT.as_secs());
const _: () = assert!(DRAIN_BODY_TIMEOUT.as_secs() + REFUSED_BODY_TIMEOUT.as_secs() < H2_REQUEST_TIMEOUT.as_secs());
const _: () = assert!(2 * BEACON_BYTES_MAX < BODIES_IN_FLIGHT_BYTES_MAX);
const _: () = assert!(SPOOL_QUEUE_BYTES_MAX >= 2 * INFLATED_BYTES_MAX);
const _: () = assert!(GROUP_COMMIT_BYTES_MAX >= FRAME_BODY_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES >= 2 * GROUP_COMMIT_BYTES_MAX as u64, "a group never spans three segments");
const _: () = assert!(CROWDED_ROLL_AFTER.as_secs() < RETRY_STORAGE_SECONDS.0);
const _: () = assert!(0 < RETRY_SOON_SECONDS.0 && RETRY_SOON_SECONDS.0 < RETRY_SOON_SECONDS.1, "there is something to spread");
const _: () = assert!(READY_BYTES_MIN * 2 < 4 * FRAME_BODY_BYTES_MAX as u64, "the least quota is ready while it is half empty");
const _: () = assert!(SPOOL_BYTES_MAX >= 4 * SEGMENT_BYTES);
const _: () = assert!(DEDUP_IDENTITIES_MAX >= 16 * DEDUP_HOT_IDENTITIES as u64);
const _: () = assert!(2 * DEDUP_HOT_IDENTITIES >= 8 * EVENTS_PER_REQUEST_MAX, "several largest requests can be claimed at once");
const _: () = assert!(BROWSER_CREATED_DAYS.0 <= CREATED_DATE_DAYS_BACK_MAX && BROWSER_CREATED_DAYS.0 > 3, "three days of replay");
const _: () = assert!(BROWSER_CREATED_DAYS.1 <= CREATED_DATE_DAYS_AHEAD_MAX);
const _: () = assert!(DEDUP_WINDOW_DAYS > 3, "outlasts the JS client's three days of replay (DESIGN.md)");
const _: () =
    assert!(FLEET_DEADLINE.as_millis() * 100 < FLEET_CLAIM_TTL.as_millis(), "a claim outlives the request that made it");
const _: () = assert!(FLEET_DEADLINE_PER_IDENTITY.as_micros() * EVENTS_PER_REQUEST_MAX as u128 <= 200_000, "a fifth of a second");
const _: () = assert!(FLEET_CLAIM_TTL.as_secs() > 2 * STOP_REQUESTS_TIMEOUT.as_secs(), "and a gateway that restarts");
const _: () = assert!(FLEET_DEADLINE.as_nanos() <= FLEET_DEADLINE_MAX.as_nanos());
const _: () = assert!(FLEET_CLAIM_TTL.as_nanos() <= FLEET_CLAIM_TTL_MAX.as_nanos());
const _: () = assert!(FLEET_BACKLOG_IDENTITIES_MAX >= 8 * EVENTS_PER_REQUEST_MAX);
const _: () = assert!(KINESIS_CALL_BYTES <= KINESIS_CALL_BYTES_MAX && KINESIS_RECORD_BYTES <= KINESIS_CALL_BYTES);
const _: () = assert!(KINESIS_AGGREGATE_BYTES <= KINESIS_RECORD_BYTES && KINESIS_AGGREGATE_BYTES.is_multiple_of(PUT_UNIT_BYTES));
const _: () =
    assert!(FIREHOSE_RECORD_BYTES_MAX <= FIREHOSE_CALL_BYTES_MAX && FIREHOSE_AGGREGATE_BYTES <= FIREHOSE_RECORD_BYTES_MAX);
const _: () = assert!(STREAM_SHARD_BYTES_MIN > FIREHOSE_RECORD_BYTES_MAX);
const _: () = assert!(STREAM_MEMORY_BYTES >= 4 * STREAM_SHARD_BYTES_MIN && STREAM_SHARD_BYTES_MIN > KINESIS_RECORD_BYTES);
const _: () = assert!(DEAD_LETTER_SPOOL_BYTES_MAX >= 2 * SEGMENT_BYTES);
const _: () = assert!(LAKE_CHUNK_BYTES + EVENT_BYTES_MAX < i32::MAX as usize, "arrow's string offsets have 32 bits");
const _: () = assert!(LAKE_PARTITIONS_AT_ONCE < LAKE_FLUSH_PARTITIONS_PER_KEY);
const _: () = assert!(LAKE_AWAITED_FLUSH_INTERVAL.as_millis() * 20 < DELIVERED_WAIT.as_millis(), "who waits waits for the sink");
const _: () = assert!(DEAD_LETTER_QUEUE_BYTES_MAX >= 2 * INFLATED_BYTES_MAX);
const _: () = assert!(DEAD_LETTER_PACK_BYTES + 3 * DEAD_LETTER_EVENT_BYTES_MAX + MIB <= DEAD_LETTER_UNPACKED_BYTES_MAX);
const _: () = assert!(DEAD_LETTER_EVENT_BYTES_MAX > EVENT_BYTES_MAX, "what may be taken is kept whole");
const _: () = assert!(DEAD_LETTER_SMALL_BYTES * 100 < DEAD_LETTER_BYTES_PER_SOURCE_MAX as usize);
const _: () = assert!(ANSWER_RESULTS_BYTES_MAX >= 16 * KIB, "the longest result fits, with every character escaped");
const _: () = assert!(3 * ACCESS_LOG_TEXT_BYTES_MAX * 3 + KIB < 4 * KIB, "path, user agent and request id in one line");
