//! The middleware around every request: it sets a request id, measures the time, counts and logs the request, catches panics,
//! and writes problems as JSON.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{self, HeaderMap, HeaderName, HeaderValue, Method, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    Gate, address_rate_limit, cors, operator,
    problem::{Problem, ProblemCode},
    request_log::{Answered, RequestLog},
    rig, unread_body,
};
use crate::{event::unix_millis, limits::REQUEST_ID_CHARS_MAX};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// The label of requests without a route.
const OTHER: &str = "other";

/// The state of the outermost layer.
#[derive(Clone)]
pub(super) struct Middleware {
    pub(super) gate: Arc<Gate>,
    pub(super) serves: Serves,
    /// `Strict-Transport-Security`
    pub(super) hsts: Option<HeaderValue>,
}

/// The clients that a listener serves.
#[derive(Clone)]
pub(super) enum Serves {
    /// Senders of events, including web pages.
    Events,
    /// Operators, but no web pages.
    Operators {
        /// Additional names of the gateway: see `operator.rs`.
        hosts: Arc<[String]>,
    },
}

/// The outermost layer of the router.
pub(super) async fn layer(State(middleware): State<Middleware>, request: Request, next: Next) -> Response {
    let route = route(&request);
    let (gate, serves) = (middleware.gate.clone(), middleware.serves.clone());
    let let_in = async move |request: Request| {
        let let_in = match &serves {
            Serves::Events => address_rate_limit::pay(&gate, &request, route),
            Serves::Operators { hosts } => operator::check(request.uri(), request.headers(), hosts, gate.rig.is_some()),
        };
        match let_in {
            Ok(()) if matches!(serves, Serves::Events) && request.method() != Method::OPTIONS => match rig::strike(&gate).await {
                None => next.run(request).await,
                Some(response) => response,
            },
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    };
    // Read the body to its end, because a refusal drops it, and so do handlers of this listener that need no body.
    middleware.handle(route, request, |request| unread_body::read_to_its_end(request, let_in)).await
}

impl Middleware {
    /// Whether this is the listener for events.
    pub(super) fn is_for_events(&self) -> bool {
        matches!(self.serves, Serves::Events)
    }

    /// Answers a request to `route` with `handler`, inside this middleware.
    pub(super) async fn handle<B, F: Future<Output = Response>>(
        &self,
        route: &'static str,
        request: http::Request<B>,
        handler: impl FnOnce(http::Request<B>) -> F,
    ) -> Response {
        let started = Instant::now();
        let id = request_id(request.headers());
        let method = request.method().clone();
        let is_for_events = self.is_for_events();
        let is_http2 = request.version() == Version::HTTP_2;
        let origin = request.headers().get(header::ORIGIN).filter(|_| is_for_events).cloned();
        let metrics = &self.gate.metrics;
        let log = RequestLog::of(&self.gate, &request, route);
        let mut response = {
            // Pin the future where it is created, because passing it on would copy it, and it is large.
            let handler = pin!(handler(request));
            caught(handler).await
        };
        let mut code = None;
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            code = Some(problem.code().as_str());
            let (_, refused_as, title) = problem.code().parts();
            if is_for_events && Problem::is_refusal(problem.code()) {
                metrics.count_refused(problem.key(), refused_as);
            }
            if Problem::is_logged(problem.code()) {
                metrics.refusals.count(problem.key(), refused_as, 1, title);
            }
            let allow = response.headers_mut().remove("allow");
            response = problem.write(id.to_str().unwrap_or_default());
            response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        }
        let status = response.status().as_u16();
        let elapsed = started.elapsed();
        metrics.count_request(route, status);
        if method == Method::POST {
            metrics.request_seconds.observe(elapsed.as_secs_f64());
        }
        if let Some(log) = log {
            let request_id = id.to_str().unwrap_or_default();
            log.write(&self.gate, &Answered { route, request_id, code, response: &response, took: elapsed });
        }
        tracing::debug!(
            request_id = id.to_str().unwrap_or_default(),
            route,
            status,
            elapsed_ms = elapsed.as_millis() as u64,
            "answered"
        );
        if is_for_events && (origin.is_some() || method != Method::POST) {
            cors::let_read(&self.gate, origin.as_ref(), response.headers_mut());
        }
        // The next request goes to another gateway. Over HTTP/2 the connection itself says so.
        if is_for_events && !is_http2 && self.gate.is_lame_duck() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.sign(response, id)
    }

    /// The answer to a client whose request head did not arrive in time. Operators see only that there was such a request.
    pub(super) fn head_timed_out(&self, after: Duration) -> Response {
        let id = new_id();
        let detail = format!("the head of the request did not arrive within {} s", after.as_secs());
        let response = Problem::new(ProblemCode::RequestTimeout, detail).write(id.to_str().unwrap_or_default());
        let status = response.status().as_u16();
        self.gate.metrics.count_request(OTHER, status);
        tracing::debug!(request_id = id.to_str().unwrap_or_default(), route = OTHER, status, "answered");
        self.sign(response, id)
    }

    /// Adds the headers that every answer has.
    fn sign(&self, mut response: Response, id: HeaderValue) -> Response {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        // Forbid sniffing, because every answer declares its content type.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
        if let Some(hsts) = &self.hsts {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        response
    }
}

/// Catches a panic of the handler and answers for it.
async fn caught(mut handler: Pin<&mut impl Future<Output = Response>>) -> Response {
    poll_fn(|context| {
        // The state that a panic leaves half changed belongs to this request only.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(panicked()))
    })
    .await
}

/// The answer if a handler panicked.
fn panicked() -> Response {
    Problem::new(ProblemCode::InternalError, "the request could not be handled; this is a bug").into_response()
}

/// The client's own request id if it is fit for a log, else a new id.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fit = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_CHARS_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(fit).cloned().unwrap_or_else(new_id)
}

