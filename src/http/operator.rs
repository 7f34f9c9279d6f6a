//! Who may change something through the operators' listener, which has no keys: programs on the gateway's own machine.
//!
//! A browser there may be led by any page it shows. What it sends has an `Origin`, or, where the page has made its own name
//! point to this machine, a `Host` that is a name on the internet; neither is let in.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, request::Parts};

use super::{
    client_address::Peer,
    problem::{Problem, ProblemCode},
};

/// Lets a request in, or says why not.
pub(super) fn admit(request: &Parts) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(ProblemCode::OperatorsOnly, detail));
    if !request.extensions.get::<Peer>().is_some_and(|peer| peer.address.to_canonical().is_loopback()) {
        return refuse("this is answered on the gateway's own machine only, on its loopback interface");
    }
    if request.headers.contains_key(header::ORIGIN) {
        return refuse("this is not for web pages");
    }
    let authority = request.uri.authority().map(|authority| authority.host().to_owned());
    match authority.or_else(|| host(&request.headers)) {
        Some(host) if !is_local(&host) => {
            refuse("the Host of the request is no name of this machine: use localhost or 127.0.0.1")
        }
        _ => Ok(()),
    }
}

/// The host in `Host`, without its port.
fn host(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::HOST)?.to_str().unwrap_or("?.");
    let host = match value.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => value,
    };
    Some(host.to_owned())
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn admits(address: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/admin/dead-letters/drop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer { address: address.parse().unwrap(), has_certificate: false });
        admit(&parts).is_ok()
    }

    #[test]
    fn programs_of_this_machine_are_let_in_and_nobody_else_is() {
        for host in ["localhost", "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "LOCALHOST"] {
            assert!(admits("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(admits("::1", &[]) && admits("::ffff:127.0.0.1", &[]));
        for host in ["evil.example:9090", "evil.example", "localhost.evil.example", "10.0.0.1:9090", ""] {
            assert!(!admits("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!admits("10.0.0.7", &[("host", "localhost")]));
        assert!(!admits("127.0.0.1", &[("host", "localhost"), ("origin", "http://localhost:9090")]));
        assert!(!admits("127.0.0.1", &[("origin", "null")]));
    }
}
