//! Fills a dedup window and says what a claim and a look-up cost then: `make dedup-speed IDENTITIES=100000000`, or
//! `cargo run --release --example dedup_fill 100000000 [FOLDER]`.
//!
//! The folder, `target/dedup_fill` by default, is removed before and after. 100 M identities take 2.5 GB of disk. A cold look-up
//! finds nothing of the window in the page cache; below the operating system, a virtual disk may still have a cache.
#![allow(clippy::print_stdout, reason = "a measurement prints its result")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::ensure;
use lakegate::dedup::{Identity, LookUp, Place, Window, WindowConfig};
use uuid::Uuid;

/// Batches whose median is taken.
const MEASURED_BATCHES: u64 = 2000;

/// Look-ups of each kind.
const MEASURED_LOOK_UPS: u64 = 2000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let total: u64 = arguments.next().unwrap_or_else(|| "1000000".into()).parse()?;
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "target/dedup_fill".into()));
    let _ = fs::remove_dir_all(&folder);
    // Places count only in a spool that has a name.
    // Room for those whose claims are measured after the fill: beyond the limit, the oldest are forgotten.
    let identities_max = total + 2 * MEASURED_BATCHES * 100;
    let config = WindowConfig { spool_history: Uuid::from_u128(1), identities_max, ..WindowConfig::new(&folder) };
    let (window, _) = Window::open(config.clone(), 0)?;

    let started = Instant::now();
    let (mut filled, mut refused) = (0, 0);
    while filled < total {
        if claim(&window, filled, 100).is_some() {
            filled += 100;
        } else {
            // One producer outruns the disk: wait until what is confirmed is sealed.
            refused += 1;
            window.checkpoint(filled)?;
        }
    }
    window.checkpoint(filled)?;
    let stats = window.stats();
    let (now, peak) = (memory_mib("VmRSS:"), memory_mib("VmHWM:"));
    println!("{filled} identities in {:?}, {refused} batches refused meanwhile", started.elapsed());
    println!(
        "{} runs, {} MB on disk, filters {} MB, memory {now} MiB, peak {peak} MiB",
        stats.runs,
        mb(stats.disk_bytes),
        mb(stats.filter_bytes)
    );
    println!("{:.2} B of disk an identity", stats.disk_bytes as f64 / stats.identities_sealed as f64);

    for size in [100, 1] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..MEASURED_BATCHES {
            times.extend(claim(&window, filled, size));
            filled += size;
        }
        times.sort();
        println!("claim + confirm in batches of {size}: median {:?} an identity", times[times.len() / 2] / size as u32);
    }

    // Opened again, so that no identity is in memory and no merge runs.
    window.close()?;
    drop(window);
    let reopening = Instant::now();
    let (window, _) = Window::open(config, 0)?;
    println!("reopened in {:?}", reopening.elapsed());
    until_merged(&folder)?;
    println!("look-ups in {} runs:", window.stats().runs);
    for (what, first) in [("present", 0), ("absent", u64::MAX / 2)] {
        for is_cold in [true, false] {
            for size in [1, 100] {
                let (times, read) = look_ups(&window, &folder, first, total, size, is_cold)?;
                let cache = if is_cold { "cold" } else { "warm" };
                let at = |part: usize| times[(times.len() - 1) * part / 1000];
                let (p50, p99, max) = (at(500), at(990), at(1000));
                println!("  {size:>3} {what}, {cache}: p50 {p50:?}, p99 {p99:?}, max {max:?}; {read} B read from the disk each");
            }
        }
    }
    drop(window);
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Claims and confirms `size` identities from the `first`-th on; `None` where the window has no room at the moment.
fn claim(window: &Window, first: u64, size: u64) -> Option<Duration> {
    let identities: Vec<Identity> = (first..first + size).map(|n| Identity { id: identity(n), fingerprint: 1 }).collect();
    let started = Instant::now();
    window.claim(&identities, 0).ok()?.confirm(first);
    Some(started.elapsed())
}

/// Times of look-ups of `size` identities each, ascending, and the bytes that each read from the disk. Those of the first `total`
/// are present, each at its place.
fn look_ups(
    window: &Window,
    folder: &Path,
    first: u64,
    total: u64,
    size: u64,
    is_cold: bool,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let mut times = Vec::new();
    // The same identities for each kind of cache.
    let mut sample = (0_u64..).map(|n| first + identity(n ^ (size << 40)).as_u64_pair().0 % total);
    let batches: Vec<Vec<u64>> =
        (0..MEASURED_LOOK_UPS / size.min(10)).map(|_| sample.by_ref().take(size as usize).collect()).collect();
    let ids = |batch: &[u64]| batch.iter().map(|n| identity(*n)).collect::<Vec<Uuid>>();
    if !is_cold {
        // So that their pages are in the cache.
        batches.iter().for_each(|batch| drop(window.look_up(&ids(batch))));
    }
    let read_before = read_from_disk();
    for batch in &batches {
        let ids = ids(batch);
        if is_cold {
            forget_cached(folder)?;
        }
        let started = Instant::now();
        let answers = window.look_up(&ids);
        times.push(started.elapsed());
        for (n, answer) in batch.iter().zip(answers) {
            let is_right = match answer {
                LookUp::Known(known) => known.place == Place::At(*n),
                answer => first > 0 && answer == LookUp::Unknown,
            };
            ensure!(is_right, "{n}: {answer:?}");
        }
    }
    times.sort();
    let read = (read_from_disk() - read_before) / times.len() as u64;
    Ok((times, read))
}

/// Waits until no merge is being written.
fn until_merged(folder: &Path) -> anyhow::Result<()> {
    let mut quiet_looks = 0;
    while quiet_looks < 10 {
        let merges = fs::read_dir(folder)?.flatten().any(|file| file.path().extension().is_some_and(|kind| kind == "tmp"));
        quiet_looks = if merges { 0 } else { quiet_looks + 1 };
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Makes the operating system forget what it has cached of the files.
fn forget_cached(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        drop(file);
    }
    Ok(())
}

/// Bytes that this process had the disk read so far; 0 where that is not known.
fn read_from_disk() -> u64 {
    let counters = fs::read_to_string("/proc/self/io").unwrap_or_default();
    counters.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok()).unwrap_or(0)
}

/// The `n`-th of a row of identities that look random (splitmix64's finisher, twice).
fn identity(n: u64) -> Uuid {
    let mix = |mut word: u64| {
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    Uuid::from_u64_pair(mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), mix(n ^ 0xdead_beef_cafe_babe))
}

fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}

/// A line of `/proc/self/status`, in MiB; 0 where there is none.
fn memory_mib(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|found| found.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
