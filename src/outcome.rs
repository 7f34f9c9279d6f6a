//! What becomes of an event: exactly one of accepted, duplicate, rejected, retry (promise P2).
//!
//! The codes are stable: clients and dashboards match on them. No HTTP here; `http/problem.rs` gives the status codes.

use crate::limits::{BRIEF_CHARS_MAX, DETAIL_CHARS_MAX, ERRORS_PER_EVENT_MAX};

/// The fate of one event of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Durably stored; it will be delivered.
    Accepted,
    /// Its `event_uuid` was accepted before.
    Duplicate,
    /// Wrong in itself; it lies in the dead letters and must not be sent again unchanged.
    Rejected(Box<Rejection>),
    /// Nothing is wrong with it, but it could not be taken now; send it again.
    Retry(RetryCause),
}

/// Why an event was rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The stable code.
    pub code: RejectCode,
    /// What is wrong, each with its place; at least one, at most [`ERRORS_PER_EVENT_MAX`].
    pub faults: Vec<Fault>,
    /// The schema that judged, as `menu:item:viewed/2`.
    pub schema: Option<String>,
}

/// One thing wrong with an event.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Fault {
    /// What is wrong, for a person; at most [`DETAIL_CHARS_MAX`] characters.
    pub detail: String,
    /// JSON pointer to the place; empty for the event as a whole.
    pub pointer: String,
}

impl Fault {
    /// A fault, its texts cut to their limit.
    pub fn new(detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { detail: shortened(detail.into()), pointer: shortened(pointer.into()) }
    }
}

impl Rejection {
    /// A rejection for one fault.
    pub fn new(code: RejectCode, detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { code, faults: vec![Fault::new(detail, pointer)], schema: None }
    }

    /// A rejection for several faults, of which the first [`ERRORS_PER_EVENT_MAX`] are kept.
    #[must_use]
    pub fn of(code: RejectCode, mut faults: Vec<Fault>, schema: Option<String>) -> Self {
        faults.truncate(ERRORS_PER_EVENT_MAX);
        Self { code, faults, schema }
    }

    /// Leaves the first fault, its texts cut to [`BRIEF_CHARS_MAX`] characters: for the many after the first of a body.
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
    // As many bytes are at most as many characters.
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
    /// The element is no JSON object.
    NotAnObject,
    /// The line is no JSON, or holds more than one value.
    InvalidJson,
    /// A required field is absent.
    MissingField,
    /// `event_uuid` is no usable UUID.
    InvalidEventUuid,
    /// `event_name` is malformed.
    InvalidEventName,
    /// `created_at` is no Unix timestamp.
    InvalidCreatedAt,
    /// `schema_version` is no whole number from 1.
    InvalidSchemaVersion,
    /// The same member twice at the top level.
    DuplicateKey,
    /// A string with half a surrogate pair, or bytes that are no UTF-8.
    InvalidUnicode,
    /// Larger than one event may be.
    EventTooLarge,
    /// Nested deeper than one event may be.
    EventTooDeep,
    /// The key may not send events of this name.
    ForbiddenEvent,
    /// No schema has this `event_name`.
    UnknownEvent,
    /// The schema has no such version.
    UnknownSchemaVersion,
    /// The schema refuses it.
    SchemaViolation,
    /// The gateway failed on this event; that is a bug, and the event is kept.
    InternalError,
    /// The sink refused it after it was accepted.
    RefusedBySink,
    /// It is a duplicate, by its `event_uuid`, of an event with another payload.
    ConflictingDuplicate,
}

impl RejectCode {
    /// Every kind that an answer can hold, for the documentation's test.
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

    /// The code as it is written in answers, dead letters and metrics.
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
    /// What it means, for a person.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NotAnObject => "the event is JSON, but no object",
            Self::InvalidJson => "a line of NDJSON is not JSON",
            Self::MissingField => "`event_uuid`, `event_name` or `created_at` is missing",
            Self::InvalidEventUuid => "`event_uuid` is no UUID in its usual form with hyphens",
            Self::InvalidEventName => "`event_name` is not parts of letters, digits, `_`, `-`, separated by `:`",
            Self::InvalidCreatedAt => "`created_at` is no Unix timestamp",
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

/// Why an event could not be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetryCause {
    /// The same `event_uuid` is being stored by another request, whose fate is not known yet.
    InFlight,
    /// The disk refused.
    StorageUnavailable,
    /// Too much is waiting for the disk.
    Busy,
    /// The spool is at its quota.
    QuotaFull,
    /// The events of this key hold as much of the spool as they may; those of other keys are taken.
    KeySpoolShareFull,
    /// The dead letters of this source are at their quota, so a bad event could not be kept.
    DeadLettersFull,
    /// The dedup window cannot take more until its disk keeps up.
    DedupFull,
    /// The dedup window is nearly full, and this key holds as much of it as it may; the events of other keys are taken.
    KeyDedupShareFull,
    /// The place on disk that tells whether it is a duplicate cannot be read at the moment.
    DedupUnavailable,
    /// Spooled, but not delivered within the time that `Prefer: durability=delivered` waits. It will be delivered.
    NotDeliveredInTime,
    /// Stored, and lost to a damaged disk before it was delivered. The next one with its identity is accepted anew.
    Lost,
}

impl RetryCause {
    /// Every cause, for the documentation's test.
    pub const ALL: [Self; 11] = [
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
        Self::Lost,
    ];

    /// The code as it is written in answers and metrics.
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
            Self::Lost => "lost",
        }
    }

    /// What it means, for a person.
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
            Self::NotDeliveredInTime => "the event is safely spooled and will be delivered, but was not within the time to wait",
            Self::Lost => "the disk lost the event before it was delivered; send it again, and it is accepted anew",
        }
    }
}

/// How many events of a request, or of a process's life, ended in which way.
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

    /// All of them.
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
