//! The AWS Glue Data Catalog: one JSON object per line, the `--table-input` of `aws glue create-table`. Athena and Spark read the
//! columns from the log; the catalogue shows them to people, with their comments.

use serde_json::{Value, json};

use super::table::{DeclaredColumn, DeclaredTable};
use crate::sink::lake::views::glue_comment;

pub(super) fn inputs(tables: &[DeclaredTable]) -> String {
    tables.iter().map(|table| format!("{}\n", input(table))).collect()
}

fn input(table: &DeclaredTable) -> Value {
    json!({
        "Name": table.name.to_lowercase(),
        "Description": glue_comment(&table.comment),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": { "table_type": "DELTA", "spark.sql.sources.provider": "delta", "EXTERNAL": "TRUE" },
        // Delta Lake keeps the partitions itself.
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": table.columns.iter().map(column).collect::<Vec<_>>(),
            "Location": format!("{}/", table.location),
        },
    })
}

fn column(column: &DeclaredColumn) -> Value {
    json!({ "Name": column.name.to_lowercase(), "Type": column.hive, "Comment": glue_comment(&column.comment) })
}
