//! A pattern as a table of states, one look-up for each byte.
//!
//! The library's own search through its table is built for long texts. Most texts of events have a dozen bytes, and most of its time
//! goes into beginning and ending.

use std::collections::HashMap;

use regex_automata::{
    Input,
    dfa::{Automaton, StartKind, dense},
    util::{primitives::StateID, syntax},
};

use crate::limits::SCHEMA_PATTERN_TABLE_BYTES_MAX;

/// See the module. A state is the place of its row in `next`, which has a state for each class of bytes, and one for the end of the
/// text.
#[derive(Debug)]
pub(super) struct PatternTable {
    classes: [u8; 256],
    columns: usize,
    start: u32,
    next: Vec<u32>,
}

/// The state from which no match is possible: the first row.
const DEAD: u32 = 0;

impl PatternTable {
    /// Builds the table of an ECMA-262 pattern; `None` if it would be too large.
    pub(super) fn build(pattern: &str) -> Option<Self> {
        // Translated as in the library: `\d` is ten digits, `\s` is ECMA's white space.
        let translated = jsonschema_regex::to_rust_regex(pattern).ok()?;
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(SCHEMA_PATTERN_TABLE_BYTES_MAX))
            .determinize_size_limit(Some(SCHEMA_PATTERN_TABLE_BYTES_MAX));
        let automaton = dense::Builder::new().configure(config).syntax(syntax::Config::new()).build(&translated).ok()?;
        Self::of(&automaton)
    }

    fn of(automaton: &dense::DFA<Vec<u32>>) -> Option<Self> {
        let byte_classes = automaton.byte_classes();
        let classes = std::array::from_fn(|byte| byte_classes.get(byte as u8));
        // The last of the classes is the end of the text.
        let columns = byte_classes.alphabet_len();
        let mut found = Found { columns, states: Vec::new(), rows: HashMap::new() };
        let start = found.row(automaton, automaton.start_state_forward(&Input::new("")).ok()?);
        // The rows of the two states that nothing leaves; those of the states that are found follow.
        let mut next = vec![DEAD; columns];
        next.extend(std::iter::repeat_n(matched(columns), columns));
        let mut index = 0;
        while let Some(&state) = found.states.get(index) {
            let row = next.len();
            next.resize(row + columns, DEAD);
            for representative in byte_classes.representatives(..) {
                let (column, after) = match representative.as_u8() {
                    Some(byte) => (usize::from(byte_classes.get(byte)), automaton.next_state(state, byte)),
                    None => (columns - 1, automaton.next_eoi_state(state)),
                };
                next[row + column] = found.row(automaton, after);
            }
            index += 1;
        }
        (size_of_val(next.as_slice()) <= SCHEMA_PATTERN_TABLE_BYTES_MAX).then_some(Self { classes, columns, start, next })
    }

    /// Whether the pattern occurs in `text`.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut state = self.start;
        for byte in text.bytes() {
            state = self.next[state as usize + usize::from(self.classes[usize::from(byte)])];
        }
        let at_end = self.next[state as usize + self.columns - 1];
        at_end == matched(self.columns)
    }
}

/// The state after a match: the second row.
fn matched(columns: usize) -> u32 {
    columns as u32
}

/// The states that were found, in the order of their rows.
struct Found {
    columns: usize,
    states: Vec<StateID>,
    rows: HashMap<StateID, u32>,
}

impl Found {
    /// The row of a state.
    fn row(&mut self, automaton: &dense::DFA<Vec<u32>>, state: StateID) -> u32 {
        if automaton.is_match_state(state) {
            return matched(self.columns);
        }
        // A state that gives up decides nothing: as if nothing matched, the written schema decides.
        if automaton.is_dead_state(state) || automaton.is_quit_state(state) {
            return DEAD;
        }
        *self.rows.entry(state).or_insert_with(|| {
            self.states.push(state);
            ((self.states.len() + 1) * self.columns) as u32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_may_occur_anywhere_unless_it_is_anchored() {
        let matches = |pattern: &str, text: &str| PatternTable::build(pattern).unwrap().matches(text);
        for (pattern, matching, others) in [
            ("^[A-Z]{2}$", &["PT", "GB"][..], &["", "P", "PTX", "pt", "P\u{e9}"][..]),
            ("b+", &["b", "abc", "abbbc\n", "\u{e9}b"], &["", "a", "\u{e9}"]),
            ("^/[^?#\\s]*$", &["/", "/\u{e9}/x"], &["", "x", "/a b", "/a?", "/\u{a0}"]),
            ("a$", &["a", "ba", "aa"], &["", "ab", "a\n"]),
            ("^$", &[""], &["a", "\n"]),
            ("", &["", "a"], &[]),
            ("^[a-\u{e9}]{1,2}$", &["a", "\u{e9}\u{e9}"], &["", "\u{ea}", "aaa"]),
        ] {
            for text in matching {
                assert!(matches(pattern, text), "{pattern:?} {text:?}");
            }
            for text in others {
                assert!(!matches(pattern, text), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn a_pattern_with_too_many_states_has_no_table() {
        assert!(PatternTable::build("(a|b)*a(a|b){24}").is_none());
    }
}
