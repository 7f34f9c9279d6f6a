//! Commits what was built of a partition of a typed table.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{definition::GENERATION, tables::TypedTable, writer::TypedFiles};
use crate::{
    event::unix_millis,
    limits::LAKE_UNCOMMITTED_MAX,
    sink::lake::{
        merge::{MergeError, publish},
        partition::Partition,
        table::{Change, FileStatistics, Operation, Snapshot, TableError, TableFile, Transaction, TransactionState},
        upkeep::UpkeepError,
    },
};

/// A partition of a typed table, as it was when its work was planned.
pub(super) struct Place<'a> {
    pub(super) table: &'a TypedTable,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) partition: &'a Partition,
    pub(super) app_id: String,
    /// Up to where the partition was built.
    pub(super) expected: Option<TransactionState>,
}

/// Gives the files their names and commits them, in place of `removed`. Returns whether it did: another builder may have been
/// faster, and then nothing has changed.
pub(super) fn commit(
    place: &Place<'_>,
    files: TypedFiles,
    removed: &[Arc<TableFile>],
    operation: Operation,
    raw_version: u64,
) -> Result<bool, UpkeepError> {
    let (upkeep, partition) = (&place.table.upkeep, place.partition);
    let (began, rows) = (SystemTime::now(), files.rows);
    let published = match publish(files.written, partition, &upkeep.store) {
        Ok(published) => published,
        // An erasure removes unfinished files.
        Err(MergeError::Io(error)) if error.kind() == io::ErrorKind::NotFound && upkeep.store.is_local() => return Ok(false),
        Err(error) => return Err(UpkeepError::files(partition, error)),
    };
    let added: Vec<TableFile> = published
        .into_iter()
        .map(|file| TableFile {
            partition: partition.clone(),
            path: format!("{partition}/{}", file.name),
            bytes: file.bytes,
            modified_millis: unix_millis(SystemTime::now()),
            statistics: FileStatistics::of_footer(&file.footer),
            ranges: Vec::new(),
        })
        .collect();
    // After a longer time a vacuum may take them for leftovers.
    if began.elapsed().unwrap_or(Duration::MAX) > LAKE_UNCOMMITTED_MAX {
        remove(place, &added);
        return Ok(false);
    }
    let numbers = [("rows", rows), ("rawVersion", raw_version)];
    let change = Change {
        add: added.clone(),
        remove: removed.to_vec(),
        parameters: numbers.map(|(name, number)| (name.to_owned(), number.to_string())).into(),
        required_settings: BTreeMap::from([(GENERATION.to_owned(), place.snapshot.setting(GENERATION).map(str::to_owned))]),
        transaction: Some(Transaction {
            app_id: place.app_id.clone(),
            version: i64::try_from(raw_version).unwrap_or(i64::MAX),
            expected: place.expected,
        }),
        ..Change::new(operation, true)
    };
    match upkeep.table.commit(&change) {
        Ok(_) => Ok(true),
        Err(TableError::Overtaken(_) | TableError::FilesGone(_)) => {
            remove(place, &added);
            Ok(false)
        }
        Err(error) => {
            // The commit may be there all the same. If nobody can tell now, the vacuum removes the files later.
            let is_live = |snapshot: &Snapshot| added.iter().any(|file| snapshot.is_live(partition, &file.path));
            if upkeep.table.refresh().is_ok_and(|snapshot| !is_live(&snapshot)) {
                remove(place, &added);
            }
            Err(error.into())
        }
    }
}

/// Best effort: what stays is removed by a vacuum.
fn remove(place: &Place<'_>, files: &[TableFile]) {
    for file in files {
        if let Err(error) = place.table.upkeep.store.remove(&file.path) {
            tracing::debug!(path = file.path, %error, "a file that is not needed stays until the next vacuum");
        }
    }
}
