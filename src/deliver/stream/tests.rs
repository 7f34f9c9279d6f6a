//! The flow with a scripted stream, over a real spool.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Mutex,
};

use super::*;
use crate::{
    conditions::Condition,
    config::{Aggregation, KinesisConfig, RecordFormat},
    deliver::{
        SinkNames,
        test_support::{TestDelivery, payload},
    },
    sink::{
        kinesis,
        stream::{HashKey, HashRange, Packing, RecordResult, Shard, StreamFuture, StreamRules},
    },
};

/// The numbers of the events in one record.
type Events = Vec<u128>;

/// Input of a call: its number, and for each record the index of its shard and its events.
type Script = dyn Fn(usize, &[(usize, Events)]) -> Answer + Send + Sync;

struct Scripted {
    shards: usize,
    calls: Mutex<Vec<Vec<(usize, Events)>>>,
    stored: Mutex<Vec<u128>>,
    script: Box<Script>,
}

impl Scripted {
    fn new(shards: usize, script: impl Fn(usize, &[(usize, Events)]) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { shards, calls: Mutex::default(), stored: Mutex::default(), script: Box::new(script) })
    }

    fn map(&self) -> ShardMap {
        let width = HashKey::MAX / self.shards as u128;
        let shard = |index: usize| {
            let last = if index + 1 == self.shards { HashKey::MAX } else { (index as u128 + 1) * width - 1 };
            Shard { id: format!("shard-{index}"), range: HashRange { first: index as u128 * width, last } }
        };
        ShardMap::new((0..self.shards).map(shard).collect()).unwrap()
    }

    fn stored(&self) -> Vec<u128> {
        self.stored.lock().unwrap().clone()
    }

    fn calls(&self) -> Vec<Vec<(usize, Events)>> {
        self.calls.lock().unwrap().clone()
    }
}

fn events_in(record: &StreamRecord) -> Events {
    let number = |entry: &crate::sink::stream::Entry| {
        let line: serde_json::Value = serde_json::from_slice(&entry.data).unwrap();
        u128::from(line["n"].as_u64().unwrap())
    };
    record.entries.iter().map(number).collect()
}

impl Stream for Scripted {
    fn name(&self) -> &'static str {
        "script"
    }

    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer> {
        let map = self.map();
        let seen: Vec<_> = records.iter().map(|record| (map.owner(record.entries[0].place), events_in(record))).collect();
        let mut calls = self.calls.lock().unwrap();
        let answer = (self.script)(calls.len(), &seen);
        calls.push(seen.clone());
        drop(calls);
        let is_stored = |index: usize| match &answer {
            Answer::Each(results) => matches!(results[index], RecordResult::Stored { .. }),
            Answer::Unknown(_) => true,
            _ => false,
        };
        let stored = seen.iter().enumerate().filter(|(index, _)| is_stored(*index)).flat_map(|(_, (_, events))| events.clone());
        self.stored.lock().unwrap().extend(stored);
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }

    fn shards(&self) -> StreamFuture<'_, Result<ShardMap, ShardsUnknown>> {
        Box::pin(async { Ok(self.map()) })
    }
}

fn stored(shard: usize) -> RecordResult {
    RecordResult::Stored { shard: Some(format!("shard-{shard}").into()) }
}

fn all_stored(records: &[(usize, Events)]) -> Answer {
    Answer::Each(records.iter().map(|(shard, _)| stored(*shard)).collect())
}

fn settings() -> StreamSettings {
    StreamSettings { linger: Duration::ZERO, ..kinesis::settings(&KinesisConfig::default(), true) }
}

fn deliverer(back: &TestDelivery, folder: &Path, stream: &Arc<Scripted>, key: &str, settings: StreamSettings) -> StreamDeliverer {
    let form = StreamFormat::Events(EventFormat::new(RecordFormat::Flat, key));
    StreamDeliverer::open(back.shared(), stream.clone(), form, settings, folder.join("journal"))
}

/// Delivers the spooled events and stops.
async fn drain(back: &TestDelivery, folder: &Path, stream: &Arc<Scripted>, key: &str, settings: StreamSettings) {
    let (_stop, stopping) = watch::channel(true);
    let run = deliverer(back, folder, stream, key, settings).run(stopping);
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("it drains");
}

