//! What a watcher wants to see.

use std::time::Duration;

use wildmatch::WildMatch;

use crate::{
    limits::{EVENT_NAME_BYTES_MAX, SOURCE_BYTES_MAX, WATCH_PATTERNS_MAX, WATCH_RATE, WATCH_RATE_MAX, WATCH_TICK},
    outcome::Outcome,
};

/// Which events a watcher wants to see, and how many a second. Of several patterns or outcomes any may match; none: all do.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    names: Vec<Pattern>,
    keys: Vec<Pattern>,
    /// A bit for each outcome; all bits if none is named.
    outcomes: u8,
    rate: u32,
}

/// A pattern, by what it costs to compare.
#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    Exact(Box<str>),
    /// The text before a single `*` at the end.
    Begins(Box<str>),
    Wild(WildMatch),
}

/// Why a question is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// There is no such parameter.
    #[error("{0:?} cannot be asked for; event, key, outcome and rate can")]
    Unknown(String),
    /// No pattern of event names.
    #[error(
        "{0:?} is no pattern of event names: letters, digits, `_`, `-` and `:` are, `*` for any text and `?` for any character; ask for \
         several with a parameter each"
    )]
    Name(String),
    /// No pattern of keys.
    #[error(
        "{0:?} is no pattern of names of keys: letters, digits, `_`, `-` and `.` are, `*` for any text and `?` for any character; ask for \
         several with a parameter each"
    )]
    Key(String),
    /// No outcome.
    #[error("{0:?} is no outcome; accepted, duplicate, rejected and retry are")]
    Outcome(String),
    /// No rate.
    #[error("{0:?} is no rate; 1 to {WATCH_RATE_MAX} events a second are")]
    Rate(String),
    /// Too many patterns.
    #[error("at most {WATCH_PATTERNS_MAX} patterns of each kind can be asked for")]
    TooMany,
}

/// The names of the outcomes, in the order of their bits.
const OUTCOMES: [&str; 4] = ["accepted", "duplicate", "rejected", "retry"];

/// The index of an outcome in [`OUTCOMES`].
fn index(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Accepted => 0,
        Outcome::Duplicate => 1,
        Outcome::Rejected(_) => 2,
        Outcome::Retry(_) => 3,
    }
}

/// The name of an outcome.
pub(super) fn outcome_name(outcome: &Outcome) -> &'static str {
    OUTCOMES[index(outcome)]
}

impl Question {
    /// Reads parameters: `event`, `key` and `outcome`, each any number of times, and `rate`.
    ///
    /// # Errors
    /// [`QuestionError`] for the first that is not understood.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(parameters: impl IntoIterator<Item = (N, V)>) -> Result<Self, QuestionError> {
        let mut question = Self { names: Vec::new(), keys: Vec::new(), outcomes: 0, rate: WATCH_RATE };
        for (name, value) in parameters {
            let value = value.as_ref();
            match name.as_ref() {
                "event" => {
                    let pattern = Pattern::of(value, EVENT_NAME_BYTES_MAX, "_-:");
                    question.names.push(pattern.ok_or_else(|| QuestionError::Name(value.to_owned()))?);
                }
                "key" => {
                    let pattern = Pattern::of(value, SOURCE_BYTES_MAX, "_-.");
                    question.keys.push(pattern.ok_or_else(|| QuestionError::Key(value.to_owned()))?);
                }
                "outcome" => {
                    let bit = OUTCOMES.iter().position(|outcome| *outcome == value);
                    question.outcomes |= 1 << bit.ok_or_else(|| QuestionError::Outcome(value.to_owned()))?;
                }
                "rate" => {
                    let rate = value.parse().ok().filter(|rate| (1..=WATCH_RATE_MAX).contains(rate));
                    question.rate = rate.ok_or_else(|| QuestionError::Rate(value.to_owned()))?;
                }
                other => return Err(QuestionError::Unknown(other.to_owned())),
            }
            if question.names.len().max(question.keys.len()) > WATCH_PATTERNS_MAX {
                return Err(QuestionError::TooMany);
            }
        }
        if question.outcomes == 0 {
            question.outcomes = u8::MAX;
        }
        Ok(question)
    }

    /// Whether events of the key are wanted.
    pub(super) fn wants_key(&self, key: &str) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|pattern| pattern.matches(key))
    }

    /// Whether the name of an event decides.
    pub(super) fn asks_for_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether events of the name are wanted; `None` is an event whose name cannot be read.
    pub(super) fn wants_name(&self, name: Option<&str>) -> bool {
        self.names.is_empty() || name.is_some_and(|name| self.names.iter().any(|pattern| pattern.matches(name)))
    }

    /// Whether events with the outcome are wanted.
    pub(super) fn wants_outcome(&self, outcome: &Outcome) -> bool {
        self.outcomes & (1 << index(outcome)) != 0
    }

    /// How many events are shown in one tick.
    pub(super) fn room(&self) -> usize {
        (self.rate as usize * WATCH_TICK.as_millis() as usize / 1000).max(1)
    }

    /// The time of a tick, so that the rate is kept.
    pub(super) fn tick(&self) -> Duration {
        Duration::from_secs(1) * self.room() as u32 / self.rate
    }
}

