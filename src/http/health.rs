//! `GET /healthz` and `GET /readyz`.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Gate, key_expiry, retry_after::Wait};
use crate::{
    clock::coarse_unix_seconds,
    conditions::{Condition, Raised},
    dedup::Fleet,
    deliver::SinkState,
    disk_headroom::{HeadroomNow, SinkLag},
    limits::{INODES_LEFT_MIN, READY_BYTES_MIN},
    overview,
    telemetry::{OutputLines, log_stalled},
};

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Answers as long as the process runs.
pub(super) async fn healthz() -> Response {
    Json(Health { status: "ok" }).into_response()
}

/// Whether an event posted now would be stored, and for how long the space will last.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    reasons: Vec<Reason>,
    spool: SpoolState,
    /// The sink that is furthest behind.
    sink: Option<SinkReport>,
    /// Every sink, in the order of the configuration.
    sinks: Vec<SinkReport>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: &'static str,
    /// Whether the condition prevents events from being stored; otherwise it is a warning.
    blocks: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
    detail: String,
}

impl Reason {
    fn of(raised: Raised) -> Self {
        let Raised { condition, place, detail, .. } = raised;
        Self { code: condition.code(), blocks: condition.blocks(), place, detail }
    }
}

#[derive(Debug, Serialize)]
struct SpoolState {
    events: u64,
    bytes: u64,
    quota_bytes: u64,
    headroom_seconds: Option<f64>,
    oldest_seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
struct SinkReport {
    name: String,
    reachable: bool,
    lag_events: u64,
    lag_bytes: u64,
    lag_seconds: f64,
    /// Bytes of the spool that are kept for it, and that may be.
    kept_bytes: u64,
    quota_bytes: u64,
}

impl SinkReport {
    fn of(lag: &SinkLag) -> Self {
        Self {
            name: lag.state.name.to_string(),
            reachable: lag.state.failing.is_none(),
            lag_events: lag.events,
            lag_bytes: lag.bytes,
            lag_seconds: lag.seconds,
            kept_bytes: lag.kept_bytes,
            quota_bytes: lag.quota.bytes,
        }
    }
}

/// See [`Readiness`].
pub(super) async fn readyz(State(gate): State<Arc<Gate>>) -> Response {
    let readiness = readiness(&gate);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, Json(readiness)).into_response();
    if status != StatusCode::OK {
        let wait = if gate.is_stopping() || gate.is_lame_duck() { Wait::Soon } else { Wait::Storage };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.seconds()));
    }
    response
}

/// Updates the gauges of the readiness conditions, for a scrape.
pub(super) fn refresh_gauges(gate: &Gate) {
    let holding = conditions(gate, &gate.disk_headroom.current());
    let is_blocked = holding.iter().any(|raised| raised.condition.blocks());
    gate.metrics.ready.set(i64::from(!is_blocked));
    let holding: Vec<Condition> = holding.into_iter().map(|raised| raised.condition).collect();
    gate.metrics.set_conditions(&holding);
}

/// Raises and clears the conditions that follow from the current numbers.
pub fn look(gate: &Gate) {
    look_at(gate, &gate.disk_headroom.current());
}

fn look_at(gate: &Gate, headroom: &HeadroomNow) {
    key_expiry::look(gate, coarse_unix_seconds());
    let set = |condition, detail| gate.conditions.set(condition, "", detail);
    let is_full = headroom.quota_left_bytes < READY_BYTES_MIN;
    set(
        Condition::SpoolFull,
        is_full.then(|| format!("the spool holds {} of {} bytes", headroom.spool_bytes, headroom.quota_bytes)),
    );
    // One sink alone has the whole quota, and place `""`.
    for sink in headroom.sinks.iter().filter(|_| headroom.sinks.len() > 1) {
        let (kept, quota) = (sink.kept_bytes, sink.quota.bytes);
        let detail = sink.is_blocking().then(|| format!("the events that wait for this sink have {kept} of its {quota} bytes"));
        gate.conditions.set(Condition::SpoolFull, &sink.state.name, detail);
    }
    let is_full = headroom.disk_left_bytes < READY_BYTES_MIN;
    set(
        Condition::DiskFull,
        is_full.then(|| format!("the file system has {} bytes left for the spool", headroom.disk_left_bytes)),
    );
    let few = headroom.inodes_left.filter(|inodes| *inodes < INODES_LEFT_MIN);
    set(Condition::InodesLow, few.map(|inodes| format!("the file system has {inodes} inodes left: {}", without_inodes(inodes))));
    set(Condition::DataMissing, headroom.data_missing.clone());
    let stalled = |output, detail| gate.conditions.set(Condition::LogStalled, output, detail);
    stalled("stderr", log_stalled());
    stalled("stdout", gate.output.as_ref().and_then(OutputLines::stalled));
}

