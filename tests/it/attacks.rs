//! What is sent to do harm: to hold the gateway up, to speak past a proxy in front of it, to read what is not offered, to
//! forge its log. What is merely broken is in `hostile.rs`.

mod answers;
mod connections;
mod dead_letters;
mod keyless;
mod lake;
mod operators;
mod shares;
mod work;

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;

use crate::support::{
    client::{Post, Told, Wire},
    events,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

/// An event of a name in quotes, and with these members more.
fn event_of(name: &str, members: &str) -> String {
    let uuid = uuid::Uuid::new_v4();
    format!("{{\"event_uuid\":\"{uuid}\",\"event_name\":{name},\"created_at\":1795111203.5{members}}}")
}

fn event() -> String {
    String::from_utf8(events::small(events::identity(&mut Rng::new()))).expect("text")
}

async fn assert_well(gateway: &Gateway) {
    let answer = gateway.client().post(Wire::H2, &Post::json(event())).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Accepted]);
    assert_eq!(Scrape::of(gateway).await.value("panics"), 0);
}

/// Reads until the connection ends or nothing comes for `quiet`; whether it ended.
async fn read_on(stream: &mut TlsStream<TcpStream>, quiet: Duration) -> (String, bool) {
    let mut answer = Vec::new();
    let ended = loop {
        match tokio::time::timeout(quiet, stream.read_buf(&mut answer)).await {
            Err(_) => break false,
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(_)) => {}
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_header_byte_by_byte_is_cut_off_and_keeps_nobody_out() {
    const CONNECTIONS: usize = 50;
    let folder = tempfile::tempdir().expect("a folder");
    // No more connections than these and a few: were they never cut off, nobody else would come in.
    let gateway = Setup::new(folder.path()).set("http.connections_max", CONNECTIONS + 4).start().await;
    let client = gateway.client();
    let started = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = client.stream(Wire::H1).await.expect("it listens");
        stream.write_all(b"POST /v1/events HTTP/1.1\r\nhost: x\r\nx-slow: ").await.expect("it reads");
        slow.push(tokio::spawn(async move {
            let mut answer = Vec::new();
            // A byte each second, for ever: the time counts from the first, not from the last.
            loop {
                match tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await {
                    Ok(Ok(0) | Err(_)) => return answer,
                    Ok(Ok(_)) => {}
                    Err(_) if stream.write_all(b"a").await.is_err() => return answer,
                    Err(_) => {}
                }
            }
        }));
    }
    assert_well(&gateway).await;
    for slow in slow {
        assert_head_timed_out(&slow.await.expect("it ends"));
    }
    let took = started.elapsed();
    assert!((25..60).contains(&took.as_secs()), "headers have 30 s; it took {took:?}");
    assert_well(&gateway).await;
    gateway.stop().await;
}

fn assert_head_timed_out(answer: &[u8]) {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    for header in ["connection: close", "content-type: application/problem+json", "x-request-id: "] {
        assert!(head.contains(&format!("\r\n{header}")), "{header} is not in {answer}");
    }
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!((&problem["status"], &problem["code"]), (&Value::from(408), &Value::from("request_timeout")), "{answer}");
    assert!(head.contains(problem["request_id"].as_str().expect("an id")), "{answer}");
}

/// What a client hears that sends this and then nothing, and whether the connection ended as it should.
async fn heard(mut stream: impl AsyncRead + AsyncWrite + Unpin, sent: &[u8]) -> (Vec<u8>, bool) {
    stream.write_all(sent).await.expect("it reads");
    stream.flush().await.expect("it reads");
    let mut answer = Vec::new();
    // Without TLS's own farewell this is an error.
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    (answer, ended.expect("the connection ends").is_ok())
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn whose_head_has_begun_is_told_that_its_time_is_up_and_nobody_else() {
    // At once: each waits for its time to be up.
    tokio::join!(heads_that_do_not_end(false), heads_that_do_not_end(true));
}

async fn heads_that_do_not_end(is_plain: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("http.plaintext", is_plain).set("http.idle_timeout_seconds", 30).start().await;
    let mut cases = JoinSet::new();
    for (wire, sent, answers, is_told) in [
        (Wire::H1, b"".to_vec(), 0, false),
        (Wire::H1, b"\r\n".to_vec(), 0, false),
        (Wire::H1, b"P".to_vec(), 0, true),
        (Wire::H1, REQUEST[..30].to_vec(), 0, true),
        (Wire::H1, REQUEST.repeat(2), 2, false),
        (Wire::H1, [REQUEST, REQUEST, b"POST /v1/ev"].concat(), 2, true),
        (Wire::H2, b"".to_vec(), 0, false),
        (Wire::H2, PREFACE.to_vec(), 0, false),
    ] {
        let (address, client) = (gateway.events(), (!is_plain).then(|| gateway.client()));
        cases.spawn(async move {
            let (answer, is_clean) = match client {
                Some(client) => heard(client.stream(wire).await.expect("it listens"), &sent).await,
                None => heard(TcpStream::connect(address).await.expect("it listens"), &sent).await,
            };
            let text = String::from_utf8_lossy(&answer).into_owned();
            let sent = String::from_utf8_lossy(&sent).into_owned();
            assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), answers, "{sent:?}: {text}");
            assert_eq!(text.matches("HTTP/1.1 ").count(), answers + usize::from(is_told), "{sent:?}: {text}");
            assert!(is_clean || wire == Wire::H2, "{sent:?}: {text}");
            if is_told {
                let at = text.find("HTTP/1.1 408").expect("checked above");
                assert_head_timed_out(&text.as_bytes()[at..]);
            }
        });
    }
    cases.join_all().await;
    let counted = Scrape::of(&gateway).await;
    assert_eq!(counted.sum("requests", "status=\"408\""), 3, "{counted:?}");
    gateway.stop().await;
}

