//! The columns of the table, as its log describes them.
//!
//! Every column may be null, because a column that may not needs the feature `invariants`. Timestamps have no zone, which needs
//! the feature `timestampNtz` in both lists of the protocol.

use serde::{Deserialize, Serialize};

use super::error::TableError;
use crate::sink::lake::columns::{CLIENT_ADDRESS, DEDUP_SCOPE};

/// The partition columns, in the order of the folders.
pub(super) const PARTITION_COLUMNS: [&str; 2] = ["event_type", "created_date"];

/// Name and type of every column.
const COLUMNS: [(&str, &str); 13] = [
    ("event_uuid", "string"),
    ("event_name", "string"),
    ("event_subtype", "string"),
    ("source", "string"),
    ("schema_version", "integer"),
    ("created_at", "double"),
    ("created_datetime", "timestamp_ntz"),
    ("received_datetime", "timestamp_ntz"),
    ("payload", "string"),
    (CLIENT_ADDRESS, "string"),
    (DEDUP_SCOPE, "string"),
    ("event_type", "string"),
    ("created_date", "date"),
];

#[derive(Deserialize, Serialize)]
struct Struct {
    #[serde(rename = "type")]
    kind: String,
    fields: Vec<Field>,
}

#[derive(Deserialize, Serialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: serde_json::Value,
    nullable: bool,
    metadata: serde_json::Map<String, serde_json::Value>,
}

/// The schema of a new table, as the JSON text of the log.
pub(super) fn schema_string() -> String {
    let field = |(name, kind): (&str, &str)| Field {
        name: name.to_owned(),
        kind: kind.into(),
        nullable: true,
        metadata: serde_json::Map::new(),
    };
    let fields = COLUMNS.into_iter().map(field).collect();
    serde_json::to_string(&Struct { kind: "struct".into(), fields }).unwrap_or_default()
}

/// Checks that a table has the partition columns, and, if it is the raw one, the lake's columns; more columns are allowed.
/// `created_date` may be a string.
pub(super) fn check_schema(schema_string: &str, partition_columns: &[String], is_raw: bool) -> Result<(), TableError> {
    let unsupported = |reason: String| Err(TableError::Unsupported(format!("no table of this lake: {reason}")));
    if partition_columns != PARTITION_COLUMNS {
        return unsupported(format!("its partition columns are {partition_columns:?}"));
    }
    let schema: Struct = match serde_json::from_str(schema_string) {
        Ok(schema) => schema,
        Err(error) => return unsupported(format!("its schema cannot be read: {error}")),
    };
    for (name, kind) in COLUMNS.into_iter().filter(|_| is_raw) {
        let Some(found) = schema.fields.iter().find(|field| field.name == name) else {
            return unsupported(format!("it has no column `{name}`"));
        };
        let fits = found.kind == kind || (name == "created_date" && found.kind == "string");
        if !fits {
            return unsupported(format!("its column `{name}` is {}", found.kind));
        }
    }
    Ok(())
}
