//! Writes sorted rows into as few files as their size allows. The files get their names only at the end ([`Merged::publish`]),
//! so that a reader of plain files sees the rows twice for as short as possible.

use std::fs::File;

use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    file::metadata::ParquetMetaData,
};
use uuid::Uuid;

use super::request::{MergeError, MergeRequest};
use crate::{
    limits::{LAKE_CHUNK_BYTES, LAKE_CHUNK_ROWS, LAKE_ROW_GROUP_BYTES_MAX, LAKE_ROW_GROUP_ROWS_MAX},
    sink::lake::{
        columns::{self, Columns, Extra},
        encode::{REWRITTEN_PREFIX, properties_of_any_file},
        partition::Partition,
        read::LeftOut,
        row::LakeRow,
        store::{Store, Unfinished},
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
    /// Files that were left alone.
    pub(in crate::sink::lake) left_out: Vec<LeftOut>,
}

/// A new file.
#[derive(Debug)]
pub(in crate::sink::lake) struct MergedFile {
    pub(in crate::sink::lake) name: String,
    pub(in crate::sink::lake) bytes: u64,
    pub(in crate::sink::lake) footer: ParquetMetaData,
}

/// A file that is complete, but has no name in its partition yet.
#[derive(Debug)]
pub(super) struct Written {
    name: String,
    file: Unfinished,
    footer: ParquetMetaData,
}

/// The files of a merge.
pub(super) struct Output<'a> {
    request: &'a MergeRequest<'a>,
    extra: Extra,
    /// Bytes at which a file is complete.
    file_bytes: u64,
    columns: Columns,
    open: Option<Open>,
    written: Vec<Written>,
}

struct Open {
    name: String,
    file: Unfinished,
    writer: ArrowWriter<File>,
}

impl<'a> Output<'a> {
    /// Files for rows that took `bytes` before, with the optional columns `extra`.
    pub(super) fn new(request: &'a MergeRequest<'a>, bytes: u64, extra: Extra) -> Self {
        // Files of one size, not a small one at the end.
        let file_bytes = bytes / bytes.div_ceil(request.file_bytes_max).max(1) + 1;
        let columns = Columns::with_capacity(0, 0, extra);
        Self { request, extra, file_bytes, columns, open: None, written: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &LakeRow<'_>) -> Result<(), MergeError> {
        self.columns.push_row(row);
        let (rows, bytes) = self.columns.size();
        if rows >= LAKE_CHUNK_ROWS || bytes >= LAKE_CHUNK_BYTES { self.write() } else { Ok(()) }
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
        let chunk = self.columns.finish()?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        open.writer.write(&chunk)?;
        let bytes = open.writer.bytes_written() + open.writer.in_progress_size();
        self.open = Some(open);
        if bytes as u64 >= self.file_bytes { self.close() } else { Ok(()) }
    }

    fn begin(&self) -> Result<Open, MergeError> {
        let name = format!("{REWRITTEN_PREFIX}{}.parquet", Uuid::new_v4());
        let file = self.request.store.unfinished(&name, self.request.scratch)?;
        let properties = properties_of_any_file(&[], LAKE_ROW_GROUP_ROWS_MAX)?
            .set_max_row_group_row_count(Some(LAKE_ROW_GROUP_ROWS_MAX))
            .set_max_row_group_bytes(Some(LAKE_ROW_GROUP_BYTES_MAX));
        let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file.file()?, columns::schema(self.extra), options)?;
        Ok(Open { name, file, writer })
    }

    fn close(&mut self) -> Result<(), MergeError> {
        let Some(Open { name, file, writer }) = self.open.take() else { return Ok(()) };
        let footer = writer.close()?;
        self.written.push(Written { name, file, footer });
        Ok(())
    }
}

impl Merged {
    /// Gives the files their names; they are durable on return. A reader of plain files sees them, a table does not yet.
    pub(in crate::sink::lake) fn publish(&mut self, store: &Store) -> Result<Vec<MergedFile>, MergeError> {
        let mut published: Vec<MergedFile> = Vec::new();
        for Written { name, file, footer } in self.written.drain(..) {
            let finished = file.bytes().and_then(|bytes| store.finish(&self.partition, &name, file).map(|()| bytes));
            match finished {
                Ok(bytes) => published.push(MergedFile { name, bytes, footer }),
                Err(error) => {
                    // Best effort: a vacuum removes what stays.
                    for file in published {
                        let _ = store.remove(&format!("{}/{}", self.partition, file.name));
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(published)
    }
}
