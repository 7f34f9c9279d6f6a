//! The stream is away for a while under steady load: clients do not notice, memory does not grow, the disk does, operators
//! are told how long that can go on, and when the stream is back new events need not wait behind the old ones.
//!
//! Some seconds in `cargo test`; `make outage` takes ten minutes of 5,000 events a second:
//!
//! ```text
//! LAKEGATE_OUTAGE_SECONDS=600 LAKEGATE_OUTAGE_RATE=5000 cargo test --test it kinesis_outage::
//! ```

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use uuid::Uuid;

use crate::support::{
    client::{Client, Told, Wire},
    gateway::Gateway,
    kinesis::{Fault, KinesisServer, Service, ShardRate, events_of},
    metrics::Scrape,
    say,
    streaming::{Rig, identities, send, small},
};

/// Time between two requests of the load, and how many clients send it.
const PERIOD: Duration = Duration::from_millis(100);
const CLIENTS: u32 = 2;

/// Bytes of an answered event that the spool keeps at least.
const EVENT_BYTES_MIN: i64 = 250;

fn number(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// One request of the load.
#[derive(Clone, Debug)]
struct Sent {
    at: Instant,
    took: Duration,
    uuids: Vec<Uuid>,
}

/// Clients that send at a steady rate.
struct Load {
    end: watch::Sender<bool>,
    clients: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    fn begin(client: &Client, events_per_second: u32) -> Self {
        let (end, ends) = watch::channel(false);
        let batch = (f64::from(events_per_second) * PERIOD.as_secs_f64() / f64::from(CLIENTS)).ceil() as usize;
        let clients = (0..CLIENTS).map(|_| tokio::spawn(send_steadily(client.clone(), batch, ends.clone()))).collect();
        Self { end, clients }
    }

    async fn end(self) -> Vec<Sent> {
        self.end.send_replace(true);
        let mut sent = Vec::new();
        for client in self.clients {
            sent.extend(client.await.expect("no answer is wrong"));
        }
        sent.sort_by_key(|sent| sent.at);
        sent
    }
}

async fn send_steadily(client: Client, batch: usize, mut ends: watch::Receiver<bool>) -> Vec<Sent> {
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = Vec::new();
    while !*ends.borrow_and_update() {
        ticks.tick().await;
        let uuids = identities(batch);
        let post = small(&uuids);
        let at = Instant::now();
        let answer = connection.post(&post).await.expect("an answer");
        let took = at.elapsed();
        assert_eq!(answer.told(batch), vec![Told::Accepted; batch], "{answer:?}");
        sent.push(Sent { at, took, uuids });
    }
    sent
}

/// Median and 99th hundredth of the answers in a stretch of time, in milliseconds.
fn answers(sent: &[Sent], from: Instant, to: Instant) -> (f64, f64) {
    let inside = sent.iter().filter(|sent| (from..to).contains(&sent.at));
    let mut took: Vec<f64> = inside.map(|sent| sent.took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    assert!(took.len() >= 20, "{} answers", took.len());
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// How the stream is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Refusing,
    Stalling,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_not_noticed_by_clients_and_after_it_new_events_do_not_wait_behind_the_backlog() {
    for away in [Away::Refusing, Away::Stalling] {
        outage(Service::Kinesis, away).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_delivery_stream_is_not_noticed_either() {
    outage(Service::Firehose, Away::Refusing).await;
}

/// Of a stream and a delivery stream the second is away: what the first has is as fresh as before.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_one_of_two_sinks_delays_nothing_in_the_other() {
    let outage = Duration::from_secs(number("LAKEGATE_OUTAGE_SECONDS", 12).into());
    let rate = number("LAKEGATE_OUTAGE_RATE", 1_500);
    let calm = (outage / 3).clamp(Duration::from_secs(4), Duration::from_secs(60));
    let rig = Rig::of(Service::Kinesis, 8).await.set("sinks", "[{kind=\"kinesis\"}, {kind=\"firehose\"}]");
    let other_server = KinesisServer::start(7).await;
    let other = other_server.create(Service::Firehose, "events", 1);
    let rig = rig.set("firehose.endpoint", other_server.url()).set("firehose.stream", "events").set("firehose.linger_ms", 20);
    let rig = rig.set("firehose.memory_bytes_max", 8 << 20);
    let gateway = rig.setup.start().await;
    let load = Load::begin(&gateway.client(), rate);
    tokio::time::sleep(calm).await;
    let memory_before = gateway.memory().now;
    let away_from = Instant::now();
    other_server.begin_outage().await;
    tokio::time::sleep(outage).await;
    let scrape = Scrape::of(&gateway).await;
    let memory_after = gateway.memory().now;
    let away_to = Instant::now();
    other_server.end_outage().await;
    let sent = load.end().await;
    Scrape::when_drained_within(&gateway, Duration::from_secs(60) + outage).await.assert_ledger();
    gateway.stop().await;
    let arrivals = Arrivals::of(&rig);
    let (before, meanwhile) = (arrivals.p99(&sent, away_from - calm, away_from), arrivals.p99(&sent, away_from, away_to));
    let behind = scrape.of_sink("firehose", "sink_lag_events");
    say(format_args!(
        "outage of one of two: {} s at {rate} events/s: the other has 99 of 100 events after {:.0} ms before and {:.0} ms meanwhile; {behind} events \
         behind; memory {memory_before:.0} to {memory_after:.0} MiB",
        outage.as_secs(),
        before.as_secs_f64() * 1e3,
        meanwhile.as_secs_f64() * 1e3,
    ));
    assert!(behind > i64::from(rate) * outage.as_secs() as i64 / 2, "{behind} events wait for the one that is away");
    assert!(meanwhile <= 2 * before.max(Duration::from_millis(300)), "{before:?}, then {meanwhile:?}");
    assert!(memory_after - memory_before <= 64.0, "{memory_before} MiB, then {memory_after} MiB");
    let expected: HashSet<Uuid> = sent.iter().flat_map(|sent| sent.uuids.iter().copied()).collect();
    rig.stream.contents().assert_exactly(&expected);
    other.contents().assert_exactly(&expected);
}

async fn outage(service: Service, away: Away) {
    // Longer than what is taken for a backlog afterwards: 10 s.
    let outage = Duration::from_secs(number("LAKEGATE_OUTAGE_SECONDS", 12).into());
    let rate = number("LAKEGATE_OUTAGE_RATE", 1_500);
    let calm = (outage / 3).clamp(Duration::from_secs(4), Duration::from_secs(60));
    // As little memory as can be, so that most of the backlog is on disk alone.
    let rig = Rig::of(service, 4).await.tuned("call_timeout_ms", 1_000).tuned("memory_bytes_max", 8 << 20);
    // What real shards take, so that the backlog lasts for a while beside what is new.
    let shards = (f64::from(rate) / 2_000.0).max(1.0);
    // A delivery stream is one lane, with the quota of four shards here.
    let lanes = if service == Service::Firehose { 4.0 } else { 1.0 };
    rig.stream.set_shard_rate(Some(ShardRate::AWS.times(shards * lanes)));
    let gateway = rig.setup.start().await;
    let load = Load::begin(&gateway.client(), rate);
    tokio::time::sleep(calm).await;
    let memory_before = gateway.memory().now;

    let away_from = Instant::now();
    match away {
        Away::Refusing => rig.server.begin_outage().await,
        Away::Stalling => drop(rig.stream.set(Fault::StallBefore, 1.0)),
    }
    tokio::time::sleep(outage / 2).await;
    let half = Scrape::of(&gateway).await;
    tokio::time::sleep(outage / 2).await;
    let whole = Scrape::of(&gateway).await;
    let memory_after = gateway.memory();
    assert_is_told(&gateway, &half, &whole, outage, rate).await;
    match away {
        Away::Refusing => rig.server.end_outage().await,
        Away::Stalling => rig.stream.clear_faults(),
    }
    let back_at = Instant::now();
    // The first try comes when the pause between two is over.
    let stored_before = rig.stream.stored().len();
    rig.stream.wait_until("something arrives", Duration::from_secs(60), |stored| stored.len() > stored_before).await;
    let taken_again_at = Instant::now();
    tokio::time::sleep(calm).await;
    let sent = load.end().await;
    let drained_at = {
        // The shards take twice what comes in: the backlog alone takes half of the time in which it grew.
        Scrape::when_drained_within(&gateway, Duration::from_secs(60) + outage).await.assert_ledger();
        Instant::now()
    };

    let (calm_answers, away_answers) = (answers(&sent, away_from - calm, away_from), answers(&sent, away_from, back_at));
    let arrivals = Arrivals::of(&rig);
    let fresh = arrivals.longest(&sent, taken_again_at + Duration::from_millis(500), drained_at);
    say(format_args!(
        "outage ({service:?}, {away:?}): {} s at {rate} events/s: answers {:.1} ms and p99 {:.1} ms before, {:.1} and {:.1} meanwhile; memory {:.0} to \
         {:.0} MiB; {} events and {:.0} MB behind, {:.0} s old; the first came {:.1} s after the end, new events within {:.2} s, all after {:.1} s",
        outage.as_secs(),
        calm_answers.0,
        calm_answers.1,
        away_answers.0,
        away_answers.1,
        memory_before,
        memory_after.now,
        whole.value("spool_events"),
        whole.number("spool_lag_bytes") / 1e6,
        whole.number("spool_oldest_seconds"),
        (taken_again_at - back_at).as_secs_f64(),
        fresh.as_secs_f64(),
        (drained_at - back_at).as_secs_f64(),
    ));
    // A single hiccup of a busy machine decides the p99 of so few answers; who waited for the stream would wait for seconds.
    assert!(away_answers.0 <= 3.0 * calm_answers.0.max(30.0), "{away_answers:?} after {calm_answers:?}");
    assert!(away_answers.1 <= 3.0 * calm_answers.1.max(200.0), "{away_answers:?} after {calm_answers:?}");
    assert!(memory_after.now - memory_before <= 64.0, "{memory_before} MiB, then {memory_after:?}");
    assert!(fresh <= Duration::from_secs(3), "new events wait {fresh:?}");
    arrivals.assert_oldest_first(&sent, away_from, back_at);
    let calls = rig.server.calls().iter().filter(|call| call.at > taken_again_at).count();
    let seconds = (drained_at - taken_again_at).as_secs_f64();
    assert!(calls as f64 <= seconds * 100.0, "{calls} calls in {seconds} s: shards at their limit are sent to record by record");
    let expected: HashSet<Uuid> = sent.iter().flat_map(|sent| sent.uuids.iter().copied()).collect();
    let contents = rig.stream.contents();
    contents.assert_exactly(&expected);
    // The connections may have been cut with an answer on its way.
    let is_excused = |uuid: &Uuid| arrivals.0[uuid].0 + Duration::from_secs(1) >= away_from && arrivals.0[uuid].0 <= away_from;
    assert!(contents.unexcused_duplicates().iter().all(is_excused), "nothing is sent again without need");
    gateway.stop().await;
}

/// Lag in events, bytes and seconds, what is left, and that it grows.
async fn assert_is_told(gateway: &Gateway, half: &Scrape, whole: &Scrape, outage: Duration, rate: u32) {
    let events = i64::from(rate) * outage.as_secs() as i64;
    let lag = whole.value("spool_events");
    assert!(lag > events / 2 && lag > half.value("spool_events"), "{lag} of about {events} events");
    assert!(whole.value("spool_lag_bytes") > lag * EVENT_BYTES_MIN, "{whole:?}");
    assert!(whole.value("spool_bytes") > half.value("spool_bytes"), "the disk grows");
    let oldest = whole.number("spool_oldest_seconds");
    assert!((outage.as_secs_f64() * 0.7..outage.as_secs_f64() * 1.5 + 5.0).contains(&oldest), "{oldest} s");
    let headroom = whole.number("spool_headroom_seconds");
    assert!(headroom > 0.0 && headroom.is_finite(), "{headroom}");
    assert_eq!(whole.value("sink_up"), 0);
    let answer = gateway.readiness().await;
    let readiness = answer.json();
    assert_eq!((answer.status, &readiness["reasons"][0]["code"]), (200, &"sink_unreachable".into()), "{readiness}");
    for field in ["lag_events", "lag_bytes", "lag_seconds"] {
        assert!(readiness["sink"][field].as_f64().is_some_and(|lag| lag > 0.0), "{field} of {readiness}");
    }
    assert!(readiness["spool"]["headroom_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{readiness}");
}

/// When each event came into the stream first, and in which place.
struct Arrivals(HashMap<Uuid, (Instant, usize)>);

impl Arrivals {
    fn of(rig: &Rig) -> Self {
        let calls = rig.server.calls();
        let mut arrivals = HashMap::new();
        for (place, record) in rig.stream.stored().iter().enumerate() {
            for (_, event) in events_of(&record.data) {
                let uuid = event.expect("an event");
                arrivals.entry(uuid).or_insert((calls[record.call].at, place));
            }
        }
        Self(arrivals)
    }

    /// The longest time from a request to the arrival of all its events, of those sent in a stretch of time.
    fn longest(&self, sent: &[Sent], from: Instant, to: Instant) -> Duration {
        let inside = sent.iter().filter(|sent| (from..to).contains(&sent.at));
        let times = inside.flat_map(|sent| sent.uuids.iter().map(|uuid| self.0[uuid].0.saturating_duration_since(sent.at)));
        times.max().expect("something was sent then")
    }

    /// The time from its request to its arrival that 99 of 100 events keep, of those sent in a stretch of time.
    fn p99(&self, sent: &[Sent], from: Instant, to: Instant) -> Duration {
        let inside = sent.iter().filter(|sent| (from..to).contains(&sent.at));
        let times = inside.flat_map(|sent| sent.uuids.iter().map(|uuid| self.0[uuid].0.saturating_duration_since(sent.at)));
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }

    /// Panics unless the backlog came oldest first, on the whole: calls in flight overtake each other.
    fn assert_oldest_first(&self, sent: &[Sent], from: Instant, to: Instant) {
        let inside = sent.iter().filter(|sent| (from..to).contains(&sent.at));
        let places: Vec<usize> = inside.flat_map(|sent| sent.uuids.iter().map(|uuid| self.0[uuid].1)).collect();
        let mean = |part: &[usize]| part.iter().sum::<usize>() as f64 / part.len() as f64;
        let thirds: Vec<f64> = places.chunks(places.len().div_ceil(3)).map(mean).collect();
        assert!(thirds.is_sorted(), "mean places of the thirds of the backlog: {thirds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_says_so_and_takes_events_again_when_the_stream_does() {
    let rig = Rig::with_shards(2).await.set("spool.quota_bytes", 8_000_000).set("spool.segment_bytes", 2_100_000);
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 100).await;
    rig.server.begin_outage().await;
    let mut connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
    let refused = loop {
        let uuids = identities(400);
        let answer = connection.post(&small(&uuids)).await.expect("an answer");
        match answer.told(400)[0].clone() {
            Told::Accepted => sent.extend(uuids),
            Told::Retry(code) => {
                assert_eq!((answer.status, code.as_str()), (503, "quota_full"), "{answer:?}");
                assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
                break uuids;
            }
            told => panic!("{told:?}"),
        }
        assert!(sent.len() < 100_000, "it must be full by now");
    };
    let answer = gateway.readiness().await;
    let readiness = answer.json();
    assert_eq!((answer.status, &readiness["reasons"][0]["code"]), (503, &"spool_full".into()), "{readiness}");
    assert!(!answer.header("retry-after").is_empty());
    rig.server.end_outage().await;
    crate::support::eventually("there is room again", Duration::from_secs(60), async || {
        connection.post(&small(&refused)).await.expect("an answer").status == 202
    })
    .await;
    sent.extend(refused);
    rig.finish(gateway, &sent).await;
}
