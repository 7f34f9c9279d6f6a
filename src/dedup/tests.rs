//! Tests of the whole window's guarantees. The modules test themselves beside their code.

mod concurrency;
mod crash;
mod damage;
mod exactness;
mod expiry;
mod faults;
mod fingerprints;
mod model;
mod old_formats;
mod place_model;
mod places;
mod presence;
mod speed;
mod spools;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::{Claim, Identity, LookUp, Place, Window, WindowConfig};

const DUPLICATE: Claim = Claim::Duplicate { differs: false };

/// A window with small limits: generations of 8, slices of 64.
fn tiny(dir: &Path) -> WindowConfig {
    WindowConfig {
        window: Duration::from_secs(1000),
        identities_max: 1_000_000,
        hot_identities: 8,
        slice_identities: 64,
        ..WindowConfig::new(dir)
    }
}

/// A folder in memory if possible, because these tests sync thousands of times, and track by themselves what was synced.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(config: &WindowConfig) -> Window {
    Window::open(config.clone(), 0).unwrap().0
}

/// Number of files with this extension in the folder.
fn files(folder: &Path, extension: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == extension)).count()
}

/// Waits until `is_so`, at most half a minute.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn random_ids(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| Uuid::new_v4()).collect()
}

fn unknown(ids: &[Uuid]) -> Vec<Identity> {
    ids.iter().map(|id| Identity::unknown(*id)).collect()
}

/// As the spool gives them: with marks from `first_mark` on.
fn marked(ids: &[Uuid], first_mark: u64) -> Vec<(Identity, u64)> {
    unknown(ids).into_iter().zip(first_mark..).collect()
}

/// Claims and confirms all, in batches that fit a window of this size; waits for seals. Marks begin at `first_mark`.
fn remember(window: &Window, ids: &[Uuid], first_mark: u64, now_millis: i64) {
    let batch = (window.shared().config.hot_identities / 2).max(1);
    let mut mark = first_mark;
    for ids in ids.chunks(batch) {
        let claims = loop {
            match window.claim(&unknown(ids), now_millis) {
                Ok(claims) => break claims,
                Err(_) => window.settle(),
            }
        };
        assert_eq!(claims.fresh_len(), ids.len());
        claims.confirm(mark);
        mark += ids.len() as u64;
    }
}

/// A tiny window of this history of a spool.
fn of_history(dir: &Path, history: u128) -> WindowConfig {
    WindowConfig { spool_history: Uuid::from_u128(history), ..tiny(dir) }
}

/// The places of identities that the window knows; `None` where only a bound is known.
fn places(window: &Window, ids: &[Uuid]) -> Vec<Option<u64>> {
    let place = |answer| match answer {
        LookUp::Known(known) => match known.place {
            Place::At(place) => Some(place),
            Place::Before(_) => None,
        },
        other => panic!("{other:?}"),
    };
    window.look_up(ids).into_iter().map(place).collect()
}

/// Number of `ids` that the window knows. Unknown ids are claimed and released again.
fn known(window: &Window, ids: &[Uuid], now_millis: i64) -> usize {
    let batch = (window.shared().config.hot_identities / 2).max(1);
    let mut known = 0;
    for ids in ids.chunks(batch) {
        let claims = loop {
            match window.claim(&unknown(ids), now_millis) {
                Ok(claims) => break claims,
                Err(_) => window.settle(),
            }
        };
        known += claims.outcomes().iter().filter(|outcome| matches!(outcome, Claim::Duplicate { .. })).count();
    }
    known
}
