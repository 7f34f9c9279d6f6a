//! Takes over a lake without a log: its files join the table where they lie.
//!
//! A table that is created over existing files has the setting `lakegate.adopting` until all of them are in the log, so that an
//! adoption that a crash interrupted goes on. Each commit adds at most [`LAKE_ADOPTED_FILES_PER_COMMIT`] files. A file that the
//! log knows is left alone, and so is one that it knew: an adoption may be repeated, and takes what another tool (Firehose)
//! wrote meanwhile.
//!
//! Files in the folders `created_date=late` of old gateways are written anew, because every value of that column is a date now.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    LakeConfig, LeftOut,
    encode::{FileName, REWRITTEN_PREFIX},
    folders,
    late_files::split_by_receipt,
    partition::{LATE, Partition},
    read::footer_statistics,
    store::{Created, FileEntry, Store},
    table::{ADOPTING, Change, OWN_FOLDER, Operation, RemovedFile, Snapshot, SpoolRange, Table, TableError, TableFile},
};
use crate::{
    event::unix_millis,
    limits::{LAKE_ADOPTED_FILES_PER_COMMIT, LAKE_UNCOMMITTED_MAX},
};

/// An object that only shows whether the store has conditional puts.
const PROBE: &str = "conditional-put-probe";

/// The result of an adoption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Files that joined the table.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Files that are no files of this lake, or cannot be read.
    pub left_out: Vec<LeftOut>,
}

/// Makes a table of the lake at `config`, or brings an existing one up to date with files of other writers.
///
/// # Errors
/// As [`adopt`]; also if the lake does not exist.
pub fn adopt_lake(config: &LakeConfig) -> Result<Adopted, TableError> {
    adopt(&open_for_adoption(Arc::new(Store::for_upkeep(config)?))?)
}

