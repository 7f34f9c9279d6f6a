//! The ledger beside a real spool, through kills at any moment, against a model that knows the truth.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use uuid::Uuid;

use super::{
    Answers, Detail, Ledger, LedgerConfig, Repeated,
    accepted::AcceptedEvents,
    minutes::{minute_of, minute_start},
    view::{LedgerRows, SinkRow},
};
use crate::{
    conditions::{Condition, Conditions},
    event::{CreatedAt, Envelope, EventName},
    fault::Patience,
    progress::{Ending, Progress, Settlement, SinkStart},
    spool::{FrameBuffer, RealDisk, Spool, SpoolConfig},
};

const START: i64 = 1_795_204_800_000;
const ALL: Detail = Detail { by_key: true, by_event_name: true };
const SINKS: [&str; 2] = ["lake", "kinesis"];

fn open_spool(folder: &Path) -> Arc<Spool> {
    let unreadable = Patience { first: Duration::ZERO, longest: Duration::from_secs(1), budget: Duration::ZERO };
    let config = SpoolConfig {
        dir: folder.join("spool"),
        segment_bytes: 4_000,
        quota_bytes: 1 << 30,
        free_bytes_min: 0,
        queue_bytes_max: 1 << 20,
        unreadable,
        conditions: Conditions::default(),
    };
    Arc::new(Spool::open(Arc::new(RealDisk), config).unwrap().0)
}

fn open_ledger(folder: &Path, conditions: &Conditions) -> Ledger {
    Ledger::open(LedgerConfig {
        folder: folder.join("ledger"),
        window: Duration::from_secs(30 * 86_400 * 100),
        events_max: u64::MAX / 2,
        conditions: conditions.clone(),
        imbalance: Gauge::default(),
    })
}

/// What is true of one event.
#[derive(Clone, Debug)]
struct Event {
    minute: i64,
    key: &'static str,
    name: &'static str,
}

/// A gateway: a spool, a ledger, and what the cursors and journals of its sinks say on disk.
struct Gateway {
    spool: Arc<Spool>,
    ledger: Ledger,
    progress: Progress,
}

/// What is on disk beside the ledger, and the truth.
#[derive(Default)]
struct Truth {
    events: Vec<Event>,
    /// What each sink's cursor and journal say.
    settled: [BTreeSet<u64>; 2],
    refused: [BTreeSet<u64>; 2],
}

impl Gateway {
    fn open(folder: &Path, truth: &Truth) -> Self {
        let (spool, ledger) = (open_spool(folder), open_ledger(folder, &Conditions::default()));
        let starts = [0, 1].map(|_| SinkStart { delivered_exclusive: 0, is_awaited: true });
        let progress = Progress::of_sinks(spool.durable_end(), starts);
        for (sink, settled) in progress.sinks().iter().zip(&truth.settled) {
            sink.settle(settled.iter().copied());
        }
        let sinks = SINKS.iter().map(|name| (*name).into()).zip(progress.sinks().iter().cloned()).collect();
        ledger.begin(&spool, Some(sinks)).unwrap();
        Self { spool, ledger, progress }
    }

    fn append(&self, truth: &mut Truth, events: Vec<Event>) {
        let (mut frames, mut accepted) = (FrameBuffer::default(), AcceptedEvents::default());
        for event in &events {
            let envelope = Envelope {
                event_uuid: Uuid::from_u128(truth.events.len() as u128 + 1),
                event_name: EventName::parse(event.name).unwrap(),
                schema_version: Some(1),
                created_at: CreatedAt { seconds: 1.0, millis: 1_000 },
                received_millis: minute_start(event.minute) + 5,
                source: event.key,
                client_address: None,
                has_reserved_fields: false,
                names_its_version: false,
                dedup_unchecked: false,
                replayed: false,
                is_scoped: false,
                is_late: false,
            };
            frames.push(|buffer| envelope.encode(b"{}", buffer)).unwrap();
            let names = self.ledger.names();
            accepted.push(envelope.received_millis, names.keys.id(event.key), names.events.id(event.name));
        }
        let (done, appended) = std::sync::mpsc::channel();
        let ledger = self.ledger.clone();
        self.spool.append(frames, move |result| {
            ledger.accepted(result.as_ref().unwrap().first_seq, &accepted);
            done.send(()).unwrap();
        });
        appended.recv().unwrap();
        truth.events.extend(events);
    }

    /// As a deliverer does it: delivered events are settled, and then the journal says so, or the other way round.
    fn deliver(&self, truth: &mut Truth, sink: usize, seq: u64, journal_first: bool, journal: bool) {
        if journal && journal_first {
            truth.settled[sink].insert(seq);
        }
        self.progress.sinks()[sink].settle_at("shard-1", [seq]);
        if journal && !journal_first {
            truth.settled[sink].insert(seq);
        }
    }

