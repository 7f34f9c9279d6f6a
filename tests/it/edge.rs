//! What the edge lets in: rates of keys and of addresses, proxies that say who their clients are, client certificates, and
//! connections that mean no good.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    client::{Answer, Client, Connection, Post, Told, Wire},
    events, eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

const PAGE: &str = "https://menu.example";

fn key(name: &str, more: &str) -> String {
    let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
}

/// With a key for pages, one of a service, and one of a service that may send little.
fn setup(folder: &Path, more: &str) -> Setup {
    let keys = [
        key("menu", &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]")),
        key("service", ""),
        key("narrow", "requests_per_second = 1\nrequests_burst = 3"),
    ];
    let config = folder.join("lakegate.toml");
    fs::write(&config, format!("{more}\n{}", keys.concat())).expect("a file");
    Setup::new(folder.join("data")).config(config).set("lake.flush_age_ms", 50)
}

fn post(key: &str) -> Post {
    Post::json(events::small(events::identity(&mut Rng::new()))).header("x-api-key", key).header("origin", PAGE)
}

async fn send(client: &Client, post: &Post) -> Answer {
    client.post(Wire::H1, post).await.expect("an answer")
}

fn assert_limited(answer: &Answer, policy: &str) {
    assert_eq!((answer.status, answer.problem_code().as_str()), (429, "rate_limited"), "{answer:?}");
    assert_eq!(answer.json()["violated-policies"], serde_json::json!([policy]), "{answer:?}");
    let retry_after: u64 = answer.header("retry-after").parse().expect("seconds");
    let until_then = answer.header("ratelimit").strip_prefix(&format!("\"{policy}\";r=0;t=")).expect("the rate that is used up");
    let until_then: u64 = until_then.parse().expect("seconds");
    // With a random part, and never too soon.
    assert!((until_then..=until_then + until_then / 4 + 1).contains(&retry_after), "{answer:?}");
    assert!(answer.header("ratelimit-policy").starts_with(&format!("\"{policy}\";q=3;")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_held_to_its_own_rate_and_warned_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").start().await;
    let client = gateway.client();
    let said = async |_| {
        let answer = send(&client, &post("narrow")).await;
        assert_eq!(answer.told(1), [Told::Accepted]);
        answer.header("ratelimit").to_owned()
    };
    assert_eq!(said(1).await, "");
    assert_eq!([said(2).await, said(3).await], ["", "\"requests\";r=0;t=3"], "less than half is left");
    let answer = send(&client, &post("narrow")).await;
    assert_limited(&answer, "requests");
    assert_eq!(send(&client, &post("service")).await.told(1), [Told::Accepted], "others are not touched");
    gateway.stop().await;
}

const FEW: &str = "[rate_limit]\naddress_requests_per_second = 1\naddress_requests_burst = 3\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_everyone_can_bring_is_held_to_the_rate_of_its_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), &format!("{FEW}[proxy]\ntrusted = [\"127.0.0.0/8\"]")).start().await;
    let client = gateway.client();
    let from = |key: &str, address: &str| post(key).header("x-forwarded-for", address);
    for _ in 0..3 {
        assert_eq!(send(&client, &from("menu", "6.6.6.6, 198.51.100.1")).await.told(1), [Told::Accepted]);
    }
    assert_limited(&send(&client, &from("menu", "7.7.7.7, 198.51.100.1")).await, "address-requests");
    assert_eq!(send(&client, &from("menu", "198.51.100.2")).await.told(1), [Told::Accepted]);
    assert_eq!(send(&client, &from("service", "198.51.100.1")).await.told(1), [Told::Accepted], "a service has a secret");
    // Keys are guessed no faster; one IPv6 network is one address.
    for last in 1..=3 {
        let answer = send(&client, &from("guess", &format!("2001:db8::{last}"))).await;
        assert_eq!(answer.problem_code(), "unknown_key");
    }
    assert_limited(&send(&client, &from("guess", "2001:db8::4")).await, "address-requests");
    assert_limited(&send(&client, &from("menu", "2001:db8::5")).await, "address-requests");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_says_where_a_client_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), FEW).start().await;
    let client = gateway.client();
    for last in 1..=3 {
        let forged = post("menu").header("x-forwarded-for", format!("198.51.100.{last}"));
        assert_eq!(send(&client, &forged).await.told(1), [Told::Accepted]);
    }
    assert_limited(&send(&client, &post("menu").header("x-forwarded-for", "198.51.100.4")).await, "address-requests");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_says_where_a_client_is_and_without_it_a_proxy_is_not_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = format!("{FEW}[proxy]\ntrusted = [\"127.0.0.1\"]\nproxy_protocol = true");
    let gateway = setup(folder.path(), &proxy).start().await;
    let version_1 = |address: &str| gateway.client().after(format!("PROXY TCP4 {address} 127.0.0.1 4660 443\r\n"));
    let version_2 = |last: u8| {
        let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        gateway.client().after([fixed.as_slice(), &[198, 51, 100, last, 127, 0, 0, 1, 1, 1, 1, 1]].concat())
    };
    for _ in 0..3 {
        assert_eq!(send(&version_1("198.51.100.1"), &post("menu")).await.told(1), [Told::Accepted]);
    }
    assert_limited(&send(&version_2(1), &post("menu")).await, "address-requests");
    assert_eq!(send(&version_2(2), &post("menu")).await.told(1), [Told::Accepted]);
    assert!(gateway.client().connect(Wire::H1).await.is_err(), "TLS where the header should be");
    let counted = Scrape::when("it is counted", &gateway, |scrape| scrape.value("tls_handshake_failures") > 0).await;
    assert_eq!(counted.outcomes(), [4, 0, 0, 0], "{counted:?}");
    gateway.stop().await;
}

