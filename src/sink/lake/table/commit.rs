//! Writes the log: one version after the other.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::{
    actions::{Add, CommitInfo, Line, Metadata, Protocol, Remove, Txn},
    change::{Change, Operation},
    checkpoint_write::write_checkpoint,
    error::TableError,
    file::{RemovedFile, TableFile},
    load::{apply_commit, load, read_commit},
    names::{LOG_FOLDER, checkpoint_name, commit_name, commit_path},
    schema::{PARTITION_COLUMNS, schema_string},
    snapshot::Snapshot,
    vacuumed::vacuumed_until,
};
use crate::{
    event::unix_millis,
    limits::{
        LAKE_CHECKPOINT_COMMITS, LAKE_CHECKPOINT_FILES, LAKE_CHECKPOINT_RARER_MAX, LAKE_COMMIT_PAUSE_MAX, LAKE_COMMIT_TRIES_MAX,
        LAKE_LOG_TRUSTED, LAKE_REMOVED_REMEMBERED, LAKE_VACUUMED_REMEMBERED,
    },
    sink::lake::store::{Created, Store},
};

const ENGINE: &str = concat!("lakegate/", env!("CARGO_PKG_VERSION"));

/// The newest known version, and what is needed to write the next one.
#[derive(Debug)]
pub(super) struct Committer {
    snapshot: Arc<Snapshot>,
    /// When the log was last listed or grew by a commit that was read in order.
    trusted_since: Instant,
}

/// Creates the log with a table that has no files. Another writer may be faster.
pub(super) fn create(store: &Store, definition: &Definition<'_>) -> Result<(), TableError> {
    let millis = unix_millis(SystemTime::now());
    let fixed = [
        ("delta.logRetentionDuration", "interval 1 days"),
        ("delta.deletedFileRetentionDuration", "interval 7 days"),
        ("delta.checkpointInterval", "100"),
    ];
    let settings = fixed.iter().chain(definition.settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let metadata = Metadata {
        id: Uuid::new_v4().to_string(),
        name: Some(definition.name.to_owned()),
        description: definition.description.map(str::to_owned),
        schema_string: definition.schema_string.map_or_else(schema_string, str::to_owned),
        partition_columns: PARTITION_COLUMNS.map(str::to_owned).to_vec(),
        configuration: settings.collect(),
        created_time: Some(millis),
        ..Metadata::default()
    };
    let lines = [
        Line { commit_info: Some(info("CREATE TABLE", millis, BTreeMap::new(), Uuid::new_v4())), ..Line::default() },
        Line { protocol: Some(Protocol::new()), ..Line::default() },
        Line { meta_data: Some(metadata), ..Line::default() },
    ];
    store
        .create_exclusively(LOG_FOLDER, &commit_name(0), text_of(&lines))
        .map(drop)
        .map_err(|cause| TableError::store(&commit_path(0), cause))
}

/// What a new table is.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink::lake) struct Definition<'a> {
    /// Its name, for people.
    pub(in crate::sink::lake) name: &'a str,
    /// What is in it, for people.
    pub(in crate::sink::lake) description: Option<&'a str>,
    /// Its columns, as the JSON text of the log; `None`: those of the raw table.
    pub(in crate::sink::lake) schema_string: Option<&'a str>,
    /// Its settings.
    pub(in crate::sink::lake) settings: &'a [(&'a str, &'a str)],
}

