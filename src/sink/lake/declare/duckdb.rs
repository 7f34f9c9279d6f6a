//! DuckDB: a view over each table. It needs the extension `delta`.

use super::table::{DeclaredTable, standard, text};

pub(super) fn statements(tables: &[DeclaredTable]) -> String {
    let mut sql = String::new();
    for table in tables {
        let name = standard(&table.name);
        let url = if table.location.contains("://") { table.location.clone() } else { format!("file://{}", table.location) };
        sql.push_str(&view(table, &format!("delta_scan({})", text(&url))));
        for column in table.columns.iter().filter(|column| !column.comment.is_empty() && !is_joined_away(table, &column.name)) {
            sql.push_str(&format!("COMMENT ON COLUMN {name}.{} IS {};\n", standard(&column.name), text(&column.comment)));
        }
        sql.push('\n');
    }
    sql
}

/// The view over a table, whose files `scan` reads.
pub(in crate::sink::lake) fn view(table: &DeclaredTable, scan: &str) -> String {
    let select =
        if table.changed.is_empty() { format!("SELECT * FROM {scan}") } else { table.joined_select(scan, "varchar", standard) };
    format!("CREATE OR REPLACE VIEW {} AS\n{select};\n", standard(&table.name))
}

/// Whether the view has a column's values in the column of another version.
fn is_joined_away(table: &DeclaredTable, column: &str) -> bool {
    table.changed.iter().any(|columns| columns[1..].iter().any(|name| name == column))
}
