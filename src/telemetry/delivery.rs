//! Metrics of the deliverers. Every metric has the name of its sink as a label.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::table::{BATCH_BYTES, COUNTS, F64Gauge, SECONDS};

/// A sink; bounded by [`SINKS_MAX`](crate::limits::SINKS_MAX).
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

/// A shard of a stream; bounded by the number of shards.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ShardLabel {
    sink: String,
    shard: String,
}

/// How a call to a stream ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AnswerLabel {
    sink: String,
    answer: &'static str,
}

/// How calls to a stream end: see `sink/stream/answer.rs`.
const ANSWERS: [&str; 6] = ["each", "unknown", "refused", "throttled", "held", "invalid"];

/// Declares the metrics of one sink, and the same metrics of all sinks. A metric has the name of its field, or the name after
/// `as`; the buckets of a histogram follow its help text.
macro_rules! metrics_of_a_sink {
    ($( $(#[$note:meta])* $field:ident $(as $name:literal)?: $Type:ty = $help:literal $(, $buckets:ident)?; )*) => {
        /// Metrics of the deliverer of one sink.
        #[derive(Clone, Debug)]
        pub struct DeliveryMetrics {
            $( #[doc = concat!($help, ".")] $(#[$note])* pub $field: $Type, )*
            /// The metrics that have further labels.
            stream: StreamFamilies,
            sink: String,
        }

        /// Metrics of all deliverers.
        #[derive(Clone, Debug)]
        pub struct DeliveryFamilies {
            $( $field: Family<SinkLabel, $Type, fn() -> $Type>, )*
            stream: StreamFamilies,
        }

        impl DeliveryFamilies {
            /// Adds the metrics to `registry`, with `prefix` before their names.
            pub(super) fn new(registry: &mut Registry, prefix: &str) -> Self {
                $(
                    let make: fn() -> $Type = || metrics_of_a_sink!(@new $($buckets)?);
                    let $field = Family::new_with_constructor(make);
                    registry.register(format!("{prefix}{}", metrics_of_a_sink!(@name $field $($name)?)), $help, $field.clone());
                )*
                Self { $( $field, )* stream: StreamFamilies::new(registry, prefix) }
            }

            /// The metrics of the sink with this name, which are zero if it is new.
            #[must_use]
            pub fn of(&self, sink: &str) -> DeliveryMetrics {
                let label = SinkLabel { sink: sink.to_owned() };
                let metrics = DeliveryMetrics {
                    $( $field: self.$field.get_or_create(&label).clone(), )*
                    stream: self.stream.clone(),
                    sink: sink.to_owned(),
                };
                metrics.sink_up.set(1);
                ANSWERS.into_iter().for_each(|answer| drop(metrics.calls(answer)));
                metrics
            }
        }
    };
    (@name $field:ident $name:literal) => { $name };
    (@name $field:ident) => { stringify!($field) };
    (@new) => { Default::default() };
    (@new $buckets:ident) => { Histogram::new(exponential_buckets($buckets.0, $buckets.1, $buckets.2)) };
}

metrics_of_a_sink! {
    delivered_events: Counter = "Events the sink confirmed";
    /// They are dead letters now.
    refused_events: Counter = "Accepted events the sink refused for good";
    /// Their remains are in the spool's quarantine.
    lost_events as "spool_lost_events": Counter = "Events lost to a damaged disk";
    /// The sink did not have them yet: `lakegate lake erase`.
    erased_events: Counter = "Accepted events erased before the sink had them";
    /// Only of a sink with `when_full = "drop_this_sink"`.
    dropped_events: Counter = "Events given up because those that wait for the sink filled its part of the quota";
    /// The other sinks had refused them, and this sink has them.
    skipped_events: Counter = "Replayed events that were for another sink only";
    retries as "delivery_retries": Counter = "Deliveries that needed another try";
    /// Each may be in the stream twice.
    maybe_duplicate_events: Counter = "Events sent again after a lost answer";
    seconds as "delivery_seconds": Histogram = "Seconds the sink took for one batch or call", SECONDS;
    batch_events as "delivery_batch_events": Histogram = "Events of one batch or call", COUNTS;
    batch_bytes as "delivery_batch_bytes": Histogram = "Bytes of one batch or call", BATCH_BYTES;
    /// 0 while the sink takes nothing. Partial failures have their own conditions.
    sink_up: Gauge<i64, AtomicI64> = "1 while the last delivery succeeded";
    /// Set at the start.
    recovered_events as "sink_recovered_events": Gauge<i64, AtomicI64> = "Events of earlier runs that the sink had not";
    lag_events as "sink_lag_events": Gauge<i64, AtomicI64> = "Events in the spool that the sink has not";
    lag_bytes as "sink_lag_bytes": Gauge<i64, AtomicI64> = "Bytes of the spool that are kept for the sink";
    lag_seconds as "sink_lag_seconds": F64Gauge = "Age of the oldest event that the sink has not";
    /// A record may hold many events.
    stream_records: Counter = "Records that the stream took";
    stream_bytes: Counter = "Bytes of those records with their keys";
    /// As provisioned Kinesis streams and Firehose bill them.
    stream_put_units: Counter = "Units in which they are billed: 25 KB (Kinesis, provisioned) or 5 KB (Firehose)";
}

/// The metrics with further labels.
#[derive(Clone, Debug, Default)]
struct StreamFamilies {
    calls: Family<AnswerLabel, Counter>,
    shard_throttled: Family<ShardLabel, Counter>,
    shard_rate: Family<ShardLabel, F64Gauge>,
    shard_waiting_events: Family<ShardLabel, Gauge<i64, AtomicI64>>,
}

impl StreamFamilies {
    fn new(registry: &mut Registry, prefix: &str) -> Self {
        let families = Self::default();
        let name = |name: &str| format!("{prefix}{name}");
        registry.register(name("stream_calls"), "Calls to the stream by how they ended", families.calls.clone());
        let throttled = families.shard_throttled.clone();
        registry.register(name("shard_throttled_records"), "Records that a shard throttled", throttled);
        let rate = "Rate that a shard is held to; 1 is 1,000 records or 1 MB a second";
        registry.register(name("shard_rate"), rate, families.shard_rate.clone());
        let waiting = families.shard_waiting_events.clone();
        registry.register(name("shard_waiting_events"), "Events in memory that wait for a shard", waiting);
        families
    }
}

impl DeliveryMetrics {
    /// Calls that ended as `answer`: `each`, `unknown`, `refused`, `throttled`, `held` or `invalid`.
    #[must_use]
    pub fn calls(&self, answer: &'static str) -> Counter {
        self.stream.calls.get_or_create(&AnswerLabel { sink: self.sink.clone(), answer }).clone()
    }

    /// Counts a record that `shard` throttled.
    pub fn shard_throttled(&self, shard: &str) {
        self.stream.shard_throttled.get_or_create(&self.shard(shard)).inc();
    }

    /// Sets the gauges of `shard`: its events in memory, and the rate that it is held to, if it is.
    pub fn set_shard(&self, shard: &str, waiting_events: usize, rate: Option<f64>) {
        let label = self.shard(shard);
        self.stream.shard_waiting_events.get_or_create(&label).set(waiting_events as i64);
        match rate {
            Some(rate) => drop(self.stream.shard_rate.get_or_create(&label).set(rate)),
            None => drop(self.stream.shard_rate.remove(&label)),
        }
    }

    /// Removes the gauges of a shard that is gone.
    pub fn remove_shard(&self, shard: &str) {
        let label = self.shard(shard);
        self.stream.shard_waiting_events.remove(&label);
        self.stream.shard_rate.remove(&label);
    }

    fn shard(&self, shard: &str) -> ShardLabel {
        ShardLabel { sink: self.sink.clone(), shard: shard.to_owned() }
    }
}
