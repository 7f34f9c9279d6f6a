//! Cross-origin access for browsers (the CORS protocol of the Fetch standard).
//!
//! A page may read the answer if any enabled key allows its origin. The request itself is checked against its own key, because
//! a preflight does not carry the key, and a page with the wrong key must be able to read that error. Beacons always send
//! credentials, so the answer names the origin, never `*`, and allows credentials. The gateway sets no cookies and reads none.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Gate,
    problem::{Problem, ProblemCode},
};
use crate::limits::PREFLIGHT_AGE_SECONDS;

/// Response headers that scripts may read in addition to those that are always readable.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("ETag, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id");

/// Request headers that scripts may send.
const ACCEPTED: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Encoding, Content-Type, Prefer, X-Api-Key, X-Request-Id");

/// Methods that scripts may use. Simple methods need no permission.
const METHODS: HeaderValue = HeaderValue::from_static("POST");

const YES: HeaderValue = HeaderValue::from_static("true");

/// Answers `OPTIONS`: a browser asks whether a page may send a request that is not simple (JSON, a key in a header).
pub(super) async fn preflight(State(gate): State<Arc<Gate>>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    if !gate.policy.load().keys.allow_origin(origin.as_bytes()) {
        return Err(Problem::new(ProblemCode::OriginNotAllowed, "no key may be used by web pages of this Origin"));
    }
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_SECONDS.into()),
    ];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Lets the page at `origin` read an answer, if allowed. `Vary` is set even if the request has no `Origin`, because a cache
/// could otherwise give this answer to a page, which then could not read it.
pub(super) fn let_read(gate: &Gate, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin
        && gate.policy.load().keys.allow_origin(origin.as_bytes())
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
