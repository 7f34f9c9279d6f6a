//! Examples: every schema has some. Each is validated as in the gateway; its author states the expected result.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::finding::{Code, Finding, Report};
use crate::{
    decode::{BodyForm, for_each_element, read_fields, with_numeric_created_at},
    outcome::{Fault, RejectCode, Rejection},
    schema::{Registry, Resolution, Schema},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    #[serde(default)]
    good: Vec<Value>,
    #[serde(default)]
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    why: String,
    pointer: String,
    code: String,
    event: Value,
}

pub(super) fn check(dir: &Path, registry: &Registry, report: &mut Report) {
    for schema in registry.iter().flat_map(|(_, versions)| versions) {
        let folder = PathBuf::from(schema.event_name.replace(':', "/"));
        let file = folder.join(format!("{}.json", schema.version));
        let document: Value = serde_json::from_str(&schema.document).unwrap_or_default();
        let own = document["examples"].as_array().map_or(&[][..], Vec::as_slice);
        if own.is_empty() {
            report.add(Finding::new(Code::NoExamples, &file, "`examples` holds no event; put complete ones in".into()));
        }
        for (index, event) in own.iter().enumerate() {
            good(registry, schema, &file, &format!("/examples/{index}"), event, report);
        }
        beside(dir, registry, schema, &folder.join(format!("{}.examples.json", schema.version)), report);
    }
}

fn beside(dir: &Path, registry: &Registry, schema: &Schema, file: &Path, report: &mut Report) {
    let Ok(text) = fs::read_to_string(dir.join(file)) else { return };
    let examples: Examples = match serde_json::from_str(&text) {
        Ok(examples) => examples,
        Err(error) => {
            let expected = "expected `good`, a list of events, and `bad`, each with `why`, `pointer`, `code` and `event`";
            return report.add(Finding::new(Code::ExamplesUnreadable, file, format!("{error}; {expected}")));
        }
    };
    for (index, event) in examples.good.iter().enumerate() {
        good(registry, schema, file, &format!("/good/{index}"), event, report);
    }
    for (index, bad) in examples.bad.iter().enumerate() {
        let place = format!("/bad/{index}");
        let why = &bad.why;
        match judge(registry, schema, &bad.event) {
            Ok(()) => report.add(Finding::new(Code::BadExampleAccepted, file, format!("is accepted, though {why}")).at(&place)),
            Err(rejection) => {
                let (code, pointer) = (rejection.code.as_str(), first(&rejection).pointer);
                if (code, &pointer) != (bad.code.as_str(), &bad.pointer) {
                    let said =
                        format!("says `{}` at {:?}, and is refused with `{code}` at {pointer:?} ({why})", bad.code, bad.pointer);
                    report.add(Finding::new(Code::BadExampleDiffers, file, said).at(&place));
                }
            }
        }
    }
}

fn good(registry: &Registry, schema: &Schema, file: &Path, place: &str, event: &Value, report: &mut Report) {
    if let Err(rejection) = judge(registry, schema, event) {
        let Fault { pointer, detail, .. } = first(&rejection);
        let said = format!("is refused with `{}` at {pointer:?}: {detail}", rejection.code.as_str());
        report.add(Finding::new(Code::ExampleRefused, file, said).at(place));
    }
}

fn first(rejection: &Rejection) -> Fault {
    rejection.faults.first().cloned().unwrap_or_else(|| Fault::new(rejection.code.as_str(), ""))
}

/// Validates an event as the gateway does: its fields first, then the version that it names. If it names none, this version is
/// used, although the gateway would use the newest.
fn judge(registry: &Registry, schema: &Schema, event: &Value) -> Result<(), Rejection> {
    let text = event.to_string();
    let mut verdict = Err(Rejection::new(RejectCode::NotAnObject, "is not an object", ""));
    let read = for_each_element(text.as_bytes(), BodyForm::Json, |element| {
        verdict = element.event.and_then(|event| {
            let fields = read_fields(&event)?;
            let version = fields.schema_version.or(Some(schema.version));
            match registry.resolve(&fields.event_name, version) {
                Resolution::Known(named) if named.event_name == schema.event_name => {
                    with_numeric_created_at(event, |event| named.validate(event))
                }
                Resolution::UnknownVersion(_) if *fields.event_name == *schema.event_name => {
                    Err(Rejection::new(RejectCode::UnknownSchemaVersion, "names a version that is not there", "/schema_version"))
                }
                _ => {
                    let detail = format!("is an event of another name than {}", schema.event_name);
                    Err(Rejection::new(RejectCode::UnknownEvent, detail, "/event_name"))
                }
            }
        });
    });
    match read {
        Ok(_) => verdict,
        Err(error) => Err(Rejection::new(RejectCode::InvalidJson, error.to_string(), "")),
    }
}
