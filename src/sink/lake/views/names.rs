//! Names and texts in SQL. A schema is written by people, and its field names may hold anything JSON does.

use std::collections::HashSet;

use crate::limits::VIEW_NAME_BYTES_MAX;

/// An identifier, whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, whatever it holds.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether not even quotes carry this name: a parser may end at NUL, a client may count lines, and an identifier is
/// never empty.
pub(super) fn is_unquotable(name: &str) -> bool {
    name.is_empty() || name.len() > VIEW_NAME_BYTES_MAX || name.chars().any(char::is_control)
}

/// The name in small letters, digits and `_` alone.
pub(super) fn plain(name: &str) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    name.chars().map(keep).take(VIEW_NAME_BYTES_MAX).collect()
}

/// Names given out so far; SQL does not tell them apart by case.
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn reserving(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// `wanted`, or with a number behind it where that is taken.
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
