//! Types of events for the Python package: a `TypedDict` for each version of each event, and a `track` that holds fields to them.
//!
//! The file needs no more than Python 3.9 to be imported. `NotRequired` and `Unpack` are newer: type checkers find them in the
//! stubs of `typing_extensions` that every checker brings along, and annotations are not evaluated at run time.

use std::{collections::BTreeSet, fmt::Write};

use serde_json::Value;

use super::event_fields::EventFields;
use crate::schema::Registry;

const HEAD: &str = r#"from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Dict, List, Literal, Mapping, Optional, TypedDict, Union, overload

from lakegate import Client

if TYPE_CHECKING:
    from typing_extensions import NotRequired, Unpack
elif sys.version_info >= (3, 11):
    from typing import NotRequired, Unpack
"#;

/// No class of an event has this name, because each ends in `V` and a number.
const FACADE: &str = r#"

class Events:
    """`track` of a client, with the fields of every event checked: `Events(client).track(…)`."""

    def __init__(self, client: Client) -> None:
        self.client = client
"#;

/// Keywords of Python, which no field of a class can be named.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield",
];

/// Words of the types themselves: a field of such a name would hide the type from the fields below it.
const TYPES: [&str; 11] =
    ["bool", "datetime", "float", "int", "object", "str", "Dict", "List", "Literal", "NotRequired", "Union"];

/// A Python module with the types. `command` is the command that writes it.
#[must_use]
pub fn python(registry: &Registry, command: &str) -> String {
    let mut file = File { text: String::new(), names: BTreeSet::new() };
    let mut overloads = Vec::new();
    for (name, versions) in registry.iter() {
        for (index, schema) in versions.iter().enumerate() {
            let is_newest = index + 1 == versions.len();
            let event = EventFields::of(schema);
            let class = file.free_name(&format!("{}V{}", words(name), schema.version));
            let mut fields = common_fields(schema.version, is_newest);
            for (field, property) in &event.properties {
                let kind = file.type_of(property, &format!("{class}{}", words(field)));
                let is_required = event.required.contains(field);
                fields.push(Field { name: field.clone(), kind, is_required, about: documentation(property) });
            }
            let about = format!("{}\n\nVersion {} of `{name}`.", event.description, schema.version);
            file.class(&class, about.trim(), &fields);
            overloads.push((name.to_owned(), class));
        }
    }
    let mut text = format!("\"\"\"The fields of every event. Written by `{command}`; do not edit.\"\"\"\n\n{HEAD}{}", file.text);
    text.push_str(FACADE);
    for (function, awaits) in [("def track", ""), ("async def atrack", "await ")] {
        facade(&mut text, function, awaits, &overloads);
    }
    text
}

/// One function of `Events`: an overload for each version of each event, with the fields as arguments and as a mapping.
fn facade(text: &mut String, function: &str, awaits: &str, overloads: &[(String, String)]) {
    // Two forms, so that `@overload` never stands alone.
    for (name, class) in overloads {
        let name = literal(&Value::from(name.as_str()));
        for fields in [format!("/, **fields: Unpack[{class}]"), format!("fields: {class}, /")] {
            let _ = write!(text, "\n    @overload\n    {function}(self, event_name: Literal[{name}], {fields}) -> str: ...\n");
        }
    }
    let called = function.rsplit(' ').next().unwrap_or_default();
    let _ = write!(
        text,
        "\n    {function}(self, event_name: str, fields: Optional[Mapping[str, object]] = None, /, **more: object) -> str:\n        \
         return {awaits}self.client.{called}(event_name, fields, **more)\n"
    );
}

/// What the client writes unless it is given. `schema_version` chooses the overload: an older version must be named.
fn common_fields(version: u32, is_newest: bool) -> Vec<Field> {
    let field =
        |name: &str, kind: String, is_required, about: &str| Field { name: name.into(), kind, is_required, about: about.into() };
    vec![
        field("event_uuid", "str".into(), false, "A UUID of your own."),
        field("created_at", "Union[float, str, datetime]".into(), false, "When it happened, if not now."),
        field("schema_version", format!("Literal[{version}]"), !is_newest, "The version that the event is written by."),
    ]
}

struct Field {
    name: String,
    kind: String,
    is_required: bool,
    about: String,
}

impl Field {
    fn annotation(&self) -> String {
        if self.is_required { self.kind.clone() } else { format!("NotRequired[{}]", self.kind) }
    }
}

/// The classes so far. A nested object is a class of its own, written before the class that uses it.
struct File {
    text: String,
    names: BTreeSet<String>,
}

