//! `/admin/dead-letters…`: what `lakegate dlq` asks of a gateway that runs.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Gate, body,
    finish::Finish,
    operator,
    problem::{Problem, ProblemCode},
};
use crate::{
    dead_letter::{Filter, Grouped},
    event::unix_millis,
    json::Patch,
    repair::{Letters, RepairError, Replay, Shown, show as shown},
};

#[derive(Serialize)]
struct List {
    #[serde(flatten)]
    grouped: Grouped,
    unreadable_lines: u64,
}

/// The letters in groups.
pub(super) async fn list(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::admit(&parts)?;
    let query = Query::read(&parts)?;
    let archive = gate.repair.archive().clone();
    let found = tokio::task::spawn_blocking(move || archive.groups(&query.filter)).await;
    let (groups, survey) = found.map_err(std::io::Error::other).and_then(|found| found).map_err(RepairError::Disk)?;
    Ok(Json(List { grouped: groups.finish(), unreadable_lines: survey.unreadable_lines }).into_response())
}

#[derive(Serialize)]
struct Whole {
    letters: Vec<Shown>,
}

/// Some letters, whole.
pub(super) async fn show(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::admit(&parts)?;
    let query = Query::read(&parts)?;
    let archive = gate.repair.archive().clone();
    let found = tokio::task::spawn_blocking(move || shown(&archive, &query.filter, query.limit)).await;
    let letters = found.map_err(std::io::Error::other).and_then(|found| found).map_err(RepairError::Disk)?;
    Ok(Json(Whole { letters }).into_response())
}

/// What is asked for in the address: `where` any number of times, and `limit`.
struct Query {
    filter: Filter,
    limit: usize,
}

impl Query {
    fn read(request: &Parts) -> Result<Self, Problem> {
        let (mut conditions, mut limit) = (Vec::new(), 1);
        for pair in request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().map_err(|_| wrong("the address is not UTF-8"))?;
            match name {
                "where" => conditions.push(value.into_owned()),
                "limit" => limit = value.parse().map_err(|_| wrong("limit is no number"))?,
                _ => return Err(wrong("only `where` and `limit` can be asked for")),
            }
        }
        Ok(Self { filter: filter(&conditions)?, limit })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    /// Which gateway is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    #[serde(default)]
    patch: Option<Box<RawValue>>,
    #[serde(default)]
    dry_run: bool,
    /// Letters from elsewhere, one per line.
    #[serde(default)]
    letters: Option<String>,
}

/// Replays letters.
pub(super) async fn replay(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let asked: ReplayBody = read(&gate, request).await?;
    check_gateway(&gate, asked.gateway)?;
    let patch = asked.patch.map(|patch| Patch::parse(patch.get())).transpose().map_err(|error| wrong(error.to_string()))?;
    let replay = Replay {
        filter: filter(&asked.conditions)?,
        patch,
        dry_run: asked.dry_run,
        letters: asked.letters.map_or(Letters::Kept, |lines| Letters::Given(lines.into_bytes())),
    };
    let senders: Vec<_> = gate.policy.load().keys.sources().cloned().collect();
    let report = Finish::new(async move { gate.repair.replay(replay, &senders).await }).await?;
    Ok(Json(report).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropBody {
    /// Which gateway is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    /// That every open letter is meant.
    #[serde(default)]
    all: bool,
}

/// Takes letters out for good.
pub(super) async fn drop(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let asked: DropBody = read(&gate, request).await?;
    check_gateway(&gate, asked.gateway)?;
    let filter = filter(&asked.conditions)?;
    if filter.is_empty() && !asked.all {
        return Err(wrong("nothing says which letters are to be dropped; `\"all\": true` drops all that are open"));
    }
    let dropped = Finish::new(async move { gate.repair.drop_letters(&filter).await }).await?;
    Ok(Json(dropped).into_response())
}

/// Another gateway may have taken over the address of the one that is meant.
fn check_gateway(gate: &Gate, meant: Option<Uuid>) -> Result<(), Problem> {
    match meant {
        Some(meant) if meant != gate.ingest.spool.id() => {
            Err(wrong("this is not the gateway that is meant: its data folder is another one"))
        }
        _ => Ok(()),
    }
}

fn filter(conditions: &[String]) -> Result<Filter, Problem> {
    Filter::parse(conditions, unix_millis(SystemTime::now())).map_err(|error| wrong(error.to_string()))
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidRepair, detail)
}

async fn read<T: DeserializeOwned>(gate: &Gate, request: Request) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    operator::admit(&parts)?;
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down"));
    }
    // No form of a web page can send this.
    if parts.headers.get(header::CONTENT_TYPE) != Some(&HeaderValue::from_static("application/json")) {
        let detail = "a repair is application/json";
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail).header(header::ACCEPT, "application/json"));
    }
    let mut share = gate.bodies.share();
    let bytes = body::read(body, &gate.bodies, &mut share).await?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(format!("the body is no repair: {error}")))
}
