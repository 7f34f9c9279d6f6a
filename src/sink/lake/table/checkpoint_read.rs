//! Reads a checkpoint.

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::{checkpoint_columns::lines_of, error::TableError, snapshot::Snapshot};
use crate::{
    limits::LAKE_CHUNK_ROWS,
    sink::lake::{guarded::guarded, store::Store},
};

/// Adds what the checkpoint file at `path` holds to `snapshot`.
pub(super) fn read_checkpoint(store: &Store, path: &str, snapshot: &mut Snapshot) -> Result<(), TableError> {
    let bytes = store.read(path).map_err(|error| TableError::store(path, error))?;
    let damaged = |reason: String| TableError::damaged(path, reason);
    let mut batches = guarded(|| open(bytes)).map_err(damaged)?;
    while let Some(batch) = guarded(|| batches.next().transpose()).map_err(damaged)? {
        for line in lines_of(&batch) {
            snapshot.apply(line, path)?;
        }
    }
    Ok(())
}

fn open(bytes: Bytes) -> Result<impl Iterator<Item = Result<RecordBatch, String>>, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|error| error.to_string())?;
    let reader = builder.with_batch_size(LAKE_CHUNK_ROWS).build().map_err(|error| error.to_string())?;
    Ok(reader.map(|batch| batch.map_err(|error| error.to_string())))
}
