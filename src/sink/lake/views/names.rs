//! Names and texts in SQL. People write schemas, and field names may hold any character that JSON allows.

use crate::limits::VIEW_NAME_BYTES_MAX;

/// A quoted identifier with any content.
pub(in crate::sink::lake) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted text with any content.
pub(in crate::sink::lake) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether even quotes cannot carry this name: a parser may end at NUL, a client may count lines, and an identifier is never
/// empty.
pub(super) fn is_unquotable(name: &str) -> bool {
    name.is_empty() || name.len() > VIEW_NAME_BYTES_MAX || name.chars().any(char::is_control)
}

/// The name with only lower-case letters, digits and `_`.
pub(in crate::sink::lake) fn plain(name: &str) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    name.chars().map(keep).take(VIEW_NAME_BYTES_MAX).collect()
}
