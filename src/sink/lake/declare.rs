//! Declares the typed tables to query engines: statements in the words of each.
//!
//! The engines read columns and files from the log of each table, so a statement only says where the table is. Nothing needs to be
//! declared again when a column joins. If the type of a field changed, it has several columns; then a view joins them as text.

mod athena;
mod bigquery;
mod duckdb;
mod glue;
mod snowflake;
mod spark;
mod table;
#[cfg(test)]
mod tests;
mod trino;

use super::error::LakeError;
pub(super) use duckdb::view as duckdb_view;
pub use table::{DeclaredColumn, DeclaredTable};

/// A query engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// DuckDB, with its extension `delta`.
    Duckdb,
    /// Amazon Athena, engine 3.
    Athena,
    /// The AWS Glue Data Catalog: input of `aws glue create-table`.
    Glue,
    /// Trino, with its connector `delta_lake`.
    Trino,
    /// Apache Spark with Delta Lake.
    Spark,
    /// Snowflake, with a catalog integration for Delta files.
    Snowflake,
    /// BigQuery, with a connection to S3.
    Bigquery,
}

/// The statements that declare `tables` in the database `database`.
///
/// # Errors
/// [`LakeError::Root`] if the engine cannot read from there.
pub fn declarations(engine: Engine, tables: &[DeclaredTable], database: &str) -> Result<String, LakeError> {
    if engine != Engine::Duckdb && engine != Engine::Spark {
        tables.iter().try_for_each(|table| table.on_s3().map(drop))?;
    }
    Ok(match engine {
        Engine::Duckdb => duckdb::statements(tables),
        Engine::Athena => athena::statements(tables, database),
        Engine::Glue => glue::inputs(tables),
        Engine::Trino => trino::statements(tables, database),
        Engine::Spark => spark::statements(tables, database),
        Engine::Snowflake => snowflake::statements(tables, database),
        Engine::Bigquery => bigquery::statements(tables, database),
    })
}
