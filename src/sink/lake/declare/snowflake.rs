//! Snowflake: Delta files in object storage appear as an Iceberg table, through a catalog integration and an external volume
//! (<https://docs.snowflake.com/en/sql-reference/sql/create-iceberg-table-delta>). Both are made once, by an administrator.

use super::table::{DeclaredTable, standard, text};

pub(super) fn statements(tables: &[DeclaredTable], database: &str) -> String {
    let bucket = tables.first().and_then(|table| table.on_s3().ok()).map_or("", |(bucket, _)| bucket);
    let mut sql = format!(
        "-- Once, by an administrator: an external volume `lakegate` at s3://{bucket}/, and\n\
         -- CREATE CATALOG INTEGRATION lakegate_delta CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = DELTA ENABLED = TRUE;\n\
         CREATE SCHEMA IF NOT EXISTS {};\n\n",
        standard(database)
    );
    for table in tables {
        let path = table.on_s3().map_or("", |(_, path)| path);
        let name = |table: &str| format!("{}.{}", standard(database), standard(table));
        sql.push_str(&format!(
            "CREATE OR REPLACE ICEBERG TABLE {}\n  EXTERNAL_VOLUME = 'lakegate'\n  CATALOG = 'lakegate_delta'\n  BASE_LOCATION = {}\n  \
             COMMENT = {};\n\n",
            name(&table.name),
            text(&format!("{path}/")),
            text(&table.comment)
        ));
        if let Some(joined) = table.joined_name() {
            let select = table.joined_select(&name(&table.name), "VARCHAR", standard);
            sql.push_str(&format!("CREATE OR REPLACE VIEW {} AS\n{select};\n\n", name(&joined)));
        }
    }
    sql
}
