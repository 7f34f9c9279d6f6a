//! Typed tables: whatever happens to the raw table, and whoever builds at the same time, each event is there once.

use std::{
    collections::BTreeMap,
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use super::{DAY, NOW, TestLake, created, envelope, event, event_at, record, uuids};
use crate::{
    conditions::Conditions,
    event::{Date, Envelope, EventColumn, EventColumns, FieldType},
    sink::lake::{
        BuildReport, BuildRequest, CompactRequest, Definitions, Filters, LakeConfig, NameRetention, Pace, Partition, Retention,
        StopSignal, Table, TypedErasure, TypedLake, TypedSettings, Upkeep, UpkeepRun, UpkeepSettings, VacuumRequest, erase_typed,
        scratch::Scratch,
        table::{Change, Operation, TableError, TableFile, Transaction},
        typed_location, typed_status,
        upkeep::{Outcome, Rewrite},
    },
    telemetry::Metrics,
};

const FILES_MAX: usize = 1_000;
const AT_ONCE: VacuumRequest = VacuumRequest { grace_millis: 0, list_folders: true, unknown: false, dry_run: false };

fn columns(name: &str, fields: &[(&str, FieldType)]) -> EventColumns {
    let column = |(name, kind): &(&str, FieldType)| EventColumn {
        column: (*name).to_owned(),
        field: (*name).to_owned(),
        versions: vec![1],
        kind: kind.clone(),
        description: String::new(),
    };
    EventColumns { event_name: name.into(), description: String::new(), columns: fields.iter().map(column).collect() }
}

fn definitions() -> Vec<EventColumns> {
    ["cart:added", "menu:a", "menu:b"].map(|name| columns(name, &[("number", FieldType::Integer)])).to_vec()
}

fn locations(lake: &TestLake) -> (LakeConfig, LakeConfig) {
    let raw = LakeConfig::at(lake.root().join("").to_str().unwrap());
    let typed = typed_location(&raw, Some(lake.root().join("_typed").to_str().unwrap())).unwrap();
    (raw, typed)
}

fn typed(lake: &TestLake) -> TypedLake {
    let (raw, typed) = locations(lake);
    TypedLake::open(&raw, &typed, lake.root().join("_tmp")).unwrap().unwrap()
}

fn full() -> Pace {
    Pace::full(StopSignal::default())
}

fn build(typed: &mut TypedLake) -> BuildReport {
    build_with(typed, &definitions(), false)
}

fn build_with(typed: &mut TypedLake, definitions: &[EventColumns], rebuild: bool) -> BuildReport {
    let report = typed.pass(&BuildRequest { definitions, admits: &|_| true, rebuild, files_max: FILES_MAX }, &full()).unwrap();
    assert_eq!(report.failed, []);
    report
}

/// Partitions that were appended, and rebuilt.
fn done(report: &BuildReport) -> (u64, u64) {
    (report.tables.iter().map(|table| table.appended).sum(), report.tables.iter().map(|table| table.rebuilt).sum())
}

fn table(lake: &TestLake, folder: &str) -> Table {
    let root = lake.root().join("_typed").join(folder);
    Table::open(&LakeConfig::at(root.to_str().unwrap())).unwrap().unwrap()
}

fn identities_in(path: &Path) -> Vec<Uuid> {
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap());
    let mut found = Vec::new();
    for batch in reader.unwrap().build().unwrap().map(Result::unwrap) {
        let column = batch.column_by_name("event_uuid").unwrap();
        let column = column.as_any().downcast_ref::<arrow_array::StringArray>().unwrap();
        found.extend(column.iter().map(|text| text.unwrap().parse::<Uuid>().unwrap()));
    }
    found
}

/// The events of a typed table, repeated if they occur more than once.
fn rows(lake: &TestLake, folder: &str) -> Vec<Uuid> {
    let table = table(lake, folder);
    let root = lake.root().join("_typed").join(folder);
    let mut found: Vec<Uuid> = table.known().files().flat_map(|file| identities_in(&root.join(&file.path))).collect();
    found.sort();
    found
}

fn upkeep(lake: &TestLake) -> Upkeep {
    Upkeep::open(&locations(lake).0, lake.root().join("_tmp")).unwrap().unwrap()
}

fn compact(lake: &TestLake) {
    let (upkeep, request) = (upkeep(lake), CompactRequest { filters: Filters::default(), files_max: 2 });
    for partition in upkeep.to_compact(&request).unwrap() {
        upkeep.compact(&partition, &request, &full()).unwrap();
    }
}

