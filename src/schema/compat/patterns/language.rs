//! The automaton of one pattern, and a search through several at once.

use std::collections::{HashMap, VecDeque};

use regex_automata::{
    Input,
    dfa::{Automaton, StartKind, dense},
    util::{primitives::StateID, syntax},
};

use crate::limits::{COMPAT_AUTOMATON_BYTES_MAX, COMPAT_SEARCH_STATES_MAX};

/// All strings that contain a match of a pattern.
pub(in crate::schema::compat) struct Language {
    table: dense::DFA<Vec<u32>>,
    /// Whether matching strings may have any length, so that a search for a bound is useless.
    pub(super) is_endless: bool,
}

/// Conditions for the string to find.
pub(in crate::schema::compat) struct Wanted<'a> {
    /// Each of these matches.
    pub(in crate::schema::compat) matching: &'a [&'a Language],
    /// None of these matches.
    pub(in crate::schema::compat) not_matching: &'a [&'a Language],
    /// Characters at least.
    pub(in crate::schema::compat) chars_min: usize,
    /// Characters at most.
    pub(in crate::schema::compat) chars_max: usize,
}

/// The result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::schema::compat) enum Found {
    /// One of the shortest strings.
    String(String),
    /// There is no such string.
    Nothing,
    /// The search grew too large.
    TooMuch,
}

/// The position in an automaton.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    In(StateID),
    /// The pattern has matched; further bytes change nothing.
    Matched,
}

impl Language {
    pub(super) fn new(pattern: &str) -> Option<Self> {
        // Translated as in the library: `\d` is ten digits, `\s` is ECMA's white space.
        let translated = jsonschema_regex::to_rust_regex(pattern).ok()?;
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(COMPAT_AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(COMPAT_AUTOMATON_BYTES_MAX));
        let table = dense::Builder::new().configure(config).syntax(syntax::Config::new()).build(&translated).ok()?;
        let is_endless = syntax::parse(&translated).is_ok_and(|tree| tree.properties().maximum_len().is_none());
        Some(Self { table, is_endless })
    }

    /// Whether the pattern matches somewhere in `text`.
    pub(in crate::schema::compat) fn contains(&self, text: &str) -> bool {
        self.table.try_search_fwd(&Input::new(text).earliest(true)).is_ok_and(|found| found.is_some())
    }

    fn start(&self) -> Option<At> {
        let state = self.table.start_state_forward(&Input::new("")).ok()?;
        self.at(state)
    }

    /// `None` if the automaton cannot tell (a Unicode word boundary).
    fn at(&self, state: StateID) -> Option<At> {
        if self.table.is_quit_state(state) {
            return None;
        }
        Some(if self.table.is_match_state(state) { At::Matched } else { At::In(state) })
    }

    fn next(&self, at: At, byte: u8) -> Option<At> {
        match at {
            At::Matched => Some(At::Matched),
            At::In(state) => self.at(self.table.next_state(state, byte)),
        }
    }

    /// Whether the string that ends here matches.
    fn accepts(&self, at: At) -> bool {
        match at {
            At::Matched => true,
            At::In(state) => self.table.is_match_state(self.table.next_eoi_state(state)),
        }
    }