/// What a balancer of the network layer puts before its own health checks: version 2, `LOCAL`, no addresses.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_speaks_the_proxy_protocol_checks_the_health_on_both_ports() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = "[proxy]\ntrusted = [\"127.0.0.1\"]\nproxy_protocol = true";
    let gateway = setup(folder.path(), proxy).start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.client().after(LOCAL).get(path).await.expect("an answer").status, 200, "{path}");
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        for header in [LOCAL, b"PROXY TCP4 198.51.100.1 127.0.0.1 4660 443\r\n", b"PROXY UNKNOWN\r\n", b""] {
            let answer = talk_plain(&gateway, &[header, request.as_bytes()].concat()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{} {path}: {answer}", header.escape_ascii());
        }
    }
    assert_eq!(talk_plain(&gateway, b"PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\n\r\n").await, "", "no header after all");
    // `lakegate health` is inside of what is trusted, and so has to send the header too.
    let file = folder.path().join("health.toml");
    std::fs::write(&file, format!("[http]\nlisten = \"{}\"\n{proxy}", gateway.events())).expect("a file");
    let mut health = tokio::process::Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let said = health.args(["health", "--live", "--config"]).arg(&file).output().await.expect("it runs");
    assert!(said.status.success(), "{said:?}");
    gateway.stop().await;
    // Where nobody is trusted with it, it is no request.
    let gateway = setup(folder.path(), "").start().await;
    let answer = talk_plain(&gateway, &[LOCAL, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    gateway.stop().await;
}

/// What the listener for operators answers to `sent`, until it closes the connection.
async fn talk_plain(gateway: &Gateway, sent: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(gateway.admin()).await.expect("it listens");
    stream.write_all(sent).await.expect("it reads");
    let mut answer = Vec::new();
    // A connection that is refused may be reset.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_keeps_addresses_needs_no_trust_and_limits_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = async |kept: bool| {
        let setup = setup(folder.path(), &format!("{FEW}[proxy]\nkeeps_addresses = {kept}")).set("http.plaintext", true);
        setup.start().await
    };
    let answers = async |gateway: &Gateway| {
        let mut connection = Connection::plain(gateway.events()).await.expect("it listens");
        let mut answers = Vec::new();
        for last in 1..=4 {
            let forged = post("menu").header("x-forwarded-for", format!("198.51.100.{last}"));
            answers.push(connection.post(&forged).await.expect("an answer"));
        }
        answers
    };
    let gateway = start(true).await;
    assert_limited(&answers(&gateway).await[3], "address-requests");
    gateway.stop().await;
    let gateway = start(false).await;
    assert!(answers(&gateway).await.iter().all(|answer| answer.status == 202), "the address is that of a balancer");
    assert!(gateway.has_logged("client addresses are not known"), "{}", gateway.log_text());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_outlives_the_idle_time_of_a_balancer_and_that_time_can_be_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").set("http.idle_timeout_seconds", 1).start().await;
    for wire in [Wire::H1, Wire::H2] {
        let mut connection = gateway.client().connect(wire).await.expect("it listens");
        assert_eq!(connection.post(&post("service")).await.expect("an answer").told(1), [Told::Accepted]);
        let idle_since = Instant::now();
        eventually("it is closed", Duration::from_secs(10), async || connection.is_closed()).await;
        assert!(idle_since.elapsed() > Duration::from_millis(900), "{wire:?}: {:?}", idle_since.elapsed());
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").set("http.connections_per_address_max", 3).start().await;
    let client = gateway.client();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(client.stream(Wire::H1).await.expect("there is room"));
    }
    assert!(client.stream(Wire::H1).await.is_err(), "a fourth one");
    Scrape::when("it is counted", &gateway, |scrape| scrape.value("crowded_out_connections") == 1).await;
    open.pop();
    eventually("there is room again", Duration::from_secs(20), async || client.stream(Wire::H1).await.is_ok()).await;
    drop(open);
    gateway.stop().await;
}

