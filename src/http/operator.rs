//! Who may use the listener for operators, which has no keys.
//!
//! Anyone who reaches the listener may read metrics and health. The console, and requests that show or change events, are answered
//! only on the gateway's own machine. Web pages of elsewhere get nothing: any page can make a browser near the gateway send
//! requests. Such a request has an `Origin`, or a `Sec-Fetch-Site` that says it comes from another site, or, if the page made
//! its own name resolve to this machine, a `Host` that is an internet name. So the gateway must be called by an address, by
//! `localhost`, by a name without a dot (of a container or of this network; internet names have dots), or by one of
//! `admin.hosts`.
//!
//! Two requests of browsers are let in. Those of the console, whose `Origin` is the very host and port that it calls. And a link of
//! another page to the console: the person sees a page that is the same for everybody, and it is in no frame of that page. Only the
//! console of `lakegate dev` may be in a frame, of a page of this machine: beside the application that is made there.
//!
//! The number of requests at one time that take time or memory is limited: see [`Turns`](super::Turns).

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{
    Gate,
    client_address::Peer,
    health,
    operator_turns::Turn,
    problem::{Problem, ProblemCode},
};

fn refuse(detail: &str) -> Result<(), Problem> {
    Err(Problem::new(ProblemCode::OperatorsOnly, detail))
}

/// Refuses requests that a web page may have sent. `hosts` are additional names; `*.example` matches names below `example`. `is_rig`
/// says that pages of this machine may have the console in a frame.
///
/// # Errors
/// [`ProblemCode::OperatorsOnly`]
pub(super) fn check(uri: &Uri, headers: &HeaderMap, hosts: &[String], is_rig: bool) -> Result<(), Problem> {
    let from_elsewhere = |value: &HeaderValue| !matches!(value.as_bytes(), b"none" | b"same-origin");
    let has_foreign_site =
        headers.get_all("sec-fetch-site").iter().any(from_elsewhere) && !opens_the_console(uri, headers, is_rig);
    if has_foreign_site || !headers.get_all(header::ORIGIN).iter().all(|origin| is_own(origin, uri, headers)) {
        return refuse("this is not for web pages of elsewhere");
    }
    match called(uri, headers) {
        Some(host) if !is_near(&host) && !hosts.iter().any(|pattern| is_like(&host, pattern)) => {
            refuse("the Host of the request is no name of this gateway: use its address, or name it in admin.hosts")
        }
        _ => Ok(()),
    }
}

/// Whether an `Origin` is the host and port that the request calls. This listener has no TLS, and no page of a default port differs
/// from its `Host`.
fn is_own(origin: &HeaderValue, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => headers.get(header::HOST).map_or(&[][..], HeaderValue::as_bytes),
    };
    !host.is_empty() && origin.as_bytes().strip_prefix(b"http://").is_some_and(|named| named.eq_ignore_ascii_case(host))
}

/// Whether a person follows a link to the console, or, of a rig, another page of this machine has it in a frame.
fn opens_the_console(uri: &Uri, headers: &HeaderMap, is_rig: bool) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let is_framed_here = || is_rig && is("sec-fetch-dest", "iframe") && is("sec-fetch-site", "same-site");
    uri.path() == "/" && is("sec-fetch-mode", "navigate") && (is("sec-fetch-dest", "document") || is_framed_here())
}

/// Whether a request that changes something may: a program may, and a page of the console if it is configured. Browsers say of
/// themselves that they are browsers, with each request that is not a mere `GET`.
///
/// # Errors
/// [`ProblemCode::ChangesNotAllowed`]
pub(super) fn check_change(gate: &Gate, headers: &HeaderMap) -> Result<(), Problem> {
    let is_of_browser =
        headers.contains_key(header::ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    if is_of_browser && !gate.console.allow_changes {
        let detail = "the console changes nothing unless admin.allow_changes is set; `lakegate dead-letters` may in any case";
        return Err(Problem::new(ProblemCode::ChangesNotAllowed, detail));
    }
    Ok(())
}

/// Authorizes a request for dead letters, which must come from this machine.
///
/// # Errors
/// [`ProblemCode::OperatorsOnly`]
pub(super) fn authorize(request: &Parts) -> Result<(), Problem> {
    if !request.extensions.get::<Peer>().is_some_and(|peer| peer.address.to_canonical().is_loopback()) {
        return refuse("this is answered on the gateway's own machine only, on its loopback interface");
    }
    match called(&request.uri, &request.headers) {
        Some(host) if !is_local(&host) => {
            refuse("the Host of the request is no name of this machine: use localhost or 127.0.0.1")
        }
        _ => Ok(()),
    }
}

/// The name by which the gateway is called, without a port: the authority of HTTP/2, or `Host`. HTTP/1.0 may omit `Host`, but
/// no browser speaks HTTP/1.0.
fn called(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(authority) = uri.authority() {
        return Some(authority.host().to_ascii_lowercase());
    }
    let value = headers.get(header::HOST)?.to_str().unwrap_or("?.");
    let host = match value.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => value,
    };
    Some(host.to_ascii_lowercase())
}

fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Whether only this machine, or its network, resolves the name.
fn is_near(host: &str) -> bool {
    let is_label =
        |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    address(host).is_some() || is_label(host) || host.strip_suffix(".localhost").is_some_and(is_label)
}

fn is_local(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
}

fn is_like(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('*') {
        // `end` begins with a dot here, and at least one character must precede it.
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == pattern,
    }
}

