//! Where a request goes first: `POST /v1/events` straight to its handler, everything else to the router.
//!
//! Nearly all requests are of the one kind. On its way through the router each would be boxed and moved some twenty times,
//! a quarter of what a single event costs the processor.

use std::{
    convert::Infallible,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{
    around::Around,
    events,
    problem::{Problem, ProblemCode},
};

const EVENTS: &str = "/v1/events";

/// What a listener serves.
#[derive(Clone)]
pub struct Front {
    /// Set where events are taken.
    events: Option<Around>,
    router: Router,
}

impl Front {
    pub(super) fn new(events: Option<Around>, router: Router) -> Self {
        Self { events, router }
    }
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let is_events = request.method() == Method::POST && request.uri().path() == EVENTS;
        match self.events.clone().filter(|_| is_events) {
            Some(around) => Box::pin(async move { Ok(post(&around, request.map(Body::new)).await) }),
            None => Box::pin(self.router.clone().oneshot(request)),
        }
    }
}

async fn post(around: &Around, request: Request) -> Response {
    let gate = around.gate.clone();
    around
        .handle(EVENTS, request, |request| caught(async move { events::post(State(gate), request).await.into_response() }))
        .await
}

/// Answers for a handler that panics.
async fn caught(handler: impl Future<Output = Response>) -> Response {
    let mut handler = pin!(handler);
    poll_fn(|context| {
        // What it left half done is its own request.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(panicked()))
    })
    .await
}

/// The answer where a handler panicked.
pub(super) fn panicked() -> Response {
    Problem::new(ProblemCode::InternalError, "the request could not be handled; this is a bug").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let response = caught(async { panic!("a bug") }).await;
        std::panic::set_hook(quiet);
        assert_eq!(response.extensions().get::<Problem>().map(Problem::code), Some(ProblemCode::InternalError));
    }
}
