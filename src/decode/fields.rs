//! The fields that every event has, read from the top level of the event in one pass.

use std::{borrow::Cow, collections::HashSet};

use uuid::Uuid;

use crate::{
    event::{CreatedAt, CreatedAtError, EventName, REQUIRED_FIELDS, RESERVED_FIELDS},
    json::{Kind, Node, pointer_token, quoted, shown},
    limits::SCHEMA_VERSION_MAX,
    outcome::{Fault, RejectCode, Rejection},
};

/// The fields that the gateway reads before the schema validates the event.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields<'a> {
    /// `event_uuid`
    pub event_uuid: Uuid,
    /// `event_name`, known to be well formed.
    pub event_name: Cow<'a, str>,
    /// `created_at`
    pub created_at: CreatedAt,
    /// Whether `created_at` is RFC 3339 text: see [`with_numeric_created_at`](super::with_numeric_created_at).
    pub is_created_at_text: bool,
    /// `schema_version`, if the event names a version.
    pub schema_version: Option<u32>,
    /// Whether the event has its own values for [`RESERVED_FIELDS`].
    pub has_reserved_fields: bool,
}

/// A bit for each length of a name that is looked for: most members have another.
const LENGTHS: u64 = lengths(&REQUIRED_FIELDS) | lengths(&RESERVED_FIELDS) | lengths(&["schema_version"]);

const fn lengths(names: &[&str]) -> u64 {
    let (mut bits, mut index) = (0, 0);
    while index < names.len() {
        bits |= 1 << names[index].len();
        index += 1;
    }
    bits
}

/// Number of members up to which each name is compared with all names before it; beyond it, a set is cheaper.
const COMPARED_PAIRWISE: usize = 24;

/// Reads the fields of `event`, which is an object.
///
/// # Errors
/// The first kind of fault, with every fault of that kind: duplicate names, then missing fields, then malformed ones.
pub fn read_fields<'a>(event: &Node<'a>) -> Result<Fields<'a>, Rejection> {
    check_names(event)?;
    read_fields_of_distinct(event)
}

/// Checks that no name stands twice in `event`, which is an object.
///
/// # Errors
/// The first name that does.
pub fn check_names(event: &Node<'_>) -> Result<(), Rejection> {
    let mut names = Names::default();
    for (name, _) in event.members() {
        let plain = if let Cow::Borrowed(plain) = name { Some(plain) } else { None };
        if names.stands_twice(plain, event) {
            // Report the first duplicate name, regardless of how the duplicate was found.
            let name = duplicate_in_set(event).unwrap_or(name);
            let detail = format!("the field {} stands twice in the event; expected once", quoted(&name));
            return Err(Rejection::new(RejectCode::DuplicateKey, detail, pointer(&name)));
        }
    }
    Ok(())
}

/// [`read_fields`] of an event that is known to have no name twice, or is checked for that later.
///
/// # Errors
/// As [`read_fields`], save duplicate names.
pub fn read_fields_of_distinct<'a>(event: &Node<'a>) -> Result<Fields<'a>, Rejection> {
    let [mut event_uuid, mut event_name, mut created_at] = [None; REQUIRED_FIELDS.len()];
    let mut schema_version = None;
    let mut has_reserved_fields = false;
    for (name, value) in event.members().of_lengths(LENGTHS) {
        match &*name {
            "event_uuid" => event_uuid = Some(value),
            "event_name" => event_name = Some(value),
            "created_at" => created_at = Some(value),
            "schema_version" => schema_version = Some(value),
            name => has_reserved_fields |= RESERVED_FIELDS.contains(&name),
        }
    }
    let (Some(event_uuid), Some(event_name), Some(created_at)) = (event_uuid, event_name, created_at) else {
        let present = [event_uuid, event_name, created_at];
        let missing = REQUIRED_FIELDS.iter().zip(present).filter(|(_, value)| value.is_none());
        let faults = missing.map(|(name, _)| Fault::new(format!("the required field {name:?} is missing"), "")).collect();
        return Err(Rejection::of(RejectCode::MissingField, faults, None));
    };
    Ok(Fields {
        event_uuid: read_uuid(&event_uuid)?,
        event_name: read_name(&event_name)?,
        created_at: read_created_at(&created_at)?,
        is_created_at_text: created_at.kind() == Kind::String,
        schema_version: schema_version.map(|version| read_schema_version(&version)).transpose()?,
        has_reserved_fields,
    })
}

/// The text of `event_uuid`, to identify an event in an answer even if the rest of the event is invalid.
#[must_use]
pub fn uuid_text(event: &Node<'_>) -> Option<String> {
    let (_, value) = event.members().find(|(name, _)| name == "event_uuid")?;
    let text = value.string()?;
    (text.len() <= 64).then(|| text.into_owned())
}

/// The names of an event so far.
#[derive(Default)]
struct Names<'a> {
    seen: [&'a str; COMPARED_PAIRWISE],
    count: usize,
    /// One bit per hash of a name. Most names have a new hash, and are compared with no other name.
    looks: u64,
}