/// Removes rows from the raw table, as an erasure does.
fn erase(lake: &TestLake, numbers: &[u128]) {
    let (upkeep, pace) = (upkeep(lake), full());
    let erased = uuids(numbers.iter().copied());
    let is_erased = |text: &str| erased.contains(&text.parse().unwrap());
    let snapshot = upkeep.table.known();
    for (partition, files) in snapshot.partitions() {
        let has = |path: &str| identities_in(&lake.root().join(path)).iter().any(|uuid| erased.contains(uuid));
        let files: Vec<_> = files.iter().filter(|file| has(&file.path)).cloned().collect();
        let rewrite = Rewrite {
            table: &upkeep.table,
            store: &upkeep.store,
            scratch: &Scratch::new(lake.root().join("_tmp")),
            pace: &pace,
            partition,
            files: &files,
            must_rewrite: &|_| true,
            drop_doubles: false,
            keep: &|row| !is_erased(row.event_uuid),
            operation: Operation::Delete,
            data_change: true,
        };
        assert!(matches!(rewrite.run().unwrap(), Outcome::Done(_)));
    }
    upkeep.vacuum(AT_ONCE, &pace).unwrap();
}

fn menu() -> Partition {
    Partition { event_type: "menu".into(), created_date: "2026-11-21".into() }
}

#[tokio::test]
async fn what_was_delivered_is_added_once_whatever_is_delivered_again_and_nothing_is_committed_when_nothing_came() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b"), event(3, "cart:added"), event(4, "menu:unknown")]).await;
    lake.write(4, vec![event(1, "menu:a"), event_at(5, "menu:a", NOW - DAY)]).await;
    let mut typed = typed(&lake);
    let report = build(&mut typed);
    assert_eq!(done(&report), (0, 4), "the first time everything is written: {report:?}");
    assert_eq!(report.without_table, BTreeMap::from([("menu:unknown".to_owned(), 1)]));
    let told = report.tables.iter().map(|table| (table.table.as_str(), table.rows)).collect::<Vec<_>>();
    assert_eq!(told, [("cart_added", 1), ("menu_a", 2), ("menu_b", 1)]);
    // An event that is there, in an old partition and in a new one; and a new one of each name.
    lake.write(6, vec![event(1, "menu:a"), event(6, "menu:a"), event(6, "menu:a"), event(7, "menu:b")]).await;
    assert_eq!(done(&build(&mut typed)), (2, 0));
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 5, 6]));
    assert_eq!(rows(&lake, "menu_b"), uuids([2, 7]));
    assert_eq!(rows(&lake, "cart_added"), uuids([3]));
    let versions = || ["menu_a", "menu_b", "cart_added"].map(|folder| table(&lake, folder).known().version);
    let before = versions();
    lake.write(10, vec![event(1, "menu:a")]).await;
    assert_eq!(done(&build(&mut typed)), (0, 0));
    compact(&lake);
    assert_eq!((done(&build(&mut typed)), versions()), ((0, 0), before), "no new event, and files that were built merged");
    // Another process goes on where this one was.
    lake.write(11, vec![event(8, "menu:a")]).await;
    assert_eq!(done(&build(&mut self::typed(&lake))), (1, 0));
    assert_eq!(done(&build(&mut typed)), (0, 0));
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 5, 6, 8]));
}

#[tokio::test]
async fn what_is_erased_or_expires_or_is_compacted_too_early_leaves_each_event_once() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b"), event_at(9, "menu:a", NOW - 10 * DAY)]).await;
    let mut typed = typed(&lake);
    build(&mut typed);
    lake.write(3, vec![event(3, "menu:a"), event(1, "menu:a")]).await;
    lake.write(5, vec![event(4, "menu:b")]).await;
    // Files that are not built yet become one with others.
    compact(&lake);
    assert_eq!(done(&build(&mut typed)), (0, 2));
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([1, 3, 9]), uuids([2, 4])));
    lake.write(6, vec![event(5, "menu:a")]).await;
    erase(&lake, &[1, 5, 2, 4]);
    build(&mut typed);
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([3, 9]), Vec::new()));
    let retention = Retention::new(&[NameRetention { pattern: "menu:*".into(), days: 5 }]);
    let (upkeep, today) = (upkeep(&lake), Date::of_millis(NOW));
    for partition in upkeep.to_expire(&retention, today).unwrap() {
        upkeep.expire(&partition, &retention, today, false, &full()).unwrap().unwrap();
    }
    build(&mut typed);
    assert_eq!(rows(&lake, "menu_a"), uuids([3]));
}

