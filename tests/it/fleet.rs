//! Two gateways and one dedup store are one gateway: for twins, when a gateway is killed, and when the store fails.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use sha2::{Digest, Sha256};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::support::{
    client::{Client, Connection, Post, Told, Wire, get_plain},
    events::{self, Form},
    eventually,
    faults::{Call, Errno, Fault, Faults},
    gateway::{Gateway, Setup},
    kinesis::{KinesisServer, REGION},
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
    say, seed,
    store::{Line, Mode, StoreServer},
};

/// Two data folders, and how a gateway is set up on each.
struct Fleet {
    folders: [tempfile::TempDir; 2],
    setups: [Setup; 2],
}

impl Fleet {
    /// With a deadline that only a store which really hangs misses, on a busy machine too.
    fn new(url: &str) -> Self {
        let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
        let setup = |folder: &tempfile::TempDir| {
            let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50).set("dedup.store", "redis");
            setup.set("dedup.redis.url", url).set("dedup.redis.deadline_ms", 5000)
        };
        let setups = [setup(&folders[0]), setup(&folders[1])];
        Self { folders, setups }
    }

    fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.setups = self.setups.map(|setup| setup.set(key, &value));
        self
    }

    async fn start(&self) -> [Gateway; 2] {
        let [one, other] = &self.setups;
        tokio::join!(one.start(), other.start()).into()
    }

    fn folder(&self, gateway: usize) -> &Path {
        self.folders[gateway].path()
    }

    /// Both lakes as one: each event as often as it is in either.
    fn lakes(&self) -> LakeRows {
        let mut union = LakeRows::default();
        for folder in self.folders.iter().filter(|folder| folder.path().join("lake").exists()) {
            let lake = LakeRows::read(&folder.path().join("lake"));
            union.files += lake.files;
            for (uuid, rows) in lake.rows {
                union.rows.entry(uuid).or_default().extend(rows);
            }
        }
        union
    }
}

async fn post_one(client: &Client, uuid: Uuid) -> Told {
    let answer = client.post(Wire::H1, &Post::json(events::small(uuid))).await.expect("an answer");
    answer.told(1).remove(0)
}

fn in_flight() -> Told {
    Told::Retry("in_flight".into())
}

fn bodies(ids: &[Uuid]) -> Vec<Vec<u8>> {
    ids.iter().map(|uuid| events::small(*uuid)).collect()
}

