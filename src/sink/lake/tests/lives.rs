//! Other instances of a data folder: copies, restored backups, ranges with other bounds. Nothing is overwritten, and repeated
//! deliveries are in the lake once.

use std::{collections::HashSet, fs};

use super::*;
use crate::sink::lake::encode::FileName;

/// Opens the lake at `root` as a gateway whose data folder is `data`.
fn life(root: &Path, data: &Path) -> LakeSink {
    LakeSink::open_with_memory(&LakeConfig::at(root.to_str().unwrap()), &data.join("delivery")).unwrap()
}

async fn deliver(sink: &LakeSink, batch: &Batch) {
    assert_eq!(sink.deliver(batch).await, vec![Delivery::Delivered; batch.records.len()]);
}

fn events(numbers: std::ops::Range<u128>) -> Vec<Record> {
    numbers.map(|number| event(number, ["menu", "cart"][number as usize % 2])).collect()
}

/// Identities in file names.
fn names(lake: &TestLake) -> HashSet<Uuid> {
    let names = lake.files().into_iter().map(|path| FileName::parse(path.file_name()?.to_str()?));
    names.map(|name| name.unwrap().identity).collect()
}

#[tokio::test]
async fn two_lives_with_the_same_numbers_are_both_in_the_lake_and_replays_add_nothing() {
    let lake = TestLake::new();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (batch(0, events(0..4)), batch(0, events(100..104)));
    deliver(&life(lake.root(), one.path()), &first).await;
    for _ in 0..3 {
        // As after a crash: the same range, by a process that knows only its disk.
        deliver(&life(lake.root(), two.path()), &second).await;
        deliver(&life(lake.root(), one.path()), &first).await;
    }
    assert_eq!(lake.identities(), uuids((0..4).chain(100..104)));
    assert_eq!((lake.files().len(), names(&lake).len()), (4, 2), "one clash, one new identity, for all partitions");
    // From then on it uses its own identity.
    deliver(&life(lake.root(), two.path()), &batch(4, events(104..108))).await;
    assert_eq!((lake.files().len(), names(&lake).len()), (6, 2));
}

#[tokio::test]
async fn what_was_spooled_when_the_folder_was_copied_is_in_the_lake_once_however_each_life_cuts_it() {
    let lake = TestLake::new();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spooled = 0..6;
    let life_of = |from: u128| -> Vec<Record> { [events(spooled.clone()), events(from..from + 6)].concat() };
    let (first, second) = (life_of(100), life_of(200));
    deliver(&life(lake.root(), one.path()), &batch(0, first)).await;
    let sink = life(lake.root(), two.path());
    for cut in [0..2, 2..8, 8..12] {
        deliver(&sink, &batch(cut.start as u64, second[cut].to_vec())).await;
    }
    assert_eq!(lake.identities(), uuids(spooled.chain(100..106).chain(200..206)));
}