/// Opens the table; creates it if the lake has no log. A lake that has files then waits for [`adopt`].
pub(super) fn open_for_adoption(store: Arc<Store>) -> Result<Table, TableError> {
    check_conditional_puts(&store)?;
    // A root that was removed while the gateway runs is made anew.
    let folders = match store.list("") {
        Ok(listed) => listed.folders,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let has_files = folders.iter().any(|name| Partition::type_of_folder(name).is_some());
    let settings: &[(&str, &str)] = if has_files { &[(ADOPTING, "true")] } else { &[] };
    Table::open_or_create(store, settings)
}

/// Refuses a store in S3 that would let two gateways write the same version of the table.
fn check_conditional_puts(store: &Store) -> Result<(), TableError> {
    if store.is_local() {
        return Ok(());
    }
    let refused = |reason: String| {
        let advice = "without conditional puts a lake in S3 can have no table: set lake.table = \"none\"";
        TableError::Unsupported(format!("{reason}; {advice}"))
    };
    let probe = || store.create_exclusively(OWN_FOLDER, PROBE, Bytes::from_static(b"Two writers must not both create this.\n"));
    match probe().and_then(|_| probe()) {
        Ok(Created::Taken) => Ok(()),
        Ok(Created::New) => Err(refused("the store wrote an object twice that was to be created once".to_owned())),
        Err(reason) if reason.contains("NotImplemented") => Err(refused(reason)),
        Err(reason) => Err(TableError::store(PROBE, reason)),
    }
}

/// Whether files of an older lake wait for [`adopt`].
pub(super) fn is_being_adopted(table: &Table) -> bool {
    table.known().setting(ADOPTING).is_some()
}

/// Adds every file in the lake's folders that the table does not have and never had.
///
/// # Errors
/// [`TableError`] if a folder cannot be listed, or a commit fails. What was committed stays; a repetition goes on from there.
pub fn adopt(table: &Table) -> Result<Adopted, TableError> {
    let store = table.store();
    let mut adopted = Adopted::default();
    let mut change = Change::new(Operation::Adopt, true);
    let snapshot = table.refresh()?;
    // While no gateway commits to the lake yet, every file is one of before.
    let is_first = is_being_adopted(table);
    let now_millis = unix_millis(SystemTime::now());
    for partition in folders::partitions(store, |_| true, |_| true)? {
        for entry in store.list(&partition.to_string())?.files {
            let path = format!("{partition}/{}", entry.name);
            if !is_adoptable(&entry, &partition, &path, &snapshot) {
                continue;
            }
            if !is_first && may_be_committed(&entry, now_millis) {
                let reason = "a gateway may be about to commit it; repeat this in an hour".to_owned();
                adopted.left_out.push(LeftOut { file: path, reason });
                continue;
            }
            let files = match partition.created_date == LATE {
                true => split_late(store, &partition, &path, &entry, &mut change),
                false => table_file(store, &partition, &path, &entry).map(|file| vec![file]),
            };
            match files {
                Ok(files) => {
                    adopted.files += files.len() as u64;
                    adopted.rows += files.iter().filter_map(|file| file.statistics.rows).sum::<u64>();
                    adopted.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
                    change.add.extend(files);
                }
                Err(reason) => adopted.left_out.push(LeftOut { file: path, reason }),
            }
            if change.add.len() >= LAKE_ADOPTED_FILES_PER_COMMIT {
                table.commit(&change)?;
                change.add.clear();
                change.set_aside.clear();
            }
        }
    }
    change.settings = BTreeMap::from([(ADOPTING.to_owned(), None)]);
    table.commit(&change)?;
    Ok(adopted)
}

/// Whether a file may join: visible, named as a Parquet file, and not known to the log in any way.
fn is_adoptable(entry: &FileEntry, partition: &Partition, path: &str, snapshot: &Snapshot) -> bool {
    let is_candidate =
        entry.name.ends_with(".parquet") && !entry.name.starts_with(['.', '_']) && !entry.name.starts_with(REWRITTEN_PREFIX);
    is_candidate
        && !snapshot.is_live(partition, path)
        && snapshot.removed_file(path).is_none()
        && !was_rewritten(&entry.name, partition, snapshot)
}

/// Whether a gateway may be about to commit the file. If it were adopted, compacted and then committed, its events would be there
/// twice.
fn may_be_committed(entry: &FileEntry, now_millis: i64) -> bool {
    FileName::parse(&entry.name).is_some() && !entry.is_older_than(LAKE_UNCOMMITTED_MAX, now_millis)
}

/// Whether a file's range lies in a file that was made of it, although the log has forgotten the file itself.
fn was_rewritten(name: &str, partition: &Partition, snapshot: &Snapshot) -> bool {
    let Some(made) = FileName::parse(name).map(|name| name.range()) else { return false };
    let holds = |range: &SpoolRange| {
        range.identity == made.identity
            && range.first_inclusive <= made.first_inclusive
            && made.end_exclusive <= range.end_exclusive
    };
    snapshot.files_of(partition).iter().any(|file| file.ranges.iter().any(holds))
}

fn table_file(store: &Store, partition: &Partition, path: &str, entry: &FileEntry) -> Result<TableFile, String> {
    let source = store.open(path, entry.bytes).map_err(|error| error.to_string())?;
    Ok(TableFile {
        partition: partition.clone(),
        path: path.to_owned(),
        bytes: entry.bytes,
        modified_millis: entry.modified_millis,
        statistics: footer_statistics(source)?,
        ranges: Vec::new(),
    })
}

/// The rows of a file in an old folder `created_date=late`, in files of the days on which they were received. The log remembers
/// the old file as removed: a repetition leaves it alone, and the vacuum removes it.
fn split_late(
    store: &Store,
    partition: &Partition,
    path: &str,
    entry: &FileEntry,
    change: &mut Change,
) -> Result<Vec<TableFile>, String> {
    let files = split_by_receipt(store, &partition.event_type, path, entry)?;
    change.set_aside.push(RemovedFile {
        path: path.to_owned(),
        removed_millis: 0,
        partition: Some(partition.clone()),
        bytes: Some(entry.bytes),
        data_change: false,
    });
    Ok(files)
}
