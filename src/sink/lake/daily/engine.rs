//! DuckDB: a program beside this one, which is started for each run.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use uuid::Uuid;

use crate::limits::LAKE_DAILY_MESSAGE_CHARS;

const SCRIPT: &str = "script.sql";
const LOCK: &str = "lock";
const RUN_PREFIX: &str = "daily-";

/// The program of DuckDB.
#[derive(Clone, Debug)]
pub struct DuckDb {
    /// Its path, or its name in `PATH`.
    pub program: PathBuf,
}

impl DuckDb {
    /// Runs a script. An error says what DuckDB says.
    pub(super) fn run(&self, script: &str, folder: &Path) -> Result<(), String> {
        let path = folder.join(SCRIPT);
        let opened = fs::write(&path, script).and_then(|()| File::open(&path));
        let input = opened.map_err(|error| format!("{}: {error}", path.display()))?;
        let mut command = Command::new(self.path());
        // Neither what a user configured for himself nor what he keeps at home.
        command.args(["-init", "/dev/null", "-batch", "-bail", ":memory:"]).env("HOME", folder).current_dir(folder);
        command.stdin(Stdio::from(input)).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().map_err(|error| self.not_started(&error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().take(LAKE_DAILY_MESSAGE_CHARS).collect();
        Err(if said.is_empty() { format!("DuckDB ended with {}", output.status) } else { format!("DuckDB says: {said}") })
    }

    /// The program, whatever folder it is started in.
    fn path(&self) -> PathBuf {
        let is_name = self.program.components().count() == 1;
        if is_name { self.program.clone() } else { std::path::absolute(&self.program).unwrap_or_else(|_| self.program.clone()) }
    }

    fn not_started(&self, error: &io::Error) -> String {
        let program = self.program.display();
        match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no program `{program}`: install DuckDB (pip install duckdb-cli), or name it with --duckdb")
            }
            _ => format!("{program}: {error}"),
        }
    }
}

/// A folder for one run. Dropped, it is removed; if the program is killed, the next run removes it.
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
    /// Locked while the program lives.
    _lock: File,
}

impl RunFolder {
    /// A new folder in `scratch`, for this user only.
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        fs::create_dir_all(scratch)?;
        // DuckDB has another working directory.
        let scratch = scratch.canonicalize()?;
        remove_abandoned(&scratch)?;
        let id = Uuid::new_v4();
        // It gets its name when it is locked, so that nobody takes it for abandoned.
        let (unnamed, path) = (scratch.join(format!(".{RUN_PREFIX}{id}")), scratch.join(format!("{RUN_PREFIX}{id}")));
        DirBuilder::new().mode(0o700).create(&unnamed)?;
        let lock = File::create_new(unnamed.join(LOCK))?;
        lock.lock()?;
        fs::rename(&unnamed, &path)?;
        Ok(Self { path, _lock: lock })
    }
}

/// Removes the folders of programs that were killed: copies of events may be in them.
fn remove_abandoned(scratch: &Path) -> io::Result<()> {
    for entry in fs::read_dir(scratch)? {
        let entry = entry?;
        let is_run = entry.file_name().to_str().is_some_and(|name| name.starts_with(RUN_PREFIX));
        // Without its lock somebody removes it right now.
        if is_run && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            remove(&entry.path());
        }
    }
    Ok(())
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::debug!(path = %folder.display(), %error, "a scratch folder stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_program_that_was_killed_is_removed_and_that_of_a_living_one_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let living = RunFolder::new(scratch.path()).unwrap();
        let abandoned = scratch.path().join("daily-abandoned");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        fs::write(abandoned.join("events.parquet"), "").unwrap();
        let next = RunFolder::new(scratch.path()).unwrap();
        assert!(living.path.exists() && next.path.exists() && !abandoned.exists());
        drop((living, next));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
