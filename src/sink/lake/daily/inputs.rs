//! The typed tables that a query reads, and what changed in them.

use std::{collections::BTreeMap, collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{days, query::DailyQuery};
use crate::sink::lake::{
    partition::{Partition, parse_date},
    table::{TableError, TableFile},
    typed::OpenedTyped,
};

/// What a daily table was made from: a setting of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct MadeFrom {
    /// The text of the query.
    fingerprint: String,
    /// The typed tables that it read, by folder.
    inputs: BTreeMap<String, Input>,
}

/// A typed table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Input {
    /// Its identity: a table that was deleted and created again has none of it.
    incarnation: String,
    version: u64,
}

/// The typed tables that a query reads.
pub(super) struct Inputs<'a> {
    fingerprint: String,
    pub(super) tables: Vec<&'a OpenedTyped>,
}

impl<'a> Inputs<'a> {
    pub(super) fn of(query: &DailyQuery, all: &'a [OpenedTyped]) -> Self {
        let tables = all.iter().filter(|table| query.reads(&table.folder)).collect();
        Self { fingerprint: query.fingerprint(), tables }
    }

    pub(super) fn made_from(&self) -> MadeFrom {
        let input = |table: &&OpenedTyped| {
            let input = Input { incarnation: table.incarnation(), version: table.snapshot.version };
            (table.folder.clone(), input)
        };
        MadeFrom { fingerprint: self.fingerprint.clone(), inputs: self.tables.iter().map(input).collect() }
    }

    /// The days of rows to make again of a table that was made from `before`; `None` for all.
    pub(super) fn changed_days(&self, before: Option<&MadeFrom>) -> Result<Option<BTreeSet<i32>>, TableError> {
        let Some(before) = before.filter(|before| before.fingerprint == self.fingerprint) else { return Ok(None) };
        if !before.inputs.keys().eq(self.tables.iter().map(|table| &table.folder).collect::<BTreeSet<_>>()) {
            return Ok(None);
        }
        let mut changed = BTreeSet::new();
        for table in &self.tables {
            let known = before.inputs.get(&table.folder).filter(|input| input.incarnation == table.incarnation());
            let Some(input) = known else { return Ok(None) };
            let Some(changes) = table.changes_since(input.version)?.filter(|changes| !changes.unplaced) else { return Ok(None) };
            let new = changes.files.iter().filter(|(_, files)| files.iter().any(|file| file.data_change));
            changed.extend(days::changed(new.filter_map(|(partition, _)| parse_date(&partition.created_date))));
        }
        Ok(Some(changed))
    }

    /// All days of rows that there may be.
    pub(super) fn all_days(&self) -> BTreeSet<i32> {
        let partitions = self.tables.iter().flat_map(|table| table.snapshot.partitions());
        let live = partitions.filter(|(_, files)| !files.is_empty());
        days::changed(live.filter_map(|(partition, _)| parse_date(&partition.created_date)))
    }
}

/// The files of a typed table in these days of the lake.
pub(super) fn files_of<'a>(table: &'a OpenedTyped, lake_days: &RangeInclusive<i32>) -> impl Iterator<Item = &'a Arc<TableFile>> {
    let is_read = |partition: &Partition| parse_date(&partition.created_date).is_some_and(|date| lake_days.contains(&date.days));
    let partitions = table.snapshot.partitions().filter(move |(partition, _)| is_read(partition));
    partitions.flat_map(|(_, files)| files)
}
