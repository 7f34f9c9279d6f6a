//! The SQL text of the views. tests/acceptance/test_lake_views.py runs it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::super::views::{ColumnType, Dialect, ViewColumn, ViewRequest, ViewSchema, glue_tables, views};
use crate::event::Date;

const FIRST_DATE: Date = Date { days: 20_778 };

fn schema(event_name: &str, version: u32, columns: &[(&str, ColumnType)]) -> ViewSchema {
    let columns = columns.iter().map(|(name, kind)| ViewColumn {
        name: (*name).to_owned(),
        kind: *kind,
        description: format!("What {name} is."),
    });
    ViewSchema { event_name: event_name.to_owned(), version, columns: columns.collect() }
}

fn sql(dialect: Dialect, root: &str, schemas: &[ViewSchema]) -> String {
    views(&ViewRequest {
        dialect,
        root,
        first_date: FIRST_DATE,
        schemas,
        has_addresses: false,
        is_table: false,
        has_late_folders: false,
    })
    .unwrap()
}

/// The text without quoted names, quoted texts and comments: the part that a parser reads as SQL.
fn unquoted(sql: &str) -> String {
    let mut rest = sql.chars().peekable();
    let mut outside = String::new();
    while let Some(letter) = rest.next() {
        match letter {
            '"' | '\'' => while rest.next().is_some_and(|inside| inside != letter) {},
            '-' if rest.peek() == Some(&'-') => while rest.next().is_some_and(|inside| inside != '\n') {},
            _ => outside.push(letter),
        }
    }
    outside
}

#[test]
fn no_name_of_a_schema_gets_out_of_its_quotes() {
    let evil = [
        "x\" FROM events; DROP TABLE events_raw; --",
        "x'); DROP VIEW events; --",
        "a\\\"]'); DROP--",
        "line\n; DROP TABLE events_dated",
        "nul\0; DROP",
        "$.a[*]",
        "",
    ];
    let columns: Vec<_> = evil.iter().map(|name| (*name, ColumnType::Integer)).collect();
    let schemas = [schema("menu:x", 1, &columns), schema("menu:'; DROP TABLE a;\"--\n", 1, &[])];
    for (dialect, root) in [(Dialect::Duckdb, "/lake/'; DROP TABLE b; --"), (Dialect::Athena, "s3://bucket/prefix")] {
        let sql = sql(dialect, root, &schemas);
        let outside = unquoted(&sql);
        assert_eq!(outside.matches("DROP").count(), if dialect == Dialect::Athena { 2 } else { 0 }, "{outside}");
        assert!(!sql.contains('\0'));
        let ends = outside.matches(';').count();
        let statements = if dialect == Dialect::Athena { 8 } else { 4 };
        assert_eq!(ends, statements, "{outside}");
    }
}

#[test]
fn versions_of_a_schema_are_one_view_with_the_fields_of_all() {
    use ColumnType::{Boolean, Integer, Json, Number, Text};
    let schemas = [
        schema("menu:item:viewed", 2, &[("price", Number), ("tags", Json), ("flag", Text)]),
        schema(
            "menu:item:viewed",
            1,
            &[("price", Integer), ("flag", Boolean), ("event_uuid", Text), ("Source", Text), ("a/b~c", Text)],
        ),
    ];
    let sql = sql(Dialect::Duckdb, "/lake", &schemas);
    assert_eq!(sql.matches("CREATE OR REPLACE VIEW").count(), 3);
    assert!(sql.contains("VIEW \"menu_item_viewed\" AS"));
    assert!(sql.contains("TRY_CAST(json_extract_string(payload, '/price') AS DOUBLE) AS \"price\""), "{sql}");
    assert!(sql.contains("json_extract_string(payload, '/flag') AS \"flag\""), "of two types: as text");
    assert!(sql.contains("json_extract(payload, '/tags') AS \"tags\""));
    assert!(!sql.contains("'/event_uuid'"), "a column already");
    assert!(sql.contains("'/a~1b~0c') AS \"a/b~c\""), "a JSON pointer's own escapes");
    assert!(sql.contains("'/Source') AS \"Source_2\""), "SQL does not tell it from `source`");
}

