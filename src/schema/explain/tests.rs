//! Every message, word for word.

use serde_json::json;

use super::*;
use crate::json::{Parser, Tape, TapeJson};

/// The faults of `event` under `schema`: each detail with its pointer.
fn said_with(schema: &Value, event: &str, suggestions: &mut Suggestions) -> Vec<(String, String)> {
    let validator = jsonschema::options_for::<TapeJson>()
        .should_validate_formats(true)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema)
        .unwrap();
    let mut tape = Tape::new();
    Parser::new(event, usize::MAX).value(&mut tape).unwrap();
    let event = tape.root(event);
    let mut explainer = Explainer { event, document: schema, suggestions };
    let faults = validator.iter_errors(event).map(|error| explainer.fault(&error));
    faults.map(|fault| (fault.detail, fault.pointer)).collect()
}

/// The faults of one value under one schema.
fn said(schema: &Value, value: &Value) -> String {
    let faults = said_with(schema, &value.to_string(), &mut Suggestions::default());
    let [(detail, _)] = faults.as_slice() else { panic!("{faults:?}") };
    detail.clone()
}

#[test]
fn what_was_expected_and_what_came_are_both_said() {
    for (schema, value, expected) in [
        (json!({"type": "integer"}), json!("14.50"), r#"expected an integer, got the string "14.50""#),
        (json!({"type": ["string", "null"]}), json!(5), "expected a string or null, got the number 5"),
        (json!({"type": "object"}), json!([1, 2]), "expected an object, got an array of 2 elements"),
        (json!({"const": "EUR"}), json!("USD"), r#"expected "EUR", got the string "USD""#),
        (json!({"minimum": 0}), json!(-1), "expected at least 0, got the number -1"),
        (json!({"maximum": 100}), json!(100.5), "expected at most 100, got the number 100.5"),
        (json!({"exclusiveMinimum": 0}), json!(0), "expected more than 0, got the number 0"),
        (json!({"exclusiveMaximum": 1}), json!(1), "expected less than 1, got the number 1"),
        (json!({"multipleOf": 5}), json!(7), "expected a multiple of 5, got the number 7"),
        (json!({"minLength": 1}), json!(""), "expected at least 1 character, got 0"),
        (json!({"maxLength": 3}), json!("ééééé"), "expected at most 3 characters, got 5"),
        (json!({"minItems": 1}), json!([]), "expected at least 1 element, got 0"),
        (json!({"maxItems": 1}), json!([1, 2]), "expected at most 1 element, got 2"),
        (json!({"minProperties": 1}), json!({}), "expected at least 1 field, got 0"),
        (json!({"maxProperties": 0}), json!({"a": 1}), "expected at most 0 fields, got 1"),
        (json!({"uniqueItems": true}), json!([1, 1]), "expected elements that all differ, got an array of 2 elements"),
        (
            json!({"pattern": "^[A-Z]{3}$"}),
            json!("euro"),
            r#"expected a string that matches "^[A-Z]{3}$", got the string "euro""#,
        ),
        (
            json!({"format": "uuid"}),
            json!("x"),
            r#"expected a UUID such as 0190b0a1-7c3e-7d52-a1b2-c3d4e5f60718, got the string "x""#,
        ),
        (json!({"format": "date"}), json!("21.11."), r#"expected a date such as 2026-11-21, got the string "21.11.""#),
        (json!({"required": ["item_id"]}), json!({}), r#"the required field "item_id" is missing"#),
        (
            json!({"dependentRequired": {"price": ["currency"]}}),
            json!({"price": 1}),
            r#"the required field "currency" is missing"#,
        ),
        (json!({"not": {"type": "null"}}), json!(null), "expected something else than what the schema excludes, got null"),
        (json!(false), json!(1), "nothing is allowed here, got the number 1"),
        (
            json!({"propertyNames": {"maxLength": 2}}),
            json!({"abc": 1}),
            r#"the name of the field "abc" is not allowed: expected at most 2 characters"#,
        ),
        (
            json!({"contains": {"type": "string"}}),
            json!([1]),
            "expected an array with a certain element, which the schema describes, got an array of 1 element",
        ),
    ] {
        assert_eq!(said(&schema, &value), expected, "{schema}");
    }
}

#[test]
fn allowed_values_are_listed_and_the_nearest_is_named() {
    let actions = json!({"enum": ["order", "reserve", "share", "save"]});
    assert_eq!(
        said(&actions, &json!("ordr")),
        r#"expected one of "order", "reserve", "share", "save", got the string "ordr"; did you mean "order"?"#
    );
    assert_eq!(
        said(&actions, &json!(7)),
        r#"expected one of "order", "reserve", "share", "save", got the number 7"#,
        "a number was no slip of the pen"
    );
    let many: Vec<String> = (0..40).map(|number| format!("kind-{number}")).collect();
    let detail = said(&json!({"enum": many}), &json!("zebra"));
    assert!(detail.contains(r#""kind-7" and 32 more, got"#), "{detail}");
}

#[test]
fn an_unknown_field_is_named_with_the_one_that_was_meant() {
    let schema = json!({
        "allOf": [{"$ref": "#/$defs/envelope"}],
        "properties": {"item_id": {}, "section_id": {}, "lines": {"items": {"properties": {"sku": {}}, "additionalProperties": false}}},
        "unevaluatedProperties": false,
        "$defs": {"envelope": {"properties": {"event_uuid": {}, "created_at": {}}}},
    });
    assert_eq!(said(&schema, &json!({"itme_id": 1})), r#"the field "itme_id" is not in the schema; did you mean "item_id"?"#);
    assert_eq!(said(&schema, &json!({"itemId": 1})), r#"the field "itemId" is not in the schema; did you mean "item_id"?"#);
    assert_eq!(
        said(&schema, &json!({"createdAt": 1})),
        r#"the field "createdAt" is not in the schema; did you mean "created_at"?"#
    );
    assert_eq!(
        said(&schema, &json!({"item_id": 1, "itme_id": 1})),
        r#"the field "itme_id" is not in the schema"#,
        "the one that is there was not meant"
    );
    assert_eq!(
        said(&schema, &json!({"sektion_id": 1, "zzz": 1})),
        r#"the fields "sektion_id", "zzz" are not in the schema; did you mean "section_id" for "sektion_id"?"#
    );
    let nested = said_with(&schema, r#"{"lines":[{},{"skuu":1}]}"#, &mut Suggestions::default());
    assert_eq!(nested, [(r#"the field "skuu" is not in the schema; did you mean "sku"?"#.to_owned(), "/lines/1".to_owned())]);
    let many: serde_json::Map<_, _> = (0..30).map(|number| (format!("n{number}"), json!(1))).collect();
    let detail = said(&schema, &Value::Object(many));
    assert!(detail.starts_with(r#"the fields "n0", "n1", "n2", "n3" and 26 more are not in the schema"#), "{detail}");
}

#[test]
fn choices_say_what_each_form_wants_or_what_the_nearest_lacks() {
    let either = json!({"oneOf": [{"type": "string"}, {"type": "null"}, {"type": "integer"}]});
    assert_eq!(said(&either, &json!([])), "expected a string, null or an integer, got an array of 0 elements");
    let forms = json!({"anyOf": [
        {"type": "string"},
        {"type": "object", "required": ["number", "bank"]},
        {"type": "object", "required": ["bank"], "properties": {"bank": {"enum": ["bpi", "cgd"]}}},
    ]});
    assert_eq!(
        said(&forms, &json!({"bank": "bbi"})),
        r#"none of the 3 forms that the schema allows; the nearest: the required field "number" is missing (at "")"#
    );
    let both = json!({"oneOf": [{"type": "integer"}, {"minimum": 0}]});
    assert_eq!(
        said(&both, &json!(1)),
        "expected exactly one of the forms that the schema allows, got the number 1, which is of several"
    );
}

#[test]
fn what_a_name_calls_secret_is_never_shown() {
    for name in [
        "password",
        "api_key",
        "apiKey",
        "authToken",
        "Authorization",
        "card_number",
        "creditCards",
        "user-secret",
        "cvv2",
        "PIN",
    ] {
        assert!(looks_secret(name), "{name}");
    }
    for name in
        ["item_id", "session_id", "discarded", "spinner", "author", "keyboard", "menu_id", "company", "access", "restaurant_id"]
    {
        assert!(!looks_secret(name), "{name}");
    }
    let schema = json!({"properties": {"card": {"properties": {"number": {"type": "integer"}, "kind": {"enum": ["debit"]}}}}});
    let faults = said_with(&schema, r#"{"card":{"number":"4111 1111","kind":"4111"}}"#, &mut Suggestions::default());
    let details: Vec<&str> = faults.iter().map(|(detail, _)| detail.as_str()).collect();
    assert_eq!(
        details,
        ["expected an integer, got a string of 9 characters", "expected \"debit\", got a string of 4 characters"]
    );
    // The enclosing object must not show it either.
    let whole = json!({"properties": {"login": {"type": "string"}}});
    let faults = said_with(&whole, r#"{"login":{"password":"hunter2"}}"#, &mut Suggestions::default());
    assert_eq!(faults[0].0, "expected a string, got an object with 1 field");
}

#[test]
fn long_and_odd_values_are_shortened_and_escaped() {
    let detail = said(&json!({"type": "integer"}), &json!("\u{1b}[31m".repeat(1000)));
    assert!(detail.starts_with(r#"expected an integer, got the string "\u{1b}[31m"#) && detail.len() < 300, "{detail}");
    let detail = said(&json!({"pattern": format!("^{}$", "a?".repeat(100))}), &json!("b".repeat(1000)));
    assert!(detail.contains("…, got the string \"bbb") && detail.chars().count() < 220, "{detail}");
    let odd = said(&json!({"properties": {"x": {}}, "additionalProperties": false}), &json!({"a\nb": 1}));
    assert_eq!(odd, r#"the field "a\nb" is not in the schema"#);
}

#[test]
fn a_body_of_nothing_but_slips_has_only_so_many_suggestions() {
    let schema = json!({"properties": {"item_id": {}}, "additionalProperties": false});
    let mut suggestions = Suggestions::default();
    let said = |suggestions: &mut Suggestions| said_with(&schema, r#"{"itme_id":1}"#, suggestions)[0].0.contains("did you mean");
    let with = (0..10_000).filter(|_| said(&mut suggestions)).count();
    assert_eq!(with, crate::limits::FIELD_SUGGESTIONS_PER_BODY);
}
