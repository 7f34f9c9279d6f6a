//! Writes the files of one partition: finds the rows already in the lake, the missing rows, and the file name.
//!
//! An existing file is never replaced. Before the first file of a partition, its folder is listed once: a range that is
//! delivered again after a crash finds its rows there, even if it now has other bounds, because the disk lost records or the
//! sink changed in between. Rows in the lake are delivered; the others are written.
//!
//! With a table, a file counts only once the log has it: a file that a crash left between its creation and the commit is
//! reported again, and rows that a compaction moved into another file are found there.
//!
//! A name that is taken by other rows, or files beyond what this data folder ever delivered, show another instance of it: a
//! copy, a restored backup, an image that was started once. Then a new identity is made durable and used from then on (see
//! [`lake_identities`](super::lake_identities)).

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    LakeConfig, LakeError,
    encode::{FileName, SeqRange, encode},
    lake_identities::Identities,
    partition::Partition,
    read::{footer_statistics, not_held},
    store::{Created, Store},
    table::{FileStatistics, Snapshot, Table, TableFile},
};
use crate::{
    event::{Record, unix_millis},
    fault::Tries,
    limits::{LAKE_KNOWN_FILES_MAX, LAKE_KNOWN_FOLDERS_MAX, LAKE_NAMES_TRIED_MAX, LAKE_UNREADABLE_PATIENCE},
};

/// Writes files of partitions.
#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<Store>,
    identities: Identities,
    files: Mutex<KnownFiles>,
    /// Existing files that cannot be read: their rows are written again only after the retries end.
    unreadable: Mutex<HashMap<String, Tries>>,
}

/// Our files of each listed partition. A partition whose last write failed is not in the map, and is listed again.
#[derive(Debug, Default)]
struct KnownFiles {
    by_partition: HashMap<Partition, Vec<OurFile>>,
    /// Files in all partitions.
    count: usize,
}

impl KnownFiles {
    fn take(&mut self, partition: &Partition) -> Option<Vec<OurFile>> {
        let files = self.by_partition.remove(partition)?;
        self.count -= files.len();
        Some(files)
    }

    /// Stores the files of a partition; beyond [`LAKE_KNOWN_FILES_MAX`] all others are forgotten.
    fn keep(&mut self, partition: Partition, files: Vec<OurFile>) {
        if self.count >= LAKE_KNOWN_FILES_MAX {
            *self = Self::default();
        }
        self.take(&partition);
        self.count += files.len();
        self.by_partition.insert(partition, files);
    }
}

/// A file named by one of our identities.
#[derive(Clone, Copy, Debug)]
struct OurFile {
    name: FileName,
    bytes: u64,
}

/// Records of one partition to write.
#[derive(Clone, Debug)]
pub(super) struct UnwrittenRecords {
    pub(super) range: SeqRange,
    pub(super) partition: Partition,
    pub(super) records: Arc<[Record]>,
    /// Positions of the records to write; the lake's columns can hold all of them.
    pub(super) positions: Vec<usize>,
    /// These records, encoded.
    pub(super) file: Bytes,
    /// What is in the encoded file.
    pub(super) statistics: FileStatistics,
}

impl UnwrittenRecords {
    fn path(&self, name: &FileName) -> String {
        format!("{}/{name}", self.partition)
    }

    /// A file of this partition that the table should have.
    fn table_file(&self, file: &OurFile, statistics: FileStatistics) -> TableFile {
        TableFile {
            partition: self.partition.clone(),
            path: self.path(&file.name),
            bytes: file.bytes,
            modified_millis: unix_millis(SystemTime::now()),
            statistics,
            ranges: Vec::new(),
        }
    }

    /// Keeps only `positions`, and encodes the file again.
    async fn reduce(&mut self, positions: Vec<usize>) -> Result<(), String> {
        if positions.len() == self.positions.len() {
            return Ok(());
        }
        let (range, records, kept) = (self.range, Arc::clone(&self.records), positions.clone());
        let encoded = spawn_blocking(move || encode(&range, &records, &kept)).await.map_err(|panic| panic.to_string())?;
        let encoded = encoded.map_err(|error| error.to_string())?;
        (self.file, self.statistics) = (encoded.file.unwrap_or_default().into(), encoded.statistics);
        self.positions = positions;
        Ok(())
    }
}

/// What a partition has of some records.
#[derive(Default)]
struct Looked {
    /// Our files in the partition.
    files: Vec<OurFile>,
    /// Positions of the records that are nowhere.
    rest: Vec<usize>,
    /// Files that hold some of the records, and that the table does not have.
    uncommitted: Vec<TableFile>,
}

