//! Amazon Athena, engine 3: it reads the columns from the log, so the statement names none
//! (<https://docs.aws.amazon.com/athena/latest/ug/delta-lake-tables.html>).

use super::table::{DeclaredTable, backticks, standard, text};

pub(super) fn statements(tables: &[DeclaredTable], database: &str) -> String {
    let mut sql = String::new();
    for table in tables {
        let location = text(&format!("{}/", table.location));
        let name = format!("{}.{}", backticks(database), backticks(&table.name));
        sql.push_str(&format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {name}\nLOCATION {location}\nTBLPROPERTIES ('table_type' = 'DELTA');\n\n"
        ));
        if let Some(joined) = table.joined_name() {
            let from = format!("{}.{}", standard(database), standard(&table.name));
            let select = table.joined_select(&from, "varchar", standard);
            sql.push_str(&format!("CREATE OR REPLACE VIEW {}.{} AS\n{select};\n\n", standard(database), standard(&joined)));
        }
    }
    sql
}
