//! The rate limit of requests that no key pays for: schemas, preflights, unknown paths and unknown methods.
//!
//! Anyone can send these requests. So each of them is taken from the request bucket of its client address (see `rate_limit.rs`)
//! before any work is done. The handlers of events and of pixels do this themselves (see `authorize.rs`), because a valid key
//! changes who pays.
//!
//! `/healthz` and `/readyz` are taken from the same bucket but never refused. If they were refused because of other traffic
//! from the same address (such as a node that translates addresses), a load balancer would take the gateway out, or an
//! orchestrator would restart it. A refusal would also cost as much as the answer. Probes that the machine itself or a trusted
//! proxy sends on its own behalf are not counted, because they must not use up the bucket of others.

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap, Method},
};

use super::{Gate, client_address::Peer, problem::Problem};
use crate::rate_limit::{Prefix, RateExceeded};

/// Takes a request to `route` from the bucket of its address, unless its handler does so.
///
/// # Errors
/// The bucket is empty.
pub(super) fn pay(gate: &Gate, request: &Request, route: &str) -> Result<(), Problem> {
    let (method, headers, extensions) = (request.method(), request.headers(), request.extensions());
    if is_paid_for_by_its_handler(route, method) {
        return Ok(());
    }
    if !is_probe(route, method) {
        return Ok(take(gate, headers, extensions)?);
    }
    if !is_near(gate, headers, extensions) {
        // A probe is answered even if the bucket is empty.
        let _ = take(gate, headers, extensions);
    }
    Ok(())
}

/// Takes a request from the bucket of its address.
///
/// # Errors
/// [`RateExceeded`]
pub(super) fn take(gate: &Gate, headers: &HeaderMap, extensions: &Extensions) -> Result<(), RateExceeded> {
    match (&gate.policy.load().addresses, extensions.get::<Peer>()) {
        (Some(rates), Some(peer)) => rates.take_request(Prefix::from(gate.proxies.client_address(peer, headers))),
        _ => Ok(()),
    }
}

/// Whether the handler takes the request from a bucket: a key may pay for events, and a pixel is always answered with an image.
fn is_paid_for_by_its_handler(route: &str, method: &Method) -> bool {
    let is_pixel = method == Method::GET || method == Method::HEAD;
    match route {
        "/v1/events" => method == Method::POST,
        "/v1/pixel.gif" => is_pixel,
        "extra_path" => method == Method::POST || is_pixel,
        _ => false,
    }
}

fn is_probe(route: &str, method: &Method) -> bool {
    matches!(route, "/healthz" | "/readyz") && (method == Method::GET || method == Method::HEAD)
}

/// Whether the machine itself or a trusted proxy made the request, and does not forward it for a client.
fn is_near(gate: &Gate, headers: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<Peer>().is_some_and(|peer| {
        let is_near = peer.address.to_canonical().is_loopback() || gate.proxies.trust(peer.address);
        is_near && !peer.is_unnamed && gate.proxies.client_address(peer, headers) == peer.address
    })
}
