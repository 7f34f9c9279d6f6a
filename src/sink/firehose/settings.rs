//! How to deliver to Firehose: its own rules, and what is configured.

use std::time::Duration;

use crate::{
    config::FirehoseConfig,
    limits::{FIREHOSE_AGGREGATE_EVENTS_MAX, FIREHOSE_BILLED_UNIT_BYTES, FIREHOSE_PER_SECOND, STREAM_SHARD_BYTES_MIN},
    sink::stream::{HashKey, KeyRules, Packing, StreamRules, StreamSettings},
};

const RULES: StreamRules = StreamRules {
    keys: KeyRules { place_of: the_one_lane, chars_max: 0 },
    billed_unit_bytes: FIREHOSE_BILLED_UNIT_BYTES,
    shard_per_second: FIREHOSE_PER_SECOND,
    shard_bytes_min: STREAM_SHARD_BYTES_MIN,
    calls_by_shard: false,
};

/// A delivery stream has one lane, for records of any key.
fn the_one_lane(_: &str) -> HashKey {
    0
}

/// The settings as configured.
#[must_use]
pub fn settings(config: &FirehoseConfig) -> StreamSettings {
    let packing = Packing {
        aggregation: config.aggregation,
        bytes_max: config.aggregate_bytes_max,
        events_max: FIREHOSE_AGGREGATE_EVENTS_MAX,
        shares_key: false,
    };
    StreamSettings {
        rules: RULES,
        packing,
        call_records_max: config.call_records_max,
        call_bytes_max: config.call_bytes_max,
        record_bytes_max: config.record_bytes_max,
        calls_in_flight_max: config.calls_in_flight_max,
        linger: Duration::from_millis(config.linger_ms),
        memory_bytes_max: config.memory_bytes_max,
        backlog_percent: config.backlog_percent,
        ordered_by_key: false,
    }
}
