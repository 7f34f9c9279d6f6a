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
use crate::limits::{PREFLIGHT_AGE_SECONDS, PREFLIGHT_NAME_BYTES_MAX, PREFLIGHT_NAMES_MAX};

/// Response headers that scripts may read in addition to those that are always readable.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("ETag, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id");

/// Request headers that scripts may send: those that the gateway reads, and those that tracing in browsers adds to every request
/// of a page. A page whose tracing adds another header cannot send at all, so the list is long.
const ACCEPTED: &str = "Authorization, Content-Encoding, Content-Type, Prefer, X-Api-Key, X-Request-Id, \
    traceparent, tracestate, baggage, sentry-trace, b3, newrelic, uber-trace-id, elastic-apm-traceparent, request-id, \
    request-context, x-correlation-id, x-cloud-trace-context, x-amzn-trace-id, x-dtpc, x-dtreferer, x-requested-with";

/// How further headers of tracing begin, of which a page may ask for some. Not any header is allowed: a proxy in front of the
/// gateway may trust some, such as `X-Forwarded-For` or those of a login.
const TRACING_PREFIXES: [&str; 7] = ["x-b3-", "x-datadog-", "uberctx-", "x-instana-", "x-honeycomb-", "x-ot-", "ot-tracer-"];

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
    let accepted = accepted(&headers);
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, accepted),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_SECONDS.into()),
    ];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// The headers that a page may send, with those of tracing that this preflight asks for.
fn accepted(headers: &HeaderMap) -> HeaderValue {
    let asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    let names = asked.flat_map(|value| value.split(',')).map(str::trim).filter(|name| {
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let has_prefix = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        is_name && name.len() <= PREFLIGHT_NAME_BYTES_MAX && TRACING_PREFIXES.iter().any(|prefix| has_prefix(prefix))
    });
    let mut accepted = ACCEPTED.to_owned();
    for name in names.take(PREFLIGHT_NAMES_MAX) {
        accepted.push_str(", ");
        accepted.push_str(name);
    }
    HeaderValue::try_from(accepted).unwrap_or(HeaderValue::from_static(ACCEPTED))
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

#[cfg(test)]
mod tests {
    use super::{super::tests::headers, *};

    fn accepts(asked: &'static str, name: &str) -> bool {
        let accepted = accepted(&headers(&[("access-control-request-headers", asked)]));
        accepted.to_str().unwrap().split(", ").any(|accepted| accepted.eq_ignore_ascii_case(name))
    }

    #[test]
    fn headers_of_tracing_are_admitted_and_none_that_a_proxy_may_trust() {
        for name in ["content-type", "traceparent", "tracestate", "baggage", "sentry-trace", "b3", "newrelic", "x-request-id"] {
            assert!(accepts("", name), "{name}");
        }
        let asked = "X-B3-TraceId,x-datadog-trace-id , uberctx-a,x-forwarded-for,x-b3-a b,cookie, x-b3";
        for name in ["x-b3-traceid", "x-datadog-trace-id", "uberctx-a"] {
            assert!(accepts(asked, name) && !accepts("", name), "{name}");
        }
        for name in ["x-forwarded-for", "cookie", "x-b3", "x-b3-a b"] {
            assert!(!accepts(asked, name), "{name}");
        }
    }

    #[test]
    fn what_a_preflight_can_add_to_its_answer_is_bounded() {
        let many: &'static str = format!("x-b3-{},{}", "a".repeat(PREFLIGHT_NAME_BYTES_MAX), "x-b3-a,".repeat(1000)).leak();
        let accepted = accepted(&headers(&[("access-control-request-headers", many)]));
        assert_eq!(accepted.len(), ACCEPTED.len() + PREFLIGHT_NAMES_MAX * ", x-b3-a".len());
    }
}