impl File {
    /// `wanted`, or `wanted` with a number where two names of the registry make the same class name.
    fn free_name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }

    fn class(&mut self, class: &str, about: &str, fields: &[Field]) {
        if fields.iter().all(|field| is_identifier(&field.name)) {
            let _ = writeln!(self.text, "\n\nclass {class}(TypedDict):");
            docstring(&mut self.text, about);
            for field in fields {
                let annotation = field.annotation();
                self.text.push_str(if self.text.ends_with("(TypedDict):\n") { "" } else { "\n" });
                let _ = writeln!(self.text, "    {}: {annotation}", field.name);
                docstring(&mut self.text, &field.about);
            }
            return;
        }
        // A field that is no identifier, such as "a-b" or "from", cannot be a line of a class. The values are evaluated, so quoted.
        self.text.push_str("\n\n");
        for line in about.lines() {
            let _ = writeln!(self.text, "{}", format!("# {line}").trim_end());
        }
        let _ = writeln!(self.text, "{class} = TypedDict(\n    \"{class}\",\n    {{");
        for field in fields {
            let quoted = literal(&Value::from(field.annotation()));
            let _ = writeln!(self.text, "        {}: {quoted},", literal(&Value::from(field.name.as_str())));
        }
        self.text.push_str("    },\n)\n");
    }

    /// The type of a value. `class` is the name for an object with fields of its own.
    fn type_of(&mut self, schema: &Value, class: &str) -> String {
        if let Some(value) = schema.get("const") {
            return literals(std::slice::from_ref(value));
        }
        if let Some(values) = schema["enum"].as_array() {
            return literals(values);
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(schemas) = schema[choice].as_array() {
                return union(schemas.iter().map(|schema| self.type_of(schema, class)).collect());
            }
        }
        match &schema["type"] {
            Value::String(kind) => self.of_kind(kind, schema, class),
            Value::Array(kinds) => {
                union(kinds.iter().filter_map(Value::as_str).map(|kind| self.of_kind(kind, schema, class)).collect())
            }
            _ if schema["properties"].is_object() => self.of_kind("object", schema, class),
            // Python has no type for "both": the first part that says anything.
            _ => {
                let parts = schema["allOf"].as_array().into_iter().flatten();
                let mut kinds: Vec<String> = parts.map(|part| self.type_of(part, class)).collect();
                kinds.sort_by_key(|kind| (kind == "object", !kind.starts_with("Literal[")));
                kinds.into_iter().next().unwrap_or_else(|| "object".into())
            }
        }
    }

    fn of_kind(&mut self, kind: &str, schema: &Value, class: &str) -> String {
        match kind {
            "string" => "str".into(),
            "integer" => "int".into(),
            "number" => "float".into(),
            "boolean" => "bool".into(),
            "null" => "None".into(),
            "array" => match schema.get("items") {
                Some(items) => format!("List[{}]", self.type_of(items, class)),
                None => "List[object]".into(),
            },
            _ => self.of_object(schema, class),
        }
    }

    fn of_object(&mut self, schema: &Value, class: &str) -> String {
        let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty());
        let Some(properties) = properties else {
            let others = &schema["additionalProperties"];
            let kind = if others.is_object() { self.type_of(others, &format!("{class}Value")) } else { "object".into() };
            return format!("Dict[str, {kind}]");
        };
        let class = self.free_name(class);
        let required = schema["required"].as_array();
        let mut fields = Vec::new();
        for (name, property) in properties {
            let kind = self.type_of(property, &format!("{class}{}", words(name)));
            let is_required = required.is_some_and(|required| required.iter().any(|required| required == name));
            fields.push(Field { name: name.clone(), kind, is_required, about: documentation(property) });
        }
        self.class(&class, schema["description"].as_str().unwrap_or_default(), &fields);
        class
    }
}

