//! The lake as a table: a Delta Lake log over the Parquet files.
//!
//! ```text
//! <root>/_delta_log/00000000000000000042.json                 one version: the files that join and leave, and who did it
//! <root>/_delta_log/00000000000000000100.checkpoint.parquet   all that is live at a version
//! <root>/_delta_log/_last_checkpoint                          tells readers of the newest checkpoint
//! ```
//!
//! A commit is a file that is created only if its name is free, so that each version has one writer, and readers see all of a
//! change or nothing. Every flush is one commit. It adds files that are named after ranges of the spool: a replay of a range
//! finds its file in the log, or its rows in the file that a compaction made of it, and adds nothing twice.
//!
//! A commit that removes files checks their meaning, not only its version: each must still be live. So a compaction that read
//! files before an erasure never brings their rows back.
//!
//! # Why by hand
//!
//! The log is part of the durable path: a flush counts as delivered when its commit is on disk. Here it has the store's fsyncs,
//! conditional puts and error kinds. The crates that exist (`delta_kernel` with its engine) would add 64 crates to the default
//! build, an HTTP client and three clouds among them, and leave the check of meaning, the clean-up and the vacuum to us. Readers
//! of others (DuckDB, delta-rs, polars) read every step in the tests.
//!
//! # The modules
//!
//! `file`, `names`, `schema`, `actions`, `statistics`: the vocabulary · `snapshot`: a version · `checkpoint_…`: checkpoints ·
//! `load`: reading · `commit`: writing · `removals`: rows that left, by minute of receipt

mod actions;
mod change;
mod changes;
mod checkpoint_columns;
mod checkpoint_read;
mod checkpoint_write;
mod commit;
mod error;
mod file;
mod history;
mod load;
mod names;
mod removals;
mod schema;
mod snapshot;
mod statistics;
#[cfg(test)]
mod tests;
mod vacuumed;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use actions::TABLE_KIND;
pub use change::{Change, Operation};
pub(super) use change::{Transaction, TransactionState};
pub(super) use changes::LogChanges;
pub(super) use checkpoint_write::write_checkpoint;
pub use error::TableError;
pub use file::{FileStatistics, RemovedFile, SpoolRange, TableFile};
pub use history::Version;
pub(super) use names::{LOG_FOLDER, LogName, OWN_FOLDER};
pub use removals::UnrecordedRemoval;
pub(super) use removals::{note_removals, removals_up_to};
pub use snapshot::Snapshot;
pub(super) use vacuumed::{note_vacuumed, vacuumed_until};

use super::{LakeConfig, store::Store};
pub(super) use commit::Definition;

use commit::Committer;

/// Setting of a table whose older files are not all in its log yet.
pub(super) const ADOPTING: &str = "lakegate.adopting";

/// Which version of the table to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// This version.
    Version(u64),
    /// The newest version that was committed at this time or before, in Unix milliseconds.
    Time(i64),
}

/// The table of a lake. All calls block; use a separate thread (`spawn_blocking` in async code).
#[derive(Debug)]
pub struct Table {
    store: Arc<Store>,
    /// The newest known version. Locked while this process commits, so that its own commits do not collide.
    committer: Mutex<Committer>,
}

impl Table {
    /// Opens the table of the lake at `config`, beside a gateway that may be writing to it. `None` if the lake has no log.
    ///
    /// # Errors
    /// [`TableError`] if the store fails, or the log cannot be read.
    pub fn open(config: &LakeConfig) -> Result<Option<Self>, TableError> {
        Self::open_in(Arc::new(Store::for_upkeep(config)?))
    }

    pub(super) fn open_in(store: Arc<Store>) -> Result<Option<Self>, TableError> {
        let snapshot = load::load(&store, None)?;
        Ok(snapshot.map(|snapshot| Self::of(store, snapshot)))
    }

    /// Opens the table, or creates one without files. `settings` are stored in a new table.
    pub(super) fn open_or_create(store: Arc<Store>, settings: &[(&str, &str)]) -> Result<Self, TableError> {
        Self::open_or_define(store, &Definition { name: "events_raw", description: None, schema_string: None, settings })
    }

