//! Metrics, logs and traces. Metric names are defined only here.
//!
//! The ledger (promise P2) holds whenever no request or delivery is in progress:
//!
//! ```text
//! lakegate_events_received_total = Σ lakegate_events_total over outcome
//! lakegate_spool_appended_events_total = lakegate_events_total{outcome="accepted"}
//!     + those that were new and answered not_delivered_in_time, lost or refused_by_sink (durability=delivered)
//! lakegate_spool_appended_events_total + lakegate_spool_recovered_events
//!     = lakegate_delivered_events_total + lakegate_refused_events_total + lakegate_spool_lost_events_total
//!     + lakegate_erased_events_total + lakegate_spool_events
//! ```

mod access_log;
mod collector;
mod delivery;
mod emf;
mod exposition;
mod interval;
mod labels;
mod lake;
mod lake_check;
mod line_writer;
mod logging;
mod metrics_export;
mod output_lines;
mod process;
mod quantile;
mod refusals;
mod secrets;
mod table;
mod traces;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, OnceLock, atomic::AtomicI64},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::{
    conditions::Condition,
    outcome::{Counts, Outcome, RejectCode, RetryCause},
};
pub use access_log::{AccessLine, AccessLog};
pub use delivery::{DeliveryFamilies, DeliveryMetrics};
pub use emf::Emf;
pub use exposition::{Exposition, ExpositionError, Labels, MetricFamily, MetricKind, Sample};
pub use interval::Interval;
pub use labels::{AcceptedEvents, Code, PROBE_ROUTES, RefusedRequest, Replayed, SourceLabel, SourceOutcome};
use labels::{OUTCOMES, RouteStatus, USUAL_REQUEST};
pub use lake::{LakeFamilies, LakeMetrics};
pub use lake_check::{LakeCheckNumbers, lake_check_exposition};
pub use line_writer::own_output;
pub use logging::{Log, flush_log, log_has_ended, log_stalled, start_logging};
pub use metrics_export::MetricsExport;
pub use output_lines::OutputLines;
use process::Process;
pub use quantile::{Buckets, Quantile};
use refusals::NO_KEY;
pub use refusals::Refusals;
pub use secrets::{SecretInForce, SecretUse, Secrets};
use table::{F64Gauge, metrics};
pub use traces::{DeliverySpan, RequestSpan, Traces};

