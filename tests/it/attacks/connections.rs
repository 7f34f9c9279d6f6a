//! Clients that hold what others need: bodies that do not come to their end, connections on which nothing happens, answers that
//! are not read. Each attacker has an address of its own (127.0.0.2 and so on), and so has who sends honestly beside it.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{
    cannot_run, events,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

const PAGE: &str = "https://menu.example";

/// In plain HTTP/1, with a key for pages, which everyone can read, and one of a service.
fn setup(folder: &Path) -> Setup {
    let key = |name: &str, more: &str| {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
    };
    let menu = key("menu", &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]"));
    let config = folder.join("lakegate.toml");
    fs::write(&config, [menu, key("service", "")].concat()).expect("a file");
    Setup::new(folder.join("data")).config(config).set("http.plaintext", true)
}

/// A connection from `127.0.0.last`.
async fn connect(gateway: &Gateway, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("all of 127.0.0.0/8 is this machine");
    socket.connect(gateway.events()).await.expect("it listens")
}

fn event() -> Vec<u8> {
    events::small(events::identity(&mut Rng::new()))
}

fn head(key: &str, length: usize) -> String {
    format!("POST /v1/events HTTP/1.1\r\nhost: x\r\norigin: {PAGE}\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n")
}

/// The status and the body of the next answer.
async fn answer(stream: &mut TcpStream) -> (u16, Value) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if body.len() >= length.parse().expect("a number") {
                return (head[9..12].parse().expect("a status"), serde_json::from_str(body).expect("JSON"));
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.expect("an answer"), 0, "it ended in {text:?}");
    }
}

