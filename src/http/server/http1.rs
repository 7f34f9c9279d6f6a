//! HTTP/1, and the answer to a client that does not finish the head of a request: hyper closes such a connection without an
//! answer. This costs nothing until then. hyper keeps the bytes that it has read of a head, and returns them with the stream.

use std::{convert::Infallible, io, pin::Pin, sync::Arc, time::SystemTime};

use axum::{extract::Request, response::Response};
use http_body_util::{BodyExt, Collected};
use hyper::{
    body::Incoming,
    header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    activity::{Activity, Timeouts},
    framing::{Strict, has_begun},
    linger,
    peeked_stream::PeekedStream,
    timeouts::{HeadTimer, WithTimeouts},
};
use crate::limits::{DRAIN_BODY_TIMEOUT, H1_BUFFER_BYTES_MAX};

/// Serves a connection to its end.
pub(super) async fn serve<S, V>(
    stream: PeekedStream<S>,
    service: V,
    (activity, times): (Arc<Activity>, Timeouts),
    mut stopping: watch::Receiver<bool>,
    head_timed_out: impl FnOnce() -> Response,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: 'static>,
{
    let mut builder = http1::Builder::new();
    let timer = HeadTimer { activity: activity.clone(), times };
    builder.timer(timer).header_read_timeout(times.idle).max_buf_size(H1_BUFFER_BYTES_MAX);
    // A client that closes its own direction after the request still gets the answer. The end of a head or a body that broke off
    // is noticed when it is read.
    builder.half_close(true);
    // Answers are small: head and body in one buffer cost less than a gathering write.
    builder.writev(false);
    let timed = WithTimeouts::new(Strict::new(stream), activity.clone(), times);
    let open = activity.clone();
    let service = service_fn(move |request| {
        open.open_only();
        service.call(request)
    });
    let mut connection = builder.serve_connection(TokioIo::new(timed), service);
    // How the connection ends is decided by the client, or known to the stream.
    let is_stopping = tokio::select! {
        _ = &mut connection => false,
        _ = stopping.wait_for(|stopping| *stopping) => true,
    };
    if is_stopping {
        // Finish the request in flight.
        Pin::new(&mut connection).graceful_shutdown();
        let _ = (&mut connection).await;
    }
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let timed = io.into_inner();
    let is_head_late = timed.is_head_late();
    let strict = timed.into_inner();
    // Nothing is served any more: this connection is among the first that are closed for another.
    activity.is_idle_from(Instant::now());
    if strict.is_refused() {
        let _: Result<io::Result<u64>, _> = timeout(DRAIN_BODY_TIMEOUT, end(strict.into_inner())).await;
    } else if is_head_late {
        Box::pin(time_is_up(strict.into_inner(), has_begun(&read_buf), head_timed_out)).await;
    } else if strict.is_in_body() {
        // The answer came before the end of the body, and hyper has closed this direction.
        let mut stream = strict.into_inner();
        let stop = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            sleep(DRAIN_BODY_TIMEOUT).await;
        };
        Box::pin(async move {
            tokio::select! {
                () = linger::discard(&mut stream) => {}
                () = stop => {}
            }
        })
        .await;
    }
}

/// Closes a connection that may have unread bytes. A plain close would make the system reset the connection, and the last
/// answer could be lost.
async fn end<S: AsyncRead + AsyncWrite + Unpin>(mut stream: PeekedStream<S>) -> io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(H1_BUFFER_BYTES_MAX as u64), &mut tokio::io::sink()).await
}

/// Closes a connection whose time for a head, or for being idle, is up. If a head has begun, the client gets an answer.
/// Otherwise there is none, because the client would take it for the answer to a request that it sends at this moment.
pub(super) async fn time_is_up<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: PeekedStream<S>,
    has_begun: bool,
    head_timed_out: impl FnOnce() -> Response,
) {
    let ending = async {
        if has_begun {
            stream.write_all(&written(head_timed_out()).await).await?;
        }
        end(stream).await
    };
    let _: Result<io::Result<u64>, _> = timeout(DRAIN_BODY_TIMEOUT, ending).await;
}

