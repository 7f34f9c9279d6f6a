//! Writes sorted rows into as few files as their size allows. The files get their names only at the end ([`Merged::publish`]),
//! so that a reader of plain files sees the rows twice for as short as possible.

use arrow_array::cast::AsArray;
use parquet::schema::types::ColumnPath;

use super::{
    file_writer::{FileWriter, MergedFile, Written, publish},
    request::{MergeError, MergeRequest},
};
use crate::{
    limits::{LAKE_CHUNK_BYTES, LAKE_CHUNK_ROWS},
    sink::lake::{
        columns::{self, Columns, Extra},
        partition::Partition,
        payload_compression::payload_compression,
        read::LeftOut,
        removed_rows::MinuteCounts,
        row::LakeRow,
        store::Store,
    },
};

/// The result of a merge. Dropped without [`Merged::publish`], it leaves nothing.
#[derive(Debug)]
pub(in crate::sink::lake) struct Merged {
    pub(super) partition: Partition,
    pub(super) written: Vec<Written>,
    /// Positions in [`MergeRequest::files`] of the files that the new files replace, ascending.
    pub(in crate::sink::lake) replaced: Vec<usize>,
    /// Rows in the new files.
    pub(in crate::sink::lake) rows: u64,
    /// Rows left out because the same event was received before.
    pub(in crate::sink::lake) doubles: u64,
    /// Rows that the caller did not keep.
    pub(in crate::sink::lake) not_kept: u64,
    /// Both by minute of receipt.
    pub(in crate::sink::lake) gone: Gone,
    /// Files that were left alone.
    pub(in crate::sink::lake) left_out: Vec<LeftOut>,
}

/// Rows that are in the files before and not in those after, by minute of receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sink::lake) struct Gone {
    pub(in crate::sink::lake) doubles: MinuteCounts,
    pub(in crate::sink::lake) not_kept: MinuteCounts,
}

/// The files of a merge.
pub(super) struct Output<'a> {
    request: &'a MergeRequest<'a>,
    extra: Extra,
    /// Rows of all files together, at most.
    rows_max: u64,
    /// Bytes at which a file is complete.
    file_bytes: u64,
    columns: Columns,
    open: Option<FileWriter>,
    written: Vec<Written>,
}

impl<'a> Output<'a> {
    /// Files for rows that took `bytes` before and take `row_bytes` in memory, with the optional columns `extra`.
    pub(super) fn new(request: &'a MergeRequest<'a>, bytes: u64, row_bytes: usize, extra: Extra) -> Self {
        // Files of one size, not a small one at the end.
        let file_bytes = bytes / bytes.div_ceil(request.file_bytes_max).max(1) + 1;
        let rows = request.files.iter().map(|file| file.rows);
        // The log does not know the rows of each file.
        let rows_max = if rows.clone().any(|rows| rows == 0) { u64::MAX } else { rows.sum() };
        let rows_of_chunk = usize::try_from(rows_max).unwrap_or(0).min(LAKE_CHUNK_ROWS);
        // Its share of all rows, of which the payload is the most.
        let payload_bytes = row_bytes / usize::try_from(rows_max).unwrap_or(usize::MAX).max(1) * rows_of_chunk;
        let columns = Columns::with_capacity(rows_of_chunk, payload_bytes.min(LAKE_CHUNK_BYTES), extra);
        Self { request, extra, rows_max, file_bytes, columns, open: None, written: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &LakeRow<'_>) -> Result<(), MergeError> {
        self.columns.push_row(row);
        let (rows, bytes) = self.columns.size();
        if rows >= LAKE_CHUNK_ROWS || bytes >= LAKE_CHUNK_BYTES {
            self.write()?;
            // The next chunk is about as large.
            self.columns = Columns::with_capacity(rows, (bytes * 9 / 8).min(LAKE_CHUNK_BYTES), self.extra);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Written>, MergeError> {
        if self.columns.size().0 > 0 {
            self.write()?;
        }
        self.close()?;
        Ok(self.written)
    }

    /// Writes the collected rows.
    fn write(&mut self) -> Result<(), MergeError> {
        let (_, payload_bytes) = self.columns.size();
        let chunk = self.columns.finish()?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let MergeRequest { store, scratch, .. } = self.request;
                let payloads = chunk.column_by_name("payload").map(|column| column.as_string::<i32>().iter());
                let payloads = payloads.into_iter().flatten().flatten().map(str::as_bytes);
                let compression = payload_compression(payload_bytes, payloads)?;
                FileWriter::begin(store, scratch, columns::schema(self.extra), self.rows_max, |properties| {
                    properties.set_column_compression(ColumnPath::from("payload"), compression)
                })?
            }
        };
        let bytes = open.write(&chunk)?;
        self.open = Some(open);
        if bytes >= self.file_bytes { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), MergeError> {
        if let Some(open) = self.open.take() {
            self.written.push(open.close()?);
        }
        Ok(())
    }
}

impl Merged {
    /// Gives the files their names; they are durable on return. A reader of plain files sees them, a table does not yet.
    pub(in crate::sink::lake) fn publish(&mut self, store: &Store) -> Result<Vec<MergedFile>, MergeError> {
        publish(self.written.drain(..), &self.partition, store)
    }
}
