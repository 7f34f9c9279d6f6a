//! `Prefer` (RFC 7240): when an event counts as accepted, and how the answer is written.
//!
//! | preference | |
//! |---|---|
//! | `durability=disk`, `durability=delivered` | see [`Durability`]; not less than `http.durability` |
//! | `answers=each`, `answers=whole` | see [`Answers`]; instead of what the key says |
//! | `return=minimal`, `return=representation` | whether `results` lists only the events that must be sent again |
//!
//! The first of several preferences of one name counts. Other preferences are ignored.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Problem, ProblemCode};
use crate::config::{Answers, Durability};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The preferences of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    pub(super) durability: Option<Durability>,
    pub(super) answers: Option<Answers>,
    pub(super) is_minimal: Option<bool>,
}

impl Preferences {
    /// Reads every `Prefer` header.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut preferences = Self::default();
        for value in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()) {
            value.split(outside_quotes(',')).try_for_each(|preference| preferences.add(preference))?;
        }
        Ok(preferences)
    }

    fn add(&mut self, preference: &str) -> Result<(), Problem> {
        let preference = preference.split(outside_quotes(';')).next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("durability") && self.durability.is_none() {
            let known = [("disk", Durability::Disk), ("delivered", Durability::Delivered)];
            self.durability = Some(one_of(known, "durability", value)?);
        } else if name.eq_ignore_ascii_case("answers") && self.answers.is_none() {
            self.answers = Some(one_of([("each", Answers::Each), ("whole", Answers::Whole)], "answers", value)?);
        } else if name.eq_ignore_ascii_case("return") && self.is_minimal.is_none() {
            self.is_minimal = Some(one_of([("minimal", true), ("representation", false)], "return", value)?);
        }
        Ok(())
    }

    /// `Preference-Applied`: the preferences that were honoured, if any were named.
    pub(super) fn applied(&self) -> Option<HeaderValue> {
        let durability = self.durability.map(|durability| match durability {
            Durability::Disk => "durability=disk",
            Durability::Delivered => "durability=delivered",
        });
        let answers = self.answers.map(|answers| match answers {
            Answers::Each => "answers=each",
            Answers::Whole => "answers=whole",
        });
        let minimal = self.is_minimal.map(|is_minimal| if is_minimal { "return=minimal" } else { "return=representation" });
        let mut applied = [durability, answers, minimal].into_iter().flatten();
        let first = applied.next()?;
        match applied.next() {
            // The usual case allocates nothing.
            None => Some(HeaderValue::from_static(first)),
            Some(second) => {
                let all: Vec<&str> = [first, second].into_iter().chain(applied).collect();
                HeaderValue::try_from(all.join(", ")).ok()
            }
        }
    }
}

/// Matches `separator` where it is not inside a quoted string.
fn outside_quotes(separator: char) -> impl FnMut(char) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    move |character| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' => is_escaped = is_quoted,
            _ => {}
        }
        character == separator && !is_quoted
    }
}

fn one_of<T>(known: [(&str, T); 2], name: &str, value: &str) -> Result<T, Problem> {
    let names = known.each_ref().map(|(name, _)| *name);
    let found = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(value));
    found.map(|(_, meaning)| meaning).ok_or_else(|| {
        let detail = format!("{name}={value} is not known; {:?} and {:?} are", names[0], names[1]);
        Problem::new(ProblemCode::InvalidPreference, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::headers, *};

    fn read(values: &[&'static str]) -> Result<Preferences, Problem> {
        let values: Vec<_> = values.iter().map(|value| ("prefer", *value)).collect();
        Preferences::read(&headers(&values))
    }

    #[test]
    fn preferences_are_found_among_others_in_one_header_or_in_several_and_the_first_of_a_name_counts() {
        let durability = |value| read(&[value]).map(|preferences| preferences.durability);
        assert_eq!(durability("respond-async, Durability=\"delivered\"; x=y").unwrap(), Some(Durability::Delivered));
        assert_eq!(durability("durability=disk").unwrap(), Some(Durability::Disk));
        assert_eq!(durability("wait=5").unwrap(), None);
        assert_eq!(durability("handling=\"a, durability=twice\\\", answers=x\"; b=\"c,return=y\", wait").unwrap(), None);
        let all = Preferences { durability: Some(Durability::Delivered), answers: Some(Answers::Whole), is_minimal: Some(true) };
        assert_eq!(read(&["answers = whole ,return=minimal", "durability=delivered"]).unwrap(), all);
        assert_eq!(read(&["ANSWERS=Whole, durability=delivered, answers=each", "return=minimal, answers=x"]).unwrap(), all);
        assert_eq!(all.applied().unwrap(), "durability=delivered, answers=whole, return=minimal");
        assert_eq!(Preferences { is_minimal: Some(false), ..Preferences::default() }.applied().unwrap(), "return=representation");
        assert_eq!(read(&[]).unwrap().applied(), None);
    }

    #[test]
    fn an_unknown_value_of_a_known_preference_is_refused() {
        for value in ["durability=twice", "durability", "answers=some", "answers=", "return=nothing", "return"] {
            assert_eq!(read(&[value]).unwrap_err().code(), ProblemCode::InvalidPreference, "{value}");
        }
    }
}