impl<'a> Names<'a> {
    /// Adds a name, `None` if the name has escapes. Returns whether the name is a duplicate or, when a set is used, whether any
    /// name is.
    fn stands_twice(&mut self, plain: Option<&'a str>, event: &Node<'a>) -> bool {
        if self.count > COMPARED_PAIRWISE {
            return false;
        }
        let (Some(plain), Some(place)) = (plain, self.seen.get_mut(self.count)) else {
            self.count = usize::MAX;
            return duplicate_in_set(event).is_some();
        };
        *place = plain;
        let look = 1 << look(plain);
        let is_new = self.looks & look == 0 || !self.seen[..self.count].contains(&plain);
        self.looks |= look;
        self.count += 1;
        !is_new
    }
}

/// A hash below 64, the same for equal names.
fn look(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let at = |place: usize| u32::from(bytes.get(place).copied().unwrap_or_default());
    (at(0) + at(bytes.len() / 2) * 7 + at(bytes.len().wrapping_sub(1)) * 31 + bytes.len() as u32 * 13) % 64
}

fn duplicate_in_set<'a>(event: &Node<'a>) -> Option<Cow<'a, str>> {
    let mut seen = HashSet::new();
    event.members().map(|(name, _)| name).find(|name| !seen.insert(name.clone()))
}

fn read_uuid(value: &Node<'_>) -> Result<Uuid, Rejection> {
    let reject = |detail: String| Rejection::new(RejectCode::InvalidEventUuid, detail, "/event_uuid");
    let malformed = || reject(format!("expected a UUID such as 0190b0a1-7c3e-7d52-a1b2-c3d4e5f60718, got {}", shown(value)));
    let text = value.string().ok_or_else(malformed)?;
    // Accept only the hyphenated form, because other forms would make one identity look like two in the lake.
    let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    let uuid = Uuid::try_parse(&text).ok().filter(|_| hyphenated);
    let uuid = uuid.ok_or_else(malformed)?;
    if uuid.is_nil() || uuid.is_max() {
        // Otherwise every event of a client that does not set the UUID would be a duplicate of the first.
        return Err(reject(format!(
            "expected a UUID of this event alone, got the {} UUID, which identifies nothing",
            if uuid.is_nil() { "nil" } else { "max" }
        )));
    }
    Ok(uuid)
}

fn read_name<'a>(value: &Node<'a>) -> Result<Cow<'a, str>, Rejection> {
    let reject = |detail: String| Rejection::new(RejectCode::InvalidEventName, detail, "/event_name");
    let expected = "expected a name such as payment:order:completed";
    let name = value.string().ok_or_else(|| reject(format!("{expected}, got {}", shown(value))))?;
    match EventName::parse(&name) {
        Ok(_) => Ok(name),
        Err(error) => Err(reject(format!("{expected}, got {}, which {error}", quoted(&name)))),
    }
}

fn read_created_at(value: &Node<'_>) -> Result<CreatedAt, Rejection> {
    match value.kind() {
        Kind::Number => CreatedAt::parse(value.raw()).map_err(|error| no_time(value, Some(&error))),
        _ => read_created_at_text(value),
    }
}

/// Apart from the function that reads the fields: most events have a number, and the smaller that function, the better the
/// compiler inlines what it calls for each member.
#[inline(never)]
fn read_created_at_text(value: &Node<'_>) -> Result<CreatedAt, Rejection> {
    let text = value.string().ok_or_else(|| no_time(value, None))?;
    CreatedAt::parse_text(&text).map_err(|error| no_time(value, Some(&error)))
}

#[cold]
fn no_time(value: &Node<'_>, error: Option<&CreatedAtError>) -> Rejection {
    let expected = "expected Unix seconds such as 1795111203.5, or RFC 3339 text such as \"2026-11-19T18:00:03.5Z\"";
    let which = error.map_or(String::new(), |error| format!(", which {error}"));
    Rejection::new(RejectCode::InvalidCreatedAt, format!("{expected}, got {}{which}", shown(value)), "/created_at")
}

fn read_schema_version(value: &Node<'_>) -> Result<u32, Rejection> {
    let version = (value.kind() == Kind::Number).then(|| value.raw().parse().ok()).flatten();
    version.filter(|version| (1..=SCHEMA_VERSION_MAX).contains(version)).ok_or_else(|| {
        let detail = format!("expected a whole number from 1 to {SCHEMA_VERSION_MAX}, got {}", shown(value));
        Rejection::new(RejectCode::InvalidSchemaVersion, detail, "/schema_version")
    })
}

