//! `lakegate dev`: the same gateway as a rig for the tests of an application.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::{
    client::{Answer, Client, Connection, Post, Told, Wire, ask_plain, get_plain},
    eventually,
    gateway::{STARTING, Setup},
};

/// Much longer than anything here takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(30);

/// A rig as a process of its own.
struct Rig {
    child: Child,
    said: watch::Receiver<Vec<String>>,
}

impl Rig {
    /// With the shipped schemas, on ports of the system's choice.
    async fn start(more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(more);
        command.arg("--schemas").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = {
            let _starting = STARTING.lock().expect("no start panicked");
            command.spawn().expect("the rig can be started")
        };
        let out = child.stdout.take().expect("piped above");
        let (sender, said) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        let mut rig = Self { child, said };
        rig.until_said("ready").await;
        rig
    }

    async fn until_said(&mut self, text: &str) -> String {
        let found = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let lines = tokio::time::timeout(LIMIT, self.said.wait_for(found)).await;
        let lines = lines.unwrap_or_else(|_| panic!("nobody said {text:?}")).expect("it runs");
        lines.iter().find(|line| line.contains(text)).expect("as waited for").clone()
    }

    /// The address behind the word that a line begins with.
    fn address(&self, word: &str) -> SocketAddr {
        let lines = self.said.borrow();
        let line = lines.iter().find(|line| line.starts_with(word)).expect("it is said");
        let port = line.split("localhost:").nth(1).expect("an address").split('/').next().expect("a port");
        SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")))
    }

    fn events(&self) -> SocketAddr {
        self.address("events")
    }

    fn admin(&self) -> SocketAddr {
        self.address("console")
    }

