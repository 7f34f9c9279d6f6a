//! The log's tests: what is committed is read again, by this process and by a new one; conflicts keep their meaning.

use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::sink::lake::{LakeConfig, Partition};

struct TestTable {
    folder: TempDir,
    table: Table,
}

impl TestTable {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = open(folder.path());
        Self { folder, table }
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("_delta_log")
    }

    /// Opens the table once more, as another process would.
    fn again(&self) -> Table {
        Table::open(&LakeConfig::at(self.folder.path().to_str().unwrap())).unwrap().unwrap()
    }

    fn add(&self, names: &[&str]) -> Arc<Snapshot> {
        add_to(&self.table, names)
    }
}

fn open(root: &Path) -> Table {
    let store = Store::for_writing(&LakeConfig::at(root.to_str().unwrap())).unwrap();
    Table::open_or_create(Arc::new(store), &[("lakegate.test", "yes")]).unwrap()
}

fn add_to(table: &Table, names: &[&str]) -> Arc<Snapshot> {
    let mut change = Change::new(Operation::Write, true);
    change.add = names.iter().map(|name| file(name)).collect();
    table.commit(&change).unwrap()
}

fn file(name: &str) -> TableFile {
    let partition = Partition { event_type: "menu".into(), created_date: "2026-11-20".into() };
    TableFile {
        path: format!("{partition}/{name}.parquet"),
        partition,
        bytes: 1_000,
        modified_millis: 1_795_132_800_000,
        statistics: FileStatistics {
            rows: Some(10),
            created_millis: Some((1_795_132_800_000, 1_795_132_800_500)),
            received_millis: Some((1_795_132_800_001, 1_795_132_800_501)),
            created_at: Some((1_795_132_800.0, 1_795_132_800.5)),
            event_name: Some(("menu:a".into(), "menu:b".into())),
        },
        ranges: vec![SpoolRange { identity: uuid::Uuid::from_u128(7), first_inclusive: 3, end_exclusive: 9 }],
    }
}

fn replace(table: &Table, old: &str, new: &str) -> Result<Arc<Snapshot>, TableError> {
    let known = table.known();
    let old = known.files().find(|file| file.name() == format!("{old}.parquet")).cloned();
    let mut change = Change::new(Operation::Optimize, false);
    change.remove = vec![old.unwrap_or_else(|| Arc::new(file("gone")))];
    change.add = vec![file(new)];
    table.commit(&change)
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.files().map(|file| file.name().trim_end_matches(".parquet").to_owned()).collect()
}

