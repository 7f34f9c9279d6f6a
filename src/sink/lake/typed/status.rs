//! What is in the typed tables of a lake now: read from their logs alone.

use super::{
    opened::{OpenedTyped, open_typed},
    progress::Built,
};
use crate::{
    event::EventColumns,
    sink::lake::{LakeConfig, read::LeftOut, store::Store, table::TableError},
};

/// A typed table.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedStatus {
    /// Its event name.
    pub event_name: String,
    /// Its folder below the root.
    pub folder: String,
    /// Its columns.
    pub definition: EventColumns,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// When its newest event was received, in Unix milliseconds.
    pub newest_received_millis: Option<i64>,
    /// Up to which version of the raw table it was found to be built at least; `None` if that is not known.
    pub raw_version: Option<u64>,
}

/// The typed tables at `location`, sorted by event name, and the folders of those whose log is damaged; none if there is nothing.
///
/// # Errors
/// [`TableError`] if the store fails.
pub fn typed_status(location: &LakeConfig) -> Result<(Vec<TypedStatus>, Vec<LeftOut>), TableError> {
    let store = match Store::for_reading(location) {
        Ok(store) => store,
        Err(error) if error.is_not_found() => return Ok((Vec::new(), Vec::new())),
        Err(error) => return Err(error.into()),
    };
    let built = Built::read_any(&store).unwrap_or_default();
    let (opened, damaged) = open_typed(&store)?;
    let status = |table: OpenedTyped| {
        let OpenedTyped { event_name, folder, definition, snapshot, .. } = table;
        TypedStatus {
            event_name,
            definition,
            rows: snapshot.files().filter_map(|file| file.statistics.rows).sum(),
            files: snapshot.files_count() as u64,
            bytes: snapshot.files().map(|file| file.bytes).sum(),
            newest_received_millis: snapshot.files().filter_map(|file| file.statistics.received_millis).map(|(_, max)| max).max(),
            raw_version: built.tables.get(&folder).map(|built| built.raw_version),
            folder,
        }
    };
    Ok((opened.into_iter().map(status).collect(), damaged))
}
