//! Selects dead letters: conditions such as `code=schema_violation` and `event_name=menu:*`, all of which must hold.
//!
//! | condition | holds for |
//! |---|---|
//! | `FIELD=PATTERN` | letters whose field matches; `*` is any text, `?` any character, and `a\|b` is either |
//! | `FIELD!=PATTERN` | all other letters |
//! | `since=TIME`, `until=TIME` | letters received at that time or later; before that time |
//! | `state=open` | letters still to be repaired (the default), `repaired`, or `any` |
//!
//! Fields are `code`, `event_name`, `event_uuid`, `source`, `pointer`, `detail`, `schema` (`menu:item:viewed/2`), `version` and
//! `letter`. A missing field is the empty text. A time is `2026-11-20`, `2026-11-20T18:00:00Z`, or an age: `90s`, `30m`, `12h`,
//! `7d`.

use wildmatch::WildMatch;

use super::stored::{LetterId, StoredLetter};
use crate::{
    event::iso_millis,
    ledger::{TIMES, time_of},
    limits::{FILTER_CONDITIONS_MAX, FILTER_TEXT_BYTES_MAX},
};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    conditions: Vec<Condition>,
    /// In the format of `received_datetime`, so that texts compare as times do.
    since_inclusive: Option<String>,
    until_exclusive: Option<String>,
    state: Wanted,
    /// Whether there are no conditions.
    is_empty: bool,
}

/// The state of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Still to be repaired.
    Open,
    /// The event was replayed and stored, or had been accepted before.
    Repaired,
    /// Dropped, but a crash left the line in place.
    Dropped,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Open,
    Repaired,
    Any,
}

#[derive(Debug, Clone)]
struct Condition {
    field: Field,
    patterns: Vec<WildMatch>,
    is_negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Code,
    EventName,
    EventUuid,
    Source,
    Pointer,
    Detail,
    Schema,
    Version,
    Letter,
}

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No comparison.
    #[error("{0:?} is no condition; FIELD=PATTERN is, such as code=schema_violation")]
    NoCondition(String),
    /// Not a field of a letter.
    #[error(
        "{0:?} is no field of a dead letter; code, event_name, event_uuid, source, pointer, detail, schema, version, letter, \
         since, until and state are"
    )]
    UnknownField(String),
    /// Not a time.
    #[error("{0:?} is no time; {TIMES}")]
    NoTime(String),
    /// Not a state.
    #[error("{0:?} is no state; open, repaired and any are")]
    NoState(String),
    /// The field allows only equality.
    #[error("{0} takes = only")]
    NotNegatable(&'static str),
    /// Too many conditions, or a condition is too long.
    #[error("a filter has at most {FILTER_CONDITIONS_MAX} conditions of {FILTER_TEXT_BYTES_MAX} bytes")]
    TooLong,
}

impl Filter {
    /// Parses conditions. Ages count back from `now_millis`.
    ///
    /// # Errors
    /// [`FilterError`] for the first invalid condition.
    pub fn parse<T: AsRef<str>>(texts: &[T], now_millis: i64) -> Result<Self, FilterError> {
        if texts.len() > FILTER_CONDITIONS_MAX || texts.iter().any(|text| text.as_ref().len() > FILTER_TEXT_BYTES_MAX) {
            return Err(FilterError::TooLong);
        }
        let mut filter = Self { is_empty: texts.is_empty(), ..Self::default() };
        for text in texts {
            filter.add(text.as_ref(), now_millis)?;
        }
        Ok(filter)
    }

    fn add(&mut self, text: &str, now_millis: i64) -> Result<(), FilterError> {
        let (name, value) = text.split_once('=').ok_or_else(|| FilterError::NoCondition(text.to_owned()))?;
        let (name, is_negated) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let only = |name| if is_negated { Err(FilterError::NotNegatable(name)) } else { Ok(()) };
        match name {
            "since" => {
                only("since")?;
                self.since_inclusive = Some(time(value, now_millis)?);
            }
            "until" => {
                only("until")?;
                self.until_exclusive = Some(time(value, now_millis)?);
            }
            "state" => {
                only("state")?;
                self.state = match value {
                    "open" => Wanted::Open,
                    "repaired" => Wanted::Repaired,
                    "any" => Wanted::Any,
                    _ => return Err(FilterError::NoState(value.to_owned())),
                };
            }
            name => {
                let field = Field::parse(name).ok_or_else(|| FilterError::UnknownField(name.to_owned()))?;
                let patterns = value.split('|').map(WildMatch::new).collect();
                self.conditions.push(Condition { field, patterns, is_negated });
            }
        }
        Ok(())
    }

    /// Whether there are no conditions, so that every open letter is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether the letter on `line` is selected, apart from its state.
    #[must_use]
    pub fn matches(&self, line: &[u8], letter: &StoredLetter<'_>) -> bool {
        self.since_inclusive.as_ref().is_none_or(|since| *letter.received_datetime >= **since)
            && self.until_exclusive.as_ref().is_none_or(|until| *letter.received_datetime < **until)
            && self.conditions.iter().all(|condition| condition.holds(line, letter))
    }

