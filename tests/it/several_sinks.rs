//! Several sinks at once: each gets every event, and none waits for another.

use std::{collections::HashSet, process::Command, time::Duration};

use uuid::Uuid;

#[cfg(feature = "kafka")]
use crate::support::kafka::Brokers;
use crate::support::{
    client::{Told, Wire},
    events::Form,
    eventually,
    gateway::{Gateway, Setup},
    kinesis::{KinesisServer, Service, Stream},
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
    streaming::{identities, send, small},
};

const LIMIT: Duration = Duration::from_secs(60);

/// A lake, a stream of Kinesis and a delivery stream of Firehose, and a gateway that may have any of them.
struct Sinks {
    folder: tempfile::TempDir,
    kinesis_server: KinesisServer,
    firehose_server: KinesisServer,
    kinesis: Stream,
    firehose: Stream,
}

impl Sinks {
    async fn new() -> Self {
        let (kinesis_server, firehose_server) = (KinesisServer::start(7).await, KinesisServer::start(8).await);
        let kinesis = kinesis_server.create(Service::Kinesis, "events", 2);
        let firehose = firehose_server.create(Service::Firehose, "events", 1);
        Self { folder: tempfile::tempdir().expect("a folder"), kinesis_server, firehose_server, kinesis, firehose }
    }

    /// A gateway with `sinks`: entries of `[[sinks]]`, such as `{kind="lake"}`.
    fn setup(&self, sinks: &[&str]) -> Setup {
        Setup::new(self.folder.path().join("data"))
            .reaching(&self.kinesis_server)
            .set("firehose.endpoint", self.firehose_server.url())
            .set("kinesis.stream", "events")
            .set("firehose.stream", "events")
            .set("kinesis.linger_ms", 20)
            .set("firehose.linger_ms", 20)
            .set("lake.flush_age_ms", 50)
            .set("sinks", format!("[{}]", sinks.join(", ")))
    }

    fn lake(&self) -> HashSet<Uuid> {
        let lake = LakeRows::read(&self.folder.path().join("data/lake"));
        assert!(lake.rows.values().all(|rows| rows.len() == 1), "an event is in the lake twice");
        lake.rows.into_keys().collect()
    }

    /// The events of a stream, each of which is there once.
    fn once(stream: &Stream) -> HashSet<Uuid> {
        let contents = stream.contents();
        assert_eq!(contents.duplicates(), 0, "events are in the stream twice");
        contents.copies.into_keys().collect()
    }

    async fn until_in_lake(&self, events: &HashSet<Uuid>) {
        eventually("the lake has the events", LIMIT, async || events.is_subset(&self.lake())).await;
    }
}

