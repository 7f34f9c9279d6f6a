//! `lakegate top` against real gateways: what it says is what was sent.

use std::{
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;

use crate::support::{
    client::{Post, Wire},
    events,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

fn top(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(name);
    }
    command.arg("top").args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn once(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = top(arguments).arg("--once").output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn once_json(arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, said) = once(&[arguments, &["--json"]].concat());
    (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// Reports that come one after the other, until dropped.
struct Reports {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Of events that the reports tell of, added up.
    received: f64,
    last: Value,
}

impl Reports {
    fn of(data_dir: &Path) -> Self {
        let mut command = top(&["--json", "--interval", "100ms", "--data-dir", data_dir.to_str().expect("a path")]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines, received: 0.0, last: Value::Null }
    }

    fn read(&mut self) -> &Value {
        self.last = serde_json::from_str(&self.lines.next().expect("it goes on").expect("a line")).expect("JSON");
        let rate = self.last["events"]["received_per_second"].as_f64();
        assert!(rate.is_none_or(|rate| rate >= 0.0), "{}", self.last);
        let seconds = self.last["gateways"][0]["interval_seconds"].as_f64();
        self.received += rate.zip(seconds).map_or(0.0, |(rate, seconds)| rate * seconds);
        &self.last
    }

    fn read_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        loop {
            self.read();
            if condition(self) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "in vain until {what}: {}", self.last);
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn send(gateway: &Gateway, requests: usize) {
    let mut rng = Rng::new();
    let mut connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
    for _ in 0..requests {
        let bodies: Vec<_> = (0..10).map(|_| events::small(events::identity(&mut rng))).collect();
        let body = bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect::<Vec<_>>().join("\n");
        let answer = connection.post(&Post::lines(body)).await.expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rates_of_all_reports_together_are_what_was_sent_also_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path().join("data")).set("lake.flush_age_ms", 50);
    let mut gateway = setup.start().await;
    let (sent, told) = std::sync::mpsc::channel::<()>();
    let data_dir = setup.data_dir.clone();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let (counted, is_counted) = tokio::sync::oneshot::channel();
    let (away, is_away) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let mut reports = Reports::of(&data_dir);
        assert_eq!(reports.read()["ready"], true);
        ready.send(()).expect("the test goes on");
        reports.read_until("all is counted", |reports| reports.received.round() >= 300.0);
        assert_eq!(reports.received.round(), 300.0);
        counted.send(()).expect("the test goes on");
        told.recv().expect("the gateway was killed");
        reports.read_until("it is away", |reports| reports.last["gateways"][0]["state"] == "away");
        assert_eq!((&reports.last["ready"], &reports.last["events"]["received_per_second"]), (&false.into(), &Value::Null));
        away.send(()).expect("the test goes on");
        reports.read_until("it is back", |reports| reports.last["gateways"][0]["restarted"] == true);
        reports.read_until("what came since is counted", |reports| reports.received.round() >= 320.0);
        assert_eq!(reports.received.round(), 320.0);
    });
    is_ready.await.expect("the reader goes on");
    send(&gateway, 30).await;
    is_counted.await.expect("the reader goes on");
    gateway.kill();
    sent.send(()).expect("the reader goes on");
    is_away.await.expect("the reader goes on");
    let gateway = setup.start().await;
    send(&gateway, 2).await;
    tokio::task::spawn_blocking(move || reader.join()).await.expect("joined").expect("no panic");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_prints_one_report_whose_figures_are_those_of_the_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let setup = Setup::new(&data_dir).set("lake.flush_age_ms", 3_600_000);
    let gateway = setup.start().await;
    send(&gateway, 5).await;
    let data_dir = data_dir.to_str().expect("a path").to_owned();
    let asked = |arguments: &[&str]| tokio::task::block_in_place(|| once_json(arguments));
    let (code, report) = asked(&["--data-dir", &data_dir, "--interval", "200ms"]);
    assert_eq!((code, &report["ready"]), (Some(0), &true.into()), "{report}");
    let scrape = Scrape::of(&gateway).await;
    for (shown, metric) in [("lag_events", "spool_events"), ("quota_bytes", "spool_quota_bytes"), ("bytes", "spool_bytes")] {
        assert_eq!(report["spool"][shown].as_f64(), Some(scrape.number(metric)), "{shown}: {report}");
    }
    assert_eq!(report["spool"]["lag_events"], 50.0);
    assert_eq!((&report["sinks"][0]["sink"], &report["sinks"][0]["lag_events"]), (&"lake".into(), &50.0.into()));
    assert_eq!((&report["events"]["received_per_second"], &report["requests"]["per_second"]), (&0.0.into(), &0.0.into()));
    assert_eq!(report["gateways"][0]["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["process"]["resident_memory_bytes"].as_f64() > Some(1e6), "{report}");
    assert_eq!(report["latency"]["request"]["p99_seconds"], Value::Null, "nothing came meanwhile");

    // The same gateway by its address, in a fleet with one that is away, and as text.
    let admin = gateway.admin().to_string();
    let (code, report) = asked(&["--gateway", &admin, "--gateway", "127.0.0.1:1", "--interval", "100ms"]);
    assert_eq!((code, &report["ready"]), (Some(1), &false.into()));
    let states: Vec<_> =
        report["gateways"].as_array().expect("a list").iter().filter_map(|gateway| gateway["state"].as_str()).collect();
    assert_eq!((states, report["spool"]["lag_events"].as_f64()), (vec!["ready", "away"], Some(50.0)));
    let (code, said) = tokio::task::block_in_place(|| once(&["--admin", &admin, "--interval", "100ms"]));
    assert!(code == Some(0) && said.starts_with(&format!("lakegate top  {admin}  ready  up ")), "{said}");
    assert!(said.contains("waiting 50 events") && said.contains("\nsink "), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");

    // While it does not answer.
    gateway.stop().await;
    let (code, said) = tokio::task::block_in_place(|| once(&["--admin", &admin, "--interval", "100ms"]));
    assert!(code == Some(1) && said.contains("does not answer: trying again") && said.contains("nothing answers on"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_refused_are_counted_by_the_key_that_sent_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let gateway =
        Setup::new(&data_dir).set("rate_limit.requests_per_second", 1).set("rate_limit.requests_burst", 3).start().await;
    let client = gateway.client();
    let event = || String::from_utf8(events::small(events::identity(&mut Rng::new()))).expect("text");
    assert_eq!(client.post(Wire::H1, &Post::json("no json")).await.expect("an answer").status, 400);
    let mut limited = 0;
    while limited < 4 {
        limited += u32::from(client.post(Wire::H1, &Post::json(event())).await.expect("an answer").status == 429);
    }
    let nobody = Post::json(event()).without("x-api-key").header("x-api-key", "s3cret");
    assert_eq!(client.post(Wire::H1, &nobody).await.expect("an answer").status, 401);
    let scrape = Scrape::of(&gateway).await;
    let refused = scrape.labelled("refused_requests");
    let of = |labels: &str| refused.get(labels).copied().unwrap_or_default();
    assert_eq!(of("source=\"dev\",code=\"unreadable_json\""), 1.0, "{refused:?}");
    assert_eq!(of("source=\"dev\",code=\"rate_limited\""), 4.0, "{refused:?}");
    assert_eq!(of("source=\"-\",code=\"unknown_key\""), 1.0, "{refused:?}");
    gateway.stop().await;
}
