//! How messages display values: their type, and short values in full.
//!
//! People read messages in terminals, consoles and dashboards. So line ends, escape sequences and very long texts of a client
//! must not appear there. [`is_unseen`] lists these characters, for all code that prints texts of clients: [`quoted`] in
//! messages, [`plain`] in tables, [`Visible`] for JSON.

use std::io::{self, Write};

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

/// Whether a terminal interprets a character instead of showing it: control characters (U+009B begins an escape sequence like
/// ESC), characters that change the text direction, additional line ends, zero-width characters, and tags. Joiners of letters
/// and of emoji are visible in the characters that they join.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text for a table: characters that [`is_unseen`] are replaced.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|character| if is_unseen(character) { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

/// Writes JSON, or lines of text, in a form that is safe for terminals: characters that [`is_unseen`], from DEL on, are written
/// as `\u009b`. In JSON such characters occur only in strings, so the text remains JSON with the same value. Those below DEL
/// are already escaped in JSON strings, and elsewhere they are the line ends of the text.
pub struct Visible<W: Write> {
    inner: W,
    /// The first bytes of a character whose rest is not written yet.
    begun: Vec<u8>,
}

impl<W: Write> Visible<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, begun: Vec::new() }
    }

    /// What was written to. The beginning of a character whose rest was not written is lost.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.inner
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        let is_escaped = |character: char| character >= '\u{7f}' && is_unseen(character);
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| is_escaped(*character)) {
            self.inner.write_all(&rest.as_bytes()[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(self.inner, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        self.inner.write_all(rest.as_bytes())
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut joined = std::mem::take(&mut self.begun);
        let all = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.text(chunk.valid())?;
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none()) {
                self.begun = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.inner.write_all("\u{fffd}".as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A value for a message, such as `the string "14.50"` or `an array of 3 elements`; never the contents of objects and arrays.
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

/// The type of a value without its content, such as `a string of 12 characters`.
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

    /// All characters that [`is_unseen`], within a text.
    fn unseen() -> String {
        ('\0'..=char::MAX).filter(|character| is_unseen(*character)).flat_map(|character| ['a', character]).collect()
    }

    #[test]
    fn no_character_that_is_not_seen_is_printed_raw_and_json_keeps_its_value() {
        let text = unseen();
        for harmful in
            "\u{7f}\u{9b}\u{9d}\u{61c}\u{200e}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{2029}\u{feff}\u{200b}\u{e0041}".chars()
        {
            assert!(text.contains(harmful), "{harmful:?}");
        }
        assert!(!plain(&text).chars().any(is_unseen));
        for character in text.chars() {
            assert!(!quoted(&character.to_string()).contains(is_unseen), "{character:?}");
        }
        let value = serde_json::json!({ &*text: [&text, "häßlich 🍮 👩\u{200d}🍳 \u{fffd}"], "n": 1 });
        for piece in [1, 3, usize::MAX] {
            let mut out = Visible::new(Vec::new());
            for bytes in serde_json::to_vec_pretty(&value).unwrap().chunks(piece) {
                out.write_all(bytes).unwrap();
            }
            let written = String::from_utf8(out.inner).unwrap();
            assert!(!written.replace('\n', "").contains(is_unseen), "pieces of {piece}");
            assert!(
                written.contains("\\u009b") && written.contains("\\udb40\\udc41") && written.contains("häßlich 🍮 👩\u{200d}🍳")
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        }
        let mut out = Visible::new(Vec::new());
        out.write_all(b"a\x9b\xc3(\xf0\x9f\n").unwrap();
        assert_eq!(String::from_utf8(out.inner).unwrap(), "a\u{fffd}\u{fffd}(\u{fffd}\n");
    }

    #[test]
    fn long_and_odd_texts_do_a_terminal_no_harm() {
        assert_eq!(of(r#""a\u001b[31m\nb\u202e""#)[0], r#"the string "a\u{1b}[31m\nb\u{202e}""#);
        let long = of(&format!("\"{}\"", "é".repeat(5000)))[0].clone();
        assert!(long.ends_with("é\"…") && long.chars().count() < MESSAGE_VALUE_CHARS_MAX + 20, "{long}");
        assert!(of(&"9".repeat(5000))[0].chars().count() < MESSAGE_VALUE_CHARS_MAX + 20);
    }
}
