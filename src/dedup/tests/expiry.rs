//! What leaves the window, and when.

use super::*;

const SECOND: i64 = 1000;

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn an_identity_is_known_until_the_window_has_passed_and_forgotten_at_most_a_quarter_later() {
    let folder = scratch();
    let window = open(&tiny(folder.path()));
    let ids = random_ids(800);
    // 8 identities every 10 s: the window of 1000 s holds all of them.
    for (step, ids) in ids.chunks(8).enumerate() {
        remember(&window, ids, step as u64 * 8, step as i64 * 10 * SECOND);
    }
    window.checkpoint(u64::MAX).unwrap();
    for now in [1000 * SECOND, 1500 * SECOND, 2000 * SECOND, 3000 * SECOND] {
        known(&window, &ids[..1], now);
        window.settle();
        for (step, ids) in ids.chunks(8).enumerate() {
            let age = now - step as i64 * 10 * SECOND;
            match age {
                _ if age <= 1000 * SECOND => assert_eq!(known(&window, ids, now), 8, "{step} at {now}"),
                _ if age > 1250 * SECOND => assert_eq!(known(&window, ids, now), 0, "{step} at {now}"),
                _ => {}
            }
        }
    }
    let stats = window.stats();
    assert_eq!((stats.runs, stats.identities_sealed, stats.identities_forgotten_early), (0, 0, 0));
    assert_eq!(stats.effective_window_seconds, 1000);
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn an_expired_run_goes_at_the_start_too() {
    let folder = scratch();
    let config = tiny(folder.path());
    let window = open(&config);
    remember(&window, &random_ids(8), 0, 0);
    window.close().unwrap();
    drop(window);
    assert_eq!(files(folder.path()), 1);
    let (window, report) = Window::open(config, 1001 * SECOND).unwrap();
    assert_eq!((report.runs, report.identities), (1, 8));
    window.settle();
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn too_many_identities_push_out_the_oldest_and_the_stats_say_so() {
    let folder = scratch();
    let config = WindowConfig { identities_max: 400, ..tiny(folder.path()) };
    let window = open(&config);
    let ids = random_ids(1000);
    for (step, batch) in ids.chunks(8).enumerate() {
        remember(&window, batch, step as u64 * 8, step as i64 * SECOND);
        window.settle();
        let stats = window.stats();
        assert!(stats.identities_sealed <= 400);
        assert!(stats.runs <= 17, "{}", stats.runs);
    }
    let now = 125 * SECOND;
    let newest_known = |ids: &[Uuid]| known(&window, ids, now);
    assert_eq!(newest_known(&ids[700..]), 300, "three quarters of the maximum are always there");
    assert_eq!(newest_known(&ids[..600]), 0);
    let stats = window.stats();
    assert_eq!(stats.identities_forgotten_early + stats.identities_sealed + stats.identities_hot, 1000);
    assert!((37..=50).contains(&stats.effective_window_seconds), "{}", stats.effective_window_seconds);
    assert!(stats.oldest_millis.is_some_and(|oldest| oldest >= 75 * SECOND));
}
