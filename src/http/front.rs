//! Where a request goes first: `POST /v1/events` straight to its handler, everything else to the router.
//!
//! Nearly all requests are of the one kind. On its way through the router each would be boxed and moved some twenty times,
//! a quarter of what a single event costs the processor.

use std::{convert::Infallible, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{around::Around, events};
use crate::body_budget::AddressBodies;

const EVENTS: &str = "/v1/events";

/// What a listener serves.
#[derive(Clone)]
pub struct Front {
    around: Around,
    router: Router,
}

impl Front {
    pub(super) fn new(around: Around, router: Router) -> Self {
        Self { around, router }
    }

    /// What the bodies from `address` hold, on the listener for events.
    pub(super) fn bodies_of(&self, address: IpAddr) -> Option<Arc<AddressBodies>> {
        self.around.is_for_events().then(|| self.around.gate.bodies.address(address.into()))
    }

    /// The answer to a request of which not even the head came in time.
    pub(super) fn head_timed_out(&self, after: Duration) -> Response {
        self.around.head_timed_out(after)
    }
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if self.around.is_for_events() && request.method() == Method::POST && request.uri().path() == EVENTS {
            let around = self.around.clone();
            return Box::pin(async move { Ok(post(&around, request.map(Body::new)).await) });
        }
        Box::pin(self.router.clone().oneshot(request))
    }
}

async fn post(around: &Around, request: Request) -> Response {
    let gate = around.gate.clone();
    around.handle(EVENTS, request, |request| async move { events::post(State(gate), request).await.into_response() }).await
}
