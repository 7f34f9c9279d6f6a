//! Flattens a schema for faster validation: references are replaced by their targets, and the members of the common envelope
//! are placed beside the event's own, so that one pass over an event's members validates it.
//!
//! A flattened schema accepts exactly the same events as the written schema. Only parts that are certainly equivalent are
//! changed. Errors always come from the written schema.

use serde_json::{Map, Value};

use crate::limits::{SCHEMA_DEPTH_MAX, SCHEMA_FLAT_NODES_MAX};

/// Keywords whose value is data, not schema: a `$ref` in the value is not a reference.
pub(super) const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// Keywords that do not affect validity.
pub(super) const ANNOTATIONS: [&str; 10] =
    ["$comment", "$defs", "$schema", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"];

/// Keywords that depend on the position of a schema or on evaluations by other keywords: a document with one of them is not
/// changed.
const PLACE_DEPENDENT: [&str; 7] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "unevaluatedItems"];

/// Top-level keywords that allow envelope members beside them, because they evaluate no members themselves.
const BESIDE: [&str; 9] = [
    "type",
    "required",
    "properties",
    "allOf",
    "unevaluatedProperties",
    "dependentRequired",
    "minProperties",
    "maxProperties",
    "propertyNames",
];

/// The flattened form of a bundled `document`; `None` if nothing improves, or if equivalence is not certain.
pub(super) fn flatten(document: &Value) -> Option<Value> {
    if holds_any(document, &PLACE_DEPENDENT) {
        return None;
    }
    let mut nodes_left = SCHEMA_FLAT_NODES_MAX;
    let mut flat = inline(document, document, SCHEMA_DEPTH_MAX, &mut nodes_left)?;
    merge_envelope(flat.as_object_mut()?);
    Some(flat)
}

fn holds_any(schema: &Value, keywords: &[&str]) -> bool {
    match schema {
        Value::Array(items) => items.iter().any(|item| holds_any(item, keywords)),
        Value::Object(members) => {
            members.iter().any(|(name, value)| keywords.contains(&name.as_str()) || holds_any(value, keywords))
        }
        _ => false,
    }
}

/// `schema` with every reference into `document` replaced by its target. `None` if it is too deep (it refers to itself) or
/// grows too large.
fn inline(schema: &Value, document: &Value, depth_left: usize, nodes_left: &mut usize) -> Option<Value> {
    *nodes_left = nodes_left.checked_sub(1)?;
    let depth_left = depth_left.checked_sub(1)?;
    match schema {
        Value::Array(items) => {
            items.iter().map(|item| inline(item, document, depth_left, nodes_left)).collect::<Option<_>>().map(Value::Array)
        }
        Value::Object(members) => {
            let mut out = Map::new();
            let mut target = None;
            for (name, value) in members {
                match value {
                    Value::String(reference) if name == "$ref" => {
                        let found = document.pointer(reference.strip_prefix('#')?)?;
                        target = Some(inline(found, document, depth_left, nodes_left)?);
                    }
                    // At the top: removed, because the definitions replace the references.
                    _ if name == "$defs" && depth_left + 1 == SCHEMA_DEPTH_MAX => {}
                    // Kept for parts that are not reached from here; references in them stay unchanged.
                    value if name == "$defs" || DATA.contains(&name.as_str()) => drop(out.insert(name.clone(), value.clone())),
                    value => drop(out.insert(name.clone(), inline(value, document, depth_left, nodes_left)?)),
                }
            }
            match target {
                None => Some(Value::Object(out)),
                Some(target) if out.keys().all(|name| ANNOTATIONS.contains(&name.as_str())) => Some(target),
                Some(target) => {
                    // Keywords beside a reference apply in addition to its target.
                    let all = out.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
                    all.as_array_mut()?.push(target);
                    Some(Value::Object(out))
                }
            }
        }
        scalar => Some(scalar.clone()),
    }
}

/// Moves the members of `allOf` beside the schema's own, if the schema then closes them all: unevaluated members are refused,
/// and so are members that none of them names.
fn merge_envelope(schema: &mut Map<String, Value>) {
    let is_closed = schema.get("unevaluatedProperties") == Some(&Value::Bool(false));
    let is_plain = schema.keys().all(|name| BESIDE.contains(&name.as_str()) || ANNOTATIONS.contains(&name.as_str()));
    let Some(Value::Array(parts)) = schema.get("allOf") else { return };
    let closes_below = |part: &Value| holds_any(part, &["unevaluatedProperties"]);
    if !is_closed || !is_plain || !parts.iter().all(is_mere_members) || parts.iter().any(closes_below) {
        return;
    }
    let parts = parts.clone();
    schema.remove("allOf");
    schema.remove("unevaluatedProperties");
    for part in parts.iter().filter_map(Value::as_object) {
        let own = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        for (name, value) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let Value::Object(own) = own else { return };
            match own.get_mut(name) {
                Some(both) => *both = serde_json::json!({ "allOf": [both.take(), value] }),
                None => drop(own.insert(name.clone(), value.clone())),
            }
        }
        let required = schema.entry("required").or_insert_with(|| Value::Array(Vec::new()));
        if let (Value::Array(all), Some(Value::Array(more))) = (required, part.get("required")) {
            all.extend(more.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
        }
        if part.contains_key("type") {
            schema.insert("type".into(), "object".into());
        }
    }
    schema.insert("additionalProperties".into(), false.into());
}

/// Whether a schema only describes the members of an object.
fn is_mere_members(part: &Value) -> bool {
    let Value::Object(members) = part else { return false };
    members.iter().all(|(name, value)| match name.as_str() {
        "type" => value == "object",
        "properties" => value.is_object(),
        "required" => value.is_array(),
        name => ANNOTATIONS.contains(&name),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_envelope_comes_beside_the_events_own_members_and_references_are_replaced() {
        let document = json!({
            "type": "object",
            "allOf": [{ "$ref": "#/$defs/envelope" }],
            "required": ["a"],
            "properties": { "a": { "$ref": "#/$defs/id", "description": "x" }, "e": { "minLength": 2 } },
            "unevaluatedProperties": false,
            "$defs": {
                "envelope": { "type": "object", "required": ["e", "a"], "properties": { "e": { "type": "string" } } },
                "id": { "type": "string" },
            },
        });
        let flat = flatten(&document).unwrap();
        let expected = json!({
            "type": "object",
            "required": ["a", "e"],
            "properties": { "a": { "type": "string" }, "e": { "allOf": [{ "minLength": 2 }, { "type": "string" }] } },
            "additionalProperties": false,
        });
        assert_eq!(flat, expected);
    }

    #[test]
    fn what_is_not_plainly_the_same_stays() {
        let open = json!({ "allOf": [{ "$ref": "#/$defs/e" }], "$defs": { "e": { "properties": { "a": {} } } } });
        assert!(flatten(&open).unwrap().get("allOf").is_some(), "it is not closed");
        let choice = json!({ "oneOf": [{ "properties": { "b": {} } }], "allOf": [{ "properties": { "a": {} } }], "unevaluatedProperties": false });
        assert_eq!(flatten(&choice).unwrap(), choice, "a choice evaluates members too");
        let closed_below =
            json!({ "allOf": [{ "properties": { "a": { "unevaluatedProperties": false } } }], "unevaluatedProperties": false });
        assert_eq!(flatten(&closed_below).unwrap(), closed_below);
        let recursive = json!({ "properties": { "child": { "$ref": "#" } } });
        assert_eq!(flatten(&recursive), None);
        assert_eq!(flatten(&json!({ "$dynamicRef": "#x" })), None);
    }
}
