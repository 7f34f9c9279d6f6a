//! `lakegate schemas …` as a program: what it prints, what it writes, and what it refuses.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use lakegate::{
    decode::{BodyForm, for_each_element},
    schema::{Resolution, load},
};
use serde_json::Value;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");

fn run(schemas: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.arg("schemas").args(words).arg("--schemas").arg(schemas).output().expect("it can be started")
}

/// What it prints, where it succeeds with `code`.
fn printed_with(code: i32, schemas: &Path, words: &[&str]) -> String {
    let output = run(schemas, words);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn printed(schemas: &Path, words: &[&str]) -> String {
    printed_with(0, schemas, words)
}

fn refused(schemas: &Path, words: &[&str]) -> String {
    let output = run(schemas, words);
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// A folder with a copy of the shipped registry.
fn copy() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(SHIPPED), folder.path());
    folder
}

/// Good examples are accepted, and bad ones refused at their place.
fn assert_examples_hold(schemas: &Path, name: &str, version: u32) {
    let registry = load(schemas).unwrap();
    let Resolution::Known(schema) = registry.resolve(name, Some(version)) else { panic!("{name}/{version} is not there") };
    let judge = |event: &Value| {
        let text = event.to_string();
        let mut verdict = Ok(());
        for_each_element(text.as_bytes(), BodyForm::Json, |element| verdict = schema.validate(element.event.unwrap())).unwrap();
        verdict
    };
    let file = schemas.join(name.replace(':', "/")).join(format!("{version}.examples.json"));
    let examples: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let good: Vec<Value> = [list(&schema.read()["examples"]), list(&examples["good"])].concat();
    let bad = list(&examples["bad"]);
    assert!(good.len() >= 4 && bad.len() >= 3, "{good:?} {bad:?}");
    for event in good {
        assert_eq!(event["event_name"], name);
        assert!(event["schema_version"].is_null() || event["schema_version"] == version, "{event}");
        judge(&event).unwrap();
    }
    for example in bad {
        let rejection = judge(&example["event"]).unwrap_err();
        assert_eq!(
            (rejection.code.as_str(), &*rejection.faults[0].pointer),
            (example["code"].as_str().unwrap(), example["pointer"].as_str().unwrap()),
            "{example}"
        );
    }
}

