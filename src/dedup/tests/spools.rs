//! Marks belong to one spool, and to one history of that spool.

use super::*;

fn of_spool(folder: &Path, spool: u128, end: u64) -> WindowConfig {
    WindowConfig { spool_end_exclusive: end, ..of_history(folder, spool) }
}

#[test]
fn the_mark_of_another_spool_is_worth_nothing_until_this_one_has_sealed_its_own() {
    let folder = scratch();
    let ids = random_ids(16);
    let window = open(&of_spool(folder.path(), 1, 0));
    remember(&window, &ids[..8], 100, 0);
    window.close().unwrap();
    assert_eq!(window.sealed_mark(), 108);
    drop(window);
    // The spool was removed: the new spool has passed 108, and none of its events is sealed.
    let window = open(&of_spool(folder.path(), 2, 200));
    assert_eq!(window.sealed_mark(), 0);
    remember(&window, &ids[8..], 0, 0);
    window.close().unwrap();
    assert_eq!((window.sealed_mark(), known(&window, &ids[..8], 0)), (8, 8), "what the old one had stays known");
    drop(window);
    assert_eq!(open(&of_spool(folder.path(), 1, 200)).sealed_mark(), 0);
    assert_eq!(open(&of_spool(folder.path(), 2, 200)).sealed_mark(), 8);
}

#[test]
fn a_spool_restored_from_an_older_backup_is_compared_whole_also_after_it_has_caught_up() {
    let folder = scratch();
    let ids = random_ids(40);
    let window = open(&of_spool(folder.path(), 1, 0));
    remember(&window, &ids[..16], 100, 0);
    window.close().unwrap();
    assert_eq!(window.sealed_mark(), 116);
    drop(window);
    // Back at 50. New events get 50 and so on; the gateway is killed before they are sealed, beyond 116.
    let (window, report) = Window::open(of_spool(folder.path(), 1, 50), 0).unwrap();
    assert_ne!(report.spool_history, Uuid::from_u128(1));
    assert_eq!(window.sealed_mark(), 0);
    window.restore(marked(&ids[16..20], 46), 0).unwrap();
    assert_eq!(known(&window, &ids[..20], 0), 20);
    drop(window);
    let caught_up = WindowConfig { spool_history: report.spool_history, ..of_spool(folder.path(), 1, 120) };
    let (window, again) = Window::open(caught_up, 0).unwrap();
    assert_eq!(again.spool_history, report.spool_history, "it begins once");
    assert_eq!(window.sealed_mark(), 0, "the marks of before are of another history");
    assert_eq!(known(&window, &ids[..16], 0), 16);
    window.restore(marked(&ids[16..20], 46), 0).unwrap();
    window.close().unwrap();
    assert_eq!(window.sealed_mark(), 50);
}

#[test]
fn a_spool_that_has_all_that_was_sealed_keeps_its_history() {
    let folder = scratch();
    let window = open(&of_spool(folder.path(), 1, 0));
    remember(&window, &random_ids(16), 100, 0);
    window.close().unwrap();
    drop(window);
    let (window, report) = Window::open(of_spool(folder.path(), 1, 116), 0).unwrap();
    assert_eq!((report.spool_history, window.sealed_mark()), (Uuid::from_u128(1), 116));
}