impl Writer {
    /// Opens the lake for writing, with the identities stored in the folder `memory`.
    pub(super) fn open(config: &LakeConfig, memory: Option<&Path>) -> Result<Self, LakeError> {
        let (store, identities) = (Arc::new(Store::for_writing(config)?), Identities::open(memory));
        Ok(Self { store, identities, files: Mutex::default(), unreadable: Mutex::default() })
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Writes all records of `unwritten` to the lake durably, unless they are there already. Returns the files that the table
    /// must have before the records count as delivered.
    ///
    /// # Errors
    /// The reason, for the log; some of the records may be in the lake.
    pub(super) async fn write(
        self: &Arc<Self>,
        mut unwritten: UnwrittenRecords,
        table: Option<&Arc<Table>>,
    ) -> Result<Vec<TableFile>, String> {
        let spool_id = unwritten.range.spool_id;
        // Removed from the map, so that only a successful write puts the files back.
        let known = self.files().take(&unwritten.partition);
        let mut uncommitted = Vec::new();
        let mut files = match known {
            Some(known) if known.iter().all(|file| !file.name.overlaps(&unwritten.range)) => known,
            _ => {
                let table = table.cloned();
                let looked = self.blocking(&unwritten, move |writer, unwritten| writer.look(unwritten, table.as_deref())).await?;
                uncommitted = looked.uncommitted;
                if looked.rest.is_empty() {
                    self.keep(&unwritten, looked.files).await?;
                    return Ok(uncommitted);
                }
                unwritten.reduce(looked.rest).await?;
                looked.files
            }
        };
        let mut identity = self.identities.newest(spool_id);
        for _ in 0..LAKE_NAMES_TRIED_MAX {
            let name = unwritten.range.name(identity);
            // A store may ignore the condition that nothing must be replaced.
            let created = match files.iter().any(|file| file.name == name) {
                true => Created::Taken,
                false => self.store.create(&unwritten.partition, &name.to_string(), unwritten.file.clone()).await?,
            };
            match created {
                Created::New => {
                    let file = OurFile { name, bytes: unwritten.file.len() as u64 };
                    uncommitted.push(unwritten.table_file(&file, unwritten.statistics.clone()));
                    files.push(file);
                    self.files().keep(unwritten.partition, files);
                    return Ok(uncommitted);
                }
                Created::Taken => {
                    let table = table.cloned();
                    let compare =
                        move |writer: &Self, unwritten: &UnwrittenRecords| writer.compare(unwritten, name, table.as_deref());
                    let compared = self.blocking(&unwritten, compare).await?;
                    uncommitted.extend(compared.uncommitted);
                    if compared.rest.is_empty() {
                        self.keep(&unwritten, files).await?;
                        return Ok(uncommitted);
                    }
                    unwritten.reduce(compared.rest).await?;
                    identity = self.instead_of(&unwritten, name).await?;
                }
            }
        }
        Err("other gateways take every name".to_owned())
    }

    /// All rows are in the lake already; they only have to be made durable.
    async fn keep(self: &Arc<Self>, unwritten: &UnwrittenRecords, files: Vec<OurFile>) -> Result<(), String> {
        self.blocking(unwritten, |writer, unwritten| writer.store.settle(&unwritten.partition)).await?;
        self.files().keep(unwritten.partition.clone(), files);
        Ok(())
    }

    /// Looks for the records in the partition. Ranges come in any order: an owed range comes after ranges that other places got
    /// meanwhile.
    fn look(&self, unwritten: &UnwrittenRecords, table: Option<&Table>) -> Result<Looked, String> {
        let snapshot = table.map(Table::refresh).transpose().map_err(|error| error.to_string())?;
        let mut looked = Looked { files: self.list(unwritten)?, rest: unwritten.positions.clone(), uncommitted: Vec::new() };
        if let Some(snapshot) = &snapshot {
            looked.rest = self.look_in_rewritten(unwritten, looked.rest, snapshot)?;
        }
        let overlapping: Vec<OurFile> =
            looked.files.iter().filter(|other| other.name.overlaps(&unwritten.range)).copied().collect();
        for other in overlapping {
            if looked.rest.is_empty() {
                break;
            }
            let rest = self.without(unwritten, looked.rest.clone(), &unwritten.path(&other.name), other.bytes)?;
            if rest.len() < looked.rest.len() {
                looked.uncommitted.extend(self.uncommitted(unwritten, &other, snapshot.as_deref())?);
            }
            looked.rest = rest;
        }
        Ok(looked)
    }

    /// The positions that none of the files holds which a compaction or an erasure made of ours.
    fn look_in_rewritten(
        &self,
        unwritten: &UnwrittenRecords,
        mut rest: Vec<usize>,
        snapshot: &Snapshot,
    ) -> Result<Vec<usize>, String> {
        let identities = self.identities.all(unwritten.range.spool_id);
        for file in snapshot.files_of(&unwritten.partition) {
            let is_touched = file.ranges.iter().any(|range| unwritten.range.is_touched_by(range, &identities));
            if is_touched && !rest.is_empty() {
                rest = self.without(unwritten, rest, &file.path, file.bytes)?;
            }
        }
        Ok(rest)
    }

    /// The file as the table should have it, if the table neither has it nor had it.
    fn uncommitted(
        &self,
        unwritten: &UnwrittenRecords,
        file: &OurFile,
        snapshot: Option<&Snapshot>,
    ) -> Result<Option<TableFile>, String> {
        let path = unwritten.path(&file.name);
        let is_needed =
            |snapshot: &Snapshot| !snapshot.is_live(&unwritten.partition, &path) && snapshot.removed_file(&path).is_none();
        if !snapshot.is_some_and(is_needed) {
            return Ok(None);
        }
        let source = self.store.open(&path, file.bytes).map_err(|error| format!("{path}: {error}"))?;
        let statistics = footer_statistics(source).map_err(|reason| format!("{path}: {reason}"))?;
        Ok(Some(unwritten.table_file(file, statistics)))
    }

    fn list(&self, unwritten: &UnwrittenRecords) -> Result<Vec<OurFile>, String> {
        let identities = self.identities.all(unwritten.range.spool_id);
        let is_ours = |name: &str| identities.iter().any(|identity| name.starts_with(&identity.to_string()));
        let files = self.store.look(&unwritten.partition, is_ours).map_err(|error| error.to_string())?;
        let ours = files.into_iter().filter_map(|file| {
            let name = FileName::parse(&file.name).filter(|name| identities.contains(&name.identity))?;
            Some(OurFile { name, bytes: file.bytes })
        });
        Ok(ours.collect())
    }

    /// The positions of `unwritten` that the file of this name does not hold.
    fn compare(&self, unwritten: &UnwrittenRecords, name: FileName, table: Option<&Table>) -> Result<Looked, String> {
        let path = unwritten.path(&name);
        let all = || Looked { rest: unwritten.positions.clone(), ..Looked::default() };
        match self.store.size(&path) {
            Ok(Some(bytes)) => {
                let rest = self.without(unwritten, unwritten.positions.clone(), &path, bytes)?;
                let mut looked = Looked { rest, ..Looked::default() };
                if looked.rest.len() < unwritten.positions.len() {
                    let snapshot = table.map(Table::refresh).transpose().map_err(|error| error.to_string())?;
                    looked.uncommitted.extend(self.uncommitted(unwritten, &OurFile { name, bytes }, snapshot.as_deref())?);
                }
                Ok(looked)
            }
            // Either not a file, which stays there, or a file that was just removed.
            Ok(None) => Ok(all()),
            Err(error) if self.may_pass(&path, &error) => Err(format!("{path}: {error}")),
            Err(_) => Ok(all()),
        }
    }

    /// Those of `positions` that the file at `path` does not hold.
    fn without(&self, unwritten: &UnwrittenRecords, positions: Vec<usize>, path: &str, bytes: u64) -> Result<Vec<usize>, String> {
        let passing = |error: io::Error| self.may_pass(path, &error).then(|| format!("{path}: {error}"));
        let source = match self.store.open(path, bytes) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(positions),
            Err(error) => return passing(error).map_or(Ok(positions), Err),
        };
        match not_held(source.clone(), &unwritten.records, &positions) {
            Ok(rest) => {
                self.unreadable().remove(path);
                Ok(rest)
            }
            Err(reason) => match source.read_through() {
                Err(error) if self.may_pass(path, &error) => Err(format!("{path}: {error}")),
                // The file cannot be read any more: better to write its rows twice than not at all.
                _ => {
                    tracing::warn!(path, reason, "a file of the lake cannot be read, and is not replaced");
                    Ok(positions)
                }
            },
        }
    }

