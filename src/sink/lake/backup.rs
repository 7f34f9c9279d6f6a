//! Copies one version of the lake, while gateways write to it.
//!
//! A plain copy of the folder is no version: it may have a commit without its files, or lack a commit between two. This copies
//! the files of one version first, then a checkpoint of that version as the whole log of the copy. Until the checkpoint is
//! there, the copy is the version of the run before. Files that are there already are not copied again, and files that the
//! version does not have are removed, so that what was erased in the lake is erased in the copy.
//!
//! The copy is itself a lake. To restore it, copy it back with any tool, or with this.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    LakeConfig, LakeError,
    folders::{in_parallel, stored_files},
    store::{Created, Store},
    table::{LOG_FOLDER, LogName, Snapshot, Table, TableError, TableFile, note_removals, write_checkpoint},
};
use crate::limits::{LAKE_BACKUP_LARGE_BYTES, LAKE_BACKUP_ROUNDS_MAX};

/// Names the lake that a copy is of. In the log's folder, where readers ignore other names.
const MARKER: &str = "_lakegate_backup.json";

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// The version that the copy is of.
    pub version: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were copied now.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files of earlier versions that were removed from the copy.
    pub removed_files: u64,
}

/// Why there is no new backup. The one before is as it was, until `Cleanup`.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The lake has no log.
    #[error("{0} has no table's log (`_delta_log`); `lakegate lake adopt` gives it one")]
    NoTable(String),
    /// The target is in use for something else.
    #[error("{root} is not empty, and no backup of this lake: {reason}")]
    Target {
        /// The target.
        root: String,
        /// Why it is not used.
        reason: String,
    },
    /// The lake lacks a file that its log has.
    #[error("{0}: the lake's log has this file, the lake does not; `lakegate lake check` tells more")]
    Missing(String),
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file, below the root.
        path: String,
        /// The reason.
        cause: String,
    },
    /// Files were replaced faster than they were copied.
    #[error("the lake's files were replaced {0} times while they were copied")]
    Restless(u32),
    /// The backup is complete; old files are still in it.
    #[error("the backup is complete, but old files are still in it: {0}")]
    Cleanup(String),
    /// The log of the lake, or of the target.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The lake, or the target, cannot be opened or listed.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

/// What the marker says.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Marker {
    format: u32,
    /// The table's own identity.
    table_id: String,
    /// The versions that the target's log may have: another version means that somebody writes there.
    versions: Vec<u64>,
}

/// Brings the copy at `to` to the newest version of the lake at `from`.
///
/// # Errors
/// [`BackupError`]
pub fn back_up(from: &LakeConfig, to: &LakeConfig) -> Result<BackedUp, BackupError> {
    let source = Arc::new(Store::for_upkeep(from)?);
    let table = Table::open_in(Arc::clone(&source))?.ok_or_else(|| BackupError::NoTable(from.root.clone()))?;
    let target = Arc::new(open_target(to)?);
    let mut snapshot = table.known();
    let before = check_target(&target, &to.root, &snapshot)?;
    if before.is_none() {
        mark(&target, &snapshot, Vec::new())?;
    }
    let copied = Mutex::new((0, 0));
    for round in 1.. {
        match copy_files(&source, &target, &snapshot, &copied) {
            Ok(()) => break,
            // The file was replaced, and the vacuum removed it: the newest version does not have it.
            Err(BackupError::Missing(path)) => {
                let newer = table.refresh()?;
                if newer.files().any(|file| file.path == path) {
                    return Err(BackupError::Missing(path));
                }
                snapshot = newer;
            }
            Err(error) => return Err(error),
        }
        if round >= LAKE_BACKUP_ROUNDS_MAX {
            return Err(BackupError::Restless(round));
        }
    }
    mark(&target, &snapshot, before.into_iter().chain([snapshot.version]).collect())?;
    write_log(&source, &target, &snapshot)?;
    // The copy has no older commits.
    note_removals(&source, &target, &snapshot)?;
    let removed_files = clean_up(&target, &snapshot).map_err(|error| BackupError::Cleanup(error.to_string()))?;
    let (copied_files, copied_bytes) = *copied.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(BackedUp {
        version: snapshot.version,
        files: snapshot.files_count() as u64,
        bytes: snapshot.files().map(|file| file.bytes).sum(),
        copied_files,
        copied_bytes,
        removed_files,
    })
}

