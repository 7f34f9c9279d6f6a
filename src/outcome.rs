//! The outcome of an event: exactly one of accepted, duplicate, rejected, retry (promise P2).
//!
//! The codes are stable, because clients and dashboards match them. HTTP status codes are in `http/problem.rs`, not here.

mod advice;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::limits::{BRIEF_CHARS_MAX, DETAIL_CHARS_MAX, ERRORS_PER_EVENT_MAX};

/// A list with an item for each event of a request. Most requests have one event: then it needs no memory of its own.
pub type PerEvent<T> = SmallVec<[T; 1]>;

/// The outcome of one event of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Durably stored; it will be delivered.
    Accepted,
    /// An event with this `event_uuid` was accepted before.
    Duplicate,
    /// Invalid; stored in the dead letters, and must not be sent again unchanged.
    Rejected(Box<Rejection>),
    /// The event could not be accepted now; send it again.
    Retry(RetryCause),
}

/// Why an event was rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The stable code.
    pub code: RejectCode,
    /// The faults, each with its location; at least one, at most [`ERRORS_PER_EVENT_MAX`].
    pub faults: Vec<Fault>,
    /// The schema that validated the event, such as `menu:item:viewed/2`.
    pub schema: Option<String>,
    /// The first fault's place, for the log; `None` if it is not determined.
    pub place: Option<Box<KnownPlace>>,
}

/// The place of a fault in names that the registry knows: nothing of it was invented by a client.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub struct KnownPlace {
    /// The name of the event, if the registry knows it.
    pub event_name: Option<Arc<str>>,
    /// JSON pointer, with `*` for elements of arrays, and `?` for names that no schema of the event has.
    pub pointer: String,
}

/// A fault of an event.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Fault {
    /// A description for people; at most [`DETAIL_CHARS_MAX`] characters.
    pub detail: String,
    /// JSON pointer to the location; empty for the whole event.
    pub pointer: String,
}

impl Fault {
    /// A fault with its texts cut to their limit.
    pub fn new(detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { detail: shortened(detail.into()), pointer: shortened(pointer.into()) }
    }
}

impl Rejection {
    /// A rejection for one fault.
    pub fn new(code: RejectCode, detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { code, faults: vec![Fault::new(detail, pointer)], schema: None, place: None }
    }

    /// A rejection for several faults, of which the first [`ERRORS_PER_EVENT_MAX`] are kept.
    #[must_use]
    pub fn of(code: RejectCode, mut faults: Vec<Fault>, schema: Option<String>) -> Self {
        faults.truncate(ERRORS_PER_EVENT_MAX);
        Self { code, faults, schema, place: None }
    }

    /// Keeps the first fault only, cut to [`BRIEF_CHARS_MAX`] characters per text: for later rejections in a body with many.
    pub fn make_brief(&mut self) {
        self.faults.truncate(1);
        for fault in &mut self.faults {
            cut(&mut fault.detail, BRIEF_CHARS_MAX);
            cut(&mut fault.pointer, BRIEF_CHARS_MAX);
        }
        self.faults.shrink_to_fit();
    }
}

/// `text`, cut to [`DETAIL_CHARS_MAX`] characters.
#[must_use]
pub fn shortened(mut text: String) -> String {
    cut(&mut text, DETAIL_CHARS_MAX);
    text
}

fn cut(text: &mut String, chars_max: usize) {
    // A text has at most as many characters as bytes.
    if text.len() >= chars_max
        && let Some((at, _)) = text.char_indices().nth(chars_max - 1)
    {
        text.truncate(at);
        text.push('…');
        text.shrink_to_fit();
    }
}

/// The kinds of rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectCode {
    /// The element is not a JSON object.
    NotAnObject,
    /// The line is not JSON, or has more than one value.
    InvalidJson,
    /// A required field is absent.
    MissingField,
    /// `event_uuid` is not a usable UUID.
    InvalidEventUuid,
    /// `event_name` is malformed.
    InvalidEventName,
    /// `created_at` is neither a Unix timestamp nor RFC 3339 text.
    InvalidCreatedAt,
    /// `schema_version` is not an integer from 1.
    InvalidSchemaVersion,
    /// The same member occurs twice at the top level.
    DuplicateKey,
    /// A string has half of a surrogate pair, or the bytes are not UTF-8.
    InvalidUnicode,
    /// The event is larger than the limit.
    EventTooLarge,
    /// The event is nested deeper than the limit.
    EventTooDeep,
    /// The key may not send events of this name.
    ForbiddenEvent,
    /// No schema has this `event_name`.
    UnknownEvent,
    /// The schema has no such version.
    UnknownSchemaVersion,
    /// The event violates the schema.
    SchemaViolation,
    /// The gateway failed on this event. This is a bug, and the event is kept.
    InternalError,
    /// The sink refused the event after it was accepted.
    RefusedBySink,
    /// The event is a duplicate, by its `event_uuid`, of an event with another payload.
    ConflictingDuplicate,
}

