//! BigQuery: an external table over Delta Lake, through a connection to S3
//! (<https://cloud.google.com/bigquery/docs/create-delta-lake-table>, <https://cloud.google.com/bigquery/docs/omni-introduction>).

use super::table::{DeclaredTable, backticks};

pub(super) fn statements(tables: &[DeclaredTable], database: &str) -> String {
    let mut sql = String::from(
        "-- Once, by an administrator: a dataset and a connection to S3 in the same AWS region; put the connection's name for\n\
         -- `aws-us-east-1.lakegate`.\n\n",
    );
    for table in tables {
        let name = |table: &str| format!("{}.{}", backticks(database), backticks(table));
        sql.push_str(&format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {}\nWITH CONNECTION `aws-us-east-1.lakegate`\nOPTIONS (format = 'DELTA_LAKE', \
             uris = [{}], description = {});\n\n",
            name(&table.name),
            literal(&table.location),
            literal(&table.comment)
        ));
        if let Some(joined) = table.joined_name() {
            let select = table.joined_select(&name(&table.name), "STRING", backticks);
            sql.push_str(&format!("CREATE OR REPLACE VIEW {} AS\n{select};\n\n", name(&joined)));
        }
    }
    sql
}

/// A text as BigQuery reads it: a backslash escapes.
fn literal(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("'{}'", line.replace('\\', "\\\\").replace('\'', "\\'"))
}
