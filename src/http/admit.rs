//! Who may send a request: its key, and the web page that it comes from.

use std::{borrow::Cow, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, Uri, header};

use super::{
    Gate,
    problem::{Problem, ProblemCode},
};
use crate::auth::Source;

/// Where a request says which web page it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// In `Origin`, as browsers do with every POST.
    Origin,
    /// In `Origin` or `Referer`; the images of a mail, and of pages that hide themselves, have neither.
    Image,
}

/// The source of a request that may send.
pub(super) fn admit(gate: &Gate, headers: &HeaderMap, uri: &Uri, page: Page) -> Result<Arc<Source>, Problem> {
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down; another one will take it"));
    }
    let keys = gate.keys.load();
    let source = keys.authenticate(secret(headers, uri).as_deref())?;
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    match page {
        Page::Origin => source.check_origin(origin)?,
        Page::Image => match origin.or_else(|| referer_origin(headers)) {
            None => {}
            origin => source.check_origin(origin)?,
        },
    }
    Ok(source.clone())
}

/// The key: the first there is of `Authorization: Bearer`, `X-Api-Key` and `?key=`.
fn secret<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<Cow<'a, str>> {
    let text = |value: &'a HeaderValue| value.to_str().ok();
    let bearer = headers.get(header::AUTHORIZATION).and_then(text).and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    let header = || headers.get("x-api-key").and_then(text);
    let query = || {
        let parameter = uri.query()?.split('&').find_map(|parameter| parameter.strip_prefix("key="))?;
        percent_encoding::percent_decode_str(parameter).decode_utf8().ok()
    };
    bearer.or_else(header).map(Cow::Borrowed).or_else(query)
}

/// The origin in `Referer`: what stands before the path.
fn referer_origin(headers: &HeaderMap) -> Option<&[u8]> {
    let referer = headers.get(header::REFERER)?.as_bytes();
    let host = memchr::memmem::find(referer, b"://")? + 3;
    let end = referer[host..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    Some(&referer[..end.map_or(referer.len(), |end| host + end)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_key_is_found_in_each_place_and_the_first_place_counts() {
        let uri: Uri = "/v1/events?a=b&key=q%2Fx".parse().unwrap();
        let none: Uri = "/v1/events".parse().unwrap();
        assert_eq!(secret(&headers(&[("authorization", "bearer  t "), ("x-api-key", "h")]), &uri).as_deref(), Some("t"));
        assert_eq!(secret(&headers(&[("authorization", "Basic eA=="), ("x-api-key", "h")]), &uri).as_deref(), Some("h"));
        assert_eq!(secret(&headers(&[]), &uri).as_deref(), Some("q/x"));
        assert_eq!(secret(&headers(&[]), &none), None);
    }

    #[test]
    fn the_page_of_an_image_is_the_start_of_its_referer() {
        let origin = |referer| referer_origin(&headers(&[("referer", referer)])).map(<[u8]>::to_vec);
        for referer in ["https://menu.example", "https://menu.example/", "https://menu.example/a://b", "https://menu.example?x"] {
            assert_eq!(origin(referer).as_deref(), Some(&b"https://menu.example"[..]), "{referer}");
        }
        assert_eq!(origin("nonsense"), None);
        assert_eq!(referer_origin(&headers(&[])), None);
    }
}