impl Committer {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot), trusted_since: Instant::now() }
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// As if the last read was long ago.
    #[cfg(test)]
    pub(super) fn distrust(&mut self) {
        self.trusted_since = Instant::now().checked_sub(2 * LAKE_LOG_TRUSTED).unwrap_or(self.trusted_since);
    }

    /// As if the file was removed at another time.
    #[cfg(test)]
    pub(super) fn set_removed_millis(&mut self, path: &str, removed_millis: i64) {
        let snapshot = Arc::make_mut(&mut self.snapshot);
        let removed = snapshot.removed_file(path).map(|removed| RemovedFile { removed_millis, ..(**removed).clone() });
        removed.into_iter().for_each(|removed| snapshot.remove(removed));
    }

    /// Reads the commits after the known version.
    pub(super) fn refresh(&mut self, store: &Store) -> Result<(), TableError> {
        self.read_on(store, None).map(drop)
    }

    /// Reads the commits after the known version; returns whether one of them has the id `wanted`.
    fn read_on(&mut self, store: &Store, wanted: Option<&str>) -> Result<bool, TableError> {
        let mut found = false;
        // After a long time the next versions may have been cleaned up: then a missing commit does not mean the end.
        if self.trusted_since.elapsed() > LAKE_LOG_TRUSTED && read_commit(store, self.snapshot.version)?.is_none() {
            self.reload(store)?;
        }
        while let Some(lines) = read_commit(store, self.snapshot.version + 1)? {
            let version = self.snapshot.version + 1;
            let info = apply_commit(Arc::make_mut(&mut self.snapshot), version, lines)?;
            found |= wanted.is_some() && info.and_then(|info| info.txn_id).as_deref() == wanted;
        }
        self.trusted_since = Instant::now();
        Ok(found)
    }

    /// Whether the newest known version is gone from a local log. For S3 the answer is no: each question costs a request, and
    /// nobody removes a folder there by mistake.
    pub(super) fn is_gone(&self, store: &Store) -> bool {
        let is_missing = |name: String| matches!(store.size(&format!("{LOG_FOLDER}/{name}")), Ok(None));
        let version = self.snapshot.version;
        store.is_local() && is_missing(commit_name(version)) && is_missing(checkpoint_name(version))
    }

    /// Reads the log from its newest checkpoint on.
    fn reload(&mut self, store: &Store) -> Result<(), TableError> {
        let newest = load(store, None)?.filter(|newest| newest.version >= self.snapshot.version);
        self.snapshot = Arc::new(newest.ok_or(TableError::LogGone(self.snapshot.version))?);
        self.trusted_since = Instant::now();
        Ok(())
    }

    pub(super) fn commit(&mut self, store: &Store, change: &Change) -> Result<(), TableError> {
        if self.is_gone(store) {
            self.reload(store)?;
        }
        let id = Uuid::new_v4();
        let id_text = id.to_string();
        if self.trusted_since.elapsed() > LAKE_LOG_TRUSTED {
            self.refresh(store)?;
        }
        for tried in 0..LAKE_COMMIT_TRIES_MAX {
            let Some(plan) = Plan::of(change, &self.snapshot)? else { return Ok(()) };
            let version = self.snapshot.version + 1;
            let millis = unix_millis(SystemTime::now()).max(self.snapshot.committed_millis.map_or(0, |last| last + 1));
            let text = plan.text(change, millis, id);
            let started = Instant::now();
            let created = store.create_exclusively(LOG_FOLDER, &commit_name(version), text);
            match created {
                Ok(Created::New) => {
                    self.committed(store, version, millis, plan, started)?;
                    return Ok(());
                }
                // A store that repeats a request by itself may have taken our own bytes for another's.
                Ok(Created::Taken) => {
                    if self.read_on(store, Some(&id_text))? {
                        return Ok(());
                    }
                    std::thread::sleep(pause(tried));
                }
                Err(cause) => {
                    // The answer may be lost, and the commit be there.
                    if self.read_on(store, Some(&id_text)).is_ok_and(|found| found) {
                        return Ok(());
                    }
                    return Err(TableError::store(&commit_path(version), cause));
                }
            }
        }
        Err(TableError::Contended(LAKE_COMMIT_TRIES_MAX))
    }

    /// Takes over a commit that was just written.
    fn committed(&mut self, store: &Store, version: u64, millis: i64, plan: Plan, started: Instant) -> Result<(), TableError> {
        // If this process slept, the log may have been cleaned up beyond this version meanwhile, and the name was free again.
        let is_late = started.elapsed() > LAKE_LOG_TRUSTED / 2;
        if is_late && read_commit(store, self.snapshot.version)?.is_none() {
            return Err(TableError::LogGone(self.snapshot.version));
        }
        let snapshot = Arc::make_mut(&mut self.snapshot);
        for removed in plan.remove {
            snapshot.remove(RemovedFile { removed_millis: millis, ..removed });
        }
        for file in plan.add {
            snapshot.add(file);
        }
        if let Some(metadata) = plan.metadata {
            snapshot.metadata = Some(Arc::new(metadata));
        }
        if let Some(txn) = plan.txn {
            let txn = Txn { last_updated: Some(millis), ..txn };
            snapshot.transactions.insert(txn.app_id.clone(), txn);
        }
        snapshot.version = version;
        snapshot.committed_millis = Some(millis);
        self.trusted_since = Instant::now();
        if version.is_multiple_of(commits_of_a_checkpoint(self.snapshot.files_count() + self.snapshot.removed_count()))
            && let Err(error) = self.checkpoint(store)
        {
            // Readers only read more commits.
            tracing::warn!(version, %error, "a checkpoint of the lake's log could not be written");
        }
        Ok(())
    }

    pub(super) fn checkpoint(&mut self, store: &Store) -> Result<(), TableError> {
        let now_millis = unix_millis(SystemTime::now());
        let before = |time: Duration| now_millis - i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // What is gone from the store need not be remembered as long: a day of small files makes 100,000 of them.
        let vacuumed = vacuumed_until(store).ok().flatten().unwrap_or(i64::MIN).min(before(LAKE_VACUUMED_REMEMBERED));
        Arc::make_mut(&mut self.snapshot).forget_removed_before(vacuumed.max(before(LAKE_REMOVED_REMEMBERED)));
        write_checkpoint(store, &self.snapshot)
    }
}

