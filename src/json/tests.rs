//! Tests against `serde_json` on generated and mutated documents, and against the conformance suite of the validator.

use jsonschema::json::conformance;
use proptest::prelude::*;
use serde_json::Value;

use super::{JsonErrorKind, Parser, Tape, TapeJson};

const NODES_MAX: usize = 1 << 20;

/// Parses the whole `text`: one value and nothing after it.
fn parse(text: &str) -> Result<Tape, JsonErrorKind> {
    let mut tape = Tape::new();
    let mut parser = Parser::new(text, NODES_MAX);
    parser.value(&mut tape).map_err(|error| error.kind)?;
    if parser.peek().is_some() {
        return Err(JsonErrorKind::UnexpectedCharacter);
    }
    Ok(tape)
}

fn to_value(text: &str) -> Result<Value, JsonErrorKind> {
    parse(text).map(|tape| jsonschema::json::Node::to_value(&tape.root(text)).into_owned())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\\\\"/\n\t\u{0}-\u{1f}é😀a]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_reads_as_serde_json_reads_it(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(to_value(&text).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn every_mutated_document_is_accepted_or_refused_as_serde_json_does(
        value in any_json(), at in any::<prop::sample::Index>(), with in "[\\x00-\\x7f]{0,2}", cut in 0..3usize,
    ) {
        let mut text = serde_json::to_string(&value).unwrap();
        let mut start = at.index(text.len() + 1);
        while !text.is_char_boundary(start) { start -= 1; }
        let mut end = (start + cut).min(text.len());
        while !text.is_char_boundary(end) { end += 1; }
        text.replace_range(start..end, &with);
        let ours = parse(&text);
        let theirs = serde_json::from_str::<Value>(&text);
        match (&ours, &theirs) {
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
            // Intended differences: numbers beyond a double, and lone surrogates, are valid JSON by the grammar.
            (Ok(tape), Err(error)) => prop_assert!(
                tape.has_lone_surrogate() || error.to_string().starts_with("number out of range"), "{text:?}: {error}"),
            (Err(kind), Ok(_)) => prop_assert!(false, "{text:?}: {kind}"),
        }
    }
}

#[test]
fn the_validator_is_given_what_its_conformance_suite_demands() {
    let text = conformance::document().to_string();
    let tape = parse(&text).unwrap();
    conformance::assert_conformance::<TapeJson>(&tape.root(&text));
}

#[test]
fn numbers_keep_their_digits() {
    for number in ["1.10", "1e400", "-0", "123456789012345678901234567890", "0.1e-7", "1E+2"] {
        let text = format!("[{number}]");
        let tape = parse(&text).unwrap();
        let array = jsonschema::json::Node::as_array(&tape.root(&text)).unwrap();
        let element = jsonschema::json::Array::elements(&array).next().unwrap();
        assert_eq!(element.raw(), number);
    }
}

#[test]
fn what_is_no_json_is_refused_by_name() {
    use JsonErrorKind::{ControlCharacter, MalformedEscape, MalformedNumber, UnexpectedCharacter, UnexpectedEnd};
    for (text, expected) in [
        ("", UnexpectedEnd),
        ("  ", UnexpectedEnd),
        ("[1,", UnexpectedEnd),
        ("{\"a\"", UnexpectedEnd),
        ("{\"a\":1,}", UnexpectedCharacter),
        ("[1,]", UnexpectedCharacter),
        ("[,1]", UnexpectedCharacter),
        ("{\"a\" 1}", UnexpectedCharacter),
        ("{a:1}", UnexpectedCharacter),
        ("[1 2]", UnexpectedCharacter),
        ("{}{}", UnexpectedCharacter),
        ("]", UnexpectedCharacter),
        ("[}", UnexpectedCharacter),
        ("nul", UnexpectedCharacter),
        ("NaN", MalformedNumber),
        ("Infinity", MalformedNumber),
        ("+1", MalformedNumber),
        ("01", MalformedNumber),
        ("1.", UnexpectedEnd),
        ("[1.]", MalformedNumber),
        ("[-]", MalformedNumber),
        ("\"\\x\"", MalformedEscape),
        ("\"\\u12g4\"", MalformedEscape),
        ("\"\n\"", ControlCharacter),
        ("\"abcdefghijklmnop\u{1}\"", ControlCharacter),
        ("\"abc", UnexpectedEnd),
        ("\u{feff}{}", UnexpectedCharacter),
    ] {
        assert_eq!(parse(text).err(), Some(expected), "{text:?}");
    }
}

#[test]
fn half_a_surrogate_pair_is_noticed() {
    for (text, lone) in [
        (r#""\ud83d\ude00""#, false),
        (r#""\ud83d""#, true),
        (r#""\ude00""#, true),
        (r#""\ud83d\ud83d\ude00""#, true),
        (r#""\ud83dx""#, true),
    ] {
        assert_eq!(parse(text).unwrap().has_lone_surrogate(), lone, "{text}");
    }
    assert_eq!(to_value(r#""\ud83d\ude00\u00e9\/""#).unwrap(), Value::from("😀é/"));
}

#[test]
fn depth_is_bounded_by_a_number_and_never_by_the_stack() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(parse(&nested(1024)).unwrap().depth(), 1024);
    assert_eq!(parse(&nested(1025)).err(), Some(JsonErrorKind::TooDeep));
    assert_eq!(parse(&"[".repeat(100_000)).err(), Some(JsonErrorKind::TooDeep));
}

#[test]
fn a_value_of_too_many_nodes_is_read_to_its_end_but_not_kept() {
    let text = format!("[{}] 7", vec!["{\"a\":[1,2]}"; 1000].join(","));
    let mut tape = Tape::new();
    let mut parser = Parser::new(&text, 10);
    assert_eq!(parser.value(&mut tape).unwrap().len(), text.len() - 2);
    assert!(tape.is_overflown());
    assert_eq!(parser.value(&mut tape).unwrap(), "7");
    assert!(!tape.is_overflown());
}
