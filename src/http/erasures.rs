//! `/admin/erasures`: the interface that `lakegate lake erase` uses on a running gateway.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Gate,
    dead_letters::{check_gateway, read_change},
    operator,
    operator_turns::{Turn, Turns},
    problem::{Problem, ProblemCode},
    run_to_completion::RunToCompletion,
};
use crate::erasure::{ClauseText, CriterionText};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErasureBody {
    /// The gateway that is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(rename = "where")]
    clauses: Vec<ClauseText>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    unreadable_too: bool,
    #[serde(default)]
    dry_run: bool,
}

/// Erases the events of a person. The answer comes when the erasure has ended; if the client goes away, it goes on.
pub(super) async fn post(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let may_change = operator::check_change(&gate, request.headers());
    let (asked, turn): (ErasureBody, Turn) = read_change(&gate, request, Turns::erasure, wrong).await?;
    if !asked.dry_run {
        may_change?;
    }
    check_gateway(&gate, asked.gateway, wrong)?;
    let ErasureBody { clauses, events, unreadable_too, dry_run, .. } = asked;
    let report = RunToCompletion::new(async move {
        let _turn = turn;
        gate.erasure.erase(CriterionText { clauses, events, unreadable_too }, dry_run, &gate.repair).await
    })
    .await?;
    Ok(Json(report).into_response())
}

fn wrong(detail: String) -> Problem {
    Problem::new(ProblemCode::InvalidErasure, detail)
}
