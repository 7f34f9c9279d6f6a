use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::json::{Parser, Tape};

fn library(schema: &Value) -> Option<Validator<TapeJson>> {
    let options = jsonschema::options_for::<TapeJson>().should_validate_formats(true);
    options.with_pattern_options(jsonschema::PatternOptions::regex()).build(schema).ok()
}

fn quick(schema: &Value) -> CompiledSchema {
    CompiledSchema::compile(schema, &Shared::default(), &library).unwrap()
}

/// The results of the compiled schema and of the library for a value as the client wrote it.
fn judge(quick: &CompiledSchema, library: &Validator<TapeJson>, text: &str) -> (bool, bool) {
    let mut tape = Tape::new();
    Parser::new(text, usize::MAX).value(&mut tape).unwrap();
    (quick.accepts(tape.root(text)), library.is_valid(tape.root(text)))
}

/// Each schema with values, of which the first `valid` are valid; the compiled schema must accept all of these.
#[test]
fn it_knows_the_usual_keywords_itself_and_agrees_with_the_library() {
    let cases: [(Value, usize, &[&str]); 14] = [
        (json!({ "type": "integer", "minimum": 0, "maximum": 100 }), 2, &["0", "100", "-1", "101", "1.5", "\"7\"", "null"]),
        (
            json!({ "type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 0.3 }),
            2,
            &["0.1", "null", "0", "0.3", "{}"],
        ),
        (json!({ "minimum": 3 }), 3, &["3", "\"a\"", "[]", "2.999"]),
        (
            json!({ "type": "string", "minLength": 2, "maxLength": 3 }),
            4,
            &["\"ab\"", "\"éé\"", "\"\\u00e9\\ud83d\\ude00\"", "\"😀😀😀\"", "\"a\"", "\"é\"", "\"abcd\""],
        ),
        (
            json!({ "format": "uuid" }),
            2,
            &[
                "\"0190B0a1-7c3e-7d52-a1b2-c3d4e5f60718\"",
                "7",
                "\"0190b0a17c3e7d52a1b2c3d4e5f60718\"",
                "\"0190b0a1-7c3e-7d52-a1b2-c3d4e5f6071g\"",
            ],
        ),
        (json!({ "enum": ["a", "b", null] }), 3, &["\"a\"", "\"\\u0062\"", "null", "\"c\"", "1"]),
        (json!({ "const": "a" }), 1, &["\"a\"", "\"b\"", "[\"a\"]"]),
        (
            json!({ "pattern": "^/[^?#\\s]*$" }),
            3,
            &["\"/menu\"", "\"/açaí\"", "0", "\"menu\"", "\"/a b\"", "\"/a\\u00a0b\"", "\"/a\\nb\"", "\"/\\n\""],
        ),
        (json!({ "pattern": "\\d{2}" }), 2, &["\"a12\"", "\"123\"", "\"1\"", "\"١٢\""]),
        (
            json!({ "items": { "type": "string" }, "minItems": 1, "maxItems": 2 }),
            3,
            &["[\"a\"]", "[\"a\",\"b\"]", "{}", "[]", "[1]", "[\"a\",\"b\",\"c\"]"],
        ),
        (
            json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "string" }, "": {} }, "additionalProperties": false }),
            2,
            &["{\"a\":\"x\"}", "{\"\":1,\"\\u0061\":\"x\"}", "{}", "{\"a\":1}", "{\"a\":\"x\",\"b\":1}", "[]"],
        ),
        (
            json!({ "properties": { "a": { "type": "null" } }, "additionalProperties": { "type": "integer" } }),
            3,
            &["{}", "{\"a\":null,\"b\":1}", "1", "{\"b\":null}"],
        ),
        (
            json!({ "properties": { "a": {}, "b": {} }, "dependentRequired": { "a": ["b"] }, "allOf": [{ "required": ["c"], "properties": { "c": {} } }] }),
            2,
            &["{\"c\":1}", "{\"c\":1,\"a\":1,\"b\":1}", "{\"c\":1,\"a\":1}", "{\"a\":1,\"b\":1}"],
        ),
        (json!({ "type": "string", "format": "date", "multipleOf": 2 }), 1, &["\"2026-11-24\"", "\"2026-13-24\"", "4"]),
    ];
    for (schema, valid, texts) in cases {
        let (quick, library) = (quick(&schema), library(&schema).unwrap());
        assert!(!matches!(quick, CompiledSchema::Library(_)), "{schema}");
        for (index, text) in texts.iter().enumerate() {
            assert_eq!(judge(&quick, &library, text), (index < valid, index < valid), "{schema} {text}");
        }
    }
}

