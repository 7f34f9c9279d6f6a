//! Reads the log: the newest checkpoint, then the commits after it.

use std::{collections::BTreeMap, io};

use super::{
    actions::{CommitInfo, Line},
    checkpoint_read::read_checkpoint,
    error::TableError,
    names::{LOG_FOLDER, LogName, checkpoint_part_name, commit_path},
    snapshot::Snapshot,
};
use crate::sink::lake::store::Store;

/// The files of the log.
#[derive(Debug, Default)]
struct LogFiles {
    /// Commits, ascending.
    commits: Vec<u64>,
    /// Complete checkpoints, ascending: version and number of parts.
    checkpoints: Vec<(u64, u32)>,
}

/// The table at `version`, or its newest version. `None` if the lake has no log.
pub(super) fn load(store: &Store, version: Option<u64>) -> Result<Option<Snapshot>, TableError> {
    let files = list(store)?;
    let Some(newest) = files.commits.last().copied().max(files.checkpoints.last().map(|(version, _)| *version)) else {
        return Ok(None);
    };
    let wanted = version.unwrap_or(newest);
    if wanted > newest {
        return Err(TableError::NoVersion(format!("{wanted}: the newest one is {newest}")));
    }
    let checkpoint = files.checkpoints.iter().rev().find(|(version, _)| *version <= wanted);
    let mut snapshot = Snapshot::default();
    let mut next = 0;
    if let Some(&(version, parts)) = checkpoint {
        for part in 1..=parts {
            let path = format!("{LOG_FOLDER}/{}", checkpoint_part_name(version, part, parts));
            read_checkpoint(store, &path, &mut snapshot)?;
        }
        snapshot.version = version;
        snapshot.check()?;
        next = version + 1;
    }
    for version in next..=wanted {
        match read_commit(store, version)? {
            Some(lines) => drop(apply_commit(&mut snapshot, version, lines)?),
            None if checkpoint.is_none() && files.commits.first() != Some(&0) => {
                return Err(TableError::NoVersion(format!("{wanted}: the log was cleaned up to a later one")));
            }
            None => return Err(TableError::damaged(&commit_path(version), "the commit is missing")),
        }
    }
    snapshot.check()?;
    Ok(Some(snapshot))
}

/// The oldest version that can still be read: 0, or that of the oldest checkpoint.
pub(super) fn oldest(store: &Store) -> Result<u64, TableError> {
    let files = list(store)?;
    let checkpoint = files.checkpoints.first().map_or(0, |(version, _)| *version);
    Ok(if files.commits.first() == Some(&0) { 0 } else { checkpoint })
}

/// The oldest commit of those that are in the log without a gap up to the newest one.
pub(super) fn oldest_commit(store: &Store) -> Result<u64, TableError> {
    let commits = list(store)?.commits;
    let gap = commits.windows(2).rev().find(|pair| pair[0] + 1 != pair[1]).map(|pair| pair[1]);
    Ok(gap.or(commits.first().copied()).unwrap_or(0))
}

/// The newest version that was committed at this time or before.
pub(super) fn version_at(store: &Store, millis: i64) -> Result<u64, TableError> {
    let files = list(store)?;
    let mut found = None;
    for &version in &files.commits {
        let Some(lines) = read_commit(store, version)? else { continue };
        let committed = lines.iter().find_map(|line| line.commit_info.as_ref()).map(|info| info.timestamp);
        if committed.is_none_or(|committed| committed > millis) {
            break;
        }
        found = Some(version);
    }
    let earliest = "of that time: the log begins later";
    found.ok_or_else(|| TableError::NoVersion(earliest.to_owned()))
}

/// The lines of a commit; `None` if there is no such commit.
pub(super) fn read_commit(store: &Store, version: u64) -> Result<Option<Vec<Line>>, TableError> {
    let path = commit_path(version);
    let bytes = match store.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TableError::store(&path, error)),
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let parsed = lines.map(|line| serde_json::from_slice(line).map_err(|error| TableError::damaged(&path, error)));
    parsed.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Brings `snapshot` to `version`, which follows it. Returns what the commit says of itself.
pub(super) fn apply_commit(snapshot: &mut Snapshot, version: u64, lines: Vec<Line>) -> Result<Option<CommitInfo>, TableError> {
    let path = commit_path(version);
    let mut info = None;
    // A file that a commit removes and adds again is live.
    let (removes, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.remove.is_some());
    for line in removes.into_iter().chain(others) {
        info = snapshot.apply(line, &path)?.or(info);
    }
    snapshot.version = version;
    snapshot.committed_millis = info.as_ref().map(|info| info.timestamp);
    Ok(info)
}

/// The versions of the commits, and those of the complete checkpoints.
fn list(store: &Store) -> Result<LogFiles, TableError> {
    let listed = match store.list(LOG_FOLDER) {
        Ok(listed) => listed,
        Err(error) if error.is_not_found() => return Ok(LogFiles::default()),
        Err(error) => return Err(error.into()),
    };
    let mut files = LogFiles::default();
    let mut parts_found: BTreeMap<(u64, u32), u32> = BTreeMap::new();
    for name in listed.files.iter().filter_map(|file| LogName::parse(&file.name)) {
        match name {
            LogName::Commit(version) => files.commits.push(version),
            LogName::Checkpoint { version, parts, .. } => *parts_found.entry((version, parts)).or_default() += 1,
        }
    }
    files.commits.sort_unstable();
    files.checkpoints = parts_found.into_iter().filter(|((_, parts), found)| parts == found).map(|(key, _)| key).collect();
    Ok(files)
}
