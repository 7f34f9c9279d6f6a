//! Writes one new file of a partition, which gets its name only when it is [published](publish).

use std::fs::File;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    file::{metadata::ParquetMetaData, properties::WriterPropertiesBuilder},
};
use uuid::Uuid;

use super::request::MergeError;
use crate::{
    limits::{LAKE_COMPRESSED_ROWS, LAKE_ROW_GROUP_BYTES_MAX, LAKE_ROW_GROUP_ROWS_MAX},
    sink::lake::{
        encode::{REWRITTEN_PREFIX, properties_of_any_file},
        partition::Partition,
        scratch::Scratch,
        store::{Store, Unfinished},
    },
};

/// A file that is being written.
pub(in crate::sink::lake) struct FileWriter {
    name: String,
    file: Unfinished,
    writer: ArrowWriter<File>,
}

/// A file that is complete, but has no name in its partition yet. Dropped, it leaves nothing.
#[derive(Debug)]
pub(in crate::sink::lake) struct Written {
    name: String,
    file: Unfinished,
    footer: ParquetMetaData,
}

/// A new file.
#[derive(Debug)]
pub(in crate::sink::lake) struct MergedFile {
    pub(in crate::sink::lake) name: String,
    pub(in crate::sink::lake) bytes: u64,
    pub(in crate::sink::lake) footer: ParquetMetaData,
}

impl FileWriter {
    /// A file with the columns `schema`, for at most `rows` rows as far as is known. `adjust` sets properties beyond those of every
    /// file.
    pub(in crate::sink::lake) fn begin(
        store: &Store,
        scratch: &Scratch,
        schema: SchemaRef,
        rows: u64,
        adjust: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
    ) -> Result<Self, MergeError> {
        let name = format!("{REWRITTEN_PREFIX}{}.parquet", Uuid::new_v4());
        let file = store.unfinished(&name, scratch)?;
        // Its Bloom filter is made for so many rows, and then folded: 2 MiB for a full row group.
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).clamp(LAKE_COMPRESSED_ROWS, LAKE_ROW_GROUP_ROWS_MAX);
        let properties = properties_of_any_file(&[], rows)?
            .set_max_row_group_row_count(Some(LAKE_ROW_GROUP_ROWS_MAX))
            .set_max_row_group_bytes(Some(LAKE_ROW_GROUP_BYTES_MAX));
        let options = ArrowWriterOptions::new().with_properties(adjust(properties).build()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file.file()?, schema, options)?;
        Ok(Self { name, file, writer })
    }

    /// Writes rows. Returns the bytes of the file so far, roughly.
    pub(in crate::sink::lake) fn write(&mut self, rows: &RecordBatch) -> Result<u64, MergeError> {
        self.writer.write(rows)?;
        Ok((self.writer.bytes_written() + self.writer.in_progress_size()) as u64)
    }

    pub(in crate::sink::lake) fn close(self) -> Result<Written, MergeError> {
        let footer = self.writer.close()?;
        Ok(Written { name: self.name, file: self.file, footer })
    }
}

/// Gives files their names in `partition`; they are durable on return. A reader of plain files sees them, a table does not yet.
pub(in crate::sink::lake) fn publish(
    written: impl IntoIterator<Item = Written>,
    partition: &Partition,
    store: &Store,
) -> Result<Vec<MergedFile>, MergeError> {
    let mut published: Vec<MergedFile> = Vec::new();
    for Written { name, file, footer } in written {
        let finished = file.bytes().and_then(|bytes| store.finish(partition, &name, file).map(|()| bytes));
        match finished {
            Ok(bytes) => published.push(MergedFile { name, bytes, footer }),
            Err(error) => {
                // Best effort: a vacuum removes what stays.
                for file in published {
                    let _ = store.remove(&format!("{partition}/{}", file.name));
                }
                return Err(error.into());
            }
        }
    }
    Ok(published)
}
