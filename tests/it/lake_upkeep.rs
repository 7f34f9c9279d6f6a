//! The lake's upkeep from outside: killed at any moment, beside a gateway that is killed too; and in a gateway that stops.
//!
//! Six rounds in `cargo test`. `LAKEGATE_COMPACT_KILLS=100` makes it long; `LAKEGATE_KILL_SEED` repeats a run.

use std::{
    collections::HashSet,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use lakegate::{
    conditions::{Condition, Conditions},
    sink::lake::{Lake, LakeConfig, Retention, StopSignal, Table, UpkeepRun, UpkeepSettings},
    telemetry::Metrics,
};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    client::Wire,
    events::{self, Form},
    gateway::Setup,
    lake_commands::age_leftovers,
    metrics::Scrape,
    readback::{LakeRows, newest_file},
    say, seed,
    sender::Sender,
};

fn lake_command(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.arg("lake").args(words).arg("--data-dir").arg(data);
    command
}

/// Runs a command that must succeed, and reads what it prints.
fn lake(data: &Path, words: &[&str]) -> Value {
    let output = lake_command(data, words).args(["--format", "json"]).output().expect("it can be started");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn start(data: &Path, words: &[&str]) -> Child {
    lake_command(data, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be started")
}

/// Removes everything that the table does not have: also files that a killed compaction never committed, as if a day had passed.
fn vacuum(data: &Path) {
    age_leftovers(&data.join("lake"));
    lake(data, &["vacuum", "--grace-minutes", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_is_killed_beside_a_gateway_that_is_killed_loses_and_doubles_nothing() {
    let rounds = std::env::var("LAKEGATE_COMPACT_KILLS").map_or(6, |text| text.parse().expect("a number of rounds"));
    let mut rng = Rng::with_seed(seed("LAKEGATE_KILL_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = Setup::new(&data).set("lake.flush_age_ms", 30);
    let mut sender = Sender::new(rng.fork(), 30);
    let (mut killed_compactions, mut whole_compactions) = (0, 0);
    for _ in 0..rounds {
        let mut gateway = setup.start().await;
        let killed = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn(sender.send_until(gateway.client(), killed.clone()));
        let until = Instant::now() + Duration::from_millis(rng.u64(300..1_200));
        while Instant::now() < until {
            if newest_file(&data.join("lake/_delta_log"), ".json").is_none() {
                tokio::task::yield_now().await;
                continue;
            }
            let mut compactions: Vec<Child> = (0..2).map(|_| start(&data, &["compact", "--all"])).collect();
            // Any moment: a debug build takes some 50 to 500 ms.
            tokio::time::sleep(Duration::from_millis(rng.u64(..400))).await;
            for compaction in &mut compactions {
                let ended = compaction.try_wait().expect("a process").is_some();
                *(if ended { &mut whole_compactions } else { &mut killed_compactions }) += 1;
                let _ = compaction.kill();
                compaction.wait().expect("a process");
            }
        }
        gateway.kill();
        killed.store(true, Ordering::Relaxed);
        sender = sending.await.expect("a client found an answer that cannot be");
    }
    let gateway = setup.start().await;
    sender.settle(&gateway.client()).await;
    gateway.stop().await;
    lake(&data, &["compact", "--all"]);
    vacuum(&data);
    LakeRows::read(&data.join("lake")).assert_exactly(&sender.acknowledged, events::good);
    let rows = LakeRows::read_all_files(&data.join("lake"));
    rows.assert_exactly(&sender.acknowledged, events::good);
    let table = Table::open(&LakeConfig::at(data.join("lake").to_str().expect("UTF-8"))).expect("a log").expect("a table");
    assert_eq!(table.known().files_count(), rows.files, "the folders have what the table has");
    say(format_args!(
        "{rounds} rounds: {} events, {killed_compactions} compactions killed, {whole_compactions} not, {} files",
        sender.acknowledged.len(),
        rows.files
    ));
    assert!(killed_compactions > 0, "no kill met a compaction");
}

/// The events of the tests were created in November 2026.
#[tokio::test(flavor = "multi_thread")]
async fn events_expire_by_their_names_beside_a_running_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).set("lake.flush_age_ms", 30).start().await;
    let small: Vec<Uuid> = (0..40).map(|_| Uuid::new_v4()).collect();
    let bodies: Vec<Vec<u8>> = small.iter().map(|uuid| events::small(*uuid)).collect();
    let kept: HashSet<Uuid> = (0..40).map(|_| Uuid::new_v4()).filter(|uuid| !reached(&events::good(*uuid))).collect();
    let kept_bodies: Vec<Vec<u8>> = kept.iter().map(|uuid| events::good(*uuid)).collect();
    let client = gateway.client();
    for batch in [&bodies[..20], &kept_bodies, &bodies[20..]] {
        let answer = client.post(Wire::H1, &Form::Array.post(batch)).await.expect("an answer");
        assert!(answer.status < 300, "{}", answer.text());
        Scrape::when_drained(&gateway).await;
    }
    let config = folder.path().join("retention.toml");
    std::fs::write(&config, "[lake.retention.events]\n\"menu:section:*\" = 1\n\"*\" = 3650\n").expect("a file");
    let expire = |more: &[&str]| lake(&data, &[&["expire", "--config", config.to_str().expect("UTF-8")], more].concat());
    let would = expire(&["--dry-run"]);
    assert!(!would["partitions"].as_array().expect("a list").is_empty(), "{would}");
    let rows = |report: &Value| -> u64 {
        report["partitions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|partition| partition["rows"].as_u64().expect("a number"))
            .sum()
    };
    let counted = |value: &Value| value["events"].as_u64().expect("a number");
    let events = || counted(&lake(&data, &["count", "--by-minute"]));
    let before = events();
    assert_eq!(rows(&expire(&[])), 40);
    assert_eq!(events(), before - 40);
    let read = Lake::open(data.join("lake").to_str().expect("UTF-8")).expect("a lake");
    let removed = read.removed_by_minute(i64::MIN..i64::MAX).expect("a log");
    assert_eq!(removed.minutes.values().map(|minute| minute.expired).sum::<u64>(), 40, "{removed:?}");
    assert_eq!(counted(&lake(&data, &["count", "--by-minute", "--until", "2026-11-01"])), 0);
    assert_eq!(expire(&[])["partitions"], serde_json::json!([]));
    let more = Uuid::new_v4();
    let answer = client.post(Wire::H1, &Form::Array.post(&[events::good(more)])).await.expect("an answer");
    assert!(answer.status < 300, "{}", answer.text());
    gateway.stop().await;
    vacuum(&data);
    let wanted: HashSet<Uuid> = kept.into_iter().chain([more]).collect();
    LakeRows::read_all_files(&data.join("lake")).assert_exactly(&wanted, events::good);
}

fn reached(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("menu:section:reached")
}

/// A round begins after half a minute or more.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_upkeep_waits_for_its_next_round_stops_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path().join("data")).start().await;
    let started = Instant::now();
    gateway.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_upkeep_that_fails_for_long_is_said_until_it_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("_delta_log");
    std::fs::create_dir(&log).expect("a folder");
    std::fs::write(log.join("00000000000000000000.json"), "{").expect("a file");
    let (conditions, stop) = (Conditions::default(), StopSignal::default());
    let run = UpkeepRun {
        lake: LakeConfig::at(folder.path().to_str().expect("UTF-8")),
        scratch: folder.path().to_owned(),
        typed: None,
        settings: UpkeepSettings {
            cpu_percent: 100,
            files_max: 2,
            vacuum_grace_millis: 0,
            log_retention_millis: 3_600_000,
            pause: Duration::from_millis(2),
            failing_after: Duration::from_millis(20),
            retention: Retention::default(),
        },
        metrics: Metrics::new().lake.of("lake"),
        conditions: conditions.clone(),
        place: String::new(),
        stop: stop.clone(),
    };
    let running = std::thread::spawn(move || run.run());
    conditions.when(Condition::LakeUpkeepFailing).await;
    assert!(conditions.list()[0].detail.contains("00000000000000000000.json"), "{:?}", conditions.list());
    // A lake without a log is no fault.
    std::fs::remove_dir_all(&log).expect("a folder");
    while conditions.holds(Condition::LakeUpkeepFailing) {
        tokio::task::yield_now().await;
    }
    stop.stop();
    running.join().expect("it ends");
}
