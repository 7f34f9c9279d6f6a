//! Strings: their length, their format, and their patterns.

use std::sync::Arc;

use uuid::Uuid;

use super::pattern::PatternTable;

/// A pattern as a table.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Arc<PatternTable>);

impl PartialEq for Pattern {
    /// Whether both are the same table: see [`Shared::pattern`](super::Shared::pattern).
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The allowed strings.
#[derive(Debug, PartialEq)]
pub(super) struct Text {
    pub(super) chars_min: usize,
    pub(super) chars_max: usize,
    pub(super) is_uuid: bool,
    pub(super) pattern: Option<Pattern>,
    pub(super) choices: Option<Vec<Box<str>>>,
}

impl Default for Text {
    fn default() -> Self {
        Self { chars_min: 0, chars_max: usize::MAX, is_uuid: false, pattern: None, choices: None }
    }
}

impl Text {
    pub(super) fn accepts(&self, string: &str) -> bool {
        // A character takes one to four bytes: most lengths need no counting.
        let bytes = string.len();
        (bytes <= self.chars_max || string.chars().count() <= self.chars_max)
            && (bytes >= self.chars_min.saturating_mul(4) || string.chars().count() >= self.chars_min)
            && (!self.is_uuid || is_hyphenated_uuid(string))
            && self.choices.as_ref().is_none_or(|choices| choices.iter().any(|choice| **choice == *string))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.0.matches(string))
    }
}

fn is_hyphenated_uuid(string: &str) -> bool {
    string.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(string).is_ok()
}

/// The table of an ECMA-262 pattern; `None` if it would be too large.
pub(super) fn build(pattern: &str) -> Option<Pattern> {
    PatternTable::build(pattern).map(|table| Pattern(Arc::new(table)))
}
