//! Names and texts in SQL. People write schemas, and field names may hold any character that JSON allows.

use std::collections::HashSet;

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

/// Names used so far; SQL ignores their case.
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn reserving(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// `wanted`, with a number appended if that name is taken.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 2;
        while !self.0.insert(name.to_lowercase()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }
}
