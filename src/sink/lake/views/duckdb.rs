//! The views for DuckDB.

use super::{
    names::{literal, quoted},
    request::{ColumnType, Dialect},
};
use crate::{
    json::pointer_token,
    sink::lake::columns::{CLIENT_ADDRESS, DEDUP_SCOPE},
};

/// `events_raw` over the table, and `events_files` over the files.
///
/// The extension reads one version of the table in each query, whatever the gateway does meanwhile. Its columns and their types
/// are those of the log.
pub(super) fn raw_of_table(root: &str, columns: &[&str]) -> String {
    let (table, selected) = (literal(root), Dialect::Duckdb.selected(columns));
    format!(
        "-- The table of the lake, one version in each query. DuckDB needs its extension `delta`, and fetches it the first time;\n\
         -- without the internet: LOAD 'delta.duckdb_extension'; before this, or `lakegate lake views --dialect duckdb --files`.\n\
         CREATE OR REPLACE VIEW events_raw AS\nSELECT {selected}\nFROM delta_scan({table});\n\n\
         -- The files in the folders, for comparison: after a compaction or an erasure also those that the vacuum has yet to remove.\n\
         {}",
        raw_of_files("events_files", root, columns, false)
    )
}

/// `view` over the files, whatever a log says of them.
///
/// The types of the partition columns are declared: otherwise DuckDB reads an event type `007` as a number, and the date as a
/// text if there is a folder `late`. `union_by_name` is needed because some columns are only in some files; with it DuckDB
/// reads the footer of every file (1,000 local files: 41 ms for one type instead of 12). An empty row with those columns is
/// added, because at first no file may have one.
pub(super) fn raw_of_files(view: &str, root: &str, columns: &[&str], has_late_folders: bool) -> String {
    let all = rows(root, if has_late_folders { "[0-9]*" } else { "*" }, columns);
    let mut select = format!("SELECT {}\nFROM {all}", Dialect::Duckdb.selected(columns));
    if has_late_folders {
        select.push_str(&late(root, columns));
    }
    format!(
        "-- DuckDB looks for files when a view is made: let the lake have its first file before.\n\
         CREATE OR REPLACE VIEW {view} AS\n{select};\n\n"
    )
}

/// Adds the rows of the folders `late`.
fn late(root: &str, columns: &[&str]) -> String {
    format!("\nUNION ALL\nSELECT {}\nFROM {}", Dialect::Duckdb.selected_late(columns), rows(root, "late", columns))
}

/// The rows of the files in folders of certain dates.
fn rows(root: &str, dates: &str, columns: &[&str]) -> String {
    let files = literal(&format!("{}/event_type=*/created_date={dates}/[!_.]*.parquet", no_glob(root.trim_end_matches('/'))));
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
