//! The table of contents of the HTTP interface: routes, and the layers around them.

mod around;
mod body;
mod events;
mod finish;
mod health;
pub mod problem;
mod schemas;
pub mod server;
mod told;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    auth::Keys,
    deliver::SinkState,
    ingest::Ingest,
    room::Room,
    telemetry::{AccessLog, Metrics, Traces},
};
pub use body::BodyBudget;
use problem::{Problem, ProblemCode};

/// What the handlers use.
pub struct Gate {
    /// Who may send.
    pub keys: Keys,
    /// The recipe.
    pub ingest: Arc<Ingest>,
    /// What request bodies may hold together.
    pub bodies: BodyBudget,
    /// How much room is left.
    pub room: Arc<Room>,
    /// How the sink does.
    pub sink: watch::Receiver<SinkState>,
    /// How the stream of the dead letters does, where they have one.
    pub dead_letter_sink: Option<watch::Receiver<SinkState>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who is told of each request.
    pub traces: Traces,
    /// Where each request is a line, where that is wanted.
    pub access_log: Option<AccessLog>,
    /// Whether the gateway is stopping.
    pub stopping: AtomicBool,
}

impl Gate {
    /// Whether the gateway is stopping: it takes nothing more, and is not ready.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The listener for events.
pub fn router(gate: Arc<Gate>) -> Router {
    let routes = Router::new()
        .route("/v1/events", post(events::post))
        .route("/v1/schemas", get(schemas::list))
        .route("/v1/schemas/{event_name}", get(schemas::newest))
        .route("/v1/schemas/{event_name}/{version}", get(schemas::version))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    layered(routes, gate)
}

/// The listener for operators.
pub fn admin_router(gate: Arc<Gate>) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    layered(routes, gate)
}

fn layered(routes: Router<Arc<Gate>>, gate: Arc<Gate>) -> Router {
    // From the outermost inwards.
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(gate.clone(), around::around))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::new(ProblemCode::InternalError, "the request could not be handled; this is a bug").into_response()
        }))
        // Bodies have a limit of their own: see `http/body.rs`.
        .layer(DefaultBodyLimit::disable());
    routes.method_not_allowed_fallback(method_not_allowed).fallback(not_found).with_state(gate).layer(layers)
}

async fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound, "there is nothing at this path; POST /v1/events takes events")
}

async fn method_not_allowed() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed, "the path has other methods: see Allow")
}

async fn metrics(State(gate): State<Arc<Gate>>) -> Response {
    gate.room.refresh_gauges();
    gate.metrics.ready.set(i64::from(health::is_ready(&gate)));
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], gate.metrics.exposition()).into_response()
}
