//! Twins from many threads, while seals and merges run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};

use super::*;
use crate::dedup::Claims;

const THREADS: usize = 4;

fn claim(window: &Window, ids: &[Uuid]) -> Claims {
    loop {
        match window.claim(&unknown(ids), 0) {
            Ok(claims) => return claims,
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[test]
fn of_concurrent_twins_exactly_one_is_fresh_and_after_release_exactly_one_again() {
    let folder = scratch();
    let window = open(&WindowConfig { hot_identities: 1500, ..tiny(folder.path()) });
    let ids = random_ids(1000);
    let barrier = Barrier::new(THREADS);
    let fresh: Vec<[AtomicU32; 2]> = ids.iter().map(|_| Default::default()).collect();
    let marks = Mutex::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (window, ids, barrier, fresh, marks) = (&window, &ids, &barrier, &fresh, &marks);
            scope.spawn(move || {
                for (round, again) in [false, true].into_iter().enumerate() {
                    barrier.wait();
                    let mut held = Vec::new();
                    // Each thread starts at another position, so that the threads meet everywhere.
                    for step in 0..20 {
                        let from = (step + thread * 5) % 20 * 50;
                        let claims = claim(window, &ids[from..from + 50]);
                        for (index, outcome) in claims.outcomes().iter().enumerate() {
                            fresh[from + index][round].fetch_add(u32::from(*outcome == Claim::Fresh), Ordering::Relaxed);
                            assert!(
                                !matches!(outcome, Claim::Duplicate { .. }) || again,
                                "nothing is confirmed in the first round"
                            );
                        }
                        held.push((from, claims));
                    }
                    barrier.wait();
                    // In the first round the even ones are released, in one of two ways.
                    for (_, mut claims) in held {
                        if !again {
                            claims.retain(|index| index % 2 == 1);
                        }
                        let mut mark = marks.lock().unwrap();
                        let count = claims.fresh_len() as u64;
                        claims.confirm(*mark);
                        *mark += count;
                    }
                }
            });
        }
    });
    for (index, [first, second]) in fresh.iter().enumerate() {
        assert_eq!(first.load(Ordering::Relaxed), 1, "{index}");
        assert_eq!(second.load(Ordering::Relaxed), u32::from(index % 2 == 0), "{index}");
    }
    assert_eq!(known(&window, &ids, 0), 1000);
}

#[test]
fn an_identity_is_never_unknown_while_its_generation_becomes_a_run() {
    let folder = scratch();
    let window = open(&tiny(folder.path()));
    let ids = random_ids(if cfg!(debug_assertions) { 3_000 } else { 12_000 });
    let confirmed: Vec<AtomicU32> = ids.iter().map(|_| AtomicU32::new(0)).collect();
    let mark = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for from in (0..ids.len()).step_by(2) {
                    // Claim again what is just being sealed, a generation or two behind.
                    for from in [from, from.saturating_sub(8), from.saturating_sub(16)] {
                        let claims = claim(&window, &ids[from..from + 2]);
                        for (index, outcome) in claims.outcomes().iter().enumerate() {
                            confirmed[from + index].fetch_add(u32::from(*outcome == Claim::Fresh), Ordering::Relaxed);
                        }
                        let mut mark = mark.lock().unwrap();
                        let count = claims.fresh_len() as u64;
                        claims.confirm(*mark);
                        *mark += count;
                    }
                }
            });
        }
    });
    assert!(confirmed.iter().all(|count| count.load(Ordering::Relaxed) == 1), "each is fresh once");
    assert!(window.stats().identities_sealed > ids.len() as u64 - 32);
}
