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
        let mut command = Command::new(&self.program);
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

/// A folder for one run. Dropped, it is removed.
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
}

impl RunFolder {
    /// A new folder in `scratch`, for this user only.
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        fs::create_dir_all(scratch)?;
        // DuckDB has another working directory.
        let path = scratch.canonicalize()?.join(format!("daily-{}", Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a scratch folder stays");
        }
    }
}
