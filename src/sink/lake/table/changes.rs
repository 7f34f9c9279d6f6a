//! What commits changed: files that joined and left, and transactions.

use std::collections::BTreeMap;

use super::{error::TableError, load::read_commit};
use crate::sink::lake::{partition::Partition, store::Store};

/// A file that joined or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink::lake) struct FileChange {
    /// The version whose commit did it.
    pub(in crate::sink::lake) version: u64,
    /// Path below the root.
    pub(in crate::sink::lake) path: String,
    /// Whether it joined; else it left.
    pub(in crate::sink::lake) is_added: bool,
    /// Whether rows joined or left with it; false if files only took over the rows of others.
    pub(in crate::sink::lake) data_change: bool,
}

/// What a range of commits changed.
#[derive(Clone, Debug, Default)]
pub(in crate::sink::lake) struct LogChanges {
    /// The files of each partition, in the order of the log.
    pub(in crate::sink::lake) files: BTreeMap<Partition, Vec<FileChange>>,
    /// Files that left without their partition being told: another tool wrote that commit.
    pub(in crate::sink::lake) unplaced: bool,
    /// The newest version of each application that committed.
    pub(in crate::sink::lake) transactions: BTreeMap<String, i64>,
}

/// Reads the commits `since + 1` to `until`; `None` if one of them is missing.
pub(super) fn changes(store: &Store, since: u64, until: u64) -> Result<Option<LogChanges>, TableError> {
    let mut changes = LogChanges::default();
    for version in since + 1..=until {
        let Some(lines) = read_commit(store, version)? else { return Ok(None) };
        let damaged = |reason: String| TableError::damaged(&format!("version {version}"), reason);
        for line in lines {
            if let Some(txn) = line.txn {
                changes.transactions.insert(txn.app_id, txn.version);
            }
            if let Some(remove) = line.remove {
                let removed = remove.file().map_err(damaged)?;
                let change = FileChange { version, path: removed.path, is_added: false, data_change: removed.data_change };
                match removed.partition {
                    Some(partition) => changes.files.entry(partition).or_default().push(change),
                    None => changes.unplaced = true,
                }
            }
            if let Some(add) = line.add {
                let data_change = add.data_change;
                let file = add.file().map_err(damaged)?;
                let change = FileChange { version, path: file.path, is_added: true, data_change };
                changes.files.entry(file.partition).or_default().push(change);
            }
        }
    }
    Ok(Some(changes))
}