#[test]
fn addresses_are_a_column_of_every_view_where_they_are_kept() {
    let schemas = [schema("menu:item:viewed", 1, &[("client_address", ColumnType::Text)])];
    for (dialect, root) in [(Dialect::Duckdb, "/lake"), (Dialect::Athena, "s3://bucket/lake")] {
        let request = |has_addresses| ViewRequest {
            dialect,
            root,
            first_date: FIRST_DATE,
            schemas: &schemas,
            has_addresses,
            is_table: false,
            has_late_folders: false,
        };
        let (with, without) = (views(&request(true)).unwrap(), views(&request(false)).unwrap());
        for view in ["events_raw", "events", "\"menu_item_viewed\""] {
            let start = format!("VIEW {view} AS\n");
            let of = |sql: &str| sql.split(&start).nth(1).unwrap().split(";\n\n").next().unwrap().to_owned();
            assert!(of(&with).contains("client_address"), "{with}");
            assert!(view.contains("menu") || !of(&without).contains("client_address"), "{without}");
        }
        // If addresses are not stored, the name is free for the field of the event.
        assert!(without.contains("AS \"client_address\"") && !with.contains("\"client_address_2\""), "{without}{with}");
    }
}

#[test]
fn every_view_says_what_is_late_and_an_old_lakes_late_folders_are_given_a_date() {
    let schemas = [schema("menu:item:viewed", 1, &[("is_late", ColumnType::Boolean)])];
    let request = |has_late_folders| ViewRequest {
        dialect: Dialect::Duckdb,
        root: "/lake",
        first_date: FIRST_DATE,
        schemas: &schemas,
        has_addresses: false,
        is_table: false,
        has_late_folders,
    };
    let (without, with) = (views(&request(false)).unwrap(), views(&request(true)).unwrap());
    let is_late = "created_date <> CAST(created_datetime AS date) AS \"is_late\"";
    assert!(
        without.contains(is_late) && without.contains("created_date=*/") && !without.contains("created_date=late"),
        "{without}"
    );
    assert!(without.contains("AS \"is_late_2\""), "an event's own field: {without}");
    assert!(with.contains("created_date=[0-9]*/") && with.contains("created_date=late/"), "{with}");
    assert!(with.contains("CAST(received_datetime AS date) AS \"created_date\", true AS \"is_late\""), "{with}");
    // Athena prunes the folders of a range only if the date is a text.
    let athena = sql(Dialect::Athena, "s3://bucket/lake", &schemas);
    assert!(athena.contains("created_date <> CAST(CAST(created_datetime AS date) AS varchar) AS \"is_late\""), "{athena}");
    let late = "CAST(CAST(received_datetime AS date) AS varchar) AS \"created_date\", true AS \"is_late\"";
    assert!(athena.contains(late), "{athena}");
}

#[test]
fn names_that_would_be_the_same_view_are_told_apart() {
    let schemas = ["events", "events:raw", "a:b", "a_b", "a-b", "A:b"].map(|name| schema(name, 1, &[]));
    let sql = sql(Dialect::Duckdb, "/lake", &schemas);
    let mut names: Vec<&str> = sql.lines().filter_map(|line| line.strip_prefix("CREATE OR REPLACE VIEW ")).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 2 + schemas.len(), "{names:?}");
}

#[test]
fn athena_projects_the_types_of_the_schemas_the_days_and_the_late() {
    let schemas = ["menu:item:viewed", "menu-x:a", "menu:item:clicked", "cart:added"].map(|name| schema(name, 1, &[]));
    let sql = sql(Dialect::Athena, "s3://bucket/lake/", &schemas);
    assert_eq!(sql.matches("'projection.event_type.values' = 'cart,menu,menu-x'").count(), 2, "{sql}");
    assert!(sql.contains("'projection.created_date.range' = '2026-11-21,NOW+2DAYS'"));
    assert!(sql.contains("'projection.created_date.values' = 'late'"));
    assert!(sql.contains("LOCATION 's3://bucket/lake/'"));
    assert!(sql.contains("'s3://bucket/lake/event_type=${event_type}/created_date=${created_date}/'"));
    let request = ViewRequest {
        dialect: Dialect::Athena,
        root: "/lake",
        first_date: FIRST_DATE,
        schemas: &[],
        has_addresses: false,
        is_table: false,
        has_late_folders: false,
    };
    assert!(views(&request).is_err(), "Athena reads no folder");
}

