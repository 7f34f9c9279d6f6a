//! All that `lakegate top` and the console show, as one document. `lakegate top --json` prints it: its names and units are stable.
//!
//! A number that is not known is `null`: rates before the second poll, or figures of gateways that do not answer. Gauges of several
//! gateways are added, except ages, of which the largest, and times that are left, of which the smallest is shown.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use super::{
    figures::{By, Figures},
    watched::{Reason, Watched},
};
use crate::{
    limits::TOP_ROWS_MAX,
    telemetry::{Buckets, Quantile},
};

/// The document.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// When it was made, RFC 3339.
    pub(crate) time: String,
    /// Whether all gateways are ready.
    pub(crate) ready: bool,
    pub(crate) gateways: Vec<GatewayReport>,
    pub(crate) conditions: Vec<ConditionReport>,
    pub(crate) events: EventsReport,
    pub(crate) requests: RequestsReport,
    pub(crate) latency: BTreeMap<&'static str, LatencyReport>,
    pub(crate) spool: SpoolReport,
    pub(crate) sinks: Vec<SinkReport>,
    pub(crate) shards: Vec<ShardReport>,
    pub(crate) keys: Vec<KeyReport>,
    /// Codes of rejected events.
    pub(crate) rejections: Vec<CodeReport>,
    /// Codes of events that are to be sent again.
    pub(crate) retries: Vec<CodeReport>,
    /// Codes of requests that were refused as a whole.
    pub(crate) refusals: Vec<CodeReport>,
    pub(crate) process: ProcessReport,
}

/// One gateway.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GatewayReport {
    pub(crate) address: String,
    /// `ready`, `not_ready` or `away`.
    pub(crate) state: &'static str,
    /// Why it is away.
    pub(crate) error: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) uptime_seconds: Option<f64>,
    /// Whether it was started since the poll before.
    pub(crate) restarted: bool,
    /// Between its last two answers.
    pub(crate) interval_seconds: Option<f64>,
    pub(crate) received_events_per_second: Option<f64>,
    pub(crate) lag_events: Option<f64>,
    pub(crate) lag_seconds: Option<f64>,
}

/// A condition of `/readyz`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConditionReport {
    pub(crate) gateway: String,
    pub(crate) code: String,
    pub(crate) blocks: bool,
    pub(crate) place: String,
    pub(crate) detail: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct EventsReport {
    pub(crate) received_per_second: Option<f64>,
    pub(crate) accepted_per_second: Option<f64>,
    pub(crate) duplicate_per_second: Option<f64>,
    pub(crate) rejected_per_second: Option<f64>,
    pub(crate) retry_per_second: Option<f64>,
    pub(crate) replayed_per_second: Option<f64>,
    pub(crate) delivered_per_second: Option<f64>,
}

/// Without `/healthz`, `/readyz` and `/metrics`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RequestsReport {
    pub(crate) per_second: Option<f64>,
    /// Answered with 4xx.
    pub(crate) refused_per_second: Option<f64>,
    /// Answered with 5xx.
    pub(crate) failed_per_second: Option<f64>,
    pub(crate) by_status: Vec<StatusReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct StatusReport {
    pub(crate) status: String,
    pub(crate) per_second: f64,
}

