//! Metrics and logs. The only place that spells a metric's name.
//!
//! The ledger (promise P2), at any quiet moment:
//!
//! ```text
//! lakegate_events_received_total = Σ lakegate_events_total over outcome
//! lakegate_spool_appended_events_total = lakegate_events_total{outcome="accepted"} + those answered not_delivered_in_time that were new
//! lakegate_spool_appended_events_total + lakegate_spool_recovered_events
//!     = lakegate_delivered_events_total + lakegate_refused_events_total + lakegate_spool_lost_events_total + lakegate_spool_events
//! ```

use std::{
    fmt::Write as _,
    io::IsTerminal,
    sync::atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{LogFormat, TelemetryConfig},
    outcome::{Counts, Outcome},
};

/// Labels of the count of events.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SourceOutcome {
    /// Name of the key.
    pub source: String,
    /// `accepted`, `duplicate`, `rejected` or `retry`.
    pub outcome: &'static str,
}

/// A stable code.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Code {
    /// See `outcome.rs` and `http/problem.rs`.
    pub code: &'static str,
}

/// Labels of the count of requests.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RouteStatus {
    /// The route's pattern, never the path a client made up.
    pub route: &'static str,
    /// The HTTP status code.
    pub status: u16,
}

type F64Gauge = Gauge<f64, AtomicU64>;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Events that were read from request bodies.
    pub events_received: Counter,
    /// The same events, by source and outcome.
    pub events: Family<SourceOutcome, Counter>,
    /// Rejected events, by code.
    pub rejected: Family<Code, Counter>,
    /// Events to be sent again, by code.
    pub retry: Family<Code, Counter>,
    /// Events dropped because their people ask not to be followed; received events do not count them.
    pub opted_out_events: Counter,
    /// Requests, by route and status.
    pub requests: Family<RouteStatus, Counter>,
    /// Seconds from the first byte of a request's body to its answer.
    pub request_seconds: Histogram,
    /// Bytes of request bodies as received.
    pub body_bytes: Histogram,
    /// Bytes of request bodies held at the moment.
    pub bodies_in_flight_bytes: Gauge<i64, AtomicI64>,
    /// Connections open at the moment.
    pub connections: Gauge<i64, AtomicI64>,
    /// TLS handshakes that failed.
    pub tls_handshake_failures: Counter,
    /// Connections closed because their address had as many as it may.
    pub crowded_out_connections: Counter,
    /// Client addresses whose buckets are not full, those of events and those of requests.
    pub client_addresses: Gauge<i64, AtomicI64>,
    /// Times that a changed certificate was put in use.
    pub certificate_reloads: Counter,
    /// Times that a changed certificate could not be used, and the old one stayed.
    pub certificate_reload_failures: Counter,
    /// Times that the configuration was read again and put in force.
    pub config_reloads: Counter,
    /// Times that it was read again and could not be used, and the old one stayed.
    pub config_reload_failures: Counter,
    /// Events made durable in the spool.
    pub spool_appended_events: Counter,
    /// Events found in the spool at start, without those that are known to be delivered.
    pub spool_recovered_events: Gauge<i64, AtomicI64>,
    /// Events in the spool, not yet delivered.
    pub spool_events: Gauge<i64, AtomicI64>,
    /// Bytes of those events, by the average of what is on disk.
    pub spool_lag_bytes: Gauge<i64, AtomicI64>,
    /// Seconds until the spool has no room, at the present rate and if nothing is delivered meanwhile.
    pub spool_headroom_seconds: F64Gauge,
    /// Bytes of the spool on disk.
    pub spool_bytes: Gauge<i64, AtomicI64>,
    /// Segment files of the spool.
    pub spool_segments: Gauge<i64, AtomicI64>,
    /// Groups of appends that the spool made durable, one `fdatasync` each.
    pub spool_syncs: Gauge<i64, AtomicI64>,
    /// Seconds since the oldest undelivered event was received.
    pub spool_oldest_seconds: F64Gauge,
    /// Seconds that a request waited for its events to be durable.
    pub spool_append_seconds: Histogram,
    /// Delivery of the events.
    pub delivery: DeliveryMetrics,
    /// Delivery of the dead letters, where they go to a stream of their own.
    pub dead_letter_delivery: DeliveryMetrics,
    /// Identities in the dedup window.
    pub dedup_identities: Gauge<i64, AtomicI64>,
    /// Bytes of the dedup window on disk.
    pub dedup_disk_bytes: Gauge<i64, AtomicI64>,
    /// Bytes of the dedup window's filters and indexes in memory.
    pub dedup_memory_bytes: Gauge<i64, AtomicI64>,
    /// Seconds for which identities are remembered at the moment; below the configured window when there are too many.
    pub dedup_window_seconds: F64Gauge,
    /// Look-ups in the dedup window that had to read the disk.
    pub dedup_disk_reads: Gauge<i64, AtomicI64>,
    /// Damaged pages met in the dedup window.
    pub dedup_damaged_pages: Gauge<i64, AtomicI64>,
    /// 1 unless a shared dedup store is configured and does not answer.
    pub dedup_store_up: Gauge<i64, AtomicI64>,
    /// Seconds that claims in the shared dedup store took, where it was asked.
    pub dedup_store_claim_seconds: Histogram,
    /// Events accepted, durably, without an answer from the shared dedup store: those tagged `"dedup":"unchecked"`.
    pub dedup_unchecked_events: Counter,
    /// Confirmations and releases that the shared dedup store is still to be told.
    pub dedup_store_backlog: Gauge<i64, AtomicI64>,
    /// Accepted events that the shared dedup store was not told of, because too many waited.
    pub dedup_store_unconfirmed_events: Counter,
    /// Dead letters written.
    pub dead_letters: Counter,
    /// Bytes of dead letters on disk.
    pub dead_letter_bytes: Gauge<i64, AtomicI64>,
    /// Dead letters that wait for their stream.
    pub dead_letter_spool_events: Gauge<i64, AtomicI64>,
    /// Bytes of the spool of the dead letters on disk.
    pub dead_letter_spool_bytes: Gauge<i64, AtomicI64>,
    /// Events whose handling panicked; each is a bug.
    pub panics: Counter,
}

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
    /// 1 while the last delivery succeeded, 0 while the sink fails.
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
    fn new(registry: &mut Registry, prefix: &str) -> Self {
        let r = registry;
        let name = |name: &str| format!("{prefix}{name}");
        let lost = if prefix.is_empty() { "spool_lost_events" } else { "dead_letter_spool_lost_events" };
        let metrics = Self {
            delivered_events: metric(r, &name("delivered_events"), "Events the sink confirmed"),
            refused_events: metric(r, &name("refused_events"), "Accepted events the sink refused for good"),
            lost_events: metric(r, lost, "Events lost to a damaged disk"),
            retries: metric(r, &name("delivery_retries"), "Deliveries that needed another try"),
            maybe_duplicate_events: metric(r, &name("maybe_duplicate_events"), "Events sent again after a lost answer"),
            seconds: histogram(r, &name("delivery_seconds"), "Seconds the sink took for one batch or call", SECONDS),
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
        metrics
    }
}

