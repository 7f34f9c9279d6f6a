//! Makes the typed tables follow an erasure from the raw table, and deletes their old files at once.
//!
//! Files that a builder wrote and never committed may hold erased rows, too. They are found first; then their partitions are
//! rebuilt, so that a slow builder that wrote one of them, and still lives, is refused; then they are deleted.

use std::path::PathBuf;

use super::build::{BuildRequest, Forced, TypedLake};
use crate::{
    limits::LAKE_FILES_MAX,
    sink::lake::{
        LakeConfig, Pace, StopSignal,
        encode::REWRITTEN_PREFIX,
        folders,
        partition::Partition,
        table::{Snapshot, TableError},
        upkeep::{UpkeepError, VacuumRequest},
    },
};

/// What is to follow.
pub struct TypedErasure<'a> {
    /// Whether events of this type may be erased.
    pub admits_type: &'a dyn Fn(&str) -> bool,
    /// Folder for scratch files.
    pub scratch: PathBuf,
    /// Ends the work.
    pub stop: StopSignal,
}

/// What followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypedErased {
    /// Tables that were looked at.
    pub tables: u64,
    /// Rows that left them.
    pub rows: u64,
    /// Files that were deleted.
    pub files_removed: u64,
    /// Whether this program may not look which tables there are.
    pub is_forbidden: bool,
    /// Why not all is erased.
    pub problems: Vec<String>,
}

/// Brings the typed tables at `typed` to the state of the lake at `lake`, from which rows were erased. Blocks.
///
/// # Errors
/// [`UpkeepError`] if it was stopped, or a store or a log fails. The same call again goes on.
pub fn erase_typed(lake: &LakeConfig, typed: &LakeConfig, erasure: &TypedErasure<'_>) -> Result<TypedErased, UpkeepError> {
    let Some(mut typed) = TypedLake::open(lake, typed, erasure.scratch.clone())? else { return Ok(TypedErased::default()) };
    if !typed.tables.may_list() {
        return Ok(TypedErased { is_forbidden: true, ..TypedErased::default() });
    }
    typed.tables.sync(&[])?;
    let admits = |name: &str| (erasure.admits_type)(name.split(':').next().unwrap_or_default());
    let request = BuildRequest { definitions: &[], admits: &admits, rebuild: false, files_max: LAKE_FILES_MAX };
    let pace = Pace::full(erasure.stop.clone());
    let mut found = Vec::new();
    let mut forced = Forced::new();
    for table in typed.selected(&request) {
        let snapshot = table.upkeep.table.known();
        for (partition, path) in unknown_files(&typed, table.event_name(), &snapshot)? {
            forced.entry(table.event_name().to_owned()).or_default().insert(partition.clone());
            found.push((table.event_name().to_owned(), partition, path));
        }
    }
    let report = typed.pass_with(&request, &forced, &pace)?;
    let mut done = TypedErased::default();
    done.problems.extend(report.failed.iter().map(|failed| format!("{}: {}", failed.file, failed.reason)));
    if report.overtaken > 0 {
        done.problems.push("another builder was faster each time".to_owned());
    }
    done.rows = report.tables.iter().map(|table| table.rows_removed).sum();
    if !done.problems.is_empty() {
        return Ok(done);
    }
    // Nobody knows what a damaged one has.
    done.problems.extend(report.damaged.iter().map(|table| format!("{}: {}", table.file, table.reason)));
    for table in typed.selected(&request) {
        done.tables += 1;
        let upkeep = &table.upkeep;
        let snapshot = upkeep.table.refresh()?;
        for (_, partition, path) in found.iter().filter(|(name, ..)| name == table.event_name()) {
            if !snapshot.is_live(partition, path) && snapshot.removed_file(path).is_none() {
                upkeep.store.remove(path).map_err(|error| UpkeepError::files(path, error))?;
                done.files_removed += 1;
            }
        }
        done.files_removed += remove_unfinished(&typed, table.event_name())?;
        let vacuum = VacuumRequest { grace_millis: 0, list_folders: false, unknown: false, dry_run: false };
        done.files_removed += upkeep.vacuum(vacuum, &pace)?.removed_files;
    }
    Ok(done)
}

/// Files of builders that the log of a table does not know.
fn unknown_files(typed: &TypedLake, event_name: &str, snapshot: &Snapshot) -> Result<Vec<(Partition, String)>, UpkeepError> {
    let Some(table) = typed.tables.tables.get(event_name) else { return Ok(Vec::new()) };
    let store = &table.upkeep.store;
    let mut unknown = Vec::new();
    for partition in folders::partitions(store, |_| true, |_| true).map_err(TableError::from)? {
        for entry in store.list(&partition.to_string()).map_err(TableError::from)?.files {
            let path = format!("{partition}/{}", entry.name);
            let is_known = snapshot.is_live(&partition, &path) || snapshot.removed_file(&path).is_some();
            if entry.name.starts_with(REWRITTEN_PREFIX) && !is_known {
                unknown.push((partition.clone(), path));
            }
        }
    }
    Ok(unknown)
}

/// Removes files that nobody finished. A builder that is at one of them begins again.
fn remove_unfinished(typed: &TypedLake, event_name: &str) -> Result<u64, UpkeepError> {
    let Some(table) = typed.tables.tables.get(event_name) else { return Ok(0) };
    let store = &table.upkeep.store;
    let Some(folder) = store.is_local().then(|| store.list("_tmp").ok()).flatten() else { return Ok(0) };
    let mut removed = 0;
    for entry in folder.files.iter().filter(|entry| entry.name.ends_with(".tmp")) {
        let path = format!("_tmp/{}", entry.name);
        store.remove(&path).map_err(|error| UpkeepError::files(&path, error))?;
        removed += 1;
    }
    Ok(removed)
}
