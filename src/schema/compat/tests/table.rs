//! The changes.

use serde_json::{Value, json};

use super::{
    Change,
    Truth::{No, Undecided, Yes},
    event, member, whole,
};

pub(super) fn changes() -> Vec<Change> {
    [members(), scalars(), choices(), containers(), conditions(), references()].into_iter().flatten().collect()
}

fn properties(value: Value) -> Value {
    json!({ "properties": value })
}

/// Changes of the members.
fn members() -> Vec<Change> {
    let a = || json!({ "a": { "type": "string" } });
    let ab = || json!({ "a": { "type": "string" }, "b": { "type": "integer" } });
    vec![
        whole("an optional member is added", properties(a()), properties(ab()), Yes, No),
        whole("an optional member is removed", properties(ab()), properties(a()), No, Yes),
        whole("a required member is added", properties(a()), json!({ "properties": ab(), "required": ["b"] }), No, No),
        whole("a required member is removed", json!({ "properties": ab(), "required": ["b"] }), properties(a()), No, No),
        whole("a member becomes required", properties(ab()), json!({ "properties": ab(), "required": ["b"] }), No, Yes),
        whole("a member becomes optional", json!({ "properties": ab(), "required": ["b"] }), properties(ab()), Yes, No),
        whole("a member is renamed", properties(a()), properties(json!({ "c": { "type": "string" } })), No, No),
        whole(
            "one member wider, one narrower",
            properties(ab()),
            properties(json!({ "a": { "type": ["string", "null"] }, "b": { "type": "integer", "minimum": 0 } })),
            No,
            No,
        ),
        whole("the event is opened", properties(a()), json!({ "properties": a(), "open": true }), Yes, No),
        whole("the event is closed", json!({ "properties": a(), "open": true }), properties(a()), No, Yes),
        whole(
            "an optional member is added to an open event",
            json!({ "properties": a(), "open": true }),
            json!({ "properties": ab(), "open": true }),
            No,
            Yes,
        ),
        whole(
            "another way to close the same",
            properties(a()),
            json!({ "open": true, "properties": { "a": { "type": "string" }, "event_uuid": true, "event_name": true, "created_at": true,
                "schema_version": true, "created_datetime": true, "event_type": true, "event_subtype": true, "received_datetime": true,
                "source": true }, "additionalProperties": false }),
            Yes,
            Yes,
        ),
        whole(
            "only words change",
            json!({ "title": "A", "properties": a() }),
            properties(json!({ "a": { "type": "string", "description": "what a says", "examples": ["x"], "default": "y" } })),
            Yes,
            Yes,
        ),
        whole(
            "the name of the event is spelt out",
            properties(a()),
            properties(json!({ "a": { "type": "string" }, "event_name": { "const": "a:b" } })),
            Yes,
            Yes,
        ),
        whole(
            "the identity is said to be a UUID once more",
            properties(a()),
            properties(json!({ "a": { "type": "string" }, "event_uuid": { "type": "string", "format": "uuid" } })),
            Yes,
            Yes,
        ),
        whole(
            "each version names itself",
            properties(json!({ "a": { "type": "string" }, "schema_version": { "const": 1 } })),
            properties(json!({ "a": { "type": "string" }, "schema_version": { "const": 2 } })),
            Yes,
            Yes,
        ),
        whole(
            "the version has to be named",
            properties(a()),
            json!({ "properties": a(), "required": ["schema_version"] }),
            No,
            Yes,
        ),
        whole(
            "members that must come together",
            properties(ab()),
            json!({ "properties": ab(), "dependentRequired": { "a": ["b"] } }),
            No,
            Yes,
        ),
        whole(
            "members that need not come together any more",
            json!({ "properties": ab(), "dependentRequired": { "a": ["b"] } }),
            properties(ab()),
            Yes,
            No,
        ),
        whole("at least some members", properties(ab()), json!({ "properties": ab(), "minProperties": 4 }), No, Yes),
    ]
}

