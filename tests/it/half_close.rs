//! Clients that close their own direction after a request, as `nc` and some HTTP libraries do: they get their answer. Those that
//! close it in the middle of a request hold nothing.

use std::time::Duration;

use fastrand::Rng;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    client::Wire,
    events,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

/// Shorter than any timeout of the gateway: what takes longer was held.
const AT_ONCE: Duration = Duration::from_secs(10);

/// How a client closes its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// Over plain HTTP: FIN.
    Plain,
    /// Over TLS, as the protocol says: `close_notify`, then FIN.
    Notified,
    /// Over TLS: FIN alone.
    Bare,
}

const ALL: [Close; 3] = [Close::Plain, Close::Notified, Close::Bare];

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A TLS client may see the end of the stream without `close_notify` as an error: the bytes before it are what counts.
    let _ = timeout(AT_ONCE, stream.read_to_end(&mut answer)).await.expect("the connection is not held");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), sent: &str) {
    stream.write_all(sent.as_bytes()).await.expect("it is open");
    stream.flush().await.expect("it is open");
}

/// The answers to `sent`, after which the client closes its direction.
async fn answers(gateway: &Gateway, close: Close, sent: &str) -> String {
    if close == Close::Plain {
        let mut stream = TcpStream::connect(gateway.events()).await.expect("it listens");
        send(&mut stream, sent).await;
        stream.shutdown().await.expect("it is open");
        return rest(&mut stream).await;
    }
    let mut stream = gateway.client().stream(Wire::H1).await.expect("it listens");
    send(&mut stream, sent).await;
    match close {
        Close::Notified => stream.shutdown().await.expect("it is open"),
        _ => stream.get_mut().0.shutdown().await.expect("it is open"),
    }
    rest(&mut stream).await
}

async fn start(folder: &tempfile::TempDir, close: Close) -> Gateway {
    let setup = Setup::new(folder.path().join("data"));
    if close == Close::Plain { setup.set("http.plaintext", true) } else { setup }.start().await
}

const HEAD: &str = "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: dev\r\n";

fn event() -> String {
    String::from_utf8(events::small(events::identity(&mut Rng::new()))).expect("text")
}

fn with_length() -> String {
    let event = event();
    format!("{HEAD}content-length: {}\r\n\r\n{event}", event.len())
}

fn chunked() -> String {
    let event = event();
    format!("{HEAD}transfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n0\r\n\r\n", event.len())
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_its_direction_after_its_requests_gets_all_answers() {
    for close in ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = start(&folder, close).await;
        for _ in 0..20 {
            for request in [with_length(), chunked()] {
                let answer = answers(&gateway, close, &request).await;
                assert_eq!(statuses(&answer), ["202"], "{close:?}: {answer}");
                assert!(answer.ends_with('}'), "{close:?}: {answer}");
            }
        }
        let three = [with_length(), chunked(), with_length()].concat();
        assert_eq!(statuses(&answers(&gateway, close, &three).await), ["202", "202", "202"], "{close:?}");
        let wrong = with_length().replace("x-api-key: dev", "x-api-key: bad");
        assert_eq!(statuses(&answers(&gateway, close, &wrong).await), ["401"], "{close:?}");
        let closed = Scrape::when("all are gone", &gateway, |scrape| scrape.value("connections") == 0).await;
        assert_eq!(closed.outcomes(), [43, 0, 0, 0], "{closed:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_long_comes_too() {
    for close in ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = start(&folder, close).await;
        let request = with_length().replace("x-api-key: dev\r\n", "x-api-key: dev\r\nprefer: durability=delivered\r\n");
        let answer = answers(&gateway, close, &request).await;
        assert!(answer.contains("preference-applied: durability=delivered\r\n"), "{close:?}: {answer}");
        assert_eq!(statuses(&answer), ["202"], "{close:?}: {answer}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_its_direction_in_the_middle_of_a_request_holds_nothing_and_stores_nothing() {
    for close in ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = start(&folder, close).await;
        let (length, chunks) = (with_length(), chunked());
        let cut = |request: &str, bytes: usize| request[..request.len() - bytes].to_owned();
        for sent in ["".to_owned(), "P".into(), HEAD.into(), cut(&length, 1), cut(&chunks, 1), cut(&chunks, 8)] {
            let answer = answers(&gateway, close, &sent).await;
            assert!(matches!(statuses(&answer)[..], [] | ["400"]), "{close:?} after {sent:?}: {answer}");
            // What was whole before it is answered.
            let answer = answers(&gateway, close, &format!("{}{sent}", with_length())).await;
            assert!(matches!(statuses(&answer)[..], ["202"] | ["202", "400"]), "{close:?} after {sent:?}: {answer}");
        }
        let closed = Scrape::when("all are gone", &gateway, |scrape| scrape.value("connections") == 0).await;
        assert_eq!(closed.outcomes(), [6, 0, 0, 0], "{closed:?}");
        gateway.stop().await;
    }
}
