//! The views for DuckDB.

use super::{
    names::{literal, quoted},
    request::{ColumnType, Dialect},
};
use crate::{
    json::pointer_token,
    sink::lake::columns::{CLIENT_ADDRESS, DEDUP_SCOPE},
};

/// `events_raw` over the files.
///
/// The types of the partition columns are declared: otherwise DuckDB reads an event type `007` as a number, and the date as a
/// text if there is a folder `late`. `union_by_name` is needed because some columns are only in some files; with it DuckDB
/// reads the footer of every file (1,000 local files: 41 ms for one type instead of 12). An empty row with those columns is
/// added, because at first no file may have one.
pub(super) fn raw(root: &str, columns: &[&str], has_late_folders: bool) -> String {
    let all = rows(root, if has_late_folders { "[0-9]*" } else { "*" }, columns);
    let mut select = format!("SELECT {}\nFROM {all}", Dialect::Duckdb.selected(columns));
    if has_late_folders {
        select.push_str(&format!(
            "\nUNION ALL\nSELECT {}\nFROM {}",
            Dialect::Duckdb.selected_late(columns),
            rows(root, "late", columns)
        ));
    }
    format!(
        "-- DuckDB looks for files when a view is made: let the lake have its first file before.\n\
         CREATE OR REPLACE VIEW events_raw AS\n{select};\n\n"
    )
}

/// The rows of the files in folders of certain dates.
fn rows(root: &str, dates: &str, columns: &[&str]) -> String {
    let files = literal(&format!("{}/event_type=*/created_date={dates}/*.parquet", no_glob(root.trim_end_matches('/'))));
    let extra = [CLIENT_ADDRESS, DEDUP_SCOPE].into_iter().filter(|name| columns.contains(name));
    let extra = extra.map(|name| format!("NULL::VARCHAR AS {}", quoted(name))).collect::<Vec<_>>().join(", ");
    format!(
        "(\nSELECT {extra} WHERE false\nUNION ALL BY NAME\nSELECT * FROM read_parquet(\n  \
           {files},\n  \
           union_by_name = true,\n  \
           hive_partitioning = true,\n  \
           hive_types = {{'event_type': VARCHAR, 'created_date': DATE}}\n\
         )\n) AS files"
    )
}

/// A path with its glob characters escaped.
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

/// A field of the payload, named by a JSON pointer, because a pointer has an escape for every character.
pub(super) fn field(field: &str, kind: ColumnType) -> String {
    let pointer = literal(&format!("/{}", pointer_token(field)));
    let text = format!("json_extract_string(payload, {pointer})");
    match kind {
        ColumnType::Text => text,
        ColumnType::Integer => format!("TRY_CAST({text} AS BIGINT)"),
        ColumnType::Number => format!("TRY_CAST({text} AS DOUBLE)"),
        ColumnType::Boolean => format!("TRY_CAST({text} AS BOOLEAN)"),
        // A cast to TIMESTAMP would drop the offset; through microseconds the session's time zone has no effect.
        ColumnType::DateTime => format!("make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"),
        ColumnType::Date => format!("TRY_CAST({text} AS DATE)"),
        ColumnType::Json => format!("json_extract(payload, {pointer})"),
    }
}
