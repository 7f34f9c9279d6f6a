//! Where files are written, when they become visible, and the effects of a failure.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::sink::lake::{LakeError, parse_date};

#[tokio::test]
async fn a_file_is_named_after_its_partition_and_its_stretch() {
    let lake = TestLake::new();
    lake.write(41, vec![event(1, "menu:item:viewed"), event(2, "heartbeat")]).await;
    let spool = Uuid::from_u128(1);
    let name = format!("created_date=2026-11-21/{spool}-00000000000000000041-00000000000000000043.parquet");
    let expected = ["heartbeat", "menu"].map(|event_type| lake.root().join(format!("event_type={event_type}/{name}")));
    assert_eq!(lake.files(), expected);
}

#[tokio::test]
async fn names_of_files_sort_as_their_stretches() {
    let lake = TestLake::new();
    let firsts = [0, 9, 10, 99_999, 100_000, u64::MAX - 2];
    for (number, first) in firsts.into_iter().enumerate() {
        lake.write(first, vec![event(number as u128, "menu")]).await;
    }
    assert_eq!(lake.files().len(), firsts.len());
    let mut rows = Vec::new();
    let export = lake.reader().export(&Filters::default(), false, &mut |row| {
        rows.push(Uuid::parse_str(row.event_uuid).unwrap());
        Ok(())
    });
    export.unwrap();
    assert_eq!(rows, uuids(0..6), "read in the order of the spool");
}

#[tokio::test]
async fn a_replay_of_a_stretch_leaves_the_same_files_and_each_event_once() {
    let lake = TestLake::new();
    let records: Vec<Record> = (0..50).map(|number| event(number, ["menu", "cart"][number as usize % 2])).collect();
    lake.write(0, records.clone()).await;
    let contents = |lake: &TestLake| lake.files().iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let (files, bytes) = (lake.files(), contents(&lake));
    lake.write(0, records.clone()).await;
    // As after a restart.
    let again = LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
    again.deliver(&batch(0, records)).await;
    assert_eq!(lake.files(), files);
    assert!(contents(&lake) == bytes, "byte for byte");
    assert_eq!(lake.identities(), uuids(0..50));
}

#[tokio::test]
async fn what_a_crash_left_in_the_making_is_invisible_and_gone_after_the_next_start() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu")]).await;
    let temp = lake.root().join("_tmp");
    assert_eq!(temp.read_dir().unwrap().count(), 0, "nothing is left behind by a write that ended well");
    let leftover = temp.join("00000000-0000-0000-0000-000000000001-5-6.parquet.77.0.tmp");
    fs::write(&leftover, b"PAR1 half of a fi").unwrap();
    fs::write(temp.join("notes.txt"), b"not ours").unwrap();
    assert_eq!(lake.identities(), uuids([1]));
    assert_eq!(lake.files().len(), 1);
    LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
    assert!(!leftover.exists());
    assert!(temp.join("notes.txt").exists(), "what is not ours stays");
}

