//! Where the events of known identities are: through memory, runs, merges, restarts, older formats, damage, and spools that are
//! replaced or go back.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::old_formats::{format_1, format_2};
use super::*;
use crate::conditions::Condition;
use crate::dedup::{Doubt, KnownIdentity};
use crate::fault::Patience;

fn at(places: std::ops::Range<u64>) -> Vec<Option<u64>> {
    places.map(Some).collect()
}

fn run_name(generation: u64) -> String {
    format!("{generation:016x}-{generation:016x}.run")
}

fn only_known(answer: LookUp) -> KnownIdentity {
    match answer {
        LookUp::Known(known) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_place_survives_the_seal_the_merge_of_four_runs_and_a_restart() {
    let folder = scratch();
    let config = of_history(folder.path(), 1);
    let window = open(&config);
    let ids = random_ids(32);
    // Beyond what an offset without a base could say, and with a gap between the second and the third run.
    let firsts = [5_000_000_000_u64, 5_000_000_008, 6_000_000_000, 6_000_000_008];
    for (ids, first) in ids.chunks(8).zip(firsts) {
        window.claim(&unknown(ids), 0).unwrap().confirm(first);
        assert_eq!(places(&window, ids), at(first..first + 8), "in memory or just sealed");
        window.checkpoint(u64::MAX).unwrap();
        assert_eq!(places(&window, ids), at(first..first + 8), "in a run");
    }
    let check = |window: &Window, when: &str| {
        for (ids, first) in ids.chunks(8).zip(firsts) {
            assert_eq!(places(window, ids), at(first..first + 8), "{when}");
        }
    };
    window.settle();
    assert_eq!(window.stats().runs, 1);
    check(&window, "in a merged run");
    drop(window);
    check(&open(&config), "after a restart");
}

#[test]
fn a_place_that_does_not_fit_beside_the_others_of_a_merged_run_is_unknown() {
    let folder = scratch();
    let window = open(&of_history(folder.path(), 1));
    let ids = random_ids(32);
    for (ids, first) in ids.chunks(8).zip([0, 8, 16, 1 << 40]) {
        window.claim(&unknown(ids), 0).unwrap().confirm(first);
        window.checkpoint(u64::MAX).unwrap();
    }
    window.settle();
    assert_eq!(window.stats().runs, 1);
    assert_eq!(places(&window, &ids[..24]), at(0..24));
    assert_eq!(places(&window, &ids[24..]), [None; 8]);
}

#[test]
fn runs_of_formats_1_and_2_know_no_places_and_are_merged_with_runs_that_do() {
    let folder = scratch();
    let config = of_history(folder.path(), 1);
    let ids = random_ids(32);
    fs::write(folder.path().join(run_name(1)), format_1(&ids[..8], 8)).unwrap();
    let second: Vec<Identity> = ids[8..16].iter().map(|id| Identity { id: *id, fingerprint: 7 }).collect();
    fs::write(folder.path().join(run_name(2)), format_2(&second, 16, config.spool_history)).unwrap();
    let window = open(&config);
    assert_eq!(window.sealed_mark(), 16);
    assert_eq!(only_known(window.look_up(&ids[..1])[0]).place, Place::Before(16));
    remember(&window, &ids[16..], 16, 0);
    let check = |window: &Window| {
        assert_eq!(places(window, &ids[..16]), [None; 16]);
        assert_eq!(places(window, &ids[16..]), at(16..32));
    };
    check(&window);
    window.settle();
    assert_eq!(window.stats().runs, 1);
    check(&window);
    let claims = window.claim(&[Identity { id: ids[8], fingerprint: 8 }], 0).unwrap();
    assert_eq!(claims.outcomes(), [Claim::Duplicate { differs: true }], "the fingerprints of format 2 are kept");
    drop(window);
    let file = fs::read(folder.path().join("0000000000000001-0000000000000004.run")).unwrap();
    assert_eq!(file[8], 3);
    check(&open(&config));
}

/// A gateway got six events, and was stopped, when runs had no places yet.
#[test]
fn a_run_that_a_gateway_wrote_in_format_2_still_opens() {
    let folder = scratch();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dedup-format-2").join(run_name(1));
    fs::copy(fixture, folder.path().join(run_name(1))).unwrap();
    let spool = "166ca8f4-fac7-4487-b296-710ffe5abd10".parse().unwrap();
    let config = WindowConfig { spool_history: spool, spool_end_exclusive: 6, ..tiny(folder.path()) };
    let (window, report) = Window::open(config, 0).unwrap();
    assert_eq!((report.runs, report.identities, report.spool_history), (1, 6, spool));
    assert_eq!(window.sealed_mark(), 6);
    let ids: Vec<Uuid> = (0..6).map(|n| format!("00000000-0000-4000-8000-{n:012}").parse().unwrap()).collect();
    assert!(window.look_up(&ids).into_iter().all(|answer| only_known(answer).place == Place::Before(6)));
    let more = random_ids(24);
    remember(&window, &more, 6, window.clock().millis_at(Instant::now()));
    window.settle();
    assert_eq!((window.stats().runs, places(&window, &ids), places(&window, &more)), (1, vec![None; 6], at(6..30)));
}

#[test]
fn the_places_of_another_spool_or_of_a_spool_without_a_name_are_unknown_also_after_a_merge() {
    let folder = scratch();
    let ids = random_ids(40);
    let window = open(&of_history(folder.path(), 1));
    remember(&window, &ids[..8], 100, 0);
    window.close().unwrap();
    drop(window);
    let window = open(&of_history(folder.path(), 2));
    assert_eq!(only_known(window.look_up(&ids[..1])[0]).place, Place::Before(0), "in none of this spool's places");
    // The new spool gives the same numbers.
    remember(&window, &ids[8..32], 96, 0);
    window.settle();
    assert_eq!(window.stats().runs, 1);
    assert_eq!((places(&window, &ids[..8]), places(&window, &ids[8..32])), (vec![None; 8], at(96..120)));
    drop(window);
    assert_eq!(places(&open(&of_history(folder.path(), 1)), &ids[..32]), [None; 32], "back in the first spool");

    let folder = scratch();
    let window = open(&tiny(folder.path()));
    window.claim(&unknown(&ids[..8]), 0).unwrap().confirm(0);
    window.checkpoint(u64::MAX).unwrap();
    assert_eq!(places(&window, &ids[..8]), [None; 8], "no name tells the next spool from this one");
}

#[test]
fn after_a_backup_of_the_spool_was_restored_no_place_is_that_of_an_event_that_is_gone() {
    // Runs that count, one that was set aside, and one that has left the window: the two may be put back later.
    for away in ["run", "damaged", "expired"] {
        let folder = scratch();
        let config = of_history(folder.path(), 1);
        let ids = random_ids(32);
        let window = open(&config);
        remember(&window, &ids[..16], 100, 0);
        window.close().unwrap();
        drop(window);
        let newest = folder.path().join(run_name(2));
        fs::rename(&newest, newest.with_extension(away)).unwrap();
        // Only the newest run has marks beyond the end.
        let back = WindowConfig { spool_end_exclusive: 108, ..config.clone() };
        let (window, report) = Window::open(back, 0).unwrap();
        let history = report.spool_history;
        assert_ne!(history, config.spool_history, "{away}");
        // Seven of eight are in memory when the gateway is killed.
        window.claim(&unknown(&ids[16..23]), 0).unwrap().confirm(108);
        assert_eq!(places(&window, &ids[16..23]), at(108..115), "{away}");
        drop(window);
        if away == "damaged" {
            fs::rename(newest.with_extension(away), &newest).unwrap();
        }
        let config = WindowConfig { spool_history: history, spool_end_exclusive: 200, ..config };
        let (window, report) = Window::open(config, 0).unwrap();
        assert_eq!((report.runs, report.spool_history), (2, history), "{away}");
        window.restore(marked(&ids[16..23], 108), 0).unwrap();
        assert_eq!(places(&window, &ids[..16]), [None; 16], "{away}");
        assert_eq!(places(&window, &ids[16..23]), at(108..115), "{away}");
    }
}

#[test]
fn an_identity_restored_late_has_its_place_if_that_fits_and_else_none() {
    let folder = scratch();
    let window = open(&of_history(folder.path(), 1));
    let ids = random_ids(4);
    window.claim(&unknown(&ids[..2]), 0).unwrap().confirm_each(|index| [50, 60][index]);
    // Within the generation, and before it.
    window.restore([(Identity::unknown(ids[2]), 55), (Identity::unknown(ids[3]), 12)], 0).unwrap();
    let expected = [Some(50), Some(60), Some(55), None];
    assert_eq!(places(&window, &ids), expected);
    window.checkpoint(u64::MAX).unwrap();
    assert_eq!(places(&window, &ids), expected);
    assert_eq!(window.places(&ids[3..]), [Place::Before(61)]);
}

#[test]
fn an_event_that_was_stored_again_is_at_its_new_place_through_seal_and_merge() {
    let folder = scratch();
    let window = open(&of_history(folder.path(), 1));
    let ids = random_ids(32);
    window.claim(&unknown(&ids[..8]), 0).unwrap().confirm(0);
    window.checkpoint(u64::MAX).unwrap();
    window.stored_again(Identity::unknown(ids[3]), 8);
    assert_eq!(places(&window, &ids[2..5]), [Some(2), Some(8), Some(4)]);
    remember(&window, &ids[8..32], 9, 0);
    window.checkpoint(u64::MAX).unwrap();
    assert_eq!(places(&window, &ids[3..4]), [Some(8)], "sealed");
    window.settle();
    assert_eq!(window.stats().runs, 2, "four became one, and one is left");
    assert_eq!(places(&window, &ids[2..5]), [Some(2), Some(8), Some(4)], "merged");
    assert_eq!(places(&window, &ids[8..]), at(9..33));
}

#[test]
fn a_look_up_tells_the_times_and_what_is_in_flight_and_claims_nothing() {
    let folder = scratch();
    let window = open(&of_history(folder.path(), 1));
    let ids = random_ids(12);
    window.claim(&unknown(&ids[..4]), 1000).unwrap().confirm(0);
    window.claim(&unknown(&ids[4..8]), 3000).unwrap().confirm(4);
    window.settle();
    window.claim(&unknown(&ids[8..9]), 5000).unwrap().confirm(8);
    let held = window.claim(&unknown(&ids[9..10]), 5000).unwrap();
    let before = window.stats();
    let sealed = |place| LookUp::Known(KnownIdentity { place: Place::At(place), oldest_millis: 1000, newest_millis: 3000 });
    let hot = LookUp::Known(KnownIdentity { place: Place::At(8), oldest_millis: 5000, newest_millis: 5000 });
    let answers = window.look_up(&[ids[0], ids[7], ids[8], ids[9], ids[10]]);
    assert_eq!(answers, [sealed(0), sealed(7), hot, LookUp::InFlight, LookUp::Unknown]);
    let after = window.stats();
    assert_eq!((after.identities_hot, after.identities_in_flight), (before.identities_hot, before.identities_in_flight));
    assert_eq!(after.batches_refused, before.batches_refused);
    drop(held);
    assert_eq!(window.look_up(&ids[9..10]), [LookUp::Unknown]);
    assert!(window.look_up(&[]).is_empty());
    assert_eq!(window.claim(&unknown(&ids[10..]), 5000).unwrap().outcomes(), [Claim::Fresh; 2]);
}

#[test]
fn a_look_up_beside_seals_and_merges_never_misses_what_is_confirmed() {
    let folder = scratch();
    let window = open(&of_history(folder.path(), 1));
    let ids = random_ids(if cfg!(debug_assertions) { 2_000 } else { 10_000 });
    let confirmed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (batch, batch_ids) in ids.chunks(4).enumerate() {
                remember(&window, batch_ids, batch as u64 * 4, 0);
                confirmed.store(batch * 4 + 4, Ordering::SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut end = 0;
                while end < ids.len() {
                    end = confirmed.load(Ordering::SeqCst);
                    // What is being sealed or merged now, and a sample of the rest.
                    let recent = end.saturating_sub(64)..end;
                    let asked: Vec<usize> = recent.chain((0..end).step_by(97)).collect();
                    let found = places(&window, &asked.iter().map(|index| ids[*index]).collect::<Vec<_>>());
                    assert_eq!(found, asked.iter().map(|index| Some(*index as u64)).collect::<Vec<_>>());
                }
            });
        }
    });
    window.settle();
    assert_eq!(places(&window, &ids), at(0..ids.len() as u64));
}