/// A client of an authority, for whom the authority has signed; or of none.
fn with_certificate(gateway: &Gateway, data: &Path, authority: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>) -> Client {
    let files = [data.join("tls/cert.pem")];
    let files: Vec<&Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    let Some(authority) = authority else { return gateway.client() };
    let mut params = rcgen::CertificateParams::new(["service".to_owned()]).expect("a name");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("it signs");
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
    let chain = vec![certificate.der().clone()];
    Client::with(&files, gateway.events(), |builder| builder.with_client_auth_cert(chain, key).expect("a pair"))
}

fn authority(name: &str) -> (rcgen::Issuer<'static, rcgen::KeyPair>, String) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("it signs");
    (rcgen::Issuer::new(params, key), certificate.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_want_a_client_certificate_and_a_listener_too() {
    let (ours, pem) = authority("ours");
    let (theirs, _) = authority("theirs");
    for required in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let ca = folder.path().join("clients.pem");
        fs::write(&ca, &pem).expect("a file");
        let config = folder.path().join("lakegate.toml");
        fs::write(&config, [key("strict", "client_certificate = true"), key("service", "")].concat()).expect("a file");
        let setup = Setup::new(&data).config(config).set("tls.client_ca", ca.display());
        let setup = setup.set("tls.client_auth", if required { "required" } else { "optional" });
        let gateway = setup.start().await;
        let shown = with_certificate(&gateway, &data, Some(&ours));
        for name in ["strict", "service"] {
            assert_eq!(send(&shown, &post(name)).await.told(1), [Told::Accepted]);
        }
        assert!(with_certificate(&gateway, &data, Some(&theirs)).post(Wire::H1, &post("service")).await.is_err());
        let none = with_certificate(&gateway, &data, None);
        if required {
            assert!(none.post(Wire::H1, &post("service")).await.is_err(), "it is not let in");
        } else {
            assert_eq!(send(&none, &post("service")).await.told(1), [Told::Accepted]);
            let answer = send(&none, &post("strict")).await;
            assert_eq!((answer.status, answer.problem_code().as_str()), (403, "certificate_required"));
        }
        gateway.stop().await;
    }
}

/// What is answered on a connection of its own to `sent`, in pieces of so many bytes, until the gateway closes it; and whether
/// it did.
async fn talk(gateway: &Gateway, sent: &str, piece: usize) -> (String, bool) {
    let mut stream = gateway.client().stream(Wire::H1).await.expect("it listens");
    for piece in sent.as_bytes().chunks(piece) {
        // It may have closed already.
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    (String::from_utf8_lossy(&answer).into_owned(), matches!(ended, Ok(Ok(_))))
}

/// The head of a request with an event, without its framing.
const HEAD: &str = "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: service\r\n";

fn event() -> String {
    String::from_utf8(events::small(events::identity(&mut Rng::new()))).expect("text")
}

/// A whole request that is right.
fn right() -> String {
    let event = event();
    format!("{HEAD}Content-Length: {}\r\n\r\n{event}", event.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_readers_could_frame_in_two_ways_is_answered_400_and_its_connection_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").start().await;
    let event = event();
    let (length, size) = (event.len(), format!("{:x}", event.len()));
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    let bare = HEAD.replace("\r\n", "\n");
    let wrong = [
        ("chunked, chunked", format!("{HEAD}transfer-encoding: chunked, chunked\r\n\r\n{size}\r\n{event}\r\n0\r\n\r\n")),
        ("chunked twice", format!("{HEAD}transfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("gzip, chunked", format!("{HEAD}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("the same host twice", format!("{HEAD}Host: x\r\ncontent-length: {length}\r\n\r\n{event}")),
        ("two hosts", format!("{HEAD}HOST: y\r\ncontent-length: {length}\r\n\r\n{event}")),
        ("two hosts in one", format!("{}content-length: {length}\r\n\r\n{event}", HEAD.replace("host: x", "host: x, y"))),
        ("no host", format!("{}content-length: {length}\r\n\r\n{event}", HEAD.replace("host: x\r\n", ""))),
        ("no host, and nothing else", "GET /healthz HTTP/1.1\r\n\r\n".into()),
        ("a length, then chunks", format!("{HEAD}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("chunks, then a length", format!("{HEAD}transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n0\r\n\r\n")),
        ("the same length twice", format!("{HEAD}content-length: {length}\r\ncontent-length: {length}\r\n\r\n{event}")),
        ("the same length twice in one", format!("{HEAD}content-length: {length}, {length}\r\n\r\n{event}")),
        ("a length with a sign", format!("{HEAD}content-length: +{length}\r\n\r\n{event}")),
        ("a head of bare line ends", format!("{bare}content-length: {length}\n\n{event}")),
        ("one bare line end", format!("{HEAD}content-length: {length}\n\r\n{event}")),
        ("a bare line end behind the head", format!("{HEAD}content-length: {length}\r\n\n{event}")),
        ("a folded line", format!("{HEAD}x-a: b\r\n c\r\ncontent-length: {length}\r\n\r\n{event}")),
        ("a folded first line", format!("POST /v1/events HTTP/1.1\r\n host: x\r\ncontent-length: {length}\r\n\r\n{event}")),
        ("a space before the colon", format!("{HEAD}content-length : {length}\r\n\r\n{event}")),
        ("a space before the colon of chunks", format!("{HEAD}transfer-encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("a size with a bare line end", format!("{chunked}{size}\n{event}\r\n0\r\n\r\n")),
        ("a chunk with a bare line end", format!("{chunked}{size}\r\n{event}\n0\r\n\r\n")),
        ("a last size with a bare line end", format!("{chunked}{size}\r\n{event}\r\n0\n\r\n")),
        ("a bare line end for trailers", format!("{chunked}{size}\r\n{event}\r\n0\r\n\n")),
        ("a trailer with a bare line end", format!("{chunked}{size}\r\n{event}\r\n0\r\nx-a: b\n\r\n")),
        ("a request for a trailer", format!("{chunked}{size}\r\n{event}\r\n0\r\n")),
    ];
    for (name, bytes) in &wrong {
        for piece in [usize::MAX, 1] {
            let (answer, is_closed) = talk(&gateway, &format!("{bytes}{}", right()), piece).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer:?}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer:?}");
            assert!(is_closed, "{name}");
        }
    }
    // What stands before it on the connection is answered, in its order.
    let (answer, is_closed) = talk(&gateway, &format!("{}{}{}{}", right(), right(), wrong[0].1, right()), usize::MAX).await;
    let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!((statuses, is_closed), (vec!["202", "202", "400"], true), "{answer}");
    let counted = Scrape::when("nothing is in flight", &gateway, Scrape::is_quiet).await;
    assert_eq!(counted.outcomes(), [2, 0, 0, 0], "nothing else was an event: {counted:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_honest_clients_of_http_1_send_is_taken_however_it_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").start().await;
    let chunked = || {
        let (event, head) = (event(), HEAD.replace("host: x", "HOST: menu.example:8443"));
        let (first, second) = event.split_at(7);
        let chunks = format!("7\r\n{first}\r\n00{:X};a=\"b\"\r\n{second}\r\n0\r\n", second.len());
        format!("{head}Transfer-Encoding: Chunked\r\nte: trailers\r\n\r\n{chunks}expires: never\r\nx-sum: 7\r\n\r\n")
    };
    let end = "GET /healthz HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n";
    for piece in [usize::MAX, 1, 3] {
        let old = right().replace("host: x\r\n", "").replace("HTTP/1.1", "HTTP/1.0");
        assert!(talk(&gateway, &old, piece).await.0.starts_with("HTTP/1.0 202 "), "HTTP/1.0 knows no host");
        let requests = [right(), chunked(), "\r\n".into(), right(), chunked(), right(), end.into()].concat();
        let (answer, is_closed) = talk(&gateway, &requests, piece).await;
        let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
        assert_eq!((statuses, is_closed), (vec!["202", "202", "202", "202", "202", "200"], true), "{answer}");
    }
    assert_eq!(Scrape::of(&gateway).await.outcomes(), [18, 0, 0, 0]);
    gateway.stop().await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// The preface and settings of none.
fn opening() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()
}

/// Whether there is a GOAWAY with the code ENHANCE_YOUR_CALM.
fn calms(answer: &[u8]) -> bool {
    answer.windows(17).any(|frame| frame[3] == 7 && frame[5..9] == [0; 4] && frame[13..17] == [0, 0, 0, 0xb])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rapid_reset_ends_the_connection_and_harms_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").start().await;
    let mut stream = gateway.client().stream(Wire::H2).await.expect("it listens");
    let mut bytes = opening();
    // GET https://localhost/, and never mind.
    let headers = [&[0x82, 0x87, 0x84, 0x41, 9], b"localhost".as_slice()].concat();
    for stream in 0..5_000 {
        let id = 2 * stream + 1;
        bytes.extend(frame(1, 0x5, id, &headers));
        bytes.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&bytes).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection is ended");
    assert!(calms(&answer), "{answer:?}");
    let counted = Scrape::of(&gateway).await;
    assert!(counted.sum("requests", "") < 1_000, "{counted:?}");
    assert_eq!(send(&gateway.client(), &post("service")).await.told(1), [Told::Accepted]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_endless_continuations_ends_the_connection_and_is_not_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").start().await;
    let before = gateway.memory().now;
    // A header that is not to be indexed, `x`, with a value of 16,000 bytes; and nothing at all, which costs its sender least.
    let header = [&[0, 1, b'x', 0x7f, 0x81, 0x7c], [b'a'; 16_000].as_slice()].concat();
    for (continuation, count) in [(header.as_slice(), 4_000), (&[], 1_000_000)] {
        let mut stream = gateway.client().stream(Wire::H2).await.expect("it listens");
        let head = frame(1, 0x1, 1, &[0x82, 0x87, 0x84]);
        let mut sent = stream.write_all(&[opening(), head].concat()).await;
        let many = frame(9, 0, 1, continuation).repeat(100);
        for _ in 0..count / 100 {
            if sent.is_ok() {
                sent = stream.write_all(&many).await;
            }
        }
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection is ended: {sent:?}");
        assert!(sent.is_err() || calms(&answer), "{answer:?}");
    }
    let grown = gateway.memory().most - before;
    assert!(grown < 40.0, "{grown} MiB");
    assert_eq!(Scrape::of(&gateway).await.sum("requests", ""), 0);
    assert_eq!(send(&gateway.client(), &post("service")).await.told(1), [Told::Accepted]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "").start().await;
    let mut stream = gateway.client().stream(Wire::H1).await.expect("it listens");
    // Each answer is 256 KiB of faults; together they are more than the kernel holds between the two.
    let body = "1\n".repeat(10_000);
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: service\r\ncontent-type: application/x-ndjson\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    tokio::spawn(async move {
        for _ in 0..400 {
            if stream.write_all(request.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    });
    Scrape::when("an answer is on its way", &gateway, |scrape| scrape.outcomes()[2] >= 10_000).await;
    let gone = Scrape::when("it is cut off", &gateway, |scrape| scrape.value("connections") == 0).await;
    assert!(gone.outcomes()[2] < 4_000_000, "it was not served to the end: {gone:?}");
    gateway.stop().await;
}
