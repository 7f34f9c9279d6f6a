//! Apache Spark with Delta Lake: a table over a folder that has a log
//! (<https://docs.delta.io/latest/delta-batch.html>).

use super::table::{DeclaredTable, backticks, text};

pub(super) fn statements(tables: &[DeclaredTable], database: &str) -> String {
    let mut sql = format!("CREATE DATABASE IF NOT EXISTS {};\n\n", backticks(database));
    for table in tables {
        let name = |table: &str| format!("{}.{}", backticks(database), backticks(table));
        // Hadoop's connector for S3 is named `s3a`.
        let location = match table.location.strip_prefix("s3://") {
            Some(rest) => format!("s3a://{rest}"),
            None => table.location.clone(),
        };
        sql.push_str(&format!("CREATE TABLE IF NOT EXISTS {} USING DELTA LOCATION {};\n\n", name(&table.name), text(&location)));
        if let Some(joined) = table.joined_name() {
            let select = table.joined_select(&name(&table.name), "STRING", backticks);
            sql.push_str(&format!("CREATE OR REPLACE VIEW {} AS\n{select};\n\n", name(&joined)));
        }
    }
    sql
}