#[tokio::test]
async fn without_the_note_of_what_is_built_or_without_a_table_or_the_log_of_before_the_same_is_there_again() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b")]).await;
    build(&mut typed(&lake));
    lake.write(2, vec![event(3, "menu:a")]).await;
    let root = lake.root().join("_typed");
    std::fs::remove_file(root.join("_lakegate/built.json")).unwrap();
    assert_eq!(done(&build(&mut typed(&lake))).0, 1, "its own transactions tell how far a partition is built");
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([1, 3]), uuids([2])));
    std::fs::write(root.join("_lakegate/built.json"), b"{").unwrap();
    build(&mut typed(&lake));
    let mut running = typed(&lake);
    build(&mut running);
    std::fs::remove_dir_all(root.join("menu_a")).unwrap();
    build(&mut running);
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 3]), "a table that somebody deleted while a gateway runs");
    std::fs::remove_dir_all(&root).unwrap();
    build(&mut running);
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([1, 3]), uuids([2])));
    lake.write(3, vec![event(4, "menu:a")]).await;
    let raw = lake.table();
    raw.checkpoint().unwrap();
    for version in 0..=raw.known().version {
        std::fs::remove_file(lake.root().join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    lake.write(4, vec![event(5, "menu:b")]).await;
    build(&mut typed(&lake));
    assert_eq!(
        (rows(&lake, "menu_a"), rows(&lake, "menu_b")),
        (uuids([1, 3, 4]), uuids([2, 5])),
        "the log does not go back so far"
    );
}

#[tokio::test]
async fn a_new_column_joins_and_a_column_of_another_type_has_the_table_built_again() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    let mut typed = typed(&lake);
    let one = |fields: &[(&str, FieldType)]| vec![columns("menu:a", fields)];
    build_with(&mut typed, &one(&[("number", FieldType::Integer)]), false);
    let files = |lake: &TestLake| table(lake, "menu_a").known().files().map(|file| file.path.clone()).collect::<Vec<_>>();
    let before = files(&lake);
    build_with(&mut typed, &one(&[("note", FieldType::Text), ("number", FieldType::Integer)]), false);
    assert_eq!(files(&lake), before);
    let schema = table(&lake, "menu_a").known().schema_string().to_owned();
    assert!(schema.contains("\"note\"") && schema.contains("\"number\""), "{schema}");
    // A gateway with the older schemas takes no column away.
    build_with(&mut self::typed(&lake), &one(&[("number", FieldType::Integer)]), false);
    assert_eq!(table(&lake, "menu_a").known().schema_string(), schema);
    let report = build_with(&mut typed, &one(&[("number", FieldType::Text)]), false);
    assert_eq!(done(&report), (0, 1));
    assert!(!files(&lake).contains(&before[0]));
    assert_eq!(rows(&lake, "menu_a"), uuids([1]));
    // The name left the registry: its table is kept up all the same.
    lake.write(1, vec![event(2, "menu:a")]).await;
    build_with(&mut self::typed(&lake), &[], false);
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 2]));
}

#[tokio::test]
async fn names_that_become_the_same_folder_have_a_table_each() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a_b"), event(2, "menu:a:b")]).await;
    let definitions = [columns("menu:a:b", &[]), columns("menu:a_b", &[])];
    build_with(&mut typed(&lake), &definitions, false);
    assert_eq!((rows(&lake, "menu_a_b"), rows(&lake, "menu_a_b_2")), (uuids([2]), uuids([1])));
    lake.write(2, vec![event(3, "menu:a_b")]).await;
    // Only one of them has a schema now: it keeps its folder.
    build_with(&mut typed(&lake), &definitions[1..], false);
    assert_eq!((rows(&lake, "menu_a_b"), rows(&lake, "menu_a_b_2")), (uuids([2]), uuids([1, 3])));
}

