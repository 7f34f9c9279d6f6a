//! What Kafka has and Kinesis has not: topics by the event's name, partitions as the Java client chooses them, headers, reports of
//! single records, and partitions that fail while others go on.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use fastrand::Rng;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    client::{Told, Wire},
    events::{self, Form},
    gateway::{Gateway, Setup},
    kafka::{Brokers, Kept},
    metrics::Scrape,
    readback::{dead_letters, letters_of_record},
    say, seed,
    sender::Sender,
    streaming::{ARRIVAL_LIMIT, identities, send},
};

/// A folder, brokers with the topic `events`, and a gateway that delivers to it.
struct Rig {
    folder: tempfile::TempDir,
    brokers: Brokers,
    setup: Setup,
}

impl Rig {
    /// One that takes events without a schema.
    fn new(partitions: i32) -> Self {
        Self::strict(partitions).set("schemas.unknown_events", "accept")
    }

    fn strict(partitions: i32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let brokers = Brokers::start(3);
        brokers.create("events", partitions);
        let setup = brokers.sink_of(Setup::new(folder.path()), "events");
        Self { folder, brokers, setup }
    }

    fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.setup = self.setup.set(key, value);
        self
    }

    /// Waits until all is delivered, and stops the gateway. Panics unless the topics have exactly the events `sent`, each once.
    async fn finish(&self, gateway: Gateway, topics: &[&str], sent: &HashSet<Uuid>) -> Scrape {
        let drained = Scrape::when_drained(&gateway).await;
        drained.assert_ledger();
        gateway.stop().await;
        let copies = self.brokers.copies(topics);
        let found: HashSet<Uuid> = copies.keys().copied().collect();
        let (lost, strange) = (sent.difference(&found).count(), found.difference(sent).count());
        let twice = copies.values().filter(|copies| **copies > 1).count();
        assert!((lost, strange, twice) == (0, 0, 0), "of {}: {lost} lost, {strange} never sent, {twice} twice", sent.len());
        drained
    }
}

/// Sends an event of each name, `count` times. Of each name the identities.
async fn send_named(gateway: &Gateway, names: &[&str], count: usize) -> HashMap<String, HashSet<Uuid>> {
    let mut sent: HashMap<String, HashSet<Uuid>> = HashMap::new();
    let mut bodies = Vec::new();
    for name in names {
        for uuid in identities(count) {
            bodies.push(format!(
                r#"{{"event_uuid":"{uuid}","event_name":"{name}","created_at":1795219200,"session":"s{}"}}"#,
                bodies.len() % 7
            ));
            sent.entry((*name).to_owned()).or_default().insert(uuid);
        }
    }
    let answer = gateway.client().post(Wire::H1, &Form::Lines.post(&bodies)).await.expect("an answer");
    assert_eq!(answer.told(bodies.len()), vec![Told::Accepted; bodies.len()], "{answer:?}");
    sent
}