fn sorted(events: impl IntoIterator<Item = u128>) -> Vec<u128> {
    let mut events: Vec<u128> = events.into_iter().collect();
    events.sort_unstable();
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_sent_again_record_by_record() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..1200).await;
    // In the first two calls every third record is throttled and every fifth fails.
    let stream = Scripted::new(4, |call, records| match call {
        0 | 1 => Answer::Each(
            records
                .iter()
                .enumerate()
                .map(|(index, (shard, _))| match index {
                    _ if index % 3 == 0 => RecordResult::Throttled,
                    _ if index % 5 == 0 => RecordResult::Failed { code: "InternalFailure".into() },
                    _ => stored(*shard),
                })
                .collect(),
        ),
        _ => all_stored(records),
    });
    drain(&back, folder.path(), &stream, "event_uuid", settings()).await;
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..1200), "each once");
    assert!(stream.calls().iter().all(|call| call.len() <= 500));
    assert_eq!(back.delivery.delivered_events.get(), 1200);
    assert_eq!(back.delivery.maybe_duplicate_events.get(), 0);
    assert_eq!(back.spool.cursor().delivered_exclusive, 1200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_answer_is_no_success_and_what_it_may_have_doubled_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..100).await;
    let stream = Scripted::new(1, |call, records| match call {
        0 => Answer::Unknown("reset".into()),
        1 => Answer::Refused("no connection".into()),
        2 => Answer::Held("ExpiredTokenException".into()),
        _ => all_stored(records),
    });
    drain(&back, folder.path(), &stream, "event_uuid", settings()).await;
    assert_eq!(sorted(stream.stored()), sorted((0..100).chain(0..100)), "stored without an answer, and again");
    assert_eq!(back.delivery.maybe_duplicate_events.get(), 100, "counted once, not at every try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_unknown_fate_is_counted_and_a_refused_one_is_settled_without_being_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..90).await;
    let stream = Scripted::new(1, |call, records| match call {
        0 => Answer::Each(
            (0..records.len())
                .map(|index| match index % 3 {
                    0 => stored(0),
                    1 => RecordResult::Unknown { code: "MessageTimedOut".into() },
                    _ => RecordResult::Refused { reason: "MessageSizeTooLarge".into() },
                })
                .collect(),
        ),
        _ => all_stored(records),
    });
    drain(&back, folder.path(), &stream, "event_uuid", settings()).await;
    assert_eq!(stream.stored().len(), 60, "each once, but for what was refused");
    let metrics = &back.delivery;
    assert_eq!((metrics.maybe_duplicate_events.get(), metrics.refused_events.get()), (30, 30));
    assert_eq!(back.spool.cursor().delivered_exclusive, 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_shard_have_records_of_one_shard_and_no_shard_has_two_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..3_000).await;
    let open: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
    let seen = open.clone();
    let stream = Scripted::new(4, move |_, records| {
        let shards: BTreeSet<usize> = records.iter().map(|(shard, _)| *shard).collect();
        assert_eq!(shards.len(), 1, "{shards:?}");
        seen.lock().unwrap().extend(shards);
        all_stored(records)
    });
    let rules = StreamRules { calls_by_shard: true, ..settings().rules };
    let settings = StreamSettings { rules, call_records_max: 100, calls_in_flight_max: 100, ..settings() };
    let mut flow = Flow::new(deliverer(&back, folder.path(), &stream, "event_uuid", settings), Instant::now());
    flow.queues.remap(stream.map(), Instant::now());
    let now = Instant::now();
    flow.intake.read_live(&mut flow.queues, now).unwrap().unwrap();
    flow.waiting_since = Some(now);
    assert!(flow.send(true, now));
    assert_eq!(flow.calls.len(), 4, "a call for each shard, and no second one while it has no answer");
    assert!(!flow.send(true, now), "all shards are busy");
    let first = flow.calls.join_next().await.unwrap();
    flow.settle(first).await;
    assert!(flow.send(true, now));
    assert_eq!(flow.calls.len(), 4, "only the shard whose call has ended gets the next one");
    while let Some(done) = flow.calls.join_next().await {
        flow.settle(done).await;
    }
    assert_eq!(*open.lock().unwrap(), (0..4).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_throttled_as_a_whole_slows_its_shards_and_is_no_lost_answer() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..100).await;
    let stream = Scripted::new(1, |call, records| match call {
        0..3 => Answer::Throttled("slow down".into()),
        _ => all_stored(records),
    });
    drain(&back, folder.path(), &stream, "event_uuid", settings()).await;
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..100), "each once");
    assert_eq!(back.delivery.maybe_duplicate_events.get(), 0);
    assert!(
        back.metrics.exposition().contains("lakegate_shard_throttled_records_total{sink=\"script\",shard=\"shard-0\"}"),
        "it is named"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_shard_does_not_hold_up_the_others_however_much_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    // The hot shard gets twice as many events as memory holds.
    let settings = StreamSettings { memory_bytes_max: 4 * crate::limits::STREAM_SHARD_BYTES_MIN, ..settings() };
    back.append(0..60_000).await;
    let is_hot = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let hot = is_hot.clone();
    let stream = Scripted::new(4, move |_, records| {
        let throttled = hot.load(std::sync::atomic::Ordering::Relaxed);
        let result =
            |(shard, _): &(usize, Events)| if *shard == 2 && throttled { RecordResult::Throttled } else { stored(*shard) };
        Answer::Each(records.iter().map(result).collect())
    });
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings).run(stopping));
    let map = stream.map();
    let others = |event: u128| map.owner(kinesis::hash_key(&uuid::Uuid::from_u128(event).to_string())) != 2;
    let expected: Vec<u128> = (0..60_000).filter(|event| others(*event)).collect();
    tokio::time::timeout(Duration::from_secs(60), async {
        while back.progress.unsettled(60_000) > (60_000 - expected.len()) as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("all of the other shards arrive");
    assert_eq!(sorted(stream.stored()), expected, "and nothing of the hot one");
    assert!(
        back.metrics.exposition().contains("lakegate_shard_throttled_records_total{sink=\"script\",shard=\"shard-2\"}"),
        "it is named"
    );
    is_hot.store(false, std::sync::atomic::Ordering::Relaxed);
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("then it drains").unwrap();
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..60_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_by_key_keeps_the_order_of_every_key_through_failures() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..400).await;
    let stream = Scripted::new(3, |call, records| {
        if call % 7 == 3 {
            return Answer::Refused("busy".into());
        }
        let result = |(index, (shard, _)): (usize, &(usize, Events))| match (call + index) % 4 {
            0 => RecordResult::Throttled,
            _ => stored(*shard),
        };
        Answer::Each(records.iter().enumerate().map(result).collect())
    });
    let settings = StreamSettings { ordered_by_key: true, ..settings() };
    drain(&back, folder.path(), &stream, "/k", settings).await;
    let mut by_key: BTreeMap<u128, Vec<u128>> = BTreeMap::new();
    for event in stream.stored() {
        by_key.entry(event % 8).or_default().push(event);
    }
    for (key, events) in by_key {
        assert_eq!(events, Vec::from_iter((0..400).filter(|event| event % 8 == key)), "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_valid_is_found_among_the_others_and_goes_to_the_dead_letters() {
    for aggregation in [Aggregation::None, Aggregation::Kpl] {
        let folder = tempfile::tempdir().unwrap();
        let back = TestDelivery::open(folder.path());
        back.append(0..300).await;
        let stream = Scripted::new(2, |_, records| {
            let is_bad = records.iter().any(|(_, events)| events.contains(&77));
            if is_bad { Answer::Invalid("ValidationException: m".into()) } else { all_stored(records) }
        });
        let packing = Packing { aggregation, ..settings().packing };
        drain(&back, folder.path(), &stream, "event_uuid", StreamSettings { packing, ..settings() }).await;
        assert_eq!(sorted(stream.stored()), Vec::from_iter((0..300).filter(|event| *event != 77)), "{aggregation:?}");
        let letter = std::fs::read_to_string(folder.path().join("dead-letters/web/00000001.ndjson")).unwrap();
        let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
        assert_eq!((&letter["detail"], &letter["raw"]), (&"ValidationException: m".into(), &payload(77).into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_valid_and_comes_alone_does_not_hold_up_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append([0]).await;
    let stream = Scripted::new(1, |_, records| match records.iter().any(|(_, events)| events.contains(&0)) {
        true => Answer::Invalid("ValidationException: m".into()),
        false => all_stored(records),
    });
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings()).run(stopping));
    while stream.calls().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    back.append(1..20).await;
    assert!(back.progress.await_settled(&[0..20], Duration::from_secs(30)).await, "{:?}", stream.calls());
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!((sorted(stream.stored()), back.delivery.refused_events.get()), (Vec::from_iter(1..20), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_finds_every_call_invalid_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..5).await;
    let stream = Scripted::new(1, |call, records| match call {
        0..6 => Answer::Invalid("the stream's name is no name".into()),
        _ => all_stored(records),
    });
    drain(&back, folder.path(), &stream, "event_uuid", settings()).await;
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..5));
    assert_eq!(back.delivery.refused_events.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_large_for_the_stream_goes_to_the_dead_letters_alone() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..20).await;
    let stream = Scripted::new(1, |_, records| all_stored(records));
    // The derived fields of event 10 and above make one digit more.
    let longest = payload(10).len();
    let one_less = StreamSettings { record_bytes_max: record_bytes(&back, longest), ..settings() };
    drain(&back, folder.path(), &stream, "event_uuid", one_less).await;
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..10));
    assert_eq!(back.delivery.refused_events.get(), 10);
    assert_eq!(back.spool.cursor().delivered_exclusive, 20);
}

