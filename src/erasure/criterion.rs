//! Which events an erasure selects.
//!
//! A clause names a place in the event and the values that it may have there: a member of the payload (`session_id`), a JSON
//! pointer into it (`/guest/id`, `/guests/0/id`), or one of the fields `event_uuid` and `client_address` that the gateway
//! stores beside it. All clauses must hold, and the event's name must match one of the patterns, if there are any.
//!
//! Values are compared as JSON values, not as text. A string in the event matches if it has the same characters, however they
//! are escaped. A number matches if it is equal in value: 1, 1.0 and 10e-1 are the same, exactly and not as doubles. A value
//! that reads as a number matches both the number and the string of these characters. `true`, `false`, `null`, arrays and
//! objects match nothing. If a member occurs twice in an object, one match suffices.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashSet},
};

use memchr::memmem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wildmatch::WildMatch;

use crate::{
    digest::sha256_hex,
    json::{Decimal, Kind, Node, Parser, Tape, pointer_name},
    limits::{ERASURE_CLAUSES_MAX, ERASURE_NEEDLES_MAX, ERASURE_VALUE_BYTES_MAX, ERASURE_VALUES_BYTES_MAX, ERASURE_VALUES_MAX},
};

/// A clause as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClauseText {
    /// The place: `session_id`, `/guest/id`, `event_uuid` or `client_address`.
    pub field: String,
    /// The values, of which any may be there.
    pub values: Vec<String>,
}

/// A criterion as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriterionText {
    /// All of them must hold.
    #[serde(rename = "where")]
    pub clauses: Vec<ClauseText>,
    /// Patterns of event names, of which any must match; empty for every name.
    #[serde(default)]
    pub events: Vec<String>,
    /// Whether dead letters whose event is no JSON, or not whole, are selected if their text contains one of the values.
    #[serde(default)]
    pub unreadable_too: bool,
}

impl CriterionText {
    /// A hash that identifies the criterion to somebody who knows it. `salt` makes it differ between erasures.
    #[must_use]
    pub fn hash(&self, salt: &str) -> String {
        sha256_hex(format!("{salt}\n{}", serde_json::to_string(self).unwrap_or_default()))
    }
}

/// Why a text is no criterion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CriterionError {
    /// Nothing is selected.
    #[error("nothing says whose events are to be erased: give --where, such as --where session_id=3f0c…")]
    Empty,
    /// A clause without values.
    #[error("{0} has no value to look for")]
    NoValue(String),
    /// An empty value.
    #[error("{0} is to be empty; that would select events of many people")]
    EmptyValue(String),
    /// Not a place.
    #[error("{0:?} is no field of the payload; name a member, such as session_id, or write a JSON pointer, such as /guest/id")]
    NoField(String),
    /// A field that the gateway adds.
    #[error(
        "{0} does not identify a person: erase by a field of the payload, by event_uuid or by client_address, and choose event names with --event. \
         /{0} is the payload's own member of that name"
    )]
    OwnField(String),
    /// Not a UUID.
    #[error("event_uuid is compared with UUIDs, and one of the values is none")]
    NoUuid,
    /// Too much.
    #[error(
        "too much for one erasure: at most {ERASURE_CLAUSES_MAX} conditions, and {ERASURE_VALUES_MAX} values of \
         {ERASURE_VALUE_BYTES_MAX} bytes, {ERASURE_VALUES_BYTES_MAX} bytes together"
    )]
    TooLong,
}

/// Fields of the record that select no person. They are reserved names, so they are not the payload's.
const OWN_FIELDS: [&str; 9] = [
    "event_name",
    "event_type",
    "event_subtype",
    "source",
    "schema_version",
    "created_at",
    "created_datetime",
    "received_datetime",
    "dedup_scope",
];

/// What is known of an event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Its identity, if it can be read.
    pub event_uuid: Option<&'a str>,
    /// Its name, if it can be read.
    pub event_name: Option<&'a str>,
    /// The client's address, if it is stored.
    pub client_address: Option<&'a str>,
    /// The event as its client wrote it; `None` if only a part of it is there.
    pub payload: Option<&'a [u8]>,
}

