//! The shipped registry: it loads, and judges every example as its author says.

use std::{fs, path::Path};

use lakegate::{
    decode::{BodyForm, for_each_element, read_fields},
    outcome::Rejection,
    schema::{Registry, Resolution, catalogue, load, python, typescript},
};
use serde_json::Value;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"))
}

/// Judges an event as the gateway does: its fields first, then the schema that it names or the newest.
fn judge(registry: &Registry, event: &Value) -> Result<(), Rejection> {
    let text = event.to_string();
    let mut verdict = Ok(());
    for_each_element(text.as_bytes(), BodyForm::Json, |element| {
        verdict = element.event.and_then(|event| {
            let fields = read_fields(&event)?;
            match registry.resolve(&fields.event_name, fields.schema_version) {
                Resolution::Known(schema) => schema.validate(event),
                other => panic!("{}: {other:?}", fields.event_name),
            }
        });
    })
    .unwrap();
    verdict
}

#[test]
fn every_good_example_is_accepted_and_every_bad_one_is_refused_at_its_place() {
    let registry = load(folder()).unwrap();
    let (mut good, mut bad) = (0, 0);
    for (name, versions) in registry.iter() {
        for schema in versions {
            let document: Value = serde_json::from_str(&schema.document).unwrap();
            let file = folder().join(name.replace(':', "/")).join(format!("{}.examples.json", schema.version));
            let examples: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            let list = |value: &Value| value.as_array().unwrap().clone();
            for event in list(&document["examples"]).iter().chain(&list(&examples["good"])) {
                assert_eq!(judge(&registry, event), Ok(()), "{} refuses {event}", schema.label());
                good += 1;
            }
            for example in list(&examples["bad"]) {
                let why = example["why"].as_str().unwrap();
                let rejection = judge(&registry, &example["event"]).expect_err(why);
                assert_eq!(rejection.code.as_str(), example["code"], "{why}");
                assert_eq!(rejection.faults[0].pointer, example["pointer"], "{why}: {rejection:?}");
                bad += 1;
            }
        }
    }
    assert!(good >= 4 * registry.len() && bad >= 4 * registry.len(), "{good} good, {bad} bad of {} events", registry.len());
}

#[test]
fn the_events_of_the_contract_are_shipped() {
    let registry = load(folder()).unwrap();
    for name in [
        "menu:page:opened",
        "menu:section:reached",
        "menu:item:viewed",
        "menu:item:ordered",
        "menu:visit:progress",
        "account:created",
        "lesson:started",
        "payment:order:completed",
        "client:events:dropped",
    ] {
        assert!(matches!(registry.resolve(name, None), Resolution::Known(_)), "{name}");
    }
}

/// Holds a written file against what would be written now.
fn assert_fresh(file: &str, format: &str, written: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == written, "{file} is stale: cargo run -- schemas export --format {format} --out {file}");
}

#[test]
fn what_is_written_from_the_schemas_is_fresh() {
    let registry = load(folder()).unwrap();
    let types = typescript(&registry, "lakegate schemas export --format typescript");
    assert_fresh("js-client/src/events.ts", "typescript", &types);
    let types = python(&registry, "lakegate schemas export --format python");
    assert_fresh("clients/python/tests/typed/events.py", "python", &types);
    let words = catalogue(&registry, "lakegate schemas export --format markdown");
    assert_fresh("schemas/CATALOGUE.md", "markdown", &words);
}
