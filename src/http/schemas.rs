//! `GET /v1/schemas…`: the registry, for authors of clients.
//!
//! A numbered version never changes, so a client can cache it. The list and the newest version may change with any reload:
//! clients must revalidate them, and `ETag` avoids sending what the client has.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

use super::{
    Gate,
    cached::{Kept, answer},
    operator,
    problem::{Problem, ProblemCode},
    query::parameters,
};
use crate::{
    json::quoted,
    limits::EVENT_NAME_BYTES_MAX,
    schema::{Change, Registry, Resolution, differences},
};

#[derive(Serialize)]
struct List<'a> {
    schemas: Vec<ListItem<'a>>,
}

#[derive(Serialize)]
struct ListItem<'a> {
    event_name: &'a str,
    title: String,
    versions: Vec<u32>,
    latest: u32,
}

/// Lists all names with their versions.
pub(super) async fn list(State(gate): State<Arc<Gate>>, headers: HeaderMap) -> Response {
    let registry = gate.ingest.registry.load();
    let list = registry.list(listed);
    answer(&headers, "application/json", Kept::UntilAsked, &list.etag, Bytes::from_owner(Document(list.text.clone())))
}

fn listed(registry: &Registry) -> String {
    let schemas = registry.iter().filter_map(|(event_name, versions)| {
        let newest = versions.last()?;
        let versions: Vec<u32> = versions.iter().map(|schema| schema.version).collect();
        Some(ListItem { event_name, title: newest.title.to_string(), versions, latest: newest.version })
    });
    // Cannot fail: only names, numbers and titles are written.
    serde_json::to_string(&List { schemas: schemas.collect() }).unwrap_or_default()
}

/// The newest version of an event's schema.
pub(super) async fn newest(
    State(gate): State<Arc<Gate>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(event_name) = path.map_err(unreadable)?;
    check_length(&event_name)?;
    one(&gate, &headers, &event_name, None)
}

/// One version of an event's schema.
pub(super) async fn version(
    State(gate): State<Arc<Gate>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path((event_name, version)) = path.map_err(unreadable)?;
    check_length(&event_name)?;
    // Accept only the plain form, so that a schema has one address.
    match version.parse::<u32>() {
        Ok(number) if number.to_string() == version => one(&gate, &headers, &event_name, Some(number)),
        _ => Err(absent(ProblemCode::UnknownSchemaVersion, format!("{} is no version number", quoted(&version)))),
    }
}

/// The differences between two versions of an event's schema.
#[derive(Serialize)]
struct Diff {
    from: u32,
    to: u32,
    changes: Vec<Change>,
}

/// `GET /admin/schemas/{event_name}/diff?from=1&to=2`, for the console.
pub(super) async fn diff(
    State(gate): State<Arc<Gate>>,
    Path(event_name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    check_length(&event_name)?;
    let wrong = |detail: &str| Problem::new(ProblemCode::InvalidQuestion, detail);
    let (mut from, mut to) = (None, None);
    for (name, value) in parameters(&parts).map_err(wrong)? {
        let version = value.parse().map_err(|_| wrong("a version is a number"))?;
        match name {
            "from" => from = Some(version),
            "to" => to = Some(version),
            _ => return Err(wrong("only `from` and `to` can be asked for")),
        }
    }
    let (Some(from), Some(to)) = (from, to) else { return Err(wrong("`from` and `to` are two versions")) };
    let _turn = gate.turns.question()?;
    let registry = gate.ingest.registry.load();
    let schema = |version| match registry.resolve(&event_name, Some(version)) {
        Resolution::Known(schema) => Ok(schema),
        Resolution::UnknownVersion(_) => Err(absent(ProblemCode::UnknownSchemaVersion, format!("there is no version {version}"))),
        Resolution::UnknownName => Err(absent(ProblemCode::UnknownEvent, format!("no schema is named {}", quoted(&event_name)))),
    };
    Ok(Json(Diff { from, to, changes: differences(schema(from)?, schema(to)?) }).into_response())
}

/// The problem for a path that is not UTF-8 after unescaping.
fn unreadable(_: PathRejection) -> Problem {
    Problem::new(ProblemCode::NotFound, "the path is not UTF-8")
}

/// Refuses names that are too long for any event.
fn check_length(event_name: &str) -> Result<(), Problem> {
    if event_name.len() <= EVENT_NAME_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("no schema is named so: a name has {EVENT_NAME_BYTES_MAX} bytes at most");
    Err(absent(ProblemCode::UnknownEvent, detail))
}

/// A problem that caches must revalidate, because a reload may add the name or version.
fn absent(code: ProblemCode, detail: String) -> Problem {
    Problem::new(code, detail).header(header::CACHE_CONTROL, "no-cache")
}

fn one(gate: &Gate, headers: &HeaderMap, event_name: &str, version: Option<u32>) -> Result<Response, Problem> {
    let registry = gate.ingest.registry.load();
    match registry.resolve(event_name, version) {
        Resolution::Known(schema) => {
            let kept = if version.is_some() { Kept::ForGood } else { Kept::UntilAsked };
            Ok(answer(
                headers,
                "application/schema+json",
                kept,
                schema.etag(),
                Bytes::from_owner(Document(schema.document.clone())),
            ))
        }
        Resolution::UnknownVersion(newest) => {
            let detail = format!("{event_name} has no such version; the newest is {}", newest.version);
            Err(absent(ProblemCode::UnknownSchemaVersion, detail))
        }
        Resolution::UnknownName => {
            let suggestion = registry.nearest(event_name).map_or(String::new(), |nearest| format!("; did you mean {nearest:?}?"));
            Err(absent(ProblemCode::UnknownEvent, format!("no schema is named {}{suggestion}", quoted(event_name))))
        }
    }
}

/// A schema as it is stored. It is not copied, because anyone may request it in as many requests at once as connections allow,
/// and then not read the answers.
struct Document(Arc<str>);

impl AsRef<[u8]> for Document {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