/// A final answer in wire format, because hyper writes no answer without a request.
async fn written(mut response: Response) -> Vec<u8> {
    let body = std::mem::take(response.body_mut()).collect().await.map(Collected::to_bytes).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_LENGTH, body.len().into());
    let now = Timestamp::try_from(SystemTime::now()).ok();
    let now = now.and_then(|now| DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok());
    headers.extend(now.and_then(|now| HeaderValue::try_from(now).ok()).map(|now| (DATE, now)));
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{body::Body, http::StatusCode};
    use tokio::io::DuplexStream;

    use super::*;

    const TIMES: Timeouts =
        Timeouts { idle: Duration::from_secs(75), head: Duration::from_secs(30), answer: Duration::from_secs(60) };

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// The client's end of a connection with a pipe of `pipe` bytes, on which answers have `answer` bytes.
    fn connect(pipe: usize, answer: usize) -> (DuplexStream, impl Future<Output = ()>) {
        connect_to(pipe, answer, false)
    }

    fn connect_to(pipe: usize, answer: usize, is_endless: bool) -> (DuplexStream, impl Future<Output = ()>) {
        let (client, server) = tokio::io::duplex(pipe);
        let activity = Activity::new();
        if is_endless {
            activity.endless().set();
        }
        let service = service_fn(move |_| async move { Ok(Response::new(Body::from("a".repeat(answer)))) });
        let serving = async move {
            let (_running, stopping) = watch::channel(false);
            let late = || {
                let mut late = Response::new(Body::from("late"));
                *late.status_mut() = StatusCode::REQUEST_TIMEOUT;
                late
            };
            serve(PeekedStream::new(server), service, (activity, TIMES), stopping, late).await;
        };
        (client, serving)
    }

    /// The complete answer to `sent`, and the seconds until the connection ended.
    async fn answered(sent: &str) -> (String, u64) {
        let (mut client, serving) = connect(1 << 16, 3);
        let started = Instant::now();
        let talking = async {
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            (answer, started.elapsed().as_secs())
        };
        tokio::join!(talking, serving).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_without_an_end_is_answered_and_the_connection_closed() {
        for sent in ["G", "GET / HTTP/1.1\r\nhost: x\r\n", "\r\n\r\nGET"] {
            let (answer, seconds) = answered(sent).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
            assert!(head.contains("\r\nconnection: close") && head.contains("\r\ncontent-length: 4"), "{answer}");
            assert!(head.contains("\r\ndate: ") && head.contains(" GMT"), "{answer}");
            assert_eq!((body, seconds), ("late", TIMES.head.as_secs()), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_no_request_has_begun_is_closed_without_a_word() {
        for sent in ["", "\r\n", REQUEST, &REQUEST.repeat(3), &format!("{REQUEST}\r\n")] {
            let (answer, seconds) = answered(sent).await;
            assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), sent.matches("GET").count(), "{answer}");
            assert!(!answer.contains("late"), "{answer}");
            assert_eq!(seconds, TIMES.idle.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_a_head_without_an_end_is_answered_before_it() {
        let (answer, _) = answered(&format!("{REQUEST}{REQUEST}GET /")).await;
        let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "200", "408"], "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_into_an_answer_whose_client_is_slow_to_read_it() {
        let (mut client, serving) = connect(1000, 5000);
        let talking = async {
            client.write_all(format!("{REQUEST}GET /").as_bytes()).await.unwrap();
            sleep(TIMES.head + TIMES.answer / 4).await;
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (answer, ()) = tokio::join!(talking, serving);
        let (first, late) = answer.split_once("HTTP/1.1 408").unwrap();
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.ends_with(&"a".repeat(5000)), "{answer}");
        assert!(late.ends_with("\r\n\r\nlate"), "{answer}");
    }

    /// The seconds until the connection ends, for a client that sends each text that many seconds after the one before.
    async fn ends_after(sent: &[(u64, &str)]) -> (u64, String) {
        let (client, serving) = connect(1 << 16, 3);
        let (mut reads, mut writes) = tokio::io::split(client);
        let started = Instant::now();
        let sending = async {
            for (after, bytes) in sent {
                sleep(Duration::from_secs(*after)).await;
                let _ = writes.write_all(bytes.as_bytes()).await;
            }
        };
        let reading = async {
            let mut answer = String::new();
            reads.read_to_string(&mut answer).await.unwrap();
            (started.elapsed().as_secs(), answer)
        };
        tokio::join!(sending, serving, reading).2
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_head_counts_from_its_first_byte_and_that_of_an_idle_connection_from_the_last_answer() {
        let (seconds, answer) = ends_after(&[(70, REQUEST)]).await;
        assert_eq!((seconds, answer.matches(" 200 OK").count()), (70 + 75, 1), "{answer}");
        let (seconds, answer) = ends_after(&[(70, "GET "), (29, &REQUEST[4..])]).await;
        assert_eq!((seconds, answer.matches(" 200 OK").count()), (99 + 75, 1), "{answer}");
        // Byte by byte, and after another request.
        let (seconds, answer) = ends_after(&[(70, "GET "), (20, "/ "), (5, "H"), (20, "T")]).await;
        assert_eq!((seconds, answer.matches(" 408 ").count()), (70 + 30, 1), "{answer}");
        let (seconds, answer) = ends_after(&[(1, REQUEST), (70, "GET "), (20, "/ "), (20, "H")]).await;
        assert_eq!((seconds, answer.matches(" 408 ").count()), (71 + 30, 1), "{answer}");
        // Two heads in turn, each in its time.
        let rest = &REQUEST[4..];
        let (seconds, _) = ends_after(&[(1, "GET "), (29, rest), (0, "GET "), (29, rest)]).await;
        assert_eq!(seconds, 59 + 75);
        // Empty lines keep nothing open.
        assert_eq!(ends_after(&[(50, "\r\n"), (20, "\r\n"), (20, "\r\n")]).await.0, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_read_within_its_time_or_given_up_if_it_has_an_end() {
        for (pause, is_endless, is_whole) in [(5, false, true), (10, false, false), (10, true, true), (61, true, false)] {
            let (mut client, serving) = connect_to(1000, 10_000, is_endless);
            let reading = async move {
                client.write_all(REQUEST.as_bytes()).await.unwrap();
                let (mut answer, started) = (Vec::new(), Instant::now());
                // The pauses are never long enough that one alone would end the connection.
                while answer.len() <= 10_000 {
                    sleep(Duration::from_secs(pause)).await;
                    let mut piece = [0; 1000];
                    match client.read(&mut piece).await.unwrap() {
                        0 => break,
                        length => answer.extend_from_slice(&piece[..length]),
                    }
                }
                (answer.len(), started.elapsed().as_secs())
            };
            let ((length, seconds), ()) = tokio::join!(reading, serving);
            assert_eq!(length > 10_000, is_whole, "{length} bytes in {seconds} s");
        }
    }
}
