//! Writes the rows of one partition of a typed table into files.

use parquet::{file::properties::EnabledStatistics, schema::types::ColumnPath};

use super::columns::{OTHER, TypedColumns, UNCONVERTED};
use crate::{
    event::EventColumns,
    limits::{LAKE_CHUNK_BYTES, LAKE_CHUNK_ROWS, LAKE_FILE_BYTES_MAX},
    sink::lake::{
        merge::{FileWriter, MergeError, Written},
        row::LakeRow,
        scratch::Scratch,
        store::Store,
    },
};

/// Files being written. Dropped, it leaves nothing.
pub(super) struct TypedWriter<'a> {
    store: &'a Store,
    scratch: &'a Scratch,
    columns: TypedColumns,
    open: Option<FileWriter>,
    done: TypedFiles,
}

/// Complete files.
#[derive(Default)]
pub(super) struct TypedFiles {
    pub(super) written: Vec<Written>,
    pub(super) rows: u64,
    /// Rows with a value that did not fit its column.
    pub(super) unconverted: u64,
}

impl<'a> TypedWriter<'a> {
    pub(super) fn new(store: &'a Store, scratch: &'a Scratch, definition: &EventColumns) -> Self {
        Self { store, scratch, columns: TypedColumns::new(definition), open: None, done: TypedFiles::default() }
    }

    pub(super) fn push(&mut self, row: &LakeRow<'_>) -> Result<(), MergeError> {
        self.columns.push(row);
        let (rows, bytes) = self.columns.size();
        if rows >= LAKE_CHUNK_ROWS || bytes >= LAKE_CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<TypedFiles, MergeError> {
        if self.columns.size().0 > 0 {
            self.write()?;
        }
        self.close()?;
        Ok(self.done)
    }

    /// Writes the collected rows.
    fn write(&mut self) -> Result<(), MergeError> {
        let chunk = self.columns.finish()?;
        self.done.rows += chunk.num_rows() as u64;
        self.done.unconverted = self.columns.unconverted_rows();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => FileWriter::begin(self.store, self.scratch, self.columns.schema(), u64::MAX, |properties| {
                // The minimum and maximum of JSON texts are useless.
                [UNCONVERTED, OTHER].into_iter().fold(properties, |properties, name| {
                    properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None)
                })
            })?,
        };
        let bytes = open.write(&chunk)?;
        self.open = Some(open);
        if bytes >= LAKE_FILE_BYTES_MAX { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), MergeError> {
        if let Some(open) = self.open.take() {
            self.done.written.push(open.close()?);
        }
        Ok(())
    }
}
