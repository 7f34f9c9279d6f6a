//! Metrics of a deliverer.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::table::{F64Gauge, metrics};

/// A shard of a stream; bounded by the number of shards.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ShardLabel {
    /// Its id.
    pub shard: String,
}

/// How a call to a stream ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AnswerLabel {
    /// `each`, `unknown`, `refused`, `throttled`, `held` or `invalid`: see `sink/stream/answer.rs`.
    pub answer: &'static str,
}

metrics! {
    /// Metrics of one deliverer.
    #[derive(Clone, Debug)]
    pub struct DeliveryMetrics, registered with registry and prefix {
        pub delivered_events: Counter = "Events the sink confirmed";
        /// They are dead letters now.
        pub refused_events: Counter = "Accepted events the sink refused for good";
        /// Their remains are in the spool's quarantine.
        pub lost_events as "spool_lost_events": Counter = "Events lost to a damaged disk";
        pub retries as "delivery_retries": Counter = "Deliveries that needed another try";
        /// Each may be in the stream twice.
        pub maybe_duplicate_events: Counter = "Events sent again after a lost answer";
        pub seconds as "delivery_seconds": Histogram = "Seconds the sink took for one batch or call", SECONDS;
        pub batch_events as "delivery_batch_events": Histogram = "Events of one batch or call", COUNTS;
        pub batch_bytes as "delivery_batch_bytes": Histogram = "Bytes of one batch or call", BATCH_BYTES;
        /// 0 while the sink takes nothing. Partial failures have their own conditions.
        pub sink_up: Gauge<i64, AtomicI64> = "1 while the last delivery succeeded";
        pub calls as "stream_calls": Family<AnswerLabel, Counter> = "Calls to the stream by how they ended";
        /// A record may hold many events.
        pub stream_records: Counter = "Records that the stream took";
        pub stream_bytes: Counter = "Bytes of those records with their keys";
        /// As provisioned Kinesis streams and Firehose bill them.
        pub stream_put_units: Counter = "Units in which they are billed: 25 KB (Kinesis, provisioned) or 5 KB (Firehose)";
        pub shard_throttled as "shard_throttled_records": Family<ShardLabel, Counter> = "Records that a shard throttled";
        /// Absent if the shard is not limited.
        pub shard_rate: Family<ShardLabel, F64Gauge> = "Rate that a shard is held to; 1 is 1,000 records or 1 MB a second";
        pub shard_waiting_events: Family<ShardLabel, Gauge<i64, AtomicI64>> = "Events in memory that wait for a shard";
    }
    beside {}
}

impl DeliveryMetrics {
    pub(super) fn new(registry: &mut Registry, prefix: &str) -> Self {
        let metrics = Self::register(registry, prefix);
        metrics.sink_up.set(1);
        for answer in ["each", "unknown", "refused", "throttled", "held", "invalid"] {
            drop(metrics.calls.get_or_create(&AnswerLabel { answer }));
        }
        metrics
    }
}