fn scalars() -> Vec<Change> {
    let text = |more: Value| with("string", more);
    let number = |more: Value| with("number", more);
    let integer = |more: Value| with("integer", more);
    vec![
        member("a value is added to an enum", json!({ "enum": ["a", "b"] }), json!({ "enum": ["a", "b", "c"] }), Yes, No),
        member("a value is taken from an enum", json!({ "enum": ["a", "b", "c"] }), json!({ "enum": ["a", "b"] }), No, Yes),
        member("an enum in another order", json!({ "enum": ["a", "b"] }), json!({ "enum": ["b", "a"] }), Yes, Yes),
        member(
            "an enum with the same numbers, written otherwise",
            json!({ "enum": [1, 2] }),
            json!({ "enum": [1.0, 2e0] }),
            Yes,
            Yes,
        ),
        member("a string becomes one of some", text(json!({})), json!({ "enum": ["a", "b"] }), No, Yes),
        member("a constant becomes one of two", json!({ "const": "a" }), json!({ "enum": ["a", "b"] }), Yes, No),
        member("another constant", json!({ "const": "a" }), json!({ "const": "b" }), No, No),
        member("an enum of one becomes a constant", json!({ "enum": ["a"] }), json!({ "const": "a" }), Yes, Yes),
        member(
            "an enum of what a pattern allows",
            json!({ "enum": ["ab", "cd"] }),
            text(json!({ "pattern": "^[a-z]{2}$" })),
            Yes,
            No,
        ),
        member("integer to number", integer(json!({})), number(json!({})), Yes, No),
        member("number to integer", number(json!({})), integer(json!({})), No, Yes),
        member("integer to string", integer(json!({})), text(json!({})), No, No),
        member("a string may be null", text(json!({})), json!({ "type": ["string", "null"] }), Yes, No),
        member("a string may not be null any more", json!({ "type": ["string", "null"] }), text(json!({})), No, Yes),
        member("any type", text(json!({})), json!({}), Yes, No),
        member("a member is forbidden", text(json!({})), json!(false), No, Yes),
        member("a wider pattern", text(json!({ "pattern": "^[a-z]+$" })), text(json!({ "pattern": "^[a-z0-9]+$" })), Yes, No),
        member(
            "a narrower pattern",
            text(json!({ "pattern": "^[A-Z]{2,3}$" })),
            text(json!({ "pattern": "^[A-Z]{3}$" })),
            No,
            Yes,
        ),
        member(
            "the same pattern, written otherwise",
            text(json!({ "pattern": "^(a|b)+$" })),
            text(json!({ "pattern": "^[ab][ab]*$" })),
            Yes,
            Yes,
        ),
        member("a pattern that overlaps", text(json!({ "pattern": "^[a-m]+$" })), text(json!({ "pattern": "^[h-z]+$" })), No, No),
        member("a pattern loses its anchor", text(json!({ "pattern": "^abc$" })), text(json!({ "pattern": "abc" })), Yes, No),
        member("a pattern is added", text(json!({})), text(json!({ "pattern": "^[0-9a-f]{64}$" })), No, Yes),
        member(
            "a pattern becomes lengths",
            text(json!({ "pattern": "^[A-Z]{3}$" })),
            text(json!({ "minLength": 3, "maxLength": 3 })),
            Yes,
            No,
        ),
        member("minLength is raised", text(json!({ "minLength": 1 })), text(json!({ "minLength": 2 })), No, Yes),
        member("maxLength is raised", text(json!({ "maxLength": 35 })), text(json!({ "maxLength": 70 })), Yes, No),
        member("minLength 0 is written out", text(json!({})), text(json!({ "minLength": 0 })), Yes, Yes),
        member(
            "a length that no event has",
            text(json!({ "maxLength": 5_000_000 })),
            text(json!({ "maxLength": 6_000_000 })),
            Yes,
            Undecided,
        ),
        member("a format is added", text(json!({})), text(json!({ "format": "uuid" })), No, Yes),
        member("a format is dropped", text(json!({ "format": "uri" })), text(json!({})), Yes, No),
        member("another format", text(json!({ "format": "date" })), text(json!({ "format": "date-time" })), No, No),
        member(
            "a format becomes a pattern that it fulfils",
            text(json!({ "format": "date-time" })),
            text(json!({ "pattern": "^[0-9]{4}-" })),
            Undecided,
            No,
        ),
        member("minimum is raised", integer(json!({ "minimum": 0 })), integer(json!({ "minimum": 1 })), No, Yes),
        member("minimum is lowered", integer(json!({ "minimum": 0 })), integer(json!({ "minimum": -90 })), Yes, No),
        member("maximum is lowered", number(json!({ "maximum": 100 })), number(json!({ "maximum": 99.5 })), No, Yes),
        member(
            "a bound of integers, written otherwise",
            integer(json!({ "minimum": 1 })),
            integer(json!({ "exclusiveMinimum": 0 })),
            Yes,
            Yes,
        ),
        member(
            "a bound is no longer meant inclusively",
            number(json!({ "minimum": 0 })),
            number(json!({ "exclusiveMinimum": 0 })),
            No,
            Yes,
        ),
        member(
            "a bound beyond the integers of doubles",
            integer(json!({ "maximum": 9_007_199_254_740_993_u64 })),
            integer(json!({ "maximum": 9_007_199_254_740_994_u64 })),
            Yes,
            No,
        ),
        member("multiples of twice as much", integer(json!({ "multipleOf": 5 })), integer(json!({ "multipleOf": 10 })), No, Yes),
        member("multiples of half as much", integer(json!({ "multipleOf": 10 })), integer(json!({ "multipleOf": 5 })), Yes, No),
        member("multiples of one", integer(json!({})), number(json!({ "multipleOf": 1 })), Yes, Yes),
        member(
            "multiples of a tenth instead of a hundredth",
            number(json!({ "multipleOf": 0.01 })),
            number(json!({ "multipleOf": 0.1 })),
            No,
            Yes,
        ),
        member("an encoding is told", text(json!({})), text(json!({ "contentEncoding": "base64" })), Yes, Yes),
        member(
            "another format that holds the first",
            text(json!({ "format": "email" })),
            text(json!({ "format": "idn-email" })),
            Undecided,
            No,
        ),
        member(
            "a number may be text",
            integer(json!({ "minimum": 0 })),
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$" }] }),
            Yes,
            No,
        ),
        member(
            "a format and a length that it always has",
            text(json!({ "format": "uuid" })),
            text(json!({ "format": "uuid", "maxLength": 36 })),
            Yes,
            Yes,
        ),
        member("a bound on something that is no number", text(json!({})), text(json!({ "minimum": 5 })), Yes, Yes),
    ]
}

