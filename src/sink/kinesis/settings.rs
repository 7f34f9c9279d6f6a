//! How to deliver to Kinesis: its own rules, and what is configured.

use std::time::Duration;

use super::hash::hash_key;
use crate::{
    config::{Aggregation, KinesisConfig},
    limits::{KINESIS_AGGREGATE_EVENTS_MAX, KINESIS_KEY_CHARS_MAX, PUT_UNIT_BYTES, SHARD_PER_SECOND, STREAM_SHARD_BYTES_MIN},
    sink::stream::{KeyRules, Packing, StreamRules, StreamSettings},
};

const RULES: StreamRules = StreamRules {
    keys: KeyRules { place_of: hash_key, chars_max: KINESIS_KEY_CHARS_MAX },
    billed_unit_bytes: PUT_UNIT_BYTES,
    shard_per_second: SHARD_PER_SECOND,
    shard_bytes_min: STREAM_SHARD_BYTES_MIN,
    calls_by_shard: false,
};

/// The settings as configured. `key_is_identity`: the partition key of an event only identifies it.
#[must_use]
pub fn settings(config: &KinesisConfig, key_is_identity: bool) -> StreamSettings {
    let packing = Packing {
        aggregation: config.aggregation,
        bytes_max: config.aggregate_bytes_max,
        events_max: KINESIS_AGGREGATE_EVENTS_MAX,
        shares_key: config.aggregation != Aggregation::None && key_is_identity,
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
        ordered_by_key: config.ordered_by_key,
    }
}
