//! Fills a dedup window and says what a claim costs then: `cargo run --release --example dedup_fill 100000000 [FOLDER]`.
//!
//! The folder, `target/dedup_fill` by default, is removed before and after. 100 M identities take 2.1 GB of disk.
#![allow(clippy::print_stdout, reason = "a measurement prints its result")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use lakegate::dedup::{Identity, Window, WindowConfig};
use uuid::Uuid;

/// Batches whose median is taken.
const MEASURED_BATCHES: u64 = 2000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let total: u64 = arguments.next().unwrap_or_else(|| "1000000".into()).parse()?;
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "target/dedup_fill".into()));
    let _ = fs::remove_dir_all(&folder);
    let (window, _) = Window::open(WindowConfig::new(&folder), 0)?;

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

    for size in [100, 1] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..MEASURED_BATCHES {
            times.extend(claim(&window, filled, size));
            filled += size;
        }
        times.sort();
        println!("claim + confirm in batches of {size}: median {:?} an identity", times[times.len() / 2] / size as u32);
    }

    drop(window);
    let reopening = Instant::now();
    let (window, _) = Window::open(WindowConfig::new(&folder), 0)?;
    println!("reopened in {:?}", reopening.elapsed());
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
