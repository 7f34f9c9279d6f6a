//! Erasing rows: from the newest version, from files that older versions need, and from files that no table knows.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{TestLake, event, uuids};
use crate::sink::{
    Batch, Delivery, Sink,
    lake::{
        AsOf, CompactRequest, ErasedRows, Filters, LakeConfig, LakeRow, LakeSink, Pace, RowErasure, StopSignal, Table, Upkeep,
        erase_rows,
    },
};

/// Who erases.
struct Eraser {
    is_quiet: bool,
    dry_run: bool,
    unclaimed: HashSet<String>,
}

/// Nobody writes meanwhile.
const QUIET: fn() -> Eraser = || Eraser { is_quiet: true, dry_run: false, unclaimed: HashSet::new() };

fn config(lake: &TestLake) -> LakeConfig {
    LakeConfig::at(lake.root().to_str().unwrap())
}

impl Eraser {
    fn erase(self, lake: &TestLake, numbers: &[u128]) -> ErasedRows {
        self.erase_while(lake, numbers, &|| {})
    }

    /// The same; `meanwhile` is called before each row is looked at.
    fn erase_while(self, lake: &TestLake, numbers: &[u128], meanwhile: &dyn Fn()) -> ErasedRows {
        let wanted: Vec<String> = numbers.iter().map(|number| Uuid::from_u128(*number).to_string()).collect();
        let selects = |row: &LakeRow<'_>| {
            meanwhile();
            wanted.iter().any(|wanted| wanted == row.event_uuid)
        };
        let memory = lake.root().join("_memory");
        let erasure = RowErasure {
            selects: &selects,
            admits_type: &|_| true,
            dry_run: self.dry_run,
            is_quiet: self.is_quiet,
            memory: (&memory, Uuid::from_u128(1)),
            unclaimed: self.unclaimed,
            scratch: lake.root().join("_tmp"),
            stop: StopSignal::default(),
        };
        let mut done = ErasedRows::default();
        erase_rows(&config(lake), &erasure, &mut done).unwrap();
        done
    }
}

fn files_of(lake: &TestLake, event_type: &str) -> Vec<PathBuf> {
    lake.files().into_iter().filter(|file| file.to_string_lossy().contains(&format!("event_type={event_type}/"))).collect()
}

fn below(lake: &TestLake, file: &Path) -> String {
    file.strip_prefix(lake.root()).unwrap().display().to_string()
}

#[tokio::test]
async fn the_newest_version_has_none_of_the_rows_older_ones_lose_the_file_and_a_replay_adds_nothing() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b"), event(3, "payment:a")]).await;
    lake.write(3, vec![event(4, "menu:a"), event(5, "payment:b")]).await;
    let table = Table::open(&config(&lake)).unwrap().unwrap();
    let before = table.refresh().unwrap();
    let dry = Eraser { dry_run: true, ..QUIET() }.erase(&lake, &[2, 3]);
    assert_eq!((dry.erased, dry.files_changed, lake.files().len()), (2, 0, 4));
    let done = QUIET().erase(&lake, &[2, 3]);
    assert_eq!((done.erased, done.files_changed, done.rows_searched, done.problem), (2, 2, 5, None));
    assert_eq!(lake.identities(), uuids([1, 4, 5]));
    let now = table.refresh().unwrap();
    assert_eq!((done.version.unwrap() >= before.version + 2, now.files_count()), (true, 3));
    let old = table.snapshot_at(AsOf::Version(before.version)).unwrap();
    let missing = old.files().filter(|file| !lake.root().join(&file.path).exists()).count();
    assert_eq!(missing, 2, "the old version names files that are gone");
    assert!(now.files().all(|file| lake.root().join(&file.path).exists()));
    // The range is delivered again after a crash, without what is erased.
    let records = vec![event(1, "menu:a")];
    let again = Batch { spool_id: Uuid::from_u128(1), first_seq_inclusive: 0, end_seq_exclusive: 3, records };
    let sink = LakeSink::open(&config(&lake)).unwrap();
    assert_eq!(sink.deliver(&again).await, [Delivery::Delivered]);
    assert_eq!(lake.identities(), uuids([1, 4, 5]));
    assert_eq!(QUIET().erase(&lake, &[2, 3]).erased, 0);
}

#[tokio::test]
async fn a_file_that_an_older_version_needs_goes_only_if_it_has_such_rows() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b"), event(3, "payment:a"), event(4, "payment:b")]).await;
    let kept: Vec<(PathBuf, Vec<u8>)> = lake.files().into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect();
    QUIET().erase(&lake, &[2, 4]);
    // As if the log had removed them for another reason.
    kept.iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
    let done = QUIET().erase(&lake, &[1]);
    assert_eq!((done.erased, done.old_files_removed), (1, 1));
    assert_eq!(files_of(&lake, "menu"), Vec::<PathBuf>::new(), "both rows are erased, one by one");
    assert!(kept.iter().any(|(file, _)| file.exists()), "the other old file has none of the rows");
}