/// A change against a certain version.
struct Plan {
    add: Vec<TableFile>,
    remove: Vec<RemovedFile>,
    metadata: Option<Metadata>,
    /// The time is set when it is written.
    txn: Option<Txn>,
}

impl Plan {
    /// `None` if the version has all of it already.
    fn of(change: &Change, snapshot: &Snapshot) -> Result<Option<Self>, TableError> {
        let gone = change.remove.iter().filter(|file| !snapshot.is_live(&file.partition, &file.path));
        let gone: Vec<String> = gone.map(|file| file.path.clone()).collect();
        if !gone.is_empty() {
            return Err(TableError::FilesGone(gone));
        }
        check_requirements(change, snapshot)?;
        // An adoption lists files first: meanwhile a gateway may have committed one, and a compaction or an erasure removed it.
        let was_here = |file: &TableFile| change.operation == Operation::Adopt && snapshot.removed_file(&file.path).is_some();
        let add = change.add.iter().filter(|file| !snapshot.is_live(&file.partition, &file.path) && !was_here(file));
        let add: Vec<TableFile> = add.cloned().collect();
        let removed = |file: &Arc<TableFile>| RemovedFile {
            path: file.path.clone(),
            removed_millis: 0,
            partition: Some(file.partition.clone()),
            bytes: Some(file.bytes),
            data_change: change.data_change,
        };
        let set_aside = change.set_aside.iter().filter(|file| snapshot.removed_file(&file.path).is_none()).cloned();
        let remove: Vec<RemovedFile> = change.remove.iter().map(removed).chain(set_aside).collect();
        let metadata = snapshot.metadata.as_deref().and_then(|metadata| changed(metadata, change));
        let txn = change.transaction.as_ref().map(|transaction| Txn {
            app_id: transaction.app_id.clone(),
            version: transaction.version,
            last_updated: None,
        });
        let is_empty = add.is_empty() && remove.is_empty() && metadata.is_none() && txn.is_none();
        Ok((!is_empty).then_some(Self { add, remove, metadata, txn }))
    }

