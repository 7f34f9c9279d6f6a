//! The deliverer with scripted sinks, over a real spool.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use uuid::Uuid;

use super::*;
use crate::conditions::Condition;
use crate::dedup::Identity;
use crate::deliver::test_support::{TestDelivery, payload};

/// The requests to a sink: the range, and the numbers of its events.
type Asked = Arc<Mutex<Vec<(u64, u64, Vec<u128>)>>>;

/// The answer of a sink to a batch.
type Answer = Box<dyn Fn(usize) -> Vec<Delivery> + Send + Sync>;

/// Answers each batch with the next entry; after the last entry everything is delivered.
struct Script {
    asked: Asked,
    answers: Mutex<VecDeque<Answer>>,
    by_stretch: bool,
}

impl Sink for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>> {
        let events = batch.records.iter().map(|record| record.event_uuid().as_u128()).collect();
        self.asked.lock().unwrap().push((batch.first_seq_inclusive, batch.end_seq_exclusive, events));
        let answer = self.answers.lock().unwrap().pop_front();
        let count = batch.records.len();
        Box::pin(async move { answer.map_or_else(|| vec![Delivery::Delivered; count], |answer| answer(count)) })
    }

    fn replays_by_range(&self) -> bool {
        self.by_stretch
    }
}

/// The events by partition and range.
type Files = BTreeMap<(u128, u64, u64), Vec<u128>>;

/// A lake of ten partitions: the last digit of an event is its partition. Broken partitions take nothing.
#[derive(Clone, Default)]
struct Partitions {
    broken: Arc<Mutex<Vec<u128>>>,
    files: Arc<Mutex<Files>>,
    tries: Arc<AtomicUsize>,
}

fn number(record: &Record) -> u128 {
    record.event_uuid().as_u128()
}

impl Sink for Partitions {
    fn name(&self) -> &'static str {
        "partitions"
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.lock().unwrap().clone();
        let mut written: BTreeMap<u128, Vec<u128>> = BTreeMap::new();
        let deliveries = batch.records.iter().map(|record| {
            let partition = number(record) % 10;
            if broken.contains(&partition) {
                return Delivery::Retry(format!("{partition} is broken"));
            }
            written.entry(partition).or_default().push(number(record));
            Delivery::Delivered
        });
        let deliveries = deliveries.collect();
        for (partition, events) in written {
            let name = (partition, batch.first_seq_inclusive, batch.end_seq_exclusive);
            self.files.lock().unwrap().insert(name, events);
        }
        Box::pin(async move { deliveries })
    }

    fn place_of(&self, record: &Record) -> String {
        format!("partition {}", number(record) % 10)
    }

    fn replays_by_range(&self) -> bool {
        true
    }
}

impl Partitions {
    fn breaks(&self, broken: &[u128]) {
        *self.broken.lock().unwrap() = broken.to_vec();
    }

    /// All events in the files, repeated if they occur more than once.
    fn events(&self) -> Vec<u128> {
        let mut events: Vec<u128> = self.files.lock().unwrap().values().flatten().copied().collect();
        events.sort_unstable();
        events
    }

    fn deliverer(&self, back: &TestDelivery) -> BatchDeliverer {
        let bounds = BatchBounds { records_max: 20, bytes_max: 1 << 20, age_max: Duration::ZERO };
        BatchDeliverer::open(back.shared(), Box::new(self.clone()), bounds, back.folder.join("delivery/journal"))
    }