/// First bucket and number of buckets, each twice the one before: 0.25 ms to 16 s.
const SECONDS: (f64, f64, u16) = (0.000_25, 2.0, 17);
/// Likewise, each four times the one before: 256 B to 16 MiB.
const BYTES: (f64, f64, u16) = (256.0, 4.0, 9);

fn metric<M: prometheus_client::registry::Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histogram(registry: &mut Registry, name: &str, help: &str, (first, factor, count): (f64, f64, u16)) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(first, factor, count));
    registry.register(name, help, histogram.clone());
    histogram
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lakegate");
        let r = &mut registry;
        r.register("build", "Version of the program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let mut metrics = Self {
            events_received: metric(r, "events_received", "Events read from request bodies"),
            events: metric(r, "events", "Events by source and outcome"),
            rejected: metric(r, "rejected_events", "Rejected events by code"),
            retry: metric(r, "retry_events", "Events to be sent again, by code"),
            opted_out_events: metric(r, "opted_out_events", "Events dropped for Sec-GPC or DNT"),
            requests: metric(r, "requests", "Requests by route and status"),
            request_seconds: histogram(r, "request_seconds", "Seconds from a request's headers to its answer", SECONDS),
            body_bytes: histogram(r, "body_bytes", "Bytes of request bodies as received", BYTES),
            bodies_in_flight_bytes: metric(r, "bodies_in_flight_bytes", "Bytes of request bodies held now"),
            connections: metric(r, "connections", "Connections open now"),
            tls_handshake_failures: metric(r, "tls_handshake_failures", "TLS handshakes that failed"),
            crowded_out_connections: metric(r, "crowded_out_connections", "Connections closed: too many from their address"),
            client_addresses: metric(r, "client_addresses", "Client addresses whose rate is being watched"),
            certificate_reloads: metric(r, "certificate_reloads", "Changed certificates put in use"),
            certificate_reload_failures: metric(r, "certificate_reload_failures", "Changed certificates that cannot be used"),
            config_reloads: metric(r, "config_reloads", "Configurations read again and put in force"),
            config_reload_failures: metric(r, "config_reload_failures", "Configurations read again that cannot be used"),
            spool_appended_events: metric(r, "spool_appended_events", "Events made durable in the spool"),
            spool_recovered_events: metric(r, "spool_recovered_events", "Undelivered events found in the spool at start"),
            spool_events: metric(r, "spool_events", "Events spooled and not delivered"),
            spool_lag_bytes: metric(r, "spool_lag_bytes", "Bytes of the events spooled and not delivered"),
            spool_headroom_seconds: metric(
                r,
                "spool_headroom_seconds",
                "Seconds until the spool is full if nothing is delivered",
            ),
            spool_bytes: metric(r, "spool_bytes", "Bytes of the spool on disk"),
            spool_segments: metric(r, "spool_segments", "Segment files of the spool"),
            spool_syncs: metric(r, "spool_syncs", "Groups made durable since start, one fdatasync each"),
            spool_oldest_seconds: metric(r, "spool_oldest_seconds", "Age of the oldest undelivered event"),
            spool_append_seconds: histogram(r, "spool_append_seconds", "Seconds until events were durable", SECONDS),
            delivery: DeliveryMetrics::new(r, ""),
            dead_letter_delivery: DeliveryMetrics::new(r, "dead_letter_"),
            dedup_identities: metric(r, "dedup_identities", "Identities in the dedup window"),
            dedup_disk_bytes: metric(r, "dedup_disk_bytes", "Bytes of the dedup window on disk"),
            dedup_memory_bytes: metric(r, "dedup_memory_bytes", "Bytes of the dedup window in memory"),
            dedup_window_seconds: metric(r, "dedup_window_seconds", "Seconds for which identities are remembered"),
            dedup_disk_reads: metric(r, "dedup_disk_reads", "Look-ups that read the disk since start"),
            dedup_damaged_pages: metric(r, "dedup_damaged_pages", "Damaged pages met since start"),
            dedup_store_up: metric(r, "dedup_store_up", "0 while the shared dedup store does not answer"),
            dedup_store_claim_seconds: histogram(r, "dedup_store_claim_seconds", "Seconds of claims in the store", SECONDS),
            dedup_unchecked_events: metric(r, "dedup_unchecked_events", "Events accepted without asking the dedup store"),
            dedup_store_backlog: metric(r, "dedup_store_backlog", "Identities the dedup store is still to be told"),
            dedup_store_unconfirmed_events: metric(r, "dedup_store_unconfirmed_events", "Events the dedup store never heard of"),
            dead_letters: metric(r, "dead_letters", "Dead letters written"),
            dead_letter_bytes: metric(r, "dead_letter_bytes", "Bytes of dead letters on disk"),
            dead_letter_spool_events: metric(r, "dead_letter_spool_events", "Dead letters that wait for their stream"),
            dead_letter_spool_bytes: metric(r, "dead_letter_spool_bytes", "Bytes of the spool of the dead letters on disk"),
            panics: metric(r, "panics", "Events whose handling panicked"),
            registry: Registry::default(),
        };
        metrics.registry = registry;
        metrics.dedup_store_up.set(1);
        metrics
    }

    /// Counts what became of the events of one request from `source`.
    pub fn count_outcomes<'a>(&self, source: &str, outcomes: impl Iterator<Item = &'a Outcome> + Clone) {
        for outcome in outcomes.clone() {
            match outcome {
                Outcome::Rejected(rejection) => self.rejected.get_or_create(&Code { code: rejection.code.as_str() }).inc(),
                Outcome::Retry(cause) => self.retry.get_or_create(&Code { code: cause.as_str() }).inc(),
                Outcome::Accepted | Outcome::Duplicate => continue,
            };
        }
        let counts = Counts::of(outcomes);
        self.events_received.inc_by(counts.total() as u64);
        let by_outcome = [
            ("accepted", counts.accepted),
            ("duplicate", counts.duplicates),
            ("rejected", counts.rejected),
            ("retry", counts.retry),
        ];
        for (outcome, count) in by_outcome.into_iter().filter(|(_, count)| *count > 0) {
            self.events.get_or_create(&SourceOutcome { source: source.to_owned(), outcome }).inc_by(count as u64);
        }
    }

    /// The exposition of all metrics (OpenMetrics text).
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
            let _ = write!(text, "# EOF");
        }
        text
    }
}

