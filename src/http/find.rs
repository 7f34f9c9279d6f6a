//! `/admin/events/{event_uuid}`: what happened to one event, which `lakegate find` prints.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    Gate, operator,
    problem::{Problem, ProblemCode},
};

/// Everything that is known of an event.
pub(super) async fn get(
    State(gate): State<Arc<Gate>>,
    Path(event_uuid): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    let Ok(event_uuid) = event_uuid.parse::<Uuid>() else {
        return Err(Problem::new(ProblemCode::InvalidQuestion, "the last part of the path is an event_uuid"));
    };
    let turn = gate.turns.question()?;
    let scopes =
        gate.policy.load().keys.sources().filter_map(|source| source.dedup_scope().map(str::to_owned)).collect::<Vec<_>>();
    let found = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        gate.finder.find(event_uuid, &scopes)
    });
    let story = found.await.map_err(|_| Problem::new(ProblemCode::InternalError, "the search failed; the log says why"))?;
    Ok(Json(story).into_response())
}