    async fn drain(&self, back: &TestDelivery) {
        let (_stop, stopping) = watch::channel(true);
        tokio::time::timeout(Duration::from_secs(60), self.deliverer(back).run(stopping)).await.expect("it drains");
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_fails_holds_up_itself_alone_also_through_a_crash_and_each_event_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Partitions::default();
    lake.breaks(&[3, 4]);
    let others = |events: Range<u128>| -> Vec<u128> { events.filter(|event| ![3, 4].contains(&(event % 10))).collect() };
    for life in 0..3_u128 {
        let back = TestDelivery::open(folder.path());
        back.append(life * 100..(life + 1) * 100).await;
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(lake.deliverer(&back).run(stopping));
        let expected = others(0..(life + 1) * 100);
        until("the others are there", || lake.events() == expected).await;
        until("it is said", || back.conditions.list().len() == 2).await;
        let raised: Vec<_> = back.conditions.list().into_iter().map(|raised| (raised.condition, raised.place)).collect();
        let unwritable = |place: &str| (Condition::PartitionUnwritable, place.to_owned());
        assert_eq!(raised, [unwritable("partition 3"), unwritable("partition 4")]);
        assert_eq!(back.shared().state.borrow().failing, None, "the sink is reachable");
        assert_eq!(back.spool.cursor().delivered_exclusive, 0, "the first stretch is owed something");
        // The process is killed.
        running.abort();
        let _ = running.await;
    }
    let files = lake.files.lock().unwrap().clone();
    lake.breaks(&[4]);
    let back = TestDelivery::open(folder.path());
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(lake.deliverer(&back).run(stopping));
    until("one is mended", || back.progress.unsettled(300) == 30).await;
    lake.breaks(&[]);
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(lake.events(), Vec::from_iter(0..300), "each once");
    assert!(files.iter().all(|(name, events)| lake.files.lock().unwrap()[name] == *events), "and no file is another");
    assert_eq!(back.spool.cursor().delivered_exclusive, 300);
    assert!(back.conditions.list().is_empty(), "{:?}", back.conditions.list());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_takes_nothing_is_asked_seldom_and_is_owed_by_number_what_it_takes_later() {
    let folder = tempfile::tempdir().unwrap();
    let (back, lake) = (TestDelivery::open(folder.path()), Partitions::default());
    lake.breaks(&Vec::from_iter(0..10));
    back.append(0..2_000).await;
    let (stop, stopping) = watch::channel(false);
    let mut deliverer = lake.deliverer(&back);
    let state = deliverer.shared.state.subscribe();
    deliverer.bounds.age_max = Duration::ZERO;
    let running = tokio::spawn(deliverer.run(stopping));
    until("it is said", || state.borrow().failing.is_some()).await;
    until("it was asked some times", || lake.tries.load(Ordering::Relaxed) >= 4).await;
    lake.breaks(&[]);
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(lake.events(), Vec::from_iter(0..2_000));
    let tries = lake.tries.load(Ordering::Relaxed);
    assert!(tries < 2 * 2_000 / 20, "a stretch is not tried for each of its places: {tries}");
    assert!(state.borrow().failing.is_none() && back.conditions.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_is_repeated_by_its_numbers_whatever_decayed_in_it_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Partitions::default();
    {
        let back = TestDelivery::open(folder.path());
        back.append(0..10).await;
        // The files are written, and the process is killed before that is recorded.
        back.spool.first_sink().plan(10).unwrap();
        let mut reader = back.spool.reader(0);
        let records = reader.read(10, usize::MAX).unwrap().frames;
        let records = records.into_iter().map(|frame| Record::decode(frame.body).unwrap()).collect();
        let (first_seq_inclusive, end_seq_exclusive) = (0, 10);
        lake.deliver(&Batch { spool_id: back.spool.id(), first_seq_inclusive, end_seq_exclusive, records }).await;
        back.append(10..19).await;
    }
    let segment = folder.path().join("spool/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|window| window == b"\"n\":5,").unwrap();
    bytes[at + 4] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let back = TestDelivery::open(folder.path());
    lake.drain(&back).await;
    assert_eq!(lake.events(), Vec::from_iter(0..19), "no event is there twice");
    let names: BTreeSet<(u64, u64)> = lake.files.lock().unwrap().keys().map(|(_, first, end)| (*first, *end)).collect();
    assert_eq!(names, BTreeSet::from([(0, 10), (10, 19)]));
    let delivery = &back.delivery;
    assert_eq!((delivery.lost_events.get(), delivery.delivered_events.get()), (1, 18));
    assert_eq!(back.progress.ending(5), Some(crate::progress::Ending::Lost));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_sink_settled_beyond_the_cursor_is_not_delivered_again() {
    let folder = tempfile::tempdir().unwrap();
    let (back, lake) = (TestDelivery::open(folder.path()), Partitions::default());
    back.append(0..10).await;
    let (mut journal, _) = back.shared().open_journal(folder.path().join("delivery/journal"));
    journal.settled(&[2, 3, 7]);
    drop(journal);
    lake.drain(&back).await;
    assert_eq!(lake.events(), [0, 1, 4, 5, 6, 8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_that_only_rested_is_delivered_after_a_crash_though_later_ones_were_begun() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Partitions::default();
    lake.breaks(&[3]);
    {
        let back = TestDelivery::open(folder.path());
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(lake.deliverer(&back).run(stopping));
        for round in 0..20 {
            // Usually a separate range; the sink gets nothing of it while its partition pauses.
            back.append([10 * round + 3]).await;
            back.append([10 * round + 4]).await;
            until("the other partition is written", || lake.events().len() as u128 == round + 1).await;
        }
        running.abort();
        let _ = running.await;
    }
    lake.breaks(&[]);
    lake.drain(&TestDelivery::open(folder.path())).await;
    assert_eq!(lake.events(), (0..200).filter(|event| [3, 4].contains(&(event % 10))).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_written_is_said_and_delivery_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Partitions::default();
    // The temporary file of the cursor, before the rename.
    let in_the_way = folder.path().join("spool/cursor.tmp");
    {
        let back = TestDelivery::open(folder.path());
        std::fs::create_dir(&in_the_way).unwrap();
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(lake.deliverer(&back).run(stopping));
        for round in 0..5 {
            back.append(round * 40..(round + 1) * 40).await;
            until("it is delivered", || lake.events().len() as u128 == (round + 1) * 40).await;
        }
        until("it is said", || back.conditions.holds(Condition::CursorUnwritable)).await;
        assert_eq!(back.spool.cursor().delivered_exclusive, 0);
        running.abort();
        let _ = running.await;
    }
    let tries = lake.tries.load(Ordering::Relaxed);
    std::fs::remove_dir(&in_the_way).unwrap();
    let back = TestDelivery::open(folder.path());
    lake.drain(&back).await;
    assert_eq!(back.spool.cursor().delivered_exclusive, 200, "it has caught up");
    assert!(lake.tries.load(Ordering::Relaxed) <= tries + 1, "the journal knew what was delivered");
    assert_eq!(lake.events(), Vec::from_iter(0..200));
}

fn deliverer(back: &TestDelivery, asked: &Asked, by_stretch: bool, age_max: Duration, answers: Vec<Answer>) -> BatchDeliverer {
    let sink = Box::new(Script { asked: asked.clone(), answers: Mutex::new(answers.into()), by_stretch });
    let bounds = BatchBounds { records_max: 1000, bytes_max: 1 << 20, age_max };
    BatchDeliverer::open(back.shared(), sink, bounds, back.folder.join("delivery/journal"))
}

/// Delivers the spooled events and stops.
async fn drain(back: &TestDelivery, asked: &Asked, by_stretch: bool, answers: Vec<Answer>) {
    let (_stop, stopping) = watch::channel(true);
    deliverer(back, asked, by_stretch, Duration::ZERO, answers).run(stopping).await;
}

fn asked(asked: &Asked) -> Vec<(u64, u64, Vec<u128>)> {
    asked.lock().unwrap().clone()
}

fn retry() -> Delivery {
    Delivery::Retry("throttled".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_sent_again_and_silence_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (TestDelivery::open(folder.path()), Asked::default());
    back.append(1..=4).await;
    let partly: Answer = Box::new(|_| vec![Delivery::Delivered, retry(), Delivery::Delivered, retry()]);
    let too_short: Answer = Box::new(|_| vec![Delivery::Delivered]);
    drain(&back, &log, false, vec![partly, too_short]).await;
    assert_eq!(asked(&log), [(0, 4, vec![1, 2, 3, 4]), (0, 4, vec![2, 4]), (0, 4, vec![4])]);
    assert_eq!(back.delivery.delivered_events.get(), 4);
    assert_eq!(back.spool.cursor().delivered_exclusive, 4);
    assert_eq!(back.progress.settled_exclusive(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sink_refuses_for_good_becomes_a_dead_letter_even_beyond_the_quota() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (TestDelivery::open(folder.path()), Asked::default());
    back.append(1..=3).await;
    let refuse_second: Answer =
        Box::new(|_| vec![Delivery::Delivered, Delivery::Refused("too large".into()), Delivery::Delivered]);
    drain(&back, &log, false, vec![refuse_second]).await;
    assert_eq!(asked(&log).len(), 1);
    assert_eq!((back.delivery.delivered_events.get(), back.delivery.refused_events.get()), (2, 1));
    let letter = std::fs::read_to_string(folder.path().join("dead-letters/web/00000001.ndjson")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
    assert_eq!((&letter["code"], &letter["detail"]), (&"refused_by_sink".into(), &"too large".into()));
    assert_eq!(letter["raw"], payload(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_cut_short_is_repeated_as_the_same_stretch_whatever_came_in_since() {
    let folder = tempfile::tempdir().unwrap();
    let log = Asked::default();
    {
        let back = TestDelivery::open(folder.path());
        back.append(1..=3).await;
        // The process is killed during a delivery: the deliverer is dropped.
        let never: Answer = Box::new(|count| vec![retry(); count]);
        let deliverer = deliverer(&back, &log, true, Duration::ZERO, (0..1000).map(|_| clone_of(&never)).collect());
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(deliverer.run(stopping));
        while asked(&log).is_empty() {
            tokio::task::yield_now().await;
        }
        running.abort();
        let _ = running.await;
        back.append(4..=5).await;
    }
    log.lock().unwrap().clear();
    let back = TestDelivery::open(folder.path());
    assert_eq!(back.spool.cursor().planned_end_exclusive, Some(3));
    drain(&back, &log, true, vec![]).await;
    assert_eq!(asked(&log), [(0, 3, vec![1, 2, 3]), (3, 5, vec![4, 5])]);
}

fn clone_of(_: &Answer) -> Answer {
    Box::new(|count| vec![retry(); count])
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_delivery_does_not_wait_for_a_batch_to_grow_old() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (TestDelivery::open(folder.path()), Asked::default());
    let (stop, stopping) = watch::channel(false);
    let hours = Duration::from_secs(36_000);
    let running = tokio::spawn(deliverer(&back, &log, false, hours, vec![]).run(stopping));
    back.append(1..=2).await;
    assert_eq!(back.progress.settled_exclusive(), 0, "nobody waits yet");
    assert!(back.progress.await_settled(&[0..2], Duration::from_secs(20)).await);
    back.append(3..=3).await;
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(back.spool.cursor().delivered_exclusive, 3, "a stop drains what is not due yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_for_delivery_share_a_flush_and_the_flushes_keep_their_distance() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (TestDelivery::open(folder.path()), Asked::default());
    let (stop, stopping) = watch::channel(false);
    let hours = Duration::from_secs(36_000);
    let running = tokio::spawn(deliverer(&back, &log, false, hours, vec![]).run(stopping));
    let started = Instant::now();
    for event in 0..4 {
        back.append([u128::from(event) + 1]).await;
        assert!(back.progress.await_settled(&[event..event + 1], Duration::from_secs(20)).await);
    }
    let took = started.elapsed();
    assert!(took >= LAKE_AWAITED_FLUSH_INTERVAL * 3, "four one after the other took {took:?}");
    let before = asked(&log).len();
    assert_eq!(before, 4);
    let started = Instant::now();
    for event in 4..40 {
        back.append([u128::from(event) + 1]).await;
        back.progress.await_settled(&[event..event + 1], Duration::ZERO).await;
    }
    assert!(back.progress.await_settled(&[4..40], Duration::from_secs(20)).await);
    let flushes_max = 2 + (started.elapsed().as_millis() / LAKE_AWAITED_FLUSH_INTERVAL.as_millis()) as usize;
    assert!(asked(&log).len() - before <= flushes_max, "{:?}", asked(&log));
    stop.send_replace(true);
    running.await.unwrap();
}

/// A lake with a partition for each event.
#[derive(Clone, Default)]
struct Spread {
    /// For each batch: its range, and its number of records.
    batches: Arc<Mutex<Vec<(u64, u64, usize)>>>,
    /// Delivered events, repeated if they were delivered more than once.
    events: Arc<Mutex<Vec<u128>>>,
}

impl Sink for Spread {
    fn name(&self) -> &'static str {
        "spread"
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>> {
        let shape = (batch.first_seq_inclusive, batch.end_seq_exclusive, batch.records.len());
        self.batches.lock().unwrap().push(shape);
        self.events.lock().unwrap().extend(batch.records.iter().map(number));
        let count = batch.records.len();
        Box::pin(async move { vec![Delivery::Delivered; count] })
    }

    fn place_of(&self, record: &Record) -> String {
        number(record).to_string()
    }

    fn replays_by_range(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_of_very_many_places_is_written_in_several_turns_whole_and_newer_events_have_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let (back, sink) = (TestDelivery::open(folder.path()), Spread::default());
    let places = 4 * LAKE_FLUSH_PARTITIONS_PER_KEY as u128 + 10;
    back.append(1..=places).await;
    back.append([places + 1]).await;
    let bounds = BatchBounds { records_max: places as usize, bytes_max: 64 << 20, age_max: Duration::ZERO };
    let deliverer = BatchDeliverer::open(back.shared(), Box::new(sink.clone()), bounds, back.folder.join("delivery/journal"));
    let (_stop, stopping) = watch::channel(true);
    tokio::time::timeout(Duration::from_secs(60), deliverer.run(stopping)).await.expect("it drains");
    let batches = sink.batches.lock().unwrap().clone();
    let (all, turn) = (places as u64, LAKE_FLUSH_PARTITIONS_PER_KEY);
    let newer = batches.iter().position(|batch| *batch == (all, all + 1, 1)).expect("it is delivered");
    assert!(newer <= 2, "it has its turn before the rest of the old: {batches:?}");
    let old: Vec<_> = batches.iter().filter(|batch| batch.0 == 0).copied().collect();
    assert_eq!(old, [turn, turn, turn, turn, 10].map(|count| (0, all, count)), "the same stretch, so the same names");
    let mut events = sink.events.lock().unwrap().clone();
    events.sort_unstable();
    assert_eq!(events, (1..=places + 1).collect::<Vec<_>>(), "each once");
    assert_eq!(back.spool.cursor().delivered_exclusive, all + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_goes_only_when_the_window_has_its_identities_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (TestDelivery::open(folder.path()), Asked::default());
    let events = 30_000;
    let claims = back.window.claim(&(1..=events).map(Uuid::from_u128).map(Identity::unknown).collect::<Vec<_>>(), 0).unwrap();
    back.append(1..=events).await;
    back.append([events + 1]).await;
    let segments = back.spool.stats().segments;
    assert!(segments > 1, "{segments}");
    drain(&back, &log, false, vec![]).await;
    assert_eq!(back.spool.stats().segments, segments, "delivered, but their identities are not confirmed");
    claims.confirm(0);
    back.progress.confirm(back.spool.durable_end());
    assert_eq!(back.window.sealed_mark(), 0);
    back.append([events + 2]).await;
    back.progress.confirm(back.spool.durable_end());
    drain(&back, &log, false, vec![]).await;
    assert!(back.spool.stats().segments < segments);
    assert!(back.window.sealed_mark() >= back.spool.stats().first_seq, "{}", back.window.sealed_mark());
}
