//! Whether a duplicate has another payload, through memory, runs, merges, restarts and format 1, which has no fingerprints.

use std::fs;

use super::old_formats::format_1;
use super::*;

fn with(ids: &[Uuid], fingerprint: u32) -> Vec<Identity> {
    ids.iter().map(|id| Identity { id: *id, fingerprint }).collect()
}

/// Number of `identities` that are duplicates, and of those whose payload differs.
fn duplicates(window: &Window, identities: &[Identity]) -> (usize, usize) {
    let claims = window.claim(identities, 0).unwrap();
    let is = |claim: &&Claim| matches!(claim, Claim::Duplicate { .. });
    let differs = |claim: &&Claim| matches!(claim, Claim::Duplicate { differs: true });
    (claims.outcomes().iter().filter(is).count(), claims.outcomes().iter().filter(differs).count())
}

#[test]
fn a_duplicate_with_another_payload_is_told_apart_wherever_the_identity_lies() {
    let folder = scratch();
    let config = tiny(folder.path());
    let ids = random_ids(8);
    let mut window = open(&config);
    window.claim(&with(&ids[..6], 11), 0).unwrap().confirm(0);
    window.claim(&unknown(&ids[6..]), 0).unwrap().confirm(6);
    let check = |window: &Window, place: &str| {
        assert_eq!(duplicates(window, &with(&ids, 11)), (8, 0), "{place}");
        assert_eq!(duplicates(window, &with(&ids, 12)), (8, 6), "{place}: of two nobody knows the payload");
        assert_eq!(duplicates(window, &unknown(&ids)), (8, 0), "{place}");
    };
    window.settle();
    check(&window, "in memory or just sealed");
    window.checkpoint(u64::MAX).unwrap();
    check(&window, "in a run");
    remember(&window, &random_ids(64), 8, 0);
    window.settle();
    check(&window, "in a merged run");
    drop(window);
    window = open(&config);
    check(&window, "after a restart");
}

#[test]
fn what_the_spool_restores_brings_its_fingerprints_and_a_merge_keeps_the_known_one() {
    let folder = scratch();
    let config = tiny(folder.path());
    let ids = random_ids(8);
    for fingerprint in [0, 11, 0, 0] {
        let window = open(&config);
        window.restore(with(&ids, fingerprint).into_iter().zip(0..), 0).unwrap();
        window.close().unwrap();
    }
    let window = open(&config);
    window.settle();
    assert_eq!(window.stats().runs, 1);
    assert_eq!(duplicates(&window, &with(&ids, 12)), (8, 8));
    assert_eq!(duplicates(&window, &with(&ids, 11)), (8, 0));
}

#[test]
fn runs_of_format_1_are_read_and_merged_into_format_3() {
    let folder = scratch();
    let config = WindowConfig { hot_identities: 700, ..tiny(folder.path()) };
    let ids = random_ids(2800);
    for (generation, ids) in (1..4).zip(ids.chunks(700)) {
        let name = format!("{generation:016x}-{generation:016x}.run");
        fs::write(folder.path().join(name), format_1(ids, generation * 700)).unwrap();
    }
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    assert_eq!((report.runs, report.identities, report.set_aside.len()), (3, 2100, 0));
    assert_eq!(window.sealed_mark(), 2100);
    assert_eq!(duplicates(&window, &with(&ids, 5)), (2100, 0), "nobody knows their payloads");
    let claims = window.claim(&with(&ids[2100..], 11), 0).unwrap();
    claims.confirm(2100);
    window.settle();
    assert_eq!(window.stats().runs, 1, "merged with what came since");
    drop(window);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!((files.len(), fs::read(&files[0]).unwrap()[8]), (1, 3), "format 3");
    let window = open(&config);
    assert_eq!(duplicates(&window, &with(&ids, 11)), (2800, 0));
    assert_eq!(duplicates(&window, &with(&ids, 12)), (2800, 700));
}
