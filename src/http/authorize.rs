//! Decides whether a request may send events: by its key, by the web page it comes from, and by the rate limits of the key and
//! of the address.

use std::{borrow::Cow, sync::Arc};

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    Gate,
    client_address::{Peer, kept},
    key_in_path::KeyInPath,
    problem::{Problem, ProblemCode},
};
use crate::{
    auth::Source,
    body_budget::AddressBodies,
    clock::coarse_unix_seconds,
    rate_limit::{Payers, Prefix},
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

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

/// Authorizes a request of `peer`, and takes it from the request buckets.
pub(super) fn authorize(gate: &Gate, request: &Parts, peer: Option<&Peer>, page: Page) -> Result<Authorized, Problem> {
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down; another one will take it"));
    }
    if gate.disk_headroom.is_data_missing() {
        return Err(Problem::new(ProblemCode::StorageUnavailable, "the folder of everything that is kept is gone"));
    }
    let policy = gate.policy.load();
    let from = peer.map(|peer| gate.proxies.client_address(peer, &request.headers));
    // A request that anyone can send counts against the limits of its address: see `rate_limit.rs`.
    let pay_by_address = || match policy.addresses.as_ref().zip(from) {
        None => Ok(None),
        Some((rates, from)) => {
            let from = Prefix::from(from);
            rates.take_request(from).map(|()| Some((rates.clone(), from)))
        }
    };
    let sent = secret(&request.headers, &request.extensions, &request.uri);
    // The wall clock alone decides what has expired: see `clock.rs`.
    let now = coarse_unix_seconds();
    let secret = match policy.keys.authenticate(sent.as_deref(), now) {
        Ok(secret) => secret,
        Err(denied) => {
            denied.count();
            pay_by_address()?;
            return Err(denied.into());
        }
    };
    let source = &secret.source;
    let check = || -> Result<_, Problem> {
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
        secret.usage.note(now);
        source.rate.requests.take(1)?;
        Ok(address)
    };
    let address = check().map_err(|problem: Problem| problem.of_key(&source.name))?;
    let client_address = from.and_then(|from| kept(from, policy.client_address));
    let address_bodies = peer.zip(from).and_then(|(peer, from)| match from == peer.address {
        true => peer.bodies.clone(),
        false => Some(gate.bodies.address(from.into())),
    });
    let payers = Payers { key: source.rate.clone(), address };
    Ok(Authorized { source: source.clone(), payers, address_bodies, client_address })
}

/// The key, from the first of these places that has one: `Authorization` (Bearer, or the user of Basic), `X-Api-Key`, `/k/<key>/`
/// before the path, and `?key=`. A header goes before the address, because a client that has both was given the header later.
fn secret<'a>(headers: &'a HeaderMap, extensions: &'a Extensions, uri: &'a Uri) -> Option<Cow<'a, str>> {
    let text = |value: &'a HeaderValue| value.to_str().ok();
    let authorization = || headers.get(header::AUTHORIZATION).and_then(text).and_then(in_authorization);
    let header = || headers.get(API_KEY).and_then(text).filter(|key| !key.is_empty()).map(Cow::Borrowed);
    let path = || extensions.get::<KeyInPath>().map(|key| Cow::Borrowed(key.as_str()));
    let query = || {
        let parameter = uri.query()?.split('&').find_map(|parameter| parameter.strip_prefix("key="))?;
        percent_encoding::percent_decode_str(parameter).decode_utf8().ok()
    };
    authorization().or_else(header).or_else(path).or_else(query)
}

/// The key in the value of `Authorization`. Basic (RFC 7617) has it as the user; the password is not read.
fn in_authorization(value: &str) -> Option<Cow<'_, str>> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
    let (scheme, credentials) = value.split_once(' ')?;
    let credentials = credentials.trim();
    let key = if scheme.eq_ignore_ascii_case("Bearer") {
        Cow::Borrowed(credentials)
    } else if scheme.eq_ignore_ascii_case("Basic") {
        let mut decoded = BASE64.decode(credentials).ok()?;
        let end = memchr::memchr(b':', &decoded)?;
        decoded.truncate(end);
        Cow::Owned(String::from_utf8(decoded).ok()?)
    } else {
        return None;
    };
    Some(key).filter(|key| !key.is_empty())
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

    fn found(pairs: &[(&'static str, &'static str)], uri: &str) -> Option<String> {
        let mut request = axum::http::Request::post(uri).body(()).unwrap();
        super::super::key_in_path::take(&mut request);
        secret(&headers(pairs), request.extensions(), request.uri()).map(Cow::into_owned)
    }

    #[test]
    fn the_key_is_found_in_each_place_and_the_first_place_counts() {
        let path_and_query = "/k/p%2Fx/v1/events?a=b&key=q%2Fx";
        // `u:` and `u:p:p`, with padding and without.
        for basic in ["Basic dTo=", "basic dTo", "BASIC  dTpwOnA= "] {
            assert_eq!(found(&[("authorization", basic), ("x-api-key", "h")], path_and_query).as_deref(), Some("u"), "{basic}");
        }
        for bearer in ["bearer  t ", "Bearer t"] {
            assert_eq!(found(&[("authorization", bearer), ("x-api-key", "h")], path_and_query).as_deref(), Some("t"));
        }
        assert_eq!(found(&[("x-api-key", "h")], path_and_query).as_deref(), Some("h"));
        assert_eq!(found(&[], path_and_query).as_deref(), Some("p/x"));
        assert_eq!(found(&[], "/v1/events?a=b&key=q%2Fx").as_deref(), Some("q/x"));
        assert_eq!(found(&[], "/v1/events"), None);
    }

    #[test]
    fn a_place_without_a_key_is_passed_over() {
        // Another scheme, no base64, no UTF-8, no colon, no user, nothing.
        for value in ["Digest eDo=", "Basic x", "Basic /zo=", "Basic dQ==", "Basic OnA=", "Basic ", "Bearer ", "Bearer", ""] {
            assert_eq!(found(&[("authorization", value), ("x-api-key", "h")], "/v1/events").as_deref(), Some("h"), "{value:?}");
            assert_eq!(found(&[("authorization", value)], "/v1/events"), None, "{value:?}");
        }
        assert_eq!(found(&[("x-api-key", "")], "/k//v1/events?key=q").as_deref(), Some("q"));
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