/// Whether an event is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Selected,
    /// It is not.
    Other,
    /// Its payload cannot be read, and what can be read does not exclude it.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub struct Criterion {
    text: CriterionText,
    clauses: Vec<Clause>,
    events: Vec<WildMatch>,
}

#[derive(Debug)]
struct Clause {
    place: Place,
    texts: BTreeSet<String>,
    numbers: HashSet<Decimal>,
    uuids: HashSet<Uuid>,
    /// Each value as bytes, if every match contains one of them, or a backslash.
    needles: Option<Vec<memmem::Finder<'static>>>,
}

#[derive(Debug)]
enum Place {
    /// The names on the way from the root.
    Payload(Vec<String>),
    EventUuid,
    ClientAddress,
}

thread_local! {
    static TAPE: RefCell<Tape> = RefCell::new(Tape::new());
}

impl Criterion {
    /// Reads a criterion.
    ///
    /// # Errors
    /// [`CriterionError`] for the first fault.
    pub fn parse(text: CriterionText) -> Result<Self, CriterionError> {
        if text.clauses.is_empty() {
            return Err(CriterionError::Empty);
        }
        let values = || text.clauses.iter().flat_map(|clause| &clause.values);
        let is_too_long = text.clauses.len().max(text.events.len()) > ERASURE_CLAUSES_MAX
            || values().count() > ERASURE_VALUES_MAX
            || values().chain(&text.events).any(|value| value.len() > ERASURE_VALUE_BYTES_MAX)
            || text.clauses.iter().any(|clause| clause.field.len() > ERASURE_VALUE_BYTES_MAX)
            || values().map(String::len).sum::<usize>() > ERASURE_VALUES_BYTES_MAX;
        if is_too_long {
            return Err(CriterionError::TooLong);
        }
        let clauses = text.clauses.iter().map(Clause::parse).collect::<Result<_, _>>()?;
        let events = text.events.iter().map(|pattern| WildMatch::new(pattern)).collect();
        Ok(Self { text, clauses, events })
    }

    /// The criterion as it is written.
    #[must_use]
    pub fn text(&self) -> &CriterionText {
        &self.text
    }

    /// Whether this event is selected.
    #[must_use]
    pub fn judge(&self, subject: &Subject<'_>) -> Verdict {
        if !self.events.is_empty()
            && let Some(name) = subject.event_name
            && !self.events.iter().any(|pattern| pattern.matches(name))
        {
            return Verdict::Other;
        }
        let mut verdict = Verdict::Selected;
        if !self.events.is_empty() && subject.event_name.is_none() {
            verdict = Verdict::Unknown;
        }
        for clause in &self.clauses {
            match clause.holds(subject) {
                Some(true) => {}
                Some(false) => return Verdict::Other,
                None => verdict = Verdict::Unknown,
            }
        }
        verdict
    }

    /// Whether events of this type, the first part of their names, may be selected.
    #[must_use]
    pub fn may_have_type(&self, event_type: &str) -> bool {
        let may_have = |pattern: &String| {
            let literal = pattern.split(['*', '?']).next().unwrap_or_default();
            literal.split_once(':').map_or_else(|| event_type.starts_with(literal), |(first, _)| first == event_type)
        };
        self.text.events.is_empty() || self.text.events.iter().any(may_have)
    }

    /// Whether an event of which only the identity is known is certainly selected.
    #[must_use]
    pub fn selects_uuid(&self, event_uuid: Uuid) -> bool {
        self.events.is_empty() && self.clauses.iter().all(|clause| clause.uuids.contains(&event_uuid))
    }

    /// Whether the criterion asks for identities only, so that an identity alone decides.
    #[must_use]
    pub fn is_of_identities(&self) -> bool {
        self.events.is_empty() && self.clauses.iter().all(|clause| matches!(clause.place, Place::EventUuid))
    }

