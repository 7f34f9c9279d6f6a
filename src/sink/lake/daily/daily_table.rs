//! A daily table: a Delta Lake table with a partition for each day.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use uuid::Uuid;

use super::inputs::MadeFrom;
use crate::{
    event::{Date, unix_millis},
    sink::lake::{
        Pace,
        partition::{Partition, parse_date},
        scratch::Scratch,
        store::Store,
        table::{Change, Definition, FileStatistics, Operation, Snapshot, TABLE_KIND, Table, TableError, TableFile, Transaction},
        upkeep::{Upkeep, UpkeepError, VacuumRequest},
    },
};

/// Value of the setting [`TABLE_KIND`].
const KIND: &str = "daily";
/// Setting: what the table was made from.
const MADE_FROM: &str = "lakegate.made_from";
/// Setting: its columns, as the JSON text of the log.
const COLUMNS: &str = "lakegate.result_columns";
/// Each commit counts: of two builders one is refused.
const APP_ID: &str = "lakegate-daily";
/// The `event_type` of the folders: a daily table has no events.
const EVENT_TYPE: &str = "daily";

/// The rows of a day.
pub(super) struct DayRows {
    pub(super) day: i32,
    /// A Parquet file.
    pub(super) file: Bytes,
}

/// A daily table.
pub(super) struct DailyTable {
    upkeep: Upkeep,
    /// The version on which the work is based.
    base: Arc<Snapshot>,
}

impl DailyTable {
    /// Opens the table; `None` if there is none.
    pub(super) fn open(store: Arc<Store>, scratch: &Scratch) -> Result<Option<Self>, UpkeepError> {
        Table::open_in(Arc::clone(&store))?.map(|table| Self::of(table, store, scratch)).transpose()
    }

    /// Creates the table with the columns that a query returns.
    pub(super) fn create(name: &str, columns: &str, store: Arc<Store>, scratch: &Scratch) -> Result<Self, UpkeepError> {
        let settings = [(TABLE_KIND, KIND), (COLUMNS, columns)];
        let definition = Definition { name, description: None, schema_string: Some(columns), settings: &settings };
        let table = Table::open_or_define(Arc::clone(&store), &definition)?;
        Self::of(table, store, scratch)
    }

    fn of(table: Table, store: Arc<Store>, scratch: &Scratch) -> Result<Self, UpkeepError> {
        let base = table.known();
        if base.setting(TABLE_KIND) != Some(KIND) {
            return Err(TableError::Unsupported("the folder belongs to a table of another kind".to_owned()).into());
        }
        Ok(Self { upkeep: Upkeep::of(Arc::new(table), store, scratch.clone()), base })
    }

    /// What the table was made from; `None` if that is not known.
    pub(super) fn made_from(&self) -> Option<MadeFrom> {
        serde_json::from_str(self.base.setting(MADE_FROM)?).ok()
    }

    pub(super) fn has_columns(&self, columns: &str) -> bool {
        self.base.setting(COLUMNS) == Some(columns)
    }

    /// The days that have rows.
    pub(super) fn days(&self) -> BTreeSet<i32> {
        let live = self.base.partitions().filter(|(_, files)| !files.is_empty());
        live.filter_map(|(partition, _)| parse_date(&partition.created_date).map(|date| date.days)).collect()
    }

    /// Rows and files.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.base.files().filter_map(|file| file.statistics.rows).sum(), self.base.files_count() as u64)
    }

    /// Empties the table and gives it other columns.
    pub(super) fn empty(&mut self, columns: &str) -> Result<bool, UpkeepError> {
        let mut change = Change::new(Operation::Overwrite, true);
        change.remove = self.base.files().cloned().collect();
        change.schema_string = Some(columns.to_owned());
        change.settings = BTreeMap::from([(COLUMNS.to_owned(), Some(columns.to_owned())), (MADE_FROM.to_owned(), None)]);
        self.commit(change)
    }

    /// Puts the rows of some days in place of what the table has of them. `made_from` is said with the last of them. Returns whether
    /// it did: another builder may have been faster, and then nothing has changed.
    pub(super) fn replace(
        &mut self,
        days: &RangeInclusive<i32>,
        rows: Vec<DayRows>,
        made_from: Option<&MadeFrom>,
    ) -> Result<bool, UpkeepError> {
        let mut change = Change::new(Operation::Overwrite, true);
        for DayRows { day, file } in rows {
            change.add.push(self.store_file(day, file)?);
        }
        let is_made = |file: &&Arc<TableFile>| parse_date(&file.partition.created_date).is_some_and(|it| days.contains(&it.days));
        change.remove = self.base.files().filter(is_made).cloned().collect();
        let said = made_from.and_then(|made_from| serde_json::to_string(made_from).ok());
        if let Some(said) = said {
            change.settings.insert(MADE_FROM.to_owned(), Some(said));
        }
        self.commit(change)
    }

    fn store_file(&self, day: i32, file: Bytes) -> Result<TableFile, UpkeepError> {
        let partition = Partition::new(EVENT_TYPE, Date { days: day });
        let at = |error: String| UpkeepError::files(&partition, error);
        let footer = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(|error| at(error.to_string()))?;
        let (name, bytes) = (format!("day-{}.parquet", Uuid::new_v4()), file.len() as u64);
        self.upkeep.store.create_exclusively(&partition.to_string(), &name, file).map_err(at)?;
        Ok(TableFile {
            path: format!("{partition}/{name}"),
            partition,
            bytes,
            modified_millis: unix_millis(SystemTime::now()),
            statistics: FileStatistics::of_footer(&footer),
            ranges: Vec::new(),
        })
    }

    fn commit(&mut self, mut change: Change) -> Result<bool, UpkeepError> {
        let expected = self.base.transaction(APP_ID);
        let version = expected.map_or(0, |state| state.version.saturating_add(1));
        change.transaction = Some(Transaction { app_id: APP_ID.to_owned(), version, expected });
        match self.upkeep.table.commit(&change) {
            Ok(snapshot) => {
                self.base = snapshot;
                Ok(true)
            }
            Err(TableError::Overtaken(_) | TableError::FilesGone(_)) => {
                // Nobody has them; what stays is removed by the vacuum.
                change.add.iter().for_each(|file| drop(self.upkeep.store.remove(&file.path)));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes old versions; if something was made, also files that a killed build left in a local folder.
    pub(super) fn tidy(
        &self,
        grace_millis: i64,
        log_retention_millis: i64,
        is_made: bool,
        pace: &Pace,
    ) -> Result<(), UpkeepError> {
        let list_folders = is_made && self.upkeep.store.is_local();
        if list_folders || self.base.removed().next().is_some() {
            let request = VacuumRequest { grace_millis, list_folders, unknown: true, dry_run: false };
            self.upkeep.vacuum(request, pace)?;
        }
        self.upkeep.clean_log(log_retention_millis, false, pace).map(drop)
    }
}
