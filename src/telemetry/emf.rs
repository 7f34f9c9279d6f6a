//! Metrics for Amazon CloudWatch without an agent: lines of JSON on standard output, in the embedded metric format (EMF). Where
//! standard output goes to CloudWatch Logs, CloudWatch makes metrics of them.
//!
//! Names are those of `/metrics`, dimensions are `gateway` and at most one more: `outcome`, `sink`, `kind` of condition, or `code`. The
//! alarms of `deploy/terraform` look for the same, whether an agent or these lines bring them. A counter is its increase since the
//! line before, because CloudWatch adds up. A line has one value for each dimension, so there is one line for the whole and one for
//! each outcome, sink and kind.
//!
//! Specification: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use serde_json::{Map, Value, json};

use super::{exposition::Exposition, interval::Interval, labels::OUTCOMES, output_lines::OutputLines, quantile::Quantile};
use crate::{
    conditions::Condition,
    config::TelemetryConfig,
    limits::{EMF_SECONDS_MAX, EMF_VALUES_MAX},
};

/// Is infinite while nothing is received, which JSON cannot say.
const HEADROOM: &str = "lakegate_spool_headroom_seconds";

/// Counters of the whole gateway.
const COUNTERS: [&str; 15] = [
    "lakegate_events_received_total",
    "lakegate_delivered_events_total",
    "lakegate_refused_events_total",
    "lakegate_dropped_events_total",
    "lakegate_spool_lost_events_total",
    "lakegate_dead_letters_spool_lost_events_total",
    "lakegate_discarded_dead_letters_total",
    "lakegate_replayed_events_total",
    "lakegate_shard_throttled_records_total",
    "lakegate_schema_reload_failures_total",
    "lakegate_panics_total",
    "lakegate_access_log_dropped_lines_total",
    "lakegate_log_dropped_lines_total",
    "lakegate_trace_export_failures_total",
    "lakegate_metric_export_failures_total",
];

/// Gauges of the whole gateway. One with several sinks has several values.
const GAUGES: [&str; 15] = [
    "lakegate_ready",
    "lakegate_sink_up",
    "lakegate_dead_letters_sink_up",
    "lakegate_dedup_store_up",
    "lakegate_dedup_window_seconds",
    "lakegate_dedup_damaged_pages",
    "lakegate_ledger_imbalance_events",
    "lakegate_spool_events",
    "lakegate_spool_oldest_seconds",
    HEADROOM,
    "lakegate_spool_bytes",
    "lakegate_spool_quota_bytes",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
];

/// Counters of each sink.
const SINK_COUNTERS: [&str; 3] =
    ["lakegate_delivered_events_total", "lakegate_refused_events_total", "lakegate_delivery_retries_total"];

/// Gauges of each sink.
const SINK_GAUGES: [&str; 3] = ["lakegate_sink_up", "lakegate_sink_lag_events", "lakegate_sink_lag_seconds"];

/// Counters of each code.
const CODE_COUNTERS: [&str; 2] = ["lakegate_rejected_events_total", "lakegate_retry_events_total"];

/// Writes the lines.
#[derive(Debug)]
pub struct Emf {
    namespace: String,
    gateway: String,
    /// Tells the gateways of a fleet apart in the logs. No dimension, because each would be a metric of its own, and be billed.
    gateway_id: Option<String>,
    lines: OutputLines,
    last: Mutex<Last>,
}

/// The exposition of the last lines.
#[derive(Debug)]
struct Last {
    at: Instant,
    exposition: Option<Exposition>,
}

impl Emf {
    /// As configured; `None` without a namespace.
    #[must_use]
    pub fn start(config: &TelemetryConfig, gateway_id: Option<String>, lines: &OutputLines) -> Option<Self> {
        let (namespace, gateway) = (config.emf_namespace.clone(), config.emf_gateway.clone());
        let last = Mutex::new(Last { at: Instant::now(), exposition: None });
        (!namespace.is_empty()).then(|| Self { namespace, gateway, gateway_id, lines: lines.clone(), last })
    }

