//! Decides whether a request may send events: by its key, by the web page it comes from, and by the rate limits of the key and
//! of the address.

use std::{borrow::Cow, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, Uri, header, request::Parts};

use super::{
    Gate,
    client_address::{Peer, kept},
    problem::{Problem, ProblemCode},
};
use crate::{
    auth::Source,
    body_budget::AddressBodies,
    rate_limit::{Payers, Prefix},
};

/// Which headers name the web page that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// `Origin`, which browsers send with every POST.
    Origin,
    /// `Origin` or `Referer`. Images in mails, and in pages that hide their address, have neither.
    Image,
}

/// The sender of a request, and the buckets from which its events are taken.
pub(super) struct Authorized {
    pub(super) source: Arc<Source>,
    pub(super) payers: Payers,
    /// The memory that request bodies from this address hold.
    pub(super) address_bodies: Option<Arc<AddressBodies>>,
    /// The client address, in the form that the policy keeps.
    pub(super) client_address: Option<String>,
}

/// Authorizes a request, and takes it from the request buckets.
pub(super) fn authorize(gate: &Gate, request: &Parts, page: Page) -> Result<Authorized, Problem> {
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down; another one will take it"));
    }
    if gate.disk_headroom.is_data_missing() {
        return Err(Problem::new(ProblemCode::StorageUnavailable, "the folder of everything that is kept is gone"));
    }
    let policy = gate.policy.load();
    let peer = request.extensions.get::<Peer>();
    let from = peer.map(|peer| gate.proxies.client_address(peer, &request.headers));
    // A request that anyone can send counts against the limits of its address: see `rate_limit.rs`.
    let pay_by_address = || match policy.addresses.as_ref().zip(from) {
        None => Ok(None),
        Some((rates, from)) => {
            let from = Prefix::from(from);
            rates.take_request(from).map(|()| Some((rates.clone(), from)))
        }
    };
    let source = match policy.keys.authenticate(secret(&request.headers, &request.uri).as_deref()) {
        Ok(source) => source,
        Err(error) => {
            pay_by_address()?;
            return Err(error.into());
        }
    };
    let address = if source.is_public() { pay_by_address()? } else { None };
    source.check_certificate(peer.is_some_and(|peer| peer.has_certificate))?;
    let origin = request.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    match page {
        Page::Origin => source.check_origin(origin)?,
        Page::Image => match origin.or_else(|| referer_origin(&request.headers)) {
            None => {}
            origin => source.check_origin(origin)?,
        },
    }
    source.rate.requests.take(1)?;
    let client_address = from.and_then(|from| kept(from, policy.client_address));
    let address_bodies = peer.zip(from).and_then(|(peer, from)| match from == peer.address {
        true => peer.bodies.clone(),
        false => Some(gate.bodies.address(from.into())),
    });
    let payers = Payers { key: source.rate.clone(), address };
    Ok(Authorized { source: source.clone(), payers, address_bodies, client_address })
}

/// The key: the first of `Authorization: Bearer`, `X-Api-Key` and `?key=`.
fn secret<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<Cow<'a, str>> {
    let text = |value: &'a HeaderValue| value.to_str().ok();
    let bearer = headers.get(header::AUTHORIZATION).and_then(text).and_then(|value| {
        let (scheme, secret) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case("Bearer ").then_some(secret.trim())
    });
    let header = || headers.get("x-api-key").and_then(text);
    let query = || {
        let parameter = uri.query()?.split('&').find_map(|parameter| parameter.strip_prefix("key="))?;
        percent_encoding::percent_decode_str(parameter).decode_utf8().ok()
    };
    bearer.or_else(header).map(Cow::Borrowed).or_else(query)
}

/// The origin in `Referer`: the part before the path.
fn referer_origin(headers: &HeaderMap) -> Option<&[u8]> {
    let referer = headers.get(header::REFERER)?.as_bytes();
    let host = memchr::memmem::find(referer, b"://")? + 3;
    let end = referer[host..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    Some(&referer[..end.map_or(referer.len(), |end| host + end)])
}

#[cfg(test)]
mod tests {
    use super::{super::tests::headers, *};

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
