//! The typed tables that are there, opened to be read.

use std::sync::Arc;

use super::{
    definition::{EVENT_NAME, KIND, stored},
    tables::{TypedTable, damage, table_folders},
};
use crate::{
    event::EventColumns,
    sink::lake::{
        read::LeftOut,
        store::Store,
        table::{LogChanges, Snapshot, TABLE_KIND, Table, TableError},
    },
};

/// A typed table in one version.
pub(in crate::sink::lake) struct OpenedTyped {
    pub(in crate::sink::lake) event_name: String,
    /// Its folder below the root.
    pub(in crate::sink::lake) folder: String,
    pub(in crate::sink::lake) definition: EventColumns,
    pub(in crate::sink::lake) snapshot: Arc<Snapshot>,
    pub(in crate::sink::lake) store: Arc<Store>,
    table: Table,
}

impl OpenedTyped {
    /// Its identity: another one if it was deleted and created again, or emptied.
    pub(in crate::sink::lake) fn incarnation(&self) -> String {
        TypedTable::incarnation(&self.snapshot)
    }

    /// What changed since a version; `None` if the log does not tell any more.
    pub(in crate::sink::lake) fn changes_since(&self, version: u64) -> Result<Option<LogChanges>, TableError> {
        if version > self.snapshot.version { Ok(None) } else { self.table.changes(version, self.snapshot.version) }
    }
}

/// Opens the typed tables below `store`, sorted by event name. Also returns those whose log is damaged.
pub(in crate::sink::lake) fn open_typed(store: &Store) -> Result<(Vec<OpenedTyped>, Vec<LeftOut>), TableError> {
    let (mut opened, mut damaged) = (Vec::new(), Vec::new());
    for folder in table_folders(store)? {
        let store = Arc::new(store.below(&folder)?);
        let table = match Table::open_in(Arc::clone(&store)) {
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
        opened.push(OpenedTyped { event_name: event_name.to_owned(), folder, definition, snapshot, store, table });
    }
    opened.sort_by(|a, b| a.event_name.cmp(&b.event_name));
    Ok((opened, damaged))
}
