//! The lake under upkeep: its table, its files, and what need not be found out again.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::sink::lake::{
    LakeConfig,
    pace::Stopped,
    scratch::Scratch,
    store::Store,
    table::{Table, TableError},
};

/// The upkeep of one lake. All calls block.
#[derive(Debug)]
pub struct Upkeep {
    pub(in crate::sink::lake) table: Arc<Table>,
    pub(in crate::sink::lake) store: Arc<Store>,
    pub(in crate::sink::lake) scratch: Scratch,
    memory: Mutex<Memory>,
}

/// What need not be found out again. Only of live files, so it does not grow beyond the table.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Files that cannot be merged, by path.
    pub(super) unmergeable: HashSet<String>,
    /// The day from which on a file has expired events, by path.
    pub(super) expires: HashMap<String, i32>,
}

/// Why upkeep ended early. What was done until then stays done.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// The log.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The files.
    #[error("{path}: {reason}")]
    Files {
        /// A partition or a file.
        path: String,
        /// The reason.
        reason: String,
    },
}

impl From<Stopped> for UpkeepError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl UpkeepError {
    #[allow(clippy::needless_pass_by_value, reason = "callers pass texts and errors alike")]
    pub(in crate::sink::lake) fn files(path: impl ToString, reason: impl ToString) -> Self {
        Self::Files { path: path.to_string(), reason: reason.to_string() }
    }
}

impl Upkeep {
    /// Opens the lake at `config`, beside a gateway that may be writing to it. `None` if the lake has no table. Rows that do not
    /// fit in memory go to scratch files in `scratch`; in a local lake, into the lake's own folder for unfinished files.
    ///
    /// # Errors
    /// [`TableError`] if the store fails, or the log cannot be read.
    pub fn open(config: &LakeConfig, scratch: PathBuf) -> Result<Option<Self>, TableError> {
        let store = Arc::new(Store::for_upkeep(config)?);
        let Some(table) = Table::open_in(Arc::clone(&store))? else { return Ok(None) };
        let scratch = Scratch::new(store.temp_folder().unwrap_or(scratch));
        Ok(Some(Self::of(Arc::new(table), store, scratch)))
    }

    /// The upkeep of a table that is open.
    pub(in crate::sink::lake) fn of(table: Arc<Table>, store: Arc<Store>, scratch: Scratch) -> Self {
        Self { table, store, scratch, memory: Mutex::default() }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets files that are not live any more.
    pub(super) fn forget_old_files(&self) {
        let snapshot = self.table.known();
        let live: HashSet<&str> = snapshot.files().map(|file| file.path.as_str()).collect();
        let mut memory = self.memory();
        memory.unmergeable.retain(|path| live.contains(path.as_str()));
        memory.expires.retain(|path, _| live.contains(path.as_str()));
    }
}
