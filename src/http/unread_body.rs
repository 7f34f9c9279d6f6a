//! Reads the rest of a request body that the handler did not read: for an unknown path, an unknown method, or a `GET` with a
//! body.
//!
//! Over HTTP/2, dropping a body resets the stream, and some clients (curl 7.88) then lose the answer. Over HTTP/1 the
//! connection is closed, and the client may see that before the answer. So the rest is read, see [`body::discard`].

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::header,
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::body;

type Left = Arc<Mutex<Option<Body>>>;

/// A body that is handed back when it is dropped.
struct Lent {
    body: Body,
    left: Left,
}

/// Answers with `handler`, and reads the rest of the request body.
pub(super) async fn read_to_its_end<F: Future<Output = Response>>(
    request: Request,
    handler: impl FnOnce(Request) -> F,
) -> Response {
    // Do not read the body of a client that waits for `100 Continue`, because reading tells the client to send.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return handler(request).await;
    }
    let version = request.version();
    let left = Left::default();
    let response = handler(request.map(|body| Body::new(Lent { body, left: left.clone() }))).await;
    let unread = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(unread) = unread {
        body::discard(unread, version).await;
    }
    response
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
