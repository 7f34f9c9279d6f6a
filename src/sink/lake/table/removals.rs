//! Rows that commits removed for good, by minute of receipt, summed over the log.
//!
//! The log is cleaned up after a day, so the clean-up first adds up what the commits say ([`note_removals`]):
//!
//! ```text
//! <root>/_lakegate/removed-rows-00000000000000000042.json      the sums up to version 42
//! ```
//!
//! The version is in the name, so that of two clean-ups at once the slower one does not hide what the other one knows. The sums
//! are made of commits, and no removal depends on them: if they are missing, less is known, and it says since when.

use std::{collections::BTreeMap, io, ops::Range, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    actions::CommitInfo,
    error::TableError,
    load::{oldest_commit, read_commit},
    names::OWN_FOLDER,
    snapshot::Snapshot,
};
use crate::{
    event::unix_millis,
    limits::LAKE_REMOVED_ROWS_REMEMBERED,
    sink::lake::{
        folders::in_parallel,
        removed_rows::{MINUTE_MILLIS, RemovedRows, RemovedWhy},
        store::Store,
    },
};

/// What the sums' files are called, with the version between.
const NAME: (&str, &str) = ("removed-rows-", ".json");

/// Version of the form of the sums.
const FORMAT: u32 = 1;

/// Sums that are kept: the older one is for a reader that began before.
const SUMS_KEPT: usize = 2;

/// A commit that removed rows and does not say of which minutes: another tool wrote it, or a gateway of before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UnrecordedRemoval {
    /// The version.
    pub version: u64,
    /// When it was committed, in Unix milliseconds.
    pub committed_millis: i64,
    /// What it was for, such as `DELETE`; empty if the commit does not say.
    pub operation: String,
}

/// What is known of removed rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sink::lake) struct Removals {
    /// Rows by reason, length of their span in minutes, and its first minute.
    sums: BTreeMap<(RemovedWhy, i64), BTreeMap<i64, u64>>,
    /// All removals of rows received at this time or later are known, in Unix milliseconds; `None`: not even that is known.
    pub(in crate::sink::lake) known_since_millis: Option<i64>,
    /// The newest of the commits that do not say what they removed.
    pub(in crate::sink::lake) unrecorded: Option<UnrecordedRemoval>,
}

impl Removals {
    /// Each span of minutes with the reason and the number of rows.
    pub(in crate::sink::lake) fn spans(&self) -> impl Iterator<Item = (Range<i64>, RemovedWhy, u64)> {
        self.sums
            .iter()
            .flat_map(|((why, step), spans)| spans.iter().map(move |(&first, &rows)| (first..first + step, *why, rows)))
    }

    fn add(&mut self, removed: &RemovedRows) -> Option<()> {
        for (span, rows) in removed.spans()? {
            let spans = self.sums.entry((removed.why, span.end - span.start)).or_default();
            *spans.entry(span.start).or_default() += rows;
        }
        Some(())
    }

    fn add_commit(&mut self, commit: Committed) {
        // Rows that are received later are not among those of a commit.
        let raise = |known: &mut Option<i64>| *known = (*known).max(Some(commit.millis));
        if self.known_since_millis.is_none() {
            raise(&mut self.known_since_millis);
        }
        let recorded = commit.removed.and_then(|removed| removed.iter().try_for_each(|removed| self.add(removed)));
        if recorded.is_none() {
            raise(&mut self.known_since_millis);
            let Committed { version, millis, operation, .. } = commit;
            self.unrecorded = Some(UnrecordedRemoval { version, committed_millis: millis, operation });
        }
    }

    /// Forgets rows that were received before this time.
    fn forget_before(&mut self, millis: i64) {
        let minute = millis.div_euclid(MINUTE_MILLIS);
        for ((_, step), spans) in &mut self.sums {
            spans.retain(|first, _| first + step > minute);
        }
        self.sums.retain(|_, spans| !spans.is_empty());
        self.known_since_millis = self.known_since_millis.map(|known| known.max((minute + 1) * MINUTE_MILLIS));
    }
}

/// What one commit says.
struct Committed {
    version: u64,
    millis: i64,
    operation: String,
    /// `None` if it removed rows and does not say which.
    removed: Option<Vec<RemovedRows>>,
}

/// The sums as they are stored.
#[derive(Deserialize, Serialize)]
struct Stored {
    format: u32,
    /// The table's own identity: another table may have been there before.
    table_id: String,
    version: u64,
    known_since_millis: Option<i64>,
    unrecorded: Option<UnrecordedRemoval>,
    removed: Vec<RemovedRows>,
}

/// What is known up to the version of `snapshot`.
pub(in crate::sink::lake) fn removals_up_to(store: &Store, snapshot: &Snapshot) -> Result<Removals, TableError> {
    match try_removals(store, snapshot)? {
        Some(removals) => Ok(removals),
        // A clean-up removed commits meanwhile, and had written its sums before.
        None => Ok(try_removals(store, snapshot)?.unwrap_or_default()),
    }
}

/// `None` if a commit is gone that was there before.
fn try_removals(store: &Store, snapshot: &Snapshot) -> Result<Option<Removals>, TableError> {
    let oldest = oldest_commit(store)?;
    let noted = newest_sums(store, snapshot)?.filter(|(version, _)| version + 1 >= oldest || *version == snapshot.version);
    let (first, mut removals) = match noted {
        Some((version, noted)) => (version + 1, noted),
        None => (oldest, Removals::default()),
    };
    let versions: Vec<u64> = (first..=snapshot.version).collect();
    for commit in in_parallel(store.readers(), &versions, |version| read(store, *version)) {
        match commit? {
            Some(commit) => removals.add_commit(commit),
            None => return Ok(None),
        }
    }
    Ok(Some(removals))
}

