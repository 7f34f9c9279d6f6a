//! `http.durability = "delivered"`: on a machine whose disk does not last nothing is answered before its stream has it, and what a
//! stream does not take in time is to be sent again.
//!
//! The kills take the disk with them. Four rounds in `cargo test`; `LAKEGATE_LOST_DISKS=100` (`make lost-disks`) makes more.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fastrand::Rng;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{
    client::{Client, Connection, Post, Told, Wire},
    events::{self, Form},
    eventually,
    gateway::Setup,
    kinesis::{Fault, KinesisServer, Service, Stream},
    metrics::Scrape,
    readback::letters_of,
    say, seed,
    sender::Sender,
    store::StoreServer,
    streaming::{accepted, identities, small},
};

/// A server with a stream for events and one for dead letters.
struct Streams {
    server: KinesisServer,
    service: Service,
    events: Stream,
    letters: Stream,
}

impl Streams {
    async fn new(service: Service, seed: u64) -> Self {
        let server = KinesisServer::start(seed).await;
        let (events, letters) = (server.create(service, "events", 2), server.create_stream("dead-letters", 1));
        Self { server, service, events, letters }
    }

    fn setup(&self, data: impl Into<PathBuf>) -> Setup {
        let setup = Setup::new(data).with_stream_of(self.service, &self.server, "events").set("http.durability", "delivered");
        let setup = setup.set("dead_letters.kind", "kinesis").set("dead_letters.stream", "dead-letters");
        setup.set("kinesis.linger_ms", 20).set("firehose.linger_ms", 20)
    }

    /// The events in the dead letters, each as often as it has one.
    fn letters(&self) -> Vec<Vec<u8>> {
        let letters = self.letters.stored().into_iter().flat_map(|record| letters_of(&record.data));
        letters.map(|letter| letter.raw).collect()
    }
}

fn pixel(uuid: Uuid) -> String {
    format!("/v1/pixel.gif?key=dev&e={}", URL_SAFE_NO_PAD.encode(events::small(uuid)))
}