impl Pattern {
    /// `None` if no name of up to `bytes_max` bytes, of letters, digits and `marks`, could match.
    fn of(text: &str, bytes_max: usize, marks: &str) -> Option<Self> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '?') || marks.contains(c);
        if text.is_empty() || text.len() > bytes_max || !text.chars().all(is_allowed) {
            return None;
        }
        Some(match text.find(['*', '?']) {
            None => Self::Exact(text.into()),
            Some(at) if text[at..] == *"*" => Self::Begins(text[..at].into()),
            Some(_) => Self::Wild(WildMatch::new(text)),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => **text == *name,
            Self::Begins(text) => name.starts_with(&**text),
            Self::Wild(pattern) => pattern.matches(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::RetryCause;

    fn asked(parameters: &[(&str, &str)]) -> Result<Question, QuestionError> {
        Question::parse(parameters.iter().copied())
    }

    #[test]
    fn a_question_wants_what_any_of_its_patterns_matches_and_without_patterns_all() {
        let question =
            asked(&[("event", "menu:*"), ("event", "a:?:c"), ("event", "heartbeat"), ("key", "web*"), ("key", "till")]);
        let question = question.unwrap();
        for (name, is_wanted) in [
            ("menu:item:viewed", true),
            ("menus:x", false),
            ("a:b:c", true),
            ("a:bb:c", false),
            ("heartbeat", true),
            ("heartbeats", false),
        ] {
            assert_eq!(question.wants_name(Some(name)), is_wanted, "{name}");
        }
        assert!(!question.wants_name(None), "an event without a name has none of these");
        for (key, is_wanted) in [("web", true), ("web-2", true), ("till", true), ("tills", false), ("other", false)] {
            assert_eq!(question.wants_key(key), is_wanted, "{key}");
        }
        let all = asked(&[]).unwrap();
        assert!(all.wants_name(None) && all.wants_key("x") && all.wants_outcome(&Outcome::Duplicate) && !all.asks_for_names());
        let some = asked(&[("outcome", "retry"), ("outcome", "accepted")]).unwrap();
        assert!(some.wants_outcome(&Outcome::Accepted) && some.wants_outcome(&Outcome::Retry(RetryCause::Busy)));
        assert!(!some.wants_outcome(&Outcome::Duplicate));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (name, value, said) in [
            ("evnet", "x", "event, key, outcome and rate"),
            ("event", "", "no pattern of event names"),
            ("event", "menu:*|payment:*", "a parameter each"),
            ("event", "menu viewed", "no pattern of event names"),
            ("key", "a/b", "no pattern of names of keys"),
            ("outcome", "refused", "accepted, duplicate, rejected and retry"),
            ("rate", "0", "1 to 500"),
            ("rate", "501", "1 to 500"),
            ("rate", "many", "1 to 500"),
        ] {
            let error = asked(&[(name, value)]).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains(&format!("{:?}", if name == "evnet" { name } else { value })),
                "{error}"
            );
        }
        assert_eq!(asked(&[("event", "a"); WATCH_PATTERNS_MAX + 1]), Err(QuestionError::TooMany));
        assert!(asked(&[("event", "a"); WATCH_PATTERNS_MAX]).is_ok());
    }

    #[test]
    fn a_tick_is_as_long_as_the_rate_needs_it() {
        for (rate, room, millis) in [(50, 10, 200), (500, 100, 200), (1, 1, 1000), (7, 1, 142), (5, 1, 200), (12, 2, 166)] {
            let question = asked(&[("rate", &rate.to_string())]).unwrap();
            assert_eq!((question.room(), question.tick().as_millis()), (room, millis), "{rate}");
        }
    }
}
