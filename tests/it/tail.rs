//! `lakegate tail`, and the stream that it reads: who sees what, and that looking costs nobody else anything.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fastrand::Rng;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use uuid::Uuid;

use crate::support::{
    client::{Client, Post, Told, Wire, ask_plain, get_plain},
    events::{self, Form},
    eventually,
    gateway::{Gateway, Setup},
    readback::dead_letters,
    say,
};

/// Much longer than anything here takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(30);

/// A stream of live events.
struct Watch {
    body: Incoming,
    /// All bytes that came, as text.
    text: String,
    read: usize,
}

impl Watch {
    async fn begin(gateway: &Gateway, query: &str) -> Self {
        Self::on(TcpStream::connect(gateway.admin()).await.expect("it listens"), query).await
    }

    async fn on(stream: TcpStream, query: &str) -> Self {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let request = Request::get(format!("/admin/tail{query}")).header("host", "localhost");
        let answer = sender.send_request(request.body(Empty::<&[u8]>::new()).expect("a request")).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        Self { body: answer.into_body(), text: String::new(), read: 0 }
    }

    /// The next event of the stream, whatever its kind; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.text[self.read..].find("\n\n") {
                let block = self.text[self.read..self.read + end].to_owned();
                self.read += end + 2;
                if let Some(kind) = block.strip_prefix("event: ") {
                    let (kind, data) = kind.split_once("\ndata: ").unwrap_or_else(|| panic!("{block:?}"));
                    return Some((
                        kind.to_owned(),
                        serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data:?}")),
                    ));
                }
                assert!(block.starts_with(": ") && !block.contains('\n'), "{block:?}");
                continue;
            }
            let frame = timeout(LIMIT, self.body.frame()).await.expect("something comes, if only a sign of life")?;
            let piece = frame.ok()?.into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&piece).expect("pieces end with an event"));
        }
    }

    /// The next event that came in.
    async fn event(&mut self) -> Value {
        let (kind, data) = self.next().await.expect("the stream goes on");
        assert_eq!(kind, "event", "{data}");
        data
    }
}

fn small(uuid: Uuid) -> String {
    String::from_utf8(events::small(uuid)).expect("text")
}

/// A right event that is the same whenever it is made, and all its texts are told apart.
fn plain_event(uuid: Uuid) -> String {
    json!({
        "event_uuid": uuid, "event_name": "menu:section:reached", "created_at": 1_795_111_203.5, "session_id": uuid, "visit_id": uuid,
        "restaurant_id": "quinta.norte", "menu_id": "wine-list", "section_id": "reds", "section_index": 7
    })
    .to_string()
}