/// A new request id. It only names a request in logs, so it need not be hard to guess, and must not cost a system call.
fn new_id() -> HeaderValue {
    let millis = unix_millis(SystemTime::now()).unsigned_abs();
    let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random);
    HeaderValue::from_str(id.as_uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        .unwrap_or(HeaderValue::from_static("-"))
}

/// The pattern of the route, as a label. Never the path that a client sent, because clients can invent paths.
fn route(request: &Request) -> &'static str {
    match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some("/v1/events") => "/v1/events",
        Some("/v1/pixel.gif") => "/v1/pixel.gif",
        Some("/v1/schemas") => "/v1/schemas",
        Some("/v1/schemas/{event_name}") => "/v1/schemas/{event_name}",
        Some("/v1/schemas/{event_name}/{version}") => "/v1/schemas/{event_name}/{version}",
        Some("/healthz") => "/healthz",
        Some("/readyz") => "/readyz",
        Some("/errors") => "/errors",
        Some("/openapi.yaml") => "/openapi.yaml",
        Some("/metrics") => "/metrics",
        Some("/admin/dead-letters") => "/admin/dead-letters",
        Some("/admin/dead-letters/letters") => "/admin/dead-letters/letters",
        Some("/admin/dead-letters/replay") => "/admin/dead-letters/replay",
        Some("/admin/dead-letters/drop") => "/admin/dead-letters/drop",
        Some("/admin/erasures") => "/admin/erasures",
        Some("/admin/tail") => "/admin/tail",
        Some("/admin/events/{event_uuid}") => "/admin/events/{event_uuid}",
        Some("/admin/ledger") => "/admin/ledger",
        Some("/") => "/",
        Some("/console/{file}") => "/console/{file}",
        Some("/admin/console") => "/admin/console",
        Some("/admin/overview") => "/admin/overview",
        Some("/admin/fleet") => "/admin/fleet",
        Some("/admin/keys") => "/admin/keys",
        Some("/dev/events") => "/dev/events",
        Some("/dev/wait") => "/dev/wait",
        Some("/dev/reset") => "/dev/reset",
        Some("/dev/faults") => "/dev/faults",
        Some("/admin/schemas/{event_name}/diff") => "/admin/schemas/{event_name}/diff",
        // The only route whose path is configured.
        Some(_) => "extra_path",
        None => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let response = caught(pin!(async { panic!("a bug") })).await;
        std::panic::set_hook(quiet);
        assert_eq!(response.extensions().get::<Problem>().map(Problem::code), Some(ProblemCode::InternalError));
    }
}
