//! Nothing that the gateway writes or answers shows a key, wherever a request has it.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{LIMIT, event, key};
use crate::support::{
    client::{Answer, Client, Wire, ask_plain, get_plain},
    eventually,
    gateway::{Gateway, Setup},
};

/// A key that is configured, and one that is nobody's. Both have a slash, which is escaped in an address.
const KEYS: [&str; 2] = ["Good~s3cret/of+svc", "Bad~s3cret/of+none"];

/// A client that is refused keeps its connection at most so long, to read the answer.
const HEAD_SECONDS: u64 = 1;

/// Takes exports of spans, and keeps every byte.
struct Collector {
    url: String,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let received = Arc::<Mutex<Vec<u8>>>::default();
        let all = received.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let all = all.clone();
                tokio::spawn(async move {
                    let (mut pending, mut bytes) = (Vec::new(), [0; 4096]);
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        all.lock().expect("no panic inside").extend_from_slice(&bytes[..count]);
                        pending.extend_from_slice(&bytes[..count]);
                        while let Some(length) = request_length(&pending) {
                            pending.drain(..length);
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                        }
                    }
                });
            }
        });
        Self { url, received }
    }
}

/// The bytes of the first request, once it is whole.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.split("content-length:").nth(1)?.lines().next()?.trim().parse::<usize>().ok()?;
    (bytes.len() >= head + length).then_some(head + length)
}