    /// Whether letters of this state are selected.
    #[must_use]
    pub fn wants(&self, state: State) -> bool {
        match (self.state, state) {
            (_, State::Dropped) => false,
            (Wanted::Any, _) | (Wanted::Open, State::Open) | (Wanted::Repaired, State::Repaired) => true,
            (Wanted::Open, State::Repaired) | (Wanted::Repaired, State::Open) => false,
        }
    }
}

impl Field {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "code" => Self::Code,
            "event_name" => Self::EventName,
            "event_uuid" => Self::EventUuid,
            "source" => Self::Source,
            "pointer" => Self::Pointer,
            "detail" => Self::Detail,
            "schema" => Self::Schema,
            "version" => Self::Version,
            "letter" => Self::Letter,
            _ => return None,
        })
    }
}

impl Condition {
    fn holds(&self, line: &[u8], letter: &StoredLetter<'_>) -> bool {
        let fits = |text: &str| self.patterns.iter().any(|pattern| pattern.matches(text));
        let fits = match self.field {
            Field::Code => fits(&letter.code),
            Field::EventName => fits(letter.event_name.as_deref().unwrap_or_default()),
            Field::EventUuid => fits(letter.event_uuid.as_deref().unwrap_or_default()),
            Field::Source => fits(&letter.source),
            Field::Pointer => fits(&letter.pointer),
            Field::Detail => fits(&letter.detail),
            Field::Schema => fits(letter.schema.as_deref().unwrap_or_default()),
            Field::Version => fits(&letter.schema_version().map_or(String::new(), |version| version.to_string())),
            Field::Letter => fits(&LetterId::of(line).to_string()),
        };
        fits != self.is_negated
    }
}

/// A time in the format of `received_datetime`.
fn time(text: &str, now_millis: i64) -> Result<String, FilterError> {
    let millis = time_of(text, now_millis).ok_or_else(|| FilterError::NoTime(text.to_owned()))?;
    Ok(iso_millis(millis).as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dead_letters::{Letter, write_letter},
        outcome::{Fault, RejectCode, Rejection},
    };

    const NOW: i64 = 1_795_204_800_000;

    fn meant(conditions: &[&str]) -> bool {
        let rejection = Rejection {
            code: RejectCode::SchemaViolation,
            faults: vec![Fault::new("is not of type \"integer\"", "/price_minor")],
            schema: Some("menu:item:viewed/2".into()),
            place: None,
        };
        let letter = Letter {
            source: "web",
            received_millis: NOW - 3_600_000,
            event_uuid: None,
            event_name: Some("menu:item:viewed"),
            rejection: &rejection,
            raw: b"{}",
        };
        let mut line = Vec::new();
        write_letter(&letter, &mut line);
        Filter::parse(conditions, NOW).unwrap().matches(&line, &StoredLetter::parse(&line).unwrap())
    }

    #[test]
    fn all_conditions_must_hold() {
        for conditions in [
            &[][..],
            &["code=schema_violation", "event_name=menu:*", "source=web", "pointer=/price_*", "version=2"],
            &["code=unknown_event|schema_violation", "detail=*integer*", "schema=menu:item:viewed/?"],
            &["event_uuid=", "code!=unknown_event", "event_name!=payment:*|lesson:*"],
            &["since=2h", "until=30m", "until=2026-11-21"],
            &["since=2026-11-20T18:59:59Z", "until=2026-11-20T19:00:00.001Z"],
        ] {
            assert!(meant(conditions), "{conditions:?}");
        }
        for conditions in [
            &["code=schema"][..],
            &["code=schema_violation", "source=app"],
            &["event_name=item:*"],
            &["version=1|3"],
            &["event_uuid=?*"],
            &["code!=schema_*"],
            &["since=59m"],
            &["until=3600s"],
            &["until=2026-11-20"],
            &["letter=00*"],
        ] {
            assert!(!meant(conditions), "{conditions:?}");
        }
    }

    #[test]
    fn only_what_is_open_is_meant_unless_something_else_is_said() {
        let wanted = |conditions: &[&str]| {
            let filter = Filter::parse(conditions, NOW).unwrap();
            [State::Open, State::Repaired, State::Dropped].map(|state| filter.wants(state))
        };
        assert_eq!(wanted(&[]), [true, false, false]);
        assert_eq!(wanted(&["state=open"]), [true, false, false]);
        assert_eq!(wanted(&["state=repaired"]), [false, true, false]);
        assert_eq!(wanted(&["state=any"]), [true, true, false]);
    }

    #[test]
    fn what_is_no_condition_is_named() {
        let said = |condition: &str| Filter::parse(&[condition], NOW).unwrap_err().to_string();
        assert!(said("schema_violation").starts_with("\"schema_violation\" is no condition"));
        assert!(said("name=x").starts_with("\"name\" is no field"));
        assert!(said("state=mended").starts_with("\"mended\" is no state"));
        assert!(said("since!=1h").starts_with("since takes"));
        for time in ["yesterday", "", "h", "5", "-5h", "2026-13-01", "5µ"] {
            assert!(said(&format!("since={time}")).contains("is no time"), "{time}");
        }
        assert_eq!(Filter::parse(&vec!["code=x"; 65], NOW).unwrap_err(), FilterError::TooLong);
    }
}
