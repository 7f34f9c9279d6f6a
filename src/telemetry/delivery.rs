//! What is counted of a deliverer.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{BATCH_BYTES, COUNTS, F64Gauge, SECONDS, histogram, metric};

/// A shard of a stream; bounded by the number of shards.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ShardLabel {
    /// Its id.
    pub shard: String,
}

/// How a call to a stream ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AnswerLabel {
    /// `each`, `unknown`, `refused`, `held` or `invalid`: see `sink/kinesis/call.rs`.
    pub answer: &'static str,
}

/// Metrics of one deliverer.
#[derive(Clone, Debug)]
pub struct DeliveryMetrics {
    /// Events the sink confirmed.
    pub delivered_events: Counter,
    /// Accepted events the sink refused for good, now dead letters.
    pub refused_events: Counter,
    /// Events lost to damage of the disk; what is left of them lies in the spool's quarantine.
    pub lost_events: Counter,
    /// Batches that needed another try, or calls of which a part did.
    pub retries: Counter,
    /// Events sent again after an answer that did not come: each may be in the stream twice.
    pub maybe_duplicate_events: Counter,
    /// Seconds that the sink took for one batch or call.
    pub seconds: Histogram,
    /// Events of one batch or call.
    pub batch_events: Histogram,
    /// Bytes of one batch, or of the records of one call.
    pub batch_bytes: Histogram,
    /// 1 while the sink takes anything, 0 while it takes nothing. What fails alone is a condition of its own.
    pub sink_up: Gauge<i64, AtomicI64>,
    /// Calls to the stream, by how they ended.
    pub calls: Family<AnswerLabel, Counter>,
    /// Records that the stream took; one may hold many events.
    pub stream_records: Counter,
    /// Bytes of those records, with their keys.
    pub stream_bytes: Counter,
    /// PUT payload units of those records, as provisioned streams bill them.
    pub stream_put_units: Counter,
    /// Records that a shard refused because it takes no more at the moment.
    pub shard_throttled: Family<ShardLabel, Counter>,
    /// The rate that a shard is held to; 1 is 1,000 records or 1 MB a second. Absent: not held.
    pub shard_rate: Family<ShardLabel, F64Gauge>,
    /// Events that wait for a shard in memory.
    pub shard_waiting_events: Family<ShardLabel, Gauge<i64, AtomicI64>>,
}

impl DeliveryMetrics {
    pub(super) fn new(registry: &mut Registry, prefix: &str) -> Self {
        let r = registry;
        let name = |name: &str| format!("{prefix}{name}");
        let lost = if prefix.is_empty() { "spool_lost_events" } else { "dead_letters_spool_lost_events" };
        let metrics = Self {
            delivered_events: metric(r, &name("delivered_events"), "Events the sink confirmed"),
            refused_events: metric(r, &name("refused_events"), "Accepted events the sink refused for good"),
            lost_events: metric(r, lost, "Events lost to a damaged disk"),
            retries: metric(r, &name("delivery_retries"), "Deliveries that needed another try"),
            maybe_duplicate_events: metric(r, &name("maybe_duplicate_events"), "Events sent again after a lost answer"),
            seconds: histogram(r, &name("delivery_seconds"), "Seconds the sink took for one batch or call", SECONDS),
            batch_events: histogram(r, &name("delivery_batch_events"), "Events of one batch or call", COUNTS),
            batch_bytes: histogram(r, &name("delivery_batch_bytes"), "Bytes of one batch or call", BATCH_BYTES),
            sink_up: metric(r, &name("sink_up"), "1 while the last delivery succeeded"),
            calls: metric(r, &name("stream_calls"), "PutRecords calls by how they ended"),
            stream_records: metric(r, &name("stream_records"), "Records that the stream took"),
            stream_bytes: metric(r, &name("stream_bytes"), "Bytes of those records with their keys"),
            stream_put_units: metric(r, &name("stream_put_units"), "Their PUT payload units of 25 KB"),
            shard_throttled: metric(r, &name("shard_throttled_records"), "Records that a shard throttled"),
            shard_rate: metric(r, &name("shard_rate"), "Rate that a shard is held to; 1 is 1,000 records or 1 MB a second"),
            shard_waiting_events: metric(r, &name("shard_waiting_events"), "Events in memory that wait for a shard"),
        };
        metrics.sink_up.set(1);
        for answer in ["each", "unknown", "refused", "held", "invalid"] {
            drop(metrics.calls.get_or_create(&AnswerLabel { answer }));
        }
        metrics
    }
}
