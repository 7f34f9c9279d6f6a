//! Trino: the connector `delta_lake` registers a table that is there, if `delta.register-table-procedure.enabled` is set
//! (<https://trino.io/docs/current/connector/delta-lake.html>).

use super::table::{DeclaredTable, standard, text};

pub(super) fn statements(tables: &[DeclaredTable], database: &str) -> String {
    let mut sql =
        String::from("-- The catalog `delta` has the connector delta_lake, with delta.register-table-procedure.enabled=true.\n");
    sql.push_str(&format!("CREATE SCHEMA IF NOT EXISTS delta.{};\n\n", standard(database)));
    for table in tables {
        sql.push_str(&format!(
            "CALL delta.system.register_table(schema_name => {}, table_name => {}, table_location => {});\n\n",
            text(database),
            text(&table.name),
            text(&table.location)
        ));
        if let Some(joined) = table.joined_name() {
            let name = |table: &str| format!("delta.{}.{}", standard(database), standard(table));
            let select = table.joined_select(&name(&table.name), "varchar", standard);
            sql.push_str(&format!("CREATE OR REPLACE VIEW {} AS\n{select};\n\n", name(&joined)));
        }
    }
    sql
}