/// Reads a commit; `None` if it is gone.
fn read(store: &Store, version: u64) -> Result<Option<Committed>, TableError> {
    let lines = match read_commit(store, version) {
        Ok(Some(lines)) => lines,
        Ok(None) => return Ok(None),
        // Nobody can tell what it did.
        Err(error) if error.is_damage() => {
            let millis = unix_millis(SystemTime::now());
            return Ok(Some(Committed { version, millis, operation: String::new(), removed: None }));
        }
        Err(error) => return Err(error),
    };
    let has_removed = lines.iter().filter_map(|line| line.remove.as_ref()).any(|remove| remove.data_change);
    let info = lines.into_iter().find_map(|line| line.commit_info);
    let millis = info.as_ref().map_or_else(|| unix_millis(SystemTime::now()), |info| info.timestamp);
    let removed = match info.as_ref().and_then(|info| info.removed_rows.as_deref()) {
        Some(recorded) => serde_json::from_str(recorded.get()).ok(),
        None if has_removed || info.as_ref().is_some_and(dropped_doubles) => None,
        None => Some(Vec::new()),
    };
    Ok(Some(Committed { version, millis, operation: info.map(|info| info.operation).unwrap_or_default(), removed }))
}

/// Whether a compaction of a gateway of before dropped some.
fn dropped_doubles(info: &CommitInfo) -> bool {
    info.operation_parameters.get("doubles").and_then(serde_json::Value::as_str).is_some_and(|doubles| doubles != "0")
}

/// Adds up what the log of `from` says up to the version of `snapshot`, and stores it in `to`, which is the same lake or a copy.
pub(in crate::sink::lake) fn note_removals(from: &Store, to: &Store, snapshot: &Snapshot) -> Result<(), TableError> {
    let name = name_of(snapshot.version);
    let path = format!("{OWN_FOLDER}/{name}");
    let before = sums_in(to)?;
    if before.contains(&snapshot.version) && read_sums(to, snapshot, snapshot.version)?.is_some() {
        return Ok(());
    }
    let mut removals = removals_up_to(from, snapshot)?;
    let remembered = i64::try_from(LAKE_REMOVED_ROWS_REMEMBERED.as_millis()).unwrap_or(i64::MAX);
    removals.forget_before(unix_millis(SystemTime::now()).saturating_sub(remembered));
    let stored = Stored {
        format: FORMAT,
        table_id: snapshot.id().to_owned(),
        version: snapshot.version,
        known_since_millis: removals.known_since_millis,
        unrecorded: removals.unrecorded,
        removed: removals.sums.iter().map(|((why, step), spans)| RemovedRows::of(*why, *step, spans)).collect(),
    };
    let text = serde_json::to_vec(&stored).map_err(|error| TableError::store(&path, error))?;
    to.replace(OWN_FOLDER, &name, text.into()).map_err(|cause| TableError::store(&path, cause))?;
    let mut older: Vec<u64> = before.into_iter().filter(|version| *version < snapshot.version).collect();
    older.truncate((older.len() + 1).saturating_sub(SUMS_KEPT));
    for version in older {
        let path = format!("{OWN_FOLDER}/{}", name_of(version));
        to.remove(&path).map_err(|error| TableError::store(&path, error))?;
    }
    Ok(())
}

fn name_of(version: u64) -> String {
    format!("{}{version:020}{}", NAME.0, NAME.1)
}

/// The versions of which there are sums, ascending.
fn sums_in(store: &Store) -> Result<Vec<u64>, TableError> {
    let listed = match store.list(OWN_FOLDER) {
        Ok(listed) => listed.files,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let version = |name: &str| name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.parse().ok();
    let mut versions: Vec<u64> = listed.iter().filter_map(|file| version(&file.name)).collect();
    versions.sort_unstable();
    Ok(versions)
}

/// The newest sums that tell of nothing after the version of `snapshot`.
fn newest_sums(store: &Store, snapshot: &Snapshot) -> Result<Option<(u64, Removals)>, TableError> {
    for version in sums_in(store)?.into_iter().rev().filter(|version| *version <= snapshot.version) {
        if let Some(removals) = read_sums(store, snapshot, version)? {
            return Ok(Some((version, removals)));
        }
    }
    Ok(None)
}

/// The sums up to a version; `None` if they are gone, of another table, or in a form that this version does not know.
fn read_sums(store: &Store, snapshot: &Snapshot, version: u64) -> Result<Option<Removals>, TableError> {
    let path = format!("{OWN_FOLDER}/{}", name_of(version));
    let bytes = match store.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TableError::store(&path, error)),
    };
    let Ok(stored) = serde_json::from_slice::<Stored>(&bytes) else { return Ok(None) };
    if stored.format != FORMAT || stored.table_id != snapshot.id() || stored.version != version {
        return Ok(None);
    }
    let Stored { known_since_millis, unrecorded, removed, .. } = stored;
    let mut removals = Removals { known_since_millis, unrecorded, ..Removals::default() };
    Ok(removed.iter().try_for_each(|removed| removals.add(removed)).map(|()| removals))
}
