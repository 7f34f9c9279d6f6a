//! What a person does about each rejection: a column of `ERRORS.md` and of the page `/errors`.

use super::RejectCode;

impl RejectCode {
    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotAnObject => "Send each event as an object, `{…}`, and not as text that holds one.",
            Self::InvalidJson => "Write one JSON object per line.",
            Self::MissingField => "Add the field that `detail` names.",
            Self::InvalidEventUuid => "Make a new UUID for each event, and keep it when you send the event again.",
            Self::InvalidEventName => "Name it like `payment:order:completed`.",
            Self::InvalidCreatedAt => "Send Unix seconds as a number, or RFC 3339 text with `Z` or an offset.",
            Self::InvalidSchemaVersion => "Send the number of a version, or leave the field out.",
            Self::DuplicateKey => "Write each field once.",
            Self::InvalidUnicode => "Cut texts between characters, not inside of one.",
            Self::EventTooLarge => "Shorten the event, or ask for a higher `event_bytes_max` of the key.",
            Self::EventTooDeep => "Send a flatter event.",
            Self::ForbiddenEvent => "Use the key of this event, or add the name to `allowed_events` of the key.",
            Self::UnknownEvent => {
                "Correct the name, or run `lakegate schemas new NAME`: the gateway reloads its folder of schemas."
            }
            Self::UnknownSchemaVersion => "Send a version that exists, or add it to the registry.",
            Self::SchemaViolation => "Correct the field at `pointer`, or make a new version of the schema.",
            Self::InternalError => "Report the bug; the event is kept, and can be replayed.",
            Self::RefusedBySink => "Read `detail`; correct the sink, then replay the dead letter.",
            Self::ConflictingDuplicate => "Make a new `event_uuid` for each event.",
        }
    }
}