/// Bytes of the record of an event whose payload is one byte shorter than `payload_bytes`.
fn record_bytes(back: &TestDelivery, payload_bytes: usize) -> usize {
    let form = StreamFormat::Events(EventFormat::new(RecordFormat::Flat, "event_uuid"));
    let frame = back.spool.reader(0).read(1, usize::MAX).unwrap().frames.remove(0);
    let formed = form.form(0, &frame.body, &SinkNames::one(), &settings().rules.keys, &mut Vec::new()).unwrap().unwrap();
    formed.key.len() + formed.data.len() - payload(0).len() + payload_bytes - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_fetched_oldest_first_while_new_events_do_not_wait_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    let long_ago = crate::event::unix_millis(std::time::SystemTime::now()) - 3_600_000;
    back.append_received(0..40_000, long_ago).await;
    let stream = Scripted::new(2, |_, records| all_stored(records));
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings()).run(stopping));
    while stream.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    back.append(40_000..40_100).await;
    assert!(back.progress.await_settled(&[40_000..40_100], Duration::from_secs(60)).await);
    stop.send_replace(true);
    running.await.unwrap();
    let arrived = stream.stored();
    assert_eq!(sorted(arrived.clone()), Vec::from_iter(0..40_100));
    let position = |event: u128| arrived.iter().position(|arrived| *arrived == event).unwrap();
    let last_backlog = position(39_999);
    assert!((40_000..40_100).all(|event| position(event) < last_backlog), "new events came before the backlog's end");
    let halves: BTreeSet<usize> = (0..40_000).step_by(4_000).map(position).collect();
    let in_order: Vec<usize> = (0..40_000).step_by(4_000).map(position).collect();
    assert_eq!(in_order, Vec::from_iter(halves), "the oldest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sends_only_what_is_owed_and_counts_what_may_be_there_twice() {
    let folder = tempfile::tempdir().unwrap();
    {
        let back = TestDelivery::open(folder.path());
        back.append(0..100).await;
        // The first record of each call always fails; meanwhile the process ends.
        let stream = Scripted::new(1, |_, records| {
            let result = |index: usize| if index == 0 { RecordResult::Throttled } else { stored(0) };
            Answer::Each((0..records.len()).map(result).collect())
        });
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings()).run(stopping));
        while back.progress.unsettled(100) > 1 {
            tokio::task::yield_now().await;
        }
        running.abort();
        let _ = running.await;
        assert_eq!(back.spool.cursor().delivered_exclusive, 0, "the oldest is still owed");
    }
    let back = TestDelivery::open(folder.path());
    let stream = Scripted::new(1, |_, records| all_stored(records));
    drain(&back, folder.path(), &stream, "event_uuid", settings()).await;
    assert_eq!(stream.stored(), [0], "the journal knew of the others");
    assert_eq!(back.delivery.maybe_duplicate_events.get(), 1);
}

