//! The folder is moved away, removed or replaced under a running window.

use std::fs;

use super::*;
use crate::conditions::Condition;

fn filled(folder: &Path) -> (WindowConfig, Window, Vec<Uuid>) {
    let config = tiny(&folder.join("dedup"));
    let window = open(&config);
    let ids = random_ids(100);
    remember(&window, &ids, 0, 0);
    window.settle();
    (config, window, ids)
}

/// Old identities are known, new ones are sealed, and a restart finds all of them.
fn goes_on(config: &WindowConfig, window: Window, ids: &[Uuid]) {
    assert_eq!(known(&window, ids, 0), 100, "before anything is made anew");
    let runs = || window.stats().runs as usize;
    eventually("its runs are in the folder again", || config.dir.is_dir() && files(&config.dir, "run") == runs());
    let more = random_ids(40);
    remember(&window, &more, 100, 0);
    window.checkpoint(u64::MAX).unwrap();
    assert_eq!(known(&window, ids, 0) + known(&window, &more, 0), 140);
    eventually("nothing is wrong any more", || !config.conditions.holds(Condition::DedupUnwritable));
    drop(window);
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    assert!(report.set_aside.is_empty(), "{report:?}");
    assert_eq!(known(&window, ids, 0) + known(&window, &more, 0), 140, "after a restart");
}

#[test]
fn a_folder_that_was_removed_is_filled_anew_from_the_open_files() {
    let folder = scratch();
    let (config, window, ids) = filled(folder.path());
    fs::remove_dir_all(&config.dir).unwrap();
    goes_on(&config, window, &ids);
}

#[test]
fn a_folder_that_was_moved_away_is_made_anew_and_its_other_copy_is_left_alone() {
    let folder = scratch();
    let (config, window, ids) = filled(folder.path());
    let away = folder.path().join("away");
    fs::rename(&config.dir, &away).unwrap();
    let before = files(&away, "run");
    goes_on(&config, window, &ids);
    assert_eq!(files(&away, "run"), before);
}

#[test]
fn a_folder_that_was_replaced_by_an_empty_one_is_filled_and_a_single_run_that_was_removed_is_written_anew() {
    let folder = scratch();
    let (config, window, ids) = filled(folder.path());
    fs::rename(&config.dir, folder.path().join("away")).unwrap();
    fs::create_dir(&config.dir).unwrap();
    eventually("it is filled", || files(&config.dir, "run") > 0);
    let run =
        fs::read_dir(&config.dir).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "run");
    fs::remove_file(run.unwrap()).unwrap();
    goes_on(&config, window, &ids);
}

#[test]
fn where_the_folder_cannot_be_made_that_is_said_and_a_full_window_blocks() {
    let folder = scratch();
    let (config, window, ids) = filled(folder.path());
    fs::rename(&config.dir, folder.path().join("away")).unwrap();
    fs::write(&config.dir, b"a file").unwrap();
    eventually("it is said", || config.conditions.holds(Condition::DedupUnwritable));
    let more = random_ids(12);
    let claims = window.claim(&unknown(&more), 0).unwrap();
    claims.confirm(100);
    assert!(window.claim(&unknown(&random_ids(16)), 0).is_err());
    eventually("it is said that it is full", || {
        let _ = window.claim(&unknown(&random_ids(16)), 0);
        config.conditions.holds(Condition::DedupFull)
    });
    assert_eq!(known(&window, &ids, 0) + known(&window, &more, 0), 112);
    fs::remove_file(&config.dir).unwrap();
    eventually("sealing works again", || !config.conditions.holds(Condition::DedupFull));
    assert!(window.claim(&unknown(&random_ids(4)), 0).is_ok());
}
