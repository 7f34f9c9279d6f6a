//! What the figures were measured on: no names and no paths, only what they depend on.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::Context;

use crate::figures::{median, short};

/// Syncs that are timed.
const SYNCS: usize = 50;

/// Lines for the head of the table. `data` is the folder where the gateways keep their data.
pub(crate) fn describe(data: &Path) -> anyhow::Result<Vec<String>> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value(&cpuinfo, "model name").unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = value(&meminfo, "MemTotal").and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = loads.split_whitespace().next().unwrap_or("?");
    Ok(vec![
        format!("machine: {model}, {cores} cores, {:.1} GiB, Linux {}", kib.unwrap_or(f64::NAN) / 1024.0 / 1024.0, kernel.trim()),
        format!("disk: {}, one fdatasync of 4 KiB takes {} ms (median of {SYNCS})", file_system(data), short(sync_ms(data)?)),
        format!("load of others as it began (1 min): {load}"),
        format!("commit: {}", commit()),
        format!("rustc: {}", output("rustc", &["--version"]).unwrap_or_else(|| "unknown".into())),
        format!("date: {}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")),
    ])
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.starts_with(name))?.split_once(':').map(|(_, value)| value.trim())
}

/// Type of the file system that a folder is on.
pub(crate) fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        folder.starts_with(place).then_some((place.len(), kind))
    });
    below.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

/// Milliseconds of one `fdatasync` after a write of 4 KiB.
fn sync_ms(folder: &Path) -> anyhow::Result<f64> {
    let mut file: File = tempfile::tempfile_in(folder).context("the folder for data cannot be written")?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times.into_iter()))
}

fn commit() -> String {
    let Some(hash) = output("git", &["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed = output(
        "git",
        &["status", "--porcelain", "--untracked-files=no", "--", "src", "loadtest/bench", "Cargo.toml", "Cargo.lock"],
    );
    if changed.is_some_and(|files| !files.is_empty()) { format!("{hash} and changes") } else { hash }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
