//! What a browser is told of web pages from elsewhere (the Fetch standard's CORS protocol).
//!
//! A page may read the answer where any enabled key may be used from its origin. Which key it has is checked with the
//! request itself: a preflight does not say it, and a page that holds the wrong one should be able to read that.
//! Beacons always send credentials, so the origin is named and never `*`, and credentials are allowed; the gateway sets
//! no cookie and reads none.

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

/// Headers of an answer that scripts may read beside the few that they always may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("ETag, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id");

/// Headers that scripts may send.
const ACCEPTED: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Encoding, Content-Type, Prefer, X-Api-Key, X-Request-Id");

/// Methods that scripts may use; the simple ones need no leave.
const METHODS: HeaderValue = HeaderValue::from_static("POST");

const YES: HeaderValue = HeaderValue::from_static("true");

/// Answers `OPTIONS`: a browser asks whether a page may send what needs asking (JSON, a key in a header).
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

/// Lets the page at `origin` read an answer, where it may. Also an answer to a request without one says that it would be another
/// with one: else a cache between them gives it to a page, which then cannot read it.
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
