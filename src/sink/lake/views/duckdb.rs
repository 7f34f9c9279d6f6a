//! DuckDB's side of the views.

use super::{
    ColumnType, RAW_COLUMNS,
    names::{literal, quoted},
};

/// `events_raw` over the files themselves.
///
/// The partition columns are declared as text: left to itself, DuckDB reads `created_date` as a date, until the first
/// `late` one appears, and an event type `007` as a number. Not `union_by_name`: the files' columns are always the same,
/// and it would open every file of the lake for every query (1,000 local files: 41 ms for one type instead of 12).
pub(super) fn raw(root: &str) -> String {
    let files = literal(&format!("{}/event_type=*/created_date=*/*.parquet", no_glob(root.trim_end_matches('/'))));
    let columns = RAW_COLUMNS.map(quoted).join(", ");
    format!(
        "-- DuckDB looks for files when a view is made: let the lake have its first file before.\n\
         CREATE OR REPLACE VIEW events_raw AS\n\
         SELECT {columns}\n\
         FROM read_parquet(\n  \
           {files},\n  \
           hive_partitioning = true,\n  \
           hive_types = {{'event_type': VARCHAR, 'created_date': VARCHAR}}\n\
         );\n\n"
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
    let pointer = literal(&format!("/{}", field.replace('~', "~0").replace('/', "~1")));
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