    /// Whether bytes that are no event contain the text of a value of every clause.
    #[must_use]
    pub fn is_mentioned_in(&self, bytes: &[u8]) -> bool {
        self.clauses.iter().all(|clause| {
            clause.texts.iter().any(|value| {
                let escaped = serde_json::to_string(value).unwrap_or_default();
                memmem::find(bytes, value.as_bytes()).is_some()
                    || memmem::find(bytes, escaped.trim_matches('"').as_bytes()).is_some()
            })
        })
    }
}

impl Clause {
    fn parse(text: &ClauseText) -> Result<Self, CriterionError> {
        let field = &text.field;
        if text.values.is_empty() {
            return Err(CriterionError::NoValue(field.clone()));
        }
        if text.values.iter().any(String::is_empty) {
            return Err(CriterionError::EmptyValue(field.clone()));
        }
        let place = match &**field {
            "" | "/" => return Err(CriterionError::NoField(field.clone())),
            "event_uuid" => Place::EventUuid,
            "client_address" => Place::ClientAddress,
            name if OWN_FIELDS.contains(&name) => return Err(CriterionError::OwnField(field.clone())),
            pointer if pointer.starts_with('/') => Place::Payload(pointer.split('/').skip(1).map(pointer_name).collect()),
            name if name.contains('/') => return Err(CriterionError::NoField(field.clone())),
            name => Place::Payload(vec![name.to_owned()]),
        };
        let mut uuids = HashSet::new();
        if matches!(place, Place::EventUuid) {
            for value in &text.values {
                uuids.insert(value.parse().map_err(|_| CriterionError::NoUuid)?);
            }
        }
        let numbers: HashSet<Decimal> =
            text.values.iter().filter(|value| is_number(value)).map(|value| Decimal::parse(value)).collect();
        let needles = (numbers.is_empty() && text.values.len() <= ERASURE_NEEDLES_MAX)
            .then(|| text.values.iter().map(|value| memmem::Finder::new(value.as_bytes()).into_owned()).collect());
        Ok(Self { place, texts: text.values.iter().cloned().collect(), numbers, uuids, needles })
    }

    /// `None` if that cannot be told.
    fn holds(&self, subject: &Subject<'_>) -> Option<bool> {
        match &self.place {
            Place::EventUuid => {
                Some(subject.event_uuid.and_then(|uuid| uuid.parse().ok()).is_some_and(|uuid| self.uuids.contains(&uuid)))
            }
            Place::ClientAddress => Some(subject.client_address.is_some_and(|address| self.texts.contains(address))),
            Place::Payload(names) => self.holds_in(names, subject.payload?),
        }
    }

    fn holds_in(&self, names: &[String], payload: &[u8]) -> Option<bool> {
        let text = std::str::from_utf8(payload).ok()?;
        if let Some(needles) = &self.needles
            && memchr::memchr(b'\\', payload).is_none()
            && needles.iter().all(|needle| needle.find(payload).is_none())
        {
            return Some(false);
        }
        TAPE.with_borrow_mut(|tape| {
            let mut parser = Parser::new(text, usize::MAX);
            let is_whole = parser.value(tape).is_ok() && parser.peek().is_none() && !tape.is_overflown();
            is_whole.then(|| self.is_at(tape.root(text), names))
        })
    }

    /// Whether a value at the end of `names` below `node` matches.
    fn is_at(&self, node: Node<'_>, names: &[String]) -> bool {
        let Some((first, rest)) = names.split_first() else { return self.is_value(node) };
        match node.kind() {
            Kind::Object => node.members().any(|(name, value)| name == **first && self.is_at(value, rest)),
            Kind::Array => {
                let index = first.parse().ok().filter(|index: &usize| index.to_string() == **first);
                index.and_then(|index| node.elements().nth(index)).is_some_and(|value| self.is_at(value, rest))
            }
            _ => false,
        }
    }