    fn refuse(&self, truth: &mut Truth, sink: usize, seq: u64) {
        let progress = &self.progress.sinks()[sink];
        progress.settle_as(&[seq], Some(Uuid::from_u128(9)), &Ending::Refused("why".into()));
        progress.make_endings_durable();
        truth.settled[sink].insert(seq);
        truth.refused[sink].insert(seq);
    }

    /// Ends as a killed process does: what was noted and not committed is gone.
    fn kill(self) {
        self.ledger.lose_notes();
        self.ledger.close();
        self.spool.close();
    }

    fn rows(&self) -> LedgerRows {
        self.ledger.rows(START - 86_400_000 * 10..START + 86_400_000 * 10, ALL).unwrap()
    }
}

fn event(random: &mut fastrand::Rng, life: i64) -> Event {
    Event {
        minute: minute_of(START) + life + random.i64(-2..1),
        key: ["web", "orders"][random.usize(0..2)],
        name: ["menu:item:viewed", "order:placed", "a:b"][random.usize(0..3)],
    }
}

fn check(rows: &LedgerRows, truth: &Truth, all_settled: bool) {
    assert_eq!(rows.imbalance, 0);
    let count = |wanted: &dyn Fn(&Event) -> bool| truth.events.iter().filter(|event| wanted(event)).count() as u64;
    let mut accepted = 0;
    for row in &rows.minutes {
        let minute = minute_of(row.start_millis().unwrap());
        assert_eq!(row.answers.accepted, count(&|event| event.minute == minute), "{row:?}");
        assert_eq!(row.received, row.answers.accepted + row.answers.duplicate);
        for (key, answers) in &row.keys {
            assert_eq!(answers.accepted, count(&|event| event.minute == minute && event.key == key), "{row:?}");
        }
        for (name, answers) in &row.event_names {
            assert_eq!(answers.accepted, count(&|event| event.minute == minute && event.name == name), "{row:?}");
        }
        for (index, sink) in SINKS.iter().enumerate() {
            let of =
                |seqs: &BTreeSet<u64>| seqs.iter().filter(|seq| truth.events[**seq as usize].minute == minute).count() as u64;
            let (settled, refused) = (of(&truth.settled[index]), of(&truth.refused[index]));
            let found = row.sinks.get(*sink).copied().unwrap_or_default();
            assert_eq!(found.endings.refused, refused, "{sink} {row:?}");
            if all_settled {
                assert_eq!(found.endings.delivered, settled - refused, "{sink} {row:?}");
            }
            assert_eq!(found.endings.delivered + found.endings.refused + found.spooled, row.answers.accepted, "{sink} {row:?}");
        }
        accepted += row.answers.accepted;
    }
    assert_eq!(accepted, truth.events.len() as u64);
}

#[test]
fn each_event_has_one_account_whenever_the_gateway_is_killed() {
    for seed in 0..4 {
        let (folder, mut random) = (tempfile::tempdir().unwrap(), fastrand::Rng::with_seed(seed));
        let mut truth = Truth::default();
        for life in 0..8 {
            let gateway = Gateway::open(folder.path(), &truth);
            for _ in 0..random.usize(5..40) {
                match random.usize(0..10) {
                    0..4 => {
                        let events = (0..random.usize(1..8)).map(|_| event(&mut random, life)).collect();
                        gateway.append(&mut truth, events);
                    }
                    4 => assert!(gateway.ledger.flush()),
                    _ if truth.events.is_empty() => {}
                    step => {
                        let (sink, seq) = (random.usize(0..2), random.u64(0..truth.events.len() as u64));
                        if truth.settled[sink].contains(&seq) || gateway.progress.sinks()[sink].is_settled(seq) {
                            continue;
                        }
                        match step {
                            9 => gateway.refuse(&mut truth, sink, seq),
                            _ => gateway.deliver(&mut truth, sink, seq, random.bool(), random.bool()),
                        }
                    }
                }
            }
            gateway.kill();
        }
        // The last life delivers everything.
        let gateway = Gateway::open(folder.path(), &truth);
        check(&gateway.rows(), &truth, true);
        for seq in 0..truth.events.len() as u64 {
            for sink in 0..2 {
                if !truth.settled[sink].contains(&seq) {
                    gateway.deliver(&mut truth, sink, seq, true, true);
                }
            }
        }
        check(&gateway.rows(), &truth, true);
        for seq in 0..truth.events.len() as u64 {
            let known = gateway.ledger.accepted_event(seq).unwrap().unwrap();
            let event = &truth.events[seq as usize];
            assert_eq!((known.key.as_deref(), known.event_name.as_deref()), (Some(event.key), Some(event.name)));
            assert_eq!(minute_of(known.received_millis), event.minute);
            for (index, sink) in SINKS.iter().enumerate() {
                let settled = known.settled.iter().find(|settled| &*settled.sink == *sink).unwrap();
                let expected = if truth.refused[index].contains(&seq) { Settlement::Refused } else { Settlement::Delivered };
                assert_eq!(settled.settlement, expected, "{seq} {sink}");
            }
        }
    }
}