#[test]
fn of_a_damaged_page_it_cannot_be_told_what_it_knew_until_a_person_removes_what_was_set_aside() {
    let folder = scratch();
    let config = WindowConfig { hot_identities: 700, ..of_history(folder.path(), 1) };
    let ids = random_ids(700);
    let window = open(&config);
    remember(&window, &ids, 0, 0);
    window.close().unwrap();
    drop(window);
    let run = folder.path().join(run_name(1));
    let mut bytes = fs::read(&run).unwrap();
    bytes[4096 * 2 + 5] ^= 1;
    fs::write(&run, &bytes).unwrap();

    let window = open(&config);
    let answers = window.look_up(&ids);
    let lost: Vec<Uuid> =
        ids.iter().zip(&answers).filter(|(_, a)| **a == LookUp::CannotTell(Doubt::PageDamaged)).map(|(id, _)| *id).collect();
    assert_eq!(lost.len(), 170);
    assert!((0..).zip(&answers).all(|(seq, answer)| match answer {
        LookUp::Known(known) => known.place == Place::At(seq),
        _ => lost.contains(&ids[seq as usize]),
    }));
    let absent = random_ids(400);
    let doubtful = window.look_up(&absent).into_iter().filter(|answer| *answer != LookUp::Unknown).count();
    assert!(doubtful < 40, "only where the filter is wrong: {doubtful}");

    // A merge leaves the page out, and keeps the file.
    remember(&window, &random_ids(2100), 700, 0);
    window.settle();
    assert!(run.with_extension("damaged").exists());
    let aside = LookUp::CannotTell(Doubt::RunsSetAside);
    assert_eq!(window.look_up(&lost), vec![aside; 170]);
    assert!(window.look_up(&absent).into_iter().all(|answer| answer == aside));
    drop(window);
    let window = open(&config);
    assert_eq!(window.look_up(&lost), vec![aside; 170], "from the first moment on");
    fs::remove_file(run.with_extension("damaged")).unwrap();
    eventually("the doubt is gone", || window.look_up(&lost[..1]) == [LookUp::Unknown]);
}

