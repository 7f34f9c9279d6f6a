//! The versions that the log still tells of.

use super::{
    error::TableError,
    load::{apply_commit, load, oldest, read_commit},
};
use crate::sink::lake::store::Store;

/// A version, and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The version, from 0.
    pub version: u64,
    /// When it was committed, in Unix milliseconds; `None` if its commit was cleaned up.
    pub committed_millis: Option<i64>,
    /// What the commit was for, such as `WRITE`; `None` if its commit was cleaned up.
    pub operation: Option<String>,
    /// Files that joined.
    pub files_added: u64,
    /// Files that left.
    pub files_removed: u64,
    /// Live files.
    pub files: u64,
    /// Their rows, of files whose writer recorded them.
    pub rows: u64,
}

/// The newest versions, at most `wanted`, ascending.
pub(super) fn history(store: &Store, wanted: u64) -> Result<Vec<Version>, TableError> {
    let Some(newest) = load(store, None)? else { return Ok(Vec::new()) };
    let first = (newest.version + 1).saturating_sub(wanted).max(oldest(store)?);
    let Some(mut snapshot) = load(store, Some(first))? else { return Ok(Vec::new()) };
    let mut versions = Vec::new();
    for version in first..=newest.version {
        let lines = read_commit(store, version)?;
        let count = |is: fn(&super::actions::Line) -> bool| lines.iter().flatten().filter(|line| is(line)).count() as u64;
        let (files_added, files_removed) = (count(|line| line.add.is_some()), count(|line| line.remove.is_some()));
        let said = lines.iter().flatten().find_map(|line| line.commit_info.clone());
        if version > first {
            match lines {
                Some(lines) => drop(apply_commit(&mut snapshot, version, lines)?),
                None => break,
            }
        }
        versions.push(Version {
            version,
            committed_millis: said.as_ref().map(|info| info.timestamp),
            operation: said.map(|info| info.operation),
            files_added,
            files_removed,
            files: snapshot.files_count() as u64,
            rows: snapshot.files().filter_map(|file| file.statistics.rows).sum(),
        });
    }
    Ok(versions)
}
