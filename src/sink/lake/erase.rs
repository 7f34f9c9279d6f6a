//! Erases rows from the lake: from the newest version of its table, from files that older versions need, and from files that the
//! table does not know.
//!
//! Files with selected rows are written anew without them, one commit for each partition, and the old files are deleted at once.
//! So a version that needs one of them can no longer be read. Commits of others may come at any time: the search goes on until a
//! version has no file that was not searched.
//!
//! A file that the table does not know may be one that a writer commits next, so it is left for a while. Then it is written anew
//! in place, without the rows, because it may be the only one that has the others.

mod in_place;
mod search;

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{
    LakeConfig, LakeError,
    adopt::{adopt, is_being_adopted},
    encode::{FileName, REWRITTEN_PREFIX},
    folders,
    lake_identities::Identities,
    pace::{Pace, StopSignal},
    partition::Partition,
    row::LakeRow,
    scratch::Scratch,
    store::{FileEntry, Store},
    table::{Operation, Table, TableError, TableFile},
    upkeep::{Outcome, Rewrite, UpkeepError},
};
use crate::{
    event::unix_millis,
    limits::{ERASURE_TABLE_PAUSE, ERASURE_TABLE_ROUNDS_MAX, ERASURE_TABLE_WAITS_MAX, LAKE_UNKNOWN_FILES_KEPT},
};
use in_place::rewrite_in_place;
use search::{Searched, search};

/// Which rows are erased, and how.
pub struct RowErasure<'a> {
    /// Whether a row is erased.
    pub selects: &'a dyn Fn(&LakeRow<'_>) -> bool,
    /// Whether events of this type may be selected.
    pub admits_type: &'a dyn Fn(&str) -> bool,
    /// Whether only to count.
    pub dry_run: bool,
    /// Whether no other process writes to this lake, so that a file that the table does not know is not about to be committed.
    pub is_quiet: bool,
    /// The folder in which the sink remembers the identities in the names of its files, and the identity of its spool.
    pub memory: (&'a Path, Uuid),
    /// Paths of files that the table did not know before the gateway's own deliveries ended that were under way. What it
    /// delivers later has no selected event, so nobody needs one of its own files in which all rows are selected.
    pub unclaimed: HashSet<String>,
    /// Folder for scratch files.
    pub scratch: PathBuf,
    /// Ends the work.
    pub stop: StopSignal,
}

/// What was searched and erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasedRows {
    /// The version that was searched last; `None` if the lake has no table.
    pub version: Option<u64>,
    /// Files that were searched.
    pub files_searched: u64,
    /// Rows that were searched.
    pub rows_searched: u64,
    /// Rows that were erased, or would be.
    pub erased: u64,
    /// Files that were written anew, or removed from the table.
    pub files_changed: u64,
    /// Deleted files of older versions, and files that the table does not know.
    pub old_files_removed: u64,
    /// Files that could not be read.
    pub unreadable_files: Vec<String>,
    /// Files with selected rows that the table does not know, and that a writer may still commit.
    pub unclaimed: Vec<String>,
    /// Why the search is not complete.
    pub problem: Option<String>,
}

/// Why an erasure ended early. What was erased stays erased.
#[derive(Debug, thiserror::Error)]
pub enum RowErasureError {
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// The lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The upkeep, which writes files anew.
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
    /// A file.
    #[error("{path}: {cause}")]
    File {
        /// The file, below the root.
        path: String,
        /// The reason.
        cause: String,
    },
}

/// Erases rows from the lake of `config`, and reports in `done` while it goes on. Blocks.
///
/// # Errors
/// [`RowErasureError`]
pub fn erase_rows(config: &LakeConfig, erasure: &RowErasure<'_>, done: &mut ErasedRows) -> Result<(), RowErasureError> {
    (done.files_searched, done.rows_searched) = (0, 0);
    done.unreadable_files.clear();
    done.unclaimed.clear();
    done.problem = None;
    let own = Identities::open(Some(erasure.memory.0)).all(erasure.memory.1);
    let store = Arc::new(Store::for_upkeep(config)?);
    let mut work = Work { erasure, store: &store, own, searched: HashSet::new(), is_outdated: false, done };
    work.leftovers()?;
    match Table::open_in(Arc::clone(&store))? {
        Some(table) => work.table(&table),
        None => work.plain(),
    }
}

struct Work<'a> {
    erasure: &'a RowErasure<'a>,
    store: &'a Arc<Store>,
    /// The identities in the names of the gateway's own files.
    own: Vec<Uuid>,
    /// Paths of the files that need not be searched again.
    searched: HashSet<String>,
    /// Whether another writer replaced a live file with selected rows since the last search of the live files began. Then a file
    /// that the table does not know may replace it, also in a quiet lake, where commands may run that compact or expire.
    is_outdated: bool,
    done: &'a mut ErasedRows,
}

