//! What DuckDB is told: the settings, a view over the files of each typed table, and the query.

use std::{
    fmt::Write as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use arrow_schema::{DataType, TimeUnit};

use super::query::DailyQuery;
use crate::{
    event::Date,
    limits::LAKE_DAILY_MEMORY_MIB,
    sink::lake::{
        declare::{DeclaredTable, duckdb_view},
        typed::{OpenedTyped, table_schema},
        views::{literal, quoted},
    },
};

/// The file that says the columns of the result.
pub(super) const COLUMNS_FILE: &str = "columns.parquet";
/// The folder of the rows: `day=2026-11-20/data_0.parquet` for each day that has some.
pub(super) const ROWS_FOLDER: &str = "rows";
/// The key of the folders below [`ROWS_FOLDER`].
pub(super) const DAY_FOLDER: &str = "lakegate_day=";

/// A typed table with those of its files that are read.
pub(super) struct InputFiles<'a> {
    pub(super) table: &'a OpenedTyped,
    pub(super) files: Vec<PathBuf>,
}

/// The statements for the days of one run. The result goes below `scratch`.
pub(super) fn script(query: &DailyQuery, days: &RangeInclusive<i32>, inputs: &[InputFiles<'_>], scratch: &Path) -> String {
    let path = |name: &str| literal(&scratch.join(name).to_string_lossy());
    let [first, last] = [days.start(), days.end()].map(|days| Date { days: *days });
    let mut sql = format!(
        "SET memory_limit = '{LAKE_DAILY_MEMORY_MIB}MiB';\nSET temp_directory = {};\nSET TimeZone = 'UTC';\n\
         SET autoinstall_known_extensions = false;\nSET preserve_insertion_order = true;\n",
        path("spilled")
    );
    for input in inputs {
        sql.push_str(&view(input));
    }
    query.views().into_iter().for_each(|statement| sql.push_str(statement));
    let (text, key) = (query.for_days(first, last), DAY_FOLDER.trim_end_matches('='));
    let (columns, rows) = (path(COLUMNS_FILE), path(ROWS_FOLDER));
    let _ = write!(
        sql,
        "COPY (SELECT * FROM (\n{text}\n) AS result LIMIT 0) TO {columns} (FORMAT parquet);\n\
         COPY (SELECT *, day AS {key} FROM (\n{text}\n) AS result WHERE day BETWEEN DATE '{first}' AND DATE '{last}')\n\
         TO {rows} (FORMAT parquet, COMPRESSION zstd, PARTITION_BY ({key}));\n",
    );
    sql
}

/// The view over a typed table: its columns, also those that no file has, and the rows of its files.
fn view(input: &InputFiles<'_>) -> String {
    let declared = DeclaredTable::of(&input.table.definition, &input.table.folder, "");
    let schema = table_schema(&input.table.definition);
    let of_files =
        schema.fields().iter().map(|field| format!("NULL::{} AS {}", type_of(field.data_type()), quoted(field.name())));
    let of_folders = ["NULL::VARCHAR AS event_type", "NULL::DATE AS created_date"].map(str::to_owned);
    let mut scan = format!("(SELECT {} WHERE false", of_files.chain(of_folders).collect::<Vec<_>>().join(", "));
    if !input.files.is_empty() {
        let files: Vec<String> = input.files.iter().map(|path| literal(&path.to_string_lossy())).collect();
        let _ = write!(
            scan,
            "\nUNION ALL BY NAME SELECT * FROM read_parquet([{}], union_by_name = true, hive_partitioning = true, \
             hive_types = {{'event_type': VARCHAR, 'created_date': DATE}})",
            files.join(", ")
        );
    }
    duckdb_view(&declared, &format!("{scan}) AS files"))
}

/// A type in DuckDB's words.
fn type_of(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP_MS".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP".into(),
        DataType::Date32 => "DATE".into(),
        DataType::List(element) => format!("{}[]", type_of(element.data_type())),
        DataType::Struct(members) => {
            let members = members.iter().map(|member| format!("{} {}", quoted(member.name()), type_of(member.data_type())));
            format!("STRUCT({})", members.collect::<Vec<_>>().join(", "))
        }
        _ => "VARCHAR".into(),
    }
}
