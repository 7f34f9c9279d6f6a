//! What is done around every request: an id, the time it took, a metric, what operators are told, and problems written out.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

use super::{
    Gate, cors,
    problem::Problem,
    told::{Answered, Told},
};
use crate::{event::unix_millis, limits::REQUEST_ID_CHARS_MAX, telemetry::RouteStatus};

const REQUEST_ID: &str = "x-request-id";

/// What the outermost layer knows.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) gate: Arc<Gate>,
    /// Whether web pages may come here: not to the operators' listener.
    pub(super) is_for_pages: bool,
    /// `Strict-Transport-Security`
    pub(super) hsts: Option<HeaderValue>,
}

/// The outermost layer of the router.
pub(super) async fn layer(State(around): State<Around>, request: Request, next: Next) -> Response {
    let route = route(&request);
    around.handle(route, request, |request| next.run(request)).await
}

impl Around {
    /// Answers a request to `route` by `handler`, with what is done around every one.
    pub(super) async fn handle<F: Future<Output = Response>>(
        &self,
        route: &'static str,
        request: Request,
        handler: impl FnOnce(Request) -> F,
    ) -> Response {
        let started = Instant::now();
        let id = request_id(&request);
        let method = request.method().clone();
        let origin = request.headers().get(header::ORIGIN).filter(|_| self.is_for_pages).cloned();
        let metrics = &self.gate.metrics;
        let told = Told::of(&self.gate, &request, route);
        let mut response = handler(request).await;
        let mut code = None;
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            code = Some(problem.code().as_str());
            let allow = response.headers_mut().remove("allow");
            response = problem.write(id.to_str().unwrap_or_default());
            response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        }
        let status = response.status().as_u16();
        let elapsed = started.elapsed();
        metrics.requests.get_or_create(&RouteStatus { route, status }).inc();
        if method == Method::POST {
            metrics.request_seconds.observe(elapsed.as_secs_f64());
        }
        if let Some(told) = told {
            let request_id = id.to_str().unwrap_or_default();
            told.tell(&self.gate, &Answered { route, request_id, code, response: &response, took: elapsed });
        }
        tracing::debug!(request_id = ?id, route, status, elapsed_ms = elapsed.as_millis() as u64, "answered");
        response.headers_mut().insert(REQUEST_ID, id);
        if let Some(hsts) = &self.hsts {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if let Some(origin) = origin {
            cors::let_read(&self.gate, &origin, response.headers_mut());
        }
        response
    }
}

/// The client's own id where it is fit to be logged, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let fit = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_CHARS_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    match request.headers().get(REQUEST_ID).filter(fit) {
        Some(id) => id.clone(),
        None => {
            // Names a request in a log, and guards nothing: it need not be hard to guess, and must not cost a system call.
            let millis = unix_millis(SystemTime::now()).unsigned_abs();
            let id = uuid::Builder::from_unix_timestamp_millis(
                millis,
                &fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap_or_default(),
            );
            HeaderValue::from_str(id.as_uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer()))
                .unwrap_or(HeaderValue::from_static("-"))
        }
    }
}

/// The route's pattern as a label, never the path that a client made up.
fn route(request: &Request) -> &'static str {
    match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some("/v1/events") => "/v1/events",
        Some("/v1/pixel.gif") => "/v1/pixel.gif",
        Some("/v1/schemas") => "/v1/schemas",
        Some("/v1/schemas/{event_name}") => "/v1/schemas/{event_name}",
        Some("/v1/schemas/{event_name}/{version}") => "/v1/schemas/{event_name}/{version}",
        Some("/healthz") => "/healthz",
        Some("/readyz") => "/readyz",
        Some("/metrics") => "/metrics",
        Some("/admin/dead-letters") => "/admin/dead-letters",
        Some("/admin/dead-letters/letters") => "/admin/dead-letters/letters",
        Some("/admin/dead-letters/replay") => "/admin/dead-letters/replay",
        Some("/admin/dead-letters/drop") => "/admin/dead-letters/drop",
        // The one route whose path is configured.
        Some(_) => "extra_path",
        None => "other",
    }
}
