//! How far a typed table is built.

use std::{collections::BTreeMap, sync::Arc};

use super::{progress::Built, tables::TypedTable};
use crate::sink::lake::{
    partition::Partition,
    table::{Snapshot, TableError},
};

/// How far a table is built, as of one of its versions.
pub(super) struct BuildState {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) incarnation: String,
    raw_table: String,
    /// Every partition is built up to here, except those in `recent`.
    watermark: Option<u64>,
    /// What builders said of partitions since the watermark was written: a slow one may have committed an older state.
    recent: BTreeMap<String, i64>,
}

impl BuildState {
    pub(super) fn of(table: &TypedTable, built: &Built) -> Result<Self, TableError> {
        let snapshot = table.upkeep.table.known();
        let incarnation = TypedTable::incarnation(&snapshot);
        let raw_table = built.raw_table.clone();
        let found = built.tables.get(&table.folder).filter(|found| found.incarnation == incarnation);
        let (mut watermark, mut recent) = (None, BTreeMap::new());
        if let Some(found) = found.filter(|found| found.version <= snapshot.version)
            && let Some(changes) = table.upkeep.table.changes(found.version, snapshot.version)?
        {
            watermark = Some(found.raw_version);
            recent = changes.transactions;
        }
        Ok(Self { snapshot, incarnation, raw_table, watermark, recent })
    }

    pub(super) fn watermark(&self) -> Option<u64> {
        self.watermark
    }

    pub(super) fn app_id(&self, partition: &Partition) -> String {
        TypedTable::app_id(&self.snapshot, &self.raw_table, partition)
    }

    /// The version of the raw table up to which a partition is built; `None` if it never was.
    pub(super) fn built(&self, app_id: &str) -> Option<u64> {
        let said = self.snapshot.transaction(app_id).and_then(|said| u64::try_from(said.version).ok());
        if self.recent.contains_key(app_id) { said } else { said.max(self.watermark) }
    }

    /// The partitions of `event_type` that builders committed since the watermark was written.
    pub(super) fn recent_partitions(&self, event_type: &str) -> impl Iterator<Item = Partition> {
        let of = |app_id: &String| {
            let (_, date) = app_id.rsplit_once('/')?;
            let partition = Partition { event_type: event_type.to_owned(), created_date: date.to_owned() };
            (self.app_id(&partition) == *app_id).then_some(partition)
        };
        self.recent.keys().filter_map(of)
    }

    /// The oldest version from which on the changes of the raw table are needed, if any are.
    pub(super) fn oldest(&self, event_type: &str, raw: &Snapshot) -> Option<u64> {
        let recent = self.recent_partitions(event_type).filter_map(|partition| self.built(&self.app_id(&partition)));
        match self.watermark {
            Some(watermark) => recent.chain([watermark]).min(),
            None => {
                let partitions = raw.partitions().map(|(partition, _)| partition);
                let of_type = partitions.filter(|partition| partition.event_type == event_type);
                of_type.filter_map(|partition| self.built(&self.app_id(partition))).min()
            }
        }
    }
}
