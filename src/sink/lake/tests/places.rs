//! Folders that are removed, are links to other disks, or are not folders.

use std::{fs, os::unix::fs::symlink};

use super::*;

/// A folder on another file system than the temporary folder; `None` if the machine has none.
fn elsewhere() -> Option<TempDir> {
    use std::os::unix::fs::MetadataExt;
    let other = tempfile::tempdir_in("/dev/shm").ok()?;
    let here = tempfile::tempdir().unwrap();
    let device = |folder: &TempDir| fs::metadata(folder.path()).unwrap().dev();
    (device(&other) != device(&here)).then_some(other)
}

#[tokio::test]
async fn folders_that_were_removed_while_it_runs_are_made_anew() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu")]).await;
    fs::remove_dir(lake.root().join("_tmp")).unwrap();
    lake.write(1, vec![event(2, "menu")]).await;
    assert_eq!(lake.identities(), uuids([1, 2]));
    // First the whole lake, then the lake removed and created again, then the lake with its parents.
    fs::remove_dir_all(lake.root()).unwrap();
    lake.write(2, vec![event(3, "menu")]).await;
    fs::remove_dir_all(lake.root()).unwrap();
    fs::create_dir(lake.root()).unwrap();
    lake.write(3, vec![event(4, "menu")]).await;
    assert_eq!(lake.identities(), uuids([4]));
}

#[tokio::test]
async fn a_root_that_is_gone_with_its_parents_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/lake");
    let sink = LakeSink::open(&LakeConfig::at(root.to_str().unwrap())).unwrap();
    fs::remove_dir_all(folder.path().join("a")).unwrap();
    assert_eq!(sink.deliver(&batch(0, vec![event(1, "menu")])).await, [Delivery::Delivered]);
}

#[tokio::test]
async fn a_partition_or_a_root_that_is_a_link_to_another_file_system_is_written_like_any_other() {
    let Some(other) = elsewhere() else { return };
    let lake = TestLake::new();
    let (outer, inner) = (other.path().join("menu"), other.path().join("day"));
    fs::create_dir(&outer).unwrap();
    fs::create_dir(&inner).unwrap();
    symlink(&outer, lake.root().join("event_type=menu")).unwrap();
    fs::create_dir(lake.root().join("event_type=cart")).unwrap();
    symlink(&inner, lake.root().join("event_type=cart/created_date=2026-11-21")).unwrap();
    let records: Vec<Record> = (0..6).map(|number| event(number, ["menu", "cart", "order"][number as usize % 3])).collect();
    lake.write(0, records.clone()).await;
    lake.write(0, records).await;
    assert_eq!((lake.identities(), lake.files().len()), (uuids(0..6), 3));
    assert_eq!(inner.read_dir().unwrap().count(), 1, "nothing unfinished is left there");

    // The next delivery of the partition removes unfinished files of a crash; foreign files stay.
    let spool = Uuid::from_u128(1);
    let leftover = inner.join(format!(".{spool}-00000000000000000006-00000000000000000007.parquet.77.0.tmp"));
    let foreign = inner.join(".notes.tmp");
    fs::write(&leftover, b"PAR1 half").unwrap();
    fs::write(&foreign, b"").unwrap();
    let again = LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
    assert_eq!(again.deliver(&batch(6, vec![event(7, "cart")])).await, [Delivery::Delivered]);
    assert!(!leftover.exists() && foreign.exists());
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_named_and_concerns_its_partition_alone() {
    let lake = TestLake::new();
    let all = batch(0, (0..6).map(|number| event(number, ["menu", "cart"][number as usize % 2])).collect());
    fs::create_dir(lake.root().join("event_type=cart")).unwrap();
    let blocked = lake.root().join("event_type=cart/created_date=2026-11-21");
    for make in [|path: &Path| fs::write(path, b"").unwrap(), |path: &Path| symlink("/nonexistent/disk", path).unwrap()] {
        make(&blocked);
        let deliveries = lake.sink.deliver(&all).await;
        for (number, delivery) in deliveries.iter().enumerate() {
            match delivery {
                Delivery::Retry(cause) if number % 2 == 1 => assert!(cause.contains(blocked.to_str().unwrap()), "{cause}"),
                Delivery::Delivered if number % 2 == 0 => {}
                other => panic!("record {number}: {other:?}"),
            }
        }
        fs::remove_file(&blocked).unwrap();
    }
    // A file in place of `_tmp` does not prevent writing.
    fs::remove_dir(lake.root().join("_tmp")).unwrap();
    fs::write(lake.root().join("_tmp"), b"").unwrap();
    assert_eq!(lake.sink.deliver(&all).await, vec![Delivery::Delivered; 6]);
    assert_eq!(lake.identities(), uuids(0..6));
    assert!(LakeSink::open(&LakeConfig::at(lake.root().to_str().unwrap())).is_ok());
}
