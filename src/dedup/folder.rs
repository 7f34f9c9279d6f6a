//! The window's folder: the names of its files, and the operations that make them durable, in the necessary order.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::errors::OpenError;
use crate::durable;

/// The generations in a run, and the name of its file. A merged run spans the generations of its inputs, so after a crash the
/// name alone tells which files it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generations {
    pub(super) first_inclusive: u64,
    pub(super) last_inclusive: u64,
}

const RUN: &str = "run";
const TEMPORARY: &str = "tmp";
const DAMAGED: &str = "damaged";
const EXPIRED: &str = "expired";

impl Generations {
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.first_inclusive <= other.first_inclusive && other.last_inclusive <= self.last_inclusive
    }

    pub(super) fn span(&self) -> u64 {
        self.last_inclusive - self.first_inclusive
    }

    fn file_name(&self, extension: &str) -> String {
        format!("{self}.{extension}")
    }

    fn parse(file_name: &str, extension: &str) -> Option<Self> {
        let (first, last) = file_name.strip_suffix(extension)?.strip_suffix('.')?.split_once('-')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let generations = Self { first_inclusive: number(first)?, last_inclusive: number(last)? };
        // Only the spelling that Lakegate writes: no upper case, no missing zeros, no first after last.
        let ours = generations.first_inclusive <= generations.last_inclusive && generations.file_name(extension) == file_name;
        ours.then_some(generations)
    }
}

impl fmt::Display for Generations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.first_inclusive, self.last_inclusive)
    }
}

/// The content of the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) runs: Vec<Generations>,
    /// Files that were being written when the process ended.
    pub(super) temporary: Vec<Generations>,
    /// Runs that have left the window and are still kept.
    pub(super) expired: Vec<Generations>,
    /// Damaged runs, kept for a person to inspect.
    pub(super) damaged: Vec<PathBuf>,
    /// The newest generation in any file name, damaged files included, because no number may be used twice.
    pub(super) newest_generation: u64,
}

/// An operation on the disk. It is announced before it is done, so that tests can stop or fail there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
    Remove,
}

/// Called before every step with the file's name. An error replaces the step.
#[cfg(test)]
pub(super) type Hook = Box<dyn Fn(Step, &str) -> io::Result<()> + Send + Sync>;

/// The open folder. It is locked against other processes.
pub(super) struct Folder {
    path: PathBuf,
    /// Replaced when the folder had to be created again.
    handle: Mutex<File>,
    #[cfg(test)]
    hook: Option<Hook>,
}

