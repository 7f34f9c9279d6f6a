//! The differences between two versions of a schema, field by field.
//!
//! It compares the written schemas with their references replaced; it does not decide whether one version accepts the events of
//! the other.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{export::inlined, registry::Schema};
use crate::json::{pointer_token, quoted};

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The kind of change.
    pub kind: ChangeKind,
    /// The field, as a person writes it: `lines[].sku`; empty for the event itself.
    pub field: String,
    /// JSON pointer into the schema with its references replaced.
    pub pointer: String,
    /// The difference, for a person.
    pub detail: String,
    /// The old value.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// The new value.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub after: Value,
}

/// The kinds of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A new field.
    Added,
    /// A removed field.
    Removed,
    /// A field that is now required.
    NowRequired,
    /// A field that is no longer required.
    NowOptional,
    /// Another type.
    Type,
    /// Other allowed values.
    Values,
    /// Another limit, pattern or format, or another rule.
    Rule,
    /// Another description.
    Words,
}

/// The differences in `after`, in the order of its fields.
#[must_use]
pub fn differences(before: &Schema, after: &Schema) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    let (old, new) = (before.read(), after.read());
    changes.words("title", &Place::default(), &old["title"], &new["title"]);
    changes.compare(&Place::default(), &inlined(old), &inlined(new));
    changes.0
}

#[derive(Clone, Default)]
struct Place {
    field: String,
    pointer: String,
}

impl Place {
    fn at(&self, field: &str, pointer: &str) -> Self {
        Self { field: format!("{}{field}", self.field), pointer: format!("{}{pointer}", self.pointer) }
    }

    fn property(&self, name: &str) -> Self {
        let dot = if self.field.is_empty() { "" } else { "." };
        let step = pointer_token(name);
        self.at(&format!("{dot}{name}"), &format!("/properties/{step}"))
    }
}

struct Changes(Vec<Change>);

impl Changes {
    fn push(&mut self, kind: ChangeKind, place: &Place, detail: String, before: &Value, after: &Value) {
        let Place { field, pointer } = place.clone();
        self.0.push(Change { kind, field, pointer, detail, before: before.clone(), after: after.clone() });
    }

    fn compare(&mut self, place: &Place, before: &Value, after: &Value) {
        let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
            if before != after {
                self.push(ChangeKind::Rule, place, format!("{} became {}", short(before), short(after)), before, after);
            }
            return;
        };
        let names: Vec<&String> = new.keys().chain(old.keys().filter(|name| !new.contains_key(*name))).collect();
        for name in names {
            let (a, b) = (&before[name], &after[name]);
            match name.as_str() {
                "properties" => self.fields(place, before, after),
                "required" => self.required(place, before, after),
                "items" if a.is_object() && b.is_object() => self.compare(&place.at("[]", "/items"), a, b),
                "additionalProperties" if a.is_object() && b.is_object() => {
                    self.compare(&place.at("[*]", "/additionalProperties"), a, b);
                }
                "allOf" | "anyOf" | "oneOf" if is_as_long(a, b) => {
                    for (index, (a, b)) in a.as_array().into_iter().flatten().zip(b.as_array().into_iter().flatten()).enumerate()
                    {
                        self.compare(&place.at("", &format!("/{name}/{index}")), a, b);
                    }
                }
                _ if a == b => {}
                "type" => {
                    let place = place.at("", "/type");
                    self.push(ChangeKind::Type, &place, format!("the type {} became {}", short(a), short(b)), a, b);
                }
                "enum" => self.values(&place.at("", "/enum"), a, b),
                "description" => self.words(name, place, a, b),
                name => {
                    let place = place.at("", &format!("/{name}"));
                    let detail = match (a, b) {
                        (Value::Null, b) => format!("{name} {} came", short(b)),
                        (a, Value::Null) => format!("{name} {} went", short(a)),
                        (a, b) => format!("{name} {} became {}", short(a), short(b)),
                    };
                    self.push(ChangeKind::Rule, &place, detail, a, b);
                }
            }
        }
    }

    fn fields(&mut self, place: &Place, before: &Value, after: &Value) {
        let fields = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
        let (old, new) = (fields(before), fields(after));
        let told = |schema: &Value, name: &str, property: &Value| {
            let need = if requires(schema, name) { "required" } else { "optional" };
            format!("{need}, {}", kind_of(property))
        };
        for (name, property) in &new {
            let place = place.property(name);
            match old.get(name) {
                Some(was) => self.compare(&place, was, property),
                None => self.push(
                    ChangeKind::Added,
                    &place,
                    format!("added: {}", told(after, name, property)),
                    &Value::Null,
                    property,
                ),
            }
        }
        for (name, property) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            let detail = format!("removed: was {}", told(before, name, property));
            self.push(ChangeKind::Removed, &place.property(name), detail, property, &Value::Null);
        }
    }

    /// Skips added and removed fields, because their own change already says whether they are required.
    fn required(&mut self, place: &Place, before: &Value, after: &Value) {
        let names = |schema: &Value| -> BTreeSet<String> {
            schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let (old, new) = (names(before), names(after));
        let is_told = |name: &str| before["properties"].get(name).is_some() != after["properties"].get(name).is_some();
        for name in new.difference(&old).filter(|name| !is_told(name)) {
            self.push(ChangeKind::NowRequired, &place.property(name), "is required now".into(), &false.into(), &true.into());
        }
        for name in old.difference(&new).filter(|name| !is_told(name)) {
            self.push(ChangeKind::NowOptional, &place.property(name), "is optional now".into(), &true.into(), &false.into());
        }
    }

    fn values(&mut self, place: &Place, before: &Value, after: &Value) {
        let (Some(old), Some(new)) = (before.as_array(), after.as_array()) else {
            let detail = if after.is_array() {
                format!("only {} are allowed now", short(after))
            } else {
                "any value is allowed now".into()
            };
            return self.push(ChangeKind::Values, place, detail, before, after);
        };
        let missing =
            |from: &[Value], of: &[Value]| of.iter().filter(|value| !from.contains(value)).map(short).collect::<Vec<_>>();
        let (added, removed) = (missing(old, new), missing(new, old));
        let told = [("also allowed:", added), ("no longer allowed:", removed)];
        let told: Vec<String> = told
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(what, values)| format!("{what} {}", values.join(", ")))
            .collect();
        if !told.is_empty() {
            self.push(ChangeKind::Values, place, told.join("; "), before, after);
        }
    }

    fn words(&mut self, name: &str, place: &Place, before: &Value, after: &Value) {
        if before != after {
            self.push(ChangeKind::Words, &place.at("", &format!("/{name}")), format!("the {name} is another"), before, after);
        }
    }
}

