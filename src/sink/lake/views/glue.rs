//! The tables and views of the Glue Data Catalog, as `aws glue create-table --table-input` takes them: equal to the result of
//! the Athena statements, for users who manage the catalogue with CloudFormation or a script. Terraform reads the catalogue
//! itself.
//!
//! A view in Glue is a Presto text in base64, with the type of every column twice: for Presto and for Hive.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    athena,
    catalogue::{CatalogueColumn, CatalogueTable, CatalogueView, STORAGE, catalogue},
    request::ViewRequest,
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
    let root = athena::s3_root(request.root)?;
    let catalogue = catalogue(request, database);
    let tables = catalogue.tables.iter().map(|table| table_input(table, root));
    let views = catalogue.views.iter().map(|view| view_input(view, database));
    Ok(tables.chain(views).collect())
}

fn hive(columns: &[CatalogueColumn]) -> Value {
    let column = |column: &CatalogueColumn| match column.comment.as_str() {
        "" => json!({ "Name": column.name, "Type": column.hive }),
        comment => json!({ "Name": column.name, "Type": column.hive, "Comment": comment }),
    };
    columns.iter().map(column).collect()
}

fn view_input(view: &CatalogueView, database: &str) -> GlueTable {
    let presto = json!({
        "originalSql": view.sql,
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": view.columns.iter().map(|column| json!({ "name": column.name, "type": column.presto })).collect::<Vec<_>>(),
    });
    let input = json!({
        "Name": view.name,
        "Description": view.comment,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": { "presto_view": "true", "comment": "Presto View" },
        "PartitionKeys": [],
        "StorageDescriptor": { "Columns": hive(&view.columns), "Location": "", "SerdeInfo": {} },
        "ViewOriginalText": format!("/* Presto View: {} */", STANDARD.encode(presto.to_string())),
        "ViewExpandedText": "/* Presto View */",
    });
    GlueTable { name: view.name.clone(), input }
}

fn table_input(table: &CatalogueTable, root: &str) -> GlueTable {
    let mut parameters = table.parameters.clone();
    parameters.insert("storage.location.template".to_owned(), format!("{root}/{}", table.location_template));
    let input = json!({
        "Name": table.name,
        "Description": table.comment,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "PartitionKeys": hive(&table.partition_keys),
        "StorageDescriptor": {
            "Columns": hive(&table.columns),
            "Location": format!("{root}/"),
            "InputFormat": STORAGE.input_format,
            "OutputFormat": STORAGE.output_format,
            "SerdeInfo": { "SerializationLibrary": STORAGE.serialization_library },
        },
    });
    GlueTable { name: table.name.clone(), input }
}