#[tokio::test]
async fn an_event_that_was_received_earlier_takes_the_place_of_the_same_one_also_of_another_name() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:a")]).await;
    let mut typed = typed(&lake);
    build(&mut typed);
    let earlier = Envelope { received_millis: NOW, ..envelope(1, "menu:b") };
    let later = Envelope { received_millis: NOW + DAY, ..envelope(2, "menu:b") };
    lake.write(2, vec![record(&earlier, b"{}"), record(&later, b"{}")]).await;
    build(&mut typed);
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([2]), uuids([1])));
}

#[tokio::test]
async fn many_small_files_of_a_partition_become_one() {
    let lake = TestLake::new();
    let now = crate::event::unix_millis(std::time::SystemTime::now());
    for number in 0..5 {
        lake.write(number, vec![event_at(u128::from(number), "menu:a", now)]).await;
        build(&mut typed(&lake));
    }
    let mut typed = typed(&lake);
    let request = BuildRequest { definitions: &definitions(), admits: &|_| true, rebuild: false, files_max: 5 };
    assert_eq!(done(&typed.pass(&request, &full()).unwrap()), (0, 1));
    assert_eq!((table(&lake, "menu_a").known().files_count(), rows(&lake, "menu_a")), (1, uuids(0..5)));
    assert_eq!(done(&typed.pass(&request, &full()).unwrap()), (0, 0));
}

#[tokio::test]
async fn a_rebuild_on_request_writes_everything_once_more_and_one_table_can_be_built_alone() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b")]).await;
    let mut typed = typed(&lake);
    build(&mut typed);
    assert_eq!(done(&build_with(&mut typed, &definitions(), true)), (0, 2));
    lake.write(2, vec![event(3, "menu:a"), event(4, "menu:b")]).await;
    let (definitions, only) = (definitions(), |name: &str| name == "menu:b");
    let request = BuildRequest { definitions: &definitions, admits: &only, rebuild: false, files_max: FILES_MAX };
    let report = typed.pass(&request, &full()).unwrap();
    assert_eq!((done(&report), report.tables.len()), ((1, 0), 1));
    assert_eq!(rows(&lake, "menu_a"), uuids([1]));
    build(&mut typed);
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([1, 3]), uuids([2, 4])));
}

#[tokio::test]
async fn a_raw_file_that_is_damaged_costs_its_own_events_and_is_told() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    let damaged = lake.root().join(&lake.table().known().files_of(&menu())[0].path);
    let length = damaged.metadata().unwrap().len();
    std::fs::write(&damaged, vec![0; length as usize]).unwrap();
    let report = build(&mut typed(&lake));
    assert_eq!((report.left_out.len(), rows(&lake, "menu_a")), (1, uuids([2])), "{report:?}");
}

#[tokio::test]
async fn an_erasure_deletes_old_files_and_those_that_a_killed_builder_left() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:a"), event(3, "cart:added")]).await;
    let mut typed = typed(&lake);
    build(&mut typed);
    let folder = lake.root().join("_typed/menu_a").join(menu().to_string());
    let live = folder.read_dir().unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&live, folder.join("rewritten-left.parquet")).unwrap();
    std::fs::write(lake.root().join("_typed/menu_a/_tmp/x.parquet.1.tmp"), b"x").unwrap();
    erase(&lake, &[1]);
    let (raw, location) = locations(&lake);
    let erasure = TypedErasure { admits_type: &|_| true, scratch: lake.root().join("_tmp"), stop: StopSignal::default() };
    let done = erase_typed(&raw, &location, &erasure).unwrap();
    assert_eq!((done.tables, done.rows, done.files_removed, &*done.problems), (3, 1, 3, &[][..]));
    let left: Vec<Vec<Uuid>> = folder.read_dir().unwrap().map(|entry| identities_in(&entry.unwrap().path())).collect();
    assert_eq!(left, [uuids([2])]);
    assert_eq!(lake.root().join("_typed/menu_a/_tmp").read_dir().unwrap().count(), 0);
    assert_eq!(rows(&lake, "cart_added"), uuids([3]));
    assert_eq!(erase_typed(&raw, &location, &erasure).unwrap().files_removed, 0, "a repetition finds nothing");
}

