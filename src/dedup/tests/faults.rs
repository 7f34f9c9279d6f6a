//! A disk that refuses: no confirmed identity is lost, memory stays bounded, and the window recovers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::conditions::Condition;
use crate::dedup::folder::{Folder, Step};
use crate::dedup::{ClaimError, SealError, Sealing};

/// A window whose disk refuses `steps` on files that `concerns` while the flag is up.
fn failing(config: &WindowConfig, steps: &'static [Step], concerns: fn(&str) -> bool) -> (Window, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&flag);
    let folder = Folder::open(&config.dir).unwrap().with_hook(Box::new(move |step, name| {
        let refused = fails.load(Ordering::Relaxed) && steps.contains(&step) && concerns(name);
        if refused { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }));
    (Window::open_in(folder, config.clone(), 0).unwrap().0, flag)
}

#[test]
fn a_full_disk_refuses_new_claims_but_loses_nothing_whatever_step_fails() {
    for steps in [&[Step::Create] as &[_], &[Step::Write], &[Step::SyncFile], &[Step::Rename], &[Step::SyncFolder]] {
        let folder = scratch();
        let config = tiny(folder.path());
        let (window, flag) = failing(&config, steps, |_| true);
        let ids = random_ids(17);
        window.claim(&unknown(&ids[..12]), 0).unwrap().confirm(0);
        let held = window.claim(&unknown(&ids[12..16]), 0).unwrap();
        assert_eq!(window.claim(&unknown(&ids[16..]), 0).unwrap_err(), ClaimError::Full);
        held.confirm(12);
        assert!(matches!(window.checkpoint(16), Err(SealError::Disk(_))), "{steps:?}");
        assert!(matches!(window.stats().sealing, Sealing::Failing(_)));
        assert!(config.conditions.holds(Condition::DedupUnwritable));
        assert_eq!(window.claim(&unknown(&ids[16..]), 0).unwrap_err(), ClaimError::Full);
        assert_eq!(window.stats().batches_refused, 2);
        assert!(config.conditions.holds(Condition::DedupFull));
        let claims = window.claim(&unknown(&ids[..16]), 0).unwrap();
        assert!(claims.outcomes().iter().all(|outcome| matches!(outcome, Claim::Duplicate { .. })), "{steps:?}");

        flag.store(false, Ordering::Relaxed);
        window.checkpoint(16).unwrap();
        window.settle();
        assert_eq!(window.stats().sealing, Sealing::Idle);
        assert!(config.conditions.list().is_empty());
        assert_eq!(window.stats().identities_sealed, 16);
        assert_eq!(known(&window, &ids, 0), 16);
        drop(window);
        assert_eq!(known(&open(&config), &ids, 0), 16);
    }
}

#[test]
fn a_merge_that_fails_holds_up_no_seal_and_is_done_later() {
    // The name of a merged run spans several generations.
    fn is_merged(name: &str) -> bool {
        name.len() > 33 && name[..16] != name[17..33]
    }
    for steps in [&[Step::Create] as &[_], &[Step::Write], &[Step::SyncFile], &[Step::Rename]] {
        let folder = scratch();
        let config = tiny(folder.path());
        let (window, flag) = failing(&config, steps, is_merged);
        let ids = random_ids(80);
        for (batch, ids) in ids.chunks(4).enumerate() {
            window.claim(&unknown(ids), 0).unwrap().confirm(batch as u64 * 4);
            window.checkpoint(u64::MAX).unwrap();
        }
        assert_eq!(window.stats().runs, 20, "{steps:?}");
        assert_eq!(known(&window, &ids, 0), 80);
        flag.store(false, Ordering::Relaxed);
        window.settle();
        assert!(window.stats().runs <= 6, "{steps:?}: {}", window.stats().runs);
        assert_eq!(known(&window, &ids, 0), 80);
        drop(window);
        assert_eq!(known(&open(&config), &ids, 0), 80);
    }
}

#[test]
fn inputs_that_cannot_be_removed_come_back_at_the_start_and_go_then() {
    let folder = scratch();
    let config = tiny(folder.path());
    let (window, _) = failing(&config, &[Step::Remove], |_| true);
    let ids = random_ids(32);
    remember(&window, &ids, 0, 0);
    window.settle();
    assert_eq!(window.stats().runs, 1);
    drop(window);
    let (window, report) = Window::open(config, 0).unwrap();
    assert_eq!((report.runs, report.leftovers_removed, report.identities), (1, 4, 32));
    assert_eq!(known(&window, &ids, 0), 32);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn restoring_and_closing_fail_instead_of_hanging_when_the_disk_refuses() {
    let folder = scratch();
    let (window, flag) = failing(&tiny(folder.path()), &[Step::Write], |_| true);
    let ids = random_ids(100);
    assert!(matches!(window.restore(marked(&ids, 0), 0), Err(SealError::Disk(_))));
    assert!(matches!(window.close(), Err(SealError::Disk(_))));
    assert_eq!(window.stats().sealing, Sealing::Stopped);
    flag.store(false, Ordering::Relaxed);
    assert!(matches!(window.checkpoint(u64::MAX), Err(SealError::Stopped)));
}
