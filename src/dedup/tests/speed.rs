//! Measurements, printed: `cargo test --release dedup::tests::speed -- --nocapture`. Only gross slowness fails the test.

use std::time::{Duration, Instant};

use super::*;
use crate::limits::DEDUP_HOT_IDENTITIES;

#[test]
#[expect(clippy::print_stderr, reason = "the numbers are what this test is for")]
fn a_claim_and_its_confirmation_cost_half_a_microsecond_with_millions_sealed() {
    // In a debug build, the same path with fewer identities; the numbers then mean nothing.
    let hot = if cfg!(debug_assertions) { 2_048 } else { DEDUP_HOT_IDENTITIES };
    // 23 generations are 1 + 1 + 3 runs of three tiers; 6 million identities at the usual size.
    let sealed = 23 * hot as u64;
    let folder = tempfile::tempdir().unwrap();
    let config = WindowConfig { hot_identities: hot, ..WindowConfig::new(folder.path()) };
    let window = open(&config);

    let started = Instant::now();
    let mut mark = 0;
    let mut first = Vec::new();
    while window.stats().identities_sealed < sealed {
        let ids = random_ids(hot / 2);
        remember(&window, &ids, mark, 0);
        mark += ids.len() as u64;
        if first.len() < 10_000 {
            first.extend(ids);
        }
    }
    window.settle();
    let filled = started.elapsed();
    let stats = window.stats();
    let memory_bytes = stats.filter_bytes + stats.index_bytes;
    eprintln!(
        "{} sealed in {} runs, filled in {filled:?}; {:.2} B of memory and {:.2} B of disk an identity",
        stats.identities_sealed,
        stats.runs,
        memory_bytes as f64 / stats.identities_sealed as f64,
        stats.disk_bytes as f64 / stats.identities_sealed as f64,
    );
    if !cfg!(debug_assertions) {
        assert!(memory_bytes < stats.identities_sealed * 3 / 2, "filters and index stay near 1.2 bytes an identity");
    }

    for size in [100, 1] {
        let before = window.stats();
        let batches: Vec<Vec<Uuid>> = (0..hot / 2 / size).map(|_| random_ids(size)).collect();
        let mut times = Vec::with_capacity(batches.len());
        for batch in &batches {
            let started = Instant::now();
            let claims = window.claim(&unknown(batch), 0).unwrap();
            claims.confirm(mark);
            times.push(started.elapsed());
            mark += batch.len() as u64;
        }
        window.settle();
        times.sort_unstable();
        let count = batches.len() * size;
        let elapsed: Duration = times.iter().sum();
        let median = times[times.len() / 2] / size as u32;
        let after = window.stats();
        eprintln!(
            "fresh, {size} a batch: median {median:?}, mean {:?} an identity, {:.2} % read a page",
            elapsed / count as u32,
            100.0 * (after.lookups_read_disk - before.lookups_read_disk) as f64 / count as f64
        );
        // Not the mean, because other programs stop this one for tens of milliseconds.
        let most = times[times.len() * 9 / 10] / size as u32;
        assert!(most < Duration::from_micros(50), "{most:?}");
    }

    let started = Instant::now();
    assert_eq!(known(&window, &first, 0), first.len());
    eprintln!("sealed duplicates: {} ns an identity (from the page cache)", started.elapsed().as_nanos() / first.len() as u128);

    drop(window);
    let started = Instant::now();
    let window = open(&config);
    eprintln!("opened again in {:?}", started.elapsed());
    assert!(window.stats().identities_sealed >= sealed);
}