    fn is_dead(&self, at: At) -> bool {
        matches!(at, At::In(state) if self.table.is_dead_state(state))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    ats: Box<[At]>,
    utf8: u8,
    /// Counted up to the minimum; beyond it the number makes no difference.
    chars: usize,
}

struct Step {
    state: State,
    chars: usize,
    /// The previous step, and the byte that led here.
    from: Option<(usize, u8)>,
}

/// Finds a string: the shortest first, and among these the one with the plainest characters.
pub(in crate::schema::compat) fn find(wanted: &Wanted<'_>) -> Found {
    search(wanted).unwrap_or(Found::TooMuch)
}

fn search(wanted: &Wanted<'_>) -> Option<Found> {
    let languages: Vec<&Language> = wanted.matching.iter().chain(wanted.not_matching).copied().collect();
    let count = wanted.matching.len();
    let bytes = representatives(&languages);
    let ats = languages.iter().map(|language| language.start()).collect::<Option<_>>()?;
    let start = State { ats, utf8: BOUNDARY, chars: 0 };
    let mut steps = vec![Step { state: start.clone(), chars: 0, from: None }];
    let mut seen = HashMap::from([(start, 0)]);
    // The first byte of a character costs one character, the other bytes cost nothing.
    let mut queue = VecDeque::from([0]);
    while let Some(index) = queue.pop_front() {
        let (state, chars) = (steps[index].state.clone(), steps[index].chars);
        if seen.get(&state) != Some(&chars) {
            continue; // A way with fewer characters was found since.
        }
        let ends = languages.iter().zip(&state.ats).map(|(language, &at)| language.accepts(at));
        if state.utf8 == BOUNDARY && chars >= wanted.chars_min && ends.enumerate().all(|(at, ends)| ends == (at < count)) {
            return Some(Found::String(spelt(&steps, index)));
        }
        for &byte in &bytes {
            let Some(utf8) = utf8_next(state.utf8, byte) else { continue };
            let chars = chars + usize::from(state.utf8 == BOUNDARY);
            if chars > wanted.chars_max {
                continue;
            }
            let ats: Box<[At]> =
                languages.iter().zip(&state.ats).map(|(language, &at)| language.next(at, byte)).collect::<Option<_>>()?;
            let is_lost = languages
                .iter()
                .zip(&ats)
                .enumerate()
                .any(|(at, (language, &state))| if at < count { language.is_dead(state) } else { state == At::Matched });
            if is_lost {
                continue;
            }
            let next = State { ats, utf8, chars: chars.min(wanted.chars_min) };
            if seen.get(&next).is_some_and(|&known| known <= chars) {
                continue;
            }
            seen.insert(next.clone(), chars);
            if steps.len() >= COMPAT_SEARCH_STATES_MAX {
                return None;
            }
            let is_within = state.utf8 != BOUNDARY;
            steps.push(Step { state: next, chars, from: Some((index, byte)) });
            if is_within { queue.push_front(steps.len() - 1) } else { queue.push_back(steps.len() - 1) }
        }
    }
    Some(Found::Nothing)
}

fn spelt(steps: &[Step], mut index: usize) -> String {
    let mut bytes = Vec::new();
    while let Some((from, byte)) = steps[index].from {
        bytes.push(byte);
        index = from;
    }
    bytes.reverse();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One byte of each class that all automata treat alike, the plainest first.
fn representatives(languages: &[&Language]) -> Vec<u8> {
    let plain = (b'a'..=b'z').chain(b'0'..=b'9').chain(b'A'..=b'Z').chain(b"-_. ".iter().copied());
    let mut seen = HashMap::new();
    let mut out = Vec::new();
    for byte in plain.chain(b'!'..=b'~').chain(0..=u8::MAX) {
        let classes: Vec<u8> = languages.iter().map(|language| language.table.byte_classes().get(byte)).collect();
        if utf8_class(byte).is_some_and(|class| seen.insert((classes, class), ()).is_none()) {
            out.push(byte);
        }
    }
    out
}

/// Between two characters.
const BOUNDARY: u8 = 0;

/// Classes of bytes that UTF-8 treats alike; `None` for invalid bytes.
fn utf8_class(byte: u8) -> Option<u8> {
    Some(match byte {
        0..=0x7F => 0,
        0x80..=0x8F => 1,
        0x90..=0x9F => 2,
        0xA0..=0xBF => 3,
        0xC2..=0xDF => 4,
        0xE0 => 5,
        0xED => 6,
        0xE1..=0xEF => 7,
        0xF0 => 8,
        0xF1..=0xF3 => 9,
        0xF4 => 10,
        _ => return None,
    })
}

/// The next UTF-8 state after a byte: 1 to 3 are the number of bytes still to come, 4 to 7 are first bytes that restrict the
/// next byte. `None` for an invalid byte.
fn utf8_next(at: u8, byte: u8) -> Option<u8> {
    let class = utf8_class(byte)?;
    let continues = (1..=3).contains(&class);
    match (at, class) {
        (BOUNDARY, 0) => Some(BOUNDARY),
        (BOUNDARY, 4) => Some(1),
        (BOUNDARY, 7) => Some(2),
        (BOUNDARY, 9) => Some(3),
        (BOUNDARY, 5) => Some(4),
        (BOUNDARY, 6) => Some(5),
        (BOUNDARY, 8) => Some(6),
        (BOUNDARY, 10) => Some(7),
        (1..=3, _) if continues => Some(at - 1),
        (4, 3) | (5, 1 | 2) => Some(1),
        (6, 2 | 3) | (7, 1) => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(pattern: &str) -> Language {
        Language::new(pattern).unwrap()
    }

    fn only_in(matching: &str, not_matching: &str) -> Found {
        let (a, b) = (language(matching), language(not_matching));
        find(&Wanted { matching: &[&a], not_matching: &[&b], chars_min: 0, chars_max: usize::MAX })
    }

    #[test]
    fn a_pattern_holds_another_where_no_string_tells_them_apart() {
        for (inner, outer) in [
            ("^[a-z]+$", "^[a-z0-9]+$"),
            ("^[A-Z]{3}$", "^[A-Z]{2,5}$"),
            ("^ab", "^a"),
            ("abc", "b"),
            ("^[0-9a-f]{64}$", "^[0-9a-f]+$"),
            ("^(a|b)*$", "^[ab]*$"),
            ("^\\d+$", "^[0-9]+$"),
            ("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "^[^ ]+$"),
            ("^é$", "^\\p{L}$"),
        ] {
            assert_eq!(only_in(inner, outer), Found::Nothing, "{inner} {outer}");
        }
    }

    #[test]
    fn the_shortest_string_tells_two_patterns_apart() {
        for (inner, outer, string) in [
            ("^[a-z0-9]+$", "^[a-z]+$", "0"),
            ("^[A-Z]{2,5}$", "^[A-Z]{3}$", "AA"),
            ("a", "^a", "ba"),
            ("^[^a]$", "^[\\u0000-\\u007f]$", "\u{80}"),
            ("^.{2}$", "^[a-zé]{2}$", "a0"),
        ] {
            assert_eq!(only_in(inner, outer), Found::String(string.into()), "{inner} {outer}");
        }
    }

    #[test]
    fn lengths_count_characters_and_not_bytes() {
        let e = language("^é+$");
        let find = |chars_min, chars_max| find(&Wanted { matching: &[&e], not_matching: &[], chars_min, chars_max });
        assert_eq!(find(3, 3), Found::String("ééé".into()));
        assert_eq!(find(0, 0), Found::Nothing);
        let hash = language("^[0-9a-f]{64}$");
        let wanted = Wanted { matching: &[&hash], not_matching: &[], chars_min: 65, chars_max: usize::MAX };
        assert_eq!(super::find(&wanted), Found::Nothing);
    }
}
