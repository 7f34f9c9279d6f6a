//! A payload without its values: what members it has, and of what kind each is.

use crate::{
    json::{Kind, Node},
    limits::{MESSAGE_VALUE_CHARS_MAX, WATCH_ELEMENTS_MAX, WATCH_LEVELS_MAX, WATCH_PAYLOAD_BYTES_MAX},
};

/// The name of a member that stands for those that are left out.
const MORE: &str = "…";

/// The value as JSON of bounded length: names are kept, and each value is replaced by its kind, such as `"<string 12>"`. `null` is
/// itself. What does not fit is counted.
pub(super) fn redacted(value: &Node<'_>) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Node<'_>, level: usize, out: &mut String) {
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Boolean => out.push_str("\"<boolean>\""),
        Kind::Number => out.push_str("\"<number>\""),
        Kind::String => {
            let chars = value.string().map_or(0, |text| text.chars().count());
            out.push_str(&format!("\"<string {chars}>\""));
        }
        Kind::Array if level == WATCH_LEVELS_MAX => out.push_str(&format!("\"<array {}>\"", value.count())),
        Kind::Object if level == WATCH_LEVELS_MAX => out.push_str(&format!("\"<object {}>\"", value.count())),
        Kind::Array => array(value, level, out),
        Kind::Object => object(value, level, out),
    }
}

fn array(value: &Node<'_>, level: usize, out: &mut String) {
    out.push('[');
    for (at, element) in value.elements().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if at == WATCH_ELEMENTS_MAX || out.len() > WATCH_PAYLOAD_BYTES_MAX {
            out.push_str(&format!("\"<{} more>\"", value.count() - at));
            break;
        }
        write(&element, level + 1, out);
    }
    out.push(']');
}

fn object(value: &Node<'_>, level: usize, out: &mut String) {
    out.push('{');
    for (at, (name, member)) in value.members().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if out.len() > WATCH_PAYLOAD_BYTES_MAX {
            out.push_str(&format!("\"{MORE}\":\"<{} more>\"", value.count() - at));
            break;
        }
        let shown = match name.char_indices().nth(MESSAGE_VALUE_CHARS_MAX) {
            Some((cut, _)) => format!("{}{MORE}", &name[..cut]),
            None => name.into_owned(),
        };
        // A text is always JSON.
        out.push_str(&serde_json::to_string(&shown).unwrap_or_else(|_| "\"\"".into()));
        out.push(':');
        write(&member, level + 1, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::json::{Parser, Tape};

    fn of(text: &str) -> String {
        let mut tape = Tape::new();
        Parser::new(text, usize::MAX).value(&mut tape).unwrap();
        redacted(&tape.root(text))
    }

    #[test]
    fn names_stay_and_values_become_their_kinds() {
        let text = r#"{"a":"gr\u00fcn","b":[1,"x",null,true,5],"c":{"d":false,"e":{}},"f":null,"g":1.50}"#;
        let expected = json!({
            "a": "<string 4>", "b": ["<number>", "<string 1>", null, "<2 more>"], "c": { "d": "<boolean>", "e": {} }, "f": null,
            "g": "<number>"
        });
        assert_eq!(serde_json::from_str::<Value>(&of(text)).unwrap(), expected);
    }

    #[test]
    fn it_stays_json_of_bounded_length_whatever_the_payload() {
        let wide: String = (0..50_000).map(|n| format!("\"member-{n}\":{n},")).collect();
        let deep = format!("{}1{}", "{\"a\":[".repeat(30), "]}".repeat(30));
        let long = format!("{{\"{}\":1,\"x\\u0000\\\"\\n\":\"{}\"}}", "n".repeat(100_000), "v".repeat(100_000));
        let lines = format!("{{\"lines\":[{}1]}}", "{\"price\":5},".repeat(1_000));
        for text in [format!("{{{wide}\"z\":1}}"), deep, long, lines] {
            let shown = of(&text);
            assert!(shown.len() < WATCH_PAYLOAD_BYTES_MAX + 1_000, "{}", shown.len());
            serde_json::from_str::<Value>(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
            assert!(!shown.contains("vv"), "{shown}");
        }
        assert!(of(&format!("{{{wide}\"z\":1}}")).contains("more>\""));
    }
}