metrics! {
    /// Every metric of the process.
    #[derive(Debug)]
    pub struct Metrics, registered with r and prefix {
        pub events_received: Counter = "Events read from request bodies";
        pub events: Family<SourceOutcome, Counter> = "Events by source and outcome";
        pub rejected as "rejected_events": Family<Code, Counter> = "Rejected events by code";
        pub conflicting_duplicates: Family<SourceLabel, Counter> =
            "Duplicates of an event with the same event_uuid and another payload, by source; each is in the dead letters once";
        pub retry as "retry_events": Family<Code, Counter> = "Events to be sent again, by code";
        /// Not included in the received events.
        pub opted_out_events: Counter = "Events dropped for Sec-GPC or DNT";
        /// Whole requests that a client should not repeat, or not so often. Requests whose events were all rejected are not among them.
        pub refused_requests: Family<RefusedRequest, Counter> = "Requests refused as a whole, by key and code";
        requests: Family<RouteStatus, Counter> = "Requests by route and status";
        pub request_seconds: Histogram = "Seconds from a request's headers to its answer", SECONDS;
        pub body_bytes: Histogram = "Bytes of request bodies as received", BYTES;
        pub request_events: Histogram = "Events of one request", COUNTS;
        /// Time to inflate, split, validate and enrich them: CPU only, no waiting.
        pub validate_seconds: Histogram = "Seconds to validate one request's events", FINE_SECONDS;
        /// In the window, and in the shared store if there is one.
        pub dedup_claim_seconds: Histogram = "Seconds to claim one request's identities", FINE_SECONDS;
        pub bodies_in_flight_bytes: Gauge<i64, AtomicI64> = "Bytes of request bodies held now";
        pub connections: Gauge<i64, AtomicI64> = "Connections open now";
        pub tls_handshake_failures: Counter = "TLS handshakes that failed, and connections without the header of the PROXY protocol";
        pub crowded_out_connections: Counter = "Connections closed: too many from their address";
        /// Addresses whose rate buckets, of events and of requests, are not full.
        pub client_addresses: Gauge<i64, AtomicI64> = "Client addresses whose rate is being watched";
        pub certificate_reloads: Counter = "Changed certificates put in use";
        pub certificate_reload_failures: Counter = "Changed certificates that cannot be used";
        pub config_reloads: Counter = "Configurations read again and put in force";
        pub config_reload_failures: Counter = "Configurations read again that cannot be used";
        pub schema_reloads: Counter = "Changed schema folders put in force";
        pub schema_reload_failures: Counter = "Changed schema folders that cannot be used";
        pub spool_appended_events: Counter = "Events made durable in the spool";
        /// Without events that are known to be delivered.
        pub spool_recovered_events: Gauge<i64, AtomicI64> = "Undelivered events found in the spool at start";
        pub spool_events: Gauge<i64, AtomicI64> = "Events spooled and not delivered";
        /// Estimated from the average on disk.
        pub spool_lag_bytes: Gauge<i64, AtomicI64> = "Bytes of the events spooled and not delivered";
        /// At the current rate.
        pub spool_headroom_seconds: F64Gauge = "Seconds until the spool is full if nothing is delivered";
        /// In coarse steps.
        pub key_spool_bytes: Family<SourceLabel, Gauge<i64, AtomicI64>> =
            "Bytes of a key's undelivered events in the spool, by source";
        /// Only identities that came since the start, or were undelivered then.
        pub key_dedup_identities: Family<SourceLabel, Gauge<i64, AtomicI64>> =
            "Identities of a key in the dedup window since start, by source";
        pub spool_bytes: Gauge<i64, AtomicI64> = "Bytes of the spool on disk";
        pub spool_segments: Gauge<i64, AtomicI64> = "Segment files of the spool";
        pub quarantine_files: Gauge<i64, AtomicI64> = "Damaged files of the spools that are kept until a person removes them";
        pub quarantine_bytes: Gauge<i64, AtomicI64> = "Bytes of the damaged files that are kept";
        pub spool_syncs: Gauge<i64, AtomicI64> = "Groups made durable since start, one fdatasync each";
        pub spool_quota_bytes: Gauge<i64, AtomicI64> = "Bytes that the spool may have";
        pub spool_disk_left_bytes: Gauge<i64, AtomicI64> = "Bytes that the file system still has for the spool";
        pub spool_sync_seconds: Histogram = "Seconds of one fdatasync", SECONDS;
        pub spool_group_bytes: Histogram = "Bytes made durable by one fdatasync", BATCH_BYTES;
        pub spool_oldest_seconds: F64Gauge = "Age of the oldest undelivered event";
        pub spool_append_seconds: Histogram = "Seconds until events were durable", SECONDS;
        pub dedup_identities: Gauge<i64, AtomicI64> = "Identities in the dedup window";
        pub dedup_disk_bytes: Gauge<i64, AtomicI64> = "Bytes of the dedup window on disk";
        pub dedup_memory_bytes: Gauge<i64, AtomicI64> = "Bytes of the dedup window in memory";
        /// Below the configured window if there are too many.
        pub dedup_window_seconds: F64Gauge = "Seconds for which identities are remembered";
        pub dedup_disk_reads: Gauge<i64, AtomicI64> = "Look-ups that read the disk since start";
        pub dedup_damaged_pages: Gauge<i64, AtomicI64> = "Damaged pages met since start";
        pub dedup_damaged_identities: Gauge<i64, AtomicI64> = "Identities forgotten with damaged pages since start";
        pub dedup_set_aside_runs: Gauge<i64, AtomicI64> = "Damaged files in the dedup folder";
        /// Because there were too many.
        pub dedup_forgotten_identities: Gauge<i64, AtomicI64> = "Identities forgotten early since start";
        pub dedup_refused_batches: Gauge<i64, AtomicI64> = "Requests refused by a full dedup window since start";
        pub clock_jumps: Counter = "Jumps of the wall clock";
        /// Also 1 if no shared store is configured.
        pub dedup_store_up: Gauge<i64, AtomicI64> = "0 while the shared dedup store does not answer";
        pub dedup_store_claim_seconds: Histogram = "Seconds of claims in the store", SECONDS;
        /// Events tagged `"dedup":"unchecked"`.
        pub dedup_unchecked_events: Counter = "Events accepted without asking the dedup store";
        pub dedup_store_backlog: Gauge<i64, AtomicI64> = "Identities the dedup store is still to be told";
        /// Because too many waited.
        pub dedup_store_unconfirmed_events: Counter = "Events the dedup store never heard of";
        pub dead_letters: Counter = "Dead letters written";
        /// Every rejected event is one of these, or a dead letter that was written.
        pub repeated_dead_letters: Counter = "Events that were rejected again within a day, and counted on the dead letter they have";
        /// Because they were full for long, and held up good events.
        pub discarded_dead_letters: Counter = "Dead letters discarded to make room, unrepaired";
        pub dead_letters_write_seconds: Histogram = "Seconds of one write to a file", SECONDS;
        pub dead_letters_bytes: Gauge<i64, AtomicI64> = "Bytes of dead letters on disk";
        pub dead_letters_spool_events: Gauge<i64, AtomicI64> = "Dead letters that wait for their stream";
        pub dead_letters_spool_bytes: Gauge<i64, AtomicI64> = "Bytes of the spool of the dead letters on disk";
        /// Not included in the received events.
        pub replayed as "replayed_events": Family<Replayed, Counter> = "Events of dead letters that were replayed, by outcome";
        pub dropped_dead_letters: Counter = "Dead letters dropped on request";
        /// See `lakegate ledger`. 0, or a bug.
        pub ledger_imbalance_events: Gauge<i64, AtomicI64> = "Events by which the ledger does not balance";
        /// Each is a bug.
        pub panics: Counter = "Events whose handling panicked";
        pub ready: Gauge<i64, AtomicI64> = "1 while /readyz says ready";
        /// 0 if the condition does not hold.
        pub condition: Family<Code, Gauge<i64, AtomicI64>> = "Places at which a condition of /readyz holds, by code";
        pub access_log_dropped_lines: Counter = "Lines of the access log, or for CloudWatch, that nobody read";
        pub trace_export_failures: Counter = "Exports of traces that the collector did not take";
        /// The next one has the same numbers.
        pub metric_export_failures: Counter = "Exports of metrics that the collector did not take, or not whole";
    }
    beside {
        registry: Registry = Registry::default();
        /// Refusals to clients, for the log.
        pub refusals: Refusals = Refusals::default();
        /// Counter of nearly all requests, kept here because a lookup among the others would cost each request a hash.
        usual_requests: OnceLock<Counter> = OnceLock::new();
        /// The secrets in force, and how each is used.
        pub secrets: Secrets = Secrets::register(r);
        /// Delivery of the events, by sink.
        pub delivery: DeliveryFamilies = DeliveryFamilies::new(r, prefix);
        /// Delivery of the dead letters, where they go to a stream of their own.
        pub dead_letters_delivery: DeliveryFamilies = DeliveryFamilies::new(r, "dead_letters_");
        /// Upkeep of the lakes, by sink.
        pub lake: LakeFamilies = LakeFamilies::new(r);
        /// Lines of the log that were dropped because nobody read it, or because the output did not take them.
        pub log_dropped_lines: Counter = log_dropped_lines(r);
    }
}

