//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::Gate;
use crate::{
    dedup::Fleet,
    deliver::SinkState,
    limits::{READY_BYTES_MIN, RETRY_AFTER_SECONDS},
};

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The process runs.
pub(super) async fn healthz() -> Response {
    Json(Health { status: "ok" }).into_response()
}

/// Whether an event posted now would be stored, and how long that will last.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    reasons: Vec<Reason>,
    spool: SpoolState,
    sink: SinkReport,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: &'static str,
    detail: String,
}

#[derive(Debug, Serialize)]
struct SpoolState {
    events: u64,
    bytes: u64,
    quota_bytes: u64,
    headroom_seconds: Option<f64>,
    oldest_seconds: f64,
}

#[derive(Debug, Serialize)]
struct SinkReport {
    name: &'static str,
    reachable: bool,
    lag_events: u64,
    lag_bytes: u64,
    lag_seconds: f64,
}

/// See [`Readiness`].
pub(super) async fn readyz(State(gate): State<Arc<Gate>>) -> Response {
    let readiness = readiness(&gate);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, Json(readiness)).into_response();
    if status != StatusCode::OK {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    response
}

/// What `/readyz` says in one bit, for a gauge.
pub(super) fn is_ready(gate: &Gate) -> bool {
    readiness(gate).ready
}

fn readiness(gate: &Gate) -> Readiness {
    let room = gate.room.current();
    let sink: SinkState = gate.sink.borrow().clone();
    let mut blocking = Vec::new();
    let mut warnings = Vec::new();
    if gate.is_stopping() {
        blocking.push(Reason { code: "stopping", detail: "the gateway is shutting down".into() });
    }
    if room.spool_failed {
        let detail = "the disk failed to sync; the gateway stops taking events and must be restarted".into();
        blocking.push(Reason { code: "spool_failed", detail });
    }
    if room.quota_left_bytes < READY_BYTES_MIN {
        let detail = format!("the spool holds {} of {} bytes", room.spool_bytes, room.quota_bytes);
        blocking.push(Reason { code: "spool_full", detail });
    }
    if room.disk_left_bytes < READY_BYTES_MIN {
        let detail = format!("the file system has {} bytes left for the spool", room.disk_left_bytes);
        blocking.push(Reason { code: "disk_full", detail });
    }
    if let Some(error) = &sink.failing {
        let detail = format!("{}: {error}; {} events are spooled", sink.name, room.lag_events);
        warnings.push(Reason { code: "sink_unreachable", detail });
    }
    if let Some(error) = gate.ingest.dedup.fleet().and_then(Fleet::failing) {
        let detail = format!("{error}; events are accepted without asking it, and tagged");
        warnings.push(Reason { code: "dedup_store_unreachable", detail });
    }
    let dead_letter_sink = gate.dead_letter_sink.as_ref().map(|state| state.borrow().clone());
    if let Some(SinkState { name, failing: Some(error), .. }) = dead_letter_sink {
        warnings.push(Reason { code: "dead_letter_sink_unreachable", detail: format!("{name}: {error}") });
    }
    let ready = blocking.is_empty();
    blocking.append(&mut warnings);
    Readiness {
        ready,
        reasons: blocking,
        spool: SpoolState {
            events: room.lag_events,
            bytes: room.spool_bytes,
            quota_bytes: room.quota_bytes,
            headroom_seconds: room.headroom_seconds,
            oldest_seconds: room.oldest_seconds,
        },
        sink: SinkReport {
            name: sink.name,
            reachable: sink.failing.is_none(),
            lag_events: room.lag_events,
            lag_bytes: room.lag_bytes,
            lag_seconds: room.oldest_seconds,
        },
    }
}
