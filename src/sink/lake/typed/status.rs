//! What is in the typed tables of a lake now: read from their logs alone.

use super::{
    definition::{EVENT_NAME, KIND, stored},
    progress::Built,
    tables::{damage, table_folders},
};
use crate::{
    event::EventColumns,
    sink::lake::{
        LakeConfig,
        read::LeftOut,
        store::Store,
        table::{TABLE_KIND, Table, TableError},
    },
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
    let (mut tables, mut damaged) = (Vec::new(), Vec::new());
    for folder in table_folders(&store)? {
        let table = match Table::open_in(std::sync::Arc::new(store.below(&folder)?)) {
            Ok(Some(table)) => table,
            Ok(None) => continue,
            Err(error) if error.is_damage() => {
                damaged.push(LeftOut { file: folder, reason: damage(&error.to_string()) });
                continue;
            }
            Err(error) => return Err(error),
        };
        let snapshot = table.known();
        let definition = stored(&snapshot).filter(|_| snapshot.setting(TABLE_KIND) == Some(KIND));
        let (Some(definition), Some(event_name)) = (definition, snapshot.setting(EVENT_NAME)) else { continue };
        tables.push(TypedStatus {
            event_name: event_name.to_owned(),
            definition,
            rows: snapshot.files().filter_map(|file| file.statistics.rows).sum(),
            files: snapshot.files_count() as u64,
            bytes: snapshot.files().map(|file| file.bytes).sum(),
            newest_received_millis: snapshot.files().filter_map(|file| file.statistics.received_millis).map(|(_, max)| max).max(),
            raw_version: built.tables.get(&folder).map(|built| built.raw_version),
            folder,
        });
    }
    tables.sort_by(|a, b| a.event_name.cmp(&b.event_name));
    Ok((tables, damaged))
}