/// The counter of the process, because the log exists before the metrics.
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
        let mut metrics = Self::register(r, "");
        metrics.registry = registry;
        // Events that have not happened yet are 0, not absent, because otherwise the first one is not an increase.
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

    /// Updates the gauge of the conditions: `holding` has one condition for each place.
    pub fn set_conditions(&self, holding: &[Condition]) {
        for condition in Condition::ALL {
            let places = holding.iter().filter(|other| **other == condition).count();
            self.condition.get_or_create(&Code { code: condition.code() }).set(places as i64);
        }
    }

    /// Counts a request: `route` is the route's pattern, never the client's path; `status` is the HTTP status code.
    pub fn count_request(&self, route: &'static str, status: u16) {
        let labels = RouteStatus { route, status };
        if labels == USUAL_REQUEST {
            self.usual_requests.get_or_init(|| self.requests.get_or_create(&labels).clone()).inc();
        } else {
            self.requests.get_or_create(&labels).inc();
        }
    }

    /// Counts a request that was refused as a whole. `key` sent it, if it had a valid one.
    pub fn count_refused(&self, key: Option<&Arc<str>>, code: &'static str) {
        let source = key.cloned().unwrap_or_else(|| NO_KEY.into());
        self.refused_requests.get_or_create(&RefusedRequest { source, code }).inc();
    }

    /// Counts the outcomes of replayed events.
    pub fn count_replayed<'a>(&self, outcomes: impl Iterator<Item = &'a Outcome>) {
        let counts = Counts::of(outcomes);
        let counts = [counts.accepted, counts.duplicates, counts.rejected, counts.retry];
        for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
            self.replayed.get_or_create(&Replayed { outcome }).inc_by(count as u64);
        }
    }

    /// Counts duplicates of `source` whose payload differs from the accepted event's.
    pub fn count_conflicts(&self, source: &Arc<str>, count: usize) {
        self.conflicting_duplicates.get_or_create(&SourceLabel { source: source.clone() }).inc_by(count as u64);
    }

    /// Counts the outcomes of one request from `source`, and returns the counts. The counter of its accepted events is `accepted`.
    pub fn count_outcomes<'a>(
        &self,
        source: &Arc<str>,
        accepted: &AcceptedEvents,
        outcomes: impl Iterator<Item = &'a Outcome> + Clone,
    ) -> Counts {
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
        counts
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