fn choices() -> Vec<Change> {
    let string = || json!({ "type": "string" });
    let integer = || json!({ "type": "integer" });
    let large = || json!({ "type": "number", "minimum": 5 });
    let card = || json!({ "properties": { "card": { "type": "string" } }, "required": ["card"] });
    let cash = || json!({ "properties": { "cash": { "type": "integer" } }, "required": ["cash"] });
    let voucher = || json!({ "properties": { "voucher": { "type": "string" } }, "required": ["voucher"] });
    vec![
        member(
            "oneOf gets another branch",
            json!({ "oneOf": [string(), integer()] }),
            json!({ "oneOf": [string(), integer(), { "type": "boolean" }] }),
            Yes,
            No,
        ),
        member("anyOf loses a branch", json!({ "anyOf": [string(), integer()] }), json!({ "anyOf": [string()] }), No, Yes),
        member(
            "anyOf becomes oneOf, and branches overlap",
            json!({ "anyOf": [integer(), large()] }),
            json!({ "oneOf": [integer(), large()] }),
            No,
            Yes,
        ),
        member(
            "oneOf becomes anyOf, and branches overlap",
            json!({ "oneOf": [integer(), large()] }),
            json!({ "anyOf": [integer(), large()] }),
            Yes,
            No,
        ),
        member(
            "oneOf becomes anyOf, and branches do not overlap",
            json!({ "oneOf": [string(), integer()] }),
            json!({ "anyOf": [string(), integer()] }),
            Yes,
            Yes,
        ),
        member(
            "anyOf is written as types",
            json!({ "anyOf": [string(), { "type": "null" }] }),
            json!({ "type": ["null", "string"] }),
            Yes,
            Yes,
        ),
        member("a value is barred", string(), json!({ "type": "string", "not": { "const": "x" } }), No, Yes),
        member("a type is barred", json!({}), json!({ "not": { "type": "null" } }), No, Yes),
        member("a bar is lifted", json!({ "not": { "enum": ["x", "y"] } }), json!({ "not": { "enum": ["x"] } }), Yes, No),
        member(
            "allOf is merged",
            json!({ "allOf": [string(), { "minLength": 2 }] }),
            json!({ "type": "string", "minLength": 2 }),
            Yes,
            Yes,
        ),
        member(
            "allOf gets another part",
            json!({ "allOf": [string()] }),
            json!({ "allOf": [string(), { "maxLength": 9 }] }),
            No,
            Yes,
        ),
        member(
            "objects of one more kind",
            json!({ "oneOf": [kind("a", json!({ "x": integer() })), kind("b", json!({}))] }),
            json!({ "oneOf": [kind("a", json!({ "x": integer() })), kind("b", json!({})), kind("c", json!({}))] }),
            Yes,
            No,
        ),
        member(
            "one kind of object gets another member",
            json!({ "oneOf": [kind("a", json!({ "x": integer() })), kind("b", json!({}))] }),
            json!({ "oneOf": [kind("a", json!({ "x": integer(), "y": integer() })), kind("b", json!({}))] }),
            Yes,
            No,
        ),
        whole(
            "one of two members, then one of three",
            json!({ "oneOf": [card(), cash()] }),
            json!({ "oneOf": [card(), cash(), voucher()] }),
            Yes,
            No,
        ),
        whole(
            "some of two members, then some of three",
            json!({ "anyOf": [card(), cash()] }),
            json!({ "anyOf": [card(), cash(), voucher()] }),
            Yes,
            No,
        ),
    ]
}

