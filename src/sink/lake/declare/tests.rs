//! Declarations for each engine.

use serde_json::Value;

use super::*;
use crate::event::{EventColumn, EventColumns, FieldType};

fn column(column: &str, field: &str, kind: FieldType, description: &str) -> EventColumn {
    EventColumn { column: column.into(), field: field.into(), versions: vec![1], kind, description: description.into() }
}

fn table(root: &str, is_changed: bool) -> DeclaredTable {
    let mut columns = vec![
        column("price", "price", FieldType::Text, "What it's worth,\nin words."),
        column("size", "size", FieldType::Struct(vec![column("W", "W", FieldType::Integer, "")]), ""),
        column("tags", "tags", FieldType::List(Box::new(FieldType::Decimal { precision: 18, scale: 2 })), ""),
    ];
    if is_changed {
        columns.push(column("price_v2", "price", FieldType::Integer, ""));
    }
    let definition = EventColumns { event_name: "menu:item".into(), description: "A dish.".into(), columns };
    DeclaredTable::of(&definition, "menu_item", root)
}

#[test]
fn each_engine_is_told_where_the_table_is_in_its_own_words() {
    let tables = [table("s3://bucket/lake-typed", false)];
    let said = |engine: Engine| declarations(engine, &tables, "lake").unwrap();
    for (engine, text) in [
        (
            Engine::Duckdb,
            "CREATE OR REPLACE VIEW \"menu_item\" AS\nSELECT * FROM delta_scan('s3://bucket/lake-typed/menu_item');",
        ),
        (Engine::Duckdb, "COMMENT ON COLUMN \"menu_item\".\"price\" IS 'What it''s worth, in words.';"),
        (
            Engine::Athena,
            "CREATE EXTERNAL TABLE IF NOT EXISTS `lake`.`menu_item`\nLOCATION 's3://bucket/lake-typed/menu_item/'\nTBLPROPERTIES ('table_type' = 'DELTA');",
        ),
        (
            Engine::Trino,
            "CALL delta.system.register_table(schema_name => 'lake', table_name => 'menu_item', table_location => 's3://bucket/lake-typed/menu_item');",
        ),
        (
            Engine::Spark,
            "CREATE TABLE IF NOT EXISTS `lake`.`menu_item` USING DELTA LOCATION 's3a://bucket/lake-typed/menu_item';",
        ),
        (Engine::Snowflake, "BASE_LOCATION = 'lake-typed/menu_item/'\n  COMMENT = 'A dish.';"),
        (
            Engine::Bigquery,
            "OPTIONS (format = 'DELTA_LAKE', uris = ['s3://bucket/lake-typed/menu_item'], description = 'A dish.');",
        ),
    ] {
        assert!(said(engine).contains(text), "{engine:?}: {}", said(engine));
        assert!(!said(engine).contains("_joined"), "{engine:?}: nothing changed");
    }
    let glue: Value = serde_json::from_str(&said(Engine::Glue)).unwrap();
    let columns = glue["StorageDescriptor"]["Columns"].as_array().unwrap();
    let kind = |name: &str| columns.iter().find(|column| column["Name"] == name).map(|column| column["Type"].clone());
    assert_eq!(kind("schema_version"), Some("int".into()));
    assert_eq!(kind("size"), Some("struct<w:bigint>".into()));
    assert_eq!(kind("tags"), Some("array<decimal(18,2)>".into()));
    assert_eq!(kind("created_date"), Some("date".into()));
    assert_eq!(glue["StorageDescriptor"]["Location"], "s3://bucket/lake-typed/menu_item/");
}

#[test]
fn a_field_whose_type_changed_is_joined_as_text() {
    let tables = [table("s3://bucket/lake-typed", true)];
    for engine in [Engine::Duckdb, Engine::Athena, Engine::Trino, Engine::Spark, Engine::Snowflake, Engine::Bigquery] {
        let said = declarations(engine, &tables, "lake").unwrap();
        let plain = said.replace(['"', '`'], "").to_lowercase();
        let joined = plain.split("coalesce(").nth(1).unwrap_or_else(|| panic!("{engine:?}: {said}"));
        let of_text = |name: &str| {
            joined.contains(&format!("cast({name} as varchar)")) || joined.contains(&format!("cast({name} as string)"))
        };
        assert!(of_text("price") && of_text("price_v2") && joined.contains(") as price,"), "{engine:?}: {said}");
        assert_eq!(plain.contains("menu_item_joined"), engine != Engine::Duckdb, "DuckDB has a view anyway");
        assert!(plain.matches("price_v2").count() == 1, "{engine:?}: only joined: {said}");
    }
}

#[test]
fn engines_of_the_cloud_are_not_sent_to_a_local_folder() {
    let tables = [table("/data/lake-typed", false)];
    assert!(declarations(Engine::Duckdb, &tables, "lake").unwrap().contains("'file:///data/lake-typed/menu_item'"));
    assert!(declarations(Engine::Spark, &tables, "lake").unwrap().contains("LOCATION '/data/lake-typed/menu_item'"));
    for engine in [Engine::Athena, Engine::Glue, Engine::Trino, Engine::Snowflake, Engine::Bigquery] {
        assert!(declarations(engine, &tables, "lake").unwrap_err().to_string().contains("--lake s3://bucket/prefix"));
    }
}
