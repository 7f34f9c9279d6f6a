//! Writes the files of one partition: finds the rows already in the lake, the missing rows, and the file name.
//!
//! An existing file is never replaced. Before the first file of a partition, its folder is listed once: a range that is
//! delivered again after a crash finds its rows there, even if it now has other bounds, because the disk lost records or the
//! sink changed in between. Rows in the lake are delivered; the others are written.
//!
//! A name that is taken by other rows, or files beyond what this data folder ever delivered, show another instance of it: a
//! copy, a restored backup, an image that was started once. Then a new identity is made durable and used from then on (see
//! [`lake_identities`](super::lake_identities)).

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    LakeConfig, LakeError,
    encode::{FileName, SeqRange, encode},
    lake_identities::Identities,
    partition::Partition,
    read::not_held,
    store::{Created, Store},
};
use crate::{
    event::Record,
    fault::Tries,
    limits::{LAKE_KNOWN_FILES_MAX, LAKE_KNOWN_FOLDERS_MAX, LAKE_NAMES_TRIED_MAX, LAKE_UNREADABLE_PATIENCE},
};

/// Writes files of partitions.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
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
}

impl UnwrittenRecords {
    fn path(&self, name: &FileName) -> String {
        format!("{}/{name}", self.partition)
    }

    /// Keeps only `positions`, and encodes the file again.
    async fn reduce(&mut self, positions: Vec<usize>) -> Result<(), String> {
        if positions.len() == self.positions.len() {
            return Ok(());
        }
        let (range, records, kept) = (self.range, Arc::clone(&self.records), positions.clone());
        let encoded = spawn_blocking(move || encode(&range, &records, &kept)).await.map_err(|panic| panic.to_string())?;
        self.file = encoded.map_err(|error| error.to_string())?.file.unwrap_or_default().into();
        self.positions = positions;
        Ok(())
    }
}

impl Writer {
    /// Opens the lake for writing, with the identities stored in the folder `memory`.
    pub(super) fn open(config: &LakeConfig, memory: Option<&Path>) -> Result<Self, LakeError> {
        let (store, identities) = (Store::for_writing(config)?, Identities::open(memory));
        Ok(Self { store, identities, files: Mutex::default(), unreadable: Mutex::default() })
    }

    /// Writes all records of `unwritten` to the lake durably, unless they are there already.
    ///
    /// # Errors
    /// The reason, for the log; some of the records may be in the lake.
    pub(super) async fn write(self: &Arc<Self>, mut unwritten: UnwrittenRecords) -> Result<(), String> {
        let spool_id = unwritten.range.spool_id;
        // Removed from the map, so that only a successful write puts the files back.
        let known = self.files().take(&unwritten.partition);
        let mut files = match known {
            Some(known) if known.iter().all(|file| !file.name.overlaps(&unwritten.range)) => known,
            known => {
                let (files, rest) = self.blocking(&unwritten, move |writer, unwritten| writer.look(unwritten, known)).await?;
                if rest.is_empty() {
                    return self.keep(&unwritten, files).await;
                }
                unwritten.reduce(rest).await?;
                files
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
                    files.push(OurFile { name, bytes: unwritten.file.len() as u64 });
                    self.files().keep(unwritten.partition, files);
                    return Ok(());
                }
                Created::Taken => {
                    let rest = self.blocking(&unwritten, move |writer, unwritten| writer.compare(unwritten, name)).await?;
                    if rest.is_empty() {
                        return self.keep(&unwritten, files).await;
                    }
                    unwritten.reduce(rest).await?;
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

    /// Our files in the partition, and the positions that none of them holds. Ranges come in any order: an owed range comes
    /// after ranges that other places got meanwhile.
    fn look(&self, unwritten: &UnwrittenRecords, known: Option<Vec<OurFile>>) -> Result<(Vec<OurFile>, Vec<usize>), String> {
        let files = match known {
            Some(known) => known,
            None => self.list(unwritten)?,
        };
        let mut rest = unwritten.positions.clone();
        for other in files.iter().filter(|other| other.name.overlaps(&unwritten.range)) {
            rest = self.without(unwritten, rest, other)?;
            if rest.is_empty() {
                break;
            }
        }
        Ok((files, rest))
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
    fn compare(&self, unwritten: &UnwrittenRecords, name: FileName) -> Result<Vec<usize>, String> {
        let path = unwritten.path(&name);
        match self.store.size(&path) {
            Ok(Some(bytes)) => self.without(unwritten, unwritten.positions.clone(), &OurFile { name, bytes }),
            // Either not a file, which stays there, or a file that was just removed.
            Ok(None) => Ok(unwritten.positions.clone()),
            Err(error) if self.may_pass(&path, &error) => Err(format!("{path}: {error}")),
            Err(_) => Ok(unwritten.positions.clone()),
        }
    }

    fn without(&self, unwritten: &UnwrittenRecords, positions: Vec<usize>, other: &OurFile) -> Result<Vec<usize>, String> {
        let path = unwritten.path(&other.name);
        let passing = |error: io::Error| self.may_pass(&path, &error).then(|| format!("{path}: {error}"));
        let source = match self.store.open(&path, other.bytes) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(positions),
            Err(error) => return passing(error).map_or(Ok(positions), Err),
        };
        match not_held(source.clone(), &unwritten.records, &positions) {
            Ok(rest) => {
                self.unreadable().remove(&path);
                Ok(rest)
            }
            Err(reason) => match source.read_through() {
                Err(error) if self.may_pass(&path, &error) => Err(format!("{path}: {error}")),
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
