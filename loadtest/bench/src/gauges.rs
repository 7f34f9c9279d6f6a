//! What a process used, as the kernel counts it: it is not asked itself.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// Time on the processors and bytes to the disk since a process began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds in the program.
    pub(crate) user: f64,
    /// Seconds in the kernel for it.
    pub(crate) system: f64,
    /// Bytes that it caused to be written to a disk.
    pub(crate) written_bytes: u64,
}

impl Usage {
    /// That of the process `id` now.
    pub(crate) fn of(id: u32) -> anyhow::Result<Self> {
        let stat = read(id, "stat")?;
        // The program's name, in brackets, may hold anything; user and system time are the 12th and 13th after it.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let seconds =
            |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).map(|ticks| ticks / ticks_per_second);
        let io = read(id, "io")?;
        Ok(Self {
            user: seconds(11).context("/proc/PID/stat has no user time")?,
            system: seconds(12).context("/proc/PID/stat has no system time")?,
            written_bytes: field(&io, "write_bytes:").context("/proc/PID/io has no write_bytes")?,
        })
    }

    /// What came since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
            written_bytes: self.written_bytes - before.written_bytes,
        }
    }

    /// Seconds on the processors.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Resident memory of a process in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) now: f64,
    /// At most so far.
    pub(crate) most: f64,
}

impl Memory {
    /// That of the process `id`.
    pub(crate) fn of(id: u32) -> anyhow::Result<Self> {
        let status = read(id, "status")?;
        let mib = |name: &str| field(&status, name).map(|kib| kib as f64 / 1024.0).context("/proc/PID/status is incomplete");
        Ok(Self { now: mib("VmRSS:")?, most: mib("VmHWM:")? })
    }
}

fn read(id: u32, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{id}/{file}")).with_context(|| format!("/proc/{id}/{file} cannot be read"))
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Counts instructions of a process with `perf stat`, where this machine lets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstructionCounter(bool);

/// A count that goes on.
#[derive(Debug)]
pub(crate) struct Counting(Option<Child>);

impl InstructionCounter {
    /// Tries it. Virtual machines often have no hardware counters.
    pub(crate) fn detect() -> Self {
        let tried = Command::new("perf").args(["stat", "-x,", "-e", "instructions:u", "true"]).output();
        Self(tried.is_ok_and(|output| instructions(&String::from_utf8_lossy(&output.stderr)).is_some()))
    }

    /// Begins to count those of the process `id`.
    pub(crate) fn start(self, id: u32) -> Counting {
        let mut command = Command::new("perf");
        command.args(["stat", "-x,", "-e", "instructions:u", "-p", &id.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Counting(self.0.then(|| command.spawn().ok()).flatten())
    }
}

impl Counting {
    /// Ends it; none where nothing was counted.
    pub(crate) fn end(self) -> Option<f64> {
        let child = self.0?;
        kill_process(Pid::from_raw(i32::try_from(child.id()).ok()?)?, Signal::INT).ok()?;
        let output = child.wait_with_output().ok()?;
        instructions(&String::from_utf8_lossy(&output.stderr))
    }
}

fn instructions(counted: &str) -> Option<f64> {
    counted.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn time_on_the_processor_is_counted() {
        let id = std::process::id();
        let (before, begun) = (Usage::of(id).unwrap(), Instant::now());
        while Usage::of(id).unwrap().since(&before).cpu() < 0.05 {
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
        let memory = Memory::of(id).unwrap();
        assert!(memory.now > 1.0 && memory.most >= memory.now);
    }

    #[test]
    fn what_perf_cannot_count_is_no_number() {
        assert_eq!(instructions("123456,,instructions:u,1000,100.00,,"), Some(123_456.0));
        assert_eq!(instructions("<not supported>,,instructions:u,0,100.00,,"), None);
    }
}