    /// The commit. Sets the time of the removals.
    fn text(&self, change: &Change, millis: i64, id: Uuid) -> Bytes {
        let mut parameters = change.parameters.clone();
        let mode = match change.operation {
            Operation::Write => Some("Append"),
            Operation::Overwrite => Some("Overwrite"),
            _ => None,
        };
        parameters.extend(mode.map(|mode| ("mode".to_owned(), mode.to_owned())));
        // Serialising plain structs does not fail.
        let removed_rows = change.removed_rows.as_ref().and_then(|removed| serde_json::value::to_raw_value(removed).ok());
        let info = CommitInfo { removed_rows, ..info(change.operation.name(), millis, parameters, id) };
        let head = Line { commit_info: Some(info), ..Line::default() };
        let metadata = self.metadata.clone().map(|metadata| Line { meta_data: Some(metadata), ..Line::default() });
        let remove = self.remove.iter().map(|removed| {
            let removed = RemovedFile { removed_millis: millis, ..removed.clone() };
            Line { remove: Some(Remove::of(&removed)), ..Line::default() }
        });
        let add = self.add.iter().map(|file| Line { add: Some(Add::of(file, change.data_change)), ..Line::default() });
        let txn = self.txn.clone().map(|txn| Line { txn: Some(Txn { last_updated: Some(millis), ..txn }), ..Line::default() });
        text_of(&[head].into_iter().chain(metadata).chain(txn).chain(remove).chain(add).collect::<Vec<_>>())
    }
}

/// Refuses a change that was planned for another state of the table.
fn check_requirements(change: &Change, snapshot: &Snapshot) -> Result<(), TableError> {
    if let Some(transaction) = &change.transaction
        && snapshot.transaction(&transaction.app_id) != transaction.expected
    {
        return Err(TableError::Overtaken(transaction.app_id.clone()));
    }
    let differs = |(key, value): &(&String, &Option<String>)| snapshot.setting(key) != value.as_deref();
    match change.required_settings.iter().find(differs) {
        Some((key, _)) => Err(TableError::Overtaken(format!("the setting {key}"))),
        None => Ok(()),
    }
}

/// The metadata with other settings or columns; `None` if they are as wanted.
fn changed(metadata: &Metadata, change: &Change) -> Option<Metadata> {
    let mut changed = metadata.clone();
    if let Some(schema_string) = &change.schema_string {
        changed.schema_string.clone_from(schema_string);
    }
    for (key, value) in &change.settings {
        match value {
            Some(value) => drop(changed.configuration.insert(key.clone(), value.clone())),
            None => drop(changed.configuration.remove(key)),
        }
    }
    (changed != *metadata).then_some(changed)
}

fn info(operation: &str, millis: i64, parameters: BTreeMap<String, String>, id: Uuid) -> CommitInfo {
    CommitInfo {
        timestamp: millis,
        operation: operation.to_owned(),
        engine_info: Some(ENGINE.to_owned()),
        txn_id: Some(id.to_string()),
        operation_parameters: parameters.into_iter().map(|(key, value)| (key, value.into())).collect(),
        removed_rows: None,
    }
}

fn text_of(lines: &[impl Serialize]) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        // Serialising plain structs into memory does not fail.
        let _ = serde_json::to_writer(&mut text, line);
        text.push(b'\n');
    }
    text.into()
}

/// After how many commits a checkpoint of so many files is written.
fn commits_of_a_checkpoint(files: usize) -> u64 {
    LAKE_CHECKPOINT_COMMITS * (files / LAKE_CHECKPOINT_FILES + 1).min(LAKE_CHECKPOINT_RARER_MAX) as u64
}

/// A random pause before the next try, longer each time.
fn pause(tried: u32) -> Duration {
    let longest = Duration::from_millis(4) * 2_u32.saturating_pow(tried.min(10));
    longest.min(LAKE_COMMIT_PAUSE_MAX).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_has_rarer_checkpoints_up_to_a_limit() {
        assert_eq!(
            [0, 49_999, 50_000, 149_999, 250_000, 10_000_000].map(commits_of_a_checkpoint),
            [100, 100, 200, 300, 500, 500]
        );
    }
}
