//! A value as a message shows it to a person: what it is, and of a short one the value itself.
//!
//! Messages are read in terminals, consoles and dashboards: nothing a client sent gets there with a line end, an escape
//! sequence or a text of any length.

use super::{Kind, Node};
use crate::limits::MESSAGE_VALUE_CHARS_MAX;

/// `text` in quotes, cut to [`MESSAGE_VALUE_CHARS_MAX`] characters, control characters escaped.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_VALUE_CHARS_MAX) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// What a value is, such as `the string "14.50"` or `an array of 3 elements`. Of objects and arrays never what is in them.
#[must_use]
pub fn shown(value: &Node<'_>) -> String {
    match value.kind() {
        Kind::String => format!("the string {}", quoted(&value.string().unwrap_or_default())),
        Kind::Number if value.raw().len() > MESSAGE_VALUE_CHARS_MAX => {
            format!("the number {}…", &value.raw()[..MESSAGE_VALUE_CHARS_MAX])
        }
        Kind::Number => format!("the number {}", value.raw()),
        Kind::Boolean | Kind::Null => value.raw().to_owned(),
        Kind::Array | Kind::Object => kind_shown(value),
    }
}

/// What a value is, without a word of the value: such as `a string of 12 characters`.
#[must_use]
pub fn kind_shown(value: &Node<'_>) -> String {
    match value.kind() {
        Kind::String => format!("a string of {}", counted(value.string().unwrap_or_default().chars().count(), "character")),
        Kind::Number => "a number".into(),
        Kind::Boolean => "a boolean".into(),
        Kind::Null => "null".into(),
        Kind::Array => format!("an array of {}", counted(value.count(), "element")),
        Kind::Object => format!("an object with {}", counted(value.count(), "field")),
    }
}

/// `1 element`, `2 elements`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Parser, Tape};

    fn of(text: &str) -> [String; 2] {
        let mut tape = Tape::new();
        Parser::new(text, usize::MAX).value(&mut tape).unwrap();
        [shown(&tape.root(text)), kind_shown(&tape.root(text))]
    }

    #[test]
    fn scalars_are_shown_and_what_holds_others_is_counted() {
        assert_eq!(of("\"14.50\""), ["the string \"14.50\"", "a string of 5 characters"]);
        assert_eq!(of("1.50e3"), ["the number 1.50e3", "a number"]);
        assert_eq!(of("null"), ["null", "null"]);
        assert_eq!(of("true"), ["true", "a boolean"]);
        assert_eq!(of("[[],1]"), ["an array of 2 elements", "an array of 2 elements"]);
        assert_eq!(of(r#"{"password":"x"}"#)[0], "an object with 1 field");
    }

    #[test]
    fn long_and_odd_texts_do_a_terminal_no_harm() {
        assert_eq!(of(r#""a\u001b[31m\nb\u202e""#)[0], r#"the string "a\u{1b}[31m\nb\u{202e}""#);
        let long = of(&format!("\"{}\"", "é".repeat(5000)))[0].clone();
        assert!(long.ends_with("é\"…") && long.chars().count() < MESSAGE_VALUE_CHARS_MAX + 20, "{long}");
        assert!(of(&"9".repeat(5000))[0].chars().count() < MESSAGE_VALUE_CHARS_MAX + 20);
    }
}
