//! A backup is one version of the lake, whatever happens meanwhile, and is brought up to date.

use std::fs;

use super::*;
use crate::sink::lake::{BackupError, Change, Operation, Table, back_up};

fn at(folder: &Path) -> LakeConfig {
    LakeConfig::at(folder.to_str().unwrap())
}

fn identities(folder: &Path) -> Vec<Uuid> {
    let mut identities = Vec::new();
    let lake = Lake::open_with(&at(folder)).unwrap();
    let export = lake.export(&Filters::default(), false, &mut |row| {
        identities.push(Uuid::parse_str(row.event_uuid).unwrap());
        Ok(())
    });
    assert_eq!(export.unwrap().left_out, []);
    assert_eq!(lake.check(true, NOW).unwrap().findings, []);
    identities.sort();
    identities
}

async fn some_lake() -> TestLake {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:viewed"), event(2, "cart:added")]).await;
    lake
}

#[tokio::test]
async fn a_backup_is_one_version_and_the_next_one_copies_what_is_new_and_drops_what_is_gone() {
    let lake = some_lake().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copies/lake");
    let first = back_up(&lake.config(), &at(&copy)).unwrap();
    assert_eq!((first.version, first.files, first.copied_files, first.removed_files), (1, 2, 2, 0));
    assert_eq!(identities(&copy), uuids([1, 2]));

    lake.write(2, vec![event(3, "page:viewed")]).await;
    let table = Table::open(&lake.config()).unwrap().unwrap();
    let mut erase = Change::new(Operation::Delete, true);
    erase.remove = table.known().files().filter(|file| file.path.contains("menu")).cloned().collect();
    table.commit(&erase).unwrap();
    let second = back_up(&lake.config(), &at(&copy)).unwrap();
    assert_eq!((second.version, second.files, second.copied_files, second.removed_files), (3, 2, 1, 1));
    assert_eq!(identities(&copy), uuids([2, 3]));
    let again = back_up(&lake.config(), &at(&copy)).unwrap();
    assert_eq!((again.version, again.copied_files, again.removed_files), (3, 0, 0));
}

#[tokio::test]
async fn a_backup_that_was_interrupted_is_the_version_before_and_goes_on() {
    let lake = some_lake().await;
    let folder = tempfile::tempdir().unwrap();
    back_up(&lake.config(), &at(folder.path())).unwrap();
    lake.write(2, vec![event(3, "menu:viewed")]).await;
    // Killed after the files, before the log.
    for file in lake.files() {
        let target = folder.path().join(file.strip_prefix(lake.root()).unwrap());
        if file.to_str().unwrap().contains("event_type=") && !target.exists() {
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(file, target).unwrap();
        }
    }
    let copy = Lake::open_with(&at(folder.path())).unwrap();
    assert_eq!(copy.version(), Some(1));
    assert_eq!(back_up(&lake.config(), &at(folder.path())).unwrap().copied_files, 0);
    assert_eq!(identities(folder.path()), uuids([1, 2, 3]));
}

#[tokio::test]
async fn a_restored_backup_is_a_lake_that_a_gateway_goes_on_with() {
    let lake = some_lake().await;
    let folder = tempfile::tempdir().unwrap();
    let (copy, restored) = (folder.path().join("copy"), folder.path().join("restored"));
    back_up(&lake.config(), &at(&copy)).unwrap();
    back_up(&at(&copy), &at(&restored)).unwrap();
    let sink = LakeSink::open(&at(&restored)).unwrap();
    let next = batch(2, vec![event(3, "menu:viewed")]);
    assert_eq!(sink.deliver(&next).await, [Delivery::Delivered]);
    assert_eq!(identities(&restored), uuids([1, 2, 3]));
    // What is in use is no target any more: a backup would remove what it does not know.
    let refused = back_up(&lake.config(), &at(&restored)).unwrap_err();
    assert!(refused.to_string().contains("something committed version 2 there"), "{refused}");
    assert_eq!(identities(&restored), uuids([1, 2, 3]));
}

#[tokio::test]
async fn a_folder_of_something_else_is_no_target() {
    let (lake, other) = (some_lake().await, some_lake().await);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    for target in [folder.path(), other.root()] {
        let refused = back_up(&lake.config(), &at(target)).unwrap_err();
        assert!(matches!(refused, BackupError::Target { .. }), "{refused}");
    }
    let copy = tempfile::tempdir().unwrap();
    back_up(&other.config(), &at(copy.path())).unwrap();
    assert!(back_up(&lake.config(), &at(copy.path())).unwrap_err().to_string().contains("of another table"));
    let without = TestLake::without_log();
    assert!(matches!(back_up(&without.config(), &at(copy.path())), Err(BackupError::NoTable(_))));
}

#[tokio::test]
async fn a_file_that_the_lake_lost_ends_the_backup_and_the_one_before_stays() {
    let lake = some_lake().await;
    let copy = tempfile::tempdir().unwrap();
    back_up(&lake.config(), &at(copy.path())).unwrap();
    lake.write(2, vec![event(3, "page:viewed")]).await;
    let lost = lake.files().into_iter().find(|file| file.to_str().unwrap().contains("page")).unwrap();
    fs::remove_file(&lost).unwrap();
    let refused = back_up(&lake.config(), &at(copy.path())).unwrap_err();
    assert!(matches!(&refused, BackupError::Missing(path) if lost.ends_with(path)), "{refused}");
    assert_eq!(identities(copy.path()), uuids([1, 2]));
}
