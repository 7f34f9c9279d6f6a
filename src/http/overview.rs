//! `GET /admin/overview` and `GET /admin/fleet`: what this gateway, or all gateways of the fleet, do at the moment. The document is
//! that of `lakegate top --json`.
//!
//! A page asks once a second. The figures come from the metrics, so events pay nothing for it.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Gate, health, operator, problem::Problem};
use crate::{
    limits::FLEET_POLL_TIMEOUT,
    overview::{Polled, ask},
    telemetry::Exposition,
};

/// The name of the gateway that answers, among those of its fleet.
const ITSELF: &str = "this gateway";

/// What this gateway does.
pub(super) async fn get(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    operator::authorize(&request.into_parts().0)?;
    let report = gate.console.overview.report(&[ITSELF.to_owned()], async || vec![itself(&gate)]).await;
    Ok(json(report))
}

/// What it and the other gateways do, each of which is asked at the same time. Only the addresses of the configuration are asked, never
/// one of a request, so that no page can make the gateway call anything.
pub(super) async fn fleet(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    operator::authorize(&request.into_parts().0)?;
    let others = &gate.console.fleet;
    let names: Vec<String> = std::iter::once(ITSELF).chain(others.iter().map(String::as_str)).map(str::to_owned).collect();
    let poll = async || {
        let mut asked = JoinSet::new();
        for (index, gateway) in others.iter().cloned().enumerate() {
            asked.spawn(async move { (index, ask(gateway.trim_start_matches("http://"), FLEET_POLL_TIMEOUT).await) });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        std::iter::once(itself(&gate)).chain(answers.into_iter().map(|(_, answer)| answer)).collect()
    };
    Ok(json(gate.console.fleet_polls.report(&names, poll).await))
}

fn itself(gate: &Gate) -> Result<Polled, String> {
    let exposition = Exposition::parse(&operator::exposition(gate)).map_err(|error| error.to_string())?;
    Ok(Polled { at: Instant::now(), exposition, readiness: health::summary(gate) })
}

fn json(document: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, document).into_response()
}
