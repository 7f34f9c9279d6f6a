//! Metrics, logs and traces. The only place that spells a metric's name.
//!
//! The ledger (promise P2), at any quiet moment:
//!
//! ```text
//! lakegate_events_received_total = Σ lakegate_events_total over outcome
//! lakegate_spool_appended_events_total = lakegate_events_total{outcome="accepted"}
//!     + those that were new and answered not_delivered_in_time, lost or refused_by_sink (durability=delivered)
//! lakegate_spool_appended_events_total + lakegate_spool_recovered_events
//!     = lakegate_delivered_events_total + lakegate_refused_events_total + lakegate_spool_lost_events_total + lakegate_spool_events
//! ```

mod access_log;
mod delivery;
mod labels;
mod lines;
mod logging;
mod process;
mod refusals;
mod traces;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64},
    },
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::{
    conditions::Condition,
    outcome::{Counts, Outcome, RejectCode, RetryCause},
};
pub use access_log::{AccessLine, AccessLog};
pub use delivery::{AnswerLabel, DeliveryMetrics, ShardLabel};
pub use labels::{AcceptedEvents, Code, Replayed, SourceLabel, SourceOutcome};
use labels::{RouteStatus, USUAL_REQUEST};
pub use lines::own_output;
pub use logging::{Log, flush_log, log_has_ended, log_stalled, start_logging};
use process::Process;
pub use refusals::Refusals;
pub use traces::{DeliverySpan, RequestSpan, Traces};

type F64Gauge = Gauge<f64, AtomicU64>;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What clients are refused, for the log.
    pub refusals: Refusals,
    /// Events that were read from request bodies.
    pub events_received: Counter,
    /// The same events, by source and outcome.
    pub events: Family<SourceOutcome, Counter>,
    /// Rejected events, by code.
    pub rejected: Family<Code, Counter>,
    /// Duplicates whose payload differs from the accepted one's, by source.
    pub conflicting_duplicates: Family<SourceLabel, Counter>,
    /// Events to be sent again, by code.
    pub retry: Family<Code, Counter>,
    /// Events dropped because their people ask not to be followed; received events do not count them.
    pub opted_out_events: Counter,
    requests: Family<RouteStatus, Counter>,
    /// Of those, the ones that are nearly all: to look them up among the others would cost each a hash.
    usual_requests: OnceLock<Counter>,
    /// Seconds from the first byte of a request's body to its answer.
    pub request_seconds: Histogram,
    /// Bytes of request bodies as received.
    pub body_bytes: Histogram,
    /// Events of one request.
    pub request_events: Histogram,
    /// Seconds to inflate, split, validate and enrich the events of one request: CPU, no waiting.
    pub judge_seconds: Histogram,
    /// Seconds to claim the identities of one request, in the window and in the shared store where there is one.
    pub dedup_claim_seconds: Histogram,
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
    /// Times that the folder of the schemas had changed and what it holds was put in force.
    pub schema_reloads: Counter,
    /// Times that it had changed and could not be used, and the old schemas stayed.
    pub schema_reload_failures: Counter,
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
    /// Bytes of each key's events that are not delivered, in coarse steps.
    pub key_spool_bytes: Family<SourceLabel, Gauge<i64, AtomicI64>>,
    /// Identities of each key in the dedup window, as far as they came since the start or were undelivered then.
    pub key_dedup_identities: Family<SourceLabel, Gauge<i64, AtomicI64>>,
    /// Bytes of the spool on disk.
    pub spool_bytes: Gauge<i64, AtomicI64>,
    /// Segment files of the spool.
    pub spool_segments: Gauge<i64, AtomicI64>,
    /// Damaged files that are kept for a person, of all spools.
    pub quarantine_files: Gauge<i64, AtomicI64>,
    /// Their bytes.
    pub quarantine_bytes: Gauge<i64, AtomicI64>,
    /// Groups of appends that the spool made durable, one `fdatasync` each.
    pub spool_syncs: Gauge<i64, AtomicI64>,
    /// Bytes that the spool may have.
    pub spool_quota_bytes: Gauge<i64, AtomicI64>,
    /// Bytes that the file system still has for the spool.
    pub spool_disk_left_bytes: Gauge<i64, AtomicI64>,
    /// Seconds of one `fdatasync` of the spool.
    pub spool_sync_seconds: Histogram,
    /// Bytes of one group that the spool made durable.
    pub spool_group_bytes: Histogram,
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
    /// Identities forgotten with them.
    pub dedup_damaged_identities: Gauge<i64, AtomicI64>,
    /// Damaged runs of the dedup window that lie in its folder.
    pub dedup_set_aside_runs: Gauge<i64, AtomicI64>,
    /// Identities forgotten before their time, because there were too many.
    pub dedup_forgotten_identities: Gauge<i64, AtomicI64>,
    /// Batches of events refused because the dedup window was full.
    pub dedup_refused_batches: Gauge<i64, AtomicI64>,
    /// Jumps of the wall clock.
    pub clock_jumps: Counter,
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
    /// Seconds to make the dead letters of one write durable.
    pub dead_letter_write_seconds: Histogram,
    /// Bytes of dead letters on disk.
    pub dead_letter_bytes: Gauge<i64, AtomicI64>,
    /// Dead letters that wait for their stream.
    pub dead_letter_spool_events: Gauge<i64, AtomicI64>,
    /// Bytes of the spool of the dead letters on disk.
    pub dead_letter_spool_bytes: Gauge<i64, AtomicI64>,
    /// Events of dead letters that were replayed, by outcome; received events do not count them.
    pub replayed: Family<Replayed, Counter>,
    /// Dead letters that were dropped on request.
    pub dropped_dead_letters: Counter,
    /// Events whose handling panicked; each is a bug.
    pub panics: Counter,
    /// 1 while `/readyz` says ready.
    pub ready: Gauge<i64, AtomicI64>,
    /// Places at which a condition holds, by its code; 0 where it does not.
    pub condition: Family<Code, Gauge<i64, AtomicI64>>,
    /// Lines that the access log dropped because nobody read it.
    pub access_log_dropped_lines: Counter,
    /// Lines of the log that were dropped because nobody read it, or because the output did not take them.
    pub log_dropped_lines: Counter,
    /// Exports of traces that the collector did not take.
    pub trace_export_failures: Counter,
}