/// JSON pointer to a top-level member (RFC 6901).
fn pointer(name: &str) -> String {
    format!("/{}", pointer_token(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::{BodyForm, for_each_element},
        limits::ERRORS_PER_EVENT_MAX,
    };

    const UUID: &str = "0190b0a1-7c3e-7d52-a1b2-c3d4e5f60718";

    fn read(event: &str) -> Result<(Uuid, String, CreatedAt, Option<u32>, bool), Rejection> {
        let mut result = None;
        for_each_element(event.as_bytes(), BodyForm::Json, |element| {
            result = Some(read_fields(&element.event.unwrap()).map(|fields| {
                (
                    fields.event_uuid,
                    fields.event_name.into_owned(),
                    fields.created_at,
                    fields.schema_version,
                    fields.has_reserved_fields,
                )
            }));
        })
        .unwrap();
        result.unwrap()
    }

    fn code(event: &str) -> (RejectCode, String) {
        let rejection = read(event).unwrap_err();
        assert!(!rejection.faults.is_empty() && rejection.faults.len() <= ERRORS_PER_EVENT_MAX);
        (rejection.code, rejection.faults[0].pointer.clone())
    }

    #[test]
    fn fields_are_read_however_their_names_and_values_are_escaped() {
        let event = format!(
            r#"{{"event\u005fuuid":"{}","event_name":"menu\u003aitem","created_at":1.5e9,"source":1}}"#,
            UUID.to_uppercase()
        );
        let (uuid, name, created_at, version, reserved) = read(&event).unwrap();
        assert_eq!((uuid.to_string().as_str(), name.as_str(), version, reserved), (UUID, "menu:item", None, true));
        assert_eq!(created_at.millis, 1_500_000_000_000);
    }

    #[test]
    fn a_time_is_read_as_text_too_however_it_is_escaped_and_a_refusal_says_what_to_do() {
        let event = |created: &str| format!(r#"{{"event_uuid":"{UUID}","event_name":"a","created_at":{created}}}"#);
        let millis = |created: &str| read(&event(created)).unwrap().2.millis;
        assert_eq!(millis("\"2026-11-19T18:00:03.5Z\""), 1_795_111_203_500);
        // .NET escapes the plus.
        assert_eq!(millis("\"2026-11-19T19:00:03.5\\u002B01:00\""), 1_795_111_203_500);
        let detail = |created: &str| read(&event(created)).unwrap_err().faults[0].detail.clone();
        assert_eq!(
            detail("\"2026-11-19T18:00:03.123456\""),
            "expected Unix seconds such as 1795111203.5, or RFC 3339 text such as \"2026-11-19T18:00:03.5Z\", got the string \
             \"2026-11-19T18:00:03.123456\", which has no offset: append Z for UTC, or an offset such as +01:00"
        );
        assert!(detail("\"1795111203.5\"").ends_with("is a number in quotes: send it without them"));
    }

    #[test]
    fn every_missing_field_is_named() {
        let rejection = read("{\"created_at\":1}").unwrap_err();
        let details: Vec<_> = rejection.faults.iter().map(|fault| fault.detail.as_str()).collect();
        assert_eq!(details, ["the required field \"event_uuid\" is missing", "the required field \"event_name\" is missing"]);
    }

    #[test]
    fn a_member_that_stands_twice_is_noticed_in_any_spelling_and_number() {
        assert_eq!(code(r#"{"a/b":1,"a/b":1}"#), (RejectCode::DuplicateKey, "/a~1b".into()));
        assert_eq!(code(r#"{"source":1,"s\u006furce":1}"#).0, RejectCode::DuplicateKey);
        let many: Vec<String> = (0..1000).map(|i| format!("\"k{i}\":0")).collect();
        assert_eq!(code(&format!("{{{},\"k7\":1}}", many.join(","))), (RejectCode::DuplicateKey, "/k7".into()));
        assert_eq!(code(&format!("{{{}}}", many.join(","))).0, RejectCode::MissingField);
    }

    #[test]
    fn malformed_values_are_refused_with_their_place() {
        let event = |uuid: &str, name: &str, created: &str, version: &str| {
            format!(r#"{{"event_uuid":{uuid},"event_name":{name},"created_at":{created},"schema_version":{version}}}"#)
        };
        let good = format!("\"{UUID}\"");
        for bad in ["7", "\"x\"", "\"0190b0a17c3e7d52a1b2c3d4e5f60718\"", "\"00000000-0000-0000-0000-000000000000\"", "null"] {
            assert_eq!(code(&event(bad, "\"a\"", "1", "1")), (RejectCode::InvalidEventUuid, "/event_uuid".into()), "{bad}");
        }
        for bad in ["7", "\"\"", "\"a/../b\"", "\"a:\""] {
            assert_eq!(code(&event(&good, bad, "1", "1")), (RejectCode::InvalidEventName, "/event_name".into()), "{bad}");
        }
        for bad in ["\"2026-11-20\"", "\"2026-11-20T09:15:02\"", "\"\"", "-1", "1e400", "null", "[1]"] {
            assert_eq!(code(&event(&good, "\"a\"", bad, "1")), (RejectCode::InvalidCreatedAt, "/created_at".into()), "{bad}");
        }
        for bad in ["0", "-1", "1.5", "\"1\"", "4294967296", "null"] {
            assert_eq!(
                code(&event(&good, "\"a\"", "1", bad)),
                (RejectCode::InvalidSchemaVersion, "/schema_version".into()),
                "{bad}"
            );
        }
        assert!(read(&event(&good, "\"a\"", "1", "2147483647")).is_ok());
    }
}
