//! What operators are told beside the metrics: the access log, and `lakegate health`.

use std::{
    io::Read,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use fastrand::Rng;
use serde_json::Value;

use crate::support::{
    client::{Post, Told, Wire, ask_plain, get_plain},
    events, eventually,
    gateway::Setup,
};

fn event() -> String {
    String::from_utf8(events::small(events::identity(&mut Rng::new()))).expect("text")
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("the gateway writes it");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_without_its_key_and_probes_are_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("access.ndjson");
    let setup = Setup::new(folder.path().join("data")).set("telemetry.access_log", true).output(&output);
    // The key is `dev` where none is configured; this one is nobody's, and as secret.
    let gateway = setup.set("telemetry.log_filter", "trace").start().await;
    let client = gateway.client();
    let post = Post::json(event()).header("user-agent", "menu/1.0 \u{2028}\u{e9}").header("x-request-id", "r-1");
    assert_eq!(client.post(Wire::H2, &post).await.expect("an answer").told(1), [Told::Accepted]);
    let mut secret = Post::json(event()).without("x-api-key");
    secret.path = "/v1/events?a=%0d%0a&key=s3cret-in-query".into();
    for wire in [Wire::H1, Wire::H2] {
        assert_eq!(client.post(wire, &secret).await.expect("an answer").problem_code(), "unknown_key");
        let header = Post::json(event()).without("x-api-key").header("x-api-key", "s3cret-in-header");
        assert_eq!(client.post(wire, &header).await.expect("an answer").status, 401);
        let bearer = Post::json(event()).without("x-api-key").header("authorization", "Bearer s3cret-in-bearer");
        assert_eq!(client.post(wire, &bearer).await.expect("an answer").status, 401);
    }
    assert_eq!(client.get("/v1/schemas/a%0d%0ab%22%1b%5b2J").await.expect("an answer").status, 404);
    assert_eq!(client.get("/v1/pixel.gif?e=e30&key=s3cret-in-pixel").await.expect("an answer").status, 401);
    assert_eq!(client.get("/healthz").await.expect("an answer").status, 200);
    assert_eq!(get_plain(gateway.admin(), "/metrics").await.expect("an answer").status, 200);
    eventually("all lines are there", Duration::from_secs(10), async || lines(&output).len() >= 9).await;
    let log = gateway.log_text();
    gateway.stop().await;

    let lines = lines(&output);
    assert_eq!(lines.len(), 9, "{lines:#?}");
    let first = &lines[0];
    for (name, value) in [("method", "POST"), ("route", "/v1/events"), ("path", "/v1/events"), ("http", "2")] {
        assert_eq!(first[name], value, "{first}");
    }
    assert_eq!((&first["status"], &first["request_id"]), (&202.into(), &"r-1".into()));
    assert_eq!(first["user_agent"], "menu/1.0 %E2%80%A8%C3%A9");
    assert!(first["request_bytes"].as_u64() > Some(100) && first["response_bytes"].as_u64() > Some(10), "{first}");
    assert!(first["duration_ms"].as_f64() > Some(0.0) && first["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!((&lines[1]["code"], &lines[1]["http"]), (&"unknown_key".into(), &"1.1".into()));
    assert_eq!(lines[7]["path"], "/v1/schemas/a%0d%0ab%22%1b%5b2J");
    let written = std::fs::read_to_string(&output).expect("it was there before");
    for (what, text) in [("access log", written), ("log at level trace", log)] {
        assert!(!text.contains("s3cret"), "a key is in the {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_that_nobody_wants_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("access.ndjson");
    let gateway = Setup::new(folder.path().join("data")).output(&output).start().await;
    assert_eq!(gateway.client().post(Wire::H1, &Post::json(event())).await.expect("an answer").status, 202);
    gateway.stop().await;
    assert_eq!(std::fs::read_to_string(&output).expect("it was made"), "");
}

fn health(arguments: &[&str]) -> (Option<i32>, String) {
    health_with(arguments, None)
}

/// With a configuration file that the environment names.
fn health_with(arguments: &[&str], config: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(name);
    }
    command.envs(config.map(|config| ("LAKEGATE_CONFIG", config)));
    let Output { status, stdout, stderr } = command.arg("health").args(arguments).output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_gateway_as_clients_reach_it_and_says_why_it_is_not_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path().join("data"));
    let gateway = setup.start().await;
    let listen = gateway.events().to_string();
    let asked = |arguments: &[&str]| tokio::task::block_in_place(|| health(arguments));
    assert_eq!(asked(&["--listen", &listen]), (Some(0), "ready".into()));
    assert_eq!(asked(&["--listen", &listen, "--live"]), (Some(0), "alive".into()));
    let config = folder.path().join("lakegate.toml");
    std::fs::write(&config, format!("[http]\nlisten = \"0.0.0.0:{}\"\n", gateway.events().port())).expect("a file");
    assert_eq!(asked(&["--config", config.to_str().expect("a path")]), (Some(0), "ready".into()), "0.0.0.0 is asked here");
    assert_eq!(tokio::task::block_in_place(|| health_with(&[], Some(&config))), (Some(0), "ready".into()));
    let port = gateway.events().port();
    assert_eq!(asked(&["--listen", &format!("localhost:{port}")]), (Some(0), "ready".into()));
    // The same listener is no plain HTTP.
    assert_eq!(asked(&["--listen", &listen, "--plaintext"]).0, Some(1));
    gateway.stop().await;
    let (code, said) = asked(&["--listen", &listen]);
    assert!(code == Some(1) && said.contains("nothing answers on"), "{said}");
    let (code, said) = asked(&["--listen", "127.0.0.1:0"]);
    assert!(code == Some(1) && said.contains("name the one in use with --listen"), "{said}");

    // Behind a load balancer, and with a disk that has to keep more free than there is.
    let setup = setup.set("http.plaintext", true).set("spool.free_bytes_min", i64::MAX);
    let mut gateway = setup.spawn();
    gateway.ready().await;
    let admin = gateway.admin().to_string();
    let (code, said) = asked(&["--listen", &admin, "--plaintext"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("not ready: HTTP 503; disk_full: the file system has 0 bytes left"), "{said}");
    assert_eq!(asked(&["--listen", &admin, "--plaintext", "--live"]), (Some(0), "alive".into()));
    gateway.stop().await;
}

#[test]
fn health_gives_up_on_a_listener_that_takes_connections_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = silent.local_addr().expect("bound").to_string();
    let (code, said) = health(&["--listen", &listen]);
    assert_eq!((code, said), (Some(1), format!("lakegate: {listen} did not answer within 5 s")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_that_takes_gzip_is_sent_less() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path().join("data")).start().await;
    let ask =
        async |headers: &[(&'static str, &str)]| ask_plain(gateway.admin(), "GET", "/metrics", headers).await.expect("an answer");
    let (plain, packed) = (ask(&[]).await, ask(&[("accept-encoding", "gzip")]).await);
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    assert!(packed.body.len() < plain.body.len() / 4, "{} of {}", packed.body.len(), plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).expect("it is gzip");
    assert!(text.contains("\nlakegate_events_received_total ") && text.ends_with("# EOF\n"), "{text}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_logged_once_for_each_kind_and_of_what_was_sent_one_event_uuid() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Setup::new(folder.path().join("data")).start().await;
    let client = gateway.client();
    for _ in 0..20 {
        let nobody = Post::json(event()).without("x-api-key").header("x-api-key", "s3cret");
        assert_eq!(client.post(Wire::H1, &nobody).await.expect("an answer").status, 401);
        assert_eq!(client.get("/s3cret-path").await.expect("an answer").status, 404);
        let unknown = Post::json(event().replace("section:reached", "section:s3cret"));
        let answer = client.post(Wire::H1, &unknown).await.expect("an answer");
        assert_eq!(answer.told(1), [Told::Rejected("unknown_event".into())]);
        for member in ["\"section_index\":\"s3cret\"", "\"s3cret\":1,\"section_index\":0"] {
            let wrong = event().replace(|c: char| c.is_ascii_whitespace(), "").replace("\"section_index\":0", member);
            let answer = client.post(Wire::H1, &Post::json(wrong)).await.expect("an answer");
            assert_eq!(answer.told(1), [Told::Rejected("schema_violation".into())]);
        }
        let detail = answer.json()["results"][0]["error"]["detail"].to_string();
        assert!(
            detail.contains("run: lakegate schemas new menu:section:s3cret (") && detail.contains("within seconds"),
            "{answer:?}"
        );
        assert_eq!(client.post(Wire::H1, &Post::json(event())).await.expect("an answer").told(1), [Told::Accepted]);
    }
    for (code, lines) in [("unknown_key", 1), ("not_found", 1), ("unknown_event", 1), ("schema_violation", 2)] {
        assert_eq!(gateway.until_logged(&format!("\"code\":\"{code}\""), lines).await, lines, "{}", gateway.log_text());
    }
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(60)).await, 0);
    let lines: Vec<Value> = gateway.log_text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (code, key, event_name, pointer) in [
        ("unknown_key", "-", None, None),
        ("not_found", "-", None, None),
        ("unknown_event", "dev", Some("-"), Some("/event_name")),
        ("schema_violation", "dev", Some("menu:section:reached"), Some("/section_index")),
        // The field that the schema does not have is in the detail of the answer.
        ("schema_violation", "dev", Some("menu:section:reached"), Some("-")),
    ] {
        let is_kind = |line: &&Value| line["code"] == code && line["pointer"].as_str() == pointer;
        let said: Vec<_> = lines.iter().filter(is_kind).collect();
        let counts: Vec<_> = said.iter().filter_map(|line| line["count"].as_u64()).collect();
        assert_eq!(counts.iter().sum::<u64>(), 20, "{said:?}");
        assert!(counts.len() <= 3 && counts[0] == 1, "the first at once, the others together: {counts:?}");
        assert!(said.iter().all(|line| line["level"] == "INFO" && line["key"] == key), "{said:?}");
        assert!(said.iter().all(|line| line["event_name"].as_str() == event_name), "{said:?}");
        let has_example = |line: &Value| line["event_uuid"].as_str().is_some_and(|uuid| uuid.parse::<uuid::Uuid>().is_ok());
        assert!(said.iter().all(|line| has_example(line) == event_name.is_some()), "{said:?}");
    }
    assert!(!gateway.log_text().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_folder_is_told_which_process_holds_it_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path().join("data"));
    let refused = async |second: &Setup| {
        let mut second = second.spawn();
        assert_eq!(second.exit_code(Duration::from_secs(60)).await, 1);
        second.log_text()
    };
    let mut first = setup.start().await;
    let holder = format!("is in use by process {} (lakegate serve), since 20", first.id());
    let said = refused(&setup).await;
    assert!(said.contains(&holder) && said.contains("--data-dir DIR") && said.contains("LAKEGATE__DATA_DIR"), "{said}");
    // With the same port, as `make run` has it: that is noticed first.
    let port = first.events().to_string();
    let config = folder.path().join("lakegate.toml");
    std::fs::write(&config, "").expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_lakegate"))
        .args(["serve", "--listen", &port, "--admin", "127.0.0.1:0", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(&setup.data_dir)
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&holder) && said.contains(&format!("cannot listen on {port}")), "{said}");
    // A holder that was killed is not named any more, and its folder is free.
    let killed = first.id();
    first.kill();
    let next = setup.start().await;
    let said = refused(&setup).await;
    assert!(said.contains(&format!("process {} (lakegate serve)", next.id())) && killed != next.id(), "{said}");
    next.stop().await;
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for words in [
        &["plan", "--events-per-hour", "1000"][..],
        &["errors"],
        &["config", "check"],
        &["keys", "new", "web"],
        &["schemas", "list"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{words:?}");
    }
}
