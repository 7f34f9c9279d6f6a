//! People who opt out of tracking: `Sec-GPC` (Global Privacy Control) and its predecessor `DNT`.
//!
//! If `privacy.respect_gpc` is set, their events are counted and dropped: not stored, not validated, not in the dead letters.
//! The answer says so, and the sender may delete them.

use axum::{
    Json,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Gate, answer::status_of_taken, problem::Problem};
use crate::ingest::Submission;

/// An answer with the count `opted_out` beside the four outcomes.
#[derive(Serialize)]
struct Dropped {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    retry: usize,
    opted_out: usize,
    results: [(); 0],
}

/// Whether the events of a request with `headers` are to be dropped.
pub(super) fn is_asked(gate: &Gate, headers: &HeaderMap) -> bool {
    gate.policy.load().respect_gpc && ["sec-gpc", "dnt"].iter().any(|name| headers.get(*name).is_some_and(|value| value == "1"))
}

/// Counts the events of a request, and drops them.
pub(super) async fn drop_all(gate: &Gate, submission: Submission) -> Result<Response, Problem> {
    let status = status_of_taken(submission.answers);
    let opted_out = gate.ingest.count(submission).await?;
    gate.metrics.opted_out_events.inc_by(opted_out as u64);
    let answer = Dropped { accepted: 0, duplicates: 0, rejected: 0, retry: 0, opted_out, results: [] };
    Ok((status, Json(answer)).into_response())
}