    async fn send(&self, body: &Value) -> Answer {
        let mut connection = Connection::plain(self.events()).await.expect("it listens");
        connection.post(&Post::json(body.to_string())).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = get_plain(self.admin(), path).await.expect("an answer");
        (answer.status, answer.json())
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let mut post = Post::json(body.to_owned()).without("x-api-key");
        path.clone_into(&mut post.path);
        let answer = Connection::plain(self.admin()).await.expect("it listens").post(&post).await.expect("an answer");
        (answer.status, answer.json())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(uuid: Uuid, index: impl Into<Value>) -> Value {
    let index: Value = index.into();
    json!({
        "event_uuid": uuid, "event_name": "menu:section:reached", "created_at": 1_795_111_203.5, "session_id": uuid, "visit_id": uuid,
        "restaurant_id": "quinta.norte", "menu_id": "wine-list", "section_id": "reds", "section_index": index
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_waits_for_its_events_and_is_told_why_others_do_not_come() {
    let rig = &mut Rig::start(&[]).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(rig.send(&event(first, 7)).await.told(1), [Told::Accepted]);
    let (status, waited) = rig.get("/dev/wait?event=menu:section:*").await;
    assert_eq!((status, &waited["reached"], &waited["count"]), (200, &json!(true), &json!(1)), "{waited}");
    let seen = &waited["events"][0];
    assert_eq!((&seen["event_uuid"], &seen["key"], &seen["outcome"]), (&json!(first), &json!("dev"), &json!("accepted")));
    assert_eq!(seen["payload"], event(first, 7), "the whole payload, with its values");
    // One that comes while somebody waits.
    let admin = rig.admin();
    let waits = tokio::spawn(async move { get_plain(admin, "/dev/wait?event=menu:section:reached&count=2&timeout=30").await });
    assert_eq!(rig.send(&event(second, 8)).await.told(1), [Told::Accepted]);
    assert_eq!(waits.await.expect("it ends").expect("an answer").json()["count"], 2);
    // A third does not come, because it is wrong; and it is printed, with its place.
    assert_eq!(rig.send(&event(Uuid::new_v4(), "9")).await.status, 422);
    let (status, waited) = rig.get("/dev/wait?event=menu:section:reached&count=3&timeout=0.2").await;
    assert_eq!((status, &waited["reached"], &waited["count"]), (408, &json!(false), &json!(2)), "{waited}");
    let rejected = &waited["rejected"]["events"][0];
    assert_eq!((&rejected["code"], &rejected["pointer"]), (&json!("schema_violation"), &json!("/section_index")));
    let printed = rig.until_said("rejected").await;
    assert!(printed.contains("menu:section:reached  key dev  schema_violation at /section_index: "), "{printed}");
    // By their outcome, and after a reset.
    rig.send(&event(first, 7)).await;
    for (query, count) in
        [("", 4), ("?status=rejected", 1), ("?status=duplicate&key=dev", 1), ("?event=order:*", 0), ("?limit=1", 4)]
    {
        let (_, found) = rig.get(&format!("/dev/events{query}")).await;
        assert_eq!(found["count"], count, "{query}: {found}");
        assert!(query != "?limit=1" || found["events"].as_array().map(Vec::len) == Some(1));
    }
    assert_eq!(rig.post("/dev/reset", "").await, (200, json!({"forgotten": 4})));
    assert_eq!(rig.get("/dev/events").await.1["count"], 0);
    for (path, says) in [
        ("/dev/wait?count=0", "count is a number from 1 to"),
        ("/dev/wait?timeout=61", "timeout is a number from 0 to 60"),
        ("/dev/wait?timeout=NaN", "timeout is a number from 0 to 60"),
        ("/dev/events?status=well", "no outcome"),
        ("/dev/events?evnt=a", "cannot be asked for"),
    ] {
        let (status, problem) = rig.get(path).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_question")), "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{path}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_takes_http_and_https_and_every_page_of_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let rig = Rig::start(&["--data-dir", data.to_str().expect("text")]).await;
    assert_eq!(rig.send(&event(Uuid::new_v4(), 1)).await.told(1), [Told::Accepted]);
    let secure = Client::trusting(&data.join("tls/cert.pem"), rig.events());
    for (wire, index) in [(Wire::H1, 2), (Wire::H2, 3)] {
        let post = Post::json(event(Uuid::new_v4(), index).to_string());
        assert_eq!(secure.post(wire, &post).await.expect("an answer").told(1), [Told::Accepted]);
    }
    for (origin, is_let_in) in [
        ("http://localhost:5173", true),
        ("https://localhost", true),
        ("http://127.0.0.1:8000", true),
        ("http://evil.example", false),
        ("http://localhost.evil.example", false),
        ("http://localhost:1.evil.example", false),
    ] {
        let post = Post::json(event(Uuid::new_v4(), 4).to_string()).header("x-api-key", "dev-browser").header("origin", origin);
        let mut connection = Connection::plain(rig.events()).await.expect("it listens");
        let answer = connection.post(&post).await.expect("an answer");
        assert_eq!(
            (answer.status == 202, answer.header("access-control-allow-origin") == origin),
            (is_let_in, is_let_in),
            "{origin}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_when_they_are_asked_for_and_end() {
    let rig = Rig::start(&[]).await;
    let uuid = Uuid::new_v4();
    assert_eq!(rig.post("/dev/faults", r#"{"status":503,"retry_after":2}"#).await.0, 200);
    for _ in 0..2 {
        let answer = rig.send(&event(uuid, 1)).await;
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.json()["code"].clone()),
            (503, "2", json!("fault_asked_for"))
        );
    }
    assert_eq!(rig.get("/dev/events").await.1["count"], 0, "nothing was taken");
    let pixel = ask_plain(rig.events(), "GET", "/v1/pixel.gif", &[]).await.expect("an answer");
    assert_eq!(pixel.status, 503);
    assert_eq!(rig.post("/dev/reset", "").await.0, 200);
    assert_eq!(rig.send(&event(uuid, 1)).await.told(1), [Told::Accepted], "it is new");
    // For a time.
    assert_eq!(rig.post("/dev/faults", r#"{"status":429,"for_ms":300}"#).await.1["status"], 429);
    eventually("it ends", LIMIT, async || rig.send(&event(Uuid::new_v4(), 1)).await.status == 202).await;
    assert_eq!(rig.get("/dev/faults").await.1, json!({"status": null, "latency_ms": null, "sink": "up"}));
    // Slow.
    rig.post("/dev/faults", r#"{"latency_ms":400}"#).await;
    let sent = Instant::now();
    assert_eq!(rig.send(&event(Uuid::new_v4(), 1)).await.status, 202);
    assert!(sent.elapsed() >= Duration::from_millis(400));
    rig.post("/dev/reset", "").await;
    // The sink is away: the event is taken, and waits.
    rig.post("/dev/faults", r#"{"sink":"down"}"#).await;
    let waiting = Uuid::new_v4();
    assert_eq!(rig.send(&event(waiting, 1)).await.told(1), [Told::Accepted]);
    let reasons = async || get_plain(rig.admin(), "/readyz").await.expect("an answer").text();
    eventually("it fails", LIMIT, async || reasons().await.contains("a test switched the sink off")).await;
    let known = rig.get(&format!("/admin/events/{waiting}")).await.1.to_string();
    assert!(known.contains("waits") || known.contains("spooled"), "{known}");
    rig.post("/dev/faults", r#"{"sink":"up"}"#).await;
    eventually("it is delivered", LIMIT, async || {
        rig.get(&format!("/admin/events/{waiting}")).await.1.to_string().contains("delivered")
    })
    .await;
    for (body, says) in [("{}", "nothing is asked for"), (r#"{"status":200}"#, "400 to 599"), ("{", "not understood")] {
        let (status, problem) = rig.post("/dev/faults", body).await;
        assert!(status == 400 && problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{body}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_rig_has_it_and_only_this_machine_reaches_the_rig() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    for path in ["/dev/events", "/dev/wait", "/dev/reset", "/dev/faults"] {
        assert_eq!(get_plain(gateway.admin(), path).await.expect("an answer").status, 404, "{path}");
    }
    gateway.stop().await;
    let rig = Rig::start(&[]).await;
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(ask_plain(rig.admin(), "POST", "/dev/reset", &foreign).await.expect("an answer").status, 403);
    let elsewhere = [("sec-fetch-site", "cross-site")];
    assert_eq!(ask_plain(rig.admin(), "GET", "/dev/events", &elsewhere).await.expect("an answer").status, 403);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let refused = command.args(["dev", "--no-open", "--listen", "0.0.0.0:0"]).output().expect("it starts");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("listens on this machine only"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_nothing_is_left_behind() {
    let mut rig = Rig::start(&[]).await;
    let line = rig.until_said("data ").await;
    let folder = line.trim_start_matches("data").trim().split(' ').next().expect("a folder").to_owned();
    assert!(Path::new(&folder).join("spool").is_dir() && line.ends_with("(gone at the end)"), "{line}");
    kill_process(Pid::from_child(&rig.child), Signal::INT).expect("it runs");
    assert!(rig.child.wait().expect("it ends").success());
    assert!(!Path::new(&folder).exists());
}

/// A rig that runs `sh -c SCRIPT`: its process has ended.
fn beside(script: &str) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--schemas"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).args(["--", "sh", "-c", script]).stdin(Stdio::null());
    let child = {
        let _starting = STARTING.lock().expect("no start panicked");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the rig can be started")
    };
    child.wait_with_output().expect("it ends by itself")
}

#[test]
fn a_command_finds_the_rig_and_its_exit_code_is_that_of_the_rig() {
    let event = event(Uuid::new_v4(), 7).to_string();
    let script = format!(
        "curl -sS --noproxy '*' -H \"x-api-key: $LAKEGATE_KEY\" -H 'content-type: application/json' -d '{event}' $LAKEGATE_URL >&2 &&
         curl -sS --noproxy '*' \"$LAKEGATE_DEV/dev/wait?event=menu:*\" && exit 7"
    );
    let ended = beside(&script);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(7), "{told}");
    let waited: Value =
        serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("only the command's own output: {error} {told}"));
    assert_eq!(waited["count"], 1, "{waited}");
    assert!(told.contains("ready"), "{told}");
    assert_eq!(beside("exit 0").status.code(), Some(0));
    assert_eq!(beside("kill -9 $$").status.code(), Some(137), "as a shell says it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_ended_with_its_rig() {
    // The child of the rig says who the rig is, and when it is asked to end.
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--schemas"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    command.args(["--", "sh", "-c", "trap 'echo ended; exit 3' TERM; kill -TERM $PPID; while :; do sleep 1 & wait $!; done"]);
    let child = {
        let _starting = STARTING.lock().expect("no start panicked");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the rig can be started")
    };
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output());
    let ended = tokio::time::timeout(LIMIT, ended).await.expect("it ends").expect("no panic").expect("it ends");
    assert_eq!((ended.status.code(), &*String::from_utf8_lossy(&ended.stdout)), (Some(3), "ended\n"));
}