    /// Opens the table, or creates one by `definition`, which a table that exists need not match.
    pub(super) fn open_or_define(store: Arc<Store>, definition: &Definition<'_>) -> Result<Self, TableError> {
        if let Some(snapshot) = load::load(&store, None)? {
            return Ok(Self::of(store, snapshot));
        }
        commit::create(&store, definition)?;
        // Another writer may have created it at the same time.
        let snapshot = load::load(&store, None)?;
        let snapshot = snapshot.ok_or_else(|| TableError::damaged(LOG_FOLDER, "the log that was just created is gone"))?;
        Ok(Self::of(store, snapshot))
    }

    fn of(store: Arc<Store>, snapshot: Snapshot) -> Self {
        Self { store, committer: Mutex::new(Committer::new(snapshot)) }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The newest version that this process knows, without asking the store.
    #[must_use]
    pub fn known(&self) -> Arc<Snapshot> {
        self.committer().snapshot().clone()
    }

    /// The newest version.
    ///
    /// # Errors
    /// [`TableError`] if the store fails, or the log cannot be read.
    pub fn refresh(&self) -> Result<Arc<Snapshot>, TableError> {
        let mut committer = self.committer();
        committer.refresh(&self.store)?;
        Ok(committer.snapshot().clone())
    }

    /// An older version. Its files may be gone: the vacuum removes files that the newest version does not have.
    ///
    /// # Errors
    /// [`TableError::NoVersion`] if the log does not have it; else as [`Table::refresh`].
    pub fn snapshot_at(&self, at: AsOf) -> Result<Arc<Snapshot>, TableError> {
        let version = match at {
            AsOf::Version(version) => version,
            AsOf::Time(millis) => load::version_at(&self.store, millis)?,
        };
        let snapshot = load::load(&self.store, Some(version))?;
        snapshot.map(Arc::new).ok_or_else(|| TableError::NoVersion(version.to_string()))
    }

    /// The newest versions that the log tells of, at most `wanted`, ascending.
    ///
    /// # Errors
    /// As [`Table::refresh`].
    pub fn history(&self, wanted: u64) -> Result<Vec<Version>, TableError> {
        history::history(&self.store, wanted)
    }

    /// What the commits after version `since` changed, up to version `until`. `None` if the log does not go back that far.
    pub(super) fn changes(&self, since: u64, until: u64) -> Result<Option<LogChanges>, TableError> {
        changes::changes(&self.store, since, until)
    }

    /// The oldest version from which on every later commit is in the log: what came after it can be told.
    pub(super) fn changes_known_since(&self) -> Result<u64, TableError> {
        load::oldest_commit(&self.store).map(|oldest| oldest.saturating_sub(1))
    }

    /// Commits `change`, and returns the new version. It tries again if other writers are faster. Files to add that are live
    /// already are left out; if nothing is left, there is no commit.
    ///
    /// # Errors
    /// [`TableError::FilesGone`] if a file to remove is not live any more, [`TableError::Overtaken`] if the table does not meet
    /// what the change requires; else as [`Table::refresh`]. After an error of the
    /// store the change may have been committed all the same: the same call again tells.
    pub fn commit(&self, change: &Change) -> Result<Arc<Snapshot>, TableError> {
        let mut committer = self.committer();
        committer.commit(&self.store, change)?;
        Ok(committer.snapshot().clone())
    }

    /// Writes a checkpoint of the newest version.
    ///
    /// # Errors
    /// As [`Table::refresh`].
    pub fn checkpoint(&self) -> Result<Arc<Snapshot>, TableError> {
        let mut committer = self.committer();
        committer.refresh(&self.store)?;
        committer.checkpoint(&self.store)?;
        Ok(committer.snapshot().clone())
    }

    /// Whether somebody removed the log of a local lake.
    pub(super) fn is_gone(&self) -> bool {
        self.committer().is_gone(&self.store)
    }

    fn committer(&self) -> MutexGuard<'_, Committer> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