/// Quantiles of a histogram.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LatencyReport {
    pub(crate) per_second: Option<f64>,
    pub(crate) p50_seconds: Option<f64>,
    pub(crate) p90_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
    #[serde(skip)]
    pub(crate) quantiles: [Option<Quantile>; 3],
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct SpoolReport {
    pub(crate) lag_events: Option<f64>,
    pub(crate) lag_bytes: Option<f64>,
    pub(crate) oldest_seconds: Option<f64>,
    /// `null` if nothing is received.
    pub(crate) headroom_seconds: Option<f64>,
    pub(crate) bytes: Option<f64>,
    pub(crate) quota_bytes: Option<f64>,
    pub(crate) disk_left_bytes: Option<f64>,
    pub(crate) dead_letters_bytes: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct SinkReport {
    pub(crate) sink: String,
    pub(crate) up: bool,
    pub(crate) delivered_events_per_second: Option<f64>,
    pub(crate) lag_events: Option<f64>,
    pub(crate) lag_bytes: Option<f64>,
    pub(crate) lag_seconds: Option<f64>,
    pub(crate) retries_per_second: Option<f64>,
    pub(crate) refused_events_per_second: Option<f64>,
    pub(crate) dropped_events_per_second: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ShardReport {
    pub(crate) sink: String,
    pub(crate) shard: String,
    pub(crate) throttled_records_per_second: f64,
    /// Rate that it is held to; 1 is 1,000 records or 1 MB a second; `null` if it is not held.
    pub(crate) rate: Option<f64>,
    pub(crate) waiting_events: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct KeyReport {
    pub(crate) key: String,
    pub(crate) events_per_second: f64,
    pub(crate) rejected_events_per_second: f64,
    /// Of its events; `null` without events.
    pub(crate) rejected_share: Option<f64>,
    pub(crate) duplicate_events_per_second: f64,
    pub(crate) retry_events_per_second: f64,
    pub(crate) refused_requests_per_second: f64,
    pub(crate) spool_bytes: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CodeReport {
    pub(crate) code: String,
    pub(crate) per_second: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ProcessReport {
    pub(crate) resident_memory_bytes: Option<f64>,
    /// Processors that are busy.
    pub(crate) cpu_seconds_per_second: Option<f64>,
    pub(crate) connections: Option<f64>,
    pub(crate) request_bodies_bytes: Option<f64>,
    pub(crate) open_fds: Option<f64>,
}

/// The histograms whose quantiles are shown, in the order of an event's way.
pub(crate) const LATENCIES: [(&str, &str); 5] = [
    ("request", "lakegate_request_seconds"),
    ("validate", "lakegate_validate_seconds"),
    ("append", "lakegate_spool_append_seconds"),
    ("sync", "lakegate_spool_sync_seconds"),
    ("delivery", "lakegate_delivery_seconds"),
];

impl Report {
    pub(crate) fn of(fleet: &[Watched]) -> Self {
        let figures = Figures::of(fleet.iter().filter_map(|watched| watched.interval.as_ref()));
        let gateways: Vec<GatewayReport> = fleet.iter().map(GatewayReport::of).collect();
        Self {
            time: jiff::Timestamp::now().to_string(),
            ready: gateways.iter().all(|gateway| gateway.state == "ready"),
            gateways,
            conditions: fleet.iter().flat_map(conditions).collect(),
            events: events(&figures),
            requests: requests(&figures),
            latency: LATENCIES.into_iter().map(|(name, metric)| (name, LatencyReport::of(&figures, metric))).collect(),
            spool: spool(&figures),
            sinks: sinks(&figures),
            shards: shards(&figures),
            keys: keys(&figures),
            rejections: codes(&figures.rates_by("lakegate_rejected_events_total", &["code"])),
            retries: codes(&figures.rates_by("lakegate_retry_events_total", &["code"])),
            refusals: codes(&figures.rates_by("lakegate_refused_requests_total", &["code"])),
            process: ProcessReport {
                resident_memory_bytes: figures.sum("process_resident_memory_bytes"),
                cpu_seconds_per_second: figures.rate("process_cpu_seconds_total", &[]),
                connections: figures.sum("lakegate_connections"),
                request_bodies_bytes: figures.sum("lakegate_bodies_in_flight_bytes"),
                open_fds: figures.sum("process_open_fds"),
            },
        }
    }
}

impl GatewayReport {
    fn of(watched: &Watched) -> Self {
        let address = watched.label.clone();
        let (Some(last), None) = (&watched.last, &watched.error) else {
            return Self { address, state: "away", error: watched.error.clone(), ..Self::default() };
        };
        let figures = Figures::of(watched.interval.iter());
        let started = last.exposition.value("process_start_time_seconds");
        let build = last.exposition.samples("lakegate_build_info").next();
        Self {
            address,
            state: if last.readiness.ready { "ready" } else { "not_ready" },
            error: None,
            version: build.and_then(|build| build.label("version")).map(str::to_owned),
            uptime_seconds: started.map(|started| (jiff::Timestamp::now().as_millisecond() as f64 / 1e3 - started).max(0.0)),
            restarted: watched.interval.as_ref().is_some_and(|interval| interval.is_restarted),
            interval_seconds: watched.interval.as_ref().map(|interval| interval.elapsed.as_secs_f64()).filter(|time| *time > 0.0),
            received_events_per_second: figures.rate("lakegate_events_received_total", &[]),
            lag_events: figures.sum("lakegate_spool_events"),
            lag_seconds: figures.largest("lakegate_spool_oldest_seconds"),
        }
    }
}

fn conditions(watched: &Watched) -> Vec<ConditionReport> {
    let answered = watched.last.as_ref().filter(|_| watched.error.is_none());
    let reasons = answered.into_iter().flat_map(|last| &last.readiness.reasons).cloned();
    let condition = |reason: Reason| ConditionReport {
        gateway: watched.label.clone(),
        code: reason.code,
        blocks: reason.blocks,
        place: reason.place,
        detail: reason.detail,
    };
    reasons.map(condition).collect()
}

impl LatencyReport {
    fn of(figures: &Figures<'_>, metric: &str) -> Self {
        Self { per_second: figures.rate(&format!("{metric}_count"), &[]), ..Self::of_buckets(&figures.buckets(metric)) }
    }

    fn of_buckets(buckets: &Buckets) -> Self {
        let quantiles = [0.5, 0.9, 0.99].map(|q| buckets.quantile(q));
        let [p50_seconds, p90_seconds, p99_seconds] = quantiles.map(|quantile| quantile.map(Quantile::value));
        Self { per_second: None, p50_seconds, p90_seconds, p99_seconds, quantiles }
    }
}

fn events(figures: &Figures<'_>) -> EventsReport {
    let of = |outcome| figures.rate("lakegate_events_total", &[("outcome", outcome)]);
    EventsReport {
        received_per_second: figures.rate("lakegate_events_received_total", &[]),
        accepted_per_second: of("accepted"),
        duplicate_per_second: of("duplicate"),
        rejected_per_second: of("rejected"),
        retry_per_second: of("retry"),
        replayed_per_second: figures.rate("lakegate_replayed_events_total", &[]),
        delivered_per_second: figures.rate("lakegate_delivered_events_total", &[]),
    }
}

fn requests(figures: &Figures<'_>) -> RequestsReport {
    let by_status = figures.requests_by_status();
    let class = |digit: char| {
        let of_class = by_status.iter().filter(|(status, _)| status[0].starts_with(digit)).map(|(_, rate)| rate);
        figures.has_rates().then(|| of_class.fold(0.0, |sum, rate| sum + rate))
    };
    RequestsReport {
        per_second: figures.has_rates().then(|| by_status.values().fold(0.0, |sum, rate| sum + rate)),
        refused_per_second: class('4'),
        failed_per_second: class('5'),
        by_status: first_of(&by_status).map(|(status, per_second)| StatusReport { status, per_second }).collect(),
    }
}

fn spool(figures: &Figures<'_>) -> SpoolReport {
    SpoolReport {
        lag_events: figures.sum("lakegate_spool_events"),
        lag_bytes: figures.sum("lakegate_spool_lag_bytes"),
        oldest_seconds: figures.largest("lakegate_spool_oldest_seconds"),
        headroom_seconds: figures.smallest("lakegate_spool_headroom_seconds").filter(|seconds| seconds.is_finite()),
        bytes: figures.sum("lakegate_spool_bytes"),
        quota_bytes: figures.sum("lakegate_spool_quota_bytes"),
        disk_left_bytes: figures.smallest("lakegate_spool_disk_left_bytes"),
        dead_letters_bytes: figures.sum("lakegate_dead_letters_bytes"),
    }
}

fn add(one: f64, other: f64) -> f64 {
    one + other
}

fn sinks(figures: &Figures<'_>) -> Vec<SinkReport> {
    let rates = |name: &str| figures.rates_by(name, &["sink"]);
    let (delivered, retries) = (rates("lakegate_delivered_events_total"), rates("lakegate_delivery_retries_total"));
    let (refused, dropped) = (rates("lakegate_refused_events_total"), rates("lakegate_dropped_events_total"));
    let gauges = |name: &str, combine| figures.gauges_by(name, &["sink"], combine);
    let (events, bytes) = (gauges("lakegate_sink_lag_events", add), gauges("lakegate_sink_lag_bytes", add));
    let seconds = gauges("lakegate_sink_lag_seconds", f64::max);
    let report = |(name, up): (Vec<String>, f64)| SinkReport {
        up: up > 0.0,
        delivered_events_per_second: delivered.get(&name).copied(),
        lag_events: events.get(&name).copied(),
        lag_bytes: bytes.get(&name).copied(),
        lag_seconds: seconds.get(&name).copied(),
        retries_per_second: retries.get(&name).copied(),
        refused_events_per_second: refused.get(&name).copied(),
        dropped_events_per_second: dropped.get(&name).copied(),
        sink: name.concat(),
    };
    gauges("lakegate_sink_up", f64::min).into_iter().map(report).collect()
}

/// The hottest first: those that are throttled, then those for which most waits.
fn shards(figures: &Figures<'_>) -> Vec<ShardReport> {
    const LABELS: [&str; 2] = ["sink", "shard"];
    let mut shards: BTreeMap<Vec<String>, ShardReport> = BTreeMap::new();
    let report = |shards: &mut BTreeMap<_, _>, values: By, set: fn(&mut ShardReport, f64)| {
        for (name, value) in values {
            let new = || ShardReport { sink: name[0].clone(), shard: name[1].clone(), ..ShardReport::default() };
            set(shards.entry(name.clone()).or_insert_with(new), value);
        }
    };
    report(&mut shards, figures.gauges_by("lakegate_shard_waiting_events", &LABELS, add), |shard, value| {
        shard.waiting_events = value;
    });
    report(&mut shards, figures.gauges_by("lakegate_shard_rate", &LABELS, f64::min), |shard, value| shard.rate = Some(value));
    report(&mut shards, figures.rates_by("lakegate_shard_throttled_records_total", &LABELS), |shard, value| {
        shard.throttled_records_per_second = value;
    });
    let heat = |shard: &ShardReport| (shard.throttled_records_per_second, shard.waiting_events);
    let mut shards: Vec<ShardReport> = shards.into_values().collect();
    shards.sort_by(|one, other| heat(other).partial_cmp(&heat(one)).unwrap_or(std::cmp::Ordering::Equal));
    shards.truncate(TOP_ROWS_MAX);
    shards
}

/// The noisiest first: those whose events and requests are refused, then those that send most.
fn keys(figures: &Figures<'_>) -> Vec<KeyReport> {
    let mut keys: BTreeMap<String, KeyReport> = BTreeMap::new();
    fn of<'a>(keys: &'a mut BTreeMap<String, KeyReport>, key: &str) -> &'a mut KeyReport {
        keys.entry(key.to_owned()).or_insert_with(|| KeyReport { key: key.to_owned(), ..KeyReport::default() })
    }
    for (labels, rate) in figures.rates_by("lakegate_events_total", &["source", "outcome"]) {
        let key = of(&mut keys, &labels[0]);
        key.events_per_second += rate;
        match &*labels[1] {
            "rejected" => key.rejected_events_per_second += rate,
            "duplicate" => key.duplicate_events_per_second += rate,
            "retry" => key.retry_events_per_second += rate,
            _ => {}
        }
    }
    for (labels, rate) in figures.rates_by("lakegate_refused_requests_total", &["source"]) {
        of(&mut keys, &labels[0]).refused_requests_per_second += rate;
    }
    for (labels, bytes) in figures.gauges_by("lakegate_key_spool_bytes", &["source"], add) {
        of(&mut keys, &labels[0]).spool_bytes = bytes;
    }
    let mut keys: Vec<KeyReport> = keys.into_values().collect();
    for key in &mut keys {
        key.rejected_share = (key.events_per_second > 0.0).then(|| key.rejected_events_per_second / key.events_per_second);
    }
    sort_by_number(&mut keys, |key| key.events_per_second + key.refused_requests_per_second);
    keys.truncate(TOP_ROWS_MAX);
    keys
}

/// Sorts, the largest number first, and leaves rows of the same number in their order.
pub(crate) fn sort_by_number<T>(rows: &mut [T], number: impl Fn(&T) -> f64) {
    // Numbers that are not negative have the order of their bits.
    rows.sort_by_key(|row| Reverse(number(row).max(0.0).to_bits()));
}

/// The largest first, without those that are zero.
fn first_of(rates: &By) -> impl Iterator<Item = (String, f64)> {
    let mut rates: Vec<(String, f64)> =
        rates.iter().filter(|(_, rate)| **rate > 0.0).map(|(values, rate)| (values.concat(), *rate)).collect();
    sort_by_number(&mut rates, |(_, rate)| *rate);
    rates.truncate(TOP_ROWS_MAX);
    rates.into_iter()
}

fn codes(rates: &By) -> Vec<CodeReport> {
    first_of(rates).map(|(code, per_second)| CodeReport { code, per_second }).collect()
}