#[tokio::test]
async fn a_partition_that_cannot_be_written_retries_its_own_records_alone() {
    let lake = TestLake::new();
    let blocked = lake.root().join("event_type=cart");
    fs::write(&blocked, b"a file in the way of the folder").unwrap();
    let all = batch(0, (0..6).map(|number| event(number, ["menu", "cart", "order"][number as usize % 3])).collect());
    let deliveries = lake.sink.deliver(&all).await;
    for (number, delivery) in deliveries.iter().enumerate() {
        match delivery {
            Delivery::Retry(cause) if number % 3 == 1 => assert!(cause.contains("event_type=cart"), "{cause}"),
            Delivery::Delivered if number % 3 != 1 => {}
            other => panic!("record {number}: {other:?}"),
        }
    }
    assert_eq!(lake.identities(), uuids([0, 2, 3, 5]));

    // Undelivered records are sent again with the same range, after the obstacle is removed.
    fs::remove_file(&blocked).unwrap();
    let owed = Batch { records: vec![all.records[1].clone(), all.records[4].clone()], ..all };
    assert_eq!(lake.sink.deliver(&owed).await, [Delivery::Delivered, Delivery::Delivered]);
    assert_eq!(lake.identities(), uuids(0..6));
    assert_eq!(lake.root().join("_tmp").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_partition_that_someone_removed_is_made_anew() {
    // The log goes on to have what was removed; `check` tells.
    let lake = TestLake::without_log();
    lake.write(0, vec![event(1, "menu")]).await;
    fs::remove_dir_all(lake.root().join("event_type=menu")).unwrap();
    lake.write(1, vec![event(2, "menu")]).await;
    assert_eq!(lake.identities(), uuids([2]));
}

#[tokio::test]
async fn what_was_created_far_from_its_receipt_is_in_the_folder_of_the_day_it_was_received() {
    let lake = TestLake::new();
    let millis = [NOW - 366 * DAY, NOW - 367 * DAY, NOW + 2 * DAY, NOW + 3 * DAY, 0, NOW - 1];
    lake.write(0, millis.iter().enumerate().map(|(number, at)| event_at(number as u128, "menu", *at)).collect()).await;
    let listing = lake.reader().ls(&Filters::default()).unwrap();
    let found: Vec<_> =
        listing.partitions.iter().map(|summary| (summary.partition.created_date.as_str(), summary.rows)).collect();
    assert_eq!(found, [("2025-11-20", 1), ("2026-11-20", 1), ("2026-11-21", 3), ("2026-11-23", 1)]);
    assert!(!lake.reader().has_late_folders().unwrap());
    assert_eq!(lake.reader().first_date().unwrap(), parse_date("2025-11-20"));
}

#[tokio::test]
async fn a_batch_may_have_a_thousand_partitions() {
    let lake = TestLake::new();
    let name = |number: u128| format!("type{}:seen", number % 100);
    let records = (0..2_000).map(|number| event_at(number, &name(number), NOW - (number as i64 / 100 % 10) * DAY));
    lake.write(0, records.collect()).await;
    assert_eq!(lake.files().len(), 1_000);
    assert_eq!(lake.identities(), uuids(0..2_000));
}

/// A reader that reads all the time while large files are written never sees an unfinished file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_visible_only_when_whole() {
    let lake = TestLake::new();
    let large = "0123456789abcdef".repeat(40_000);
    let payload = |number: u128| format!(r#"{{"n":{number},"large":"{large}"}}"#);
    let records: Vec<Record> = (0..20).map(|number| record(&envelope(number, "menu"), payload(number).as_bytes())).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // An unfinished file with the name of a lake file would be unreadable.
                assert_eq!(lake.reader().ls(&Filters::default()).unwrap().left_out, []);
            }
        });
        let writing = async {
            for first in 0..30 {
                lake.write(first * 20, records.clone()).await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writing));
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_root_that_this_build_cannot_use_is_refused() {
    for root in ["", "gs://bucket/lake", "file:///tmp/lake"] {
        assert!(matches!(LakeSink::open(&LakeConfig::at(root)), Err(LakeError::Root { .. })), "{root:?}");
        assert!(matches!(Lake::open(root), Err(LakeError::Root { .. })), "{root:?}");
    }
    assert!(Lake::open("/nonexistent/lake").unwrap_err().to_string().contains("/nonexistent/lake"));
}

#[test]
fn a_new_root_is_made_with_its_parents() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/lake");
    LakeSink::open(&LakeConfig::at(root.to_str().unwrap())).unwrap();
    assert!(root.is_dir());
    assert_eq!(Lake::open(root.to_str().unwrap()).unwrap().ls(&Filters::default()).unwrap().partitions, []);
}

#[tokio::test]
async fn each_flush_is_one_commit_of_all_its_partitions_and_a_replay_is_none() {
    let lake = TestLake::new();
    let records = vec![event(1, "menu:item:viewed"), event(2, "cart"), event(3, "menu")];
    lake.write(0, records.clone()).await;
    lake.write(3, vec![event(4, "menu")]).await;
    lake.write(0, records).await;
    let table = lake.table();
    let snapshot = table.known();
    assert_eq!(snapshot.version, 2, "one to create the table, one for each flush");
    let rows: Vec<_> = snapshot.files().map(|file| (file.partition.event_type.as_str(), file.statistics.rows)).collect();
    assert_eq!(rows, [("cart", Some(1)), ("menu", Some(2)), ("menu", Some(1))]);
    let statistics = &snapshot.files().nth(1).unwrap().statistics;
    assert_eq!(statistics.event_name, Some(("menu".into(), "menu:item:viewed".into())));
    assert_eq!((statistics.created_millis, statistics.received_millis), (Some((NOW, NOW)), Some((NOW + 250, NOW + 250))));
}

/// As a crash between the files and their commit leaves it.
#[tokio::test]
async fn files_whose_commit_a_crash_prevented_join_the_table_when_their_stretch_is_delivered_again() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu")]).await;
    let records = vec![event(2, "menu"), event(3, "cart")];
    lake.write(1, records.clone()).await;
    fs::remove_file(lake.root().join("_delta_log/00000000000000000002.json")).unwrap();
    let after = LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
    assert_eq!(after.deliver(&batch(1, records)).await, vec![Delivery::Delivered; 2]);
    assert_eq!(lake.table().known().files_count(), 3);
    assert_eq!(lake.files().len(), 3, "no file was written twice");
}