/// Sends an event on a connection of its own.
async fn send(gateway: &Gateway, last: u8, key: &str) -> (u16, Value) {
    let (mut stream, event) = (connect(gateway, last).await, event());
    stream.write_all(head(key, event.len()).as_bytes()).await.expect("it reads");
    stream.write_all(&event).await.expect("it reads");
    answer(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_end_use_up_the_share_of_who_sends_them_and_of_nobody_else() {
    const LENGTH: usize = 4 << 20;
    // One that is alone may hold half of the budget.
    const SHARE: usize = lakegate::limits::BODIES_IN_FLIGHT_BYTES_MAX / 2;
    const BODIES: usize = SHARE / LENGTH + 18;
    for (key, honest_key) in [("menu", "menu"), ("menu", "service"), ("service", "menu")] {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = setup(folder.path()).start().await;
        let mut stalled = Vec::new();
        for n in 0..BODIES {
            let mut stream = connect(&gateway, 2).await;
            let (head, body) = (head(key, LENGTH), vec![b' '; LENGTH - 100]);
            stalled.push(tokio::spawn(async move {
                stream.write_all(head.as_bytes()).await.expect("it reads");
                // A refused one is read to its end as well.
                stream.write_all(&body).await.expect("it reads");
                answer(&mut stream).await
            }));
            if n == 20 {
                Scrape::when("they hold much", &gateway, |scrape| scrape.value("bodies_in_flight_bytes") > 40 << 20).await;
            }
        }
        let held =
            Scrape::when("their share is used up", &gateway, |scrape| scrape.sum("requests", "status=\"429\"") >= 15).await;
        assert!(held.value("bodies_in_flight_bytes") <= SHARE as i64, "{held:?}");
        for _ in 0..20 {
            let (status, body) = send(&gateway, 3, honest_key).await;
            assert_eq!((status, &body["accepted"]), (202, &Value::from(1)), "{key} beside {honest_key}: {body}");
        }
        let mut refused = Vec::new();
        for mut stalled in stalled {
            // The others would wait for what is missing of them.
            match tokio::time::timeout(Duration::from_millis(100), &mut stalled).await {
                Ok(answer) => refused.push(answer.expect("it ran")),
                Err(_) => stalled.abort(),
            }
        }
        assert!(refused.len() >= 10, "{} of {BODIES} heard that they were refused", refused.len());
        for (status, problem) in refused {
            assert_eq!((status, &problem["code"], &problem["share"]), (429, &"body_share_used_up".into(), &"address".into()));
        }
        gateway.stop().await;
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// How many seconds pass until the connection ends, on which its client sends `bytes` every 200 ms; and what came on it.
async fn ends_after(mut stream: TcpStream, bytes: &[u8]) -> (f64, Vec<u8>) {
    let (started, mut answer) = (Instant::now(), Vec::new());
    loop {
        match tokio::time::timeout(Duration::from_millis(200), stream.read_buf(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => return (started.elapsed().as_secs_f64(), answer),
            Ok(Ok(_)) => {}
            Err(_) => {
                // It may be closed already: then the next read says so.
                let _ = stream.write_all(bytes).await;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it stays for ever: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_ends_after_the_idle_time_whatever_its_client_sends() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path()).set("http.idle_timeout_seconds", 3).set("http.header_timeout_seconds", 1);
    let gateway = setup.start().await;
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    let opened = async |bytes: &[u8]| {
        let mut stream = connect(&gateway, 2).await;
        stream.write_all(bytes).await.expect("it reads");
        stream
    };
    let (event, get) = (event(), "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    let post = [head("service", event.len()).as_bytes(), &event[..event.len() - 1]].concat();
    // A request over HTTP/2 whose body is never sent: GET and POST of https://x/v1/events, the key being a literal.
    let fields =
        [&[0x83, 0x87, 0x44, 10], b"/v1/events".as_slice(), &[0x41, 1, b'x', 0, 9], b"x-api-key", &[7], b"service"].concat();
    let half = [opening.clone(), frame(1, 4, 1, &fields)].concat();
    let (pings, nothing, fresh, lines, used, h1_head, h2_head, h2_open, h1_open) = tokio::join!(
        async { ends_after(opened(&opening).await, &frame(6, 0, 0, &[7; 8])).await },
        async { ends_after(opened(&opening).await, &[]).await },
        async { ends_after(opened(&[]).await, &[]).await },
        async { ends_after(opened(&[]).await, b"\r\n").await },
        async { ends_after(opened(get.as_bytes()).await, &[]).await },
        async { ends_after(opened(b"G").await, b"E").await },
        // Not even the frame of its head comes to an end.
        async { ends_after(opened(&[opening.clone(), frame(1, 4, 1, &[0; 99])[..30].to_vec()].concat()).await, b"a").await },
        async { ends_after(opened(&half).await, &frame(6, 0, 0, &[7; 8])).await },
        async { ends_after(opened(&post).await, &[]).await },
    );
    let within = |name: &str, (seconds, answer): &(f64, Vec<u8>), from: f64| {
        assert!((from - 0.1..from + 6.0).contains(seconds), "{name}: {seconds} s: {}", answer.escape_ascii());
    };
    for (name, ended) in [("pings", &pings), ("nothing", &nothing), ("fresh", &fresh), ("empty lines", &lines), ("used", &used)] {
        within(name, ended, 3.0);
    }
    assert!(pings.1.windows(4).any(|bytes| bytes == [8, 7, 0, 0]), "GOAWAY: {}", pings.1.escape_ascii());
    assert!(String::from_utf8_lossy(&used.1).starts_with("HTTP/1.1 200 "));
    assert!(fresh.1.is_empty() && lines.1.is_empty(), "closed without a word");
    within("half a head", &h1_head, 1.0);
    assert!(String::from_utf8_lossy(&h1_head.1).starts_with("HTTP/1.1 408 "), "{}", h1_head.1.escape_ascii());
    within("half a head over HTTP/2", &h2_head, 3.0);
    // A body has its own time; then the connection is idle.
    for (name, (seconds, _)) in [("a body over HTTP/2", &h2_open), ("a body over HTTP/1", &h1_open)] {
        assert!((20.0..35.0).contains(seconds), "{name}: {seconds} s");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_handshake_has_a_time_in_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).set("http.plaintext", false).start().await;
    let mut stream = connect(&gateway, 2).await;
    // A record of a handshake that announces 200 bytes, which come one by one.
    stream.write_all(&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]).await.expect("it reads");
    let (seconds, _) = ends_after(stream, &[0]).await;
    assert!((9.5..15.0).contains(&seconds), "{seconds} s");
    Scrape::when("it is counted", &gateway, |scrape| scrape.value("tls_handshake_failures") == 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_its_client_reads_too_slowly_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).set("http.answer_timeout_seconds", 3).start().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    let mut stream = socket.connect(gateway.events()).await.expect("it listens");
    // Each answer names ten thousand faults; so many are more than the kernel holds for the two.
    let body = "1\n".repeat(10_000);
    let request = head("service", body.len()).replace("content-length", "content-type: application/x-ndjson\r\ncontent-length");
    let (mut reads, mut writes) = stream.split();
    let started = Instant::now();
    let writing = async {
        for _ in 0..40 {
            if writes.write_all([request.as_bytes(), body.as_bytes()].concat().as_slice()).await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        // Some bytes each half second: never so long without any that this alone would end it.
        let mut piece = [0; 500];
        let mut read = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let connections = Scrape::of(&gateway).await.value("connections");
            if connections == 0 {
                return read;
            }
            assert!(started.elapsed() < Duration::from_secs(15), "it is held for ever");
            read += reads.read(&mut piece).await.unwrap_or(0);
        }
    };
    let (read, ()) = tokio::join!(reading, writing);
    assert!(read < 1 << 20, "{read} bytes");
    assert!(started.elapsed() > Duration::from_secs(3));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_who_has_most_connections_loses_the_longest_idle_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).set("http.connections_max", 24).start().await;
    // The honest one came first, and is idle for the longest.
    let mut honest = connect(&gateway, 3).await;
    let mut crowd = Vec::new();
    for n in 0..60 {
        let mut stream = connect(&gateway, 2).await;
        // Some say nothing, some do not come to the end of a head, some of a body.
        let said = [String::new(), "POST /v1/ev".into(), head("service", 100)];
        stream.write_all(said[n % 3].as_bytes()).await.expect("it reads");
        crowd.push(stream);
    }
    Scrape::when("some had to go", &gateway, |scrape| scrape.value("crowded_out_connections") >= 37).await;
    for last in 4..30 {
        let answered = tokio::time::timeout(Duration::from_secs(5), send(&gateway, last, "service")).await.expect("in time");
        assert_eq!(answered.0, 202, "{answered:?}");
    }
    let event = event();
    honest.write_all(&[head("service", event.len()).as_bytes(), &event].concat()).await.expect("it was not closed");
    assert_eq!(answer(&mut honest).await.0, 202);
    drop(crowd);
    gateway.stop().await;
}

/// What curl says of a request, as `status code-of-the-answer`, over HTTP/2.
async fn curl(gateway: &Gateway, arguments: &[&str], path: &str) -> String {
    let url = format!("https://localhost:{}{path}", gateway.events().port());
    let mut command = tokio::process::Command::new("curl");
    command.args(["-sS", "-k", "--http2", "--max-time", "20", "-w", "\n%{http_version} %{http_code}"]).args(arguments).arg(&url);
    let output = command.output().await.expect("curl is there");
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    let code = serde_json::from_str::<Value>(body).ok().and_then(|problem| Some(problem["code"].as_str()?.to_owned()));
    if output.status.success() { format!("{status} {}", code.unwrap_or_default()) } else { error.into_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_curl_over_http_2_while_it_still_sends() {
    if tokio::process::Command::new("curl").arg("--version").output().await.is_err() {
        return cannot_run("what curl makes of refusals", "there is no curl");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path()).set("http.plaintext", false);
    // All of them come from one address, and some without a good key.
    let setup = setup.set("rate_limit.address_requests_per_second", 9_999).set("rate_limit.address_requests_burst", 9_999);
    let gateway = setup.start().await;
    let body = |name: &str, bytes: usize| {
        let file = folder.path().join(name);
        fs::write(&file, vec![b' '; bytes]).expect("a file");
        format!("@{}", file.display())
    };
    let (some, much) = (body("some", 100_000), body("much", 5 << 20));
    let send = |key: &str, body: &str, content_type: &str| {
        let key = format!("x-api-key: {key}");
        ["-H", &key, "-H", content_type, "--data-binary", body].map(str::to_owned).to_vec()
    };
    let json = "content-type: application/json";
    let with = |more: &[&str]| [send("service", &some, json), more.iter().map(|word| (*word).to_owned()).collect()].concat();
    for (path, arguments, rounds, expected) in [
        ("/v1/event", send("service", &some, json), 30, "2 404 not_found"),
        ("/v1/events", with(&["-X", "PUT"]), 30, "2 405 method_not_allowed"),
        ("/v1/schemas", send("service", &some, json), 30, "2 405 method_not_allowed"),
        ("/v1/events", send("nobody", &some, json), 30, "2 401 unknown_key"),
        ("/v1/events", send("service", &some, "content-type: image/png"), 30, "2 415 unsupported_media_type"),
        ("/v1/events", with(&["-H", "content-encoding: rot13"]), 10, "2 415 unsupported_encoding"),
        ("/v1/events", send("service", &much, json), 10, "2 413 body_too_large"),
        ("/healthz", with(&["-X", "GET"]), 10, "2 200 "),
        ("/v1/schemas/menu:item:nothing", with(&["-X", "GET"]), 10, "2 404 unknown_event"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        for round in 0..rounds {
            assert_eq!(curl(&gateway, &arguments, path).await, expected, "{path} {arguments:?}, round {round}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_client_is_what_the_proxy_wrote_and_not_what_the_client_did() {
    let trusted = |setup: Setup, folder: &Path| {
        let config = folder.join("lakegate.toml");
        let text = fs::read_to_string(&config).expect("a file");
        let proxy =
            "[rate_limit]\naddress_requests_per_second = 1\naddress_requests_burst = 3\n[proxy]\ntrusted = [\"127.0.0.0/8\"]\n";
        fs::write(&config, format!("{proxy}{text}")).expect("a file");
        setup
    };
    let limited = async |gateway: &Gateway, preface: &str, forwarded: &[&[u8]]| {
        let mut stream = connect(gateway, 2).await;
        let event = event();
        let lines: Vec<u8> =
            forwarded.iter().flat_map(|line| [b"x-forwarded-for: ".as_slice(), line, b"\r\n"].concat()).collect();
        let head = head("menu", event.len());
        let (first, rest) = head.split_once("\r\n").expect("a line");
        let bytes = [preface.as_bytes(), first.as_bytes(), b"\r\n", lines.as_slice(), rest.as_bytes(), &event].concat();
        stream.write_all(&bytes).await.expect("it reads");
        match answer(&mut stream).await.0 {
            429 => true,
            202 => false,
            status => panic!("{status}"),
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = trusted(setup(folder.path()), folder.path()).start().await;
    // However the client spoils its own part, it pays from its own bucket.
    let lines: [&[&[u8]]; 4] = [
        &[b"\xff\xfe, 198.51.100.1"],
        &[b"\xff", b"198.51.100.1"],
        &[b"6.6.6.6,,198.51.100.1, "],
        &[b"nonsense, [::ffff:198.51.100.1]:80"],
    ];
    let mut refused = Vec::new();
    for line in lines {
        refused.push(limited(&gateway, "", line).await);
    }
    assert_eq!(refused, [false, false, false, true]);
    assert!(!limited(&gateway, "", &[b"198.51.100.2"]).await);
    gateway.stop().await;

    let folder = tempfile::tempdir().expect("a folder");
    let gateway = trusted(setup(folder.path()), folder.path()).set("proxy.proxy_protocol", true).start().await;
    let local = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let mut refused = Vec::new();
    for (preface, last) in [("PROXY UNKNOWN\r\n", 1), (local, 2), ("PROXY UNKNOWN ::1 ::1 1 2\r\n", 3), (local, 4)] {
        refused.push(limited(&gateway, preface, &[format!("198.51.100.{last}").as_bytes()]).await);
    }
    assert_eq!(refused, [false, false, false, true], "all of them are the proxy's, whatever the client says");
    assert!(!limited(&gateway, "PROXY TCP4 198.51.100.9 127.0.0.1 1 2\r\n", &[b"6.6.6.6"]).await);
    gateway.stop().await;
}