/// A builder that read the raw table before an erasure, and commits after everybody else.
#[tokio::test]
async fn a_slow_builder_brings_nothing_back() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    build(&mut typed(&lake));
    lake.write(1, vec![event(2, "menu:a")]).await;
    // What it plans: to add a file with the event.
    let planned = table(&lake, "menu_a").known();
    let app_id = format!("{}/2026-11-21", lake.table().known().id());
    let (expected, live) = (planned.transaction(&app_id), planned.files().next().unwrap().clone());
    assert!(expected.is_some());
    erase(&lake, &[2]);
    let (raw, location) = locations(&lake);
    let erasure = TypedErasure { admits_type: &|_| true, scratch: lake.root().join("_tmp"), stop: StopSignal::default() };
    erase_typed(&raw, &location, &erasure).unwrap();
    let change = Change {
        add: vec![TableFile { path: format!("{}/rewritten-slow.parquet", menu()), ..(*live).clone() }],
        transaction: Some(Transaction { app_id, version: 2, expected }),
        ..Change::new(Operation::Write, true)
    };
    let refused = table(&lake, "menu_a").commit(&change);
    assert!(matches!(refused, Err(TableError::Overtaken(_))), "{refused:?}");
    assert_eq!(rows(&lake, "menu_a"), uuids([1]));
}

/// A gateway that flushes, two builders, a compactor, and an erasure now and then.
#[test]
fn builders_at_once_beside_everything_else_lose_and_double_nothing() {
    let lake = TestLake::new();
    let done = AtomicBool::new(false);
    let flushes = 40_u64;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(lake.write(0, vec![event(0, "menu:a")]));
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (lake, done) = (&lake, &done);
            scope.spawn(move || {
                let mut typed = typed(lake);
                while !done.load(Ordering::Relaxed) {
                    let definitions = definitions();
                    let request = BuildRequest {
                        definitions: &definitions,
                        admits: &|_| true,
                        rebuild: number == 1 && fastrand::u8(..8) == 0,
                        files_max: 4,
                    };
                    // The other may be faster each time; that is no fault.
                    typed.pass(&request, &full()).unwrap();
                }
            });
        }
        let (lake, done) = (&lake, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                compact(lake);
            }
        });
        runtime.block_on(async {
            for flush in 1..flushes {
                let number = u128::from(flush);
                lake.write(flush * 3, vec![event(number, "menu:a"), event(number - 1, "menu:a"), event(100 + number, "menu:b")])
                    .await;
            }
        });
        done.store(true, Ordering::Relaxed);
    });
    build(&mut typed(&lake));
    assert_eq!(rows(&lake, "menu_a"), uuids(0..u128::from(flushes)));
    assert_eq!(rows(&lake, "menu_b"), uuids(101..100 + u128::from(flushes)));
}

