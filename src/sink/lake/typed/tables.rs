//! The typed tables: opened, created, and brought to the columns that the schemas have now.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    definition::{COLUMNS, EVENT_NAME, Evolution, GENERATION, KIND, evolve, stored},
    delta_schema::delta_schema,
    location::typed_folder,
};
use crate::{
    event::EventColumns,
    sink::lake::{
        LakeConfig,
        partition::Partition,
        read::LeftOut,
        scratch::Scratch,
        store::Store,
        table::{Change, Definition, LOG_FOLDER, Operation, Snapshot, TABLE_KIND, Table, TableError},
        upkeep::{Upkeep, UpkeepError},
    },
};

/// Folders of these names would hide a view of the lake.
const RESERVED: [&str; 4] = ["events", "events_raw", "events_dated", "events_late"];

/// The table of one event name.
#[derive(Debug)]
pub(super) struct TypedTable {
    /// Its folder below the root.
    pub(super) folder: String,
    /// What its files have.
    pub(super) definition: EventColumns,
    pub(super) upkeep: Upkeep,
}

impl TypedTable {
    pub(super) fn event_name(&self) -> &str {
        &self.definition.event_name
    }

    pub(super) fn event_type(&self) -> &str {
        self.event_name().split(':').next().unwrap_or_default()
    }

    /// The name under which builders say how far a partition is built.
    pub(super) fn app_id(snapshot: &Snapshot, raw_table: &str, partition: &Partition) -> String {
        let date = &partition.created_date;
        match snapshot.setting(GENERATION) {
            Some(generation) => format!("{raw_table}/{generation}/{date}"),
            None => format!("{raw_table}/{date}"),
        }
    }

    /// Its identity: another one if it was deleted and created again, or emptied.
    pub(super) fn incarnation(snapshot: &Snapshot) -> String {
        let generation = snapshot.setting(GENERATION).map(|generation| format!("/{generation}"));
        format!("{}{}", snapshot.id(), generation.unwrap_or_default())
    }
}

/// All typed tables of a lake.
#[derive(Debug)]
pub(super) struct TypedTables {
    pub(super) store: Arc<Store>,
    scratch: Scratch,
    /// By event name.
    pub(super) tables: BTreeMap<String, TypedTable>,
    /// Why the log of a folder cannot be read. The others are built all the same.
    pub(super) damaged: BTreeMap<String, String>,
    is_listed: bool,
}

impl TypedTables {
    pub(super) fn open(location: &LakeConfig, scratch: Scratch) -> Result<Self, TableError> {
        let store = Arc::new(Store::for_building(location)?);
        Ok(Self { store, scratch, tables: BTreeMap::new(), damaged: BTreeMap::new(), is_listed: false })
    }

    /// Brings all tables to their newest version, creates those that are missing, and gives them the columns of `definitions`.
    pub(super) fn sync(&mut self, definitions: &[EventColumns]) -> Result<(), UpkeepError> {
        if !self.is_listed {
            table_folders(&self.store)?.into_iter().try_for_each(|folder| self.look_at(folder))?;
            self.is_listed = true;
        }
        // Somebody may have mended or removed it.
        std::mem::take(&mut self.damaged).into_keys().try_for_each(|folder| self.look_at(folder))?;
        let known: Vec<String> = self.tables.keys().cloned().collect();
        for event_name in known {
            let Some(found) = self.tables.get(&event_name) else { continue };
            let refreshed = if found.upkeep.table.is_gone() { Err(TableError::LogGone(0)) } else { found.upkeep.table.refresh() };
            match refreshed {
                Ok(snapshot) => {
                    let definition = stored(&snapshot);
                    if let (Some(definition), Some(table)) = (definition, self.tables.get_mut(&event_name)) {
                        table.definition = definition;
                    }
                }
                // Somebody deleted it.
                Err(TableError::LogGone(_)) => drop(self.tables.remove(&event_name)),
                Err(error) => {
                    let folder = self.tables.remove(&event_name).map(|table| table.folder).unwrap_or_default();
                    self.leave_out(folder, error)?;
                }
            }
        }
        for definition in definitions {
            // A damaged table gets no second one beside it.
            let is_damaged = self.damaged.contains_key(&typed_folder(&definition.event_name));
            if !is_damaged && !self.tables.contains_key(&definition.event_name) {
                self.create(definition)?;
            }
            if let Some(table) = self.tables.get_mut(&definition.event_name) {
                bring_to(table, definition)?;
            }
        }
        Ok(())
    }

    /// Whether this program may look which tables there are.
    pub(super) fn may_list(&self) -> bool {
        self.store.list("").map_or_else(|error| !self.store.is_forbidden(&error), |_| true)
    }

    /// Opens the table in a folder, if there is one.
    fn look_at(&mut self, folder: String) -> Result<(), UpkeepError> {
        match Table::open_in(self.store_of(&folder)?) {
            Ok(Some(table)) => self.keep(folder, table),
            Ok(None) => {}
            Err(error) => self.leave_out(folder, error)?,
        }
        Ok(())
    }

