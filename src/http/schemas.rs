//! `GET /v1/schemas…`: the registry, for whoever writes a client.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

use super::{
    Gate,
    problem::{Problem, ProblemCode},
};
use crate::schema::{Resolution, Schema};

#[derive(Serialize)]
struct List<'a> {
    schemas: Vec<ListItem<'a>>,
}

#[derive(Serialize)]
struct ListItem<'a> {
    event_name: &'a str,
    versions: Vec<u32>,
    latest: u32,
}

/// Every name with its versions.
pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Response {
    let registry = gate.ingest.registry.load();
    let schemas = registry.iter().filter_map(|(event_name, versions)| {
        let versions: Vec<u32> = versions.iter().map(|schema| schema.version).collect();
        Some(ListItem { event_name, latest: *versions.last()?, versions })
    });
    Json(List { schemas: schemas.collect() }).into_response()
}

/// The newest version of one name.
pub(super) async fn newest(
    State(gate): State<Arc<Gate>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(event_name) = path.map_err(unreadable)?;
    one(&gate, &event_name, None)
}

/// One version of one name.
pub(super) async fn version(
    State(gate): State<Arc<Gate>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((event_name, version)) = path.map_err(unreadable)?;
    // Only the plain form, so that a schema has one address.
    match version.parse::<u32>() {
        Ok(number) if number.to_string() == version => one(&gate, &event_name, Some(number)),
        _ => Err(Problem::new(ProblemCode::UnknownSchemaVersion, format!("{version:?} is no version number"))),
    }
}

/// A path that is no UTF-8 once it is unescaped names nothing.
fn unreadable(_: PathRejection) -> Problem {
    Problem::new(ProblemCode::NotFound, "the path is not UTF-8")
}

fn one(gate: &Gate, event_name: &str, version: Option<u32>) -> Result<Response, Problem> {
    let registry = gate.ingest.registry.load();
    match registry.resolve(event_name, version) {
        Resolution::Known(schema) => Ok(document(schema)),
        Resolution::UnknownVersion(newest) => {
            let detail = format!("{event_name} has no such version; the newest is {}", newest.version);
            Err(Problem::new(ProblemCode::UnknownSchemaVersion, detail))
        }
        Resolution::UnknownName => {
            let suggestion = registry.nearest(event_name).map_or(String::new(), |nearest| format!("; did you mean {nearest:?}?"));
            Err(Problem::new(ProblemCode::UnknownEvent, format!("no schema is named {event_name:?}{suggestion}")))
        }
    }
}

/// A schema as it is kept. Not copied: anyone may ask for it, in as many requests at once as connections hold, and then read
/// nothing of the answers.
struct Document(Arc<str>);

impl AsRef<[u8]> for Document {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn document(schema: &Schema) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/schema+json"))];
    (headers, Bytes::from_owner(Document(schema.document.clone()))).into_response()
}