#[tokio::test]
async fn a_round_of_the_gateway_builds_before_it_compacts_and_says_how_far_it_is_behind() {
    let lake = TestLake::new();
    let now = crate::event::unix_millis(std::time::SystemTime::now());
    lake.write(0, vec![event_at(1, "menu:a", now), event_at(2, "menu:b", now)]).await;
    let unfit = Envelope { created_at: created(now), ..envelope(3, "menu:a") };
    lake.write(2, vec![record(&unfit, br#"{"number":"three"}"#)]).await;
    let (raw, location) = locations(&lake);
    let (metrics, all) = (Metrics::new(), Arc::new(definitions()));
    let run = UpkeepRun {
        lake: raw,
        scratch: lake.root().to_owned(),
        typed: Some(TypedSettings {
            location,
            definitions: Definitions::new(move || Arc::clone(&all)),
            lag: Duration::from_secs(3_600),
        }),
        settings: UpkeepSettings {
            cpu_percent: 100,
            files_max: 2,
            vacuum_grace_millis: 0,
            log_retention_millis: 3_600_000,
            pause: Duration::ZERO,
            failing_after: Duration::ZERO,
            retention: Retention::default(),
        },
        metrics: metrics.lake.of("lake"),
        conditions: Conditions::default(),
        place: String::new(),
        stop: StopSignal::default(),
    };
    run.one_round().unwrap();
    assert_eq!((rows(&lake, "menu_a"), rows(&lake, "menu_b")), (uuids([1, 3]), uuids([2])));
    assert_eq!(lake.table().known().files_count(), 1, "and then it compacts");
    let text = metrics.exposition();
    for line in [
        "lakegate_lake_typed_rows_total{sink=\"lake\"} 3",
        "lakegate_lake_typed_lag_seconds{sink=\"lake\"} 0.0",
        "lakegate_lake_typed_unconverted_rows_total{sink=\"lake\",event_name=\"menu:a\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    run.one_round().unwrap();
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 3]));
}

/// A store that fails now and then, at every step: the same calls again complete what is missing.
#[tokio::test]
async fn a_pass_that_is_stopped_at_any_step_is_completed_by_the_next_one() {
    let lake = TestLake::new();
    let mut number = 0;
    let mut wanted = (Vec::new(), Vec::new());
    for steps in 0..24 {
        let first = u128::from(number);
        lake.write(number, vec![event(first, "menu:a"), event(first + 1, "menu:b"), event(first.saturating_sub(2), "menu:a")])
            .await;
        wanted.0.push(first);
        wanted.1.push(first + 1);
        number += 3;
        if steps % 5 == 4 {
            erase(&lake, &[first]);
            wanted.0.pop();
        }
        let mut typed = typed(&lake);
        // A folder that is a file cannot be written to: of one table after the other.
        let (folder, aside) = (lake.root().join("_typed").join(["menu_a", "menu_b"][steps % 2]), lake.root().join("_aside"));
        let obstacle = ["event_type=menu", "_delta_log", "_tmp"][steps % 3];
        let is_there = folder.join(obstacle).exists();
        if is_there && obstacle != "_delta_log" {
            std::fs::rename(folder.join(obstacle), &aside).unwrap();
            std::fs::write(folder.join(obstacle), b"").unwrap();
            let definitions = definitions();
            let request = BuildRequest { definitions: &definitions, admits: &|_| true, rebuild: false, files_max: FILES_MAX };
            let _ = typed.pass(&request, &full());
            std::fs::remove_file(folder.join(obstacle)).unwrap();
            std::fs::rename(&aside, folder.join(obstacle)).unwrap();
        }
        build(&mut self::typed(&lake));
        assert_eq!(rows(&lake, "menu_a"), uuids(wanted.0.iter().copied()), "{steps}");
        assert_eq!(rows(&lake, "menu_b"), uuids(wanted.1.iter().copied()), "{steps}");
    }
}

#[tokio::test]
async fn a_damaged_log_is_named_and_the_other_tables_are_built_until_it_is_mended() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b")]).await;
    let mut open = typed(&lake);
    build(&mut open);
    lake.write(2, vec![event(3, "menu:a"), event(4, "menu:b")]).await;
    let log = lake.root().join("_typed/menu_a/_delta_log");
    let commits = std::fs::read_dir(&log)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "json"));
    let garbage = log.join(format!("{:020}.json", commits.count()));
    std::fs::write(&garbage, "garbage").unwrap();
    let definitions = definitions();
    let request = BuildRequest { definitions: &definitions, admits: &|_| true, rebuild: false, files_max: FILES_MAX };
    // One that was open before, and one that is opened now.
    for mut lake_typed in [open, typed(&lake)] {
        let report = lake_typed.pass(&request, &full()).unwrap();
        assert_eq!((report.failed.len(), report.damaged.len(), report.without_table.len()), (0, 1, 0), "{report:?}");
        assert_eq!(report.damaged[0].file, "menu_a");
        assert!(report.damaged[0].reason.contains("delete the folder"), "{report:?}");
        assert_eq!(rows(&lake, "menu_b"), uuids([2, 4]));
        assert!(!lake.root().join("_typed/menu_a_2").exists());
        let (tables, damaged) = typed_status(&locations(&lake).1).unwrap();
        assert_eq!(damaged, report.damaged);
        assert!(!tables.is_empty() && tables.iter().all(|table| table.folder != "menu_a"));
        // An erasure cannot say what a damaged table has.
        let (raw, location) = locations(&lake);
        let erasure = TypedErasure { admits_type: &|_| true, scratch: lake.root().join("_tmp"), stop: StopSignal::default() };
        let erased = erase_typed(&raw, &location, &erasure).unwrap();
        assert!(erased.problems.len() == 1 && erased.problems[0].starts_with("menu_a: ") && erased.tables > 0, "{erased:?}");
    }
    let mut again = typed(&lake);
    again.pass(&request, &full()).unwrap();
    std::fs::remove_file(&garbage).unwrap();
    build(&mut again);
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 3]));
    // And if nobody can mend it.
    std::fs::write(&garbage, "garbage").unwrap();
    again.pass(&request, &full()).unwrap();
    std::fs::remove_dir_all(lake.root().join("_typed/menu_a")).unwrap();
    build(&mut again);
    assert_eq!(rows(&lake, "menu_a"), uuids([1, 3]));
}
