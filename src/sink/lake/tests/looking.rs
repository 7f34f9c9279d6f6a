//! Reading through the table: which files count, older versions, random rows, the history.

use std::{collections::BTreeSet, fs};

use super::*;
use crate::sink::lake::{AsOf, Table};

fn named(name: &str) -> Filters {
    Filters { event_name: Some(name.to_owned()), ..Filters::default() }
}

/// Version 1 has three events in two partitions; version 2 has a fourth.
async fn two_versions() -> TestLake {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:viewed"), event(2, "menu:viewed"), event(3, "cart:added")]).await;
    lake.write(3, vec![event(4, "menu:clicked")]).await;
    lake
}

#[tokio::test]
async fn a_file_counts_if_and_only_if_the_log_has_it() {
    let lake = two_versions().await;
    let file = lake.files().into_iter().find(|file| file.to_str().unwrap().contains("event_type=menu")).unwrap();
    fs::copy(&file, file.with_file_name("copy.parquet")).unwrap();
    assert_eq!(lake.identities(), uuids([1, 2, 3, 4]));
    let reader = lake.reader();
    let rows: u64 = reader.count(&Filters::default(), false).unwrap().counts.iter().map(|count| count.rows).sum();
    assert_eq!(rows, 4);
    let mut found = 0;
    reader
        .find(Uuid::from_u128(1), &Filters::default(), &mut |_, _| {
            found += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(found, 1);
    // Who wants no table reads the folders.
    let by_folders = Lake::open_with(&LakeConfig { table: TableFormat::None, ..lake.config() }).unwrap();
    assert_eq!(by_folders.version(), None);
    assert!(identities(&by_folders).len() > 4);
}

#[tokio::test]
async fn the_log_answers_without_the_files() {
    let lake = two_versions().await;
    let whole = lake.reader().ls(&Filters::default()).unwrap();
    for file in lake.files() {
        if file.to_str().unwrap().contains("event_type=") {
            fs::remove_file(file).unwrap();
        }
    }
    let reader = lake.reader();
    assert_eq!(reader.ls(&Filters::default()).unwrap(), whole);
    let counts = reader.count(&Filters::default(), true).unwrap();
    let counts: Vec<_> = counts.counts.iter().map(|count| (count.event_name.as_deref().unwrap(), count.rows)).collect();
    assert_eq!(counts, [("cart:added", 1), ("menu:clicked", 1), ("menu:viewed", 2)]);
    assert_eq!(reader.count(&named("menu:viewed"), false).unwrap().counts[0].rows, 2);
    // A file that cannot have the name is not opened.
    let none = reader.find(Uuid::from_u128(1), &named("menu:other"), &mut |_, _| Ok(())).unwrap();
    assert_eq!(none, []);
    assert_eq!(reader.find(Uuid::from_u128(1), &named("cart:added"), &mut |_, _| Ok(())).unwrap().len(), 1);
}

#[tokio::test]
async fn an_older_version_is_read_by_number_and_by_time() {
    let lake = two_versions().await;
    let as_of = |as_of| Lake::open_as_of(&lake.config(), as_of);
    assert_eq!(identities(&as_of(AsOf::Version(1)).unwrap()), uuids([1, 2, 3]));
    assert_eq!(identities(&as_of(AsOf::Version(2)).unwrap()), uuids([1, 2, 3, 4]));
    assert!(as_of(AsOf::Version(3)).unwrap_err().to_string().contains("the newest one is 2"));
    let versions = Table::open(&lake.config()).unwrap().unwrap().history(10).unwrap();
    let second = versions[2].committed_millis.unwrap();
    assert_eq!(as_of(AsOf::Time(second)).unwrap().version(), Some(2));
    assert_eq!(as_of(AsOf::Time(second - 1)).unwrap().version(), Some(1));
    let without = TestLake::without_log();
    assert!(Lake::open_as_of(&without.config(), AsOf::Version(0)).unwrap_err().to_string().contains("no versions"));
}

#[tokio::test]
async fn the_history_says_what_each_version_did() {
    let lake = two_versions().await;
    let table = Table::open(&lake.config()).unwrap().unwrap();
    let summary = |wanted| {
        let versions = table.history(wanted).unwrap();
        let line = |version: &crate::sink::lake::Version| {
            (version.version, version.operation.clone().unwrap(), version.files_added, version.files, version.rows)
        };
        versions.iter().map(line).collect::<Vec<_>>()
    };
    let (created, write) = ("CREATE TABLE".to_owned(), "WRITE".to_owned());
    assert_eq!(summary(10), [(0, created, 0, 0, 0), (1, write.clone(), 2, 2, 3), (2, write.clone(), 1, 3, 4)]);
    assert_eq!(summary(1), [(2, write.clone(), 1, 3, 4)]);
    // The log is cleaned up to a checkpoint.
    table.checkpoint().unwrap();
    lake.write(4, vec![event(5, "menu:viewed")]).await;
    for version in 0..=1 {
        fs::remove_file(lake.root().join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    assert_eq!(summary(10), [(2, write.clone(), 1, 3, 4), (3, write, 1, 4, 5)]);
}

fn sampled(lake: &Lake, filters: &Filters, wanted: usize, seed: u64) -> Vec<Uuid> {
    let mut identities = Vec::new();
    let sample = lake.sample(filters, wanted, seed, &mut |row| {
        identities.push(Uuid::parse_str(row.event_uuid).unwrap());
        Ok(())
    });
    let sample = sample.unwrap();
    assert_eq!((sample.rows, sample.left_out), (identities.len() as u64, vec![]));
    identities
}

#[tokio::test]
async fn a_sample_has_different_rows_that_match_and_all_if_there_are_no_more() {
    for lake in [TestLake::new(), TestLake::without_log()] {
        lake.write(0, (1..=20).map(|number| event(number, ["menu:a", "menu:b"][number as usize % 2])).collect()).await;
        lake.write(20, vec![event(21, "cart:added")]).await;
        let reader = lake.reader();
        let five = sampled(&reader, &Filters::default(), 5, 1);
        assert_eq!(five.iter().collect::<BTreeSet<_>>().len(), 5);
        assert_eq!(sampled(&reader, &Filters::default(), 5, 1), five, "the same seed");
        let mut all = sampled(&reader, &Filters::default(), 100, 1);
        all.sort();
        assert_eq!(all, uuids(1..=21));
        let mut odd = sampled(&reader, &named("menu:b"), 100, 1);
        odd.sort();
        assert_eq!(odd, uuids((1..=19).step_by(2)));
    }
}

#[tokio::test]
async fn a_row_of_a_small_file_is_as_likely_as_one_of_a_large_file() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "cart:added")]).await;
    lake.write(1, (2..=20).map(|number| event(number, "menu:viewed")).collect()).await;
    let reader = lake.reader();
    let of_small = (0..2_000).filter(|&seed| sampled(&reader, &Filters::default(), 1, seed) == uuids([1])).count();
    // One in twenty: 100 of 2,000, with a standard deviation below 10.
    assert!((50..150).contains(&of_small), "{of_small}");
}