/// As a kill between the commit and the cursor leaves it, with a compaction in between.
#[tokio::test]
async fn a_stretch_whose_files_were_merged_meanwhile_is_not_written_again() {
    let lake = TestLake::new();
    let records = vec![event(1, "menu"), event(2, "menu")];
    lake.write(0, records.clone()).await;
    lake.write(2, vec![event(3, "menu")]).await;
    let table = lake.table();
    merge_by_hand(&lake, &table);
    let after = LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
    assert_eq!(after.deliver(&batch(0, records)).await, vec![Delivery::Delivered; 2]);
    assert_eq!(lake.table().known().files_count(), 1);
    let new = after.deliver(&batch(3, vec![event(4, "menu")])).await;
    assert_eq!((new, lake.table().known().files_count()), (vec![Delivery::Delivered], 2), "what is new is written");
}

#[tokio::test]
async fn a_lake_without_a_log_is_taken_over_with_every_file() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu"), event(2, "cart")]).await;
    fs::remove_dir_all(lake.root().join("_delta_log")).unwrap();
    fs::write(lake.root().join("event_type=menu/created_date=2026-11-21/notes.parquet"), b"no Parquet").unwrap();
    lake.write(2, vec![event(3, "menu")]).await;
    let known = lake.table().known();
    assert_eq!((known.files_count(), known.setting("lakegate.adopting")), (3, None));
}

/// Gateways up to 2026-11 had folders `created_date=late`.
#[tokio::test]
async fn late_files_of_an_old_lake_go_to_the_days_of_their_receipt() {
    let lake = TestLake::new();
    let received = [NOW - 500, NOW + 500, NOW + 700];
    let late = received.iter().enumerate().map(|(number, received)| {
        let number = number as u128 + 1;
        let envelope =
            Envelope { received_millis: *received, created_at: created(NOW - 1_000 * DAY), ..envelope(number, "menu") };
        record(&envelope, b"{}")
    });
    lake.write(0, late.collect()).await;
    let (made, old) = (lake.files()[0].clone(), lake.root().join("event_type=menu/created_date=late"));
    fs::create_dir_all(&old).unwrap();
    fs::rename(&made, old.join(made.file_name().unwrap())).unwrap();
    fs::remove_dir_all(lake.root().join("_delta_log")).unwrap();
    lake.write(3, vec![event(4, "menu")]).await;
    let table = lake.table();
    let dates = |snapshot: &crate::sink::lake::Snapshot| -> Vec<(String, Option<u64>)> {
        snapshot.files().map(|file| (file.partition.created_date.clone(), file.statistics.rows)).collect()
    };
    let expected = [("2026-11-20", 1), ("2026-11-21", 2), ("2026-11-21", 1)].map(|(date, rows)| (date.to_owned(), Some(rows)));
    assert_eq!(dates(&table.known()), expected);
    assert!(table.known().removed().any(|removed| removed.path.contains("created_date=late")), "the vacuum removes the old file");
    crate::sink::lake::adopt(&table).unwrap();
    assert_eq!(dates(&table.known()), expected, "a repetition takes nothing twice");
}

/// An adoption lists the files first. Meanwhile a gateway committed one, and a compaction removed it.
#[tokio::test]
async fn an_adoption_brings_no_file_back_that_left_the_table_meanwhile() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu")]).await;
    let table = lake.table();
    let files: Vec<_> = table.known().files().cloned().collect();
    let removal = Change { remove: files.clone(), ..Change::new(Operation::Optimize, false) };
    table.commit(&removal).unwrap();
    let add = files.iter().map(|file| TableFile::clone(file)).collect();
    table.commit(&Change { add, ..Change::new(Operation::Adopt, true) }).unwrap();
    assert_eq!(table.known().files_count(), 0);
}

#[tokio::test]
async fn an_adoption_leaves_a_file_alone_that_a_gateway_may_be_about_to_commit() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu")]).await;
    // As a gateway that has written the file, and not committed it yet.
    let (table, file) = (lake.table(), lake.files()[0].clone());
    let name = file.file_name().unwrap().to_str().unwrap();
    let next = name.replace("-00000000000000000000-00000000000000000001", "-00000000000000000001-00000000000000000002");
    assert_ne!(next, name);
    let flushed = file.with_file_name(next);
    fs::copy(&file, &flushed).unwrap();
    let adopted = crate::sink::lake::adopt(&table).unwrap();
    assert_eq!((adopted.files, adopted.left_out.len()), (0, 1), "{adopted:?}");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3_600);
    fs::File::options().write(true).open(&flushed).unwrap().set_modified(old).unwrap();
    assert_eq!(crate::sink::lake::adopt(&table).unwrap().files, 1, "nobody commits it any more");
}

#[tokio::test]
async fn a_lake_without_a_table_has_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let config = LakeConfig { table: TableFormat::None, ..LakeConfig::at(folder.path().to_str().unwrap()) };
    let sink = LakeSink::open(&config).unwrap();
    assert_eq!(sink.deliver(&batch(0, vec![event(1, "menu")])).await, [Delivery::Delivered]);
    assert!(!folder.path().join("_delta_log").exists());
    assert!(Table::open(&config).unwrap().is_none());
}
