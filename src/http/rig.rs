//! `/dev/…`: what the tests of an application ask `lakegate dev`. No other gateway has it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /dev/events?status=rejected&event=menu:*&key=web&limit=100` | the events that came since the reset, with what became of each |
//! | `GET /dev/wait?event=menu:item:ordered&count=2&timeout=5` | the same once there are so many, or 408 with what there is |
//! | `POST /dev/reset` | forgets the events, and ends the faults |
//! | `GET /dev/faults`, `POST /dev/faults {"status":503,"for_ms":4000}` | the faults in force, and new ones |
//!
//! `/dev/wait` waits for accepted events unless `status` says otherwise.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{json, value::RawValue};
use tokio::time::timeout;

use super::{
    Gate,
    dead_letters::read_change,
    operator,
    operator_turns::Turns,
    problem::{Problem, ProblemCode},
    query::parameters,
};
use crate::{
    limits::{DEV_REJECTIONS_TOLD, DEV_WAIT, DEV_WAIT_MAX, RECORDED_EVENTS_MAX},
    live_events::{Matching, Question},
    rig::{Asked, Fault, Rig},
};

/// Adds the routes of the rig.
pub(super) fn routes(routes: Router<Arc<Gate>>) -> Router<Arc<Gate>> {
    routes
        .route("/dev/events", get(events))
        .route("/dev/wait", get(wait))
        .route("/dev/reset", post(reset))
        .route("/dev/faults", get(faults).post(ask_for_faults))
}

/// The answer that a test wants for each request for events, if it wants one. Waits as long as it wants a request to be slow.
pub(super) async fn strike(gate: &Gate) -> Option<Response> {
    let Fault { status, retry_after } = gate.rig.as_ref()?.faults.strike().await?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = json!({
        "type": "about:blank",
        "title": "A test asked for this answer",
        "status": status.as_u16(),
        "detail": "POST /dev/faults asked for it; nothing of this request was taken",
        "code": "fault_asked_for",
    });
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.extend(retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
    Some(response)
}

/// What a test asks for.
struct Looked {
    question: Question,
    /// The newest of the events that are in the answer.
    limit: usize,
    count: usize,
    timeout: Duration,
}

impl Looked {
    fn read(request: &Parts, default_status: Option<&'static str>) -> Result<Self, Problem> {
        let (mut limit, mut count, mut timeout) = (RECORDED_EVENTS_MAX, 1, DEV_WAIT);
        let mut asked: Vec<(&str, String)> = Vec::new();
        for (name, value) in parameters(request).map_err(|detail| wrong(detail.to_owned()))? {
            match name {
                "status" => asked.push(("outcome", value)),
                "limit" => limit = number(name, &value, &(1..=RECORDED_EVENTS_MAX))?,
                "count" => count = number(name, &value, &(1..=RECORDED_EVENTS_MAX))?,
                "timeout" => {
                    let seconds: f64 = number(name, &value, &(0.0..=DEV_WAIT_MAX.as_secs_f64()))?;
                    timeout = Duration::from_secs_f64(seconds);
                }
                _ => asked.push((name, value)),
            }
        }
        if let Some(status) = default_status.filter(|_| asked.iter().all(|(name, _)| *name != "outcome")) {
            asked.push(("outcome", status.to_owned()));
        }
        let question = Question::parse(asked).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { question, limit, count, timeout })
    }
}

fn number<T: FromStr + PartialOrd + Display>(name: &str, value: &str, range: &RangeInclusive<T>) -> Result<T, Problem> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.ok_or_else(|| wrong(format!("{name} is a number from {least} to {most}, not {value:?}")))
}

fn wrong(detail: String) -> Problem {
    Problem::new(ProblemCode::InvalidQuestion, detail)
}

/// The rig, for a program of this machine. Its routes are there only if it is.
fn rig<'a>(gate: &'a Gate, request: &Parts) -> Result<&'a Arc<Rig>, Problem> {
    operator::authorize(request)?;
    rig_of(gate)
}

/// The rig, if this gateway is one.
fn rig_of(gate: &Gate) -> Result<&Arc<Rig>, Problem> {
    gate.rig.as_ref().ok_or_else(|| Problem::new(ProblemCode::NotFound, "only `lakegate dev` has this"))
}

/// Events, as an answer.
#[derive(Serialize)]
struct Found {
    /// How many match.
    count: usize,
    /// The newest of them, the oldest first.
    events: Vec<Box<RawValue>>,
    /// Events of any kind that are not kept any more.
    forgotten: u64,
}

impl Found {
    fn of(matching: &Matching, limit: usize) -> Self {
        let newest = &matching.events[matching.events.len().saturating_sub(limit)..];
        // Each line is JSON that the recorder wrote.
        let events = newest.iter().filter_map(|event| RawValue::from_string(event.line.to_string()).ok()).collect();
        Self { count: matching.events.len(), events, forgotten: matching.forgotten }
    }
}

/// `GET /dev/events`
async fn events(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let rig = rig(&gate, &parts)?;
    let Looked { question, limit, .. } = Looked::read(&parts, None)?;
    Ok(Json(Found::of(&rig.recorder.matching(&question), limit)).into_response())
}

/// What a wait came to.
#[derive(Serialize)]
struct Waited {
    /// Whether there are as many as were waited for.
    reached: bool,
    #[serde(flatten)]
    found: Found,
    /// If not: what was rejected since the reset, which is often why.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<Found>,
}

/// `GET /dev/wait`
async fn wait(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let rig = rig(&gate, &parts)?;
    let Looked { question, limit, count, timeout: patience } = Looked::read(&parts, Some("accepted"))?;
    let reached = timeout(patience, rig.recorder.wait(&question, count)).await;
    if let Ok(matching) = reached {
        return Ok(Json(Waited { reached: true, found: Found::of(&matching, limit), rejected: None }).into_response());
    }
    let rejected = Question::parse([("outcome", "rejected")]).map_err(|error| wrong(error.to_string()))?;
    let rejected = Found::of(&rig.recorder.matching(&rejected), DEV_REJECTIONS_TOLD);
    let found = Found::of(&rig.recorder.matching(&question), limit);
    let waited = Waited { reached: false, found, rejected: Some(rejected) };
    Ok((StatusCode::REQUEST_TIMEOUT, Json(waited)).into_response())
}

/// `POST /dev/reset`
async fn reset(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let rig = rig(&gate, &parts)?;
    rig.faults.reset();
    Ok(Json(json!({ "forgotten": rig.recorder.reset() })).into_response())
}

/// `GET /dev/faults`
async fn faults(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Ok(Json(rig(&gate, &parts)?.faults.now()).into_response())
}

/// `POST /dev/faults`
async fn ask_for_faults(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (asked, _turn) = read_change::<Asked>(&gate, request, Turns::question, wrong).await?;
    let rig = rig_of(&gate)?;
    rig.faults.ask(&asked).map_err(|error| wrong(error.to_string()))?;
    Ok(Json(rig.faults.now()).into_response())
}
