//! Columns of schemas and of their versions.

use serde_json::{Value, json};

use super::*;

/// The columns of versions 1, 2, … with these properties, as `name: type` in short.
fn columns(versions: &[Value]) -> Vec<String> {
    let mut fields = Vec::new();
    for (index, properties) in versions.iter().enumerate() {
        let document = inlined(&json!({ "properties": properties }));
        own_properties(&document).iter().for_each(|(name, property)| add(&mut fields, name, index as u32 + 1, property));
    }
    let mut names = UniqueNames::reserving(&TAKEN);
    fields
        .into_iter()
        .map(|field| field.column(&mut names))
        .map(|column| format!("{}: {}", column.column, short(&column.kind)))
        .collect()
}

fn short(kind: &FieldType) -> String {
    match kind {
        FieldType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        FieldType::List(items) => format!("list<{}>", short(items)),
        FieldType::Struct(members) => {
            let members = members.iter().map(|member| format!("{}: {}", member.column, short(&member.kind)));
            format!("struct<{}>", members.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn kind(property: &Value) -> String {
    short(&kind_of(of_schema::shape(property)))
}

#[test]
fn every_schema_has_the_type_that_holds_its_values() {
    for (schema, expected) in [
        (json!({"type": "boolean"}), "boolean"),
        (json!({"type": ["integer", "null"]}), "integer"),
        (json!({"type": "number"}), "number"),
        (json!({"type": "number", "multipleOf": 0.01}), "decimal(38,2)"),
        (json!({"type": "number", "multipleOf": 0.05, "minimum": 0, "maximum": 100_000}), "decimal(18,2)"),
        (json!({"type": "number", "multipleOf": 0.01, "minimum": -1e17, "maximum": 1e17}), "decimal(38,2)"),
        (json!({"type": "number", "multipleOf": 0.01, "minimum": -1e254, "maximum": 1e254}), "decimal(38,2)"),
        (json!({"type": "number", "multipleOf": 5}), "integer"),
        (json!({"type": "number", "multipleOf": 1e-30}), "number"),
        (json!({"type": ["number", "integer"]}), "number"),
        (json!({"type": "string", "format": "date-time"}), "timestamp"),
        (json!({"type": "string", "format": "date"}), "date"),
        (json!({"type": "string", "format": "uuid"}), "text"),
        (json!({"enum": ["a", "b", null]}), "text"),
        (json!({"enum": [1, 2.5]}), "number"),
        (json!({"enum": ["a", 1]}), "json"),
        (json!({"const": true}), "boolean"),
        (json!({"type": ["string", "integer"]}), "json"),
        (json!({}), "json"),
        (json!(true), "json"),
        (json!({"type": "object"}), "json"),
        (json!({"type": "object", "additionalProperties": {"type": "integer"}}), "json"),
        (json!({"properties": {"a-b": {"type": "string"}, "A_B": {"type": "integer"}}}), "struct<a_b: text, A_B_2: integer>"),
        (json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}), "list<list<integer>>"),
        (json!({"type": "array"}), "json"),
        (json!({"type": "array", "items": true}), "json"),
        (json!({"type": "array", "items": {"type": ["string", "integer"]}}), "list<json>"),
        (json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}}), "json"),
        (json!({"oneOf": [{"type": "null"}, {"type": "string", "format": "date"}]}), "date"),
        (json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}), "json"),
        (json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}), "text"),
        (json!({"type": "string", "anyOf": [{"format": "email"}, {"minLength": 3}]}), "text"),
        (json!({"allOf": [{"type": "number"}, {"multipleOf": 0.1, "type": "number"}]}), "decimal(38,1)"),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}},
                "oneOf": [{"properties": {"b": {"type": "integer"}}}, {"properties": {"b": {"type": "number"}}}]}),
            "struct<a: text, b: number>",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "then": {"properties": {"c": {"type": "boolean"}}}}),
            "struct<a: text, c: boolean>",
        ),
        // What holds for some objects says nothing of a member that all of them may have, at any depth.
        (
            json!({"type": "object", "properties": {"a": {}},
                "anyOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "integer"}}}]}),
            "struct<a: json, b: integer>",
        ),
        (
            json!({"type": "array", "items": {"properties": {"o": {"properties": {"a": {}}}}, "if": {},
                "then": {"properties": {"o": {"properties": {"a": {"type": "integer"}, "b": {"type": "date"}}}}}}}),
            "list<struct<o: struct<a: json, b: json>>>",
        ),
    ] {
        assert_eq!(kind(&schema), expected, "{schema}");
    }
}