/// Files of one partition that the folder has.
type Listed = BTreeMap<Partition, Vec<FileEntry>>;

impl Work<'_> {
    /// A lake without a table.
    fn plain(&mut self) -> Result<(), RowErasureError> {
        for (partition, entries) in self.list()? {
            for entry in entries {
                let path = format!("{partition}/{}", entry.name);
                if self.search(&partition, &path, entry.bytes)?.is_some_and(|found| found.selected > 0) {
                    self.change_in_place(&partition, &path, &entry)?;
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), RowErasureError> {
        if is_being_adopted(table) && !self.erasure.dry_run {
            adopt(table)?;
        }
        let mut waits_left = ERASURE_TABLE_WAITS_MAX;
        for _ in 0..ERASURE_TABLE_ROUNDS_MAX {
            let has_met_new = self.live_files(table)?;
            let unclaimed = self.other_files(table)?;
            if !has_met_new && (unclaimed.is_empty() || waits_left == 0) {
                self.done.unclaimed = unclaimed;
                return Ok(());
            }
            if !has_met_new {
                waits_left -= 1;
                self.erasure.stop.wait(ERASURE_TABLE_PAUSE).map_err(|_| RowErasureError::Stopped)?;
            }
        }
        self.done.problem = Some("new files were committed all the time; repeat the erasure".to_owned());
        Ok(())
    }

    /// Searches the live files of the newest version that were not searched, and erases from them. Returns whether there were
    /// any.
    fn live_files(&mut self, table: &Table) -> Result<bool, RowErasureError> {
        let snapshot = table.refresh()?;
        self.done.version = Some(snapshot.version);
        self.is_outdated = false;
        let mut has_met_new = false;
        for (partition, files) in snapshot.partitions().filter(|(partition, _)| (self.erasure.admits_type)(&partition.event_type))
        {
            let mut selected = Vec::new();
            for file in files.iter().filter(|file| !self.searched.contains(&file.path)).cloned().collect::<Vec<_>>() {
                has_met_new = true;
                match self.search(partition, &file.path, file.bytes)? {
                    Some(found) if found.selected > 0 => selected.push((file, found)),
                    _ => drop(self.searched.insert(file.path.clone())),
                }
            }
            if self.erasure.dry_run {
                self.done.erased += selected.iter().map(|(_, found)| found.selected).sum::<u64>();
                self.searched.extend(selected.iter().map(|(file, _)| file.path.clone()));
            } else if !selected.is_empty() {
                self.rewrite(table, partition, &selected)?;
            }
        }
        Ok(has_met_new)
    }

    /// Writes files of a partition anew, commits, and deletes the old ones. If another writer replaced one of them meanwhile,
    /// nothing is changed, and the next round meets the new files.
    fn rewrite(
        &mut self,
        table: &Table,
        partition: &Partition,
        selected: &[(Arc<TableFile>, Searched)],
    ) -> Result<(), RowErasureError> {
        let files: Vec<Arc<TableFile>> = selected.iter().map(|(file, _)| Arc::clone(file)).collect();
        let (scratch, pace) = (Scratch::new(self.erasure.scratch.clone()), Pace::full(self.erasure.stop.clone()));
        let rewrite = Rewrite {
            table,
            store: self.store,
            scratch: &scratch,
            pace: &pace,
            partition,
            files: &files,
            must_rewrite: &|_| true,
            drop_doubles: false,
            keep: &|row| !(self.erasure.selects)(row),
            operation: Operation::Delete,
            data_change: true,
        };
        let rewritten = match rewrite.run()? {
            Outcome::Done(rewritten) => rewritten,
            Outcome::Outdated => {
                self.is_outdated = true;
                return Ok(());
            }
        };
        for left_out in rewritten.left_out {
            let path = left_out.file;
            self.note_unreadable(&path, &left_out.reason);
            self.searched.insert(path);
        }
        self.done.erased += rewritten.not_kept;
        self.done.files_changed += rewritten.removed.len() as u64;
        self.searched.extend(rewritten.added.into_iter().map(|file| file.path));
        for file in &rewritten.removed {
            self.delete(&file.path)?;
        }
        Ok(())
    }

    /// Searches the files that are not live. Those with selected rows are deleted if the log removed them, or if another file
    /// has their rows. Returns those that a writer may still commit.
    fn other_files(&mut self, table: &Table) -> Result<Vec<String>, RowErasureError> {
        let mut waiting = Vec::new();
        for (partition, entries) in self.list()? {
            for entry in entries {
                let path = format!("{partition}/{}", entry.name);
                if self.searched.contains(&path) || table.known().is_live(&partition, &path) {
                    continue;
                }
                let Some(found) = self.search(&partition, &path, entry.bytes)? else {
                    self.searched.insert(path);
                    continue;
                };
                if found.selected == 0 {
                    self.searched.insert(path);
                    continue;
                }
                // A writer may have committed it meanwhile.
                let snapshot = table.refresh()?;
                if snapshot.is_live(&partition, &path) {
                    waiting.push(path);
                    continue;
                }
                let is_settled = (self.erasure.is_quiet && !self.is_outdated) || is_old(&entry);
                let is_nobodys =
                    found.selected == found.rows && self.is_own(&entry.name) && self.erasure.unclaimed.contains(&path);
                if self.erasure.dry_run {
                    self.done.old_files_removed += 1;
                    self.searched.insert(path);
                } else if snapshot.removed_file(&path).is_some()
                    || is_nobodys
                    || (is_settled && entry.name.starts_with(REWRITTEN_PREFIX))
                {
                    self.delete(&path)?;
                    self.done.old_files_removed += 1;
                } else if is_settled {
                    self.change_in_place(&partition, &path, &entry)?;
                } else {
                    waiting.push(path);
                }
            }
        }
        Ok(waiting)
    }

    /// Takes the selected rows out of a file that is in no table.
    fn change_in_place(&mut self, partition: &Partition, path: &str, entry: &FileEntry) -> Result<(), RowErasureError> {
        let changed = rewrite_in_place(self.store, partition, entry, self.erasure.selects, self.erasure.dry_run);
        let erased = changed.map_err(|cause| RowErasureError::File { path: path.to_owned(), cause })?;
        self.done.erased += erased;
        self.done.files_changed += u64::from(!self.erasure.dry_run);
        self.searched.insert(path.to_owned());
        Ok(())
    }

    /// The rows of a file; `None` if it cannot be read, or is gone.
    fn search(&mut self, partition: &Partition, path: &str, bytes: u64) -> Result<Option<Searched>, RowErasureError> {
        self.erasure.stop.wait(Duration::ZERO).map_err(|_| RowErasureError::Stopped)?;
        match search(self.store, partition, path, bytes, self.erasure.selects) {
            Ok(Some(found)) => {
                self.done.files_searched += 1;
                self.done.rows_searched += found.rows;
                Ok(Some(found))
            }
            Ok(None) => Ok(None),
            Err(reason) => {
                self.note_unreadable(path, &reason);
                Ok(None)
            }
        }
    }

    /// Whether the gateway wrote the file when it delivered.
    fn is_own(&self, name: &str) -> bool {
        FileName::parse(name).is_some_and(|name| self.own.contains(&name.identity))
    }

    fn note_unreadable(&mut self, path: &str, reason: &str) {
        let unreadable = format!("{path} ({reason})");
        if !self.done.unreadable_files.contains(&unreadable) {
            self.done.unreadable_files.push(unreadable);
        }
    }

    /// Deletes files that a crash left unfinished: they cannot be searched, and nobody needs them.
    fn leftovers(&self) -> Result<(), RowErasureError> {
        if self.erasure.dry_run || !self.store.is_local() {
            return Ok(());
        }
        let Ok(listed) = self.store.list("_tmp") else { return Ok(()) };
        let is_leftover = |entry: &&FileEntry| entry.name.ends_with(".tmp") && (self.erasure.is_quiet || is_old(entry));
        for entry in listed.files.iter().filter(is_leftover) {
            self.delete(&format!("_tmp/{}", entry.name))?;
        }
        Ok(())
    }

    fn delete(&self, path: &str) -> Result<(), RowErasureError> {
        self.store.remove(path).map_err(|error| RowErasureError::File { path: path.to_owned(), cause: error.to_string() })
    }

    /// The Parquet files in the folders of the partitions that may have selected rows.
    fn list(&self) -> Result<Listed, RowErasureError> {
        let mut listed = Listed::new();
        for partition in folders::partitions(self.store, self.erasure.admits_type, |_| true)? {
            let mut entries = self.store.list(&partition.to_string())?.files;
            entries.retain(|entry| entry.name.ends_with(".parquet"));
            listed.insert(partition, entries);
        }
        Ok(listed)
    }
}

/// Whether a file is so old that no writer is about to commit it.
fn is_old(entry: &FileEntry) -> bool {
    entry.is_older_than(LAKE_UNKNOWN_FILES_KEPT, unix_millis(SystemTime::now()))
}