/// Waits until the store was told of all that `gateway` accepted.
async fn when_told(gateway: &Gateway) {
    Scrape::when("the store is told", gateway, |scrape| {
        scrape.value("dedup_store_backlog") == 0 && scrape.value("dedup_store_up") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twins_at_two_gateways_one_is_accepted_and_that_one_is_in_a_lake() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let fleet = Fleet::new(&store.url());
    let gateways = fleet.start().await;
    let clients = gateways.each_ref().map(Gateway::client);

    // One after the other.
    let first: Vec<Uuid> = (0..50).map(|_| events::identity(&mut rng)).collect();
    let post = Form::Array.post(&bodies(&first));
    assert_eq!(clients[0].post(Wire::H2, &post).await.expect("an answer").told(50), vec![Told::Accepted; 50]);
    when_told(&gateways[0]).await;
    assert_eq!(clients[1].post(Wire::H2, &post).await.expect("an answer").told(50), vec![Told::Duplicate; 50]);
    // With a twin in the same request, and one that is new.
    let new = events::identity(&mut rng);
    let mixed = bodies(&[first[0], new, first[0], new]);
    let expected = [Told::Duplicate, Told::Accepted, Told::Duplicate, Told::Duplicate];
    assert_eq!(clients[1].post(Wire::H1, &Form::Lines.post(&mixed)).await.expect("an answer").told(4), expected);

    // At the same moment, in different orders, so that each gateway has some of them first.
    let rounds: Arc<Vec<Vec<Uuid>>> = Arc::new((0..30).map(|_| (0..40).map(|_| events::identity(&mut rng)).collect()).collect());
    let barrier = Arc::new(Barrier::new(2));
    let tasks: Vec<_> =
        [0, 1].map(|at| tokio::spawn(send_rounds(at == 1, clients[at].clone(), rounds.clone(), barrier.clone()))).into();
    let mut told: HashMap<Uuid, Vec<Told>> = HashMap::new();
    let mut accepted = [0, 0];
    for (gateway, task) in tasks.into_iter().enumerate() {
        for (uuid, outcome) in task.await.expect("every twin is answered") {
            accepted[gateway] += usize::from(outcome == Told::Accepted);
            told.entry(uuid).or_default().push(outcome);
        }
    }
    let mut met_in_flight = 0;
    for (uuid, told) in &told {
        assert_eq!(told.iter().filter(|told| **told == Told::Accepted).count(), 1, "{uuid}: {told:?}");
        assert!(
            told.iter().all(|told| matches!(told, Told::Accepted | Told::Duplicate) || *told == in_flight()),
            "{uuid}: {told:?}"
        );
        met_in_flight += told.iter().filter(|told| **told == in_flight()).count();
    }
    say(format_args!("fleet: of 1200 twins {accepted:?} accepted at each gateway; {met_in_flight} were told in_flight"));
    when_told(&gateways[0]).await;
    when_told(&gateways[1]).await;
    for client in &clients {
        for ids in rounds.iter() {
            let answer = client.post(Wire::H2, &Form::Array.post(&bodies(ids))).await.expect("an answer");
            assert_eq!(answer.told(ids.len()), vec![Told::Duplicate; ids.len()]);
        }
    }
    let last: Vec<Uuid> = (0..500).map(|_| events::identity(&mut rng)).collect();
    let answer = clients[0].post(Wire::H1, &Form::Lines.post(&bodies(&last))).await.expect("an answer");
    assert_eq!(answer.told(500), vec![Told::Accepted; 500]);
    for gateway in gateways {
        let scrape = Scrape::when_drained(&gateway).await;
        scrape.assert_ledger();
        assert_eq!((scrape.value("dedup_unchecked_events"), scrape.value("dedup_store_unconfirmed_events")), (0, 0));
        gateway.stop().await;
    }
    assert!(store.values(&last).iter().all(is_confirmed), "a stop tells the store what it owes");
    let expected: HashSet<Uuid> = first.into_iter().chain([new]).chain(last).chain(told.into_keys()).collect();
    fleet.lakes().assert_exactly(&expected, events::small);
}

/// Sends each round at the same moment as the other gateway gets it.
async fn send_rounds(backwards: bool, client: Client, rounds: Arc<Vec<Vec<Uuid>>>, barrier: Arc<Barrier>) -> Vec<(Uuid, Told)> {
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let mut told = Vec::new();
    for ids in rounds.iter() {
        let ids: Vec<Uuid> = if backwards { ids.iter().rev().copied().collect() } else { ids.clone() };
        let post = Form::Array.post(&bodies(&ids));
        barrier.wait().await;
        let answer = connection.post(&post).await.expect("an answer");
        told.extend(ids.iter().copied().zip(answer.told(ids.len())));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_after_its_claim_holds_it_until_its_time_is_over_or_until_it_is_back() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let line = Line::to(store.address()).await;
    let fleet = Fleet::new(&store.url()).set("dedup.redis.claim_ttl_seconds", 12);
    let held_up = fleet.setups[0].clone().set("dedup.redis.url", line.url());
    let other = fleet.setups[1].start().await;

    // The claims are in the store, and the gateway dies before it learns of it: nothing is durable.
    let (expires, taken_over) = (events::identity(&mut rng), events::identity(&mut rng));
    let mut killed = held_up.start().await;
    line.set(Mode::HoldAnswers);
    let client = killed.client();
    let claimed_at = Instant::now();
    let post = Form::Array.post(&bodies(&[expires, taken_over]));
    let unanswered = tokio::spawn(async move { client.post(Wire::H1, &post).await });
    eventually("the claims are in the store", Duration::from_secs(4), async || {
        store.value(expires).is_some_and(|token| token.len() == 24) && store.value(taken_over).is_some()
    })
    .await;
    killed.kill();
    assert!(unanswered.await.expect("it was sent").is_err(), "nobody was told anything");
    line.set(Mode::Pass);
    assert_eq!(post_one(&other.client(), expires).await, in_flight());

    // Back, it takes its own claim over at once, and the other one learns that it is accepted there.
    let mut restarted = held_up.start().await;
    assert_eq!(post_one(&restarted.client(), taken_over).await, Told::Accepted);
    when_told(&restarted).await;
    assert_eq!(post_one(&other.client(), taken_over).await, Told::Duplicate);

    // The other claim's time ends.
    eventually("the claim expires", Duration::from_secs(30), async || match post_one(&other.client(), expires).await {
        Told::Accepted => true,
        told => {
            assert_eq!(told, in_flight());
            false
        }
    })
    .await;
    assert!(claimed_at.elapsed() >= Duration::from_secs(11), "it was held for its time: {:?}", claimed_at.elapsed());

    // Durable and acknowledged, and the gateway dies before the store is told.
    let durable = events::identity(&mut rng);
    line.set(Mode::HoldConfirmations);
    assert_eq!(post_one(&restarted.client(), durable).await, Told::Accepted);
    restarted.kill();
    assert_eq!(store.value(durable).map(|value| value.len()), Some(24), "still its claim");
    // The line stays held up, or it would pass on what the dead gateway had said.
    assert_eq!(post_one(&other.client(), durable).await, in_flight());
    let restarted = fleet.setups[0].start().await;
    assert_eq!(post_one(&restarted.client(), durable).await, Told::Duplicate);
    eventually("the other gateway learns of it", Duration::from_secs(20), async || {
        post_one(&other.client(), durable).await == Told::Duplicate
    })
    .await;

    restarted.stop().await;
    other.stop().await;
    fleet.lakes().assert_exactly(&HashSet::from([expires, taken_over, durable]), events::small);
}

/// The hole that `src/dedup/fleet.rs` names. It is here so that whoever closes it finds the place.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_gateway_had_not_confirmed_is_accepted_again_once_its_claim_is_over() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let line = Line::to(store.address()).await;
    let fleet = Fleet::new(&store.url()).set("dedup.redis.claim_ttl_seconds", 10).set("dedup.redis.deadline_ms", 2000);
    let held_up = fleet.setups[0].clone().set("dedup.redis.url", line.url()).set("dedup.redis.claim_ttl_seconds", 4);
    let (mut killed, other) = tokio::join!(held_up.start(), fleet.setups[1].start());
    line.set(Mode::HoldConfirmations);
    let uuid = events::identity(&mut rng);
    assert_eq!(post_one(&killed.client(), uuid).await, Told::Accepted);
    killed.kill();
    eventually("its claim is over", Duration::from_secs(20), async || {
        let told = post_one(&other.client(), uuid).await;
        assert!(told == Told::Accepted || told == in_flight(), "{told:?}");
        told == Told::Accepted
    })
    .await;
    let back = fleet.setups[0].start().await;
    assert_eq!(post_one(&back.client(), uuid).await, Told::Duplicate);
    back.stop().await;
    other.stop().await;
    assert_eq!(fleet.lakes().rows[&uuid].len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_killed_under_load_still_accept_each_event_once() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let fleet = Fleet::new(&store.url()).set("dedup.redis.claim_ttl_seconds", 600);
    let mut gateways = fleet.start().await;
    let mut expected = HashSet::new();
    let (mut accepted, mut lost) = (0, 0);
    for round in 0..6 {
        let victim = round % 2;
        let ids: Vec<Uuid> = (0..600).map(|_| events::identity(&mut rng)).collect();
        expected.extend(ids.iter().copied());
        // Both get all of it at the same time, in different orders.
        let senders = [0, 1].map(|at| {
            let mut ids = ids.clone();
            rng.shuffle(&mut ids);
            tokio::spawn(send_until_lost(gateways[at].client(), ids))
        });
        tokio::time::sleep(Duration::from_millis(rng.u64(5..150))).await;
        gateways[victim].kill();
        let mut unacknowledged: HashSet<Uuid> = ids.iter().copied().collect();
        for sender in senders {
            let (told, unanswered) = sender.await.expect("it ends");
            lost += unanswered;
            for (uuid, told) in told {
                accepted += usize::from(told == Told::Accepted);
                if told.is_acknowledged() {
                    unacknowledged.remove(&uuid);
                }
            }
        }
        gateways[victim] = fleet.setups[victim].start().await;
        // Clients do not give up: they ask either gateway until one acknowledges.
        let mut at = 0;
        eventually("all of it is acknowledged", Duration::from_secs(20), async || {
            at = 1 - at;
            let asked: Vec<Uuid> = unacknowledged.iter().copied().collect();
            if !asked.is_empty() {
                let answer = gateways[at].client().post(Wire::H2, &Form::Array.post(&bodies(&asked))).await.expect("an answer");
                for (uuid, told) in asked.iter().zip(answer.told(asked.len())) {
                    accepted += usize::from(told == Told::Accepted);
                    if told.is_acknowledged() {
                        unacknowledged.remove(uuid);
                    }
                }
            }
            unacknowledged.is_empty()
        })
        .await;
    }
    say(format_args!(
        "fleet: killed 6 times under load; {accepted} of {} were told accepted, {lost} requests were lost",
        expected.len()
    ));
    for gateway in gateways {
        assert_eq!(Scrape::when_drained(&gateway).await.value("dedup_unchecked_events"), 0);
        gateway.stop().await;
    }
    fleet.lakes().assert_exactly(&expected, events::small);
}

/// Sends batches until the connection is lost. What was told, and how many requests were not answered.
async fn send_until_lost(client: Client, ids: Vec<Uuid>) -> (Vec<(Uuid, Told)>, usize) {
    let mut told = Vec::new();
    let Ok(mut connection) = client.connect(Wire::H2).await else { return (told, 0) };
    for batch in ids.chunks(15) {
        match connection.post(&Form::Array.post(&bodies(batch))).await {
            Ok(answer) => told.extend(batch.iter().copied().zip(answer.told(batch.len()))),
            Err(_) => return (told, 1),
        }
    }
    (told, 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_events_are_accepted_and_tagged_and_later_the_others_know_them() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let mut store = StoreServer::start(&[]).await;
    // The segments stay, so that the tags can be seen in them.
    let fleet = Fleet::new(&store.url()).set("lake.flush_age_ms", 600_000);
    let gateways = fleet.start().await;
    let [one, other] = gateways.each_ref().map(Gateway::client);
    let before = events::identity(&mut rng);
    assert_eq!(post_one(&one, before).await, Told::Accepted);
    when_told(&gateways[0]).await;

    // Stopped while requests come.
    let mut connection = one.connect(Wire::H1).await.expect("it is ready");
    let mut slowest = Duration::ZERO;
    let mut meanwhile = Vec::new();
    for number in 0..200 {
        if number == 20 {
            store.stop();
        }
        let uuid = events::identity(&mut rng);
        let (told, took) = timed_post(&mut connection, uuid).await;
        assert_eq!(told, Told::Accepted);
        slowest = slowest.max(took);
        if number >= 20 {
            meanwhile.push(uuid);
        }
    }
    say(format_args!("fleet: the slowest of 200 requests while the store was stopped took {slowest:?}"));
    assert!(slowest < Duration::from_secs(3), "far below the deadline of 5 s: a closed port is known at once");
    let scrape = Scrape::of(&gateways[0]).await;
    assert_eq!(scrape.value("dedup_unchecked_events"), meanwhile.len() as i64);
    assert_eq!((scrape.value("dedup_store_up"), scrape.value("dedup_store_backlog")), (0, meanwhile.len() as i64));
    assert!(is_tagged(fleet.folder(0), meanwhile[0]) && is_tagged(fleet.folder(0), meanwhile[179]));
    assert!(!is_tagged(fleet.folder(0), before));
    let readiness = get_plain(gateways[0].admin(), "/readyz").await.expect("an answer");
    assert_eq!(readiness.status, 200);
    assert_eq!(readiness.json()["reasons"][0]["code"], "dedup_store_unreachable", "{}", readiness.text());
    // The other gateway cannot know, accepts too, and tags too. Its own duplicates it still knows.
    assert_eq!(post_one(&other, meanwhile[1]).await, Told::Accepted);
    assert!(is_tagged(fleet.folder(1), meanwhile[1]));
    assert_eq!(post_one(&other, meanwhile[1]).await, Told::Duplicate);

    store.start_again().await;
    when_told(&gateways[0]).await;
    when_told(&gateways[1]).await;
    let asked: Vec<Uuid> = meanwhile.iter().copied().chain([before]).collect();
    let answer = other.post(Wire::H1, &Form::Array.post(&bodies(&asked))).await.expect("an answer");
    assert_eq!(answer.told(asked.len()), vec![Told::Duplicate; asked.len()]);
    let after = events::identity(&mut rng);
    assert_eq!(post_one(&other, after).await, Told::Accepted);
    assert!(!is_tagged(fleet.folder(1), after));
    for gateway in &gateways {
        let log = gateway.log_text();
        let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!((lines("the shared dedup store fails"), lines("the shared dedup store is back")), (1, 1), "{log}");
        let readiness = get_plain(gateway.admin(), "/readyz").await.expect("an answer");
        assert_eq!(readiness.json()["reasons"], serde_json::json!([]));
    }
    for gateway in gateways {
        gateway.stop().await;
    }
}

async fn timed_post(connection: &mut Connection, uuid: Uuid) -> (Told, Duration) {
    let started = Instant::now();
    let answer = connection.post(&Post::json(events::small(uuid))).await.expect("an answer");
    (answer.told(1).remove(0), started.elapsed())
}

/// Whether the record of an event in the spool says that the store was not asked: see the format in `src/event/record.rs`.
fn is_tagged(data: &Path, uuid: Uuid) -> bool {
    let segments = std::fs::read_dir(data.join("spool")).expect("the spool").flatten();
    let segments = segments.filter(|entry| entry.file_name().to_string_lossy().ends_with(".seg"));
    let flags = segments.map(|entry| std::fs::read(entry.path()).expect("a segment")).find_map(|bytes| {
        let at = bytes.windows(16).position(|window| window == uuid.as_bytes())?;
        Some(bytes[at - 1])
    });
    flags.expect("the event is spooled") & (1 << 2) != 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_or_talks_nonsense_costs_one_deadline_and_then_nothing() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let line = Line::to(store.address()).await;
    const DEADLINE: Duration = Duration::from_millis(1500);
    let fleet = Fleet::new(&store.url()).set("dedup.redis.deadline_ms", DEADLINE.as_millis());
    let garbled = fleet.setups[1].clone().set("dedup.redis.url", line.url());
    let (hanging, garbled) = tokio::join!(fleet.setups[0].start(), garbled.start());

    store.hang();
    let mut connection = hanging.client().connect(Wire::H1).await.expect("it is ready");
    let mut times = Vec::new();
    for _ in 0..60 {
        let (told, took) = timed_post(&mut connection, events::identity(&mut rng)).await;
        assert_eq!(told, Told::Accepted);
        times.push(took);
    }
    let waited = times.iter().filter(|took| **took >= DEADLINE / 2).count();
    let slowest = times.iter().max().expect("some");
    assert!(waited <= 1, "only the first waits for the deadline: {times:?}");
    assert!(*slowest < DEADLINE * 2, "{slowest:?}");
    assert_eq!(Scrape::of(&hanging).await.value("dedup_unchecked_events"), 60);
    store.go_on();
    when_told(&hanging).await;

    // The other gateway was behind the same store; it is back for it as well.
    when_told(&garbled).await;
    line.set(Mode::Garble);
    let uuid = events::identity(&mut rng);
    let mut connection = garbled.client().connect(Wire::H1).await.expect("it is ready");
    let (told, took) = timed_post(&mut connection, uuid).await;
    assert!(told == Told::Accepted && took < DEADLINE * 2, "{told:?} {took:?}");
    Scrape::when("it is down", &garbled, |scrape| scrape.value("dedup_store_up") == 0).await;
    assert!(is_tagged(fleet.folder(1), uuid));
    line.set(Mode::Pass);
    when_told(&garbled).await;
    assert_eq!(post_one(&hanging.client(), uuid).await, Told::Duplicate);
    say(format_args!("fleet: the slowest of 60 requests while the store hung took {slowest:?}; the deadline is {DEADLINE:?}"));
    hanging.stop().await;
    garbled.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_is_named_without_its_password() {
    let mut rng = Rng::new();
    // All that a gateway needs to be allowed.
    let user = ["--user", "lakegate", "on", ">open-sesame", "~lakegate:*", "+set", "+get", "+del", "+eval"];
    let store = StoreServer::start(&[&["--requirepass", "another"], user.as_slice()].concat()).await;
    let full = StoreServer::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]).await;
    let with = |who: &str| store.url().replace("redis://", &format!("redis://{who}@"));
    let fleet = Fleet::new(&with(":s3cret-of-old"));
    let right = fleet.setups[1].clone().set("dedup.redis.url", with("lakegate:open-sesame"));
    let (refused, right) = tokio::join!(fleet.setups[0].start(), right.start());
    refused.until_logged("the shared dedup store fails", 1).await;
    let readiness = get_plain(refused.admin(), "/readyz").await.expect("an answer").text();
    assert!(readiness.contains("dedup_store_unreachable"), "{readiness}");
    let uuid = events::identity(&mut rng);
    assert_eq!(post_one(&refused.client(), uuid).await, Told::Accepted);
    assert!(is_tagged(fleet.folder(0), uuid));
    assert_eq!(post_one(&right.client(), events::identity(&mut rng)).await, Told::Accepted);
    assert_eq!(Scrape::of(&right).await.value("dedup_unchecked_events"), 0);
    for text in [refused.log_text(), right.log_text(), readiness] {
        assert!(!text.contains("s3cret-of-old") && !text.contains("open-sesame"), "{text}");
    }
    refused.stop().await;
    right.stop().await;

    let gateway = fleet.setups[0].clone().set("dedup.redis.url", full.url()).start().await;
    gateway.until_logged("OOM", 1).await;
    assert_eq!(post_one(&gateway.client(), events::identity(&mut rng)).await, Told::Accepted);
    assert_eq!(Scrape::of(&gateway).await.value("dedup_unchecked_events"), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_in_the_stream_says_that_its_event_was_not_checked() {
    let mut rng = Rng::new();
    let mut store = StoreServer::start(&[]).await;
    let server = KinesisServer::start(1).await;
    for format in ["flat", "envelope"] {
        let stream = server.create_stream(format, 1);
        let fleet = Fleet::new(&store.url()).set("sink.kind", "kinesis").set("kinesis.stream", format);
        let fleet = fleet.set("kinesis.endpoint", server.url()).set("kinesis.region", REGION).set("kinesis.format", format);
        let fleet = fleet.set("schemas.unknown_events", "accept");
        let setup = fleet.setups[0].clone().variable("AWS_ACCESS_KEY_ID", "test").variable("AWS_SECRET_ACCESS_KEY", "test");
        let gateway = setup.start().await;
        // What a client calls `dedup` is its own, until the gateway has something to say there.
        let [checked, unchecked] = [(), ()].map(|()| events::identity(&mut rng));
        let post = |uuid| {
            Post::json(format!(
                r#"{{"dedup":"mine","event_uuid":"{uuid}","event_name":"test:own:field","created_at":1795020000}}"#
            ))
        };
        assert_eq!(gateway.client().post(Wire::H1, &post(checked)).await.expect("an answer").told(1), [Told::Accepted]);
        when_told(&gateway).await;
        store.stop();
        assert_eq!(gateway.client().post(Wire::H1, &post(unchecked)).await.expect("an answer").told(1), [Told::Accepted]);
        stream.wait_for_events(2, Duration::from_secs(20)).await;
        let contents = stream.contents();
        let dedup = |uuid| {
            let line: serde_json::Value = serde_json::from_slice(&contents.copies[uuid][0].line).expect("JSON");
            line.get("dedup").cloned()
        };
        let own = (format == "flat").then(|| "mine".into());
        assert_eq!((dedup(&checked), dedup(&unchecked)), (own, Some("unchecked".into())));
        store.start_again().await;
        when_told(&gateway).await;
        gateway.stop().await;
    }
}

const PAGE: &str = "https://menu.example";

/// What a key sends. It is called as its secret.
async fn post_from(client: &Client, key: &str, body: Vec<u8>) -> Told {
    let post = Post::json(body).without("x-api-key").header("x-api-key", key).header("origin", PAGE);
    client.post(Wire::H1, &post).await.expect("an answer").told(1).remove(0)
}

/// The keys `page`, of a browser, and `service`.
fn keys(folder: &Path) -> std::path::PathBuf {
    let hash = |name: &str| Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let page = format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]");
    let key = |(name, more): (&str, &str)| format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{}\"\n{more}\n", hash(name));
    let file = folder.join("keys.toml");
    std::fs::write(&file, [("page", &*page), ("service", "")].map(key).concat()).expect("a file");
    file
}

/// Whether this is the store's value of a confirmed identity: a claim's has 24 bytes.
fn is_confirmed(value: &Option<Vec<u8>>) -> bool {
    value.as_ref().is_some_and(|value| value.len() < 24)
}

fn secret(data: &Path) -> String {
    std::fs::read_to_string(data.join("dedup/secret")).expect("the secret")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_agrees_on_the_scope_of_an_event_and_on_the_secret_behind_it() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let mut fleet = Fleet::new(&store.url());
    fleet.setups = [0, 1].map(|at| fleet.setups[at].clone().config(keys(fleet.folder(at))));
    // The second one has run alone before, with a secret of its own.
    let alone = fleet.setups[1].clone().set("dedup.store", "local").start().await;
    alone.stop().await;
    let own = secret(fleet.folder(1));
    let one = fleet.setups[0].start().await;
    let mut other = fleet.setups[1].start().await;
    let clients = [one.client(), other.client()];
    assert_ne!(secret(fleet.folder(1)), own, "it took over that of the fleet");
    assert_eq!(secret(fleet.folder(0)), secret(fleet.folder(1)));

    let uuid = events::identity(&mut rng);
    assert_eq!(post_from(&clients[0], "page", events::small(uuid)).await, Told::Accepted);
    when_told(&one).await;
    assert_eq!(post_from(&clients[1], "page", events::small(uuid)).await, Told::Duplicate);
    assert_eq!(post_from(&clients[1], "service", events::small(uuid)).await, Told::Accepted);
    when_told(&other).await;
    assert_eq!(post_from(&clients[0], "service", events::small(uuid)).await, Told::Duplicate);
    assert!(is_confirmed(&store.value(uuid)), "a service's identity is its UUID");

    // The other gateway's duplicate with another payload is told from a retry.
    let other_payload = events::good_of_size(uuid, 900);
    for _ in 0..3 {
        assert_eq!(post_from(&clients[1], "page", other_payload.clone()).await, Told::Duplicate);
        assert_eq!(post_from(&clients[1], "page", events::small(uuid)).await, Told::Duplicate);
    }
    assert_eq!(Scrape::of(&other).await.sum("conflicting_duplicates", "source=\"page\""), 3);
    let letters = dead_letters(&fleet.folder(1).join("dead-letters"));
    assert_eq!((letters.len(), letters[0].code(), &letters[0].raw), (1, "conflicting_duplicate", &other_payload));

    // A store that lost its memory is given the secret back, before a new gateway could bring one of its own; and a gateway
    // that was killed confirms in the right scope.
    let told_late = events::identity(&mut rng);
    assert_eq!(post_from(&clients[1], "page", events::small(told_late)).await, Told::Accepted);
    when_told(&other).await;
    let () = redis::cmd("FLUSHALL").query(&mut store.connect()).expect("the store answers");
    other.kill();
    eventually("the secret is back", Duration::from_secs(30), async || {
        let kept: Option<Vec<u8>> =
            redis::cmd("GET").arg("lakegate:scope-secret").query(&mut store.connect()).expect("the store answers");
        kept.is_some()
    })
    .await;
    let back = fleet.setups[1].clone().set("lake.flush_age_ms", 600_000).start().await;
    when_told(&back).await;
    assert_eq!(secret(fleet.folder(0)), secret(fleet.folder(1)));
    assert_eq!(post_from(&back.client(), "page", events::small(told_late)).await, Told::Duplicate);
    one.stop().await;
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_append_whose_end_nobody_knows_the_claim_is_kept_until_the_gateway_is_back() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let fleet = Fleet::new(&store.url()).set("dedup.redis.claim_ttl_seconds", 600);
    let faults = Faults::new(fleet.folder(0));
    let mut failing = faults.on(fleet.setups[0].clone()).start().await;
    let other = fleet.setups[1].start().await;
    let uuid = events::identity(&mut rng);
    faults.set(&[Fault::new(Call::Fdatasync, "*.seg", Errno::IO)]);
    assert_eq!(post_one(&failing.client(), uuid).await, Told::Retry("storage_unavailable".into()));
    assert!(faults.hits(0) > 0, "the sync failed");
    // Its frame is in the file, and may be durable or not.
    assert_eq!(post_one(&other.client(), uuid).await, in_flight());
    let _ = failing.exit_code(Duration::from_secs(60)).await;
    assert_eq!(post_one(&other.client(), uuid).await, in_flight(), "the end of the process releases nothing");
    faults.clear();
    let back = fleet.setups[0].start().await;
    assert_eq!(post_one(&back.client(), uuid).await, Told::Duplicate, "the frame turned up");
    when_told(&back).await;
    assert_eq!(post_one(&other.client(), uuid).await, Told::Duplicate);
    back.stop().await;
    other.stop().await;
    fleet.lakes().assert_exactly(&HashSet::from([uuid]), events::small);
}