#[test]
fn what_it_does_not_know_the_library_judges_in_its_place() {
    let choice = json!({ "properties": { "a": { "oneOf": [{ "type": "null" }, { "type": "number", "minimum": 5 }] } } });
    let (quick_choice, by_library) = (quick(&choice), library(&choice).unwrap());
    assert!(matches!(quick_choice, CompiledSchema::Plain(_)));
    for (text, is_valid) in [("{\"a\":null}", true), ("{\"a\":5}", true), ("{\"a\":4}", false)] {
        assert_eq!(judge(&quick_choice, &by_library, text), (is_valid, is_valid), "{text}");
    }
    for whole in [
        json!({ "patternProperties": { "^a": { "type": "null" } }, "additionalProperties": false }),
        json!({ "prefixItems": [{ "type": "null" }], "items": false }),
        json!({ "required": ["a"], "properties": { "b": {} } }),
        json!({ "enum": [1, 2] }),
        json!({ "minimum": 1e300 }),
        json!(false),
    ] {
        assert!(matches!(quick(&whole), CompiledSchema::Library(_)), "{whole}");
    }
}

#[test]
fn what_it_is_not_sure_of_it_leaves_to_the_written_schema() {
    let schema = json!({ "properties": { "n": { "type": "integer", "maximum": 9 } } });
    let (quick, library) = (quick(&schema), library(&schema).unwrap());
    for text in ["{\"n\":7.0}", "{\"n\":0e1}", "{\"n\":1,\"n\":2}", "{\"n\":-12345678901234567890}"] {
        assert_eq!(judge(&quick, &library, text), (false, true), "{text}");
    }
}

#[test]
fn that_no_name_stands_twice_is_known_if_the_schema_names_all_members() {
    let schema = quick(&json!({ "properties": { "a": {}, "b": {} } }));
    let accepted = |text: &str| {
        let mut tape = Tape::new();
        Parser::new(text, usize::MAX).value(&mut tape).unwrap();
        schema.accepted(tape.root(text))
    };
    assert_eq!(["{}", "{\"b\":1,\"a\":[{\"x\":1,\"x\":1}]}"].map(accepted), [Some(true); 2]);
    assert_eq!(["{\"c\":1}", "{\"a\":1,\"c\":1,\"c\":2}", "{\"a\":1,\"c\":{}}"].map(accepted), [Some(false); 3]);
    assert_eq!(["{\"a\":1,\"a\":1}", "{\"c\":1,\"a\":1,\"\\u0061\":1}"].map(accepted), [None; 2]);
}

fn any_schema() -> impl Strategy<Value = Value> {
    let bound = prop_oneof![(-3..4i64).prop_map(Value::from), Just(json!(0.1)), Just(json!(1_000_000_000_000_000_000u64))];
    let size = (0..3u64).prop_map(Value::from);
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"])
            .prop_map(|kind| json!({ "type": kind })),
        Just(json!({ "type": ["integer", "string"] })),
        ("minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf", bound)
            .prop_filter("a divisor is above 0", |(name, bound)| name != "multipleOf" || bound.as_f64() > Some(0.0))
            .prop_map(|(name, bound)| json!({ name: bound })),
        ("minLength|maxLength|minItems|maxItems|minProperties|maxProperties", size)
            .prop_map(|(name, size)| json!({ name: size })),
        prop::sample::select(vec!["^a", "a$", "^[a-é]{1,2}$", "\\s", "^\\w+$", "[^a]"])
            .prop_map(|pattern| json!({ "pattern": pattern })),
        Just(json!({ "enum": ["a", null] })),
        Just(json!({ "enum": [0, "a"] })),
        Just(json!({ "uniqueItems": true })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|each| json!({ "items": each })),
            (inner.clone(), inner.clone(), "a|b", any::<bool>()).prop_map(|(a, others, name, is_required)| {
                let required: &[&str] = if is_required { &["a"] } else { &[] };
                json!({ "properties": { "a": a }, "additionalProperties": others, "required": required, "dependentRequired": { name: ["a"] } })
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "allOf": [a, b] })),
            (inner.clone(), inner).prop_map(|(a, b)| {
                let mut both = a.as_object().cloned().unwrap_or_default();
                both.extend(b.as_object().cloned().unwrap_or_default());
                Value::Object(both)
            }),
        ]
    })
}

/// Values as clients may write them, with every special case of the grammar.
fn any_text() -> impl Strategy<Value = String> {
    let spelled = vec![
        "null",
        "true",
        "0",
        "-1",
        "2",
        "1.0",
        "1e2",
        "0.1",
        "-0",
        "1000000000000000001",
        "\"\"",
        "\"a\"",
        "\"\\u0061\"",
        "\"é😀\"",
        "\"a b\"",
    ];
    prop::sample::select(spelled).prop_map(str::to_owned).prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(("a|b|\\\\u0061|c", inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn it_never_accepts_what_the_library_refuses(schema in any_schema(), texts in prop::collection::vec(any_text(), 1..8)) {
        let (quick, library) = (quick(&schema), library(&schema).unwrap());
        for text in texts {
            let (by_quick, by_library) = judge(&quick, &library, &text);
            prop_assert!(by_library || !by_quick, "{schema} {text}");
        }
    }
}