fn without_inodes(inodes: u64) -> &'static str {
    match inodes {
        0 => "no file can be made, so the spool cannot begin another segment and the lake takes nothing",
        _ => "soon no file can be made",
    }
}

/// All conditions that hold, the blocking ones first: those that were raised, and those that other components report.
fn conditions(gate: &Gate, headroom: &HeadroomNow) -> Vec<Raised> {
    look_at(gate, headroom);
    let mut holding = gate.conditions.list();
    let mut add_at = |place: &str, condition, detail: Option<String>| {
        holding.extend(detail.map(|detail| Raised { condition, place: place.to_owned(), detail, since: Instant::now() }));
    };
    for SinkLag { state: SinkState { name, failing, .. }, events, .. } in &headroom.sinks {
        let place = if headroom.sinks.len() > 1 { &**name } else { "" };
        let detail = failing.as_ref().map(|error| format!("{name}: {error}; {events} events are spooled"));
        add_at(place, Condition::SinkUnreachable, detail);
    }
    let mut add = |condition, detail| add_at("", condition, detail);
    add(Condition::Stopping, stopping(gate).map(str::to_owned));
    let store = gate.ingest.dedup.fleet().and_then(Fleet::failing);
    let unchecked = "events are accepted without asking it, and tagged";
    add(Condition::DedupStoreUnreachable, store.map(|error| format!("{error}; {unchecked}")));
    let dead_letter_sink = gate.dead_letter_sink.as_ref().map(|state| state.borrow().clone());
    let failing = dead_letter_sink.and_then(|SinkState { name, failing, .. }| failing.map(|error| format!("{name}: {error}")));
    add(Condition::DeadLetterSinkUnreachable, failing);
    holding.sort_by_key(|raised| raised.condition);
    holding
}

/// What `/readyz` says, for the figures of the console.
pub(super) fn summary(gate: &Gate) -> overview::Readiness {
    let holding = conditions(gate, &gate.disk_headroom.current());
    let reason = |raised: Raised| {
        let Reason { code, blocks, place, detail } = Reason::of(raised);
        overview::Reason { code: code.to_owned(), blocks, place, detail }
    };
    let ready = !holding.iter().any(|raised| raised.condition.blocks());
    overview::Readiness { ready, reasons: holding.into_iter().map(reason).collect() }
}

fn stopping(gate: &Gate) -> Option<&'static str> {
    let is_lame_duck = gate.is_lame_duck().then_some("the gateway stops soon: it still takes events, and closes each connection");
    if gate.is_stopping() { Some("the gateway is shutting down") } else { is_lame_duck }
}

fn readiness(gate: &Gate) -> Readiness {
    let headroom = gate.disk_headroom.current();
    let holding = conditions(gate, &headroom);
    let sinks: Vec<SinkReport> = headroom.sinks.iter().map(SinkReport::of).collect();
    let furthest = sinks.iter().max_by(|one, other| (one.lag_events, !one.reachable).cmp(&(other.lag_events, !other.reachable)));
    Readiness {
        ready: !holding.iter().any(|raised| raised.condition.blocks()),
        reasons: holding.into_iter().map(Reason::of).collect(),
        spool: SpoolState {
            events: headroom.lag_events,
            bytes: headroom.spool_bytes,
            quota_bytes: headroom.quota_bytes,
            headroom_seconds: headroom.headroom_seconds,
            oldest_seconds: headroom.oldest_seconds,
        },
        sink: furthest.cloned(),
        sinks,
    }
}