fn uuids(kept: &[Kept]) -> HashSet<Uuid> {
    kept.iter().map(Kept::uuid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_the_topic_of_its_name_with_its_attributes_as_headers() {
    let rig = Rig::new(2).set(
        "kafka.topics",
        r#"[{events = "menu:*", topic = "menu"}, {events = "pay:*", topic = "t-{event_type}.{event_subtype}"}]"#,
    );
    let rig = rig.set("kafka.format", "cloudevents");
    for topic in ["menu", "t-pay.order"] {
        rig.brokers.create(topic, 3);
    }
    let gateway = rig.setup.start().await;
    let sent = send_named(&gateway, &["menu:item", "menu", "pay:order:done", "other"], 20).await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    let (menu, pay, rest) = (rig.brokers.read("menu"), rig.brokers.read("t-pay.order"), rig.brokers.read("events"));
    assert_eq!(uuids(&menu), sent["menu:item"]);
    assert_eq!(uuids(&pay), sent["pay:order:done"]);
    assert_eq!(uuids(&rest), &sent["menu"] | &sent["other"]);
    for kept in &pay {
        let header = |name: &str| kept.headers[name].as_str();
        assert_eq!(header("ce_id"), kept.key);
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_source", "dev"),
            ("ce_type", "pay:order:done"),
            ("ce_time", "2026-11-21T00:00:00.000Z"),
            ("ce_eventtype", "pay"),
            ("ce_eventsubtype", "order"),
            ("content-type", "application/json"),
        ];
        expected.iter().for_each(|(name, value)| assert_eq!(header(name), *value, "{name}"));
        assert!(header("ce_receivedtime").ends_with('Z') && kept.headers.len() == 9, "{:?}", kept.headers);
        let value: Value = serde_json::from_slice(&kept.value).expect("JSON");
        assert!(value["event_uuid"] == *kept.key && value.get("received_datetime").is_none(), "as its client wrote it: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_partition_that_other_producers_give_it_and_its_events_keep_their_order() {
    const KEYS: usize = 40;
    let rig = Rig::new(7).set("kafka.partition_key", "/session").set("kafka.ordered_by_key", true);
    let gateway = rig.setup.start().await;
    for round in 0..5 {
        let event = |(index, uuid): (usize, Uuid)| {
            let (session, number) = (format!("session-{}", index % KEYS), round * 100 + index);
            format!(
                r#"{{"event_uuid":"{uuid}","event_name":"a:b","created_at":1795219200,"session":"{session}","number":{number}}}"#
            )
        };
        let bodies: Vec<String> = identities(100).into_iter().enumerate().map(event).collect();
        let answer = gateway.client().post(Wire::H1, &Form::Lines.post(&bodies)).await.expect("an answer");
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    let kept = rig.brokers.read("events");
    assert_eq!(kept.len(), 500);
    let mut numbers: HashMap<&str, (i32, Vec<u64>)> = HashMap::new();
    for record in &kept {
        let value: Value = serde_json::from_slice(&record.value).expect("JSON");
        let (partition, seen) = numbers.entry(&record.key).or_insert((record.partition, Vec::new()));
        assert_eq!(*partition, record.partition, "{}", record.key);
        seen.push(value["number"].as_u64().expect("a number"));
    }
    assert!(numbers.values().all(|(_, seen)| seen.is_sorted()), "{numbers:?}");
    assert!(numbers.values().map(|(partition, _)| partition).collect::<HashSet<_>>().len() > 3);
    // librdkafka's partitioner that is named after the Java client's.
    rig.brokers.create("others", 7);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", rig.brokers.cluster.bootstrap_servers()).set("partitioner", "murmur2_random");
    let producer: BaseProducer = config.create().expect("a producer");
    for key in numbers.keys() {
        producer.send(BaseRecord::to("others").key(*key).payload("")).expect("room");
    }
    producer.flush(ARRIVAL_LIMIT).expect("all are sent");
    for record in rig.brokers.read("others") {
        assert_eq!(record.partition, numbers[record.key.as_str()].0, "{}", record.key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_and_a_partition_without_a_leader_hold_up_nothing_else() {
    let rig = Rig::new(4).set("kafka.topics", r#"[{events = "gone:*", topic = "gone"}]"#).set("kafka.delivery_timeout_ms", 2_000);
    rig.brokers.cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).expect("an error");
    rig.brokers.cluster.partition_leader("events", 2, None).expect("no leader");
    let gateway = rig.setup.start().await;
    let mut all = HashSet::new();
    let mut others = HashSet::new();
    for round in 0..20 {
        let sent = send_named(&gateway, &["gone:x", "here:x"], 20).await;
        others.extend(sent["here:x"].iter().copied());
        all.extend(sent.into_values().flatten());
        if round == 0 {
            rig.brokers.wait_for("events", 10).await;
        }
    }
    let blocked = |uuid: &&Uuid| lakegate::sink::kafka::place_of(&uuid.to_string()) % 4 == 2;
    let free = others.iter().filter(|uuid| !blocked(uuid)).count();
    assert!(free < others.len() && free > 0);
    // Before the blocked records run into their time-out, all others are there.
    rig.brokers.wait_for("events", free).await;
    let readiness = gateway.until_reason("gone", ARRIVAL_LIMIT).await;
    let reasons = gateway.until_reason("events/2", ARRIVAL_LIMIT).await.json()["reasons"].to_string();
    assert!(reasons.contains("shard_failing") && reasons.contains("UnknownTopicOrPartition"), "{reasons}");
    assert_eq!(readiness.status, 200, "{readiness:?}");
    assert!(!reasons.contains("events/1") && !reasons.contains("sink_unreachable"), "{reasons}");
    let more = send_named(&gateway, &["here:x"], 40).await.remove("here:x").expect("events");
    let free = free + more.iter().filter(|uuid| !blocked(uuid)).count();
    rig.brokers.wait_for("events", free).await;
    all.extend(more);
    rig.brokers.cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).expect("no error");
    rig.brokers.cluster.partition_leader("events", 2, Some(1)).expect("a leader");
    let drained = rig.finish(gateway, &["events", "gone"], &all).await;
    assert_eq!(drained.value("maybe_duplicate_events"), 0, "what was never sent is certainly not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_refuses_is_found_in_its_batch_and_becomes_a_dead_letter() {
    let rig = Rig::new(1).set("kafka.linger_ms", 500);
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 1).await;
    rig.brokers.wait_for("events", 1).await;
    // The batch, its first half, and the first quarter: one event alone.
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    rig.brokers.cluster.request_errors(RDKafkaApiKey::Produce, &[too_large; 3]);
    sent.extend(send(&gateway.client(), 4).await);
    Scrape::when_drained(&gateway).await.assert_ledger();
    let drained = Scrape::of(&gateway).await;
    gateway.stop().await;
    let letters = dead_letters(&rig.folder.path().join("dead-letters"));
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].code(), "refused_by_sink");
    assert!(
        letters[0].line["detail"].as_str().is_some_and(|detail| detail.contains("MessageSizeTooLarge: topic events")),
        "{letters:?}"
    );
    let refused: Uuid = letters[0].line["event_uuid"].as_str().and_then(|text| text.parse().ok()).expect("an identity");
    assert!(sent.remove(&refused));
    assert_eq!(drained.value("maybe_duplicate_events"), 0);
    assert_eq!(uuids(&rig.brokers.read("events")), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_answer_is_lost_is_sent_again_and_counted() {
    let rig = Rig::new(2).set("kafka.delivery_timeout_ms", 1_000);
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 10).await;
    rig.brokers.wait_for("events", 10).await;
    rig.brokers.set_round_trip(Duration::from_secs(6));
    sent.extend(send(&gateway.client(), 50).await);
    Scrape::when("answers are missed", &gateway, |scrape| scrape.value("maybe_duplicate_events") > 0).await;
    rig.brokers.set_round_trip(Duration::ZERO);
    let drained = Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    let again = rig.brokers.duplicates("events", &sent);
    let counted = usize::try_from(drained.value("maybe_duplicate_events")).expect("a counter");
    say(format_args!("kafka: {again} duplicates of {counted} events that may be"));
    // The answers came too late, so that all that was counted is there twice.
    assert!(again > 0 && again == counted, "{again} duplicates, {counted} counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_survived() {
    let rig = Rig::new(3).set("kafka.delivery_timeout_ms", 2_000);
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 100).await;
    rig.brokers.wait_for("events", 100).await;
    rig.brokers.begin_outage();
    sent.extend(send(&gateway.client(), 500).await);
    let readiness = gateway.until_reason("sink_unreachable", ARRIVAL_LIMIT).await;
    assert_eq!(readiness.status, 200, "{readiness:?}");
    sent.extend(send(&gateway.client(), 500).await);
    rig.brokers.end_outage();
    gateway.until_reason("", ARRIVAL_LIMIT).await;
    rig.finish(gateway, &["events"], &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_without_brokers_delivers_when_they_come() {
    let rig = Rig::new(3).set("kafka.delivery_timeout_ms", 2_000);
    rig.brokers.begin_outage();
    let gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), 300).await;
    gateway.until_reason("sink_unreachable", ARRIVAL_LIMIT).await;
    rig.brokers.end_outage();
    rig.finish(gateway, &["events"], &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_to_a_topic_of_their_own() {
    let rig = Rig::new(1).set("dead_letters.kind", "kafka").set("dead_letters.stream", "letters");
    rig.brokers.create("letters", 2);
    let gateway = rig.setup.start().await;
    let bad: Vec<_> = (0..5).zip(identities(5)).map(|(kind, uuid)| events::bad_of_kind(uuid, kind).bytes).collect();
    let answer = gateway.client().post(Wire::H1, &Form::Lines.post(&bad)).await.expect("an answer");
    assert_eq!(answer.status, 422, "{answer:?}");
    rig.brokers.wait_for("letters", 1).await;
    gateway.stop().await;
    let letters: Vec<_> = rig.brokers.read("letters").iter().flat_map(|kept| letters_of_record(&kept.value)).collect();
    let raw: HashSet<_> = letters.iter().map(|letter| letter.raw.clone()).collect();
    assert_eq!((letters.len(), raw), (5, bad.into_iter().collect()));
    assert!(letters.iter().all(|letter| !letter.code().is_empty()), "{letters:?}");
    assert!(dead_letters(&rig.folder.path().join("dead-letters")).is_empty());
}

/// Kills of the gateway under load, while brokers fail in every way that the mock can: what is acknowledged is delivered, and what
/// is there twice is counted, but for what was sent between the last scrape and the kill.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_arrives_through_faults_and_kills() {
    let events_min: usize =
        std::env::var("LAKEGATE_CHAOS_EVENTS").map_or(3_000, |text| text.parse().expect("a number of events"));
    let mut rng = Rng::with_seed(seed("LAKEGATE_CHAOS_SEED"));
    let rig = Rig::strict(4).set("kafka.delivery_timeout_ms", 1_500).set("spool.segment_bytes", 2_100_000);
    let mut senders: Vec<_> = (0..3).map(|_| Sender::new(rng.fork(), 60)).collect();
    let (mut kills, mut counted) = (0, 0);
    // From the last scrape before a kill to the kill nothing is counted.
    let mut uncounted = Vec::new();
    let began = Instant::now();
    while senders.iter().map(|sender| sender.acknowledged.len()).sum::<usize>() < events_min || kills < 5 {
        let mut gateway = rig.setup.start().await;
        let (client, killed) = (gateway.client(), Arc::new(AtomicBool::new(false)));
        let tasks: Vec<_> =
            senders.into_iter().map(|sender| tokio::spawn(sender.send_until(client.clone(), killed.clone()))).collect();
        for _ in 0..rng.usize(1..4) {
            trouble(&rig.brokers, &mut rng).await;
        }
        let before = now_millis();
        counted += Scrape::of(&gateway).await.value("maybe_duplicate_events");
        gateway.kill();
        uncounted.push(before..=now_millis());
        killed.store(true, Ordering::Relaxed);
        kills += 1;
        senders = Vec::new();
        for task in tasks {
            senders.push(task.await.expect("a client found an answer that cannot be"));
        }
    }
    rig.brokers.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let gateway = rig.setup.start().await;
    for sender in &mut senders {
        sender.settle(&gateway.client()).await;
    }
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    counted += drained.value("maybe_duplicate_events");
    gateway.stop().await;
    let acknowledged: HashSet<Uuid> = senders.iter().flat_map(|sender| sender.acknowledged.iter().copied()).collect();
    let refused = dead_letters(&rig.folder.path().join("dead-letters"));
    let refused = refused.iter().filter(|letter| letter.code() == "refused_by_sink");
    assert_eq!(refused.count(), 0, "the mock refuses no record here");
    let once = rig.brokers.read_once("events");
    let copies = uuids(&once);
    let lost = acknowledged.difference(&copies).count();
    assert!(lost == 0, "{lost} of {} are lost", acknowledged.len());
    assert!(copies.is_subset(&acknowledged), "{} were not acknowledged", copies.difference(&acknowledged).count());
    let again = once.len() - copies.len();
    let unseen = once.iter().filter(|kept| uncounted.iter().any(|time| time.contains(&kept.sent_millis))).count();
    let counted = usize::try_from(counted).expect("a counter");
    say(format_args!(
        "kafka chaos in {:.1} s: {} events acknowledged, {kills} kills, {again} duplicates of {counted} that may be, {unseen} sent \
         between a scrape and a kill",
        began.elapsed().as_secs_f64(),
        acknowledged.len(),
    ));
    assert!(again <= counted + unseen, "{again} duplicates, {counted} counted, {unseen} could not be");
}

fn now_millis() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("a time")
}

/// Something that lasts for a while.
async fn trouble(brokers: &Brokers, rng: &mut Rng) {
    let a_while = Duration::from_millis(rng.u64(50..500));
    match rng.u8(..5) {
        0 => {
            brokers.begin_outage();
            tokio::time::sleep(a_while).await;
            brokers.end_outage();
        }
        1 => {
            // Never none: the mock dies of a record for a partition that has lost its leader.
            brokers.cluster.partition_leader("events", rng.i32(0..4), Some(rng.i32(1..4))).expect("a leader");
            tokio::time::sleep(a_while).await;
        }
        2 => {
            // At times beyond the time-out: then the answers of this time are lost.
            let late = Duration::from_millis(rng.u64(10..2_500));
            brokers.set_round_trip(late);
            tokio::time::sleep(late).await;
            brokers.set_round_trip(Duration::ZERO);
        }
        3 => {
            let errors = [
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            ];
            brokers.cluster.request_errors(RDKafkaApiKey::Produce, &[errors[rng.usize(..errors.len())]; 3]);
            tokio::time::sleep(a_while).await;
        }
        _ => tokio::time::sleep(a_while).await,
    }
}