/// The description; for an array also the rules that its type does not express.
fn documentation(schema: &Value) -> String {
    let mut parts = vec![schema["description"].as_str().unwrap_or_default().to_owned()];
    let bounds = [("minItems", "At least"), ("maxItems", "At most")];
    let bounds = bounds.map(|(name, words)| schema[name].as_u64().map(|bound| format!("{words} {bound} items.")));
    parts.extend(bounds.into_iter().flatten());
    parts.extend(schema["items"]["description"].as_str().map(|items| format!("Items: {items}")));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn union(mut kinds: Vec<String>) -> String {
    let mut seen = BTreeSet::new();
    kinds.retain(|kind| seen.insert(kind.clone()));
    match kinds.as_slice() {
        [] => "object".into(),
        [one] => one.clone(),
        _ if kinds.iter().any(|kind| kind == "object") => "object".into(),
        several => format!("Union[{}]", several.join(", ")),
    }
}

/// Values that `Literal` can hold; any other makes it the type that holds them all.
fn literals(values: &[Value]) -> String {
    let is_literal =
        |value: &Value| matches!(value, Value::Null | Value::Bool(_) | Value::String(_)) || value.is_i64() || value.is_u64();
    if !values.is_empty() && values.iter().all(is_literal) {
        format!("Literal[{}]", values.iter().map(literal).collect::<Vec<_>>().join(", "))
    } else if !values.is_empty() && values.iter().all(Value::is_number) {
        "float".into()
    } else {
        "object".into()
    }
}

/// A scalar in Python. A string of JSON is one of Python, because `serde_json` escapes no more than both know.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        scalar => scalar.to_string(),
    }
}

/// `menu:item:viewed` and `page_path` as the words of a class name: `MenuItemViewed`, `PagePath`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for word in name.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        words.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        words.push_str(letters.as_str());
    }
    if words.starts_with(|letter: char| letter.is_ascii_digit()) { format!("_{words}") } else { words }
}

fn is_identifier(name: &str) -> bool {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let is_private = name.starts_with("__");
    is_plain
        && !is_private
        && !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && !KEYWORDS.contains(&name)
        && !TYPES.contains(&name)
}

/// A docstring below a class or a field; nothing if the text is empty.
fn docstring(text: &mut String, about: &str) {
    let about = about.replace('\\', "\\\\").replace('"', "\\\"");
    let lines: Vec<&str> = about.lines().collect();
    match lines.as_slice() {
        [] => {}
        [line] => {
            let _ = writeln!(text, "    \"\"\"{line}\"\"\"");
        }
        [first, rest @ ..] => {
            let _ = writeln!(text, "    \"\"\"{first}");
            for line in rest {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
            text.push_str("    \"\"\"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed(schema: &Value) -> (String, String) {
        let mut file = File { text: String::new(), names: BTreeSet::new() };
        let kind = file.type_of(schema, "C");
        (kind, file.text)
    }

    #[test]
    fn every_kind_of_schema_has_a_type() {
        for (schema, expected) in [
            (json!({"type": "integer"}), "int"),
            (json!({"type": ["string", "null"]}), "Union[str, None]"),
            (json!({"enum": ["it's \"so\"", 1, null, true]}), r#"Literal["it's \"so\"", 1, None, True]"#),
            (json!({"enum": [1.5, 2]}), "float"),
            (json!({"const": {"a": 1}}), "object"),
            (json!({"const": "a"}), "Literal[\"a\"]"),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "List[Union[str, None]]"),
            (json!({"type": "array"}), "List[object]"),
            (json!({"oneOf": [{"type": "string"}, {}]}), "object"),
            (json!({"type": "object", "additionalProperties": {"type": "number"}}), "Dict[str, float]"),
            (json!({"type": "object"}), "Dict[str, object]"),
            (json!({"allOf": [{"type": "string"}, {"enum": ["a", "b"]}]}), "Literal[\"a\", \"b\"]"),
            (json!({"properties": {"a": {}}}), "C"),
            (json!(true), "object"),
        ] {
            assert_eq!(typed(&schema).0, expected, "{schema}");
        }
    }

    #[test]
    fn a_field_that_is_no_identifier_makes_a_class_by_call() {
        let (_, text) = typed(&json!({"properties": {"from": {"type": "string"}, "a-b": {}}, "required": ["a-b"]}));
        assert_eq!(
            text,
            "\n\nC = TypedDict(\n    \"C\",\n    {\n        \"from\": \"NotRequired[str]\",\n        \"a-b\": \"object\",\n    },\n)\n"
        );
    }

    #[test]
    fn names_that_meet_stay_apart_and_no_text_ends_its_docstring() {
        let mut file = File { text: String::new(), names: BTreeSet::new() };
        assert_eq!([words("a:b_c"), words("a:b:c"), words("3d:seen")], ["ABC", "ABC", "_3dSeen"]);
        assert_eq!([file.free_name("AV1"), file.free_name("AV1")], ["AV1", "AV1_2"]);
        let mut text = String::new();
        docstring(&mut text, "a \\ \"\"\" b\n\nc");
        assert_eq!(text, "    \"\"\"a \\\\ \\\"\\\"\\\" b\n\n    c\n    \"\"\"\n");
    }
}