impl RejectCode {
    /// Every code that an answer can have, for the documentation's test.
    pub const IN_ANSWERS: [Self; 17] = [
        Self::NotAnObject,
        Self::InvalidJson,
        Self::MissingField,
        Self::InvalidEventUuid,
        Self::InvalidEventName,
        Self::InvalidCreatedAt,
        Self::InvalidSchemaVersion,
        Self::DuplicateKey,
        Self::InvalidUnicode,
        Self::EventTooLarge,
        Self::EventTooDeep,
        Self::ForbiddenEvent,
        Self::UnknownEvent,
        Self::UnknownSchemaVersion,
        Self::SchemaViolation,
        Self::InternalError,
        Self::RefusedBySink,
    ];

    /// The code as written in answers, dead letters and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::InvalidJson => "invalid_json",
            Self::MissingField => "missing_field",
            Self::InvalidEventUuid => "invalid_event_uuid",
            Self::InvalidEventName => "invalid_event_name",
            Self::InvalidCreatedAt => "invalid_created_at",
            Self::InvalidSchemaVersion => "invalid_schema_version",
            Self::DuplicateKey => "duplicate_key",
            Self::InvalidUnicode => "invalid_unicode",
            Self::EventTooLarge => "event_too_large",
            Self::EventTooDeep => "event_too_deep",
            Self::ForbiddenEvent => "forbidden_event",
            Self::UnknownEvent => "unknown_event",
            Self::UnknownSchemaVersion => "unknown_schema_version",
            Self::SchemaViolation => "schema_violation",
            Self::InternalError => "internal_error",
            Self::RefusedBySink => "refused_by_sink",
            Self::ConflictingDuplicate => "conflicting_duplicate",
        }
    }
}

impl RejectCode {
    /// The meaning of the code, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NotAnObject => "the event is JSON, but no object",
            Self::InvalidJson => "a line of NDJSON is not JSON",
            Self::MissingField => "`event_uuid`, `event_name` or `created_at` is missing",
            Self::InvalidEventUuid => "`event_uuid` is no UUID in its usual form with hyphens",
            Self::InvalidEventName => "`event_name` is not parts of letters, digits, `_`, `-`, separated by `:`",
            Self::InvalidCreatedAt => "`created_at` is neither a Unix timestamp nor RFC 3339 text with an offset",
            Self::InvalidSchemaVersion => "`schema_version` is no whole number from 1 to 2147483647",
            Self::DuplicateKey => "a member stands twice at the top level of the event",
            Self::InvalidUnicode => "the event holds text that is not valid Unicode",
            Self::EventTooLarge => "the event has more bytes than one may have",
            Self::EventTooDeep => "the event has more levels than one may have",
            Self::ForbiddenEvent => "the key may not send events of this name",
            Self::UnknownEvent => "the registry has no event of this name; `lakegate schemas new NAME` writes a first schema",
            Self::UnknownSchemaVersion => "the event has no such version",
            Self::SchemaViolation => "the schema says no: see `pointer`, `detail`, `errors`",
            Self::InternalError => "judging this one event failed in the gateway",
            Self::RefusedBySink => {
                "the sink refused the event for good, after it was stored; in the dead letters, and answered only where \
                 delivery is waited for"
            }
            Self::ConflictingDuplicate => {
                "an event with the same `event_uuid` and another payload was accepted before; the answer is `duplicate`, this is \
                 only in the dead letters"
            }
        }
    }
}

/// Why an event could not be accepted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetryCause {
    /// Another request is storing the same `event_uuid`, and its result is not known yet.
    InFlight,
    /// The disk failed to store the event.
    StorageUnavailable,
    /// Too many events wait for the disk.
    Busy,
    /// The spool is at its quota.
    QuotaFull,
    /// The events of this key fill its share of the spool; events of other keys are accepted.
    KeySpoolShareFull,
    /// The dead letters of this source are at their quota, so an invalid event could not be stored.
    DeadLettersFull,
    /// The dedup window cannot accept more until its disk catches up.
    DedupFull,
    /// The dedup window is nearly full, and this key has used up its share; events of other keys are accepted.
    KeyDedupShareFull,
    /// The dedup data on disk that shows whether the event is a duplicate cannot be read at the moment.
    DedupUnavailable,
    /// Spooled, but not delivered within the time limit of `durability=delivered`. It will be delivered, unless the disk is lost.
    NotDeliveredInTime,
    /// Where every request waits for delivery: the sink takes nothing now, so the event was not stored.
    SinkUnavailable,
    /// Stored, but lost to a damaged disk before delivery. The next event with this identity is accepted as new.
    Lost,
}