/// A response text that holds a turn until it is sent or dropped.
struct Sent {
    text: String,
    _turn: Turn,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// The text of `/metrics`, with gauges of now.
#[must_use]
pub fn exposition(gate: &Gate) -> String {
    gate.disk_headroom.refresh_gauges();
    health::refresh_gauges(gate);
    gate.metrics.exposition()
}

/// `GET /metrics`
pub(super) async fn metrics(State(gate): State<Arc<Gate>>) -> Result<Response, Problem> {
    let turn = gate.turns.scrape()?;
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = Bytes::from_owner(Sent { text: exposition(&gate), _turn: turn });
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post("/admin/dead-letters/drop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn admits(address: &str, headers: &[(&str, &str)]) -> bool {
        let mut parts = request(headers);
        parts.extensions.insert(Peer {
            address: address.parse().unwrap(),
            is_unnamed: false,
            bodies: None,
            has_certificate: false,
        });
        check(&parts.uri, &parts.headers, &["gate.example".into()], false).and_then(|()| authorize(&parts)).is_ok()
    }

    #[test]
    fn programs_of_this_machine_are_let_in_and_nobody_else_is() {
        for host in ["localhost", "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "LOCALHOST"] {
            assert!(admits("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(admits("::1", &[]) && admits("::ffff:127.0.0.1", &[]));
        for host in ["evil.example:9090", "evil.example", "localhost.evil.example", "10.0.0.1:9090", "gate.example", ""] {
            assert!(!admits("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!admits("10.0.0.7", &[("host", "localhost")]));
        assert!(!admits("127.0.0.1", &[("host", "localhost"), ("origin", "http://localhost:9090")]));
        assert!(!admits("127.0.0.1", &[("origin", "null")]));
    }

    #[test]
    fn of_web_pages_only_the_console_is_let_in_by_its_own_origin() {
        let from = |host: &'static str, origin: &'static str| admits("127.0.0.1", &[("host", host), ("origin", origin)]);
        for (host, origin) in [
            ("localhost:9090", "http://localhost:9090"),
            ("127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("[::1]:9090", "http://[::1]:9090"),
            ("LOCALHOST:9090", "http://localhost:9090"),
            ("localhost", "http://localhost"),
        ] {
            assert!(from(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("localhost:9090", "https://localhost:9090"),
            ("localhost:9090", "http://localhost:9091"),
            ("localhost:9090", "http://localhost"),
            ("localhost:9090", "http://127.0.0.1:9090"),
            ("localhost:9090", "http://localhost:9090.evil.example"),
            ("localhost:9090", "http://x@localhost:9090"),
            ("localhost:9090", "null"),
            ("localhost:9090", ""),
            // A page whose own name points here says the truth, and is refused for its name.
            ("evil.example:9090", "http://evil.example:9090"),
        ] {
            assert!(!from(host, origin), "{host} {origin}");
        }
        let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.example")];
        assert!(!admits("127.0.0.1", &two));
        assert!(!admits("127.0.0.1", &[("origin", "http://")]), "no Host, and no origin");
    }

    #[test]
    fn a_link_of_another_page_leads_to_the_console_and_to_nothing_else() {
        let followed = |path: &'static str, more: &[(&str, &str)]| {
            let headers = [&[("host", "localhost"), ("sec-fetch-site", "cross-site")], more].concat();
            check(&Uri::from_static(path), &request(&headers).headers, &[], false).is_ok()
        };
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(followed("/", &link));
        assert!(!followed("/admin/dead-letters", &link) && !followed("/console/main.js", &link));
        assert!(!followed("/", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]));
        assert!(!followed("/", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]));
        assert!(!followed("/", &[link[0], link[1], ("origin", "http://evil.example")]), "a form was sent");
    }

    #[test]
    fn only_a_rig_is_in_a_frame_and_only_of_a_page_of_this_machine() {
        let framed = |path: &'static str, site: &str, is_rig: bool| {
            let headers =
                [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            check(&Uri::from_static(path), &request(&headers).headers, &[], is_rig).is_ok()
        };
        assert!(framed("/", "same-site", true));
        assert!(!framed("/", "same-site", false), "a gateway");
        assert!(!framed("/", "cross-site", true), "a page of the internet");
        assert!(!framed("/metrics", "same-site", true));
    }

    #[test]
    fn the_gateway_is_called_by_its_addresses_by_near_names_and_by_those_that_are_configured() {
        let hosts = ["gate.example".to_owned(), "*.svc.cluster.local".to_owned()];
        let checked =
            |host: &str| check(&Uri::from_static("/metrics"), &request(&[("host", host)]).headers, &hosts, false).is_ok();
        for host in [
            "10.0.0.7:9090",
            "[fd00::7]:9090",
            "localhost",
            "a.localhost:9090",
            "lakegate:9090",
            "LakeGate_1",
            "gate.example:9090",
            "lakegate.prod.svc.cluster.local",
        ] {
            assert!(checked(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9090",
            "10.0.0.7.evil.example",
            "evil.example.",
            "localhost.",
            ".svc.cluster.local",
            "svc.cluster.local",
            "xgate.example",
            "[fd00::7",
            "a:b:c",
            "",
        ] {
            assert!(!checked(host), "{host}");
        }
        let uri = Uri::from_static("http://evil.example/metrics");
        assert!(check(&uri, &HeaderMap::new(), &hosts, false).is_err(), "HTTP/2 has no Host");
        assert!(check(&Uri::from_static("/metrics"), &HeaderMap::new(), &hosts, false).is_ok());
        let from = |site: &str| {
            check(
                &Uri::from_static("/metrics"),
                &request(&[("host", "localhost"), ("sec-fetch-site", site)]).headers,
                &hosts,
                false,
            )
        };
        assert!(from("none").is_ok() && from("same-origin").is_ok());
        assert!(from("cross-site").is_err() && from("same-site").is_err() && from("").is_err());
    }
}
