//! Answers that a client may keep: with an `ETag`, and 304 for a client that has the current content.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use crate::limits::SCHEMA_CACHE_SECONDS;

/// Whether a cache may reuse an answer without revalidation.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    /// The answer never changes.
    ForGood,
    /// The answer may have changed: revalidate with the `ETag`.
    UntilAsked,
}

/// Answers with `body`, or with 304 if the client has it already.
pub(super) fn answer(headers: &HeaderMap, content_type: &'static str, kept: Kept, etag: &str, body: Bytes) -> Response {
    let cache = match kept {
        Kept::ForGood => format!("public, max-age={SCHEMA_CACHE_SECONDS}, immutable"),
        Kept::UntilAsked => "public, no-cache".to_owned(),
    };
    let mut response = if has_already(headers, etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
    };
    for (name, value) in [(header::ETAG, etag.to_owned()), (header::CACHE_CONTROL, cache)] {
        response.headers_mut().extend(HeaderValue::try_from(value).map(|value| (name, value)));
    }
    response
}

/// Whether `If-None-Match` matches the current `etag` (RFC 9110, 13.1.2: the weak comparison).
fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_names_what_it_has_is_not_sent_it_again() {
        let named = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (header::IF_NONE_MATCH, HeaderValue::from_static(value))).collect();
            has_already(&headers, "\"abc\"")
        };
        assert!(named(&["\"abc\""]) && named(&["W/\"abc\""]) && named(&["*"]));
        assert!(named(&["\"x\", \"abc\""]) && named(&["\"x\"", "W/\"abc\""]));
        assert!(!named(&[]) && !named(&["\"x\""]) && !named(&["abc"]) && !named(&["\"abc"]));
    }
}
