//! The tables and views of the lake as data: what `lakegate lake tables --format json` prints for Terraform, and what the tables
//! for AWS Glue are made of.
//!
//! The catalogue names no bucket, because Terraform makes the bucket. Locations are relative to the root of the lake.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    athena::{self, LOCATION_TEMPLATE},
    raw_columns::{IS_LATE, comment, raw_columns},
    request::{ColumnType, Dialect, ViewRequest},
    typed::{TypedView, distinct_select, typed_select, typed_views},
};
use crate::limits::GLUE_COMMENT_BYTES_MAX;

/// Version of the JSON. Terraform refuses any other.
pub const CATALOGUE_FORMAT: u32 = 1;

/// All tables and views of a lake.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Catalogue {
    /// [`CATALOGUE_FORMAT`].
    pub format: u32,
    /// Name of the database.
    pub database: String,
    /// Event types of the registry, sorted.
    pub event_types: Vec<String>,
    /// How the files of every table are read.
    pub storage: Storage,
    /// Tables over the files.
    pub tables: Vec<CatalogueTable>,
    /// Views, in the order of their dependencies.
    pub views: Vec<CatalogueView>,
}

/// The Hive classes that read the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// Hive's `InputFormat`.
    pub input_format: &'static str,
    /// Hive's `OutputFormat`.
    pub output_format: &'static str,
    /// Hive's `SerDe`.
    pub serialization_library: &'static str,
}

/// Parquet.
pub(super) const STORAGE: Storage = Storage {
    input_format: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    output_format: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    serialization_library: "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
};

/// A table over the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueTable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub comment: String,
    /// Columns inside of the files.
    pub columns: Vec<CatalogueColumn>,
    /// Columns that the folders name.
    pub partition_keys: Vec<CatalogueColumn>,
    /// Table properties, partition projection among them, without the location template.
    pub parameters: std::collections::BTreeMap<String, String>,
    /// Folder of a partition, relative to the root of the lake: `storage.location.template`.
    pub location_template: String,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueView {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub comment: String,
    /// Its columns.
    pub columns: Vec<CatalogueColumn>,
    /// The SELECT, in Athena's SQL.
    pub sql: String,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueColumn {
    /// Its name.
    pub name: String,
    /// Its type in Hive and Glue.
    #[serde(rename = "type")]
    pub hive: &'static str,
    /// Its type in Presto, which Athena's views name.
    pub presto: &'static str,
    /// What it means; may be empty.
    pub comment: String,
}

impl CatalogueColumn {
    fn raw(name: &str) -> Self {
        let (hive, presto) = match name {
            "schema_version" => ("int", "integer"),
            "created_at" => ("double", "double"),
            IS_LATE => ("boolean", "boolean"),
            "created_datetime" | "received_datetime" => ("timestamp", "timestamp(3)"),
            _ => ("string", "varchar"),
        };
        Self { name: name.to_owned(), hive, presto, comment: comment(name).to_owned() }
    }

    fn typed(name: &str, kind: ColumnType, description: &str) -> Self {
        let (hive, presto) = match kind {
            ColumnType::Text | ColumnType::Json => ("string", "varchar"),
            ColumnType::Integer => ("bigint", "bigint"),
            ColumnType::Number => ("double", "double"),
            ColumnType::Boolean => ("boolean", "boolean"),
            ColumnType::DateTime => ("timestamp", "timestamp(3)"),
            ColumnType::Date => ("date", "date"),
        };
        Self { name: name.to_owned(), hive, presto, comment: glue_comment(description) }
    }
}

/// All tables and views; the request's root is not used.
#[must_use]
pub fn catalogue(request: &ViewRequest<'_>, database: &str) -> Catalogue {
    let request = ViewRequest { dialect: Dialect::Athena, ..request.clone() };
    let names = raw_columns(request.has_addresses);
    let (typed, event_types) = typed_views(&request, &names);
    let raw: Vec<CatalogueColumn> = names.iter().map(|name| CatalogueColumn::raw(name)).collect();
    let view = |name: &str, comment: &str, columns: &[CatalogueColumn], sql: String| CatalogueView {
        name: name.to_owned(),
        comment: comment.to_owned(),
        columns: columns.to_vec(),
        sql,
    };
    let mut views = vec![
        view("events_raw", "All rows of all files, duplicates included.", &raw, athena::union_select(&names)),
        view("events", "Each event once.", &raw, distinct_select(&names)),
    ];
    views.extend(typed.iter().map(|typed| {
        let select = typed_select(Dialect::Athena, typed, &names);
        view(&typed.view, &format!("The events {}, with typed columns.", typed.event_name), &typed_columns(typed, &names), select)
    }));
    Catalogue {
        format: CATALOGUE_FORMAT,
        database: database.to_owned(),
        event_types: event_types.iter().map(|name| (*name).to_owned()).collect(),
        storage: STORAGE,
        tables: tables(&request, &event_types, &raw),
        views,
    }
}

/// The columns that a typed view selects.
fn typed_columns(view: &TypedView, raw: &[&str]) -> Vec<CatalogueColumn> {
    let envelope = raw.iter().filter(|column| **column != "payload").map(|name| CatalogueColumn::raw(name));
    let fields = view.columns.iter().map(|column| CatalogueColumn::typed(&column.column, column.kind, &column.description));
    envelope.chain(fields).chain([CatalogueColumn::raw("payload")]).collect()
}

/// The tables over the files: the dated and the late ones.
fn tables(request: &ViewRequest<'_>, event_types: &BTreeSet<&str>, raw: &[CatalogueColumn]) -> Vec<CatalogueTable> {
    let is_partition = |column: &CatalogueColumn| matches!(column.name.as_str(), "event_type" | "created_date");
    let of_files = raw.iter().filter(|column| column.name != IS_LATE).cloned();
    let (partition_keys, columns): (Vec<_>, Vec<_>) = of_files.partition(is_partition);
    let own = [("EXTERNAL", "TRUE"), ("classification", "parquet")];
    let tables = athena::tables(event_types, request.first_date).into_iter().map(|table| CatalogueTable {
        name: table.name.to_owned(),
        comment: table.comment.to_owned(),
        columns: columns.clone(),
        partition_keys: partition_keys.clone(),
        parameters: own
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .chain(table.properties.into_iter().map(|(key, value)| (key.to_owned(), value)))
            .collect(),
        location_template: LOCATION_TEMPLATE.to_owned(),
    });
    tables.collect()
}

/// A description as Glue takes it: one line, not too long.
pub(in crate::sink::lake) fn glue_comment(description: &str) -> String {
    let line = description.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let mut line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(GLUE_COMMENT_BYTES_MAX));
    line
}