/// Every form in which a key could be written.
fn forms() -> Vec<String> {
    let mut forms = vec!["s3cret".to_owned()];
    for key in KEYS {
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        forms.extend([key.to_owned(), escaped(key), hex(key)]);
        // Base64, from each of the three positions at which the key may begin; without the ends, which depend on what is around.
        for before in ["", "-", "--"] {
            let encoded = STANDARD.encode(format!("{before}{key}"));
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
    }
    forms
}

fn escaped(key: &str) -> String {
    key.replace('/', "%2F").replace('+', "%2B")
}

fn assert_hidden(what: &str, bytes: &[u8]) {
    for form in forms() {
        if let Some(at) = memchr::memmem::find(bytes, form.as_bytes()) {
            let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
            panic!("{form:?} is in the {what}: {}", String::from_utf8_lossy(around));
        }
    }
}

fn assert_answer_hides(answer: &Answer) {
    assert_hidden("answer", format!("{answer:?}").as_bytes());
    assert_hidden("answer", &answer.body);
}

/// A place of a key: what goes before a path, behind it, and the headers.
struct Place {
    prefix: String,
    query: String,
    header: Option<(&'static str, String)>,
}

fn places(key: &str) -> Vec<Place> {
    let place = |prefix: &str, query: &str, header| Place { prefix: prefix.into(), query: query.into(), header };
    let path = |spelling: &str| place(&spelling.replace("KEY", &escaped(key)), "", None);
    vec![
        path("/k/KEY"),
        path("/k/KEY/"),
        // Where the prefix does not count.
        path("/K/KEY"),
        path("/api/k/KEY"),
        path("/%6b/KEY"),
        path("/k%2FKEY"),
        path("/k//k/KEY"),
        path("/k/x/k/KEY"),
        place("", &format!("key={}", escaped(key)), None),
        place("", "", Some(("authorization", format!("Bearer {key}")))),
        place("", "", Some(("authorization", format!("Basic {}", STANDARD.encode(format!("{key}:")))))),
        place("", "", Some(("authorization", format!("Basic {}", STANDARD.encode(format!("x:{key}")))))),
        place("", "", Some(("x-api-key", key.to_owned()))),
    ]
}

impl Place {
    fn at(&self, path: &str) -> String {
        let path = format!("{}{path}", self.prefix);
        match (self.query.is_empty(), path.contains('?')) {
            (true, _) => path,
            (false, true) => format!("{path}&{}", self.query),
            (false, false) => format!("{path}?{}", self.query),
        }
    }

    /// Sends one request of each kind, and says how many.
    async fn send(&self, client: &Client, wire: Wire) -> usize {
        let mut connection = client.connect(wire).await.expect("it listens");
        let headers: Vec<(&'static str, &str)> = self.header.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut posts =
            vec![event(), event(), event().header("content-type", "image/png"), event().header("content-encoding", "gzip")];
        posts[1].body = "not JSON".into();
        let mut sent = 0;
        for (mut post, path) in posts.into_iter().zip(["/v1/events", "/v1/events", "/menu/s", "/v1/events"]) {
            post.path = self.at(path);
            post.headers.extend(self.header.clone());
            assert_answer_hides(&connection.post(&post).await.expect("an answer"));
            sent += 1;
        }
        for (method, path) in [
            ("GET", "/v1/events"),
            ("PUT", "/v1/events"),
            ("GET", "/nothing/here?a=b"),
            ("GET", "/v1/schemas"),
            ("GET", "/v1/schemas/no:such"),
            ("GET", "/v1/pixel.gif?event_name=mail:opened"),
            ("HEAD", "/v1/pixel.gif?e=!"),
            ("OPTIONS", "/v1/events"),
            ("DELETE", "/"),
        ] {
            let origin = [("origin", "https://menu.example"), ("access-control-request-method", "POST")];
            let headers = [headers.clone(), if method == "OPTIONS" { origin.to_vec() } else { Vec::new() }].concat();
            assert_answer_hides(&connection.ask(method, &self.at(path), &headers).await.expect("an answer"));
            sent += 1;
        }
        sent
    }

    /// The head of a request, without its end.
    fn head(&self) -> String {
        let header = self.header.as_ref().map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        format!("POST {} HTTP/1.1\r\nhost: localhost\r\n{header}", self.at("/v1/events"))
    }

    /// What is no request that is answered by a route.
    async fn send_raw(&self, gateway: &Gateway) {
        let client = gateway.client();
        // Too large; never ended; not framed; of another protocol.
        let heads = [
            format!("{}x: {}\r\n\r\n", self.head(), "y".repeat(200_000)),
            self.head(),
            format!("{}content-length: 1\r\ncontent-length: 2\r\n\r\n", self.head()),
            self.head().replace(" HTTP/1.1", " HTTP/7.1\r\n\r\n"),
        ];
        for head in heads {
            let mut stream = client.stream(Wire::H1).await.expect("it listens");
            // It may close before it has read all.
            let _ = stream.write_all(head.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("it closes");
            assert_hidden("raw answer", &answer);
        }
        // Plain HTTP on the port of TLS.
        let mut stream = TcpStream::connect(gateway.events()).await.expect("it listens");
        stream.write_all(format!("{}\r\n", self.head()).as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("it closes");
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
        assert_hidden("answer to plain HTTP", &answer);
        // The listener for operators.
        for path in ["/metrics", "/nothing"] {
            let headers: Vec<_> = self.header.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = ask_plain(gateway.admin(), "GET", &self.at(path), &headers).await.expect("an answer");
            assert_hidden("answer to operators", &answer.body);
        }
    }
}

/// Every file that the gateway left.
fn assert_files_hide(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_files_hide(&path);
        } else {
            assert_hidden(&path.display().to_string(), &fs::read(&path).expect("a file"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_anything_that_is_written_or_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, output, config) = (folder.path().join("data"), folder.path().join("access"), folder.path().join("lakegate.toml"));
    fs::write(&config, key("svc", KEYS[0], "")).expect("a file");
    let collector = Collector::start().await;
    let setup = Setup::new(&data).config(&config).output(&output).set("telemetry.access_log", true);
    let setup = setup.set("telemetry.log_filter", "trace").set("telemetry.trace_sample_ratio", 1.0);
    let setup = setup.set("telemetry.otlp_endpoint", &collector.url).set("browser.extra_path", "/menu/s");
    let setup = setup.set("http.header_timeout_seconds", HEAD_SECONDS).set("rate_limit.address_requests_burst", 1_000_000);
    let mut gateway = setup.start().await;
    let client = gateway.client();
    let mut sent = 0;
    for secret in KEYS {
        for place in places(secret) {
            for wire in [Wire::H1, Wire::H2] {
                sent += place.send(&client, wire).await;
            }
            place.send_raw(&gateway).await;
        }
    }
    let metrics = get_plain(gateway.admin(), "/metrics").await.expect("an answer");
    gateway.terminate();
    assert_eq!(gateway.exit_code(LIMIT).await, 0);
    // All of it is there to be searched: the lines, the log at its most talkative, and the spans of the last export too.
    let access = fs::read(&output).expect("it was made");
    let lines = access.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= sent, "{lines} lines of {sent} requests");
    let spans = || memchr::memmem::find_iter(&collector.received.lock().expect("no panic inside"), b"POST /v1/events").count();
    eventually("the spans were exported", LIMIT, async || spans() > 10).await;
    let log = gateway.log_text();
    assert!(log.matches("\"answered\"").count() > 100 && log.contains("\"code\":\"unknown_key\""), "{log}");
    assert!(metrics.text().contains("key_last_used_timestamp_seconds{key=\"svc\""), "{}", metrics.text());
    let exported = collector.received.lock().expect("no panic inside").clone();
    let written = [("access log", access), ("log", log.into()), ("metrics", metrics.body.into()), ("spans", exported)];
    for (what, bytes) in &written {
        assert_hidden(what, bytes);
    }
    assert_files_hide(&data);
    // Two of the keys are good, so that the routes behind the key were met as well.
    let counted = |code: &str| written[0].1.windows(code.len()).filter(|part| *part == code.as_bytes()).count();
    assert!(counted("\"status\":202") >= 10 && counted("\"status\":404") >= 10 && counted("\"status\":405") >= 10);
}