fn containers() -> Vec<Change> {
    let object = |properties: Value| json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let open = |properties: Value| json!({ "type": "object", "properties": properties });
    let a = || json!({ "a": { "type": "string" } });
    let list = |items: Value, more: Value| {
        let mut list = with("array", more);
        list["items"] = items;
        list
    };
    let integer = || json!({ "type": "integer" });
    let map = |values: Value, more: Value| {
        let mut map = with("object", more);
        map["additionalProperties"] = values;
        map
    };
    vec![
        member("a nested object is opened", object(a()), open(a()), Yes, No),
        member("a nested object is closed", open(a()), object(a()), No, Yes),
        member("a nested optional member is added", object(a()), object(json!({ "a": { "type": "string" }, "b": {} })), Yes, No),
        member(
            "a nested member becomes required",
            object(a()),
            json!({ "type": "object", "properties": a(), "required": ["a"], "additionalProperties": false }),
            No,
            Yes,
        ),
        member(
            "a bound three levels down",
            object(json!({ "x": object(json!({ "y": object(json!({ "z": { "type": "integer", "maximum": 9 } })) })) })),
            object(json!({ "x": object(json!({ "y": object(json!({ "z": { "type": "integer", "maximum": 8 } })) })) })),
            No,
            Yes,
        ),
        member(
            "values of a map are shortened",
            map(json!({ "type": "string" }), json!({})),
            map(json!({ "type": "string", "maxLength": 5 }), json!({})),
            No,
            Yes,
        ),
        member(
            "names of a map are restricted",
            map(integer(), json!({})),
            map(integer(), json!({ "propertyNames": { "pattern": "^[a-z]+$" } })),
            No,
            Yes,
        ),
        member(
            "a rule for names that look so",
            open(json!({})),
            json!({ "type": "object", "patternProperties": { "^n_": integer() } }),
            No,
            Yes,
        ),
        member("a map must hold something", map(integer(), json!({})), map(integer(), json!({ "minProperties": 1 })), No, Yes),
        member(
            "a map may hold more",
            map(integer(), json!({ "maxProperties": 2 })),
            map(integer(), json!({ "maxProperties": 3 })),
            Yes,
            No,
        ),
        member("elements are widened", list(integer(), json!({})), list(json!({ "type": "number" }), json!({})), Yes, No),
        member(
            "elements are narrowed",
            list(integer(), json!({})),
            list(json!({ "type": "integer", "minimum": 0 }), json!({})),
            No,
            Yes,
        ),
        member("an array must hold something", list(integer(), json!({})), list(integer(), json!({ "minItems": 1 })), No, Yes),
        member(
            "an array may hold more",
            list(integer(), json!({ "maxItems": 3 })),
            list(integer(), json!({ "maxItems": 5 })),
            Yes,
            No,
        ),
        member("elements must be unique", list(integer(), json!({})), list(integer(), json!({ "uniqueItems": true })), No, Yes),
        member(
            "elements need not be unique",
            list(integer(), json!({ "uniqueItems": true })),
            list(integer(), json!({ "uniqueItems": false })),
            Yes,
            No,
        ),
        member(
            "an array of at most one is unique",
            list(integer(), json!({ "maxItems": 1 })),
            list(integer(), json!({ "maxItems": 1, "uniqueItems": true })),
            Yes,
            Yes,
        ),
        member(
            "the first element is said to be a string",
            json!({ "type": "array" }),
            json!({ "type": "array", "prefixItems": [{ "type": "string" }] }),
            No,
            Yes,
        ),
        member(
            "an array must contain something",
            json!({ "type": "array" }),
            json!({ "type": "array", "contains": integer() }),
            No,
            Yes,
        ),
        member(
            "an array must contain two of it",
            json!({ "type": "array", "contains": integer() }),
            json!({ "type": "array", "contains": integer(), "minContains": 2 }),
            No,
            Yes,
        ),
        member("a list instead of one", integer(), list(integer(), json!({})), No, No),
        member("one or a list of them", integer(), json!({ "anyOf": [integer(), list(integer(), json!({}))] }), Yes, No),
        member(
            "elements with one more member",
            list(object(a()), json!({})),
            list(object(json!({ "a": { "type": "string" }, "b": integer() })), json!({})),
            Yes,
            No,
        ),
    ]
}

