//! Sends `POST /v1/events` straight to its handler, and everything else to the router.
//!
//! Nearly all requests are `POST /v1/events`. The router boxes each request and moves it some twenty times, which is a quarter
//! of the CPU time of a request with one event. A key in the path (`/k/<key>/v1/events`) goes the same way.

use std::{convert::Infallible, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{Method, Request},
    response::{IntoResponse, Response},
};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{client_address::Peer, events, key_in_path, middleware::Middleware};
use crate::body_budget::AddressBodies;

const EVENTS: &str = "/v1/events";

/// An answer that is on its way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// What a listener serves.
#[derive(Clone)]
pub struct FastPath {
    middleware: Middleware,
    router: Router,
}

impl FastPath {
    pub(super) fn new(middleware: Middleware, router: Router) -> Self {
        Self { middleware, router }
    }

    /// The memory that request bodies from `address` hold; on the listener for events only.
    pub(super) fn bodies_of(&self, address: IpAddr) -> Option<Arc<AddressBodies>> {
        self.middleware.is_for_events().then(|| self.middleware.gate.bodies.address(address.into()))
    }

    /// Whether it serves operators.
    pub(super) fn is_for_operators(&self) -> bool {
        !self.middleware.is_for_events()
    }

    /// Answers a request from `peer`.
    pub(super) fn call(&self, mut request: Request<Incoming>, peer: &Peer) -> Answering {
        let is_post = |request: &Request<Incoming>| request.method() == Method::POST && request.uri().path() == EVENTS;
        let is_event =
            self.middleware.is_for_events() && (is_post(&request) || key_in_path::take(&mut request) && is_post(&request));
        // The router knows the faults that are asked of a rig.
        if is_event && self.middleware.gate.rig.is_none() {
            let (middleware, peer) = (self.middleware.clone(), peer.clone());
            return Box::pin(async move { Ok(post(&middleware, request, &peer).await) });
        }
        request.extensions_mut().insert(peer.clone());
        Box::pin(self.router.clone().oneshot(request))
    }

    /// The answer to a request whose head did not arrive in time.
    pub(super) fn head_timed_out(&self, after: Duration) -> Response {
        self.middleware.head_timed_out(after)
    }
}

async fn post(middleware: &Middleware, request: Request<Incoming>, peer: &Peer) -> Response {
    let gate = &middleware.gate;
    let answer = |request| async move { events::receive(gate, request, Some(peer)).await.into_response() };
    middleware.handle(EVENTS, request, answer).await
}
