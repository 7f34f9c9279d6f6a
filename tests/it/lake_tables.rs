//! `lakegate lake tables`: the catalogue that Terraform reads says the same as the registry and as the statements for Athena.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use lakegate::schema::load;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn lake(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let output = command.arg("lake").args(words).current_dir(ROOT).output().expect("it can be started");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn catalogue() -> Value {
    serde_json::from_str(&lake(&["tables", "--format", "json"])).expect("JSON")
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no array: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn the_catalogue_has_every_event_type_and_every_field_of_the_registry() {
    let (catalogue, registry) = (catalogue(), load(&Path::new(ROOT).join("schemas")).unwrap());
    let types: BTreeSet<&str> = registry.iter().map(|(name, _)| name.split(':').next().unwrap()).collect();
    let listed: Vec<&str> = array(&catalogue["event_types"]).iter().map(text).collect();
    assert_eq!(listed, types.iter().copied().collect::<Vec<_>>());
    let dated = &array(&catalogue["tables"])[0]["parameters"];
    assert_eq!(text(&dated["projection.event_type.values"]), listed.join(","));
    assert_eq!(text(&dated["projection.created_date.range"]), "2025-11-01,NOW+2DAYS");
    let mut described = 0;
    for (name, versions) in registry.iter() {
        let view = array(&catalogue["views"]).iter().find(|view| view["name"] == name.replace(':', "_"));
        let view = view.unwrap_or_else(|| panic!("no view for {name}"));
        for schema in versions {
            let document: Value = serde_json::from_str(&schema.document).unwrap();
            for (field, property) in document["properties"].as_object().into_iter().flatten() {
                let column = array(&view["columns"]).iter().find(|column| text(&column["name"]) == field.to_lowercase());
                let column = column.unwrap_or_else(|| panic!("{name} has no column for {field}"));
                let kind = text(&column["type"]);
                match property["type"].as_str() {
                    Some("integer") if field != "schema_version" => assert_eq!(kind, "bigint", "{name} {field}"),
                    Some("boolean") => assert_eq!(kind, "boolean", "{name} {field}"),
                    _ => {}
                }
                described += usize::from(property["description"].is_string() && !text(&column["comment"]).is_empty());
            }
        }
        assert!(array(&view["columns"]).iter().all(|column| text(&column["comment"]).len() <= 255));
    }
    assert!(described > 20, "descriptions become comments: {described}");
}

#[test]
fn the_catalogue_is_what_athena_would_be_told() {
    let (catalogue, root) = (catalogue(), "s3://bucket/events");
    let statements = lake(&["views", "--dialect", "athena", "--lake", root]);
    for table in array(&catalogue["tables"]) {
        let start = statements.find(&format!("CREATE EXTERNAL TABLE {} (", text(&table["name"]))).expect("the table's statement");
        let statement = &statements[start..];
        let statement = &statement[..statement.find(";\n").expect("an end")];
        let columns =
            array(&table["columns"]).iter().map(|column| format!("`{}` {}", text(&column["name"]), text(&column["type"])));
        assert!(statement.contains(&format!("(\n  {}\n)", columns.collect::<Vec<_>>().join(",\n  "))), "{statement}");
        let keys = array(&table["partition_keys"]).iter().map(|key| format!("`{}` {}", text(&key["name"]), text(&key["type"])));
        assert!(statement.contains(&format!("PARTITIONED BY ({})", keys.collect::<Vec<_>>().join(", "))), "{statement}");
        let location = format!("'storage.location.template' = '{root}/{}'", text(&table["location_template"]));
        assert!(statement.contains(&location), "{statement}");
        // `lake views` begins with the first day of the lake.
        let own = |key: &str| matches!(key, "EXTERNAL" | "classification" | "projection.created_date.range");
        let parameters = table["parameters"].as_object().unwrap();
        for (key, value) in parameters.iter().filter(|(key, _)| !own(key)) {
            assert!(statement.contains(&format!("'{key}' = '{}'", text(value))), "{key} in {statement}");
        }
        let stated = statement.matches("' = '").count();
        assert_eq!(
            stated,
            2 + parameters.keys().filter(|key| !own(key)).count() - usize::from(text(&table["name"]) == "events_late")
        );
    }
    let views = array(&catalogue["views"]);
    assert_eq!(views.len(), statements.matches("CREATE OR REPLACE VIEW ").count());
    for view in views {
        assert!(statements.contains(&format!(" AS\n{};\n", text(&view["sql"]))), "{}", view["name"]);
    }
}

#[test]
fn the_catalogue_of_the_terraform_modules_is_not_stale() {
    let committed = fs::read_to_string(format!("{ROOT}/deploy/terraform/catalogue.json")).unwrap();
    assert!(committed == lake(&["tables", "--schemas-only", "--format", "json"]), "run `make -C deploy catalogue`");
}

#[test]
fn the_catalogue_can_be_read_by_people_and_takes_another_first_date_and_database() {
    let table = lake(&["tables"]);
    assert!(
        table.lines().any(|line| line.starts_with("menu_item_viewed") && line.contains("price_minor") && line.contains("bigint"))
    );
    let json = lake(&["tables", "--format", "json", "--database", "shop", "--first-date", "2026-11-20"]);
    let other: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(other["database"], "shop");
    assert_eq!(text(&array(&other["tables"])[0]["parameters"]["projection.created_date.range"]), "2026-11-20,NOW+2DAYS");
}