#[test]
fn answers_that_store_nothing_are_counted_by_key_and_name_and_duplicates_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open(folder.path(), &Truth::default());
    let names = gateway.ledger.names();
    let (key, name) = (names.keys.id("web"), names.events.id("a:b"));
    let one = |answers: Answers| gateway.ledger.answered(START, key, [(name, answers)]);
    one(Answers { duplicate: 1, ..Answers::default() });
    one(Answers { rejected: 2, ..Answers::default() });
    one(Answers { retry: 3, ..Answers::default() });
    let again = Uuid::from_u128(7);
    gateway.ledger.repeated([1, 2].map(|seconds| Repeated { identity: again, received_millis: START + seconds, key }));
    let rows = gateway.rows();
    assert_eq!((rows.minutes.len(), rows.imbalance), (1, 0));
    let row = &rows.minutes[0];
    assert_eq!((row.received, row.answers.duplicate, row.answers.rejected, row.answers.retry), (6, 1, 2, 3));
    assert_eq!((row.keys["web"], row.event_names["a:b"]), (row.answers, row.answers));
    let repeats = gateway.ledger.repeats(again).unwrap().unwrap();
    assert_eq!((repeats.times, repeats.first_millis, repeats.last_millis), (2, START + 1, START + 2));
    assert_eq!(repeats.key.as_deref(), Some("web"));
    assert_eq!(gateway.ledger.repeats(Uuid::from_u128(8)).unwrap(), None);
    gateway.ledger.unanswered(4);
    assert!(gateway.ledger.flush());
    assert_eq!(gateway.ledger.imbalance(), 4, "a bug is seen");
}

#[test]
fn another_spool_leaves_what_waited_in_the_former_one_as_lost_and_begins_with_its_own_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut truth, mut random) = (Truth::default(), fastrand::Rng::with_seed(1));
    let gateway = Gateway::open(folder.path(), &truth);
    let events: Vec<Event> = (0..10).map(|_| event(&mut random, 0)).collect();
    gateway.append(&mut truth, events);
    (0..4).for_each(|seq| gateway.deliver(&mut truth, 0, seq, true, true));
    gateway.ledger.close();
    drop(gateway);
    std::fs::remove_dir_all(folder.path().join("spool")).unwrap();
    let gateway = Gateway::open(folder.path(), &Truth::default());
    let mut other = Truth::default();
    gateway.append(&mut other, vec![Event { minute: minute_of(START) + 60, key: "web", name: "a:b" }]);
    gateway.deliver(&mut other, 0, 0, true, true);
    let rows = gateway.rows();
    let sum = |of: fn(&SinkRow) -> u64| rows.minutes.iter().map(|row| of(&row.sinks["lake"])).sum::<u64>();
    assert_eq!(
        (sum(|sink| sink.endings.delivered), sum(|sink| sink.endings.lost), sum(|sink| sink.spooled), rows.imbalance),
        (5, 6, 0, 0)
    );
    let first = gateway.ledger.accepted_event(0).unwrap().unwrap();
    assert_eq!(minute_of(first.received_millis), minute_of(START) + 60, "the numbers begin again");
    assert_eq!(gateway.ledger.accepted_event(5).unwrap(), None);
}

#[test]
fn a_sink_that_comes_later_owes_only_what_comes_later_and_one_that_goes_leaves_nothing_open() {
    let folder = tempfile::tempdir().unwrap();
    let (mut truth, mut random) = (Truth::default(), fastrand::Rng::with_seed(1));
    let gateway = Gateway::open(folder.path(), &truth);
    let events: Vec<Event> = (0..10).map(|_| event(&mut random, 0)).collect();
    gateway.append(&mut truth, events);
    (0..10).for_each(|seq| gateway.deliver(&mut truth, 0, seq, true, true));
    gateway.ledger.close();
    drop(gateway);
    let (spool, ledger) = (open_spool(folder.path()), open_ledger(folder.path(), &Conditions::default()));
    let at_end = SinkStart { delivered_exclusive: 10, is_awaited: true };
    let progress = Progress::of_sinks(spool.durable_end(), [at_end, at_end]);
    let sinks = ["lake", "archive"].map(Into::into).into_iter().zip(progress.sinks().iter().cloned()).collect();
    ledger.begin(&spool, Some(sinks)).unwrap();
    let rows = ledger.rows(START - 86_400_000..START + 86_400_000, ALL).unwrap();
    assert_eq!(rows.imbalance, 0);
    for row in &rows.minutes {
        assert_eq!(row.sinks["lake"].spooled + row.sinks["kinesis"].spooled, 0);
        assert_eq!(row.sinks["kinesis"].endings.dropped, row.answers.accepted, "it is gone");
        assert!(!row.sinks.contains_key("archive"), "it was not there");
    }
}