async fn told(client: &Client, body: &str) -> Told {
    client.post(Wire::H1, &Post::json(body.to_owned())).await.expect("an answer").told(1).remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_is_seen_with_its_reason_and_so_are_replays() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let client = gateway.client();
    let mut watch = Watch::begin(&gateway, "").await;
    let uuid = Uuid::new_v4();
    let event = plain_event(uuid);
    assert_eq!(told(&client, &event).await, Told::Accepted);
    assert_eq!(told(&client, &event).await, Told::Duplicate);
    let wrong = event.replace(":7", ":\"7\"");
    assert_eq!(told(&client, &wrong).await, Told::Rejected("schema_violation".into()));
    for outcome in ["accepted", "duplicate", "rejected"] {
        let seen = watch.event().await;
        for (name, value) in [("outcome", outcome), ("key", "dev"), ("event_name", "menu:section:reached")] {
            assert_eq!(seen[name], value, "{seen}");
        }
        assert_eq!((&seen["event_uuid"], &seen["replayed"]), (&uuid.to_string().into(), &Value::Bool(false)), "{seen}");
        assert!(seen["schema_version"].as_u64() >= Some(1) && seen["bytes"].as_u64() >= Some(event.len() as u64), "{seen}");
        assert!(seen["received_datetime"].as_str().is_some_and(|time| time.ends_with('Z')), "{seen}");
        if outcome == "rejected" {
            assert_eq!([&seen["code"], &seen["pointer"]], ["schema_violation", "/section_index"]);
            assert!(seen["detail"].as_str().is_some_and(|detail| detail.contains("integer")), "{seen}");
        } else {
            assert!(seen.get("code").is_none(), "{seen}");
        }
    }
    let letter = dead_letters(&folder.path().join("dead-letters")).remove(0);
    // The same identity, so that the replay of the mended event is a duplicate; and the time of its first receipt.
    let patch = folder.path().join("patch.json");
    std::fs::write(&patch, r#"[{"op": "replace", "path": "/section_index", "value": 7}]"#).expect("a file");
    let replay = |more: &[&str]| {
        let words = ["dead-letters", "replay", "--patch", patch.to_str().expect("a path")];
        let output = tokio::task::block_in_place(|| command(folder.path(), &[&words, more].concat()).output().expect("it runs"));
        assert!(output.status.success(), "{}", said(&output));
    };
    replay(&["--dry-run"]);
    replay(&[]);
    let seen = watch.event().await;
    assert_eq!((&seen["outcome"], &seen["replayed"]), (&"duplicate".into(), &true.into()), "{seen}");
    assert_eq!(seen["received_datetime"], letter.line["received_datetime"], "a dry run shows nothing");
    // A request of many events, in their order.
    let uuids: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    let mut bodies: Vec<String> = uuids.iter().map(|uuid| plain_event(*uuid)).collect();
    bodies[2] = "7".into();
    let answer = client.post(Wire::H2, &Form::GzipArray.post(&bodies)).await.expect("an answer");
    assert_eq!(answer.told(5)[2], Told::Rejected("not_an_object".into()));
    for (at, uuid) in uuids.iter().enumerate() {
        let seen = watch.event().await;
        match at {
            2 => assert_eq!((&seen["code"], seen.get("event_uuid"), seen.get("payload")), (&"not_an_object".into(), None, None)),
            _ => assert_eq!([&seen["event_uuid"], &seen["outcome"]], [&*uuid.to_string(), "accepted"]),
        }
    }
    gateway.stop().await;

    // A gateway that can store nothing.
    let gateway = Setup::new(folder.path()).set("spool.free_bytes_min", i64::MAX).start().await;
    let mut watch = Watch::begin(&gateway, "?outcome=retry").await;
    let Told::Retry(code) = told(&gateway.client(), &plain_event(Uuid::new_v4())).await else { panic!("nothing can be stored") };
    let seen = watch.event().await;
    assert_eq!([&seen["outcome"], &seen["code"], &seen["event_name"]], ["retry", &code, "menu:section:reached"]);
    assert!(seen["detail"].is_string(), "{seen}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_what_it_asked_for_and_is_told_what_is_not_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("schemas.unknown_events", "accept").start().await;
    let client = gateway.client();
    let named = |name: &str| plain_event(Uuid::new_v4()).replace("menu:section:reached", name);
    let mut menus = Watch::begin(&gateway, "?event=menu:*&event=a%3Ab").await;
    let mut refused = Watch::begin(&gateway, "?outcome=rejected&outcome=retry&key=dev").await;
    let mut others = Watch::begin(&gateway, "?key=other*&rate=500").await;
    for (name, is_accepted) in [("order:x", true), ("menu:x", true), ("menus:x", true), ("menu::x", false), ("a:b", true)] {
        assert_eq!(told(&client, &named(name)).await == Told::Accepted, is_accepted, "{name}");
    }
    assert_eq!(menus.event().await["event_name"], "menu:x");
    // A name that is no name is what it is asked for by.
    assert_eq!(menus.event().await["event_name"], "menu::x");
    assert_eq!(menus.event().await["event_name"], "a:b");
    let seen = refused.event().await;
    assert_eq!([&seen["event_name"], &seen["code"]], ["menu::x", "invalid_event_name"]);
    assert!(timeout(Duration::from_secs(1), others.next()).await.is_err(), "no event of this key came");
    for (query, named) in [
        ("?evnet=x", "evnet"),
        ("?event=menu:*|order:*", "menu:*|order:*"),
        ("?event=", "no pattern of event names"),
        ("?key=a/b", "no pattern of names of keys"),
        ("?outcome=refused", "accepted, duplicate, rejected and retry"),
        ("?rate=501", "1 to 500"),
        ("?event=%ff", "UTF-8"),
    ] {
        let answer = get_plain(gateway.admin(), &format!("/admin/tail{query}")).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code().as_str()), (400, "invalid_question"), "{query}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{query}: {}", answer.text());
    }
    let head = ask_plain(gateway.admin(), "HEAD", "/admin/tail", &[]).await.expect("an answer");
    assert_eq!((head.status, head.header("cache-control")), (200, "no-store"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_shown_only_if_configured_and_nothing_forges_the_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    // Raw ends of lines between the tokens, escaped ones within texts, and what terminals obey.
    let odd = "x\u{9b}2J\u{202e}\u{2028}\u{7f}";
    let event = plain_event(Uuid::new_v4())
        .replace("quinta.norte", &format!("{odd}\\n\\ndata: forged\\n\\nevent: end\\ndata: {{}}\\u001b[2J"))
        .replace(',', ",\r\n\n")
        .replace("menu_id", &format!("s3cret {odd}\\n"));
    let name = plain_event(Uuid::new_v4()).replace("menu:section", "data: x\\n\\nevent: end");
    for shows_payloads in [false, true] {
        let data = folder.path().join(shows_payloads.to_string());
        let gateway = Setup::new(data).set("admin.tail_payloads", shows_payloads).start().await;
        let client = gateway.client();
        let mut watch = Watch::begin(&gateway, "").await;
        for (body, code) in [(&event, "schema_violation"), (&name, "invalid_event_name")] {
            assert_eq!(told(&client, body).await, Told::Rejected(code.into()));
        }
        let mut garbled = b"{\"a\":\"\xff\x1b[2J\"}\n".to_vec();
        garbled.extend_from_slice(small(events::identity(&mut Rng::new())).as_bytes());
        client.post(Wire::H1, &Post::lines(garbled)).await.expect("an answer");
        let seen = [watch.event().await, watch.event().await, watch.event().await, watch.event().await];
        let payload = seen[0]["payload"].as_object().expect("an object");
        assert_eq!(payload["section_id"], if shows_payloads { "reds" } else { "<string 4>" }, "{payload:?}");
        assert_eq!(payload["section_index"], if shows_payloads { json!(7) } else { "<number>".into() });
        assert!(payload.contains_key(&format!("s3cret {odd}\n")), "names of members are shown: {payload:?}");
        assert_eq!(watch.text.contains("wine-list"), shows_payloads, "{}", watch.text);
        assert_eq!(seen[1]["event_name"], "data: x\n\nevent: end:reached");
        assert_eq!([&seen[2]["code"], &seen[3]["outcome"]], ["invalid_unicode", "accepted"]);
        assert_eq!(seen[2]["payload_head"], if shows_payloads { "{\"a\":\"".into() } else { Value::Null });
        let is_harmless = |c: char| c == '\n' || (c >= ' ' && !"\u{7f}\u{9b}\u{202e}\u{2028}".contains(c));
        assert!(watch.text.chars().all(is_harmless), "{:?}", watch.text);
        assert_eq!((watch.text.matches("\nevent: ").count(), watch.text.matches("\ndata: ").count()), (4, 4));
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_than_the_rate_a_sample_is_shown_which_says_so_and_all_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let mut watch = Watch::begin(&gateway, "?rate=20&outcome=accepted").await;
    let mut rng = Rng::new();
    let mut sent = 0;
    for count in [1000, 1, 3, 2000] {
        let bodies: Vec<_> = (0..count).map(|_| events::small(events::identity(&mut rng))).collect();
        let answer = gateway.client().post(Wire::H2, &Form::Lines.post(&bodies)).await.expect("an answer");
        assert_eq!(answer.told(count), vec![Told::Accepted; count]);
        sent += count as u64;
    }
    // Events that are shown, and that are not, and those of ticks of which a sample is shown.
    let (mut shown, mut left_out, mut sampled) = (0, 0, 0);
    while shown + left_out < sent {
        let (kind, data) = watch.next().await.expect("the stream goes on");
        let number = |name: &str| data[name].as_u64().unwrap_or_else(|| panic!("{name} of {data}"));
        match kind.as_str() {
            "event" => shown += 1,
            "sampled" => {
                assert_eq!(number("shown"), 4, "a fifth of a second of 20: {data}");
                assert!(shown >= number("shown") && number("milliseconds") > 0, "they come before: {data}");
                left_out += number("matched") - number("shown");
                sampled += number("matched");
            }
            // A busy machine made a tick long.
            _ => left_out += number("events"),
        }
    }
    assert_eq!(shown + left_out, sent);
    assert!(shown < 100 && (sampled >= 1_000 || left_out >= 1_000), "{shown} shown, {left_out} not, {sampled} sampled");
    gateway.stop().await;
}

/// Bytes that the system has not sent yet on a connection between two ports of this machine.
fn unsent_bytes(from: u16, to: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is there");
    let (from, to) = (format!(":{from:04X}"), format!(":{to:04X}"));
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_meant = words.get(1)?.ends_with(&from) && words.get(2)?.ends_with(&to);
        let (unsent, _) = words.get(4)?.split_once(':')?;
        u64::from_str_radix(unsent, 16).ok().filter(|_| is_meant)
    };
    table.lines().find_map(of_line).expect("the connection is open")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_stuck_costs_requests_nothing_and_is_told_what_it_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("admin.tail_payloads", true).start().await;
    let client = gateway.client();
    let mut rng = Rng::new();
    let mut post = async || {
        let bodies: Vec<_> = (0..200).map(|_| events::good_of_size(events::identity(&mut rng), 4_000)).collect();
        let post = Form::Array.post(&bodies);
        let started = Instant::now();
        let answer = client.post(Wire::H1, &post).await.expect("an answer");
        assert_eq!(answer.told(200), vec![Told::Accepted; 200]);
        started.elapsed()
    };
    let mut free = Vec::new();
    for _ in 0..10 {
        free.push(post().await);
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let stream = socket.connect(gateway.admin()).await.expect("it listens");
    let ours = stream.local_addr().expect("an address").port();
    let mut watch = Watch::on(stream, "?rate=500").await;
    let (before, began) = (gateway.memory().now, Instant::now());
    let mut sent = 0;
    // Until what the gateway has written lies in full buffers of the system, and no more is added.
    let mut unsent = [0; 3];
    while unsent[0] < 100_000 || unsent != [unsent[0]; 3] {
        assert!(began.elapsed() < 4 * LIMIT, "the reader is never stuck: {unsent:?}");
        post().await;
        sent += 200;
        tokio::time::sleep(Duration::from_millis(200)).await;
        unsent = [unsent[1], unsent[2], unsent_bytes(gateway.admin().port(), ours)];
    }
    let mut stuck = Vec::new();
    for _ in 0..10 {
        stuck.push(post().await);
        sent += 200;
    }
    let grown = gateway.memory().now - before;
    // The least of each: what other tests take is no concern of this one.
    let (free, stuck) = (free.into_iter().min().expect("some"), stuck.into_iter().min().expect("some"));
    say(format_args!("a request takes {free:?}, beside a stuck watcher {stuck:?}; memory grew by {grown:.1} MiB; {sent} events"));
    assert!(stuck < 3 * free + Duration::from_millis(100), "{stuck:?}, and {free:?} without");
    // A tick, a piece on its way, and what the gateway needs for the load itself.
    assert!(grown < 64.0, "{grown} MiB");
    let (mut seen, mut missed) = (0, 0);
    while seen < sent {
        match watch.next().await.expect("it was not cut off") {
            (kind, data) if kind == "missed" => {
                missed += data["events"].as_u64().expect("a number");
                seen += data["events"].as_u64().expect("a number");
            }
            (kind, data) if kind == "sampled" => {
                seen += data["matched"].as_u64().expect("a number") - data["shown"].as_u64().expect("a number");
            }
            _ => seen += 1,
        }
    }
    assert_eq!(seen, sent, "each event is shown, or in a count of what is not");
    assert!(missed > 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_programs_of_this_machine_and_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    for headers in [
        "host: localhost\r\norigin: http://localhost:9090\r\n",
        "host: localhost\r\norigin: null\r\n",
        "host: localhost\r\nsec-fetch-site: cross-site\r\n",
        "host: evil.example\r\n",
        // Who may read the metrics may not watch.
        "host: lakegate\r\n",
        "host: 10.1.2.3:9090\r\n",
    ] {
        let mut stream = TcpStream::connect(gateway.admin()).await.expect("it listens");
        let request = format!("GET /admin/tail HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer)).await.expect("no stream").expect("text");
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\"code\":\"operators_only\""), "{headers:?}: {answer}");
    }
    let outside = gateway.client().get("/admin/tail").await.expect("an answer");
    assert_eq!((outside.status, outside.problem_code().as_str()), (404, "not_found"), "not on the listener for events");
    let mut watching = Vec::new();
    for _ in 0..8 {
        watching.push(Watch::begin(&gateway, "").await);
    }
    let answer = get_plain(gateway.admin(), "/admin/tail").await.expect("an answer");
    assert_eq!((answer.status, answer.problem_code().as_str(), answer.header("retry-after")), (503, "busy", "1"));
    // Who goes gives the place back, also if nothing is to be shown.
    watching.pop();
    eventually("a place is free", LIMIT, async || {
        let head = ask_plain(gateway.admin(), "GET", "/admin/tail?rate=none", &[]).await.expect("an answer");
        assert_eq!(head.status, 400);
        let stream = TcpStream::connect(gateway.admin()).await.expect("it listens");
        status_of_watch(stream).await == 200
    })
    .await;
    gateway.stop().await;
}

/// The status of a question for all events.
async fn status_of_watch(stream: TcpStream) -> u16 {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let request = Request::get("/admin/tail").header("host", "localhost").body(Empty::<&[u8]>::new()).expect("a request");
    sender.send_request(request).await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_and_does_not_wait_for_who_reads_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut took = Vec::new();
    for watchers in [0, 3] {
        let mut gateway = Setup::new(folder.path().join(watchers.to_string())).start().await;
        let mut watching = Vec::new();
        for _ in 0..watchers {
            watching.push(Watch::begin(&gateway, "").await);
        }
        assert_eq!(told(&gateway.client(), &plain_event(Uuid::new_v4())).await, Told::Accepted);
        let stopped = Instant::now();
        gateway.terminate();
        // Nobody reads meanwhile.
        assert_eq!(gateway.exit_code(LIMIT).await, 0, "{}", gateway.log_text());
        took.push(stopped.elapsed());
        assert!(!gateway.has_logged("still in flight"), "{}", gateway.log_text());
        for mut watch in watching {
            assert_eq!(watch.event().await["outcome"], "accepted");
            assert_eq!(watch.next().await, Some(("end".into(), json!({ "reason": "stopping" }))));
            assert_eq!(watch.next().await, None);
        }
    }
    say(format_args!("a stop takes {:?}, and {:?} with three watchers", took[0], took[1]));
    assert!(took[1] < took[0] + Duration::from_secs(1), "{took:?}");
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(variable);
    }
    command.args(arguments).arg("--data-dir").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The lines that a command has printed so far.
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let heard = lines.clone();
        std::thread::spawn(move || {
            let printed = BufReader::new(pipe).lines().map_while(Result::ok);
            printed.for_each(|line| heard.lock().unwrap_or_else(PoisonError::into_inner).push(line));
        });
        Self(lines)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// Sends right and wrong events until the command ends.
async fn send_until_it_ends(gateway: &Gateway, mut child: Child) -> Output {
    let client = gateway.client();
    let started = Instant::now();
    while child.try_wait().expect("a child can be waited for").is_none() {
        assert!(started.elapsed() < LIMIT, "it does not end");
        told(&client, &plain_event(Uuid::new_v4())).await;
        told(&client, &plain_event(Uuid::new_v4()).replace(":7", ":\"7\"")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.wait_with_output().expect("it ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_finds_the_gateway_prints_a_line_an_event_and_stops_after_so_many() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let tail = |words: &[&str]| command(folder.path(), &[&["tail"], words].concat()).spawn().expect("it can be started");
    let output = send_until_it_ends(&gateway, tail(&["--json", "--count", "3"])).await;
    assert!(output.status.success(), "{}", said(&output));
    let lines: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line["payload"]["section_id"] == "<string 4>" && line["key"] == "dev"), "{lines:?}");

    let output = send_until_it_ends(&gateway, tail(&["--rejected", "--event", "menu:*", "--key", "dev", "--count", "2"])).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.lines().count() == 2, "{}", said(&output));
    for line in printed.lines() {
        assert!(line.contains("Z rejected  dev menu:section:reached "), "{line}");
        assert!(line.contains(" schema_violation /section_index: expected "), "{line}");
        assert!(!line.contains('\u{1b}'), "no colours in a pipe: {line}");
    }

    // A time is enough too, and of another key nothing comes; --admin needs no data folder.
    let admin = gateway.admin().to_string();
    let nowhere = folder.path().join("nowhere");
    let child =
        command(&nowhere, &["tail", "--key", "other", "--for", "1s", "--admin", &admin]).spawn().expect("it can be started");
    let output = send_until_it_ends(&gateway, child).await;
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));

    // More than the rate.
    let child = tail(&["--rate", "1", "--for", "3s"]);
    let output = send_until_it_ends(&gateway, child).await;
    assert!(output.status.success(), "{}", said(&output));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("lakegate: showing ") && told.contains("a fair sample"), "{}", said(&output));

    // What is not understood ends it, and so does a folder on which no gateway runs.
    let ended = |arguments: &[&str], data: &Path| {
        let output = tokio::task::block_in_place(|| command(data, arguments).output().expect("it runs"));
        (output.status.code(), said(&output))
    };
    let (code, text) = ended(&["tail", "--event", "a|b"], folder.path());
    assert!(code == Some(1) && text.contains("no pattern of event names") && text.contains("(invalid_question)"), "{text}");
    let (code, text) = ended(&["tail"], &nowhere);
    assert!(code == Some(1) && text.contains("no gateway runs on ") && text.contains("--admin"), "{text}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_waits_for_a_gateway_that_restarts_and_ends_well_when_nobody_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path());
    let gateway = setup.start().await;
    let mut child = command(folder.path(), &["tail", "--json", "--count", "100000"]).spawn().expect("it can be started");
    let printed = Heard::of(child.stdout.take().expect("piped"));
    let said = Heard::of(child.stderr.take().expect("piped"));
    let send_until_printed = async |gateway: &Gateway, more_than: usize| {
        let client = gateway.client();
        eventually("an event is printed", LIMIT, async || {
            told(&client, &plain_event(Uuid::new_v4())).await;
            printed.count() > more_than
        })
        .await;
    };
    send_until_printed(&gateway, 0).await;
    gateway.stop().await;
    eventually("it says that it waits", LIMIT, async || said.text().contains("the gateway stops; waiting")).await;
    // On another port.
    let mut gateway = setup.start().await;
    send_until_printed(&gateway, printed.count()).await;
    assert!(said.text().contains("again; what came in between is not shown"), "{}", said.text());
    gateway.kill();
    eventually("it says that it waits", LIMIT, async || said.text().contains("the stream ended; waiting")).await;
    let gateway = setup.start().await;
    send_until_printed(&gateway, printed.count()).await;
    // Ctrl-C.
    let id = Pid::from_raw(i32::try_from(child.id()).expect("an id")).expect("an id");
    kill_process(id, Signal::INT).expect("it is there until it is waited for");
    let status = tokio::task::block_in_place(|| child.wait().expect("it ends"));
    assert_eq!(status.code(), Some(0), "{}", said.text());

    let mut child = command(folder.path(), &["tail"]).spawn().expect("it can be started");
    drop(child.stdout.take());
    let output = send_until_it_ends(&gateway, child).await;
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    gateway.stop().await;
}
