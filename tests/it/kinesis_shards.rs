//! Shards that take little or nothing: each slows itself alone, and is used as far as it goes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use uuid::Uuid;

use crate::support::{
    client::{Client, Wire},
    kinesis::{Fault, KinesisServer, ShardFault, ShardRate, Stream},
    metrics::Scrape,
    say,
    streaming::{Rig, accepted, identities, send, small},
};

/// Index of the shard that misbehaves.
const HOT: usize = 2;

/// Posts some events every 50 ms until it is told to end; when each was acknowledged.
async fn steady_load(client: Client, mut ends: watch::Receiver<bool>) -> HashMap<Uuid, Instant> {
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = HashMap::new();
    while !*ends.borrow_and_update() {
        ticks.tick().await;
        let uuids = identities(20);
        accepted(&mut connection, &small(&uuids), uuids.len()).await;
        sent.extend(uuids.into_iter().map(|uuid| (uuid, Instant::now())));
    }
    sent
}

/// Seconds from the acknowledgement to the arrival of the events of the other shards that were sent in a stretch of time:
/// the 50th and the 95th hundredth.
fn latencies(server: &KinesisServer, stream: &Stream, sent: &HashMap<Uuid, Instant>, from: Instant, to: Instant) -> (f64, f64) {
    let (stored, calls, contents) = (stream.stored(), server.calls(), stream.contents());
    let in_time = sent.iter().filter(|(_, at)| (from..to).contains(*at));
    let arrivals = in_time.map(|(uuid, at)| (&contents.copies[uuid][0], *at)).filter(|(copy, _)| copy.shard != HOT);
    let mut seconds: Vec<f64> =
        arrivals.map(|(copy, at)| calls[stored[copy.stored].call].at.saturating_duration_since(at).as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    assert!(seconds.len() > 100, "{} events", seconds.len());
    (seconds[seconds.len() / 2], seconds[seconds.len() * 95 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_takes_nothing_is_named_and_delays_nobody_else_and_catches_up() {
    let rig = Rig::with_shards(4).await.set("kinesis.linger_ms", 100);
    let gateway = rig.setup.start().await;
    let (end, ends) = watch::channel(false);
    let load = tokio::spawn(steady_load(gateway.client(), ends));
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.stream.set_shard_fault(HOT, Some(ShardFault::Throttled));
    let hot_from = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let readiness = gateway.until_reason("shard_failing", Duration::from_secs(30)).await;
    let scrape = Scrape::of(&gateway).await;
    end.send_replace(true);
    let sent = load.await.expect("no answer is wrong");
    let hot_to = Instant::now();
    rig.stream.set_shard_fault(HOT, None);
    rig.stream.wait_for_events(sent.len(), Duration::from_secs(60)).await;
    let caught_up = hot_to.elapsed();

    let named = |name: &str| {
        let samples = scrape.labelled(name);
        samples.into_iter().filter(|(_, value)| *value > 0.0).map(|(label, _)| label.to_owned()).collect::<Vec<_>>()
    };
    let shard = &rig.stream.shards()[HOT].id;
    let reason = &readiness.json()["reasons"][0];
    assert_eq!((readiness.status, &reason["code"], &reason["place"]), (200, &"shard_failing".into(), &(&**shard).into()));
    gateway.until_reason("", Duration::from_secs(30)).await;
    let label = format!("sink=\"kinesis\",shard=\"{shard}\"");
    assert_eq!(named("shard_throttled_records"), [&*label], "it alone is named");
    assert!(scrape.labelled("shard_waiting_events")[&*label] > 50.0, "what waits for it is told: {scrape:?}");
    let normal = latencies(&rig.server, &rig.stream, &sent, began, hot_from);
    let hot = latencies(&rig.server, &rig.stream, &sent, hot_from, hot_to);
    say(format_args!(
        "shards: seconds to the other shards, median and p95: {:.3} {:.3} before, {:.3} {:.3} beside a dead shard, which caught up in {:.1} s",
        normal.0,
        normal.1,
        hot.0,
        hot.1,
        caught_up.as_secs_f64()
    ));
    assert!(hot.0 <= 3.0 * normal.0 && hot.1 <= 3.0 * normal.1, "{hot:?} after {normal:?}");
    assert!(caught_up < Duration::from_secs(40), "{caught_up:?}");
    rig.finish(gateway, &sent.into_keys().collect()).await;
    assert_eq!(rig.stream.contents().duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blip_that_cuts_all_calls_in_flight_is_one_failure() {
    let rig = Rig::with_shards(4).await.set("kinesis.call_records_max", 20);
    rig.stream.set_slow(Duration::from_millis(300));
    rig.stream.set(Fault::Slow, 1.0);
    let gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), 2_000).await;
    rig.stream.wait_for_events(200, Duration::from_secs(20)).await;
    rig.server.begin_outage().await;
    rig.server.end_outage().await;
    rig.stream.set(Fault::Slow, 0.0);
    let began = Instant::now();
    rig.stream.wait_for_events(2_000, Duration::from_secs(60)).await;
    say(format_args!("shards: all is there {:.1} s after a blip with 8 calls in flight", began.elapsed().as_secs_f64()));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!gateway.has_logged("the sink fails"), "one moment is no outage: {}", gateway.log_text());
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    let contents = rig.stream.contents();
    contents.assert_exactly(&sent);
    let counted = drained.value("maybe_duplicate_events");
    assert!(contents.duplicates() as i64 <= counted && counted <= 8 * 20, "{} {counted}", contents.duplicates());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_of_limited_rate_is_used_well_and_seldom_overrun() {
    const LEARNING: Duration = Duration::from_secs(3);
    const MEASURED: Duration = Duration::from_secs(7);
    let rig = Rig::with_shards(1).await;
    rig.stream.set_shard_rate(Some(ShardRate::AWS));
    let gateway = rig.setup.start().await;
    let sent: HashSet<Uuid> = send(&gateway.client(), 14_000).await;
    let began = Instant::now();
    tokio::time::sleep(LEARNING + MEASURED).await;
    let calls = rig.server.calls();
    let from = began + LEARNING;
    let puts = calls.iter().filter(|call| call.target == "PutRecords" && (from..from + MEASURED).contains(&call.at));
    let (records, stored) = puts.fold((0, 0), |(records, stored), call| (records + call.records, stored + call.stored));
    let used = stored as f64 / (1_000.0 * MEASURED.as_secs_f64());
    let throttled = (records - stored) as f64 / records as f64;
    say(format_args!(
        "shards: {:.0} % of a shard's rate is used, {:.0} % of what is sent is throttled",
        used * 100.0,
        throttled * 100.0
    ));
    assert!(used >= 0.7, "{used}");
    assert!(throttled <= 0.2, "{throttled}");
    rig.stream.set_shard_rate(None);
    rig.finish(gateway, &sent).await;
}