impl RetryCause {
    /// Every cause, for the documentation's test.
    pub const ALL: [Self; 12] = [
        Self::InFlight,
        Self::StorageUnavailable,
        Self::Busy,
        Self::QuotaFull,
        Self::KeySpoolShareFull,
        Self::DeadLettersFull,
        Self::DedupFull,
        Self::KeyDedupShareFull,
        Self::DedupUnavailable,
        Self::NotDeliveredInTime,
        Self::SinkUnavailable,
        Self::Lost,
    ];

    /// The code as written in answers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Busy => "busy",
            Self::QuotaFull => "quota_full",
            Self::KeySpoolShareFull => "key_spool_share_full",
            Self::DeadLettersFull => "dead_letters_full",
            Self::DedupFull => "dedup_full",
            Self::KeyDedupShareFull => "key_dedup_share_full",
            Self::DedupUnavailable => "dedup_unavailable",
            Self::NotDeliveredInTime => "not_delivered_in_time",
            Self::SinkUnavailable => "sink_unavailable",
            Self::Lost => "lost",
        }
    }

    /// The meaning of the cause, for people.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::InFlight => "another request is storing the same event_uuid; send it again to learn its fate",
            Self::StorageUnavailable => "the event could not be written to disk",
            Self::Busy => "too many events are waiting to be written",
            Self::QuotaFull => "the spool is full because the sink has not taken what it holds",
            Self::KeySpoolShareFull => {
                "the undelivered events of this key fill its share of the spool, because the sink has not taken them"
            }
            Self::DeadLettersFull => "the event is not valid, and the dead letters of this key are full, so it could not be kept",
            Self::DedupFull => "the dedup window cannot take more identities at the moment",
            Self::KeyDedupShareFull => "the dedup window is nearly full, and this key has used up its share of it",
            Self::DedupUnavailable => "the disk cannot tell at the moment whether the event was accepted before",
            Self::NotDeliveredInTime => "the event is spooled, and was not delivered within the time to wait; send it again",
            Self::SinkUnavailable => "the sink takes nothing at the moment, and this gateway answers only what the sink has",
            Self::Lost => "the disk lost the event before it was delivered; send it again, and it is accepted anew",
        }
    }
}

/// Counts of events by outcome, of a request or of the whole run of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Outcome::Accepted`]
    pub accepted: usize,
    /// [`Outcome::Duplicate`]
    pub duplicates: usize,
    /// [`Outcome::Rejected`]
    pub rejected: usize,
    /// [`Outcome::Retry`]
    pub retry: usize,
}

impl Counts {
    /// Counts `outcomes`.
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Accepted => counts.accepted += 1,
                Outcome::Duplicate => counts.duplicates += 1,
                Outcome::Rejected(_) => counts.rejected += 1,
                Outcome::Retry(_) => counts.retry += 1,
            }
        }
        counts
    }

    /// The total of all outcomes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.accepted + self.duplicates + self.rejected + self.retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_contract() {
        let contract = include_str!("../openapi.yaml");
        let codes = RejectCode::IN_ANSWERS.map(RejectCode::as_str).into_iter().chain(RetryCause::ALL.map(RetryCause::as_str));
        for code in codes {
            assert!(contract.contains(&format!("    | `{code}` |")), "openapi.yaml does not describe {code}");
        }
    }

    #[test]
    fn texts_are_cut_at_a_character_and_say_so() {
        assert_eq!(shortened("é".repeat(300)).chars().count(), 300);
        let cut = shortened("é".repeat(5000));
        assert_eq!(cut.chars().count(), 300);
        assert!(cut.ends_with('…'));
        assert_eq!(shortened("short".into()), "short");
        let fault = Fault::new("é".repeat(300), "/a");
        let mut rejection = Rejection::of(RejectCode::SchemaViolation, vec![fault; 5], None);
        rejection.make_brief();
        assert_eq!(rejection.faults.len(), 1);
        assert_eq!((rejection.faults[0].detail.chars().count(), &*rejection.faults[0].pointer), (BRIEF_CHARS_MAX, "/a"));
    }
}
