//! Up to which version of the raw table each typed table was found to be built: `_lakegate/built.json`. It spares commits of
//! partitions that got no event. If it is lost, partitions are found again by their own transactions, or rebuilt.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use crate::sink::lake::{store::Store, table::OWN_FOLDER};

const FILE: &str = "built.json";
const FORMAT: u32 = 1;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Built {
    format: u32,
    /// Identity of the raw table.
    pub(super) raw_table: String,
    /// By folder.
    pub(super) tables: BTreeMap<String, BuiltTable>,
}

/// A typed table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct BuiltTable {
    /// Its identity: a table that was deleted and created again has none of it.
    pub(super) incarnation: String,
    /// Every partition is built up to this version of the raw table.
    pub(super) raw_version: u64,
    /// At this version of the typed table that was so. A slower builder may have committed an older state afterwards.
    pub(super) version: u64,
}

impl Built {
    /// Reads it. Nothing, if there is none, or one of another raw table, or one that cannot be understood.
    pub(super) fn read(store: &Store, raw_table: &str) -> io::Result<Self> {
        let nothing = || Self { format: FORMAT, raw_table: raw_table.to_owned(), tables: BTreeMap::new() };
        match store.read(&format!("{OWN_FOLDER}/{FILE}")) {
            Ok(bytes) => {
                let read = serde_json::from_slice::<Self>(&bytes).ok();
                Ok(read.filter(|built| built.format == FORMAT && built.raw_table == raw_table).unwrap_or_else(nothing))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(nothing()),
            Err(error) => Err(error),
        }
    }

    /// Reads it, whatever raw table it is about.
    pub(super) fn read_any(store: &Store) -> Option<Self> {
        let bytes = store.read(&format!("{OWN_FOLDER}/{FILE}")).ok()?;
        serde_json::from_slice::<Self>(&bytes).ok().filter(|built| built.format == FORMAT)
    }

    pub(super) fn write(&self, store: &Store) -> Result<(), String> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        store.replace(OWN_FOLDER, FILE, bytes.into())
    }
}