#[test]
fn a_ledger_that_is_damaged_is_set_aside_and_one_that_cannot_be_opened_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("ledger")).unwrap();
    std::fs::write(folder.path().join("ledger/ledger.redb"), vec![7; 10_000]).unwrap();
    let conditions = Conditions::default();
    let ledger = open_ledger(folder.path(), &conditions);
    assert!(conditions.list().iter().any(|raised| raised.condition == Condition::LedgerDamaged));
    assert!(folder.path().join("ledger/ledger.damaged").exists());
    let spool = open_spool(folder.path());
    ledger.begin(&spool, Some(Vec::new())).unwrap();
    assert_eq!(ledger.rows(0..i64::MAX, ALL).unwrap().minutes, []);
    drop((ledger, spool));

    std::fs::remove_dir_all(folder.path().join("ledger")).unwrap();
    std::fs::write(folder.path().join("ledger"), b"no folder").unwrap();
    let (spool, ledger) = (open_spool(folder.path()), open_ledger(folder.path(), &conditions));
    assert!(conditions.list().iter().any(|raised| raised.condition == Condition::LedgerUnwritable));
    ledger.begin(&spool, Some(Vec::new())).unwrap();
    ledger.accepted(0, &AcceptedEvents::default());
    assert!(ledger.rows(0..1, ALL).is_err());
}

#[test]
fn what_is_old_is_removed_and_what_waits_for_a_sink_is_kept() {
    use super::{
        minutes::MinutesBySeq,
        names::LedgerNames,
        notes::{Notes, SettledNote},
        reading,
        store::{Kept, Store},
    };

    let folder = tempfile::tempdir().unwrap();
    let (mut store, damaged) = Store::open(folder.path()).unwrap();
    assert_eq!(damaged, None);
    let names = LedgerNames::default();
    let sink = super::books::SinkBook::new("lake", names.sinks.id("lake"), 0, 0);
    let mut books = super::books::Books::new(Uuid::nil(), MinutesBySeq::starting_at(0), vec![sink]);
    for minute in 0..10 {
        let (mut notes, mut accepted) = (Notes::default(), AcceptedEvents::default());
        (0..20_000).for_each(|_| accepted.push(minute_start(minute), 1, 1));
        notes.accept(20_000 * minute as u64, &accepted);
        let ranges = vec![20_000 * minute as u64..20_000 * (minute as u64 + 1)];
        notes.settle(SettledNote { sink: 0, settlement: Settlement::Delivered, place: 0, at_millis: minute, ranges });
        books.take(notes);
        store.commit(&books.changes, &books.positions(), names.all()).unwrap();
        books.stored();
    }
    let kept = Kept { minutes_from: 3, events_from_millis: minute_start(6), events_from_seq: 0, settled_exclusive: 110_000 };
    while store.remove_old(kept).unwrap() {}
    let database = store.database();
    assert_eq!(reading::first_minute(database).unwrap(), Some(3));
    assert_eq!(reading::minutes(database, 0..100).unwrap().len(), 7);
    // Those of the sixth minute are old, and wait.
    assert_eq!(reading::first_event(database).unwrap(), Some((100_000, minute_start(5))));
    assert_eq!(reading::run_of(database, 99_999).unwrap(), None);
    assert_eq!(reading::run_of(database, 100_000).unwrap().map(|run| run.received_millis), Some(minute_start(5)));
    let sink = names.sinks.id("lake");
    assert_eq!(reading::settled(database, sink, 10_000).unwrap(), None);
    assert_eq!(reading::settled(database, sink, 150_000).unwrap(), Some((7, Settlement::Delivered, 0)));
    while store.remove_old(Kept { settled_exclusive: u64::MAX, ..kept }).unwrap() {}
    assert_eq!(reading::first_event(store.database()).unwrap(), Some((120_000, minute_start(6))));
    // By number.
    while store.remove_old(Kept { settled_exclusive: u64::MAX, events_from_seq: 190_000, ..kept }).unwrap() {}
    assert_eq!(reading::first_event(store.database()).unwrap(), Some((180_000, minute_start(9))), "the newest is kept");
}
