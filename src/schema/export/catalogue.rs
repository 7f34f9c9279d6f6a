//! The catalogue: a Markdown description of every event, for people who query the lake.

use std::fmt::Write;

use serde_json::Value;

use super::event_fields::EventFields;
use crate::schema::{
    Registry, Schema,
    diff::{ChangeKind, differences, kind_of},
};

/// Units by the suffix of a field's name (schemas/README.md).
const UNITS: [(&str, &str); 12] = [
    ("_ms", "milliseconds"),
    ("_seconds", "seconds"),
    ("_minutes", "minutes"),
    ("_percent", "percent"),
    ("_px", "CSS pixels"),
    ("_bytes", "bytes"),
    ("_minor", "smallest unit of the currency"),
    ("_index", "position, from 0"),
    ("_number", "position, from 1"),
    ("_count", "how many"),
    ("_at", "time"),
    ("_sha256", "SHA-256, hexadecimal"),
];

/// The catalogue of all events. `command` is the command that writes it.
#[must_use]
pub fn catalogue(registry: &Registry, command: &str) -> String {
    let mut text = format!("<!-- Written by `{command}`; do not edit. -->\n\n# Events\n\n");
    text.push_str("What is sent, what each event says, and the fields it has beside those that every event has: ");
    text.push_str("`event_uuid`, `event_name`, `created_at` and `schema_version` of the sender, and, added by the gateway, ");
    text.push_str("`created_datetime`, `event_type`, `event_subtype`, `received_datetime` and `source`.\n\n");
    text.push_str("| event | title | versions |\n|---|---|---|\n");
    for (name, versions) in registry.iter() {
        let title = versions.last().map_or("", |newest| &newest.title);
        let _ = writeln!(text, "| [`{name}`](#{}) | {} | {} |", anchor(name), cell(title), numbers(versions));
    }
    for (name, versions) in registry.iter() {
        if let Some(newest) = versions.last() {
            event(&mut text, name, versions, newest);
        }
    }
    text
}

fn event(text: &mut String, name: &str, versions: &[Schema], newest: &Schema) {
    let fields = EventFields::of(newest);
    let _ = writeln!(text, "\n## `{name}`\n\n**{}.** {}\n", newest.title.trim_end_matches('.'), fields.description);
    let _ = writeln!(text, "{}\n", history(versions));
    text.push_str("| field | type | required | unit | what it says |\n|---|---|---|---|---|\n");
    let is_required = |field: &str| fields.required.iter().any(|required| required == field);
    for (field, schema) in &fields.properties {
        row(text, field, field, schema, is_required(field));
    }
    if let Some(example) = newest.read()["examples"].get(0) {
        let example = serde_json::to_string_pretty(example).unwrap_or_default();
        let _ = writeln!(text, "\n<details><summary>An example</summary>\n\n```json\n{example}\n```\n\n</details>");
    }
}

/// A field and its inner fields.
fn row(text: &mut String, path: &str, name: &str, schema: &Value, is_required: bool) {
    let required = if is_required { "yes" } else { "" };
    let unit = UNITS.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit);
    let about = schema["description"].as_str().unwrap_or_default();
    let _ = writeln!(text, "| `{path}` | {} | {required} | {unit} | {} |", cell(&kind_of(schema)), cell(about));
    let (inside, path) = match &schema["items"] {
        Value::Null => (schema, path.to_owned()),
        items => (items, format!("{path}[]")),
    };
    let requires =
        |name: &str| inside["required"].as_array().is_some_and(|required| required.iter().any(|required| required == name));
    for (name, member) in inside["properties"].as_object().into_iter().flatten() {
        row(text, &format!("{path}.{name}"), name, member, requires(name));
    }
}

/// The changes of each version.
fn history(versions: &[Schema]) -> String {
    let Some(newest) = versions.last() else { return String::new() };
    let mut text = format!("Version {}", newest.version);
    for pair in versions.windows(2) {
        let changes = differences(&pair[0], &pair[1]);
        let named = |kind: ChangeKind| {
            let fields = changes.iter().filter(|change| change.kind == kind).map(|change| format!("`{}`", change.field));
            fields.collect::<Vec<_>>().join(", ")
        };
        let (added, removed) = (named(ChangeKind::Added), named(ChangeKind::Removed));
        let told: Vec<String> = [("added", added), ("removed", removed)]
            .into_iter()
            .filter(|(_, fields)| !fields.is_empty())
            .map(|(what, fields)| format!("{what} {fields}"))
            .collect();
        let told = if told.is_empty() { "changed what is there".to_owned() } else { told.join(" and ") };
        let _ = write!(text, "; {} {told}", pair[1].version);
    }
    text + "."
}

fn numbers(versions: &[Schema]) -> String {
    versions.iter().map(|schema| schema.version.to_string()).collect::<Vec<_>>().join(", ")
}

/// GitHub's anchor for a heading in code type.
fn anchor(name: &str) -> String {
    name.to_lowercase().chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
}

/// A text in a table cell.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}
