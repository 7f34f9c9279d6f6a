//! Delivery under faults: what fails holds up itself alone, is said, and goes on by itself; each event is there once.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    client::{Post, Told, Wire},
    events, eventually,
    faults::{Call, Errno, Fault, Faults},
    gateway::{Gateway, Setup},
    kinesis::KinesisServer,
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
};

const LIMIT: Duration = Duration::from_secs(60);

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 50).set("schemas.unknown_events", "accept")
}

fn named(name: &str, uuid: Uuid) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    format!(r#"{{"event_uuid":"{uuid}","event_name":"{name}","created_at":{now}}}"#).into_bytes()
}

/// Sends events of these names, one of each, which must be accepted.
async fn send(gateway: &Gateway, names: &[&str], sent: &mut HashSet<Uuid>) {
    let mut rng = Rng::new();
    let bodies: Vec<Vec<u8>> = names
        .iter()
        .map(|name| {
            let uuid = events::identity(&mut rng);
            sent.insert(uuid);
            named(name, uuid)
        })
        .collect();
    let answer = gateway.client().post(Wire::H1, &events::Form::Lines.post(&bodies)).await.expect("an answer");
    assert_eq!(answer.told(names.len()), vec![Told::Accepted; names.len()], "{answer:?}");
}

fn in_lake(folder: &Path) -> Vec<Uuid> {
    let lake = LakeRows::read(&folder.join("data/lake"));
    lake.rows.into_iter().flat_map(|(uuid, rows)| rows.into_iter().map(move |_| uuid)).collect()
}

