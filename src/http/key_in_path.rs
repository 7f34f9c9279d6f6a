//! `/k/<key>/…` before any path of the listener for events: the key of clients that can be given a base URL and nothing else.
//!
//! The prefix is taken off before the request is routed. So no route, log line, span or metric ever sees it.

use std::borrow::Cow;

use axum::http::{Request, Uri, uri::PathAndQuery};
use percent_encoding::percent_decode_str;

/// What the path begins with.
const PREFIX: &str = "/k/";

/// What the access log shows in the place of a key and all that follows.
const HIDDEN: &str = "***";

/// The key that stood in the path of a request. Without `Debug`, so that nobody prints it.
#[derive(Clone)]
pub(super) struct KeyInPath(String);

impl KeyInPath {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes `/k/<key>` off the path of a request, and keeps the key for `authorize.rs`. Whether there was one.
pub(super) fn take<B>(request: &mut Request<B>) -> bool {
    let Some(rest) = request.uri().path().strip_prefix(PREFIX) else { return false };
    let (key, path) = rest.split_once('/').unwrap_or((rest, ""));
    // A key that is not UTF-8 is nobody's.
    let key = percent_decode_str(key).decode_utf8().ok().map(Cow::into_owned);
    // A base URL that ends in a slash, joined with a path that begins with one, has two.
    let path = path.trim_start_matches('/');
    let target = match request.uri().query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    *request.uri_mut() = with_target(request.uri(), target);
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        request.extensions_mut().insert(KeyInPath(key));
    }
    true
}

fn with_target(uri: &Uri, target: String) -> Uri {
    let mut parts = uri.clone().into_parts();
    // A part of a target that was valid is valid. If not, there is nothing at `/`, and the key is gone all the same.
    parts.path_and_query = PathAndQuery::try_from(target).ok().or(Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

/// A path for the access log: cut after a part `k`, in any spelling, because a key follows. Such a path is left over where the
/// prefix does not count: at another place of the path, in capitals, or on the listener for operators.
pub(super) fn without_key(path: &str) -> Cow<'_, str> {
    let Ok(plain) = percent_decode_str(path).decode_utf8() else {
        // The place of a part is not known.
        return if path.contains(['k', 'K']) { HIDDEN.into() } else { path.into() };
    };
    let bytes = plain.as_bytes();
    let is_part = |at: usize| {
        let before = at == 0 || matches!(bytes[at - 1], b'/' | b'\\');
        before && bytes[at].eq_ignore_ascii_case(&b'k') && matches!(bytes.get(at + 1), Some(b'/' | b'\\' | b'%'))
    };
    match (0..bytes.len()).find(|at| is_part(*at)) {
        Some(at) => format!("{}k/{HIDDEN}", &plain[..at]).into(),
        None => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(uri: &str) -> (String, Option<String>) {
        let mut request = Request::get(uri).body(()).unwrap();
        let was_there = take(&mut request);
        let key = request.extensions().get::<KeyInPath>().map(|key| key.0.clone());
        assert!(was_there || key.is_none());
        (request.uri().to_string(), key)
    }

    #[test]
    fn the_prefix_and_its_key_are_taken_off_and_the_rest_stays() {
        for (uri, rest, key) in [
            ("/k/s3cret/v1/events", "/v1/events", Some("s3cret")),
            ("/k/a%2Fb%20%C3%A9/v1/pixel.gif?e=e30&k=/k/x", "/v1/pixel.gif?e=e30&k=/k/x", Some("a/b é")),
            ("/k/s3cret//v1/events", "/v1/events", Some("s3cret")),
            ("/k/s3cret", "/", Some("s3cret")),
            ("/k/s3cret/", "/", Some("s3cret")),
            ("/k/s3cret?a=b", "/?a=b", Some("s3cret")),
            ("/k//v1/events", "/v1/events", None),
            ("/k/%ff/v1/events", "/v1/events", None),
            ("https://gate.example:8443/k/s3cret/healthz", "https://gate.example:8443/healthz", Some("s3cret")),
        ] {
            assert_eq!(taken(uri), (rest.to_owned(), key.map(str::to_owned)), "{uri}");
        }
        for uri in ["/k", "/v1/events", "/K/s3cret/v1/events", "/v1/k/s3cret", "/keys/x", "*"] {
            assert_eq!(taken(uri), (uri.to_owned(), None));
        }
    }

    #[test]
    fn no_spelling_of_the_prefix_shows_its_key() {
        for path in [
            "/k/s3cret/v1/events",
            "/K/s3cret",
            "/%6b/s3cret",
            "/k%2Fs3cret%2Fv1",
            "/k%2fs3cret",
            "/k%252Fs3cret",
            "/api//k/s3cret",
            "k/s3cret",
            "/%ff/k/s3cret",
            "\\k\\s3cret",
        ] {
            let shown = without_key(path);
            assert!(!shown.contains("s3cret") && shown.ends_with(HIDDEN), "{path}: {shown}");
        }
        assert_eq!(without_key("/api/k/s3cret"), "/api/k/***");
        for path in ["/v1/events", "/k", "/kitchen/1", "/book/1", "/%ff", "/v1/schemas/a%0d%0ab", "*"] {
            assert_eq!(without_key(path), path);
        }
    }
}
