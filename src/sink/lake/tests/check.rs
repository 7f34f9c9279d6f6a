//! What `check` reports, and what it does not.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    event::unix_millis,
    sink::lake::{Change, CheckReport, FindingCode, Operation, Table},
};

fn check(lake: &TestLake, is_deep: bool) -> CheckReport {
    lake.reader().check(is_deep, unix_millis(SystemTime::now())).unwrap()
}

fn codes(report: &CheckReport) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// The only file of a type.
fn file_of(lake: &TestLake, event_type: &str) -> PathBuf {
    let folder = format!("event_type={event_type}/");
    let mut files = lake.files().into_iter().filter(|file| file.to_str().unwrap().contains(&folder));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

async fn some_lake() -> TestLake {
    let lake = TestLake::new();
    let late = Envelope { created_at: created(NOW - 500 * DAY), is_late: true, ..envelope(3, "cart:added") };
    lake.write(0, vec![event(1, "menu:viewed"), event(2, "menu:viewed"), record(&late, b"{}")]).await;
    lake
}

#[tokio::test]
async fn a_whole_lake_has_no_findings() {
    let lake = some_lake().await;
    let report = check(&lake, true);
    assert_eq!(report.findings, []);
    assert_eq!((report.version, report.partitions, report.files, report.rows), (Some(1), 2, 2, 3));
    let without_log = TestLake::without_log();
    without_log.write(0, vec![event(1, "menu:viewed")]).await;
    let report = check(&without_log, true);
    assert_eq!((report.findings.len(), report.version, report.rows), (0, None, 1));
}

#[tokio::test]
async fn a_missing_a_damaged_and_a_shortened_file_are_problems() {
    let lake = some_lake().await;
    lake.write(3, vec![event(4, "page:viewed")]).await;
    fs::remove_file(file_of(&lake, "menu")).unwrap();
    let cart = file_of(&lake, "cart");
    fs::write(&cart, vec![0; cart.metadata().unwrap().len() as usize]).unwrap();
    File::options().write(true).open(file_of(&lake, "page")).unwrap().set_len(100).unwrap();
    let report = check(&lake, false);
    assert_eq!(codes(&report), ["missing_file", "unreadable_file", "unreadable_file", "wrong_size"]);
    assert!(report.findings[0].path.contains("event_type=menu/"), "{report:?}");
    assert!(report.has_problems());
}

#[tokio::test]
async fn a_damaged_page_is_found_if_rows_are_decoded() {
    let lake = some_lake().await;
    let file = file_of(&lake, "menu");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4..40].fill(0xff);
    fs::write(&file, bytes).unwrap();
    assert_eq!(codes(&check(&lake, false)), Vec::<&str>::new());
    assert_eq!(codes(&check(&lake, true)), ["unreadable_file"]);
}

#[tokio::test]
async fn a_file_that_the_log_does_not_know_is_an_orphan_when_it_is_old() {
    let lake = some_lake().await;
    let file = file_of(&lake, "menu");
    let (new, old) = (file.with_file_name("new.parquet"), file.with_file_name("old.parquet"));
    fs::copy(&file, &new).unwrap();
    fs::copy(&file, &old).unwrap();
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3 * 24 * 3_600));
    File::options().write(true).open(&old).unwrap().set_times(times).unwrap();
    fs::write(file.with_file_name("notes.txt"), "hello").unwrap();
    fs::write(file.with_file_name("_unfinished.parquet"), "").unwrap();
    let report = check(&lake, false);
    assert_eq!(codes(&report), ["orphan_file", "foreign_file", "uncommitted_file"]);
    assert!(report.findings[0].path.ends_with("old.parquet") && report.findings[0].detail.ends_with("3 days old"), "{report:?}");
    assert_eq!(report.rows, 3);
}

#[tokio::test]
async fn a_removed_file_that_is_still_there_is_told_and_stale_after_two_days() {
    let lake = some_lake().await;
    let table = Table::open(&lake.config()).unwrap().unwrap();
    let mut change = Change::new(Operation::Delete, true);
    change.remove = table.known().files().filter(|file| file.path.contains("menu")).cloned().collect();
    table.commit(&change).unwrap();
    let report = check(&lake, false);
    assert_eq!((codes(&report), report.rows, report.has_problems()), (vec!["removed_file"], 1, false));
    let later = unix_millis(SystemTime::now()) + 3 * DAY;
    let report = lake.reader().check(false, later).unwrap();
    assert_eq!((codes(&report), report.has_problems()), (vec!["stale_file"], true));
    assert!(report.findings[0].detail.contains("rows left the table with it"), "{report:?}");
}

/// Changes what the log says of the menu's file.
async fn lake_whose_log_says(change_file: impl FnOnce(&mut crate::sink::lake::TableFile)) -> TestLake {
    let lake = some_lake().await;
    let table = Table::open(&lake.config()).unwrap().unwrap();
    let mut change = Change::new(Operation::Delete, true);
    change.remove = table.known().files().filter(|file| file.path.contains("menu")).cloned().collect();
    table.commit(&change).unwrap();
    let mut file = (*change.remove[0]).clone();
    change_file(&mut file);
    let mut again = Change::new(Operation::Write, true);
    again.add = vec![file];
    table.commit(&again).unwrap();
    lake
}

#[tokio::test]
async fn numbers_of_the_log_that_the_file_contradicts_are_problems() {
    let lake = lake_whose_log_says(|file| file.statistics.rows = Some(7)).await;
    let report = check(&lake, false);
    assert_eq!(codes(&report), ["wrong_row_count"]);
    assert_eq!((report.rows, report.findings[0].detail.as_str()), (3, "2 rows; the log says 7"));
    let lake = lake_whose_log_says(|file| file.statistics.created_millis = Some((NOW - 2, NOW - 1))).await;
    assert_eq!(codes(&check(&lake, false)), ["wrong_statistics"]);
    let lake = lake_whose_log_says(|file| file.statistics.rows = None).await;
    assert_eq!(codes(&check(&lake, false)), ["no_statistics"]);
}

#[tokio::test]
async fn rows_in_the_wrong_partition_and_doubles_are_found_if_rows_are_decoded() {
    let lake = some_lake().await;
    // As if another gateway had delivered an event of the same day again.
    lake.write(3, vec![event(1, "menu:viewed")]).await;
    let report = check(&lake, true);
    assert_eq!(codes(&report), ["duplicate_events"]);
    assert_eq!(report.findings[0].detail, "1 events are there more than once, in 1 rows too many");
    assert!(!report.has_problems());
    let lake = lake_whose_log_says(|file| {
        file.partition.event_type = "page".into();
    })
    .await;
    assert_eq!(codes(&check(&lake, true)), ["wrong_partition"]);
}

#[test]
fn the_documentation_has_every_code_with_its_severity_and_meaning() {
    let page = include_str!("../../../../docs/lake.md");
    for code in FindingCode::ALL {
        let severity = format!("{:?}", code.severity()).to_lowercase();
        let line = format!("| `{}` | {severity} | {}. |", code.as_str(), code.meaning());
        assert!(page.contains(&line), "docs/lake.md lacks: {line}");
    }
}