    fn is_value(&self, node: Node<'_>) -> bool {
        match node.kind() {
            Kind::String => node.string().is_some_and(|text| self.texts.contains(&*text)),
            Kind::Number => !self.numbers.is_empty() && self.numbers.contains(&Decimal::parse(node.raw())),
            _ => false,
        }
    }
}

/// Whether a text is a JSON number.
fn is_number(text: &str) -> bool {
    let mut tape = Tape::new();
    let mut parser = Parser::new(text, 1);
    let is_whole = parser.value(&mut tape).is_ok_and(|value| value.len() == text.len());
    is_whole && tape.root(text).kind() == Kind::Number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criterion(clauses: &[(&str, &[&str])], events: &[&str]) -> Result<Criterion, CriterionError> {
        let clause = |(field, values): &(&str, &[&str])| ClauseText {
            field: (*field).to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        Criterion::parse(CriterionText {
            clauses: clauses.iter().map(clause).collect(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            unreadable_too: false,
        })
    }

    fn judge(clauses: &[(&str, &[&str])], payload: &str) -> Verdict {
        let subject = Subject { payload: Some(payload.as_bytes()), ..Subject::default() };
        criterion(clauses, &[]).unwrap().judge(&subject)
    }

    #[test]
    fn values_are_compared_as_json_values_and_not_as_text() {
        let selects = |value: &str, json: &str| {
            judge(&[("session_id", &[value])], &format!("{{\"a\":\"abc 1\",\"session_id\":{json}}}")) == Verdict::Selected
        };
        for (value, json) in [
            ("abc", "\"abc\""),
            ("abc", "\"\\u0061bc\""),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("käse", "\"k\\u00e4se\""),
            ("1", "1"),
            ("1", "1.0"),
            ("1", "10e-1"),
            ("1.0", "1"),
            ("1", "\"1\""),
            ("9007199254740993", "9007199254740993"),
            ("-0", "0"),
            ("true", "\"true\""),
        ] {
            assert!(selects(value, json), "{value} in {json}");
        }
        for (value, json) in [
            ("abc", "\"abc \""),
            ("abc", "\"ABC\""),
            ("abc", "[\"abc\"]"),
            ("abc", "{\"abc\":1}"),
            ("1", "\"1.0\""),
            ("9007199254740993", "9007199254740992"),
            ("01", "1"),
            ("true", "true"),
            ("null", "null"),
            ("1", "11"),
        ] {
            assert!(!selects(value, json), "{value} in {json}");
        }
    }

    #[test]
    fn a_pointer_leads_into_objects_and_arrays_and_every_member_of_a_name_counts() {
        let payload = r#"{"guest":{"id":"x","i/d":5,"id":"y"},"guests":[{"id":"z"}],"session_id":"s","\u0067":"t"}"#;
        for (field, value) in [
            ("/guest/id", "x"),
            ("/guest/id", "y"),
            ("/guest/i~1d", "5.0"),
            ("/guests/0/id", "z"),
            ("/session_id", "s"),
            ("g", "t"),
        ] {
            assert_eq!(judge(&[(field, &[value])], payload), Verdict::Selected, "{field}");
        }
        for (field, value) in [("/guest/id", "z"), ("id", "x"), ("/guests/00/id", "z"), ("/guests/1/id", "z"), ("/guest", "x")] {
            assert_eq!(judge(&[(field, &[value])], payload), Verdict::Other, "{field}");
        }
    }

    #[test]
    fn all_clauses_must_hold_any_value_suffices_and_names_are_chosen_by_patterns() {
        let payload = r#"{"session_id":"s","n":3}"#;
        assert_eq!(judge(&[("session_id", &["q", "s"]), ("n", &["3"])], payload), Verdict::Selected);
        assert_eq!(judge(&[("session_id", &["s"]), ("n", &["4"])], payload), Verdict::Other);
        let named = |name, events: &[&str]| {
            let subject = Subject { event_name: name, payload: Some(payload.as_bytes()), ..Subject::default() };
            criterion(&[("session_id", &["s"])], events).unwrap().judge(&subject)
        };
        assert_eq!(named(Some("menu:item:viewed"), &["payment:*", "menu:*"]), Verdict::Selected);
        assert_eq!(named(Some("lesson:x"), &["payment:*", "menu:*"]), Verdict::Other);
        assert_eq!(named(None, &["menu:*"]), Verdict::Unknown);
        let types = |events: &[&str]| {
            let criterion = criterion(&[("session_id", &["s"])], events).unwrap();
            ["menu", "me", "payment"].map(|event_type| criterion.may_have_type(event_type))
        };
        assert_eq!([types(&[]), types(&["*"]), types(&["menu:*"])], [[true; 3], [true; 3], [true, false, false]]);
        assert_eq!(
            [types(&["m?nu:x"]), types(&["pay*"]), types(&["me"])],
            [[true, true, false], [false, false, true], [true, true, false]]
        );
    }

    #[test]
    fn fields_beside_the_payload_are_compared_too_and_an_unreadable_payload_is_said_to_be_one() {
        let uuid = "01890000-0000-7000-8000-00000000000a";
        let subject = Subject { event_uuid: Some(uuid), client_address: Some("10.0.0.7"), ..Subject::default() };
        let upper = uuid.to_uppercase();
        let judged = |clauses: &[(&str, &[&str])]| criterion(clauses, &[]).unwrap().judge(&subject);
        assert_eq!(judged(&[("event_uuid", &[&upper]), ("client_address", &["10.0.0.7"])]), Verdict::Selected);
        assert_eq!(judged(&[("client_address", &["10.0.0.8"])]), Verdict::Other);
        assert_eq!(judged(&[("session_id", &["s"])]), Verdict::Unknown);
        assert_eq!(judged(&[("session_id", &["s"]), ("client_address", &["10.0.0.8"])]), Verdict::Other);
        assert_eq!(judge(&[("session_id", &["s"])], "{\"session_id\":\"s\""), Verdict::Unknown);
        assert_eq!(judge(&[("session_id", &["s"])], "{\"session_id\":\"s\"} x"), Verdict::Unknown);
        let of_one = criterion(&[("event_uuid", &[uuid])], &[]).unwrap();
        assert!(of_one.is_of_identities() && of_one.selects_uuid(uuid.parse().unwrap()) && !of_one.selects_uuid(Uuid::nil()));
        assert!(!criterion(&[("event_uuid", &[uuid])], &["menu:*"]).unwrap().selects_uuid(uuid.parse().unwrap()));
        let said = criterion(&[("session_id", &["a\"b"])], &[]).unwrap();
        assert!(said.is_mentioned_in(br#"{"session_id":"a\"b"#) && !said.is_mentioned_in(b"a'b"));
    }

    #[test]
    fn what_is_no_criterion_is_named() {
        let said = |clauses: &[(&str, &[&str])]| criterion(clauses, &[]).unwrap_err();
        assert_eq!(said(&[]), CriterionError::Empty);
        assert_eq!(said(&[("session_id", &[])]), CriterionError::NoValue("session_id".into()));
        assert_eq!(said(&[("session_id", &["s", ""])]), CriterionError::EmptyValue("session_id".into()));
        assert_eq!(said(&[("guest/id", &["s"])]), CriterionError::NoField("guest/id".into()));
        assert_eq!(said(&[("", &["s"])]), CriterionError::NoField(String::new()));
        assert_eq!(said(&[("source", &["web"])]), CriterionError::OwnField("source".into()));
        assert_eq!(said(&[("event_uuid", &["s"])]), CriterionError::NoUuid);
        assert_eq!(said(&[("session_id", &[&"x".repeat(ERASURE_VALUE_BYTES_MAX + 1)])]), CriterionError::TooLong);
        assert_eq!(said(&vec![("a", &["s"][..]); ERASURE_CLAUSES_MAX + 1]), CriterionError::TooLong);
    }
}