fn conditions() -> Vec<Change> {
    let members = || json!({ "method": { "enum": ["card", "cash"] }, "last4": { "type": "string" } });
    let conditional = json!({ "properties": members(), "if": { "properties": { "method": { "const": "card" } }, "required": ["method"] }, "then": { "required": ["last4"] } });
    let dependent = json!({ "properties": members(), "dependentSchemas": { "last4": { "required": ["method"] } } });
    let object = |more: Value| {
        let mut object = with("object", more);
        object["properties"] = members();
        object["additionalProperties"] = false.into();
        object
    };
    vec![
        whole("a condition is added", properties(members()), conditional.clone(), No, Yes),
        whole("a condition is lifted", conditional, properties(members()), Yes, No),
        whole(
            "a condition that brings its own member",
            json!({ "properties": { "method": { "enum": ["card", "cash"] } } }),
            json!({ "properties": { "method": { "enum": ["card", "cash"] } }, "if": { "properties": { "method": { "const": "card" } }, "required": ["method"] },
                "then": { "properties": { "last4": { "type": "string" } } } }),
            Yes,
            No,
        ),
        whole(
            "two members exclude each other",
            properties(members()),
            json!({ "properties": members(), "not": { "required": ["method", "last4"] } }),
            No,
            Yes,
        ),
        whole("a schema that depends on a member", properties(members()), dependent, No, Yes),
        member(
            "a condition is added below",
            object(json!({})),
            object(
                json!({ "if": { "properties": { "method": { "const": "card" } }, "required": ["method"] }, "then": { "required": ["last4"] } }),
            ),
            No,
            Yes,
        ),
        member(
            "else is added below",
            object(json!({ "if": { "required": ["last4"] }, "then": { "required": ["method"] } })),
            object(
                json!({ "if": { "required": ["last4"] }, "then": { "required": ["method"] }, "else": { "required": ["method"] } }),
            ),
            No,
            Yes,
        ),
    ]
}

fn references() -> Vec<Change> {
    let id = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let by_reference =
        |piece: Value| json!({ "properties": { "f": { "$ref": "#/$defs/common.id" } }, "$defs": { "common.id": piece } });
    let tree = |leaf: Value| {
        json!({ "properties": { "f": { "$ref": "#/$defs/node" } }, "$defs": { "node": { "type": "object",
            "properties": { "leaf": leaf, "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } }, "additionalProperties": false } } })
    };
    vec![
        whole(
            "the piece that is referred to is narrowed",
            by_reference(id("^[a-z.]{1,9}$")),
            by_reference(id("^[a-z]{1,9}$")),
            No,
            Yes,
        ),
        whole(
            "the piece that is referred to is widened",
            by_reference(json!({ "enum": ["a"] })),
            by_reference(json!({ "enum": ["a", "b"] })),
            Yes,
            No,
        ),
        whole(
            "another piece with the same meaning",
            by_reference(id("^[a-z]+$")),
            properties(json!({ "f": id("^[a-z][a-z]*$") })),
            Yes,
            Yes,
        ),
        whole(
            "something beside a reference",
            by_reference(id("^[a-z]+$")),
            json!({ "properties": { "f": { "$ref": "#/$defs/common.id", "maxLength": 3 } }, "$defs": { "common.id": id("^[a-z]+$") } }),
            No,
            Yes,
        ),
        whole(
            "a tree with the same leaves",
            tree(json!({ "type": "integer" })),
            tree(json!({ "type": "integer", "description": "a leaf" })),
            Yes,
            Yes,
        ),
        whole(
            "a tree with narrower leaves",
            tree(json!({ "type": "integer" })),
            tree(json!({ "type": "integer", "minimum": 0 })),
            No,
            Undecided,
        ),
        whole(
            "an event within itself",
            json!({ "properties": { "child": { "$ref": "#" }, "n": { "type": "integer" } } }),
            json!({ "properties": { "child": { "$ref": "#" }, "n": { "type": "number" } } }),
            Undecided,
            No,
        ),
        Change {
            name: "no envelope, then one",
            old: json!({ "properties": { "a": { "type": "string" } } }),
            new: event(json!({ "properties": { "a": { "type": "string" } } })),
            backward: No,
            forward: Yes,
        },
        Change { name: "anything", old: json!({}), new: json!({ "type": "object" }), backward: Yes, forward: Yes },
    ]
}

fn with(kind: &str, mut more: Value) -> Value {
    more["type"] = kind.into();
    more
}

fn kind(name: &str, properties: Value) -> Value {
    let mut properties = properties;
    properties["kind"] = json!({ "const": name });
    json!({ "type": "object", "required": ["kind"], "properties": properties, "additionalProperties": false })
}