#[test]
fn nesting_ends_in_json() {
    let mut schema = json!({"type": "string"});
    for _ in 0..40 {
        schema = json!({"type": "array", "items": schema});
    }
    let kind = kind(&schema);
    assert!(kind.ends_with("json>>>>>>>>>>>>>>>") || kind.contains("json"), "{kind}");
    assert!(kind.matches("list").count() < crate::limits::COLUMN_DEPTH_MAX, "{kind}");
}

#[test]
fn a_field_keeps_its_column_while_its_type_holds_all_values_and_else_begins_another() {
    let text = json!({"type": "string"});
    let integer = json!({"type": "integer"});
    assert_eq!(columns(&[json!({"a": text}), json!({"a": text, "b": integer})]), ["a: text", "b: integer"]);
    assert_eq!(columns(&[json!({"a": integer}), json!({"a": {"type": "number"}})]), ["a: number"]);
    assert_eq!(columns(&[json!({"a": text}), json!({"a": integer}), json!({"a": text})]), ["a: text", "a_v2: integer"]);
    assert_eq!(columns(&[json!({"a": {}}), json!({"a": integer})]), ["a: json", "a_v2: integer"]);
    assert_eq!(columns(&[json!({"a": integer}), json!({"a": {"type": ["integer", "string"]}})]), ["a: integer", "a_v2: json"]);
    let object = |member: &Value| json!({"o": {"properties": {"m": member, "n": text}}});
    assert_eq!(columns(&[object(&integer), object(&text)]), ["o: struct<m: json, n: text>"]);
    let more = json!({"o": {"properties": {"k": integer}}});
    assert_eq!(columns(&[object(&integer), more]), ["o: struct<m: integer, n: text, k: integer>"]);
}

#[test]
fn columns_have_names_that_every_engine_takes_and_none_twice() {
    let text = json!({"type": "string"});
    let fields = json!({"é b": text, "_ b": text, "Source": text, "created_date": text, "itemId": text, "itemid": text, "": text,
        "a_v2": text, "a": text});
    let found = columns(&[fields, json!({"a": {"type": "integer"}})]);
    let names: Vec<&str> = found.iter().map(|column| column.split(':').next().unwrap()).collect();
    // Members of a JSON object come sorted or as written, so only the set is certain.
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let mut expected = ["__b", "__b_2", "Source_2", "created_date_2", "itemId", "itemid_2", "_", "a_v2", "a", "a_v2_2"];
    expected.sort_unstable();
    assert_eq!(sorted, expected);
}

#[test]
fn fields_of_parts_are_fields_and_what_only_some_events_have_narrows_nothing() {
    let document = json!({
        "allOf": [{"properties": {"event_uuid": {"type": "string"}, "session_id": {"type": "string"}, "n": {"multipleOf": 0.5, "type": "number"}}}],
        "properties": {"n": {"type": "number"}, "k": {"type": "string"}},
        "oneOf": [
            {"properties": {"k": {"const": "card"}, "digits": {"type": "integer"}}},
            {"properties": {"k": {"const": "cash"}, "digits": {"type": "string"}, "coins": {"type": "integer"}}},
        ],
        "dependentSchemas": {"k": {"properties": {"extra": {"type": "boolean"}}}},
    });
    let found: Vec<String> =
        own_properties(&document).iter().map(|(name, property)| format!("{name}: {}", kind(property))).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["coins: integer", "digits: json", "extra: boolean", "k: text", "n: decimal(38,1)", "session_id: text"]);
}

#[test]
fn the_shipped_schemas_have_columns_and_none_is_json_without_need() {
    let registry = crate::schema::load(std::path::Path::new("schemas")).unwrap();
    let events = event_columns(&registry);
    assert_eq!(events.len(), registry.iter().count());
    let menu = events.iter().find(|event| event.event_name == "menu:visit:progress").unwrap();
    let items = menu.columns.iter().find(|column| column.field == "items").unwrap();
    assert!(short(&items.kind).starts_with("list<struct<"), "{}", short(&items.kind));
    assert!(!menu.description.is_empty() && menu.columns.iter().any(|column| !column.description.is_empty()));
}