#[test]
fn glue_has_every_column_with_one_type_and_the_statement_that_athena_would_be_given() {
    use ColumnType::{Boolean, Date, DateTime, Integer, Json, Number, Text};
    let columns =
        [("n", Integer), ("x", Number), ("ok", Boolean), ("at", DateTime), ("day", Date), ("tags", Json), ("Name", Text)];
    let schemas = [schema("menu:item:viewed", 1, &columns), schema("cart:added", 1, &[])];
    let root = "s3://bucket/lake/";
    let request = ViewRequest {
        dialect: Dialect::Athena,
        root,
        first_date: FIRST_DATE,
        schemas: &schemas,
        has_addresses: false,
        is_table: false,
        has_late_folders: false,
    };
    let tables = glue_tables(&request, "shop").unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["events_dated", "events_late", "events_raw", "events", "cart_added", "menu_item_viewed"]);
    let statements = sql(Dialect::Athena, root, &schemas);
    for table in &tables {
        assert_eq!(table.input["Name"], table.name);
        let columns: Vec<(&str, &str)> = table.input["StorageDescriptor"]["Columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| (column["Name"].as_str().unwrap(), column["Type"].as_str().unwrap()))
            .collect();
        if table.input["TableType"] == "EXTERNAL_TABLE" {
            assert_eq!(columns.len() + table.input["PartitionKeys"].as_array().unwrap().len(), 12);
            for (key, value) in table.input["Parameters"].as_object().unwrap().iter().filter(|(key, _)| key.contains('.')) {
                assert!(statements.contains(&format!("'{key}' = '{}'", value.as_str().unwrap())), "{key}");
            }
            continue;
        }
        let text = table.input["ViewOriginalText"].as_str().unwrap();
        let text = text.strip_prefix("/* Presto View: ").and_then(|text| text.strip_suffix(" */")).unwrap();
        let presto: Value = serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap();
        assert_eq!(presto["schema"], "shop");
        assert!(statements.contains(&format!("AS\n{};", presto["originalSql"].as_str().unwrap())), "{presto}");
        let same = |(name, hive): (&str, &str), column: &Value| {
            let presto = match hive {
                "string" => "varchar",
                "int" => "integer",
                "timestamp" => "timestamp(3)",
                other => other,
            };
            column["name"] == name && column["type"] == presto
        };
        let presto = presto["columns"].as_array().unwrap();
        assert!(columns.len() == presto.len() && columns.iter().zip(presto).all(|(hive, presto)| same(*hive, presto)));
    }
    let typed = &tables[5].input["StorageDescriptor"]["Columns"];
    let kinds: Vec<&str> = typed.as_array().unwrap()[12..19].iter().map(|column| column["Type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["bigint", "double", "boolean", "timestamp", "date", "string", "string"]);
}

#[test]
fn of_a_table_duckdb_reads_the_log_and_the_files_have_a_view_of_their_own() {
    let request = ViewRequest {
        dialect: Dialect::Duckdb,
        root: "/la'ke",
        first_date: FIRST_DATE,
        schemas: &[],
        has_addresses: false,
        is_table: true,
        has_late_folders: false,
    };
    let sql = views(&request).unwrap();
    let of = |sql: &str, view: &str| {
        let select = sql.split(&format!("VIEW {view} AS\n")).nth(1).unwrap();
        select.split(";\n\n").next().unwrap().to_owned()
    };
    assert!(of(&sql, "events_raw").ends_with("FROM delta_scan('/la''ke')"), "{sql}");
    assert!(of(&sql, "events_raw").contains("AS \"is_late\""), "{sql}");
    assert!(of(&sql, "events_files").contains("read_parquet("), "{sql}");
    assert!(of(&sql, "events").contains("FROM events_raw"), "{sql}");
}
