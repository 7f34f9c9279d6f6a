//! The tables and views of the Glue Data Catalog, as `aws glue create-table --table-input` takes them: equal to the result of
//! the Athena statements, for users who manage the catalogue with CloudFormation, Terraform or a script.
//!
//! A view in Glue is a Presto text in base64, with the type of every column twice: for Presto and for Hive.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    athena,
    raw_columns::{IS_LATE, raw_columns},
    request::{ColumnType, Dialect, ViewRequest},
    typed::{TypedView, distinct_select, typed_select, typed_views},
};
use crate::sink::lake::LakeError;

/// One table or view.
#[derive(Clone, Debug, PartialEq)]
pub struct GlueTable {
    /// Its name.
    pub name: String,
    /// The JSON for `--table-input`.
    pub input: Value,
}

/// All tables and views, in the order of their dependencies; `database` is the target database.
///
/// # Errors
/// [`LakeError::Root`] if the root is not on S3.
pub fn glue_tables(request: &ViewRequest<'_>, database: &str) -> Result<Vec<GlueTable>, LakeError> {
    let request = ViewRequest { dialect: Dialect::Athena, ..request.clone() };
    let names = raw_columns(request.has_addresses);
    let (typed, event_types) = typed_views(&request, &names);
    let mut tables = table_inputs(&request, &event_types, &names)?;
    let raw: Vec<Column> = names.iter().map(|name| Column::raw(name)).collect();
    tables.push(view("events_raw", database, &athena::union_select(&names), &raw));
    tables.push(view("events", database, &distinct_select(&names), &raw));
    tables.extend(typed.iter().map(|typed| {
        let select = typed_select(Dialect::Athena, typed, &names);
        view(&typed.view, database, &select, &columns(typed, &names))
    }));
    Ok(tables)
}

/// A column, with its types in Hive and in Presto.
struct Column {
    name: String,
    hive: &'static str,
    presto: &'static str,
}

impl Column {
    fn raw(name: &str) -> Self {
        let (hive, presto) = match name {
            "schema_version" => ("int", "integer"),
            "created_at" => ("double", "double"),
            IS_LATE => ("boolean", "boolean"),
            "created_datetime" | "received_datetime" => ("timestamp", "timestamp(3)"),
            _ => ("string", "varchar"),
        };
        Self { name: name.to_owned(), hive, presto }
    }

    fn typed(name: &str, kind: ColumnType) -> Self {
        let (hive, presto) = match kind {
            ColumnType::Text | ColumnType::Json => ("string", "varchar"),
            ColumnType::Integer => ("bigint", "bigint"),
            ColumnType::Number => ("double", "double"),
            ColumnType::Boolean => ("boolean", "boolean"),
            ColumnType::DateTime => ("timestamp", "timestamp(3)"),
            ColumnType::Date => ("date", "date"),
        };
        Self { name: name.to_owned(), hive, presto }
    }
}

/// The columns that a typed view selects.
fn columns(view: &TypedView, raw: &[&str]) -> Vec<Column> {
    let envelope = raw.iter().filter(|column| **column != "payload").map(|name| Column::raw(name));
    let fields = view.columns.iter().map(|column| Column::typed(&column.column, column.kind));
    envelope.chain(fields).chain([Column::raw("payload")]).collect()
}

fn hive(columns: &[Column]) -> Value {
    columns.iter().map(|column| json!({ "Name": column.name, "Type": column.hive })).collect()
}

fn view(name: &str, database: &str, select: &str, columns: &[Column]) -> GlueTable {
    let presto = json!({
        "originalSql": select,
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": columns.iter().map(|column| json!({ "name": column.name, "type": column.presto })).collect::<Vec<_>>(),
    });
    let input = json!({
        "Name": name,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": { "presto_view": "true", "comment": "Presto View" },
        "PartitionKeys": [],
        "StorageDescriptor": { "Columns": hive(columns), "Location": "", "SerdeInfo": {} },
        "ViewOriginalText": format!("/* Presto View: {} */", STANDARD.encode(presto.to_string())),
        "ViewExpandedText": "/* Presto View */",
    });
    GlueTable { name: name.to_owned(), input }
}

/// The tables over the files: the dated and the late ones.
fn table_inputs(request: &ViewRequest<'_>, event_types: &BTreeSet<&str>, raw: &[&str]) -> Result<Vec<GlueTable>, LakeError> {
    let is_partition = |name: &str| matches!(name, "event_type" | "created_date");
    let of_files = raw.iter().filter(|name| **name != IS_LATE).map(|name| Column::raw(name));
    let (partitions, columns): (Vec<_>, Vec<_>) = of_files.partition(|column| is_partition(&column.name));
    let root = request.root.trim_end_matches('/');
    let tables = athena::tables(root, event_types, request.first_date)?.map(|(name, properties)| {
        let mut parameters =
            Map::from_iter([("EXTERNAL".to_owned(), "TRUE".into()), ("classification".to_owned(), "parquet".into())]);
        parameters.extend(properties.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        let input = json!({
            "Name": name,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": parameters,
            "PartitionKeys": hive(&partitions),
            "StorageDescriptor": {
                "Columns": hive(&columns),
                "Location": format!("{root}/"),
                "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                "SerdeInfo": { "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe" },
            },
        });
        GlueTable { name: name.to_owned(), input }
    });
    Ok(tables.into())
}