#[test]
fn of_a_page_that_cannot_be_read_now_it_is_told_when_it_can() {
    let folder = scratch();
    let config = of_history(folder.path(), 1);
    let window = open(&config);
    let ids = random_ids(9);
    remember(&window, &ids, 0, 0);
    window.settle();
    let runs = window.shared().runs.load_full();
    let long = Duration::from_secs(600);
    let patience = Patience { first: long, longest: long, budget: long };
    let _ = runs.runs[0].faults().unreadable(0, &io::Error::from_raw_os_error(5), &patience, Instant::now());
    let unreadable = LookUp::CannotTell(Doubt::PageUnreadable);
    assert_eq!(window.look_up(&ids[..8]), [unreadable; 8]);
    assert_eq!(places(&window, &ids[8..]), [Some(8)]);
    assert_eq!(window.places(&ids[..1]), [Place::Before(8)]);
    eventually("it is said", || config.conditions.holds(Condition::DedupUnreadable));
    runs.runs[0].faults().intact(0);
    assert_eq!(places(&window, &ids), at(0..9));
}

#[test]
fn a_run_that_was_set_aside_whole_leaves_a_doubt() {
    let folder = scratch();
    let config = of_history(folder.path(), 1);
    let window = open(&config);
    let ids = random_ids(16);
    remember(&window, &ids, 0, 0);
    window.close().unwrap();
    drop(window);
    fs::write(folder.path().join(run_name(1)), b"nothing").unwrap();
    let window = open(&config);
    assert_eq!(window.look_up(&ids[..8]), [LookUp::CannotTell(Doubt::RunsSetAside); 8]);
    assert_eq!(places(&window, &ids[8..]), at(8..16));
}

#[test]
fn since_when_the_window_knows_is_its_oldest_identity_or_the_last_that_was_forgotten_early() {
    let folder = scratch();
    let config = WindowConfig { identities_max: 400, ..of_history(folder.path(), 1) };
    let (window, _) = Window::open(config.clone(), 500).unwrap();
    assert_eq!(window.known_since_millis(), 500, "it knows nothing yet");
    let ids = random_ids(800);
    for (step, ids) in ids.chunks(8).enumerate() {
        remember(&window, ids, step as u64 * 8, 1000 + step as i64);
        window.settle();
        if step < 40 {
            assert_eq!(window.known_since_millis(), 1000);
        }
    }
    let check = |window: &Window| {
        let since = window.known_since_millis();
        assert!((1050..1075).contains(&since), "{since}");
        for (ids, millis) in ids.chunks(8).zip(1000..) {
            let is_known = window.look_up(ids).into_iter().all(|answer| answer != LookUp::Unknown);
            assert!(is_known || millis < since, "{millis}, since {since}");
        }
        since
    };
    let since = check(&window);
    drop(window);
    assert_eq!(check(&open(&config)), since, "a restart knows it too");
}