/// Opens the target, and creates its folder if it is missing.
fn open_target(to: &LakeConfig) -> Result<Store, LakeError> {
    match Store::for_upkeep(to) {
        Err(LakeError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Store::for_writing(to),
        opened => opened,
    }
}

/// The version of the copy at the target; `None` if there is no complete one yet.
fn check_target(target: &Arc<Store>, root: &str, snapshot: &Snapshot) -> Result<Option<u64>, BackupError> {
    let other = |reason: String| BackupError::Target { root: root.to_owned(), reason };
    let marker = match target.read(&marker_path()) {
        Ok(bytes) => serde_json::from_slice::<Marker>(&bytes).map_err(|error| other(format!("{MARKER}: {error}")))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let listed = target.list("")?;
            let names = listed.folders.iter().chain(listed.files.iter().map(|file| &file.name));
            return match names.filter(|name| *name != "_tmp").count() {
                0 => Ok(None),
                _ => Err(other(format!("it has no {MARKER}"))),
            };
        }
        Err(error) => return Err(BackupError::File { path: marker_path(), cause: error.to_string() }),
    };
    if marker.table_id != snapshot.id() {
        return Err(other("it is of another table".to_owned()));
    }
    let Some(table) = Table::open_in(Arc::clone(target))? else { return Ok(None) };
    let version = table.known().version;
    match marker.versions.contains(&version) {
        true => Ok(Some(version)),
        false => Err(other(format!("something committed version {version} there"))),
    }
}

fn marker_path() -> String {
    format!("{LOG_FOLDER}/{MARKER}")
}

fn mark(target: &Store, snapshot: &Snapshot, versions: Vec<u64>) -> Result<(), BackupError> {
    let marker = Marker { format: 1, table_id: snapshot.id().to_owned(), versions };
    let text =
        serde_json::to_vec(&marker).map_err(|error| BackupError::File { path: marker_path(), cause: error.to_string() })?;
    target.replace(LOG_FOLDER, MARKER, text.into()).map_err(|cause| BackupError::File { path: marker_path(), cause })
}

/// Copies the files that the target lacks: small ones several at a time, large ones one after the other.
fn copy_files(source: &Store, target: &Store, snapshot: &Snapshot, copied: &Mutex<(u64, u64)>) -> Result<(), BackupError> {
    let (small, large): (Vec<_>, Vec<_>) = snapshot.files().partition(|file| file.bytes < LAKE_BACKUP_LARGE_BYTES);
    let copy = |file: &&Arc<TableFile>| -> Result<(), BackupError> {
        if copy_file(source, target, file)? {
            let mut copied = copied.lock().unwrap_or_else(PoisonError::into_inner);
            *copied = (copied.0 + 1, copied.1 + file.bytes);
        }
        Ok(())
    };
    in_parallel(source.readers(), &small, copy).into_iter().collect::<Result<(), _>>()?;
    large.iter().try_for_each(copy)
}

/// Returns whether the target lacked the file.
fn copy_file(source: &Store, target: &Store, file: &TableFile) -> Result<bool, BackupError> {
    let path = &file.path;
    let failed = |cause: String| BackupError::File { path: path.clone(), cause };
    let there = target.size(path).map_err(|error| failed(error.to_string()))?;
    if there == Some(file.bytes) {
        return Ok(false);
    }
    let bytes: Bytes = match source.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BackupError::Missing(path.clone())),
        Err(error) => return Err(failed(error.to_string())),
    };
    if bytes.len() as u64 != file.bytes {
        return Err(failed(format!("{} bytes; the log says {}", bytes.len(), file.bytes)));
    }
    if there.is_some() {
        target.remove(path).map_err(|error| failed(error.to_string()))?;
    }
    let (folder, name) = path.rsplit_once('/').ok_or_else(|| failed("is in no partition".to_owned()))?;
    match target.create_exclusively(folder, name, bytes).map_err(failed)? {
        Created::New => Ok(true),
        Created::Taken => Err(failed("another backup writes there".to_owned())),
    }
}

/// Makes the version the newest one of the target. With the checkpoint, readers see it as a whole.
fn write_log(source: &Store, target: &Store, snapshot: &Snapshot) -> Result<(), BackupError> {
    write_checkpoint(target, snapshot)?;
    // The commit tells when the version was made.
    let name = format!("{:020}.json", snapshot.version);
    let path = format!("{LOG_FOLDER}/{name}");
    match source.read(&path) {
        Ok(commit) => {
            target.create_exclusively(LOG_FOLDER, &name, commit).map(drop).map_err(|cause| BackupError::File { path, cause })
        }
        // The log was cleaned up.
        Err(_) => Ok(()),
    }
}

/// Removes what the version does not have: the log first, because it names the files.
fn clean_up(target: &Arc<Store>, snapshot: &Snapshot) -> Result<u64, BackupError> {
    let failed = |path: &str, error: io::Error| BackupError::File { path: path.to_owned(), cause: error.to_string() };
    for file in target.list(LOG_FOLDER)?.files {
        if LogName::parse(&file.name).is_some_and(|name| name.version() != snapshot.version) {
            let path = format!("{LOG_FOLDER}/{}", file.name);
            target.remove(&path).map_err(|error| failed(&path, error))?;
        }
    }
    // By path alone: a file may lie in another folder than that of its partition.
    let live: HashSet<&str> = snapshot.files().map(|file| file.path.as_str()).collect();
    let mut removed = 0;
    for (partition, entry) in stored_files(target)? {
        let path = format!("{partition}/{}", entry.name);
        if !live.contains(path.as_str()) {
            target.remove(&path).map_err(|error| failed(&path, error))?;
            removed += 1;
        }
    }
    mark(target, snapshot, vec![snapshot.version])?;
    Ok(removed)
}