impl Folder {
    /// Opens the folder for this process alone; creates it if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        // The folder's own name must be as durable as its files.
        durable::make_folder(path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            handle: Mutex::new(lock(path)?),
            #[cfg(test)]
            hook: None,
        })
    }

    #[cfg(test)]
    pub(super) fn with_hook(self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn run_path(&self, run: Generations) -> PathBuf {
        self.path.join(run.file_name(RUN))
    }

    pub(super) fn temporary_path(&self, run: Generations) -> PathBuf {
        self.path.join(run.file_name(TEMPORARY))
    }

    /// Lists the files. Files with other names are ignored.
    pub(super) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let run = Generations::parse(name, RUN);
            let temporary = Generations::parse(name, TEMPORARY);
            let expired = Generations::parse(name, EXPIRED);
            let damaged = Generations::parse(name, DAMAGED);
            let seen = run.or(temporary).or(expired).or(damaged);
            listing.newest_generation = listing.newest_generation.max(seen.map_or(0, |seen| seen.last_inclusive));
            listing.runs.extend(run);
            listing.temporary.extend(temporary);
            listing.expired.extend(expired);
            listing.damaged.extend(damaged.map(|_| self.path.join(name)));
        }
        Ok(listing)
    }

    /// Creates a run's file under its temporary name.
    pub(super) fn create(&self, run: Generations) -> io::Result<File> {
        self.announce(Step::Create, &run.file_name(TEMPORARY))?;
        // Readable too, because the finished file is read through this handle.
        durable::create(&self.temporary_path(run))
    }

    pub(super) fn write(&self, run: Generations, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.announce(Step::Write, &run.file_name(TEMPORARY))?;
        file.write_all(bytes)
    }

    pub(super) fn sync(&self, run: Generations, file: &File) -> io::Result<()> {
        self.announce(Step::SyncFile, &run.file_name(TEMPORARY))?;
        file.sync_all()
    }

    /// Gives a finished and synced file its final name, and makes the name durable.
    pub(super) fn install(&self, run: Generations) -> io::Result<()> {
        self.announce(Step::Rename, &run.file_name(RUN))?;
        std::fs::rename(self.temporary_path(run), self.run_path(run))?;
        self.sync_folder()
    }

    /// Removes a run. Not synced: if the file comes back after a crash, it is removed again, for the same reason.
    pub(super) fn remove(&self, run: Generations) -> io::Result<()> {
        self.announce(Step::Remove, &run.file_name(RUN))?;
        std::fs::remove_file(self.run_path(run))
    }

    /// Takes a run out of the window, and keeps its file. Not synced: a run that comes back after a crash leaves the window
    /// again.
    pub(super) fn expire(&self, run: Generations) -> io::Result<()> {
        self.announce(Step::Rename, &run.file_name(EXPIRED))?;
        std::fs::rename(self.run_path(run), self.expired_path(run))
    }

    /// Puts an expired run back among the others.
    pub(super) fn take_back(&self, run: Generations) -> io::Result<()> {
        self.announce(Step::Rename, &run.file_name(RUN))?;
        std::fs::rename(self.expired_path(run), self.run_path(run))
    }

    pub(super) fn remove_expired(&self, run: Generations) -> io::Result<()> {
        self.announce(Step::Remove, &run.file_name(EXPIRED))?;
        std::fs::remove_file(self.expired_path(run))
    }

    pub(super) fn expired_path(&self, run: Generations) -> PathBuf {
        self.path.join(run.file_name(EXPIRED))
    }

    pub(super) fn remove_temporary(&self, run: Generations) -> io::Result<()> {
        self.announce(Step::Remove, &run.file_name(TEMPORARY))?;
        std::fs::remove_file(self.temporary_path(run))
    }

    /// Keeps a damaged run for a person, under a name that is not read again.
    pub(super) fn set_aside(&self, run: Generations) -> io::Result<PathBuf> {
        let aside = self.path.join(run.file_name(DAMAGED));
        self.announce(Step::Rename, &run.file_name(DAMAGED))?;
        std::fs::rename(self.run_path(run), &aside)?;
        Ok(aside)
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        self.announce(Step::SyncFolder, "")?;
        self.handle().sync_all()
    }

    /// Whether the open folder still has its name.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        let ours = self.handle().metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the folder that has the name now; creates it if it is missing. Its parent must exist: if all of the data is gone,
    /// nothing is created.
    pub(super) fn reopen(&self) -> Result<(), OpenError> {
        let failed = |source| OpenError::Folder { path: self.path.clone(), source };
        durable::make_subfolder(&self.path).map_err(failed)?;
        let handle = lock(&self.path)?;
        *self.handle() = handle;
        Ok(())
    }

    fn handle(&self) -> MutexGuard<'_, File> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn announce(&self, step: Step, name: &str) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(step, name))
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' variant uses both")]
    fn announce(&self, _: Step, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a folder and locks it against other processes.
fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder { path: path.to_owned(), source };
    let handle = File::open(path).map_err(failed)?;
    handle.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => OpenError::InUse { path: path.to_owned() },
        std::fs::TryLockError::Error(source) => failed(source),
    })?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_read() {
        let run = Generations { first_inclusive: 3, last_inclusive: 26 };
        assert_eq!(run.file_name(RUN), "0000000000000003-000000000000001a.run");
        assert_eq!(Generations::parse(&run.file_name(RUN), RUN), Some(run));
        for odd in [
            "0000000000000003-000000000000001A.run",
            "3-1a.run",
            "000000000000001a-0000000000000003.run",
            "0000000000000003-000000000000001a.run.bak",
            "0000000000000003-000000000000001a.tmp",
            "+000000000000003-000000000000001a.run",
            "notes.run",
        ] {
            assert_eq!(Generations::parse(odd, RUN), None, "{odd}");
        }
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::open(folder.path()).unwrap();
        assert!(matches!(Folder::open(folder.path()), Err(OpenError::InUse { .. })));
        drop(held);
        assert!(Folder::open(folder.path()).is_ok());
    }
}
