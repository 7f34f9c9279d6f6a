//! Writes a checkpoint: all that is live at a version in one file, so that readers need not read the commits before it.

use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::Compression,
    file::properties::WriterProperties,
};

use super::{
    actions::{Add, Line, Remove},
    checkpoint_columns::batch_of,
    error::TableError,
    names::{LAST_CHECKPOINT, LOG_FOLDER, checkpoint_name},
    snapshot::Snapshot,
};
use crate::{limits::LAKE_CHUNK_ROWS, sink::lake::store::Store};

/// Writes the checkpoint of `snapshot`, and points readers to it.
pub(in crate::sink::lake) fn write_checkpoint(store: &Store, snapshot: &Snapshot) -> Result<(), TableError> {
    let name = checkpoint_name(snapshot.version);
    let (bytes, actions) = encode(snapshot).map_err(|reason| TableError::store(&name, reason))?;
    let size = bytes.len();
    // Every writer of a version writes the same: a name that is taken is as good.
    store.create_exclusively(LOG_FOLDER, &name, bytes).map_err(|cause| TableError::store(&name, cause))?;
    let hint = serde_json::json!({
        "version": snapshot.version,
        "size": actions,
        "sizeInBytes": size,
        "numOfAddFiles": snapshot.files_count(),
    });
    let hint = Bytes::from(hint.to_string());
    store.replace(LOG_FOLDER, LAST_CHECKPOINT, hint).map_err(|cause| TableError::store(LAST_CHECKPOINT, cause))
}

/// The file, and its number of actions.
fn encode(snapshot: &Snapshot) -> Result<(Bytes, usize), String> {
    let head = [
        Line { protocol: snapshot.protocol.as_deref().cloned(), ..Line::default() },
        Line { meta_data: snapshot.metadata.as_deref().cloned(), ..Line::default() },
    ];
    let txns = snapshot.transactions.values().map(|txn| Line { txn: Some(txn.clone()), ..Line::default() });
    let adds = snapshot.files().map(|file| Line { add: Some(Add::of(file, false)), ..Line::default() });
    let removes = snapshot.removed().map(|removed| Line { remove: Some(Remove::of(removed)), ..Line::default() });
    let mut lines = head.into_iter().chain(txns).chain(adds).chain(removes).peekable();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let schema = batch_of(&[]).map_err(|error| error.to_string())?.schema();
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).map_err(|error| error.to_string())?;
    let mut actions = 0;
    while lines.peek().is_some() {
        let chunk: Vec<Line> = lines.by_ref().take(LAKE_CHUNK_ROWS).collect();
        actions += chunk.len();
        let batch = batch_of(&chunk).map_err(|error| error.to_string())?;
        writer.write(&batch).map_err(|error| error.to_string())?;
    }
    Ok((writer.into_inner().map_err(|error| error.to_string())?.into(), actions))
}
