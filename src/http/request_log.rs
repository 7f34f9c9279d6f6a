//! The log of a request: a line of the access log, a span of a trace, or nothing.

use std::time::{Duration, SystemTime};

use axum::{
    body::HttpBody,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Version, header},
    response::Response,
};
use opentelemetry::Context;

use super::{Gate, key_in_path::without_key};
use crate::telemetry::{AccessLine, PROBE_ROUTES, RequestSpan};

/// The parts of a request that the log needs when the request is answered.
pub(super) struct RequestLog {
    started: SystemTime,
    method: &'static str,
    version: &'static str,
    parent: Option<Context>,
    /// For the access log only.
    path: String,
    user_agent: Option<HeaderValue>,
    request_bytes: Option<u64>,
}

impl RequestLog {
    /// `None` if the request is neither logged nor traced.
    pub(super) fn of<B>(gate: &Gate, request: &Request<B>, route: &str) -> Option<Self> {
        let parent = gate.traces.parent(request.headers());
        let is_logged = gate.access_log.is_some();
        if (parent.is_none() && !is_logged) || PROBE_ROUTES.contains(&route) {
            return None;
        }
        let (path, user_agent) = match is_logged {
            true => (without_key(request.uri().path()).into_owned(), request.headers().get(header::USER_AGENT).cloned()),
            false => (String::new(), None),
        };
        Some(Self {
            started: SystemTime::now(),
            method: method(request.method()),
            version: version(request.version()),
            parent,
            path,
            user_agent,
            request_bytes: announced_bytes(request.headers()),
        })
    }

    /// Writes the line and the span.
    pub(super) fn write(self, gate: &Gate, answered: &Answered<'_>) {
        let Answered { route, request_id, code, response, took } = *answered;
        let (method, status, started) = (self.method, response.status().as_u16(), self.started);
        let span = RequestSpan { method, route, request_id, status, started, took };
        let trace_id = gate.traces.request(self.parent.as_ref(), &span);
        if let Some(log) = &gate.access_log {
            log.write(AccessLine {
                started,
                took,
                method,
                route,
                path: &self.path,
                version: self.version,
                status,
                code,
                request_bytes: self.request_bytes,
                response_bytes: response.body().size_hint().exact(),
                user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
                request_id,
                trace_id: trace_id.map(|id| id.to_string()),
            });
        }
    }
}

/// How a request was answered.
pub(super) struct Answered<'a> {
    pub(super) route: &'static str,
    pub(super) request_id: &'a str,
    /// The code of the answer, if it is a problem.
    pub(super) code: Option<&'static str>,
    pub(super) response: &'a Response,
    pub(super) took: Duration,
}

fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The name of a known method. Never a name that a client invented.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