#[tokio::test]
async fn a_file_that_the_table_does_not_know_is_left_to_its_writer_and_loses_the_rows_when_there_is_none() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    let known = files_of(&lake, "menu").remove(0);
    let other = TestLake::new();
    other.write(7, vec![event(2, "menu:a"), event(3, "menu:a")]).await;
    other.write(9, vec![event(2, "menu:a")]).await;
    let copied: Vec<PathBuf> = other
        .files()
        .iter()
        .map(|file| {
            let copy = known.with_file_name(file.file_name().unwrap());
            fs::copy(file, &copy).unwrap();
            copy
        })
        .collect();
    let rewritten = known.with_file_name("rewritten-1.parquet");
    fs::copy(&copied[0], &rewritten).unwrap();
    let live = Eraser { is_quiet: false, ..QUIET() }.erase(&lake, &[2]);
    let mut expected: Vec<String> = copied.iter().chain([&rewritten]).map(|file| below(&lake, file)).collect();
    expected.sort();
    assert_eq!((live.erased, live.unclaimed.clone()), (0, expected), "a writer may be about to commit them");
    // After the deliveries under way have ended, nobody commits an own file with nothing but such rows.
    let unclaimed = live.unclaimed.into_iter().collect();
    let later = Eraser { is_quiet: false, unclaimed, ..QUIET() }.erase(&lake, &[2]);
    assert_eq!((later.old_files_removed, later.unclaimed.len(), copied[1].exists()), (1, 2, false));
    let quiet = QUIET().erase(&lake, &[2]);
    assert_eq!((quiet.erased, quiet.old_files_removed, rewritten.exists()), (1, 1, false));
    assert_eq!(lake.identities_in_folders(), uuids([1, 3]), "other rows of a file that may be the only one stay");
}

#[tokio::test]
async fn a_lake_without_a_table_loses_the_rows_in_place_and_a_replay_finds_the_rest() {
    let lake = TestLake::without_log();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b"), event(3, "payment:a")]).await;
    let done = QUIET().erase(&lake, &[2, 3]);
    assert_eq!((done.version, done.erased, done.files_changed), (None, 2, 2));
    assert_eq!((lake.identities(), files_of(&lake, "payment").len()), (uuids([1]), 0));
    let records = vec![event(1, "menu:a")];
    let again = Batch { spool_id: Uuid::from_u128(1), first_seq_inclusive: 0, end_seq_exclusive: 3, records };
    assert_eq!(lake.sink.deliver(&again).await, [Delivery::Delivered]);
    assert_eq!(lake.identities(), uuids([1]));
}

#[tokio::test]
async fn a_damaged_file_is_named_and_stops_nothing_and_leftovers_of_a_crash_go() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a"), event(2, "payment:a")]).await;
    let damaged = files_of(&lake, "menu").remove(0);
    fs::write(&damaged, b"PAR1 no more").unwrap();
    let leftover = lake.root().join("_tmp/x.tmp");
    fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    fs::write(&leftover, b"half a file").unwrap();
    let done = QUIET().erase(&lake, &[2]);
    assert_eq!((done.erased, done.unreadable_files.len(), leftover.exists()), (1, 1, false));
    assert!(done.unreadable_files[0].starts_with(&below(&lake, &damaged)), "{:?}", done.unreadable_files);
}

/// No gateway runs, but two compactions do. The second one has written its file, and has yet to commit it.
#[tokio::test]
async fn a_file_that_a_compaction_may_commit_stays_while_a_live_file_has_the_rows() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    let uncommitted = files_of(&lake, "menu")[0].with_file_name("rewritten-2.parquet");
    let (has_begun, seen) = (Cell::new(false), RefCell::new(Vec::new()));
    let done = QUIET().erase_while(&lake, &[2], &|| {
        if !has_begun.replace(true) {
            let upkeep = Upkeep::open(&config(&lake), lake.root().to_owned()).unwrap().unwrap();
            let request = CompactRequest { filters: Filters::default(), files_max: 2 };
            for partition in upkeep.to_compact(&request).unwrap() {
                upkeep.compact(&partition, &request, &Pace::full(StopSignal::default())).unwrap();
            }
            let is_new = |file: &PathBuf| file.to_string_lossy().contains("/rewritten-");
            let committed = files_of(&lake, "menu").into_iter().find(is_new).unwrap();
            fs::copy(committed, &uncommitted).unwrap();
        }
        seen.borrow_mut().push(uncommitted.exists());
    });
    assert!(seen.borrow().iter().all(|exists| *exists), "{seen:?}");
    assert_eq!((done.erased, done.problem, done.unclaimed, uncommitted.exists()), (1, None, vec![], false));
    assert_eq!(lake.identities(), uuids([1]));
}
