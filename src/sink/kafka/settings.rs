//! How to deliver to Kafka: its own rules, and what is configured.

use std::time::Duration;

use super::hash::place_of;
use crate::{
    config::{Aggregation, KafkaConfig},
    limits::{KAFKA_BILLED_UNIT_BYTES, KAFKA_PARTITION_BYTES_MIN, KAFKA_PARTITIONS_MAX, KAFKA_PER_SECOND},
    sink::stream::{KeyRules, Packing, StreamRules, StreamSettings},
};

const RULES: StreamRules = StreamRules {
    keys: KeyRules { place_of, chars_max: usize::MAX },
    billed_unit_bytes: KAFKA_BILLED_UNIT_BYTES,
    shard_per_second: KAFKA_PER_SECOND,
    shard_bytes_min: KAFKA_PARTITION_BYTES_MIN,
    calls_by_shard: true,
};

/// The settings as configured.
#[must_use]
pub fn settings(config: &KafkaConfig) -> StreamSettings {
    StreamSettings {
        rules: RULES,
        // The producer packs records into batches itself.
        packing: Packing { aggregation: Aggregation::None, bytes_max: 0, events_max: 1, shares_key: false },
        call_records_max: config.call_records_max,
        call_bytes_max: config.call_bytes_max,
        record_bytes_max: config.record_bytes_max,
        // Each partition has one.
        calls_in_flight_max: KAFKA_PARTITIONS_MAX,
        linger: Duration::from_millis(config.linger_ms),
        memory_bytes_max: config.memory_bytes_max,
        backlog_percent: config.backlog_percent,
        ordered_by_key: config.ordered_by_key,
    }
}