fn is_as_long(before: &Value, after: &Value) -> bool {
    before.as_array().map(Vec::len) == after.as_array().map(Vec::len)
}

fn requires(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|required| required == name))
}

/// The type of a field in one or two words.
pub(super) fn kind_of(schema: &Value) -> String {
    let of = |kind: &str| match (kind, schema["format"].as_str()) {
        ("string", Some(format)) => format.to_owned(),
        ("array", _) => format!("array of {}", kind_of(&schema["items"])),
        (kind, _) => kind.to_owned(),
    };
    match (&schema["type"], schema.get("const"), schema["enum"].as_array()) {
        (_, Some(value), _) => short(value),
        (_, _, Some(values)) => values.iter().map(short).collect::<Vec<_>>().join(", "),
        (Value::String(kind), ..) => of(kind),
        (Value::Array(kinds), ..) => kinds.iter().filter_map(Value::as_str).map(of).collect::<Vec<_>>().join(" or "),
        _ => ["oneOf", "anyOf"]
            .iter()
            .find_map(|choice| schema[*choice].as_array())
            .map_or_else(|| "any".to_owned(), |forms| forms.iter().map(kind_of).collect::<Vec<_>>().join(" or ")),
    }
}

/// A value, shortened.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => quoted(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            items.iter().map(short).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => "{…}".into(),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(before: &Value, after: &Value) -> Vec<String> {
        let mut changes = Changes(Vec::new());
        changes.compare(&Place::default(), before, after);
        changes.0.iter().map(|change| format!("{} {}: {}", change.pointer, change.field, change.detail)).collect()
    }

    #[test]
    fn every_kind_of_change_is_told_at_its_place() {
        let before = json!({
            "type": "object", "required": ["a", "gone"],
            "properties": {
                "a": {"type": "integer", "maximum": 100, "description": "A."},
                "gone": {"type": "string", "format": "uuid"},
                "kind": {"enum": ["x", "y"]},
                "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
                "same": {"type": "string"},
            },
        });
        let after = json!({
            "type": "object", "required": ["kind", "new"],
            "properties": {
                "a": {"type": "number", "maximum": 200, "minimum": 0, "description": "The A."},
                "kind": {"enum": ["y", "z"]},
                "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string", "pattern": "^s"}}}},
                "same": {"type": "string"},
                "new": {"type": ["string", "null"]},
            },
        });
        let expected = [
            "/properties/kind kind: is required now",
            "/properties/a a: is optional now",
            "/properties/a/type a: the type \"integer\" became \"number\"",
            "/properties/a/maximum a: maximum 100 became 200",
            "/properties/a/minimum a: minimum 0 came",
            "/properties/a/description a: the description is another",
            "/properties/kind/enum kind: also allowed: \"z\"; no longer allowed: \"x\"",
            "/properties/lines/items/properties/sku/pattern lines[].sku: pattern \"^s\" came",
            "/properties/new new: added: required, string or null",
            "/properties/gone gone: removed: was required, uuid",
        ];
        assert_eq!(told(&before, &after), expected);
        assert!(told(&after, &after).is_empty());
    }
}