fn letters(folder: &Path) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(folder.join("dead-letters/web/00000001.ndjson")).unwrap_or_default();
    let number = |line: &str| {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        let event: serde_json::Value = serde_json::from_str(letter["raw"].as_str().unwrap()).unwrap();
        event["n"].as_u64().unwrap()
    };
    text.lines().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_finds_every_call_invalid_after_it_took_some_makes_no_dead_letter_and_goes_on_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let broken = is_broken.clone();
    let stream = Scripted::new(2, move |_, records| match broken.load(std::sync::atomic::Ordering::Relaxed) {
        true => Answer::Invalid("ValidationException: m".into()),
        false => all_stored(records),
    });
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings()).run(stopping));
    back.append(0..200).await;
    assert!(back.progress.await_settled(&[0..200], Duration::from_secs(30)).await);
    is_broken.store(true, std::sync::atomic::Ordering::Relaxed);
    back.append(200..400).await;
    let calls = stream.calls().len();
    tokio::time::timeout(Duration::from_secs(60), async {
        while stream.calls().len() < calls + 12 || !back.conditions.holds(Condition::RecordsHeld) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it tries, and says that it holds them");
    assert_eq!((back.delivery.refused_events.get(), back.progress.unsettled(400)), (0, 200));
    is_broken.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(back.progress.await_settled(&[200..400], Duration::from_secs(30)).await);
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..400));
    assert_eq!(back.delivery.refused_events.get(), 0);
    assert!(back.conditions.list().is_empty(), "{:?}", back.conditions.list());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_not_valid_become_dead_letters_alone_be_they_among_good_ones_or_before_them() {
    for (bad, first) in [(vec![7, 130], 0..200), (vec![0, 1, 2], 0..3), (vec![3], 0..4)] {
        let folder = tempfile::tempdir().unwrap();
        let back = TestDelivery::open(folder.path());
        let is_bad = bad.clone();
        let stream = Scripted::new(2, move |_, records| {
            let is_bad = records.iter().flat_map(|(_, events)| events).any(|event| is_bad.contains(event));
            if is_bad { Answer::Invalid("ValidationException: m".into()) } else { all_stored(records) }
        });
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings()).run(stopping));
        back.append(first.clone()).await;
        let are_all_bad = first.clone().all(|event| bad.contains(&event));
        if are_all_bad {
            while stream.calls().len() < 8 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(letters(folder.path()).is_empty(), "nobody knows yet whether it is the stream");
            back.append(first.end..first.end + 5).await;
        }
        let end = if are_all_bad { first.end + 5 } else { first.end } as u64;
        assert!(back.progress.await_settled(&[0..end], Duration::from_secs(30)).await, "{bad:?}");
        stop.send_replace(true);
        running.await.unwrap();
        assert_eq!(letters(folder.path()), bad.iter().map(|event| *event as u64).collect());
        assert_eq!(sorted(stream.stored()), Vec::from_iter((0..u128::from(end)).filter(|event| !bad.contains(event))));
        assert!(back.conditions.list().is_empty(), "{:?}", back.conditions.list());
        for event in bad {
            assert!(matches!(back.progress.ending(event as u64), Some(crate::progress::Ending::Refused(_))));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_takes_nothing_is_named_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let back = TestDelivery::open(folder.path());
    back.append(0..100).await;
    let is_failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let failing = is_failing.clone();
    let stream = Scripted::new(2, move |_, records| {
        let failing = failing.load(std::sync::atomic::Ordering::Relaxed);
        let result = |(shard, _): &(usize, Events)| match *shard == 1 && failing {
            true => RecordResult::Failed { code: "InternalFailure".into() },
            false => stored(*shard),
        };
        Answer::Each(records.iter().map(result).collect())
    });
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(deliverer(&back, folder.path(), &stream, "event_uuid", settings()).run(stopping));
    let named = async |expected: &[&str]| {
        let named = || back.conditions.list().into_iter().map(|raised| raised.place).collect::<Vec<_>>();
        while named() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), named(&["shard-1"])).await.expect("it is named");
    is_failing.store(false, std::sync::atomic::Ordering::Relaxed);
    tokio::time::timeout(Duration::from_secs(30), named(&[])).await.expect("it is over");
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(sorted(stream.stored()), Vec::from_iter(0..100));
}