#[test]
fn list_and_show_say_what_there_is() {
    let shipped = Path::new(SHIPPED);
    let list = printed(shipped, &["list"]);
    let viewed = list.lines().find(|line| line.starts_with("menu:item:viewed ")).unwrap();
    assert!(viewed.contains(" 1, 2 ") && viewed.ends_with("Menu item viewed"), "{viewed}");
    let json: Value = serde_json::from_str(&printed(shipped, &["list", "--format", "json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), list.lines().count() - 1);
    let document: Value = serde_json::from_str(&printed(shipped, &["show", "menu:item:viewed/1"])).unwrap();
    assert!(document["properties"]["tags"].is_null() && document["$defs"]["common.menu"].is_object());
    let example: Value = serde_json::from_str(&printed(shipped, &["show", "menu:item:viewed", "--example"])).unwrap();
    assert_eq!((&example["event_name"], &example["schema_version"]), (&"menu:item:viewed".into(), &2.into()));
    assert!(refused(shipped, &["show", "menu:item:veiwed"]).contains("did you mean menu:item:viewed?"));
    assert!(refused(shipped, &["show", "menu:item:viewed/3"]).contains("no version 3; the newest is 2"));
    assert!(refused(shipped, &["show", "menu:item:viewed/x"]).contains("NAME/VERSION"));
}

#[test]
fn diff_tells_field_by_field_what_is_another() {
    let shipped = Path::new(SHIPPED);
    let table = printed_with(1, shipped, &["diff", "menu:item:viewed"]);
    assert!(table.starts_with("menu:item:viewed/1 → menu:item:viewed/2\n"), "{table}");
    assert!(table.contains("+ view_number  added: optional, integer  (/properties/view_number)"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with('+')).count(), 3, "{table}");
    let json = printed_with(1, shipped, &["diff", "menu:item:viewed/1", "menu:item:viewed/2", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changes"].as_array().unwrap().iter().filter(|change| change["kind"] == "added").count(), 3);
    assert!(printed(shipped, &["diff", "menu:item:viewed/2", "menu:item:viewed/2"]).contains("nothing is another"));
    assert!(refused(shipped, &["diff", "lesson:started"]).contains("one version only"));
}

#[test]
fn a_new_schema_loads_its_examples_hold_and_nothing_is_written_over() {
    let folder = copy();
    let schemas = folder.path();
    let before = fs::read(schemas.join("menu/item/viewed/2.json")).unwrap();
    let written = printed(schemas, &["new", "menu:item:viewed"]);
    assert!(written.lines().last().unwrap().ends_with("menu/item/viewed/3.examples.json"), "{written}");
    assert_examples_hold(schemas, "menu:item:viewed", 3);
    assert_eq!(fs::read(schemas.join("menu/item/viewed/2.json")).unwrap(), before);
    let next = fs::read_to_string(schemas.join("menu/item/viewed/3.json")).unwrap();
    assert_eq!(next.lines().count(), String::from_utf8(before).unwrap().lines().count(), "as its author laid it out");
    printed(schemas, &["new", "menu:drink:viewed", "--from", "menu:item:viewed/1"]);
    assert_examples_hold(schemas, "menu:drink:viewed", 1);
    printed(schemas, &["new", "kitchen:order:started"]);
    assert_examples_hold(schemas, "kitchen:order:started", 1);
    printed(schemas, &["new", "kitchen:order:started"]);
    assert_examples_hold(schemas, "kitchen:order:started", 2);
    assert!(refused(schemas, &["new", "kitchen order"]).contains("separated by"));
    // Examples without a schema: somebody's work, which is left alone.
    fs::write(schemas.join("kitchen/order/started/3.examples.json"), "mine").unwrap();
    assert!(refused(schemas, &["new", "kitchen:order:started"]).contains("is there already"));
    assert!(!schemas.join("kitchen/order/started/3.json").exists());
    assert_eq!(fs::read_to_string(schemas.join("kitchen/order/started/3.examples.json")).unwrap(), "mine");
    // And into a folder that has nothing yet.
    let empty = tempfile::tempdir().unwrap();
    let schemas = empty.path().join("schemas");
    printed(&schemas, &["new", "ping"]);
    assert_examples_hold(&schemas, "ping", 1);
}

#[test]
fn export_writes_every_form_and_check_tells_a_stale_one() {
    let (shipped, folder) = (Path::new(SHIPPED), tempfile::tempdir().unwrap());
    let out = |name: &str| folder.path().join(name).display().to_string();
    let types = out("deep/events.ts");
    printed(shipped, &["export", "--format", "typescript", "--out", &types]);
    let checked_in = concat!(env!("CARGO_MANIFEST_DIR"), "/js-client/src/events.ts");
    assert_eq!(fs::read(&types).unwrap(), fs::read(checked_in).unwrap());
    printed(shipped, &["export", "--format", "typescript", "--out", &types, "--check"]);
    fs::write(&types, "").unwrap();
    assert!(refused(shipped, &["export", "--format", "typescript", "--out", &types, "--check"]).contains("is stale"));
    assert_eq!(fs::read_to_string(&types).unwrap(), "", "a check writes nothing");
    // The same views as `lake views` makes.
    assert!(
        printed(shipped, &["export", "--format", "duckdb"]).contains("'data/lake/event_type=*/created_date=*/[!_.]*.parquet'")
    );
    let athena = printed(shipped, &["export", "--format", "athena", "--lake", "s3://bucket/lake", "--first-date", "2026-11-20"]);
    assert!(athena.contains("2026-11-20,NOW+2DAYS") && athena.contains("VIEW \"menu_item_viewed\""), "{athena}");
    let glue = out("glue");
    assert!(refused(shipped, &["export", "--format", "glue", "--out", &glue]).contains("--lake s3://"));
    printed(shipped, &["export", "--format", "glue", "--lake", "s3://bucket/lake", "--database", "shop", "--out", &glue]);
    let tables = fs::read_dir(&glue).unwrap().count();
    assert_eq!(tables, 4 + load(shipped).unwrap().len());
    let viewed: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("glue/menu_item_viewed.json")).unwrap()).unwrap();
    let columns = viewed["StorageDescriptor"]["Columns"].as_array().unwrap();
    let kind = |name: &str| columns.iter().find(|column| column["Name"] == name).unwrap()["Type"].clone();
    assert_eq!(
        [kind("price_minor"), kind("has_photo"), kind("tags"), kind("created_at")],
        ["bigint", "boolean", "string", "double"]
    );
}