/// What `/readyz` says of a sink.
async fn state_of(gateway: &Gateway, sink: &str) -> serde_json::Value {
    let readyz = gateway.readiness().await.json();
    let sinks = readyz["sinks"].as_array().expect("all sinks");
    sinks.iter().find(|state| state["name"] == sink).unwrap_or_else(|| panic!("no {sink}: {readyz}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sink_gets_every_event_once_and_goes_on_where_it_stood_after_a_kill() {
    let sinks = Sinks::new().await;
    let setup = sinks.setup(&["{kind=\"lake\"}", "{kind=\"kinesis\"}", "{kind=\"firehose\"}"]);
    let mut gateway = setup.start().await;
    let mut sent = send(&gateway.client(), 1_000).await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.kill();
    let gateway = setup.start().await;
    sent.extend(send(&gateway.client(), 1_000).await);
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!(drained.sinks(), ["firehose", "kinesis", "lake"]);
    assert!(drained.sinks().iter().all(|sink| drained.of_sink(sink, "delivered_events") == 1_000), "{drained:?}");
    gateway.stop().await;
    assert_eq!([sinks.lake(), Sinks::once(&sinks.kinesis), Sinks::once(&sinks.firehose)], [sent.clone(), sent.clone(), sent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sink_holds_up_no_other_and_gets_everything_when_it_is_back() {
    let sinks = Sinks::new().await;
    let setup = sinks.setup(&["{kind=\"lake\"}", "{kind=\"kinesis\"}"]);
    let mut gateway = setup.start().await;
    let mut sent = send(&gateway.client(), 500).await;
    Scrape::when_drained(&gateway).await;
    sinks.kinesis_server.begin_outage().await;
    sent.extend(send(&gateway.client(), 2_000).await);
    sinks.until_in_lake(&sent).await;
    let is_told = async || state_of(&gateway, "kinesis").await["reachable"] == false;
    eventually("the outage is told", LIMIT, is_told).await;
    let answer = gateway.readiness().await;
    let (status, readyz) = (answer.status, answer.json());
    assert_eq!((status, state_of(&gateway, "lake").await["lag_events"].as_u64()), (200, Some(0)), "{readyz}");
    assert_eq!(state_of(&gateway, "kinesis").await["lag_events"], 2_000);
    let reasons = readyz["reasons"].as_array().expect("reasons");
    assert!(reasons.iter().any(|reason| reason["code"] == "sink_unreachable" && reason["place"] == "kinesis"), "{readyz}");
    gateway.kill();
    let gateway = setup.start().await;
    sent.extend(send(&gateway.client(), 500).await);
    sinks.until_in_lake(&sent).await;
    sinks.kinesis_server.end_outage().await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    gateway.stop().await;
    assert_eq!([sinks.lake(), Sinks::once(&sinks.kinesis)], [sent.clone(), sent]);
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn the_lake_goes_on_while_kafka_is_away_and_kafka_gets_everything_once_when_it_is_back() {
    let (sinks, brokers) = (Sinks::new().await, Brokers::start(1));
    brokers.create("events", 3);
    let setup = brokers.sink_of(sinks.setup(&["{kind=\"lake\"}", "{kind=\"kafka\"}"]), "events");
    let setup = setup.set("kafka.delivery_timeout_ms", 2_000);
    let mut gateway = setup.start().await;
    let mut sent = send(&gateway.client(), 500).await;
    Scrape::when_drained(&gateway).await;
    brokers.begin_outage();
    sent.extend(send(&gateway.client(), 1_000).await);
    sinks.until_in_lake(&sent).await;
    let is_told = async || state_of(&gateway, "kafka").await["reachable"] == false;
    eventually("the outage is told", LIMIT, is_told).await;
    assert_eq!(state_of(&gateway, "lake").await["lag_events"], 0);
    assert_eq!(state_of(&gateway, "kafka").await["lag_events"], 1_000);
    gateway.kill();
    let gateway = setup.start().await;
    sent.extend(send(&gateway.client(), 500).await);
    sinks.until_in_lake(&sent).await;
    brokers.end_outage();
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!(drained.sinks(), ["kafka", "lake"]);
    gateway.stop().await;
    let copies = brokers.copies(&["events"]);
    assert!(copies.values().all(|copies| *copies == 1), "an event is in the topic twice");
    assert_eq!([sinks.lake(), copies.into_keys().collect()], [sent.clone(), sent]);
}

/// Bytes of an event that is sent until the spool is full.
const LARGE: usize = 20_000;

fn large(uuid: Uuid) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let text = "x".repeat(LARGE);
    format!(r#"{{"event_uuid":"{uuid}","event_name":"large:thing","created_at":{now},"text":"{text}"}}"#)
}

/// Sends large events in requests of twenty, until a request is refused or `requests` were taken. Returns what was taken.
async fn send_large(gateway: &Gateway, requests: usize) -> (HashSet<Uuid>, bool) {
    let mut taken = HashSet::new();
    let mut connection = gateway.client().connect(Wire::H1).await.expect("a connection");
    for _ in 0..requests {
        let uuids = identities(20);
        let bodies: Vec<String> = uuids.iter().map(|uuid| large(*uuid)).collect();
        let answer = connection.post(&Form::Lines.post(&bodies)).await.expect("an answer");
        let told = answer.told(bodies.len());
        taken.extend(uuids.iter().zip(&told).filter(|(_, told)| **told == Told::Accepted).map(|(uuid, _)| *uuid));
        if told.iter().any(|told| *told != Told::Accepted) {
            return (taken, true);
        }
    }
    (taken, false)
}

/// A spool of twenty megabytes in segments of two.
fn small_spool(setup: Setup) -> Setup {
    setup.set("schemas.unknown_events", "accept").set("spool.segment_bytes", 2_200_000).set("spool.quota_bytes", 22_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sink_that_may_drop_holds_up_nobody_and_says_what_it_dropped() {
    let sinks = Sinks::new().await;
    let setup =
        small_spool(sinks.setup(&["{kind=\"lake\"}", "{kind=\"kinesis\", quota_percent=50, when_full=\"drop_this_sink\"}"]));
    let gateway = setup.start().await;
    sinks.kinesis_server.begin_outage().await;
    let mut sent = HashSet::new();
    // Three times the quota, in rounds that leave the lake and the dropping time to follow.
    for _ in 0..16 {
        let (taken, was_refused) = send_large(&gateway, 10).await;
        assert!(!was_refused, "the lake takes everything, so the gateway does");
        sent.extend(taken);
        sinks.until_in_lake(&sent).await;
        let has_room = async || state_of(&gateway, "kinesis").await["kept_bytes"].as_u64() < Some(12_000_000);
        eventually("the oldest events are dropped", LIMIT, has_room).await;
    }
    let answer = gateway.readiness().await;
    let readyz = answer.json();
    let reasons = readyz["reasons"].as_array().expect("reasons");
    let is_told = reasons.iter().any(|reason| reason["code"] == "sink_events_dropped" && reason["place"] == "kinesis");
    assert!(answer.status == 200 && is_told, "{readyz}");
    sinks.kinesis_server.end_outage().await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    let dropped = drained.of_sink("kinesis", "dropped_events") as usize;
    gateway.stop().await;
    assert_eq!(sinks.lake(), sent);
    let kinesis: HashSet<Uuid> = sinks.kinesis.contents().copies.into_keys().collect();
    assert!(kinesis.is_subset(&sent) && kinesis.len() + dropped == sent.len(), "{} {dropped} {}", kinesis.len(), sent.len());
    assert!(dropped > sent.len() / 2 && kinesis.len() > 200, "{dropped} of {}", sent.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sink_that_must_get_everything_stops_the_taking_at_its_part_and_nothing_is_lost() {
    let sinks = Sinks::new().await;
    let setup = small_spool(sinks.setup(&["{kind=\"lake\"}", "{kind=\"kinesis\", quota_percent=50}"]));
    let gateway = setup.start().await;
    sinks.kinesis_server.begin_outage().await;
    let (mut sent, mut was_refused) = (HashSet::new(), false);
    while !was_refused {
        let (taken, refused) = send_large(&gateway, 1).await;
        sent.extend(taken);
        was_refused = refused;
        // The gateway looks every second, and whenever somebody asks.
        gateway.readiness().await;
    }
    assert!(sent.len() * LARGE < 14_000_000, "refused at half of the quota: {}", sent.len());
    let answer = gateway.readiness().await;
    let (status, readyz) = (answer.status, answer.json());
    let full = readyz["reasons"].as_array().expect("reasons").iter().find(|reason| reason["code"] == "spool_full");
    let full = full.unwrap_or_else(|| panic!("{readyz}"));
    assert_eq!((status, full["place"].as_str(), full["blocks"].as_bool()), (503, Some("kinesis"), Some(true)), "{readyz}");
    sinks.until_in_lake(&sent).await;
    sinks.kinesis_server.end_outage().await;
    Scrape::when_drained(&gateway).await;
    assert_eq!(gateway.readiness().await.status, 200, "it takes events again");
    let (taken, was_refused) = send_large(&gateway, 5).await;
    assert!(!was_refused);
    sent.extend(taken);
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    assert_eq!([sinks.lake(), Sinks::once(&sinks.kinesis)], [sent.clone(), sent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_sink_refused_is_replayed_for_it_alone() {
    let sinks = Sinks::new().await;
    let setup = sinks.setup(&["{kind=\"lake\"}", "{kind=\"firehose\"}"]).set("schemas.unknown_events", "accept");
    let gateway = setup.clone().set("firehose.record_bytes_max", 10_000).set("firehose.aggregate_bytes_max", 5_000).start().await;
    let (sent, _) = send_large(&gateway, 1).await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!((drained.of_sink("firehose", "refused_events"), drained.of_sink("lake", "delivered_events")), (20, 20));
    gateway.stop().await;
    let letters = dead_letters(&sinks.folder.path().join("data/dead-letters"));
    assert!(letters.len() == 20 && letters.iter().all(|letter| letter.line["sink"] == "firehose"), "{letters:?}");
    let gateway = setup.start().await;
    let mut replay = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    replay.args(["dead-letters", "replay", "--data-dir"]).arg(sinks.folder.path().join("data"));
    assert!(replay.status().expect("it runs").success());
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!((drained.of_sink("firehose", "delivered_events"), drained.of_sink("lake", "skipped_events")), (20, 20));
    gateway.stop().await;
    assert_eq!([sinks.lake(), Sinks::once(&sinks.firehose)], [sent.clone(), sent]);
}

/// Starts with `before` while Kinesis and Firehose are away, sends, and kills the gateway: the lake has all, the streams
/// nothing.
async fn with_everything_owed(sinks: &Sinks, before: &[&str]) -> HashSet<Uuid> {
    sinks.kinesis_server.begin_outage().await;
    sinks.firehose_server.begin_outage().await;
    let mut gateway = sinks.setup(before).start().await;
    let sent = send(&gateway.client(), 300).await;
    if before.iter().any(|sink| sink.contains("lake")) {
        sinks.until_in_lake(&sent).await;
        // Its position is written down.
        Scrape::when("the lake has its lag", &gateway, |scrape| scrape.of_sink("lake", "sink_lag_events") == 0).await;
    }
    gateway.kill();
    sinks.kinesis_server.end_outage().await;
    sinks.firehose_server.end_outage().await;
    sent
}

async fn go_on_with(sinks: &Sinks, after: &[&str]) -> HashSet<Uuid> {
    let gateway = sinks.setup(after).start().await;
    let sent = send(&gateway.client(), 50).await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    sent
}

const LAKE: &str = "{kind=\"lake\"}";
const KINESIS: &str = "{kind=\"kinesis\"}";
const FIREHOSE: &str = "{kind=\"firehose\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_in_the_place_of_another_takes_over_what_that_one_still_had_to_get() {
    let sinks = Sinks::new().await;
    let old = with_everything_owed(&sinks, &[LAKE, KINESIS]).await;
    let new = go_on_with(&sinks, &[FIREHOSE, LAKE]).await;
    let all: HashSet<Uuid> = old.union(&new).copied().collect();
    assert_eq!([sinks.lake(), Sinks::once(&sinks.firehose)], [all.clone(), all]);
    assert!(sinks.kinesis.contents().copies.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sinks_one_is_left_and_goes_on_where_it_stood() {
    for (left, other) in [(LAKE, KINESIS), (KINESIS, LAKE)] {
        let sinks = Sinks::new().await;
        let old = with_everything_owed(&sinks, &[left, other]).await;
        let new = go_on_with(&sinks, &[left]).await;
        let all: HashSet<Uuid> = old.union(&new).copied().collect();
        let (kept, gone) = if left == LAKE { (all, HashSet::new()) } else { (old, all) };
        assert_eq!([sinks.lake(), Sinks::once(&sinks.kinesis)], [kept, gone], "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sink_begins_with_the_first_or_at_the_oldest_event_or_now() {
    let kinds = [("", "with the first"), (", start=\"oldest\"", "oldest"), (", start=\"now\"", "now")];
    for (start, what) in kinds {
        let sinks = Sinks::new().await;
        let old = with_everything_owed(&sinks, &[LAKE]).await;
        let second = format!("{{kind=\"kinesis\"{start}}}");
        let new = go_on_with(&sinks, &[LAKE, &second]).await;
        let all: HashSet<Uuid> = old.union(&new).copied().collect();
        // The lake has all old events, so what continues with it gets none of them.
        let expected = if what == "oldest" { all.clone() } else { new };
        assert_eq!([sinks.lake(), Sinks::once(&sinks.kinesis)], [all, expected], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_waits_for_a_sink_that_is_gone_is_passed_over_by_all() {
    let sinks = Sinks::new().await;
    let old = with_everything_owed(&sinks, &[KINESIS]).await;
    let new = go_on_with(&sinks, &["{kind=\"lake\", start=\"now\"}", "{kind=\"firehose\", start=\"now\"}"]).await;
    let all: HashSet<Uuid> = old.union(&new).copied().collect();
    assert_eq!([sinks.lake(), Sinks::once(&sinks.firehose)], [all.clone(), all]);
    assert!(sinks.kinesis.contents().copies.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_delivery_waits_for_every_sink_that_must_get_the_event() {
    let sinks = Sinks::new().await;
    let setup = |kinesis: &str| sinks.setup(&[LAKE, kinesis]).set("http.delivered_wait_seconds", 1);
    let post = |uuids: &[Uuid]| small(uuids).header("prefer", "durability=delivered");
    sinks.kinesis_server.begin_outage().await;
    let gateway = setup(KINESIS).start().await;
    let uuids = identities(3);
    let answer = gateway.client().post(Wire::H1, &post(&uuids)).await.expect("an answer");
    assert_eq!(answer.told(3), vec![Told::Retry("not_delivered_in_time".into()); 3], "{answer:?}");
    gateway.stop().await;
    let gateway = setup("{kind=\"kinesis\", when_full=\"drop_this_sink\"}").start().await;
    let answer = gateway.client().post(Wire::H1, &post(&identities(3))).await.expect("an answer");
    assert_eq!(answer.told(3), vec![Told::Accepted; 3], "{answer:?}");
    sinks.kinesis_server.end_outage().await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    assert_eq!(sinks.lake(), Sinks::once(&sinks.kinesis));
}
