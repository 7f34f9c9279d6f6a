//! `GET /admin/tail`: live events as server-sent events, for `lakegate tail`.
//!
//! | event | data |
//! |---|---|
//! | `event` | an event with its outcome |
//! | `sampled` | `shown` of `matched` events of the last `milliseconds`: there were more than the rate |
//! | `missed` | `events` of the last `milliseconds` that are not shown, because the reader was slow |
//! | `end` | the gateway stops |
//!
//! Each is one line of JSON. A comment comes every few seconds if nothing else does.

use std::{
    convert::Infallible,
    fmt::Write,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, Version, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::Frame;

use super::{
    Gate,
    endless::Endless,
    operator,
    problem::{Problem, ProblemCode},
    query::parameters,
};
use crate::{
    ingest::Ingest,
    limits::{OPERATOR_RETRY_AFTER, WATCH_HEARTBEAT, WATCHERS_MAX},
    live_events::{Question, Seen, Shown, Tail},
};

/// Shows live events until the client goes or the gateway stops.
pub(super) async fn get(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    let wrong = |detail: String| Problem::new(ProblemCode::InvalidQuestion, detail);
    let parameters = parameters(&parts).map_err(|detail| wrong(detail.to_owned()))?;
    let question = Question::parse(parameters).map_err(|error| wrong(error.to_string()))?;
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down"));
    }
    let mut headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    if parts.version != Version::HTTP_2 {
        headers.push((header::CONNECTION, HeaderValue::from_static("close")));
    }
    let headers: axum::http::HeaderMap = headers.into_iter().collect();
    if parts.method == Method::HEAD {
        return Ok(headers.into_response());
    }
    let Some(tail) = gate.ingest.live_events.watch(question) else {
        let detail = format!("{WATCHERS_MAX} others watch already");
        return Err(Problem::new(ProblemCode::Busy, detail).retry_after(OPERATOR_RETRY_AFTER));
    };
    if let Some(endless) = parts.extensions.get::<Endless>() {
        endless.set();
    }
    Ok((headers, Body::new(EventStream::of(tail, gate.ingest.clone()))).into_response())
}

/// The next piece, and who makes the one after it; `None` at the end.
type Next = Pin<Box<dyn Future<Output = Option<(String, Watch)>> + Send>>;

/// The body of the answer: a piece is made when the connection has room for it.
struct EventStream {
    next: Next,
}

/// A watcher, and when it was last sent anything.
struct Watch {
    tail: Tail,
    ingest: Arc<Ingest>,
    sent: Instant,
}

impl EventStream {
    fn of(tail: Tail, ingest: Arc<Ingest>) -> Self {
        let watch = Watch { tail, ingest, sent: Instant::now() };
        // So that the client knows at once that it watches.
        Self { next: Box::pin(async { Some((": watching\n\n".to_owned(), watch)) }) }
    }
}

impl hyper::body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((piece, watch)) = ready!(self.next.as_mut().poll(context)) else {
            self.next = Box::pin(async { None });
            return Poll::Ready(None);
        };
        self.next = Box::pin(next(watch));
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

/// Waits until there is something to send.
async fn next(mut watch: Watch) -> Option<(String, Watch)> {
    loop {
        let seen = watch.tail.next().await?;
        let mut piece = piece(&seen, |event| watch.tail.line(event, &|name, named| watch.ingest.version(name, named)));
        if watch.tail.is_over() {
            piece.push_str("event: end\ndata: {\"reason\":\"stopping\"}\n\n");
        }
        if piece.is_empty() && watch.sent.elapsed() >= WATCH_HEARTBEAT {
            piece.push_str(": alive\n\n");
        }
        if !piece.is_empty() {
            watch.sent = Instant::now();
            return Some((piece, watch));
        }
    }
}

/// What was seen in a tick, as text. No line of an event has an end of line in it.
fn piece(seen: &Seen, line: impl Fn(&Shown) -> String) -> String {
    let mut piece = String::new();
    for event in &seen.events {
        let line = line(event);
        debug_assert!(!line.contains(['\r', '\n']));
        piece.extend(["event: event\ndata: ", &line, "\n\n"]);
    }
    let (shown, matched, millis) = (seen.events.len() as u64, seen.matched, seen.took.as_millis());
    if matched > shown {
        let _ = match seen.is_late {
            false => {
                writeln!(piece, "event: sampled\ndata: {{\"shown\":{shown},\"matched\":{matched},\"milliseconds\":{millis}}}\n")
            }
            true => writeln!(piece, "event: missed\ndata: {{\"events\":{},\"milliseconds\":{millis}}}\n", matched - shown),
        };
    }
    piece
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tick_tells_what_is_left_out_and_why() {
        let piece = |matched, is_late| {
            let seen = Seen { events: Vec::new(), matched, took: Duration::from_millis(200), is_late };
            piece(&seen, |_| String::new())
        };
        assert_eq!((piece(0, false), piece(0, true)), (String::new(), String::new()));
        assert_eq!(piece(9, false), "event: sampled\ndata: {\"shown\":0,\"matched\":9,\"milliseconds\":200}\n\n");
        assert_eq!(piece(9, true), "event: missed\ndata: {\"events\":9,\"milliseconds\":200}\n\n");
    }
}
