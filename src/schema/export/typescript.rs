//! The type map `Events` of the browser library: the fields of every event by name, so that a wrong payload does not compile.

use std::fmt::Write;

use serde_json::Value;

use super::event_fields::EventFields;
use crate::schema::Registry;

/// Columns above which a list of values is written on several lines.
const WIDTH: usize = 120;

/// A TypeScript file that exports `Events`. `command` is the command that writes it.
#[must_use]
pub fn typescript(registry: &Registry, command: &str) -> String {
    let mut text = format!("// Written by `{command}`; do not edit.\n\n");
    comment(&mut text, 0, "The fields of every event, by its name, without those that the client and the gateway write.");
    text.push_str("export interface Events {\n");
    for (name, versions) in registry.iter() {
        let Some(newest) = versions.last() else { continue };
        let event = EventFields::of(newest);
        comment(&mut text, 1, &format!("{}\n\nVersion {} of its schema.", event.description, newest.version));
        let members = event.properties.iter().map(|(name, property)| (name.as_str(), property));
        let object = object(members, &|name| event.required.iter().any(|required| required == name), None, 1);
        let _ = writeln!(text, "  {}: {object};", key(name));
    }
    text.push_str("}\n");
    text
}

/// Members in braces.
fn object<'a>(
    members: impl Iterator<Item = (&'a str, &'a Value)>,
    is_required: &dyn Fn(&str) -> bool,
    others: Option<String>,
    level: usize,
) -> String {
    let mut text = String::from("{\n");
    for (name, schema) in members {
        comment(&mut text, level + 1, &documentation(schema));
        let optional = if is_required(name) { "" } else { "?" };
        member(&mut text, level + 1, &format!("{}{optional}", key(name)), &type_of(schema, level + 1));
    }
    if let Some(others) = others {
        member(&mut text, level + 1, "[k: string]", &others);
    }
    let _ = write!(text, "{}}}", "  ".repeat(level));
    text
}

fn member(text: &mut String, level: usize, name: &str, kind: &str) {
    let indent = "  ".repeat(level);
    let line = format!("{indent}{name}: {kind};\n");
    if line.chars().count() <= WIDTH + 1 || kind.contains(['\n', '{']) || !kind.contains(" | ") {
        text.push_str(&line);
    } else {
        let values = kind.replace(" | ", &format!("\n{indent}  | "));
        let _ = writeln!(text, "{indent}{name}:\n{indent}  | {values};");
    }
}

/// The description; for an array also the rules that its type does not express.
fn documentation(schema: &Value) -> String {
    let mut parts = vec![schema["description"].as_str().unwrap_or_default().to_owned()];
    let bounds = ["minItems", "maxItems"].map(|name| schema[name].as_u64().map(|bound| format!("@{name} {bound}")));
    parts.push(bounds.into_iter().flatten().collect::<Vec<_>>().join("\n"));
    parts.extend(schema["items"]["description"].as_str().map(|items| format!("Items: {items}")));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn type_of(schema: &Value, level: usize) -> String {
    let union = |schemas: &[Value]| {
        let mut kinds: Vec<String> = schemas.iter().map(|schema| type_of(schema, level)).collect();
        kinds.dedup();
        kinds.join(" | ")
    };
    if let Some(value) = schema.get("const") {
        return literal(value);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(literal).collect::<Vec<_>>().join(" | ");
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(schemas) = schema[choice].as_array() {
            return union(schemas);
        }
    }
    match &schema["type"] {
        Value::String(kind) => of_kind(kind, schema, level),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).map(|kind| of_kind(kind, schema, level)).collect::<Vec<_>>().join(" | ")
        }
        _ if schema["properties"].is_object() => of_kind("object", schema, level),
        _ => match schema["allOf"].as_array() {
            Some(all) if !all.is_empty() => {
                all.iter().map(|part| bracketed(type_of(part, level))).collect::<Vec<_>>().join(" & ")
            }
            _ => "unknown".into(),
        },
    }
}

fn of_kind(kind: &str, schema: &Value, level: usize) -> String {
    match kind {
        "string" => "string".into(),
        "integer" | "number" => "number".into(),
        "boolean" => "boolean".into(),
        "null" => "null".into(),
        "array" => match schema.get("items") {
            Some(items) => format!("{}[]", bracketed(type_of(items, level))),
            None => "unknown[]".into(),
        },
        _ => {
            let others = match &schema["additionalProperties"] {
                Value::Bool(false) => None,
                others @ Value::Object(_) => Some(type_of(others, level + 1)),
                _ if schema["unevaluatedProperties"] == false => None,
                _ => Some("unknown".into()),
            };
            let required = schema["required"].as_array();
            let is_required = |name: &str| required.is_some_and(|required| required.iter().any(|required| required == name));
            let members = schema["properties"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema));
            object(members, &is_required, others, level)
        }
    }
}

/// A type that can be followed by a suffix.
fn bracketed(kind: String) -> String {
    if kind.contains(" | ") && !kind.starts_with('{') { format!("({kind})") } else { kind }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => "unknown".into(),
        scalar => scalar.to_string(),
    }
}

/// A text in single quotes, as in the library's own code.
fn quoted(text: &str) -> String {
    let inside = Value::from(text).to_string();
    format!("'{}'", inside[1..inside.len() - 1].replace("\\\"", "\"").replace('\'', "\\'"))
}

/// A member's name, quoted if it is not an identifier.
fn key(name: &str) -> String {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$'));
    if is_plain && !name.is_empty() && !name.starts_with(|letter: char| letter.is_ascii_digit()) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Writes a comment above a member; nothing if the text is empty.
fn comment(text: &mut String, level: usize, about: &str) {
    if about.is_empty() {
        return;
    }
    let indent = "  ".repeat(level);
    let _ = writeln!(text, "{indent}/**");
    for line in about.replace("*/", "*\\/").lines() {
        let _ = writeln!(text, "{}", format!("{indent} * {line}").trim_end());
    }
    let _ = writeln!(text, "{indent} */");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_schema_has_a_type() {
        for (schema, expected) in [
            (json!({"type": "integer"}), "number"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (json!({"enum": ["it's", 1, null]}), r"'it\'s' | 1 | null"),
            (json!({"const": "a"}), "'a'"),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "(string | null)[]"),
            (json!({"type": "array"}), "unknown[]"),
            (json!({"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": false}]}), "string | {\n}"),
            (json!({"type": "object", "additionalProperties": {"type": "number"}}), "{\n  [k: string]: number;\n}"),
            (json!({"properties": {"a-b": {}}, "required": ["a-b"]}), "{\n  'a-b': unknown;\n  [k: string]: unknown;\n}"),
            (json!({"allOf": [{"type": "string"}, {"enum": ["a", "b"]}]}), "string & ('a' | 'b')"),
            (json!(true), "unknown"),
        ] {
            assert_eq!(type_of(&schema, 0), expected, "{schema}");
        }
    }

    #[test]
    fn a_long_list_stands_one_under_the_other_and_no_text_ends_its_comment() {
        let mut text = String::new();
        let kinds: Vec<String> = (0..20).map(|number| format!("'kind-{number}'")).collect();
        member(&mut text, 1, "kind", &kinds.join(" | "));
        assert!(text.starts_with("  kind:\n    | 'kind-0'\n    | 'kind-1'\n") && text.ends_with("'kind-19';\n"), "{text}");
        let mut text = String::new();
        comment(&mut text, 0, "a */ b\n\nc");
        assert_eq!(text, "/**\n * a *\\/ b\n *\n * c\n */\n");
    }
}
