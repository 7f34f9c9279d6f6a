//! Finds the parts of a schema that describe one place of an event: follows the path to a value through the schema.

use serde_json::Value;

use crate::limits::{SCHEMA_DEPTH_MAX, SCHEMA_PLACE_PARTS_MAX};

/// Keywords whose subschemas apply to the same value as the enclosing schema.
const SAME_PLACE: [&str; 7] = ["allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"];

/// All parts of `document` that apply to the same value as `schema`, itself first: the targets of its references, and its
/// subschemas. A recursive schema is visited once.
pub(super) fn parts<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut parts: Vec<&Value> = Vec::new();
    let mut waiting = vec![schema];
    while let Some(part) = waiting.pop() {
        if parts.len() == SCHEMA_PLACE_PARTS_MAX || parts.iter().any(|known| std::ptr::eq(*known, part)) {
            continue;
        }
        parts.push(part);
        let target = part["$ref"].as_str().and_then(|reference| document.pointer(reference.strip_prefix('#')?));
        waiting.extend(target);
        for keyword in SAME_PLACE {
            match &part[keyword] {
                Value::Array(several) => waiting.extend(several),
                Value::Object(by_name) if keyword == "dependentSchemas" => waiting.extend(by_name.values()),
                one @ Value::Object(_) => waiting.push(one),
                _ => {}
            }
        }
    }
    parts
}

/// The parts of `document` that apply to the value at `place`, its path in the event.
pub(super) fn parts_at<'a>(document: &'a Value, place: &[String]) -> Vec<&'a Value> {
    place.iter().take(SCHEMA_DEPTH_MAX).fold(parts(document, document), |around, step| {
        let mut inside: Vec<&Value> = Vec::new();
        for part in around.iter().flat_map(|part| children(part, step)).flat_map(|child| parts(document, child)) {
            if !inside.iter().any(|known| std::ptr::eq(*known, part)) {
                inside.push(part);
            }
        }
        inside
    })
}

/// The schemas of the member or element `step` in one part.
fn children<'a>(part: &'a Value, step: &str) -> Vec<&'a Value> {
    let element = step.parse().ok().and_then(|index: usize| part["prefixItems"].get(index));
    let named = part["properties"].get(step);
    let children = match named {
        Some(_) => vec![named, element],
        None => vec![element, part.get("items"), part.get("additionalProperties")],
    };
    children.into_iter().flatten().filter(|child| child.is_object()).collect()
}

/// The allowed names of members of the object at `place`.
pub(super) fn names_at<'a>(document: &'a Value, place: &[String]) -> Vec<&'a str> {
    let parts = parts_at(document, place);
    let names = parts.iter().filter_map(|part| part["properties"].as_object()).flat_map(|properties| properties.keys());
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_found_behind_references_and_choices_at_any_depth() {
        let document = json!({
            "allOf": [{ "$ref": "#/$defs/envelope" }],
            "properties": {
                "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } },
                "paid": { "oneOf": [{ "properties": { "cash": {} } }, { "properties": { "card": {} } }] },
            },
            "$defs": {
                "envelope": { "properties": { "event_uuid": {} } },
                "line": { "properties": { "sku": {}, "part_of": { "$ref": "#/$defs/line" } } },
            },
        });
        let names = |place: &[&str]| {
            let place: Vec<String> = place.iter().map(|step| (*step).to_owned()).collect();
            names_at(&document, &place).join(" ")
        };
        assert_eq!(names(&[]), "event_uuid lines paid");
        assert_eq!(names(&["lines", "7"]), "part_of sku");
        assert_eq!(names(&["lines", "7", "part_of", "part_of", "part_of"]), "part_of sku");
        assert_eq!(names(&["paid"]), "card cash");
        assert_eq!(names(&["nothing", "there"]), "");
    }
}