#[test]
fn what_is_committed_is_read_again_with_all_that_is_known_of_a_file() {
    let table = TestTable::new();
    table.add(&["a", "b"]);
    let again = table.again().known();
    assert_eq!((again.version, names(&again)), (1, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(**again.files().next().unwrap(), file("a"));
    assert_eq!(again.setting("lakegate.test"), Some("yes"));
}

#[test]
fn a_file_that_is_live_is_not_added_again() {
    let table = TestTable::new();
    table.add(&["a"]);
    assert_eq!(table.add(&["a"]).version, 1, "no commit");
    let after = table.add(&["a", "b"]);
    assert_eq!((after.version, names(&after).len()), (2, 2));
    assert_eq!(names(&table.again().known()).len(), 2);
}

#[test]
fn two_writers_never_write_the_same_version() {
    let table = TestTable::new();
    let other = table.again();
    std::thread::scope(|scope| {
        for (writer, table) in [("x", &table.table), ("y", &other)] {
            scope.spawn(move || (0..50).for_each(|number| drop(add_to(table, &[&format!("{writer}{number}")]))));
        }
    });
    let newest = table.again().known();
    assert_eq!((newest.version, newest.files_count()), (100, 100));
    assert_eq!(names(&table.table.refresh().unwrap()).len(), 100);
}

#[test]
fn a_file_that_somebody_else_removed_is_not_replaced_and_nothing_is_changed() {
    let table = TestTable::new();
    table.add(&["a"]);
    let other = table.again();
    let mut erase = Change::new(Operation::Delete, true);
    erase.remove = other.known().files().cloned().collect();
    other.commit(&erase).unwrap();
    let refused = replace(&table.table, "a", "merged");
    assert!(matches!(&refused, Err(TableError::FilesGone(paths)) if paths[0].ends_with("/a.parquet")), "{refused:?}");
    assert_eq!(names(&table.again().known()), Vec::<String>::new(), "what was erased does not come back");
}

#[test]
fn a_checkpoint_replaces_the_commits_before_it() {
    let table = TestTable::new();
    table.add(&["a", "b", "c"]);
    replace(&table.table, "a", "d").unwrap();
    table.table.checkpoint().unwrap();
    for version in 0..=2 {
        fs::remove_file(table.log().join(format!("{version:020}.json"))).unwrap();
    }
    let read = table.again().known();
    assert_eq!((read.version, names(&read)), (2, vec!["b".to_owned(), "c".to_owned(), "d".to_owned()]));
    assert_eq!(**read.files().next().unwrap(), file("b"), "statistics and ranges are in the checkpoint");
    let removed = read.removed().next().unwrap();
    assert!(removed.path.ends_with("/a.parquet") && removed.removed_millis > 0 && !removed.data_change);
    assert_eq!(read.setting("lakegate.test"), Some("yes"));
    assert_eq!(table.add(&["e"]).version, 3);
    let older = table.table.snapshot_at(AsOf::Version(1));
    assert!(matches!(older, Err(TableError::NoVersion(_))), "{older:?}");
}

#[test]
fn a_checkpoint_is_written_every_hundred_commits_and_readers_are_told() {
    let table = TestTable::new();
    (0..100).for_each(|number| drop(table.add(&[&number.to_string()])));
    assert!(table.log().join("00000000000000000100.checkpoint.parquet").exists());
    let hint: serde_json::Value = serde_json::from_slice(&fs::read(table.log().join("_last_checkpoint")).unwrap()).unwrap();
    assert_eq!((hint["version"].as_u64(), hint["numOfAddFiles"].as_u64()), (Some(100), Some(100)));
}

#[test]
fn older_versions_are_read_by_number_and_by_time() {
    let table = TestTable::new();
    let first = table.add(&["a"]).committed_millis.unwrap();
    let second = table.add(&["b"]).committed_millis.unwrap();
    assert!(second > first, "times of versions grow, whatever the clock says");
    let at = |at| names(&table.table.snapshot_at(at).unwrap());
    assert_eq!(at(AsOf::Version(1)), ["a"]);
    assert_eq!(at(AsOf::Version(0)), Vec::<String>::new());
    assert_eq!(at(AsOf::Time(first)), ["a"]);
    assert_eq!(at(AsOf::Time(second + 1_000)), ["a", "b"]);
    for missing in [AsOf::Version(3), AsOf::Time(1_000)] {
        assert!(matches!(table.table.snapshot_at(missing), Err(TableError::NoVersion(_))), "{missing:?}");
    }
}

#[test]
fn a_writer_that_slept_while_the_log_was_cleaned_up_reads_it_anew() {
    let table = TestTable::new();
    let sleeper = table.again();
    (0..5).for_each(|number| drop(table.add(&[&number.to_string()])));
    table.table.checkpoint().unwrap();
    (0..5).for_each(|version| fs::remove_file(table.log().join(format!("{version:020}.json"))).unwrap());
    sleeper.committer().distrust();
    assert_eq!(add_to(&sleeper, &["late"]).version, 6);
    assert_eq!(names(&table.again().known()).len(), 6);
}

#[test]
fn a_table_of_others_is_refused_with_what_is_missing() {
    let refused = |lines: &str| {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("_delta_log");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("00000000000000000000.json"), lines).unwrap();
        Table::open(&LakeConfig::at(folder.path().to_str().unwrap())).unwrap_err().to_string()
    };
    let protocol = |text: &str| format!(r#"{{"protocol":{text}}}"#);
    assert!(refused(&protocol(r#"{"minReaderVersion":2,"minWriterVersion":5}"#)).contains("reader version 2"));
    let features = r#"{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}"#;
    assert!(refused(&protocol(features)).contains("`deletionVectors`"));
    let metadata = r#"{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":["day"],"configuration":{}}}"#;
    assert!(refused(metadata).contains("partition columns"), "{}", refused(metadata));
    assert!(refused("{\"add\":").contains("00000000000000000000.json"));
    assert!(refused("{}").contains("no protocol"));
    let outside = r#"{"add":{"path":"../../etc/passwd","partitionValues":{"event_type":"a","created_date":"2026-11-20"},"size":1,"modificationTime":1,"dataChange":true}}"#;
    assert!(refused(outside).contains("not below the lake's root"));
}

#[test]
fn a_missing_commit_is_an_error_and_not_an_end() {
    let table = TestTable::new();
    (0..3).for_each(|number| drop(table.add(&[&number.to_string()])));
    fs::remove_file(table.log().join("00000000000000000002.json")).unwrap();
    let error = Table::open(&LakeConfig::at(table.folder.path().to_str().unwrap())).unwrap_err();
    assert!(error.to_string().contains("00000000000000000002.json"), "{error}");
}

#[test]
fn a_checkpoint_forgets_removed_files_that_a_vacuum_removed_hours_ago() {
    let table = TestTable::new();
    table.add(&["a"]);
    replace(&table.table, "a", "b").unwrap();
    let hours_ago = |hours: i64| crate::event::unix_millis(std::time::SystemTime::now()) - hours * 3_600_000;
    let forgotten = |vacuumed_until: i64, removed_millis: i64| {
        let mut change = Change::new(Operation::Adopt, true);
        let path = format!("event_type=menu/created_date=late/{removed_millis}.parquet");
        change.set_aside =
            vec![RemovedFile { path: path.clone(), removed_millis, partition: None, bytes: None, data_change: false }];
        table.table.commit(&change).unwrap();
        table.table.committer().set_removed_millis(&path, removed_millis);
        fs::create_dir_all(table.folder.path().join("_lakegate")).unwrap();
        fs::write(table.folder.path().join("_lakegate/vacuumed-until"), format!("{vacuumed_until}\n")).unwrap();
        table.table.checkpoint().unwrap().removed_file(&path).is_none()
    };
    assert!(forgotten(hours_ago(1), hours_ago(3)), "vacuumed");
    assert!(!forgotten(hours_ago(5), hours_ago(3)), "not vacuumed yet");
    assert!(!forgotten(hours_ago(0), hours_ago(1)), "vacuumed, but not long ago");
    assert!(forgotten(hours_ago(500), hours_ago(200)), "older than a week");
}