/// The outcomes as labels.
const OUTCOMES: [&str; 4] = ["accepted", "duplicate", "rejected", "retry"];

/// First bucket and number of buckets, each twice the one before: 0.25 ms to 16 s.
const SECONDS: (f64, f64, u16) = (0.000_25, 2.0, 17);
/// Likewise, each four times the one before: 256 B to 16 MiB.
const BYTES: (f64, f64, u16) = (256.0, 4.0, 9);
/// Likewise: 10 µs to 2.6 s, for what is CPU alone.
const FINE_SECONDS: (f64, f64, u16) = (0.000_01, 4.0, 10);
/// Likewise: 1 KiB to 64 MiB, for what is gathered of many requests.
const BATCH_BYTES: (f64, f64, u16) = (1024.0, 4.0, 9);
/// Likewise: 1 to 65,536.
const COUNTS: (f64, f64, u16) = (1.0, 4.0, 9);

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

/// That of the process: the log is there before the metrics are.
fn log_dropped_lines(registry: &mut Registry) -> Counter {
    let dropped = logging::log_dropped_lines();
    registry.register("log_dropped_lines", "Lines of the log that nobody read", dropped.clone());
    dropped
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
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new()));
        let r = registry.sub_registry_with_prefix("lakegate");
        r.register("build", "Version of the program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let mut metrics = Self {
            events_received: metric(r, "events_received", "Events read from request bodies"),
            events: metric(r, "events", "Events by source and outcome"),
            rejected: metric(r, "rejected_events", "Rejected events by code"),
            conflicting_duplicates: metric(
                r,
                "conflicting_duplicates",
                "Duplicates of an event with the same event_uuid and another payload, by source; each is in the dead letters once",
            ),
            retry: metric(r, "retry_events", "Events to be sent again, by code"),
            opted_out_events: metric(r, "opted_out_events", "Events dropped for Sec-GPC or DNT"),
            requests: metric(r, "requests", "Requests by route and status"),
            usual_requests: OnceLock::new(),
            request_seconds: histogram(r, "request_seconds", "Seconds from a request's headers to its answer", SECONDS),
            body_bytes: histogram(r, "body_bytes", "Bytes of request bodies as received", BYTES),
            request_events: histogram(r, "request_events", "Events of one request", COUNTS),
            judge_seconds: histogram(r, "judge_seconds", "Seconds to judge one request's events", FINE_SECONDS),
            dedup_claim_seconds: histogram(r, "dedup_claim_seconds", "Seconds to claim one request's identities", FINE_SECONDS),
            bodies_in_flight_bytes: metric(r, "bodies_in_flight_bytes", "Bytes of request bodies held now"),
            connections: metric(r, "connections", "Connections open now"),
            tls_handshake_failures: metric(r, "tls_handshake_failures", "TLS handshakes that failed"),
            crowded_out_connections: metric(r, "crowded_out_connections", "Connections closed: too many from their address"),
            client_addresses: metric(r, "client_addresses", "Client addresses whose rate is being watched"),
            certificate_reloads: metric(r, "certificate_reloads", "Changed certificates put in use"),
            certificate_reload_failures: metric(r, "certificate_reload_failures", "Changed certificates that cannot be used"),
            config_reloads: metric(r, "config_reloads", "Configurations read again and put in force"),
            config_reload_failures: metric(r, "config_reload_failures", "Configurations read again that cannot be used"),
            schema_reloads: metric(r, "schema_reloads", "Changed schema folders put in force"),
            schema_reload_failures: metric(r, "schema_reload_failures", "Changed schema folders that cannot be used"),
            spool_appended_events: metric(r, "spool_appended_events", "Events made durable in the spool"),
            spool_recovered_events: metric(r, "spool_recovered_events", "Undelivered events found in the spool at start"),
            spool_events: metric(r, "spool_events", "Events spooled and not delivered"),
            spool_lag_bytes: metric(r, "spool_lag_bytes", "Bytes of the events spooled and not delivered"),
            spool_headroom_seconds: metric(
                r,
                "spool_headroom_seconds",
                "Seconds until the spool is full if nothing is delivered",
            ),
            key_spool_bytes: metric(r, "key_spool_bytes", "Bytes of a key's undelivered events in the spool, by source"),
            key_dedup_identities: metric(
                r,
                "key_dedup_identities",
                "Identities of a key in the dedup window since start, by source",
            ),
            spool_bytes: metric(r, "spool_bytes", "Bytes of the spool on disk"),
            spool_segments: metric(r, "spool_segments", "Segment files of the spool"),
            quarantine_files: metric(
                r,
                "quarantine_files",
                "Damaged files of the spools that are kept until a person removes them",
            ),
            quarantine_bytes: metric(r, "quarantine_bytes", "Bytes of the damaged files that are kept"),
            spool_syncs: metric(r, "spool_syncs", "Groups made durable since start, one fdatasync each"),
            spool_quota_bytes: metric(r, "spool_quota_bytes", "Bytes that the spool may have"),
            spool_disk_left_bytes: metric(r, "spool_disk_left_bytes", "Bytes that the file system still has for the spool"),
            spool_sync_seconds: histogram(r, "spool_sync_seconds", "Seconds of one fdatasync", SECONDS),
            spool_group_bytes: histogram(r, "spool_group_bytes", "Bytes made durable by one fdatasync", BATCH_BYTES),
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
            dedup_damaged_identities: metric(
                r,
                "dedup_damaged_identities",
                "Identities forgotten with damaged pages since start",
            ),
            dedup_set_aside_runs: metric(r, "dedup_set_aside_runs", "Damaged files in the dedup folder"),
            dedup_forgotten_identities: metric(r, "dedup_forgotten_identities", "Identities forgotten early since start"),
            dedup_refused_batches: metric(r, "dedup_refused_batches", "Requests refused by a full dedup window since start"),
            clock_jumps: metric(r, "clock_jumps", "Jumps of the wall clock"),
            dedup_store_up: metric(r, "dedup_store_up", "0 while the shared dedup store does not answer"),
            dedup_store_claim_seconds: histogram(r, "dedup_store_claim_seconds", "Seconds of claims in the store", SECONDS),
            dedup_unchecked_events: metric(r, "dedup_unchecked_events", "Events accepted without asking the dedup store"),
            dedup_store_backlog: metric(r, "dedup_store_backlog", "Identities the dedup store is still to be told"),
            dedup_store_unconfirmed_events: metric(r, "dedup_store_unconfirmed_events", "Events the dedup store never heard of"),
            dead_letters: metric(r, "dead_letters", "Dead letters written"),
            dead_letter_write_seconds: histogram(r, "dead_letter_write_seconds", "Seconds of one write to a file", SECONDS),
            dead_letter_bytes: metric(r, "dead_letter_bytes", "Bytes of dead letters on disk"),
            dead_letter_spool_events: metric(r, "dead_letter_spool_events", "Dead letters that wait for their stream"),
            dead_letter_spool_bytes: metric(r, "dead_letter_spool_bytes", "Bytes of the spool of the dead letters on disk"),
            replayed: metric(r, "replayed_events", "Events of dead letters that were replayed, by outcome"),
            dropped_dead_letters: metric(r, "dropped_dead_letters", "Dead letters dropped on request"),
            panics: metric(r, "panics", "Events whose handling panicked"),
            ready: metric(r, "ready", "1 while /readyz says ready"),
            condition: metric(r, "condition", "Places at which a condition of /readyz holds, by code"),
            access_log_dropped_lines: metric(r, "access_log_dropped_lines", "Lines of the access log that nobody read"),
            log_dropped_lines: log_dropped_lines(r),
            trace_export_failures: metric(r, "trace_export_failures", "Exports of traces that the collector did not take"),
            refusals: Refusals::default(),
            registry: Registry::default(),
        };
        metrics.registry = registry;
        // What has not happened yet is 0, not absent: only so is the first time an increase.
        for code in RejectCode::IN_ANSWERS {
            drop(metrics.rejected.get_or_create(&Code { code: code.as_str() }));
        }
        for cause in RetryCause::ALL {
            drop(metrics.retry.get_or_create(&Code { code: cause.as_str() }));
        }
        for outcome in OUTCOMES {
            drop(metrics.replayed.get_or_create(&Replayed { outcome }));
        }
        metrics.dedup_store_up.set(1);
        metrics
    }

    /// Brings the gauge of the conditions up to now: `holding` has one condition for each place.
    pub fn set_conditions(&self, holding: &[Condition]) {
        for condition in Condition::ALL {
            let places = holding.iter().filter(|other| **other == condition).count();
            self.condition.get_or_create(&Code { code: condition.code() }).set(places as i64);
        }
    }

    /// Counts a request: `route` is the route's pattern, never the path that a client made up, `status` the HTTP status code.
    pub fn count_request(&self, route: &'static str, status: u16) {
        let labels = RouteStatus { route, status };
        if labels == USUAL_REQUEST {
            self.usual_requests.get_or_init(|| self.requests.get_or_create(&labels).clone()).inc();
        } else {
            self.requests.get_or_create(&labels).inc();
        }
    }

    /// Counts what became of events that were replayed.
    pub fn count_replayed<'a>(&self, outcomes: impl Iterator<Item = &'a Outcome>) {
        let counts = Counts::of(outcomes);
        let counts = [counts.accepted, counts.duplicates, counts.rejected, counts.retry];
        for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
            self.replayed.get_or_create(&Replayed { outcome }).inc_by(count as u64);
        }
    }

    /// Counts duplicates of `source` whose payload is another than the accepted one's.
    pub fn count_conflicts(&self, source: &Arc<str>, count: usize) {
        self.conflicting_duplicates.get_or_create(&SourceLabel { source: source.clone() }).inc_by(count as u64);
    }

    /// Counts what became of the events of one request from `source`, whose `accepted` events have a place of their own.
    pub fn count_outcomes<'a>(
        &self,
        source: &Arc<str>,
        accepted: &AcceptedEvents,
        outcomes: impl Iterator<Item = &'a Outcome> + Clone,
    ) {
        let mut rejected = BTreeMap::<RejectCode, u64>::new();
        for outcome in outcomes.clone() {
            match outcome {
                Outcome::Rejected(rejection) => *rejected.entry(rejection.code).or_default() += 1,
                Outcome::Retry(cause) => _ = self.retry.get_or_create(&Code { code: cause.as_str() }).inc(),
                Outcome::Accepted | Outcome::Duplicate => {}
            }
        }
        for (code, count) in rejected {
            self.rejected.get_or_create(&Code { code: code.as_str() }).inc_by(count);
            self.refusals.count(Some(source), code.as_str(), count, code.meaning());
        }
        let counts = Counts::of(outcomes);
        self.events_received.inc_by(counts.total() as u64);
        self.request_events.observe(counts.total() as f64);
        let of_source = |outcome| self.events.get_or_create(&SourceOutcome { source: source.clone(), outcome });
        if counts.accepted > 0 {
            accepted.0.get_or_init(|| of_source(OUTCOMES[0]).clone()).inc_by(counts.accepted as u64);
        }
        for (outcome, count) in OUTCOMES.into_iter().zip([0, counts.duplicates, counts.rejected, counts.retry]) {
            if count > 0 {
                of_source(outcome).inc_by(count as u64);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Rejection;

    #[test]
    fn outcomes_add_up_to_what_was_received() {
        let metrics = Metrics::new();
        let rejected = Outcome::Rejected(Box::new(Rejection::new(RejectCode::UnknownEvent, "", "")));
        let outcomes = [Outcome::Accepted, rejected, Outcome::Duplicate, Outcome::Retry(RetryCause::Busy), Outcome::Accepted];
        metrics.count_outcomes(&"web".into(), &AcceptedEvents::default(), outcomes.iter());
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
