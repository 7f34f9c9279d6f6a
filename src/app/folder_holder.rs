//! Which process has the data folder open: `lakegate.pid`, written by the process that takes the lock.
//!
//! The file stays when its process ends, so its content counts only if the process proves it: the process was started at the
//! time in the file, and has the lock file open. Otherwise no process is named.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    durable,
    event::{iso_millis, unix_millis},
};

const NAME: &str = "lakegate.pid";

/// The lock of the data folder, which is the spool's lock.
pub(super) fn lock_of(data_dir: &Path) -> PathBuf {
    data_dir.join("spool/lock")
}

/// A process that took the lock.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    /// Start time of the process, in clock ticks since boot: process ids are reused, this pair is not.
    started_ticks: u64,
    /// `serve`, or another command.
    command: String,
    since: String,
}

impl Holder {
    fn of_this_process() -> Option<Self> {
        let pid = std::process::id();
        let command = std::env::args().nth(1).unwrap_or_default();
        let since = iso_millis(unix_millis(SystemTime::now())).as_str().to_owned();
        Some(Self { pid, started_ticks: started_ticks(pid)?, command, since })
    }

    /// Whether the process exists, and has the lock file open.
    fn holds(&self, lock: &Path) -> bool {
        let Ok(lock) = fs::metadata(lock) else { return false };
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        let is_lock = |file: fs::Metadata| (file.dev(), file.ino()) == (lock.dev(), lock.ino());
        let has_it_open = open.flatten().any(|entry| fs::metadata(entry.path()).is_ok_and(is_lock));
        has_it_open && started_ticks(self.pid) == Some(self.started_ticks)
    }
}

/// Start time of a process (proc(5): the 22nd field of its `stat`; the second one, in parentheses, may hold any characters).
fn started_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Records that this process has the data folder open. Only for the process that holds the lock.
pub(super) fn write(data_dir: &Path) {
    let Some(holder) = Holder::of_this_process() else { return };
    let text = serde_json::to_string(&holder).unwrap_or_default();
    if let Err(error) = durable::replace_file(&data_dir.join(NAME), format!("{text}\n").as_bytes()) {
        tracing::warn!(%error, NAME, "a second gateway on this data folder cannot name this process");
    }
}

/// The error of a start on a data folder whose lock another process holds: the process, and what to do.
pub(super) fn in_use(data_dir: &Path) -> anyhow::Error {
    let holder = read(data_dir).filter(|holder| holder.holds(&lock_of(data_dir)));
    let who = holder.map_or_else(
        || "another process".to_owned(),
        |Holder { pid, command, since, .. }| format!("process {pid} (lakegate {command}), since {since}"),
    );
    anyhow::anyhow!(
        "the data folder {} is in use by {who}. Stop that process, or give this gateway another folder and other ports: \
         --data-dir DIR --listen ADDR --admin ADDR, or LAKEGATE__DATA_DIR, LAKEGATE__HTTP__LISTEN and LAKEGATE__ADMIN__LISTEN",
        data_dir.display()
    )
}

/// The process of the gateway that has the data folder open, if it runs on this machine and this user may see it.
#[must_use]
pub fn gateway_process(data_dir: &Path) -> Option<u32> {
    let holder = read(data_dir)?;
    (holder.command == "serve" && holder.holds(&lock_of(data_dir))).then_some(holder.pid)
}

fn read(data_dir: &Path) -> Option<Holder> {
    serde_json::from_str(&fs::read_to_string(data_dir.join(NAME)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named_while_it_holds_the_lock_and_no_other_process_ever_is() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path();
        fs::create_dir(data_dir.join("spool")).unwrap();
        let nobody = |why: &str| {
            let text = in_use(data_dir).to_string();
            assert!(text.contains("is in use by another process."), "{why}: {text}");
        };
        nobody("no file");
        fs::write(data_dir.join(NAME), "4711\n").unwrap();
        nobody("a file of something else");
        write(data_dir);
        nobody("no lock");
        let lock = fs::File::create(lock_of(data_dir)).unwrap();
        let text = in_use(data_dir).to_string();
        assert!(text.contains(&format!("is in use by process {} (lakegate ", std::process::id())), "{text}");
        assert!(text.contains("LAKEGATE__DATA_DIR"), "{text}");
        assert_eq!(fs::metadata(data_dir.join(NAME)).unwrap().mode() & 0o777, durable::FILE_MODE);
        let later = Holder { started_ticks: 1, ..read(data_dir).unwrap() };
        assert!(!later.holds(&lock_of(data_dir)), "a process that got the id of one that ended");
        drop(lock);
        nobody("it let the lock go");
    }
}
