//! Vacuum: removes files that the table does not have any more.
//!
//! A file that the log removed is kept for a grace, because a reader may have begun with an older version. A file that the log
//! does not know is one that a rewriting wrote and never committed, or one of another writer, or a flush that a gateway has yet to
//! commit. The first kind is removed after a day; the others only on request, because their events may be nowhere else:
//! `lakegate lake adopt` takes them into the table. Nothing is removed in the log's folder.

use std::{collections::HashSet, time::SystemTime};

use super::{Upkeep, UpkeepError};
use crate::{
    event::unix_millis,
    limits::LAKE_UNKNOWN_FILES_KEPT,
    sink::lake::{
        encode::{FileName, REWRITTEN_PREFIX},
        pace::Pace,
        partition::{Partition, folder_of_type},
        store::{FileEntry, Folder},
        table::{OWN_FOLDER, RemovedFile, Snapshot, note_vacuumed, vacuumed_until},
    },
};

/// What to remove.
#[derive(Clone, Copy, Debug)]
pub struct VacuumRequest {
    /// Milliseconds since its removal from the table for which a file is kept.
    pub grace_millis: i64,
    /// Whether the folders are listed too, for files that the log does not know.
    pub list_folders: bool,
    /// Whether unknown files of any writer are removed when they are a day old.
    pub unknown: bool,
    /// Only says what would be removed.
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files that the log had removed.
    pub removed_files: u64,
    /// Unfinished and uncommitted files that nobody needs.
    pub leftovers: u64,
    /// Bytes of both, as far as known.
    pub bytes: u64,
    /// Files that the log does not know, and that stay; some of their paths.
    pub unknown_files: u64,
    /// The first of them.
    pub unknown: Vec<String>,
    /// Paths of all files of the first two kinds in a dry run, in order.
    pub paths: Vec<String>,
}

/// Paths that a report names.
const NAMED_MAX: usize = 20;

impl Upkeep {
    /// Removes files.
    ///
    /// # Errors
    /// [`UpkeepError`] if it was stopped, or the store or the log fails. What was removed until then is gone.
    pub fn vacuum(&self, request: VacuumRequest, pace: &Pace) -> Result<Vacuumed, UpkeepError> {
        let snapshot = self.table.refresh()?;
        self.forget_old_files();
        let now_millis = unix_millis(SystemTime::now());
        let mut done = Vacuumed::default();
        let mut existing: HashSet<String> = HashSet::new();
        if request.list_folders {
            for partition in self.folders()? {
                let Some(listed) = self.list(&partition.to_string())? else { continue };
                for entry in listed.files {
                    self.look(&partition, &entry, &snapshot, request, now_millis, &mut existing, &mut done)?;
                }
                pace.step()?;
            }
            self.vacuum_unfinished(request, now_millis, &mut done)?;
        }
        let until_millis = now_millis - request.grace_millis;
        // What was listed exists or not; without a listing, what was removed before is not asked for again.
        let since_millis = if request.list_folders { i64::MIN } else { self.vacuumed_until()? };
        let is_due = |removed: &RemovedFile| {
            let exists = !request.list_folders || existing.contains(&removed.path);
            let at = removed.removed_millis;
            exists && since_millis < at && at <= until_millis && is_below_root(&removed.path)
        };
        let mut due: Vec<_> = snapshot.removed().filter(|removed| is_due(removed)).collect();
        due.sort_by(|a, b| (a.removed_millis, &a.path).cmp(&(b.removed_millis, &b.path)));
        for removed in &due {
            done.removed_files += 1;
            done.bytes += removed.bytes.unwrap_or_default();
            self.remove(&removed.path, request, &mut done)?;
            pace.step()?;
        }
        if !request.dry_run && !due.is_empty() {
            note_vacuumed(&self.store, until_millis).map_err(|error| UpkeepError::files(OWN_FOLDER, error))?;
        }
        Ok(done)
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one walk")]
    fn look(
        &self,
        partition: &Partition,
        entry: &FileEntry,
        snapshot: &Snapshot,
        request: VacuumRequest,
        now_millis: i64,
        existing: &mut HashSet<String>,
        done: &mut Vacuumed,
    ) -> Result<(), UpkeepError> {
        let path = format!("{partition}/{}", entry.name);
        if snapshot.is_live(partition, &path) {
            return Ok(());
        }
        if snapshot.removed_file(&path).is_some() {
            existing.insert(path);
            return Ok(());
        }
        let is_old = entry.is_older_than(LAKE_UNKNOWN_FILES_KEPT, now_millis);
        let is_unfinished = entry.name.starts_with('.') && entry.name.ends_with(".tmp");
        let is_ours = entry.name.starts_with(REWRITTEN_PREFIX) || is_unfinished;
        if is_old && (is_ours || request.unknown) {
            done.leftovers += 1;
            done.bytes += entry.bytes;
            return self.remove(&path, request, done);
        }
        // A flush is committed after its files.
        let is_being_flushed = !is_old && FileName::parse(&entry.name).is_some();
        if !is_ours && !is_being_flushed {
            done.unknown_files += 1;
            if done.unknown.len() < NAMED_MAX {
                done.unknown.push(path);
            }
        }
        Ok(())
    }

    /// Unfinished files of writers that died.
    fn vacuum_unfinished(&self, request: VacuumRequest, now_millis: i64, done: &mut Vacuumed) -> Result<(), UpkeepError> {
        let Some(listed) = self.list("_tmp")? else { return Ok(()) };
        for entry in listed
            .files
            .iter()
            .filter(|entry| entry.name.ends_with(".tmp") && entry.is_older_than(LAKE_UNKNOWN_FILES_KEPT, now_millis))
        {
            done.leftovers += 1;
            done.bytes += entry.bytes;
            self.remove(&format!("_tmp/{}", entry.name), request, done)?;
        }
        Ok(())
    }

    fn vacuumed_until(&self) -> Result<i64, UpkeepError> {
        let until = vacuumed_until(&self.store).map_err(|error| UpkeepError::files(OWN_FOLDER, error))?;
        Ok(until.unwrap_or(i64::MIN))
    }

    fn remove(&self, path: &str, request: VacuumRequest, done: &mut Vacuumed) -> Result<(), UpkeepError> {
        if request.dry_run {
            done.paths.push(path.to_owned());
            return Ok(());
        }
        self.store.remove(path).map_err(|error| UpkeepError::files(path, error))
    }

    /// The partitions that have a folder, whether or not the table has them.
    fn folders(&self) -> Result<Vec<Partition>, UpkeepError> {
        let mut partitions = Vec::new();
        for name in self.list("")?.unwrap_or_default().folders {
            let Some(event_type) = Partition::type_of_folder(&name) else { continue };
            for name in self.list(&folder_of_type(event_type))?.unwrap_or_default().folders {
                let Some(date) = Partition::date_of_folder(&name) else { continue };
                partitions.push(Partition { event_type: event_type.to_owned(), created_date: date.to_owned() });
            }
        }
        Ok(partitions)
    }

    /// `None` if there is no such folder.
    pub(super) fn list(&self, folder: &str) -> Result<Option<Folder>, UpkeepError> {
        match self.store.list(folder) {
            Ok(listed) => Ok(Some(listed)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(UpkeepError::files(folder, error)),
        }
    }
}

/// The log of another tool may name files anywhere.
fn is_below_root(path: &str) -> bool {
    !path.contains("://") && !path.starts_with(['/', '_']) && path.split('/').all(|part| part != ".." && !part.is_empty())
}
