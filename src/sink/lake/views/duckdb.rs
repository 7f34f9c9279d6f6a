//! DuckDB's side of the views.

use super::{
    CLIENT_ADDRESS, ColumnType,
    names::{literal, quoted},
};
use crate::json::pointer_token;

/// `events_raw` over the files themselves.
///
/// The partition columns are declared as text: left to itself, DuckDB reads `created_date` as a date, until the first
/// `late` one appears, and an event type `007` as a number. Not `union_by_name`, which opens every file of the lake for
/// every query (1,000 local files: 41 ms for one type instead of 12): the columns that all files have are always the same.
/// Only a column that some have needs it, and an empty row beside it, since for a while none may have it.
pub(super) fn raw(root: &str, columns: &[&str]) -> String {
    let files = literal(&format!("{}/event_type=*/created_date=*/*.parquet", no_glob(root.trim_end_matches('/'))));
    let has_addresses = columns.contains(&CLIENT_ADDRESS);
    let columns = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let by_name = if has_addresses { "\n  union_by_name = true," } else { "" };
    let files = format!(
        "read_parquet(\n  \
           {files},{by_name}\n  \
           hive_partitioning = true,\n  \
           hive_types = {{'event_type': VARCHAR, 'created_date': VARCHAR}}\n\
         )"
    );
    let rows = match has_addresses {
        false => files,
        true => format!(
            "(\nSELECT NULL::VARCHAR AS {} WHERE false\nUNION ALL BY NAME\nSELECT * FROM {files}\n) AS files",
            quoted(CLIENT_ADDRESS)
        ),
    };
    format!(
        "-- DuckDB looks for files when a view is made: let the lake have its first file before.\n\
         CREATE OR REPLACE VIEW events_raw AS\nSELECT {columns}\nFROM {rows};\n\n"
    )
}

/// A path that a glob takes for itself.
fn no_glob(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for letter in path.chars() {
        match letter {
            '*' | '?' | '[' => escaped.extend(['[', letter, ']']),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// A field of the payload. A JSON pointer names it, since a pointer has an escape for every character.
pub(super) fn field(field: &str, kind: ColumnType) -> String {
    let pointer = literal(&format!("/{}", pointer_token(field)));
    let text = format!("json_extract_string(payload, {pointer})");
    match kind {
        ColumnType::Text => text,
        ColumnType::Integer => format!("TRY_CAST({text} AS BIGINT)"),
        ColumnType::Number => format!("TRY_CAST({text} AS DOUBLE)"),
        ColumnType::Boolean => format!("TRY_CAST({text} AS BOOLEAN)"),
        // A cast to TIMESTAMP would drop the offset; by way of microseconds the session's zone stays out of it.
        ColumnType::DateTime => format!("make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"),
        ColumnType::Date => format!("TRY_CAST({text} AS DATE)"),
        ColumnType::Json => format!("json_extract(payload, {pointer})"),
    }
}
