//! What a pass did.

use std::{collections::BTreeMap, time::Duration};

use crate::{limits::LAKE_TYPED_NAMES_REPORTED, sink::lake::read::LeftOut};

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildReport {
    /// The version of the raw table that was read.
    pub raw_version: u64,
    /// The tables, sorted by event name, also those that needed nothing.
    pub tables: Vec<TableReport>,
    /// Rows that were met and have no table, because there is no schema of their name: the first names.
    pub without_table: BTreeMap<String, u64>,
    /// Files of the raw table that cannot be read: their events are missing.
    pub left_out: Vec<LeftOut>,
    /// Partitions that could not be built, and why: the next pass tries again.
    pub failed: Vec<LeftOut>,
    /// Tables whose log is damaged, by folder, and why: they are not built.
    pub damaged: Vec<LeftOut>,
    /// Partitions that another builder changed at the same time each time.
    pub overtaken: u64,
}

/// What was done to a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableReport {
    /// The event name.
    pub event_name: String,
    /// Its folder below the root of the typed tables.
    pub table: String,
    /// Partitions to which rows were added.
    pub appended: u64,
    /// Partitions that were written anew.
    pub rebuilt: u64,
    /// Rows that were written.
    pub rows_written: u64,
    /// Rows of them with a value that did not fit its column.
    pub unconverted: u64,
    /// Rows that left the table.
    pub rows_removed: u64,
    /// Time for its files.
    pub time: Duration,
    /// Rows of the table now.
    pub rows: u64,
    /// Files of the table now.
    pub files: u64,
}

impl BuildReport {
    /// What is not built, and why.
    pub fn not_built(&self) -> impl Iterator<Item = &LeftOut> {
        self.damaged.iter().chain(&self.failed)
    }

    /// Counts a row whose name has no table.
    pub(super) fn count_without_table(&mut self, event_name: &str) {
        if let Some(rows) = self.without_table.get_mut(event_name) {
            *rows += 1;
        } else if self.without_table.len() < LAKE_TYPED_NAMES_REPORTED {
            self.without_table.insert(event_name.to_owned(), 1);
        }
    }

    pub(super) fn table(&mut self, event_name: &str) -> &mut TableReport {
        let position = match self.tables.binary_search_by(|table| table.event_name.as_str().cmp(event_name)) {
            Ok(position) => position,
            Err(position) => {
                self.tables.insert(position, TableReport { event_name: event_name.to_owned(), ..TableReport::default() });
                position
            }
        };
        &mut self.tables[position]
    }
}
