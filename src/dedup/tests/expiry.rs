//! What leaves the window, and when.

use std::time::Instant;

use super::*;
use crate::conditions::Condition;

const SECOND: i64 = 1000;

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
    assert_eq!(files(folder.path(), "run"), 0);
    assert!(files(folder.path(), "expired") > 0, "what left the window is kept");
}

#[test]
fn time_in_which_nothing_ran_is_not_confirmed_and_expires_nothing() {
    let folder = scratch();
    let config = tiny(folder.path());
    let window = open(&config);
    let ids = random_ids(8);
    remember(&window, &ids, 0, 5 * SECOND);
    window.close().unwrap();
    drop(window);
    // The wall clock is far ahead, or far behind.
    for wall in [1_000_000 * SECOND, -1_000_000 * SECOND] {
        let (window, report) = Window::open(config.clone(), wall).unwrap();
        assert_eq!((report.runs, report.identities, report.now_millis), (1, 8, 5 * SECOND));
        let clock = window.clock();
        assert!((5 * SECOND..65 * SECOND).contains(&clock.millis_at(Instant::now())));
        window.settle();
        assert_eq!(known(&window, &ids, clock.millis_at(Instant::now())), 8);
    }
}

/// A window whose runs of 8 identities are `hours` apart.
fn remember_hourly(window: &Window, ids: &[Uuid], first_mark: u64, hours: std::ops::Range<i64>) {
    for (index, hour) in hours.enumerate() {
        let from = index * 8;
        remember(window, &ids[from..from + 8], first_mark + from as u64, hour * 3600 * SECOND);
        window.settle();
    }
}

#[test]
fn what_left_the_window_is_unlinked_a_day_later_when_more_leaves_it() {
    let folder = scratch();
    let config = WindowConfig { window: Duration::from_secs(3600), ..tiny(folder.path()) };
    let window = open(&config);
    remember_hourly(&window, &random_ids(240), 0, 0..30);
    // Hours 0 to 27 have left the window. The last run left at hour 29, and the runs that had left by hour 5 were unlinked
    // then.
    assert_eq!(files(folder.path(), "run"), 2);
    let kept = files(folder.path(), "expired");
    assert!((23..=25).contains(&kept), "{kept}");
}

#[test]
fn what_left_the_window_comes_back_at_the_start_where_the_time_was_wrong() {
    let folder = scratch();
    let config = tiny(folder.path());
    let window = open(&config);
    let ids = random_ids(16);
    remember(&window, &ids[..8], 0, 0);
    window.settle();
    remember(&window, &ids[8..], 8, 10 * SECOND);
    window.settle();
    // A time that nothing on disk confirms: the gateway is killed before it stores anything at that time.
    known(&window, &ids[..1], 50_000 * SECOND);
    window.settle();
    assert_eq!((known(&window, &ids, 50_000 * SECOND), files(folder.path(), "expired")), (0, 2));
    drop(window);
    let (window, report) = Window::open(config, 0).unwrap();
    assert_eq!((report.taken_back, report.identities, report.now_millis), (2, 16, 10 * SECOND));
    assert_eq!(known(&window, &ids, 11 * SECOND), 16);
    assert_eq!((files(folder.path(), "run"), files(folder.path(), "expired")), (2, 0));
}

#[test]
fn what_is_kept_beyond_the_window_is_bounded_however_fast_it_comes() {
    let folder = scratch();
    let config = WindowConfig { identities_max: 400, ..tiny(folder.path()) };
    let window = open(&config);
    for (step, ids) in random_ids(2000).chunks(8).enumerate() {
        remember(&window, ids, step as u64 * 8, step as i64);
        window.settle();
    }
    let conditions = &config.conditions;
    assert!(files(folder.path(), "expired") <= 13, "100 identities in runs of 8 or more");
    assert!(conditions.holds(Condition::DedupForgetting));
    drop(window);
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    assert!(report.identities <= 400, "{report:?}");
    window.settle();
    assert!(conditions.holds(Condition::DedupForgetting), "a restart knows it too");
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