    /// Writes what happened since the last call, of an exposition of now. Waits for nobody.
    pub fn write(&self, exposition: &str, now: SystemTime) {
        let exposition = match Exposition::parse(exposition) {
            Ok(exposition) => exposition,
            Err(error) => return tracing::error!(%error, "the metrics for CloudWatch are not written"),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = last.at.elapsed();
        let interval = match &last.exposition {
            Some(before) => Interval::between(before, &exposition, elapsed),
            None => Interval::since_start(&exposition, elapsed),
        };
        *last = Last { at: Instant::now(), exposition: Some(exposition) };
        drop(last);
        let millis = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let millis = u64::try_from(millis).unwrap_or_default();
        for line in lines(&interval) {
            let mut text = serde_json::to_vec(&self.document(line, millis)).unwrap_or_default();
            text.push(b'\n');
            self.lines.add(text);
        }
    }

    fn document(&self, line: Line, millis: u64) -> Value {
        let mut names = vec!["gateway"];
        names.extend(line.dimension.as_ref().map(|(name, _)| *name));
        let metrics: Vec<Value> = line.metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        let directive = json!({ "Namespace": self.namespace, "Dimensions": [names], "Metrics": metrics });
        let mut document = Map::new();
        document.insert("_aws".into(), json!({ "Timestamp": millis, "CloudWatchMetrics": [directive] }));
        document.insert("gateway".into(), self.gateway.clone().into());
        document.extend(line.dimension.map(|(name, value)| (name.to_owned(), value.into())));
        document.extend(self.gateway_id.clone().map(|id| ("gateway_id".to_owned(), id.into())));
        document.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        document.extend(line.metrics.into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        Value::Object(document)
    }
}

/// One line: the metrics of one value of a dimension.
struct Line {
    /// Beside `gateway`.
    dimension: Option<(&'static str, String)>,
    /// Each with its unit.
    metrics: Vec<(&'static str, &'static str, Value)>,
}

impl Line {
    fn new(dimension: Option<(&'static str, String)>) -> Self {
        Self { dimension, metrics: Vec::new() }
    }

    /// Adds a metric, unless there is no number. Several numbers of the same time are an array.
    fn add(&mut self, name: &'static str, numbers: impl IntoIterator<Item = f64>) {
        let bounded = |number: f64| if name == HEADROOM { number.min(EMF_SECONDS_MAX) } else { number };
        let numbers = numbers.into_iter().map(bounded).filter(|number| number.is_finite());
        let mut values: Vec<Value> = numbers.take(EMF_VALUES_MAX).map(number).collect();
        let value = match values.len() {
            0 => return,
            1 => values.remove(0),
            _ => Value::Array(values),
        };
        self.metrics.push((name, unit(name), value));
    }
}

/// A whole number is written without a fraction.
fn number(number: f64) -> Value {
    let whole = number as i64;
    if whole as f64 == number { whole.into() } else { number.into() }
}

fn unit(name: &str) -> &'static str {
    match name.trim_end_matches("_total") {
        name if name.ends_with("_seconds") => "Seconds",
        name if name.ends_with("_bytes") => "Bytes",
        name if name.ends_with("_up") || name.ends_with("_ready") => "None",
        _ => "Count",
    }
}

fn lines(interval: &Interval) -> Vec<Line> {
    let mut whole = Line::new(None);
    COUNTERS.into_iter().for_each(|name| whole.add(name, [interval.increase(name, &[])]));
    GAUGES.into_iter().for_each(|name| whole.add(name, interval.gauges(name)));
    let statuses = interval.requests_by_status();
    whole.add("lakegate_requests_total", [statuses.values().sum()]);
    let failed = statuses.iter().filter(|(status, _)| status.starts_with('5')).map(|(_, count)| count);
    whole.add("lakegate_failed_requests_total", [failed.sum()]);
    let p99 = interval.buckets("lakegate_request_seconds").quantile(0.99);
    whole.add("lakegate_request_p99_seconds", p99.map(Quantile::value));
    let mut lines = vec![whole];
    let mut blocking = Line::new(Some(("kind", "blocking".to_owned())));
    let mut fault = Line::new(Some(("kind", "fault".to_owned())));
    let places = interval.gauge_by("lakegate_condition", &["code"], f64::max);
    let of = |is_meant: &dyn Fn(Condition) -> bool| -> f64 {
        // A gateway that stops is no fault.
        let meant = Condition::ALL.into_iter().filter(|condition| *condition != Condition::Stopping && is_meant(*condition));
        meant.filter_map(|condition| places.get(&vec![condition.code().to_owned()])).sum()
    };
    blocking.add("lakegate_condition", [of(&Condition::blocks)]);
    fault.add("lakegate_condition", [of(&|condition: Condition| !condition.blocks())]);
    lines[0].add("lakegate_conditions", [of(&|_| true)]);
    lines.extend([blocking, fault]);

    let by_outcome = interval.increase_by("lakegate_events_total", &["outcome"]);
    for outcome in OUTCOMES {
        let mut line = Line::new(Some(("outcome", outcome.to_owned())));
        line.add("lakegate_events_total", [by_outcome.get(&vec![outcome.to_owned()]).copied().unwrap_or(0.0)]);
        lines.push(line);
    }
    let mut sinks: BTreeMap<String, Line> = BTreeMap::new();
    let mut add = |sink: &[String], name, value| {
        let sink = sink.concat();
        sinks.entry(sink.clone()).or_insert_with(|| Line::new(Some(("sink", sink)))).add(name, [value]);
    };
    for name in SINK_COUNTERS {
        interval.increase_by(name, &["sink"]).iter().for_each(|(sink, value)| add(sink, name, *value));
    }
    for name in SINK_GAUGES {
        interval.gauge_by(name, &["sink"], f64::max).iter().for_each(|(sink, value)| add(sink, name, *value));
    }
    lines.extend(sinks.into_values());
    // Only codes that came: each is a metric that is billed.
    let mut codes: BTreeMap<String, Line> = BTreeMap::new();
    for name in CODE_COUNTERS {
        for (code, value) in interval.increase_by(name, &["code"]).into_iter().filter(|(_, value)| *value > 0.0) {
            let code = code.concat();
            codes.entry(code.clone()).or_insert_with(|| Line::new(Some(("code", code)))).add(name, [value]);
        }
    }
    lines.extend(codes.into_values());
    lines
}