    /// Creates a new durable identity, because `other` holds other rows than the unwritten ones.
    async fn instead_of(self: &Arc<Self>, unwritten: &UnwrittenRecords, other: FileName) -> Result<Uuid, String> {
        self.blocking(unwritten, move |writer, unwritten| {
            let made = writer.identities.instead_of(other.identity, unwritten.range.spool_id, &unwritten.path(&other));
            made.map_err(|error| format!("a new identity for this gateway's files cannot be kept: {error}"))
        })
        .await
    }

    /// Whether the file at `path`, unreadable because of this error, may become readable again. If its rows were written
    /// elsewhere at once, they would then be in the lake twice. Objects in S3 do not decay: only a missing right is permanent
    /// there.
    fn may_pass(&self, path: &str, error: &io::Error) -> bool {
        if self.store.is_passing(error) {
            return true;
        }
        if !self.store.is_local() {
            return false;
        }
        let mut unreadable = self.unreadable();
        if unreadable.len() >= LAKE_KNOWN_FOLDERS_MAX {
            unreadable.clear();
        }
        unreadable.entry(path.to_owned()).or_default().failed(&LAKE_UNREADABLE_PATIENCE, Instant::now()).is_some()
    }

    fn unreadable(&self) -> MutexGuard<'_, HashMap<String, Tries>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, KnownFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        unwritten: &UnwrittenRecords,
        work: impl FnOnce(&Self, &UnwrittenRecords) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (writer, unwritten) = (Arc::clone(self), unwritten.clone());
        spawn_blocking(move || work(&writer, &unwritten)).await.map_err(|panic| panic.to_string())?
    }
}