    /// Leaves out a table whose log is damaged. Returns every other error: a store that fails, fails for all.
    fn leave_out(&mut self, folder: String, error: TableError) -> Result<(), UpkeepError> {
        if !error.is_damage() {
            return Err(UpkeepError::files(&folder, error));
        }
        self.damaged.insert(folder, error.to_string());
        Ok(())
    }

    /// The damaged tables, and why.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let of = |(folder, reason): (&String, &String)| LeftOut { file: folder.clone(), reason: damage(reason) };
        self.damaged.iter().map(of).collect()
    }

    fn store_of(&self, folder: &str) -> Result<Arc<Store>, TableError> {
        Ok(Arc::new(self.store.below(folder)?))
    }

    /// Keeps a table, if it is a typed one.
    fn keep(&mut self, folder: String, table: Table) {
        let snapshot = table.known();
        let is_typed = snapshot.setting(TABLE_KIND) == Some(KIND);
        let event_name = snapshot.setting(EVENT_NAME).unwrap_or_default().to_owned();
        if !is_typed || event_name.is_empty() || self.tables.contains_key(&event_name) {
            return;
        }
        // What cannot be read differs from every definition: the table is emptied.
        let unknown = EventColumns { event_name: event_name.clone(), description: String::new(), columns: Vec::new() };
        let definition = stored(&snapshot).unwrap_or(unknown);
        let store = Arc::clone(table.store());
        let upkeep = Upkeep::of(Arc::new(table), store, self.scratch.clone());
        self.tables.insert(event_name, TypedTable { folder, definition, upkeep });
    }

    fn create(&mut self, definition: &EventColumns) -> Result<(), UpkeepError> {
        let wanted = typed_folder(&definition.event_name);
        let taken: HashSet<&str> = self.tables.values().map(|table| table.folder.as_str()).chain(RESERVED).collect();
        let names = std::iter::once(wanted.clone()).chain((2..).map(|number| format!("{wanted}_{number}")));
        let free: Vec<String> = names.filter(|name| !taken.contains(name.as_str())).take(3).collect();
        for folder in free {
            let columns = json_of(definition);
            let settings = [(TABLE_KIND, KIND), (EVENT_NAME, definition.event_name.as_str()), (COLUMNS, columns.as_str())];
            let schema_string = delta_schema(definition);
            let description = Some(definition.description.as_str()).filter(|text| !text.is_empty());
            let new = Definition { name: &folder, description, schema_string: Some(&schema_string), settings: &settings };
            let table = Table::open_or_define(self.store_of(&folder)?, &new)?;
            // Another builder may have taken the folder for another name.
            if table.known().setting(EVENT_NAME) == Some(&definition.event_name) {
                self.keep(folder, table);
                return Ok(());
            }
        }
        Err(UpkeepError::files(&wanted, "the folder of the typed table belongs to something else"))
    }
}

/// What is to be said of a damaged log.
pub(super) fn damage(reason: &str) -> String {
    format!("{reason}; if nobody can mend it, delete the folder: it is built again")
}

/// The folders below the root that may be tables; none if there is no root.
pub(super) fn table_folders(store: &Store) -> Result<Vec<String>, TableError> {
    let mut folders = match store.list("") {
        Ok(listed) => listed.folders,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    folders.retain(|name| !name.starts_with(['_', '.']));
    Ok(folders)
}

fn json_of(definition: &EventColumns) -> String {
    serde_json::to_string(definition).unwrap_or_default()
}

/// Gives a table the columns of `wanted`. If its files do not fit them, one commit removes them all: a reader sees an empty table
/// until its partitions are built again, but never columns that do not fit a file.
fn bring_to(table: &mut TypedTable, wanted: &EventColumns) -> Result<(), UpkeepError> {
    let snapshot = table.upkeep.table.known();
    let is_readable = stored(&snapshot).is_some();
    let (definition, empties) = match evolve(&table.definition, wanted) {
        Evolution::Same if is_readable => return Ok(()),
        Evolution::Extended(definition) if is_readable => (definition, false),
        _ => (wanted.clone(), true),
    };
    let mut change = Change::new(Operation::SetProperties, empties);
    change.schema_string = Some(delta_schema(&definition));
    change.settings.insert(COLUMNS.to_owned(), Some(json_of(&definition)));
    // Of two builders one changes it, and the other sees that the next time.
    for key in [GENERATION, COLUMNS] {
        change.required_settings.insert(key.to_owned(), snapshot.setting(key).map(str::to_owned));
    }
    if empties {
        change.operation = Operation::Overwrite;
        change.remove = snapshot.files().cloned().collect();
        change.settings.insert(GENERATION.to_owned(), Some(Uuid::new_v4().to_string()));
        tracing::info!(
            table = table.folder,
            log = LOG_FOLDER,
            "the columns of a typed table changed their types: it is built again"
        );
    }
    match table.upkeep.table.commit(&change) {
        Ok(_) => {
            table.definition = definition;
            Ok(())
        }
        Err(TableError::FilesGone(_) | TableError::Overtaken(_)) => {
            if let Some(now) = stored(&*table.upkeep.table.refresh()?) {
                table.definition = now;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
