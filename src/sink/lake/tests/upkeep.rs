//! Compaction, retention, vacuum, and clean-up of the log.

use std::{
    collections::BTreeSet,
    fs::File,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use super::{DAY, NOW, TestLake, batch, event, event_at, uuids};
use crate::{
    conditions::Conditions,
    event::Date,
    sink::{
        Delivery, Sink,
        lake::{
            CompactRequest, Filters, LakeConfig, LakeSink, NameRetention, Pace, Partition, Retention, StopSignal, Table, Upkeep,
            UpkeepError, UpkeepRun, UpkeepSettings, VacuumRequest,
            scratch::Scratch,
            store::Store,
            table::Operation,
            upkeep::{Outcome, Rewrite},
        },
    },
    telemetry::Metrics,
};

fn upkeep(lake: &TestLake) -> Upkeep {
    let config = LakeConfig::at(lake.root().to_str().unwrap());
    Upkeep::open(&config, lake.root().to_owned()).unwrap().unwrap()
}

fn table(lake: &TestLake) -> Table {
    Table::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap().unwrap()
}

/// All partitions with two files or more.
fn all() -> CompactRequest {
    CompactRequest { filters: Filters::default(), files_max: 2 }
}

fn full() -> Pace {
    Pace::full(StopSignal::default())
}

fn menu() -> Partition {
    Partition { event_type: "menu".into(), created_date: "2026-11-21".into() }
}

const AT_ONCE: VacuumRequest = VacuumRequest { grace_millis: 0, list_folders: true, unknown: false, dry_run: false };

fn compact_all(upkeep: &Upkeep) -> u64 {
    let partitions = upkeep.to_compact(&all()).unwrap();
    let compacted = partitions.iter().filter_map(|partition| upkeep.compact(partition, &all(), &full()).unwrap());
    compacted.map(|compacted| compacted.doubles).sum()
}

/// The events that the newest version of the table has, repeated if they occur more than once.
fn in_table(lake: &TestLake) -> Vec<uuid::Uuid> {
    let mut found = Vec::new();
    for file in table(lake).known().files() {
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
            File::open(lake.root().join(&file.path)).unwrap(),
        );
        for batch in reader.unwrap().build().unwrap().map(Result::unwrap) {
            let column = batch.column_by_name("event_uuid").unwrap();
            let column = column.as_any().downcast_ref::<arrow_array::StringArray>().unwrap();
            found.extend(column.iter().map(|text| text.unwrap().parse::<uuid::Uuid>().unwrap()));
        }
    }
    found.sort();
    found
}

fn make_old(path: &Path, age: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test]
async fn a_compacted_partition_is_one_file_and_a_replay_of_its_ranges_adds_nothing() {
    let lake = TestLake::new();
    for first in 0..5 {
        // 100 in each, and one that was delivered before.
        let events = [event(100, "menu:a"), event(u128::from(first), "menu:b"), event(u128::from(first + 10), "cart:added")];
        lake.write(first * 3, events.to_vec()).await;
    }
    let upkeep = upkeep(&lake);
    let [cart, menu_day] = &*upkeep.to_compact(&all()).unwrap() else { panic!() };
    assert_eq!((&*cart.event_type, menu_day), ("cart", &menu()));
    let compacted = upkeep.compact(menu_day, &all(), &full()).unwrap().unwrap();
    assert_eq!((compacted.files_before, compacted.files_after, compacted.rows, compacted.doubles), (5, 1, 6, 4));
    assert_eq!(upkeep.compact(menu_day, &all(), &full()).unwrap(), None, "a good file is left alone");
    upkeep.compact(cart, &all(), &full()).unwrap().unwrap();
    assert_eq!(upkeep.to_compact(&all()).unwrap(), []);
    let snapshot = table(&lake).known();
    let [file] = snapshot.files_of(&menu()) else { panic!() };
    let [range] = &*file.ranges else { panic!("{:?}", file.ranges) };
    assert_eq!((range.first_inclusive, range.end_exclusive, file.statistics.rows), (0, 15, Some(6)));
    assert_eq!(upkeep.vacuum(AT_ONCE, &full()).unwrap().removed_files, 10);

    // Another start of the gateway delivers a range again: with its rows in the compacted file.
    let again = crate::sink::lake::LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
    let replay = batch(3, vec![event(100, "menu:a"), event(1, "menu:b"), event(11, "cart:added")]);
    assert_eq!(again.deliver(&replay).await, vec![Delivery::Delivered; 3]);
    assert_eq!(in_table(&lake), uuids((0..5).chain(10..15).chain([100])));
}