/// Sends single events as pixels until the gateway is killed. What was acknowledged.
async fn send_pixels(client: Client, killed: Arc<AtomicBool>) -> Vec<Uuid> {
    let mut acknowledged = Vec::new();
    while !killed.load(Ordering::Relaxed) {
        let uuid = identities(1)[0];
        match client.get(&pixel(uuid)).await {
            Ok(answer) if answer.status == 200 => acknowledged.push(uuid),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_with_the_disk() {
    let rounds = std::env::var("LAKEGATE_LOST_DISKS").map_or(4, |text| text.parse().expect("a number of rounds"));
    let mut rng = Rng::with_seed(seed("LAKEGATE_LOST_DISKS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let streams = Streams::new(Service::Kinesis, rng.u64(..)).await;
    for stream in [&streams.events, &streams.letters] {
        stream.set_slow(Duration::from_millis(60));
        stream.set(Fault::Slow, 0.5).set(Fault::RecordThrottled, 0.05).set(Fault::CallFailed, 0.02).set(Fault::ResetAfter, 0.02);
    }
    let mut senders: Vec<_> = (0..4).map(|_| Sender::new(rng.fork(), 20).with_lost_disks()).collect();
    let (mut acknowledged, mut undelivered) = (HashSet::new(), 0);
    for round in 0..rounds {
        let data = folder.path().join(round.to_string());
        let mut gateway = streams.setup(&data).start().await;
        let (client, killed) = (gateway.client(), Arc::new(AtomicBool::new(false)));
        let pixels = tokio::spawn(send_pixels(client.clone(), killed.clone()));
        let tasks: Vec<_> =
            senders.into_iter().map(|sender| tokio::spawn(sender.send_until(client.clone(), killed.clone()))).collect();
        Scrape::when("events flow", &gateway, |scrape| scrape.outcomes()[0] > 20).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(..600))).await;
        let scrape = Scrape::of(&gateway).await;
        gateway.kill();
        killed.store(true, Ordering::Relaxed);
        undelivered += usize::from(scrape.value("spool_events") > 0);
        senders = Vec::new();
        for task in tasks {
            senders.push(task.await.expect("a client found an answer that cannot be"));
        }
        acknowledged.extend(pixels.await.expect("no answer is wrong"));
        fs::remove_dir_all(&data).expect("the disk goes with the machine");
    }
    for stream in [&streams.events, &streams.letters] {
        stream.clear_faults();
    }
    let gateway = streams.setup(folder.path().join("last")).start().await;
    for sender in &mut senders {
        sender.settle(&gateway.client()).await;
    }
    drop(gateway);

    acknowledged.extend(senders.iter().flat_map(|sender| sender.acknowledged.iter().copied()));
    let (contents, letters) = (streams.events.contents(), streams.letters());
    let lost: Vec<_> = acknowledged.iter().filter(|uuid| !contents.copies.contains_key(uuid)).collect();
    let letters_of_events: HashSet<&[u8]> = letters.iter().map(Vec::as_slice).collect();
    let rejected: Vec<Uuid> = senders.iter().flat_map(|sender| sender.rejected.iter().copied()).collect();
    let unkept: Vec<_> = rejected.iter().filter(|uuid| !letters_of_events.contains(&*events::bad(**uuid).bytes)).collect();
    say(format_args!(
        "lost disks: {rounds} kills, {undelivered} with events spooled: {} events acknowledged, {} lost, {} doubled; {} rejected, {} of \
         them without a dead letter",
        acknowledged.len(),
        lost.len(),
        contents.duplicates(),
        rejected.len(),
        unkept.len(),
    ));
    assert!(lost.is_empty(), "{} were acknowledged and are not in the stream: {:?}", lost.len(), lost.first());
    assert!(unkept.is_empty(), "{} were rejected and are not in the dead letters: {:?}", unkept.len(), unkept.first());
    assert!(acknowledged.len() > rounds * 20 && !rejected.is_empty(), "the clients hardly came to word");
    assert!(undelivered > 0, "no kill met an event that was only on the disk");
}

fn not_yet() -> Told {
    Told::Retry("not_delivered_in_time".into())
}

/// A gateway that waits for one second.
async fn impatient(service: Service) -> (TempDir, Streams, Setup) {
    let folder = tempfile::tempdir().expect("a folder");
    let streams = Streams::new(service, 1).await;
    let setup = streams.setup(folder.path()).set("http.delivered_wait_seconds", 1);
    (folder, streams, setup)
}

/// Longer than three requests wait.
const LATE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn every_event_waits_for_the_stream_and_so_do_its_duplicates_whatever_is_preferred() {
    let (_folder, streams, setup) = impatient(Service::Kinesis).await;
    let gateway = setup.start().await;
    let client = gateway.client();
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    for (prefer, applied) in
        [("", ""), ("durability=disk", "durability=delivered"), ("durability=delivered", "durability=delivered")]
    {
        let uuids = identities(3);
        let post = if prefer.is_empty() { small(&uuids) } else { small(&uuids).header("prefer", prefer) };
        let answer = accepted(&mut connection, &post, 3).await;
        assert_eq!(answer.header("preference-applied"), applied, "a preference may only raise it");
        let contents = streams.events.contents();
        assert!(uuids.iter().all(|uuid| contents.copies.contains_key(uuid)), "it is there at that moment");
    }
    let viewed = identities(1)[0];
    assert_eq!(client.get(&pixel(viewed)).await.expect("an image").status, 200);
    assert!(streams.events.contents().copies.contains_key(&viewed), "the pixel too");

    streams.events.set_slow(LATE);
    streams.events.set(Fault::Slow, 1.0);
    let late = identities(2);
    for prefer in ["durability=delivered", "durability=disk"] {
        let began = Instant::now();
        let answer = connection.post(&small(&late).header("prefer", prefer)).await.expect("an answer");
        assert_eq!(answer.told(2), [not_yet(), not_yet()], "the first one, and the duplicate");
        assert!((900..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
    let answer = client.get(&pixel(late[0])).await.expect("an image");
    assert_eq!((answer.status, answer.header("lakegate-code")), (503, "not_delivered_in_time"), "{answer:?}");
    streams.events.clear_faults();
    eventually("it is delivered", 3 * LATE, async || {
        let told = connection.post(&small(&late)).await.expect("an answer").told(2);
        told == [Told::Duplicate, Told::Duplicate]
    })
    .await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    assert_eq!(streams.events.contents().duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_waits_for_the_stream_of_the_dead_letters_and_holds_up_no_good_event() {
    let (folder, streams, setup) = impatient(Service::Kinesis).await;
    let gateway = setup.start().await;
    let mut connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
    let bad = |uuid| events::bad_of_kind(uuid, 8).bytes;
    let [first, second, good, third] = identities(4)[..] else { panic!() };
    let told = connection.post(&Form::Lines.post(&[bad(first)])).await.expect("an answer").told(1);
    assert!(matches!(&told[..], [Told::Rejected(_)]), "{told:?}");
    assert_eq!(streams.letters(), [bad(first)], "it is there at that moment");

    streams.letters.set_slow(LATE);
    streams.letters.set(Fault::Slow, 1.0);
    let both = Form::Lines.post(&[bad(second), events::small(good)]);
    assert_eq!(connection.post(&both).await.expect("an answer").told(2), [not_yet(), Told::Accepted]);
    assert_eq!(connection.post(&both).await.expect("an answer").told(2), [not_yet(), Told::Duplicate], "and its repetition");
    streams.letters.clear_faults();
    eventually("the letter is delivered", 3 * LATE, async || {
        let told = connection.post(&both).await.expect("an answer").told(2);
        matches!(&told[..], [Told::Rejected(_), Told::Duplicate])
    })
    .await;
    assert_eq!(streams.letters(), [bad(first), bad(second)], "one letter each");
    // An event that was accepted, under other words, is a dead letter too.
    let mut other = events::small(good);
    let section_index = other.iter().rposition(|byte| *byte == b'0').expect("its last member is 0");
    other[section_index] = b'1';
    assert_eq!(connection.post(&Post::json(other.clone())).await.expect("an answer").told(1), [Told::Duplicate]);
    assert_eq!(streams.letters().last(), Some(&other));

    // A stream that fails is told at once, and only of bad events.
    streams.letters.set(Fault::NotFound, 1.0);
    let mixed = |uuid| Form::Lines.post(&[bad(uuid), events::small(good)]);
    eventually("its failure is known", Duration::from_secs(20), async || {
        let told = connection.post(&mixed(identities(1)[0])).await.expect("an answer").told(2);
        assert_eq!(told[1], Told::Duplicate);
        told[0] == Told::Retry("sink_unavailable".into())
    })
    .await;
    streams.letters.clear_faults();
    eventually("it is back", Duration::from_secs(20), async || {
        let told = connection.post(&mixed(third)).await.expect("an answer").told(2);
        matches!(&told[..], [Told::Rejected(_), Told::Duplicate])
    })
    .await;
    gateway.stop().await;
    let in_files = fs::read_dir(folder.path().join("dead-letters"))
        .expect("a folder")
        .flatten()
        .any(|source| source.path().join("00000001.ndjson").exists());
    assert!(!in_files, "no letter is on the disk alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_away_is_told_at_once_and_nothing_is_stored_meanwhile() {
    let (_folder, streams, setup) = impatient(Service::Kinesis).await;
    let gateway = setup.set("kinesis.call_timeout_ms", 400).set("http.delivered_wait_seconds", 5).start().await;
    let client = gateway.client();
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let mut sent: HashSet<Uuid> = identities(5).into_iter().collect();
    accepted(&mut connection, &small(&sent.iter().copied().collect::<Vec<_>>()), 5).await;
    streams.server.begin_outage().await;
    let away = || Told::Retry("sink_unavailable".into());
    let uuid = identities(1)[0];
    sent.insert(uuid);
    eventually("it is known that the stream is away", Duration::from_secs(20), async || {
        let told = connection.post(&small(&[uuid])).await.expect("an answer").told(1);
        assert!(told == [not_yet()] || told == [away()], "{told:?}");
        told == [away()]
    })
    .await;
    let before = Scrape::of(&gateway).await.value("spool_events");
    assert_eq!(before, 1, "what shows when it is back");
    let began = Instant::now();
    for _ in 0..100 {
        let answer = connection.post(&small(&identities(3))).await.expect("an answer");
        assert_eq!((answer.told(3), answer.problem_code().as_str()), (vec![away(); 3], "storage_unavailable"));
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| (10..=30).contains(&seconds)), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "100 answers at once took {:?}", began.elapsed());
    let answer = client.get(&pixel(identities(1)[0])).await.expect("an image");
    assert_eq!((answer.status, answer.header("lakegate-code")), (503, "sink_unavailable"), "{answer:?}");
    let after = Scrape::of(&gateway).await;
    assert_eq!(after.value("spool_events"), before);
    after.assert_ledger();
    // A warning: to take all gateways from a balancer helps nobody.
    assert_eq!(gateway.readiness().await.status, 200);
    streams.server.end_outage().await;
    eventually("it is back", Duration::from_secs(30), async || {
        let told = connection.post(&small(&[uuid])).await.expect("an answer").told(1);
        told == [Told::Duplicate]
    })
    .await;
    gateway.stop().await;
    streams.events.contents().assert_exactly(&sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sink_refuses_is_rejected_once_its_dead_letter_is_delivered() {
    // Firehose takes records of 1,000 KiB, Kinesis of 1,024.
    let (_folder, streams, setup) = impatient(Service::Firehose).await;
    let gateway = setup.start().await;
    let mut connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
    let large = |uuid| {
        let event = events::small(uuid);
        Post::json([&event[..1], &[b' '; 1_030_000], &event[1..]].concat())
    };
    let refused = || Told::Rejected("refused_by_sink".into());
    let [first, second] = identities(2)[..] else { panic!() };
    eventually("it is refused", LATE, async || connection.post(&large(first)).await.expect("an answer").told(1) == [refused()])
        .await;
    assert_eq!(streams.letters().len(), 1, "its letter is there at that moment");
    streams.letters.set_slow(LATE);
    streams.letters.set(Fault::Slow, 1.0);
    for _ in 0..2 {
        assert_eq!(connection.post(&large(second)).await.expect("an answer").told(1), [not_yet()]);
    }
    streams.letters.clear_faults();
    eventually("its letter is delivered", 3 * LATE, async || {
        connection.post(&large(second)).await.expect("an answer").told(1) == [refused()]
    })
    .await;
    assert_eq!(streams.letters().len(), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_calls_nothing_a_duplicate_that_is_on_a_disk_only() {
    let store = StoreServer::start(&[]).await;
    let (folder, streams, _) = impatient(Service::Kinesis).await;
    let setup = |name: &str| {
        let setup = streams.setup(folder.path().join(name)).set("http.delivered_wait_seconds", 1).set("dedup.store", "redis");
        let setup = setup.set("dedup.redis.url", store.url()).set("dedup.redis.deadline_ms", 5000);
        setup.set("dedup.redis.claim_ttl_seconds", 10)
    };
    let (mut owner, other) = (setup("owner").start().await, setup("other").start().await);
    let connect = async |client: Client| client.connect(Wire::H2).await.expect("it is ready");
    let (mut at_owner, mut at_other) = (connect(owner.client()).await, connect(other.client()).await);
    let tell = async |connection: &mut Connection, uuid: Uuid| {
        connection.post(&small(&[uuid])).await.expect("an answer").told(1).remove(0)
    };
    let known = identities(1)[0];
    assert_eq!(tell(&mut at_owner, known).await, Told::Accepted);
    eventually("what is delivered is known", LATE, async || tell(&mut at_other, known).await == Told::Duplicate).await;

    streams.events.set(Fault::StallBefore, 1.0);
    let spooled = identities(1)[0];
    assert_eq!(tell(&mut at_owner, spooled).await, not_yet());
    assert_eq!(tell(&mut at_other, spooled).await, Told::Retry("in_flight".into()));
    owner.kill();
    fs::remove_dir_all(folder.path().join("owner")).expect("the disk goes with the machine");
    streams.events.clear_faults();
    eventually("its claim expires", 3 * LATE, async || {
        let told = tell(&mut at_other, spooled).await;
        assert_ne!(told, Told::Duplicate, "it is on a lost disk");
        told == Told::Accepted
    })
    .await;
    assert!(streams.events.contents().copies.contains_key(&spooled));
    other.stop().await;
}