/// Starts logging to standard error. Payloads, keys and addresses of clients are never logged.
///
/// # Errors
/// Where the filter is malformed, or logging was started before.
pub fn start_logging(config: &TelemetryConfig) -> Result<(), String> {
    // The SDK warns at every try of every provider of credentials; what they come to is reported once, by the deliverer.
    let filter = EnvFilter::try_new(format!("aws_config=error,{}", config.log_filter))
        .map_err(|error| format!("telemetry.log_filter: {error}"))?;
    let pretty = match config.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if pretty {
        registry.with(layer.compact()).try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
    started.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{RejectCode, Rejection, RetryCause};

    #[test]
    fn outcomes_add_up_to_what_was_received() {
        let metrics = Metrics::new();
        let rejected = Outcome::Rejected(Box::new(Rejection::new(RejectCode::UnknownEvent, "", "")));
        let outcomes = [Outcome::Accepted, rejected, Outcome::Duplicate, Outcome::Retry(RetryCause::Busy), Outcome::Accepted];
        metrics.count_outcomes("web", outcomes.iter());
        let text = metrics.exposition();
        for line in [
            "lakegate_events_received_total 5",
            "lakegate_events_total{source=\"web\",outcome=\"accepted\"} 2",
            "lakegate_events_total{source=\"web\",outcome=\"retry\"} 1",
            "lakegate_rejected_events_total{code=\"unknown_event\"} 1",
            "lakegate_retry_events_total{code=\"busy\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