#[test]
fn two_compactors_and_a_gateway_at_once_lose_and_double_nothing() {
    let lake = TestLake::new();
    let done = AtomicBool::new(false);
    let rounds = 30_u64;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(lake.write(0, vec![event(0, "menu:a")]));
    let tidy = &|is_first: bool| {
        let upkeep = upkeep(&lake);
        while !done.load(Ordering::Relaxed) {
            // The other may be faster each time; that is no fault.
            compact_all(&upkeep);
            if is_first {
                upkeep.vacuum(AT_ONCE, &full()).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        let tidying = [true, false].map(|is_first| scope.spawn(move || tidy(is_first)));
        runtime.block_on(async {
            for flush in 1..rounds {
                lake.write(flush * 2, vec![event(u128::from(flush), "menu:a"), event(u128::from(flush - 1), "menu:a")]).await;
            }
        });
        done.store(true, Ordering::Relaxed);
        tidying.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let upkeep = upkeep(&lake);
    compact_all(&upkeep);
    assert_eq!(in_table(&lake), uuids(0..u128::from(rounds)));
    upkeep.vacuum(AT_ONCE, &full()).unwrap();
    // A reader of plain files sees the same.
    assert_eq!(lake.identities(), uuids(0..u128::from(rounds)));
}

#[tokio::test]
async fn a_file_that_cannot_be_merged_stays_and_is_not_tried_again() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    lake.write(2, vec![event(3, "menu:a")]).await;
    let damaged = lake.files()[0].clone();
    let length = damaged.metadata().unwrap().len();
    std::fs::write(&damaged, vec![0; length as usize]).unwrap();
    let upkeep = upkeep(&lake);
    let compacted = upkeep.compact(&menu(), &all(), &full()).unwrap().unwrap();
    assert_eq!((compacted.rows, compacted.left_out.len(), compacted.files_after), (2, 1, 2), "{compacted:?}");
    assert_eq!(upkeep.to_compact(&all()).unwrap(), []);
    upkeep.vacuum(AT_ONCE, &full()).unwrap();
    assert!(damaged.exists());
}

#[tokio::test]
async fn a_stop_ends_a_compaction_without_a_trace() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    let (upkeep, stop) = (upkeep(&lake), StopSignal::default());
    stop.stop();
    let version = table(&lake).known().version;
    let stopped = upkeep.compact(&menu(), &all(), &Pace::full(stop));
    assert!(matches!(stopped, Err(UpkeepError::Stopped)), "{stopped:?}");
    assert_eq!((table(&lake).known().version, lake.files().len()), (version, 2));
    assert_eq!(lake.root().join("_tmp").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn events_expire_by_the_pattern_of_their_name_and_no_others() {
    let lake = TestLake::new();
    let old = NOW - 10 * DAY;
    lake.write(0, vec![event_at(1, "menu:item:viewed", old), event_at(2, "menu:closed", old), event_at(3, "cart:added", old)])
        .await;
    lake.write(3, vec![event_at(4, "menu:item:viewed", old), event_at(5, "menu:item:viewed", NOW)]).await;
    lake.write(5, vec![event_at(6, "menu:closed", old)]).await;
    let rules = [("menu:item:*", 7), ("menu:*", 400)];
    let rules = rules.map(|(pattern, days)| NameRetention { pattern: pattern.into(), days });
    let (retention, upkeep) = (Retention::new(&rules), upkeep(&lake));
    let today = Date::of_millis(NOW);
    let [partition] = &*upkeep.to_expire(&retention, today).unwrap() else { panic!() };
    let version = table(&lake).known().version;
    let would = upkeep.expire(partition, &retention, today, true, &full()).unwrap().unwrap();
    assert_eq!((would.files_removed, would.files_rewritten, would.rows), (1, 1, 1));
    assert_eq!((table(&lake).known().version, in_table(&lake).len()), (version, 6), "a dry run changes nothing");
    let expired = upkeep.expire(partition, &retention, today, false, &full()).unwrap().unwrap();
    assert_eq!((expired.files_removed, expired.files_rewritten, expired.rows), (1, 1, 2));
    assert_eq!(expired.event_names, BTreeSet::from(["menu:item:viewed".to_owned()]));
    assert_eq!(in_table(&lake), uuids([2, 3, 5, 6]));
    // The file that was rewritten is looked at once more, and then known to hold nothing that expires today.
    assert_eq!(upkeep.expire(partition, &retention, today, false, &full()).unwrap(), None);
    assert_eq!(upkeep.to_expire(&retention, today).unwrap(), []);
    let later = Date { days: today.days + 398 };
    assert_eq!(upkeep.to_expire(&retention, later).unwrap().len(), 2, "the old day, and the new one");
    upkeep.vacuum(AT_ONCE, &full()).unwrap();
    assert_eq!(lake.identities(), uuids([2, 3, 5, 6]));
}

#[tokio::test]
async fn a_vacuum_removes_what_left_the_table_and_old_leftovers_and_nothing_else() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    let upkeep = upkeep(&lake);
    compact_all(&upkeep);
    let folder = lake.root().join(menu().to_string());
    let day = Duration::from_secs(86_400);
    let make = |path: &Path, age: Duration| {
        std::fs::write(path, b"x").unwrap();
        make_old(path, age);
    };
    make(&folder.join("rewritten-old.parquet"), 2 * day);
    make(&folder.join("rewritten-new.parquet"), day / 2);
    make(&folder.join("firehose.parquet"), 30 * day);
    // A flush that is not committed yet is no unknown file.
    make(&folder.join(format!("{}-{:020}-{:020}.parquet", uuid::Uuid::new_v4(), 7, 8)), day / 2);
    make(&lake.root().join("_tmp/old.parquet.1.tmp"), 2 * day);
    make(&lake.root().join("_tmp/new.parquet.2.tmp"), day / 2);
    make(&lake.root().join("_delta_log/00000000000000009999.tmp"), 30 * day);
    let gentle = VacuumRequest { grace_millis: 60_000, ..AT_ONCE };
    let would = upkeep.vacuum(VacuumRequest { dry_run: true, ..AT_ONCE }, &full()).unwrap();
    assert_eq!((would.removed_files, would.leftovers, would.paths.len()), (2, 2, 4), "{would:?}");
    let done = upkeep.vacuum(gentle, &full()).unwrap();
    assert_eq!((done.removed_files, done.leftovers, done.unknown_files), (0, 2, 1), "{done:?}");
    assert_eq!(done.unknown, [format!("{}/firehose.parquet", menu())]);
    // Without listing: what the log removed.
    let quick = upkeep.vacuum(VacuumRequest { list_folders: false, ..AT_ONCE }, &full()).unwrap();
    assert_eq!((quick.removed_files, quick.unknown_files), (2, 0));
    assert_eq!(upkeep.vacuum(VacuumRequest { list_folders: false, ..AT_ONCE }, &full()).unwrap().removed_files, 0);
    assert!(folder.join("rewritten-new.parquet").exists() && folder.join("firehose.parquet").exists());
    assert!(lake.root().join("_tmp/new.parquet.2.tmp").exists());
    assert!(lake.root().join("_delta_log/00000000000000009999.tmp").exists());
    assert_eq!(in_table(&lake), uuids([1, 2]));
    let asked = upkeep.vacuum(VacuumRequest { unknown: true, ..AT_ONCE }, &full()).unwrap();
    assert_eq!((asked.leftovers, asked.unknown_files), (1, 0));
    assert_eq!(in_table(&lake), uuids([1, 2]));
}

#[tokio::test]
async fn the_log_is_cleaned_up_to_the_checkpoint_that_covers_its_retention() {
    let lake = TestLake::new();
    let log = lake.root().join("_delta_log");
    for first in 0..6 {
        lake.write(first, vec![event(u128::from(first), "menu:a")]).await;
        if first == 1 || first == 3 {
            table(&lake).checkpoint().unwrap();
        }
    }
    let upkeep = upkeep(&lake);
    let hour = Duration::from_secs(3_600);
    let names = || {
        let mut names: Vec<String> =
            log.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(upkeep.clean_log(3_600_000, false, &full()).unwrap(), super::super::CleanedLog::default(), "all is young");
    let before = names();
    let checkpoints: Vec<String> = before.iter().filter(|name| name.contains("checkpoint.parquet")).cloned().collect();
    let [older, newer] = &*checkpoints else { panic!("{before:?}") };
    // The newer checkpoint is younger than the retention: the older one is still needed.
    make_old(&log.join(older), 2 * hour);
    let done = upkeep.clean_log(3_600_000, true, &full()).unwrap();
    assert_eq!(names(), before);
    assert_eq!(upkeep.clean_log(3_600_000, false, &full()).unwrap(), done);
    assert!(done.commits > 0 && done.checkpoints == 0, "{done:?}");
    make_old(&log.join(newer), 2 * hour);
    let done = upkeep.clean_log(3_600_000, false, &full()).unwrap();
    assert!(done.commits > 0 && done.checkpoints == 1, "{done:?}");
    assert!(names().iter().all(|name| name.as_str() >= &newer[..20]), "{:?}", names());
    assert_eq!(in_table(&lake), uuids(0..6));
    lake.write(6, vec![event(6, "menu:a")]).await;
    assert_eq!(in_table(&lake), uuids(0..7));
}

fn run(lake: &TestLake, retention: &[NameRetention], metrics: &Metrics) -> UpkeepRun {
    UpkeepRun {
        lake: LakeConfig::at(lake.root().to_str().unwrap()),
        scratch: lake.root().to_owned(),
        typed: None,
        settings: UpkeepSettings {
            cpu_percent: 100,
            files_max: 2,
            vacuum_grace_millis: 0,
            log_retention_millis: 3_600_000,
            pause: Duration::ZERO,
            failing_after: Duration::ZERO,
            retention: Retention::new(retention),
        },
        metrics: metrics.lake.of("lake"),
        conditions: Conditions::default(),
        place: String::new(),
        stop: StopSignal::default(),
    }
}

#[tokio::test]
async fn a_round_of_the_gateway_expires_compacts_and_vacuums_and_says_so() {
    let lake = TestLake::new();
    let now = crate::event::unix_millis(SystemTime::now());
    lake.write(0, vec![event_at(1, "menu:a", now), event_at(9, "menu:a", now - 300 * DAY)]).await;
    lake.write(2, vec![event_at(1, "menu:a", now), event_at(2, "menu:a", now)]).await;
    let metrics = Metrics::new();
    let rule = NameRetention { pattern: "menu:*".into(), days: 200 };
    run(&lake, &[rule], &metrics).one_round().unwrap();
    let text = metrics.exposition();
    for line in [
        "lakegate_lake_files{sink=\"lake\"} 1",
        "lakegate_lake_compacted_rows_total{sink=\"lake\"} 2",
        "lakegate_lake_dropped_doubles_total{sink=\"lake\"} 1",
        "lakegate_lake_expired_rows_total{sink=\"lake\"} 1",
        "lakegate_lake_removed_files_total{sink=\"lake\"} 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(metrics.lake.of("lake").upkeep_success_timestamp_seconds.get() > 0.0);
    assert_eq!((in_table(&lake), lake.files().len()), (uuids([1, 2]), 1));
}

#[test]
fn a_lake_that_does_not_exist_yet_is_no_failure_and_one_whose_log_is_damaged_is() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let lake = TestLake::new();
    let mut run = run(&lake, &[], &metrics);
    run.lake = LakeConfig::at(folder.path().join("none").to_str().unwrap());
    run.one_round().unwrap();
    let log = folder.path().join("_delta_log");
    std::fs::create_dir(&log).unwrap();
    std::fs::write(log.join("00000000000000000000.json"), "{").unwrap();
    run.lake = LakeConfig::at(folder.path().to_str().unwrap());
    assert!(run.one_round().is_err());
}

/// The gateway is started again while a command compacts.
#[tokio::test]
async fn files_are_rewritten_again_if_a_start_removed_the_unfinished_ones() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    let config = LakeConfig::at(lake.root().to_str().unwrap());
    let (table, store) = (table(&lake), Store::for_upkeep(&config).unwrap());
    let (files, scratch, pace) = (table.known().files_of(&menu()).to_vec(), Scratch::new(lake.root().to_owned()), full());
    let rewrite = Rewrite {
        table: &table,
        store: &store,
        scratch: &scratch,
        pace: &pace,
        partition: &menu(),
        files: &files,
        must_rewrite: &|_| true,
        drop_doubles: false,
        keep: &|_| true,
        operation: Operation::Optimize,
        data_change: false,
    };
    let merged = rewrite.merge().unwrap().unwrap();
    LakeSink::open(&config).unwrap();
    assert!(matches!(rewrite.commit(merged), Ok(Outcome::Outdated)));
    assert!(matches!(rewrite.run(), Ok(Outcome::Done(done)) if done.rows == 2));
    assert_eq!(lake.identities(), uuids([1, 2]));
}