/// Requests whose end a proxy in front might see elsewhere than the gateway does, each followed by one that the sender wants
/// to hide in it.
fn smuggled() -> Vec<(&'static str, String)> {
    let hidden = "GET /v1/schemas HTTP/1.1\r\nhost: x\r\n\r\n";
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: dev\r\n";
    let chunked = "0\r\n\r\n";
    let chunked_length = chunked.len() + hidden.len();
    vec![
        ("CL.TE", format!("{head}content-length: {chunked_length}\r\ntransfer-encoding: chunked\r\n\r\n{chunked}{hidden}")),
        ("TE.CL", format!("{head}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{chunked}{hidden}")),
        ("two lengths", format!("{head}content-length: 0\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len())),
        ("a list of lengths", format!("{head}content-length: 0, {}\r\n\r\n{hidden}", hidden.len())),
        ("a length with a sign", format!("{head}content-length: +{}\r\n\r\n{hidden}", hidden.len())),
        ("a length in hexadecimal", format!("{head}content-length: 0x0\r\n\r\n{hidden}")),
        ("a space before the colon", format!("{head}content-length : {}\r\n\r\n{hidden}", hidden.len())),
        ("a folded header", format!("{head}x: y\r\n content-length: {}\r\n\r\n{hidden}", hidden.len())),
        ("a folded length", format!("{head}content-length:\r\n {}\r\n\r\n{hidden}", hidden.len())),
        ("an encoding that is nearly chunked", format!("{head}transfer-encoding: xchunked\r\n\r\n{chunked}{hidden}")),
        ("chunked, and then not", format!("{head}transfer-encoding: chunked, identity\r\n\r\n{chunked}{hidden}")),
        ("two encodings", format!("{head}transfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n{chunked}{hidden}")),
        ("a tab before chunked", format!("{head}transfer-encoding:\x0bchunked\r\n\r\n{chunked}{hidden}")),
        ("a chunk size with a sign", format!("{head}transfer-encoding: chunked\r\n\r\n+0\r\n\r\n{hidden}")),
        ("a chunk size with 0x", format!("{head}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}")),
        ("a chunk size that ends in a line feed alone", format!("{head}transfer-encoding: chunked\r\n\r\n0\n\n{hidden}")),
        ("a chunk longer than it says", format!("{head}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n{hidden}")),
        ("a chunk extension with a line feed", format!("{head}transfer-encoding: chunked\r\n\r\n0;x=\n\r\n\r\n{hidden}")),
        ("chunks over HTTP/1.0", format!("{}transfer-encoding: chunked\r\n\r\n{chunked}{hidden}", head.replace("1.1", "1.0"))),
        ("a NUL in a name", format!("{head}content-length\0: 0\r\n\r\n{hidden}")),
        ("a line end in a value", format!("{head}x: a\rcontent-length: {}\r\n\r\n{hidden}", hidden.len())),
        (
            "an absolute target with another host",
            format!("GET http://a/ HTTP/1.1\r\nhost: b\r\ncontent-length: x\r\n\r\n{hidden}"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_request_is_hidden_in_one_whose_end_is_doubtful() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let client = gateway.client();
    for (name, bytes) in smuggled() {
        let mut stream = client.stream(Wire::H1).await.expect("it listens");
        stream.write_all(bytes.as_bytes()).await.expect("it reads");
        let (answer, ended) = read_on(&mut stream, Duration::from_secs(3)).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{name}: the hidden request was answered: {answer}");
        assert!(!answer.contains("\"schemas\""), "{name}: {answer}");
        assert!(ended, "{name}: the connection is not used again: {answer}");
    }
    assert_well(&gateway).await;
    gateway.stop().await;
}

/// Texts that would break a line, or a terminal, in every place that a client fills.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_client_forges_a_line_of_the_log_or_a_dead_letter() {
    const FORGED: &str = "\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[2J\u{2028}";
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("telemetry.log_filter", "debug").start().await;
    let client = gateway.client();
    let quoted = Value::from(FORGED).to_string();
    let named = event_of(&quoted, "");
    let identified = format!("{{\"event_uuid\":{quoted},\"event_name\":\"a:b\",\"created_at\":1}}");
    let membered = event_of("\"menu:section:reached\"", &format!(",{quoted}:1"));
    for (body, code) in [(named, "invalid_event_name"), (identified, "invalid_event_uuid"), (membered, "schema_violation")] {
        let told = client.post(Wire::H2, &Post::json(body)).await.expect("an answer").told(1);
        assert_eq!(told, [Told::Rejected(code.into())]);
    }
    // What no client library sends. A header that held a line end would be two.
    let encoded = "%0d%0a%7b%22message%22:%22forged%22%7d%1b%5b2J";
    for (path, headers) in [
        (format!("/v1/events?key={encoded}"), String::new()),
        (format!("/v1/{encoded}"), "x-request-id: a\u{1b}[2J\r\n".to_owned()),
        (format!("/v1/schemas/{encoded}"), "x-request-id: {\"message\":\"forged\"}\r\nuser-agent: \u{85}\r\n".to_owned()),
    ] {
        let mut stream = client.stream(Wire::H1).await.expect("it listens");
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let (answer, _) = read_on(&mut stream, Duration::from_secs(3)).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains('\u{1b}'), "{answer}");
    }
    gateway.until_logged("\"answered\"", 5).await;
    for line in gateway.log_text().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"] != "forged" && line["timestamp"].is_string(), "{line}");
    }
    let letters = fs::read_to_string(folder.path().join("dead-letters/dev/00000001.ndjson")).expect("they were rejected");
    let letters: Vec<Value> = letters.split_terminator('\n').map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|line| line["code"].is_string() && line["source"] == "dev"), "{letters:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_the_registry_and_no_name_out_of_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).set("schemas.unknown_events", "accept").set("lake.flush_age_ms", 100).start().await;
    let client = gateway.client();
    let up = [
        "..",
        "%2e%2e",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fCargo.toml",
        "..%5c..%5cCargo.toml",
        "%00",
        "menu:item:ordered%00",
        "menu%2fitem%2fordered%2f1.json",
        "%252e%252e%252f",
        "%c0%ae%c0%ae%c0%af",
        "~root",
    ];
    for name in up {
        for path in
            [format!("/v1/schemas/{name}"), format!("/v1/schemas/{name}/1"), format!("/v1/schemas/menu:item:ordered/{name}")]
        {
            let answer = client.get(&path).await.expect("an answer");
            assert_eq!(answer.status, 404, "{path}: {}", answer.text());
            assert!(!answer.problem_code().is_empty());
        }
    }
    for target in ["/v1/schemas/../../etc/passwd", "/../../../../etc/passwd", "//etc/passwd", "/v1/schemas/./menu:item:ordered"] {
        let mut stream = client.stream(Wire::H1).await.expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let (answer, _) = read_on(&mut stream, Duration::from_secs(3)).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{target}: {answer}");
    }
    // A name becomes a folder of the lake.
    for name in ["..", "../x", "a/../../x", "..:..", ".:x", "/etc:x", "a\\..:b", "a%2f..:b", "a\u{0}:b", "CON\u{202e}:x"] {
        let body = event_of(&Value::from(name).to_string(), "");
        let answer = client.post(Wire::H2, &Post::json(body)).await.expect("an answer");
        assert_eq!(answer.told(1), [Told::Rejected("invalid_event_name".into())], "{name}");
    }
    assert_well(&gateway).await;
    gateway.stop().await;
    let beside: Vec<_> = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(beside, ["data"], "nothing was written outside");
    let lake: Vec<_> = fs::read_dir(data.join("lake")).expect("a lake").map(|entry| entry.expect("one").file_name()).collect();
    assert!(
        lake.iter().all(|folder| ["event_type=menu", "_tmp", "_delta_log", "_lakegate"].iter().any(|known| folder == known)),
        "{lake:?}"
    );
}

/// Names of which many fall into one place of a table whose hash is known: the sums and the products of 31 and 33 that simple
/// tables use come out the same for each pair, and so for every sequence of pairs.
fn colliding(count: usize) -> Vec<String> {
    let pairs = ["Aa", "BB"];
    (0..count).map(|n| (0..17).map(|bit| pairs[n >> bit & 1]).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_names_that_collide_takes_no_longer_than_one_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("schemas.unknown_events", "accept").start().await;
    let client = gateway.client();
    const NAMES: usize = 24_000;
    let with = |names: &[String]| {
        let mut members = String::new();
        names.iter().for_each(|name| write!(members, ",\"{name}\":0").expect("a string grows"));
        event_of("\"any:thing\"", &members)
    };
    let mut rng = Rng::with_seed(1);
    let random: Vec<String> =
        (0..NAMES).map(|n| format!("{n:06}{}", (0..28).map(|_| rng.alphanumeric()).collect::<String>())).collect();
    let mut took = Vec::new();
    for names in [random, colliding(NAMES)] {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let post = Post::json(with(&names));
            let started = Instant::now();
            let told = client.post(Wire::H2, &post).await.expect("an answer").told(1);
            best = best.min(started.elapsed());
            assert_eq!(told, [Told::Accepted]);
        }
        took.push(best);
    }
    assert!(took[1] < took[0] * 4 + Duration::from_millis(200), "{took:?}");
    assert_well(&gateway).await;
    gateway.stop().await;
}

/// What `lakegate` prints.
fn printed(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lakegate")).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a terminal obeys, or turns around, instead of showing it, comes out of no command raw; and what is printed as JSON has
/// the values that the client sent.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_client_reaches_the_terminal_of_who_looks_at_letters_or_at_the_lake() {
    const HARMFUL: &str = "\u{1b}[2J\u{7f}\u{9b}2J\u{9d}0;x\u{9c}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{2029}\u{200b}\u{feff}\u{e0041}";
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("lake.flush_age_ms", 50).start().await;
    let client = gateway.client();
    let text = format!("Tiramisù 🍮{HARMFUL}");
    // As a client may write them: in JSON only those of ASCII must be escaped.
    let written = serde_json::to_string(&text).expect("a text");
    let valid = event();
    let valid = format!("{},\"section_name\":{written}}}", &valid[..valid.len() - 1]);
    let rejected = [
        event_of(&written, ""),
        event_of("\"menu:section:reached\"", &format!(",{written}:{written}")),
        format!("{{\"event_uuid\":{written},\"event_name\":\"a:b\",\"created_at\":1}}"),
    ];
    let body = format!("[{valid},{}]", rejected.join(","));
    let told = client.post(Wire::H1, &Post::json(body)).await.expect("an answer").told(4);
    assert_eq!(told[0], Told::Accepted);
    assert!(told[1..].iter().all(|told| matches!(told, Told::Rejected(_))), "{told:?}");
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;

    let (data, lake) = (folder.path().to_str().expect("text"), folder.path().join("lake"));
    let lake = lake.to_str().expect("text");
    let uuid = serde_json::from_str::<Value>(&valid).expect("JSON")["event_uuid"].as_str().expect("text").to_owned();
    let letters = ["dead-letters", "show", "--limit", "9", "--data-dir", data];
    let commands: [&[&str]; 6] = [
        &["dead-letters", "list", "--data-dir", data],
        &["dead-letters", "list", "--data-dir", data, "--format", "json"],
        &letters,
        &["lake", "export", "--lake", lake],
        &["lake", "find", &uuid, "--lake", lake],
        &["lake", "ls", "--lake", lake],
    ];
    for command in commands {
        let printed = printed(command);
        let raw: Vec<char> = printed.chars().filter(|letter| HARMFUL.contains(*letter) && !"[]2J0;x".contains(*letter)).collect();
        assert!(!printed.is_empty() && raw.is_empty(), "{command:?} prints {raw:?}: {printed:?}");
    }
    let exported: Value = serde_json::from_str(&printed(commands[3])).expect("JSON");
    assert_eq!(exported["section_name"], *text);
    let found: Value = serde_json::from_str(&printed(commands[4])).expect("JSON");
    assert_eq!(found["payload"]["section_name"], *text);
    let shown = printed(&letters);
    let shown: Vec<Value> = serde_json::Deserializer::from_str(&shown).into_iter().map(|letter| letter.expect("JSON")).collect();
    let raws = shown.iter().filter_map(|letter| serde_json::from_str::<Value>(letter["line"]["raw"].as_str()?).ok());
    assert!(raws.into_iter().any(|event| event["event_name"] == *text), "{shown:?}");
}