#[tokio::test]
async fn a_restored_backup_writes_none_of_its_files_over_those_that_came_after_it() {
    let lake = TestLake::new();
    let (data, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sink = life(lake.root(), data.path());
    for first in (0..40).step_by(4) {
        deliver(&sink, &batch(first, events(u128::from(first)..u128::from(first) + 4))).await;
    }
    // Restored to the state after 20 events; the first new range has a name that is not taken.
    let sink = life(lake.root(), backup.path());
    for first in (20..50).step_by(6) {
        deliver(&sink, &batch(first, events(u128::from(first) + 1_000..u128::from(first) + 1_006))).await;
    }
    assert_eq!(lake.identities(), uuids((0..40).chain(1_020..1_050)));
}

#[tokio::test]
async fn stretches_that_come_out_of_order_are_there_once_also_when_a_crash_repeats_them() {
    let lake = TestLake::new();
    let data = tempfile::tempdir().unwrap();
    let sink = life(lake.root(), data.path());
    // The first one was owed to the place while it could not be written.
    deliver(&sink, &batch(8, events(8..12))).await;
    deliver(&sink, &batch(4, events(4..8))).await;
    let sink = life(lake.root(), data.path());
    for first in [0, 12, 4, 8] {
        let end = first + 4;
        deliver(&sink, &batch(first, events(u128::from(first)..u128::from(end)))).await;
    }
    assert_eq!((lake.identities(), lake.files().len(), names(&lake).len()), (uuids(0..16), 8, 1));
}

#[tokio::test]
async fn a_stretch_that_is_cut_shorter_or_longer_after_a_crash_adds_only_what_is_missing() {
    let lake = TestLake::new();
    let data = tempfile::tempdir().unwrap();
    deliver(&life(lake.root(), data.path()), &batch(0, events(0..10))).await;
    // The disk lost two of them, or another sink delivered the first ones.
    deliver(&life(lake.root(), data.path()), &batch(0, events(0..8))).await;
    deliver(&life(lake.root(), data.path()), &batch(4, events(4..10))).await;
    assert_eq!((lake.identities(), lake.files().len()), (uuids(0..10), 2));
    deliver(&life(lake.root(), data.path()), &batch(0, events(0..12))).await;
    assert_eq!((lake.identities(), lake.files().len()), (uuids(0..12), 4));
    // The same rows, in other bytes, as another version writes them.
    deliver(&life(lake.root(), data.path()), &batch(0, events(0..12))).await;
    assert_eq!(lake.identities(), uuids(0..12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_copies_at_the_same_time_lose_nothing() {
    let lake = TestLake::new();
    let folders: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let lives = folders.iter().zip([0_u128, 10_000, 20_000]).map(|(data, from)| {
        let sink = life(lake.root(), data.path());
        tokio::spawn(async move {
            for first in (0..200).step_by(10) {
                deliver(&sink, &batch(first, events(from + u128::from(first)..from + u128::from(first) + 10))).await;
            }
        })
    });
    for life in lives.collect::<Vec<_>>() {
        life.await.unwrap();
    }
    assert_eq!(lake.identities(), uuids((0..200).chain(10_000..10_200).chain(20_000..20_200)));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_or_is_no_file_is_not_replaced() {
    // Read by its folders: the log has the damaged file too.
    let lake = TestLake { table: TableFormat::None, ..TestLake::new() };
    let data = tempfile::tempdir().unwrap();
    deliver(&life(lake.root(), data.path()), &batch(0, vec![event(1, "menu")])).await;
    let path = lake.files()[0].clone();
    fs::write(&path, b"PAR1 damaged PAR1").unwrap();
    deliver(&life(lake.root(), data.path()), &batch(0, vec![event(1, "menu")])).await;
    assert_eq!((fs::read(&path).unwrap(), lake.files().len()), (b"PAR1 damaged PAR1".to_vec(), 2));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    deliver(&life(lake.root(), data.path()), &batch(0, vec![event(1, "menu"), event(2, "menu")])).await;
    assert!(lake.identities().contains(&Uuid::from_u128(2)) && path.is_dir());
}

#[tokio::test]
async fn an_identity_that_cannot_be_kept_is_not_used() {
    let lake = TestLake::new();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    deliver(&life(lake.root(), one.path()), &batch(0, vec![event(1, "menu")])).await;
    fs::write(two.path().join("delivery"), b"a file in the way of the folder").unwrap();
    let (sink, other) = (life(lake.root(), two.path()), batch(0, vec![event(2, "menu")]));
    let deliveries = sink.deliver(&other).await;
    assert!(matches!(&deliveries[..], [Delivery::Retry(cause)] if cause.contains("identity")), "{deliveries:?}");
    assert_eq!((lake.identities(), names(&lake).len()), (uuids([1]), 1));
    fs::remove_file(two.path().join("delivery")).unwrap();
    deliver(&sink, &other).await;
    assert_eq!(lake.identities(), uuids([1, 2]));
}

#[test]
fn a_name_reads_back_as_it_was_written_and_others_are_none() {
    let name = FileName { identity: Uuid::from_u128(7), first_seq_inclusive: 0, end_seq_exclusive: u64::MAX };
    let text = name.to_string();
    assert_eq!(FileName::parse(&text), Some(name));
    for odd in [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), &text.replace("-0000", "-+000"), "", "a.parquet"] {
        assert_eq!(FileName::parse(odd), None, "{odd:?}");
    }
}