fn assert_each_once(folder: &Path, sent: &HashSet<Uuid>) {
    let found = in_lake(folder);
    assert_eq!(found.len(), sent.len());
    assert!(found.iter().collect::<HashSet<_>>().len() == sent.len() && found.iter().all(|uuid| sent.contains(uuid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_written_holds_up_itself_alone_through_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let mut gateway = setup.start().await;
    let in_the_way = folder.path().join("data/lake/event_type=broken");
    std::fs::write(&in_the_way, "in the way").expect("a file");
    let mut sent = HashSet::new();
    for round in 1..=5 {
        send(&gateway, &["broken:thing", "good:thing"], &mut sent).await;
        eventually("the other partition goes on", LIMIT, async || in_lake(folder.path()).len() == round).await;
    }
    let readiness = gateway.until_reason("partition_unwritable", LIMIT).await;
    assert_eq!((readiness.status, &readiness.json()["sink"]["reachable"]), (200, &true.into()), "{}", readiness.text());
    assert!(readiness.text().contains("event_type=broken"), "{}", readiness.text());
    gateway.kill();
    let gateway = setup.start().await;
    send(&gateway, &["broken:thing", "good:thing"], &mut sent).await;
    eventually("the other partition goes on", LIMIT, async || in_lake(folder.path()).len() == 6).await;
    gateway.until_reason("partition_unwritable", LIMIT).await;
    std::fs::remove_file(&in_the_way).expect("it is there");
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
    assert_each_once(folder.path(), &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_written_is_said_and_delivery_goes_on_and_after_a_kill_nothing_is_there_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()));
    let mut gateway = setup.start().await;
    faults.set(&[Fault::new(Call::Rename, "*/spool/cursor*", Errno::ACCESS)]);
    let mut sent = HashSet::new();
    for round in 1..=5 {
        send(&gateway, &["good:thing"], &mut sent).await;
        eventually("it is delivered", LIMIT, async || in_lake(folder.path()).len() == round).await;
    }
    gateway.until_reason("cursor_unwritable", LIMIT).await;
    assert!(faults.hits(0) > 0);
    assert_eq!(gateway.until_logged("cursor_unwritable", 1).await, 1, "said once");
    gateway.kill();
    faults.clear();
    let gateway = setup.start().await;
    send(&gateway, &["good:thing"], &mut sent).await;
    Scrape::when_drained(&gateway).await;
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
    assert_each_once(folder.path(), &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_read_for_some_seconds_costs_nothing_be_the_sink_a_lake_or_a_stream() {
    for is_stream in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let faults = Faults::new(folder.path());
        let server = KinesisServer::start(7).await;
        let stream = server.create_stream("events", 2);
        let mut setup = faults.on(setup(folder.path()));
        if is_stream {
            setup = setup.with_stream(&server, "events").set("kinesis.linger_ms", 20);
        }
        let gateway = setup.start().await;
        faults.set(&[Fault::new(Call::Pread, "*/spool/*.seg", Errno::IO)]);
        let mut sent = HashSet::new();
        send(&gateway, &["good:thing"; 23], &mut sent).await;
        faults.until_hits(0, 3, LIMIT).await;
        let readiness = gateway.until_reason("spool_unreadable", LIMIT).await.json();
        let place = readiness["reasons"][0]["place"].as_str().expect("it says where");
        assert_eq!((place.starts_with("spool/"), readiness["reasons"].as_array().map(Vec::len)), (true, Some(1)), "{readiness}");
        let began = Instant::now();
        eventually("three seconds are over", LIMIT, async || began.elapsed() > Duration::from_secs(3)).await;
        let errors = gateway.log_text().matches("cannot be read").count() + gateway.times_logged("spool_unreadable");
        assert!(errors < 10, "said once, not at every try: {}", gateway.log_text());
        faults.clear();
        let drained = Scrape::when_drained(&gateway).await;
        drained.assert_ledger();
        assert_eq!((drained.value("spool_lost_events"), drained.value("delivered_events")), (0, 23));
        gateway.until_reason("", LIMIT).await;
        gateway.stop().await;
        if is_stream {
            stream.contents().assert_exactly(&sent);
        } else {
            assert_each_once(folder.path(), &sent);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_written_is_said_and_knows_everything_once_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let server = KinesisServer::start(7).await;
    let stream = server.create_stream("events", 2);
    let setup = faults.on(setup(folder.path())).with_stream(&server, "events").set("kinesis.linger_ms", 20);
    let gateway = setup.start().await;
    faults.set(&[
        Fault::new(Call::AnyWrite, "*/delivery/*", Errno::NOSPC),
        Fault::new(Call::Open, "*/delivery/*.tmp", Errno::NOSPC),
    ]);
    let mut sent = HashSet::new();
    send(&gateway, &["good:thing"; 50], &mut sent).await;
    stream.wait_for_events(50, LIMIT).await;
    gateway.until_reason("journal_unwritable", LIMIT).await;
    faults.clear();
    gateway.until_reason("", LIMIT).await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    stream.contents().assert_exactly(&sent);
    assert_eq!(stream.contents().duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_delivery_is_told_what_the_sink_refused_and_its_replay_reaches_the_sink() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = KinesisServer::start(7).await;
    let stream = server.create_stream("events", 2);
    let setup = setup(folder.path()).with_stream(&server, "events").set("kinesis.linger_ms", 20);
    let gateway = setup.clone().set("kinesis.record_bytes_max", 50_000).start().await;
    let mut rng = Rng::new();
    let spaced = |uuid: Uuid| {
        let event = named("good:thing", uuid);
        [&event[..1], &[b' '; 60_000], &event[1..]].concat()
    };
    let [large, earlier, good] = [0; 3].map(|_| events::identity(&mut rng));
    // Made once: an event with another time in it is another payload, and not the same event sent again.
    let earlier_body = spaced(earlier);
    let post = |bodies: &[Vec<u8>]| events::Form::Lines.post(bodies);
    let waits = |post: Post| post.header("prefer", "durability=delivered");
    let ask = async |post: &Post, count: usize| gateway.client().post(Wire::H1, post).await.expect("an answer").told(count);
    let refused = || Told::Rejected("refused_by_sink".into());
    // Who does not wait is told that it is stored, and a duplicate of it is refused all the same.
    assert_eq!(ask(&post(std::slice::from_ref(&earlier_body)), 1).await, [Told::Accepted]);
    let is_refused = |scrape: &Scrape| scrape.value("refused_events") == 1;
    Scrape::when("it is refused", &gateway, is_refused).await;
    assert_eq!(ask(&waits(post(std::slice::from_ref(&earlier_body))), 1).await, [refused()]);
    let mixed = [spaced(large), named("good:thing", good)];
    assert_eq!(ask(&waits(post(&mixed)), 2).await, [refused(), Told::Accepted]);
    assert_eq!(ask(&waits(post(&mixed)), 2).await, [refused(), Told::Duplicate]);
    Scrape::when_drained(&gateway).await.assert_ledger();
    assert_eq!(dead_letters(&data.join("dead-letters")).len(), 2);
    gateway.stop().await;

    let gateway = setup.start().await;
    let replay = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(["dead-letters", "replay", "--where", "code=refused_by_sink", "--format", "json", "--data-dir"]).arg(&data);
        let output = command.output().expect("it runs");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), report["accepted"].as_u64(), report["letters"].as_u64())
    };
    assert_eq!(replay(), (Some(0), Some(2), Some(2)));
    stream.wait_for_events(3, LIMIT).await;
    assert_eq!(replay(), (Some(0), Some(0), Some(0)), "once");
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    let contents = stream.contents();
    contents.assert_exactly(&HashSet::from([large, earlier, good]));
    assert_eq!(contents.duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_what_the_sink_refused_that_is_killed_between_spool_and_journal_stores_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let faults = Faults::new(folder.path());
    let server = KinesisServer::start(7).await;
    let stream = server.create_stream("events", 2);
    let setup = faults.on(setup(folder.path())).with_stream(&server, "events").set("kinesis.linger_ms", 20);
    let gateway = setup.clone().set("kinesis.record_bytes_max", 50_000).start().await;
    let large = events::identity(&mut Rng::new());
    let event = named("good:thing", large);
    let body = [&event[..1], &[b' '; 60_000], &event[1..]].concat();
    let answer = gateway.client().post(Wire::H1, &events::Form::Lines.post(&[body])).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Accepted]);
    Scrape::when("it is refused", &gateway, |scrape| scrape.value("refused_events") == 1).await;
    gateway.stop().await;

    let mut gateway = setup.start().await;
    faults.set(&[Fault::kill(Call::AnyWrite, "*/repairs.journal")]);
    let replay = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(["dead-letters", "replay", "--data-dir"]).arg(&data).output().expect("it runs").status.code()
    };
    let _ = replay();
    assert_eq!(gateway.exit_code(LIMIT).await, 128 + 9);
    faults.clear();
    let gateway = setup.start().await;
    assert_eq!(replay(), Some(0));
    stream.wait_for_events(1, LIMIT).await;
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    stream.contents().assert_exactly(&HashSet::from([large]));
    assert_eq!(stream.contents().duplicates(), 0);
}
