//! The gateway before a Kinesis that misbehaves in every way at once: what was accepted is in the stream, and what is there
//! twice is so because the answer to the first time was lost.

mod support;

use std::{collections::HashSet, time::Duration};

use fastrand::Rng;
use support::{
    client::Wire,
    events::{self, Form},
    gateway::{Gateway, Setup},
    kinesis::{Fault, KinesisServer, REGION, ShardFault, ShardRate, Stream},
    metrics::Scrape,
    say, seed,
};
use tempfile::TempDir;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);
const SHARDS: usize = 4;

/// A server, its stream, and how a gateway is pointed at it.
struct Rig {
    server: KinesisServer,
    stream: Stream,
    setup: Setup,
    rng: Rng,
    accepted: HashSet<Uuid>,
    _folder: TempDir,
}

impl Rig {
    async fn new() -> Self {
        let seed = seed("LAKEGATE_KINESIS_SEED");
        let server = KinesisServer::start(seed).await;
        let stream = server.create_stream("events", SHARDS);
        let folder = tempfile::tempdir().expect("a folder");
        let setup = Setup::new(folder.path()).set("sink.kind", "kinesis").set("kinesis.stream", "events");
        let setup = setup.set("kinesis.endpoint", server.url()).set("kinesis.region", REGION);
        let setup = setup.set("kinesis.call_timeout_ms", 500).set("kinesis.linger_ms", 20).set("kinesis.call_records_max", 50);
        let setup = setup.variable("AWS_ACCESS_KEY_ID", "test").variable("AWS_SECRET_ACCESS_KEY", "test");
        Self { server, stream, setup, rng: Rng::with_seed(seed), accepted: HashSet::new(), _folder: folder }
    }

    /// Posts `count` events, a hundred in each request; all are accepted, whatever the stream does.
    async fn post(&mut self, gateway: &Gateway, count: usize) {
        let mut connection = gateway.client().connect(Wire::H2).await.expect("it listens");
        for _ in 0..count / 100 {
            let uuids: Vec<Uuid> = (0..100).map(|_| events::identity(&mut self.rng)).collect();
            let bodies: Vec<_> = uuids.iter().map(|uuid| events::good(*uuid)).collect();
            let answer = connection.post(&Form::Lines.post(&bodies)).await.expect("an answer");
            assert!(answer.told(100).iter().all(support::client::Told::is_acknowledged), "{answer:?}");
            self.accepted.extend(uuids);
        }
    }

    /// Every accepted event is in the stream, and no KCL drops one; duplicates have their excuse.
    async fn check(&self, gateway: Gateway) {
        self.stream.wait_for_events(self.accepted.len(), LIMIT).await;
        Scrape::when_drained(&gateway).await.assert_ledger();
        gateway.stop().await;
        let contents = self.stream.contents();
        let (calls, shards) = (self.server.calls().len(), self.stream.records_per_shard());
        say(format_args!(
            "{} events in {} records of {shards:?}, {} duplicates, {calls} calls",
            self.accepted.len(),
            contents.records,
            contents.duplicates()
        ));
        contents.assert_exactly(&self.accepted);
        contents.assert_duplicates_are_excused();
        assert!(contents.duplicates() <= contents.copies_with_lost_answer());
        assert_eq!(self.stream.kcl_dropped(), Vec::<Uuid>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_all_faults_at_once_nothing_is_lost_and_nothing_comes_twice_without_excuse() {
    for aggregation in ["none", "kpl", "ndjson"] {
        let mut rig = Rig::new().await;
        rig.stream.set(Fault::RecordThrottled, 0.1).set(Fault::RecordFailed, 0.05).set(Fault::Slow, 0.1);
        for fault in support::kinesis::OF_CALLS {
            // What is held and reported, and what stalls, costs time each time.
            let is_slow = matches!(fault, Fault::StallBefore | Fault::StallAfter);
            rig.stream.set(fault, if is_slow { 0.005 } else { 0.015 });
        }
        // Small aggregates, so that there are many calls to go wrong.
        let setup = rig.setup.clone().set("kinesis.aggregation", aggregation).set("kinesis.aggregate_bytes_max", 4000);
        let gateway = setup.set("kinesis.call_records_max", 20).start().await;
        rig.post(&gateway, 2000).await;
        rig.stream.wait_for_events(1500, LIMIT).await;
        rig.stream.clear_faults();
        rig.check(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_outlived_and_what_it_held_up_arrives() {
    let mut rig = Rig::new().await;
    let gateway = rig.setup.start().await;
    rig.post(&gateway, 500).await;
    rig.server.begin_outage().await;
    rig.post(&gateway, 1000).await;
    Scrape::when("the outage is seen", &gateway, |scrape| scrape.value("spool_events") >= 1000).await;
    rig.server.end_outage().await;
    rig.check(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_may_be_split_and_merged_while_aggregates_are_under_way() {
    let mut rig = Rig::new().await;
    let gateway = rig.setup.clone().set("kinesis.aggregation", "kpl").start().await;
    rig.post(&gateway, 500).await;
    let [lower, upper] = rig.stream.split_shard(0);
    rig.post(&gateway, 500).await;
    rig.stream.split_shard(upper);
    rig.stream.merge_shards(lower - 2, lower - 1);
    rig.post(&gateway, 1000).await;
    rig.check(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_takes_nothing_holds_up_its_own_events_alone() {
    let mut rig = Rig::new().await;
    rig.stream.set_shard_fault(1, Some(ShardFault::Throttled));
    rig.stream.set_shard_rate(Some(ShardRate::AWS));
    let gateway = rig.setup.start().await;
    rig.post(&gateway, 2000).await;
    let elsewhere = rig.accepted.iter().filter(|uuid| {
        let key =
            support::kinesis::UserRecord { partition_key: uuid.to_string(), explicit_hash_key: None, data: Default::default() };
        !rig.stream.shards()[1].contains(key.effective_hash())
    });
    let elsewhere = elsewhere.count();
    rig.stream.wait_for_events(elsewhere, LIMIT).await;
    assert_eq!(rig.stream.records_per_shard()[1], 0);
    rig.stream.set_shard_fault(1, None);
    rig.check(gateway).await;
}
