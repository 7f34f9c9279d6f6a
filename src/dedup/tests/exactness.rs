//! No false positive, and no confirmed identity forgotten.

use super::*;
use crate::dedup::identity::tests::colliding;

#[test]
fn no_unknown_identity_is_ever_called_a_duplicate() {
    let (remembered, probed) = if cfg!(debug_assertions) { (40_000, 100_000) } else { (400_000, 3_000_000) };
    let folder = scratch();
    let config = WindowConfig { hot_identities: 4096, slice_identities: 1000, ..tiny(folder.path()) };
    let window = open(&config);
    let ids = random_ids(remembered);
    remember(&window, &ids, 0, 0);
    window.settle();
    assert_eq!(known(&window, &random_ids(probed), 0), 0);
    assert!(window.stats().lookups_read_disk > probed as u64 / 1000, "the filters were wrong often enough to matter");
    assert_eq!(known(&window, &ids, 0), ids.len());
}

#[test]
fn identities_that_share_their_64_bit_hash_are_told_apart() {
    let folder = scratch();
    let window = open(&tiny(folder.path()));
    let ids = colliding(&window.shared().hash, 1400);
    let (ours, others) = ids.split_at(700);
    remember(&window, ours, 0, 0);
    window.checkpoint(u64::MAX).unwrap();
    window.settle();
    let runs = window.shared().runs.load_full();
    assert!(runs.runs.iter().any(|run| run.pages() > 1), "one hash stretches over pages");
    assert_eq!(known(&window, ours, 0), ours.len());
    assert_eq!(known(&window, others, 0), 0);
    assert_eq!(known(&window, &[Uuid::nil()], 0), 0, "what pads a page is no identity");
}

#[test]
fn what_a_checkpoint_covers_needs_no_spool_and_the_sealed_mark_says_so() {
    let folder = scratch();
    let config = WindowConfig { hot_identities: 100, ..tiny(folder.path()) };
    let window = open(&config);
    assert_eq!(window.sealed_mark(), 0);
    let ids = random_ids(50);
    remember(&window, &ids[..30], 1000, 0);
    window.checkpoint(1000).unwrap();
    assert_eq!(window.sealed_mark(), 0, "nothing is confirmed below 1000");
    window.checkpoint(1001).unwrap();
    assert_eq!(window.sealed_mark(), 1030);
    remember(&window, &ids[30..], 1030, 0);
    drop(window);

    let window = open(&config);
    assert_eq!(window.sealed_mark(), 1030);
    assert_eq!(known(&window, &ids[..30], 0), 30);
    assert_eq!(known(&window, &ids[30..], 0), 0, "those are the spool's to tell");
    let from_spool = marked(&ids, 1000).into_iter().filter(|(_, mark)| *mark >= window.sealed_mark());
    assert_eq!(window.restore(from_spool, 0).unwrap(), 20);
    assert_eq!(known(&window, &ids, 0), 50);
}

#[test]
fn where_the_spool_was_replaced_the_sealed_mark_follows_the_new_marks() {
    let folder = scratch();
    let config = tiny(folder.path());
    for first_mark in [5000, 0, 0, 0] {
        let window = open(&config);
        remember(&window, &random_ids(8), first_mark, 0);
        window.close().unwrap();
        assert_eq!(window.sealed_mark(), first_mark + 8);
    }
    let window = open(&config);
    window.settle();
    assert_eq!((window.stats().runs, window.sealed_mark()), (1, 8), "merged too");
}

#[test]
fn an_identity_that_is_restored_although_it_is_sealed_is_one_again_after_the_merge() {
    let folder = scratch();
    let config = tiny(folder.path());
    let ids = random_ids(8);
    for _ in 0..4 {
        let window = open(&config);
        window.restore(marked(&ids, 0), 0).unwrap();
        window.close().unwrap();
    }
    let window = open(&config);
    window.settle();
    assert_eq!((window.stats().runs, window.stats().identities_sealed), (1, 8));
    assert_eq!(known(&window, &ids, 0), 8);
}

#[test]
fn restoring_any_number_keeps_memory_flat() {
    let folder = scratch();
    let config = WindowConfig { hot_identities: 64, ..tiny(folder.path()) };
    let window = open(&config);
    let ids = random_ids(5000);
    let mut in_memory_max = 0;
    let marked = ids.iter().zip(0..).map(|(id, mark)| {
        // Read while the batch is built, when the window is not locked.
        in_memory_max = in_memory_max.max(window.stats().identities_hot);
        (Identity::unknown(*id), mark)
    });
    assert_eq!(window.restore(marked, 0).unwrap(), 5000);
    assert!(in_memory_max <= 128, "{in_memory_max}");
    assert!(window.stats().identities_hot <= 128);
    assert_eq!(known(&window, &ids, 0), 5000);
}

#[test]
fn closing_seals_everything_and_a_claim_outlives_the_window() {
    let folder = scratch();
    let config = tiny(folder.path());
    let window = open(&config);
    let ids = random_ids(21);
    remember(&window, &ids, 0, 0);
    let late = window.claim(&unknown(&random_ids(3)), 0).unwrap();
    window.close().unwrap();
    assert_eq!(window.stats().identities_hot, 0);
    drop(window);

    let window = open(&config);
    // As on the spool's writer thread, boxed and sent.
    let callback: Box<dyn FnOnce() + Send + 'static> = Box::new(move || late.confirm(100));
    std::thread::spawn(callback).join().unwrap();
    assert_eq!(known(&window, &ids, 0), 21);
}

#[test]
fn released_identities_are_fresh_again_and_the_others_stay_claimed() {
    let folder = scratch();
    let window = open(&tiny(folder.path()));
    let ids = random_ids(4);
    let mut claims = window.claim(&unknown(&ids), 0).unwrap();
    assert!(claims.release(1) && !claims.release(1) && !claims.release(9));
    claims.retain(|index| index != 2);
    let again = window.claim(&unknown(&ids), 0).unwrap();
    assert_eq!(again.outcomes(), [Claim::InFlight, Claim::Fresh, Claim::Fresh, Claim::InFlight]);
    drop(again);
    claims.confirm_each(|index| index as u64 * 10);
    assert_eq!(window.shared().lock().unsealed.seal_below(u64::MAX), 31, "marks go by input index");
    let after = window.claim(&unknown(&ids), 0).unwrap();
    assert_eq!(after.outcomes(), [DUPLICATE, Claim::Fresh, Claim::Fresh, DUPLICATE]);
}
