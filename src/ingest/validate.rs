//! The pure half of the pipeline: validates each element of a body, without I/O. Of rejected events it also claims the dead
//! letters; a body that is dropped releases them.

use std::{
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use uuid::Uuid;

use super::{replayed_event::Refused, submission::Submission};
use crate::{
    auth::EventNames,
    config::UnknownEvents,
    dead_letters::{KnownLetters, Letter, Lines, Repeat, RequestLetters},
    decode::{Element, Fields, check_names, only_element, read_fields_of_distinct, uuid_text, with_numeric_created_at},
    dedup::Identity,
    event::{Envelope, EventName, ScopeSecret},
    json::{Node, quoted},
    ledger::{NameId, Names, OTHER},
    live_events::{Audience, event_name},
    outcome::{Fault, PerEvent, RejectCode, Rejection},
    schema::{Registry, Resolution, Schema, Suggestions},
    spool::FrameBuffer,
    telemetry::Metrics,
};

/// The inputs of validation, besides the bytes.
pub(super) struct Validator<'a> {
    pub(super) registry: &'a Registry,
    pub(super) unknown_events: UnknownEvents,
    pub(super) source: &'a Arc<str>,
    /// Whether identities are scoped by the source.
    pub(super) is_scoped: bool,
    pub(super) client_address: Option<&'a str>,
    pub(super) sent_events: &'a EventNames,
    /// Maximum bytes of one event.
    pub(super) event_bytes_max: usize,
    pub(super) received_millis: i64,
    /// The range in which an event may have been created without being late, Unix milliseconds.
    pub(super) created_in_time: RangeInclusive<i64>,
    /// Whether the event is validated a second time: see `replay.rs`.
    pub(super) replayed: bool,
    /// Set if the event is from the dead letter of an event that the sink refused.
    pub(super) refused: Option<Refused<'a>>,
    /// The letters of events that were rejected before.
    pub(super) known_letters: &'a Arc<KnownLetters>,
    /// The names that the ledger has numbers for.
    pub(super) event_names: &'a Names,
    pub(super) metrics: &'a Metrics,
}

/// A validated body.
pub(super) struct ValidatedBody {
    /// One verdict per element, in order.
    pub(super) verdicts: PerEvent<Verdict>,
    /// The records of the valid events, in the form for the spool.
    pub(super) frames: FrameBuffer,
    /// The dead letters of the rejected events.
    pub(super) letters: RequestLetters,
    /// The remaining budget for suggestions, and for full descriptions of faults.
    pub(super) suggestions: Suggestions,
    /// Who watches these events.
    pub(super) audience: Option<Box<Audience>>,
    /// When this was done.
    pub(super) validated_at: Instant,
    /// Bytes of the descriptions of rejected events.
    said_bytes: usize,
}

/// The result of validating one element.
pub(super) enum Verdict {
    /// An event to store: the next of the frames.
    Valid {
        event_uuid: Uuid,
        fingerprint: u32,
        /// The number of its name in the ledger.
        event_name: NameId,
    },
    /// An invalid event.
    Rejected {
        event_uuid: Option<String>,
        rejection: Box<Rejection>,
        /// The number of its name in the ledger, if the ledger knows the name.
        event_name: NameId,
        /// Whether the event has a dead letter already.
        is_repeated: bool,
    },
}

impl ValidatedBody {
    /// Reserves room for the frames of `events` in `bytes` bytes: a fifth more is usual, and some more for a single event.
    pub(super) fn with_capacity(bytes: usize, events: usize, now: Instant) -> Self {
        Self {
            verdicts: PerEvent::with_capacity(events),
            frames: FrameBuffer::with_capacity(bytes * 5 / 4 + 128),
            letters: RequestLetters::default(),
            suggestions: Suggestions::default(),
            audience: None,
            validated_at: now,
            said_bytes: 0,
        }
    }

    /// Memory in bytes for the rejected events: their dead letters, the descriptions of their faults, and the answer.
    pub(super) fn rejected_bytes(&self) -> usize {
        self.letters.memory_bytes() + 3 * self.said_bytes
    }

    /// The identities of the valid events within `scope`, in order.
    pub(super) fn identities(&self, secret: &ScopeSecret, scope: Option<&str>) -> PerEvent<Identity> {
        let identity = |verdict: &Verdict| match verdict {
            Verdict::Valid { event_uuid: id, fingerprint, .. } => {
                Some(Identity { id: *id, fingerprint: *fingerprint }.scoped(secret, scope))
            }
            Verdict::Rejected { .. } => None,
        };
        self.verdicts.iter().filter_map(identity).collect()
    }

    /// Takes the new dead letters, if any, and the repetitions of others.
    pub(super) fn take_letters(&mut self, submission: &Submission) -> (Option<Lines>, Vec<Repeat>) {
        let letters = std::mem::take(&mut self.letters);
        letters.finish(&submission.source, submission.body.len(), submission.may_discard_letters())
    }
}

impl Validator<'_> {
    /// Validates the next element of a body. Returns whether the element is rejected.
    pub(super) fn next(&self, element: &Element<'_>, validated: &mut ValidatedBody) -> bool {
        let mut verdict = self.element(element, &mut validated.frames, &mut validated.suggestions);
        let is_rejected = match &mut verdict {
            Verdict::Valid { .. } => false,
            Verdict::Rejected { event_uuid, rejection, is_repeated, .. } => {
                let name = element.event.as_ref().ok().and_then(event_name);
                let pointer = rejection.faults.first().map_or("", |fault| &fault.pointer);
                rejection.place = Some(Box::new(self.registry.known_place(name.as_deref(), pointer)));
                let identity = (event_uuid.as_deref(), name.as_deref());
                *is_repeated = self.add_letter(element.raw, identity, rejection, &mut validated.letters);
                let said = |fault: &Fault| fault.detail.len() + fault.pointer.len() + size_of_val(fault);
                validated.said_bytes += rejection.faults.iter().map(said).sum::<usize>();
                true
            }
        };
        validated.verdicts.push(verdict);
        if let Some(audience) = &mut validated.audience {
            audience.note(element.raw, || element.event.as_ref().ok().and_then(event_name));
        }
        is_rejected
    }

    /// Validates one element that was already split off, and makes no dead letter.
    pub(super) fn replayed(&self, raw: &[u8], validated: &mut ValidatedBody) {
        only_element(raw, |element| {
            let verdict = self.element(&element, &mut validated.frames, &mut validated.suggestions);
            validated.verdicts.push(verdict);
        });
    }

    fn element(&self, element: &Element<'_>, frames: &mut FrameBuffer, suggestions: &mut Suggestions) -> Verdict {
        let event_uuid = |event: &Result<Node<'_>, _>| event.as_ref().ok().and_then(uuid_text);
        let record = |records: &mut Vec<u8>| {
            isolate(|| match &element.event {
                Ok(event) => self.event(event, element.raw, records, suggestions),
                Err(rejection) => Err(rejection.clone()),
            })
        };
        // The limits of an event and its envelope make a frame that fits: see `limits.rs`.
        match frames.try_push(record).unwrap_or_else(|_| Err(failed())) {
            Ok((event_uuid, event_name)) => {
                Verdict::Valid { event_uuid, fingerprint: Identity::fingerprint(element.raw), event_name }
            }
            Err(mut rejection) => {
                if rejection.code == RejectCode::InternalError {
                    self.metrics.panics.inc();
                }
                if !suggestions.take_explained(rejection.faults.len()) {
                    rejection.make_brief();
                }
                let event_uuid = event_uuid(&element.event);
                let event_name = self.known_name(element).unwrap_or(OTHER);
                Verdict::Rejected { event_uuid, rejection: Box::new(rejection), event_name, is_repeated: false }
            }
        }
    }

    /// Validates one event and appends its record. Returns its identity, and the number of its name.
    fn event(
        &self,
        event: &Node<'_>,
        raw: &[u8],
        records: &mut Vec<u8>,
        suggestions: &mut Suggestions,
    ) -> Result<(Uuid, NameId), Rejection> {
        if raw.len() > self.event_bytes_max {
            return Err(too_large(raw.len(), self.event_bytes_max));
        }
        let (fields, schema_version, schema) = self.judge(event, suggestions)?;
        let event_name = EventName::of_checked(&fields.event_name);
        let envelope = Envelope {
            event_uuid: fields.event_uuid,
            event_name,
            schema_version,
            created_at: fields.created_at,
            received_millis: self.received_millis,
            source: self.source,
            client_address: self.client_address,
            has_reserved_fields: fields.has_reserved_fields,
            names_its_version: fields.schema_version.is_some(),
            dedup_unchecked: false,
            replayed: self.replayed,
            is_scoped: self.is_scoped,
            is_late: !self.created_in_time.contains(&fields.created_at.millis),
        };
        match self.refused.filter(|refused| refused.event_uuid == fields.event_uuid) {
            Some(refused) => envelope.encode_replay_of(refused.letter, refused.sink, raw, records),
            None => envelope.encode(raw, records),
        }
        let name_number = match schema {
            Some(schema) => schema.name_number(|name| self.event_names.id(name)),
            None => self.event_names.id(&fields.event_name),
        };
        Ok((fields.event_uuid, name_number))
    }

    /// The fields of an event that is valid, and its schema version and schema, if there is one.
    fn judge<'e>(&self, event: &Node<'e>, suggestions: &mut Suggestions) -> Result<Judged<'_, 'e>, Rejection> {
        let fields = read_fields_of_distinct(event);
        // Most events are valid by a schema that names all their members. Then no name stands twice, and they need not be compared
        // with each other.
        if let Ok(sought) = &fields
            && !sought.is_created_at_text
            && self.sent_events.contain(&sought.event_name)
            && let Resolution::Known(schema) = self.registry.resolve(&sought.event_name, sought.schema_version)
            && let Some(is_distinct) = schema.accepted(*event)
        {
            if !is_distinct {
                check_names(event)?;
            }
            return fields.map(|fields| (fields, Some(schema.version), Some(schema)));
        }
        check_names(event)?;
        let fields = fields?;
        if !self.sent_events.contain(&fields.event_name) {
            return Err(forbidden(&fields.event_name));
        }
        let (schema_version, schema) = by_registry(self.registry, self.unknown_events, event, &fields, suggestions)?;
        Ok((fields, schema_version, schema))
    }

    /// The number of the event's name, if the registry or the ledger knows it: clients may invent names.
    fn known_name(&self, element: &Element<'_>) -> Option<NameId> {
        let event = element.event.as_ref().ok()?;
        let name = event.members().find(|(name, _)| name == "event_name").and_then(|(_, name)| name.string())?;
        let is_registered = !matches!(self.registry.resolve(&name, None), Resolution::UnknownName);
        if is_registered { Some(self.event_names.id(&name)) } else { self.event_names.known(&name) }
    }

    /// Returns whether the event has a letter already.
    fn add_letter(
        &self,
        raw: &[u8],
        (event_uuid, event_name): (Option<&str>, Option<&str>),
        rejection: &Rejection,
        letters: &mut RequestLetters,
    ) -> bool {
        let (source, received_millis) = (self.source, self.received_millis);
        let letter = Letter { source, received_millis, event_uuid, event_name, rejection, raw };
        letters.add(&letter, self.known_letters)
    }
}

/// The fields of a valid event, its schema version and its schema.
type Judged<'r, 'e> = (Fields<'e>, Option<u32>, Option<&'r Schema>);

/// Validates an event with these fields against the registry. Returns the schema version and the schema, if there is one, or why the
/// event is refused.
pub(super) fn by_registry<'a>(
    registry: &'a Registry,
    unknown_events: UnknownEvents,
    event: &Node<'_>,
    fields: &Fields<'_>,
    suggestions: &mut Suggestions,
) -> Result<(Option<u32>, Option<&'a Schema>), Rejection> {
    match registry.resolve(&fields.event_name, fields.schema_version) {
        Resolution::Known(schema) => {
            if fields.is_created_at_text {
                with_numeric_created_at(*event, |event| schema.validate_in_body(event, suggestions))?;
            } else {
                schema.validate_in_body(*event, suggestions)?;
            }
            Ok((Some(schema.version), Some(schema)))
        }
        Resolution::UnknownVersion(newest) => Err(unknown_version(&newest.label(), fields.schema_version)),
        Resolution::UnknownName if unknown_events == UnknownEvents::Accept => Ok((fields.schema_version, None)),
        Resolution::UnknownName => {
            let nearest = suggestions.take_name().then(|| registry.nearest(&fields.event_name)).flatten();
            Err(unknown_name(&fields.event_name, nearest))
        }
    }
}

fn too_large(found: usize, most: usize) -> Rejection {
    let detail = format!("the event has {found} bytes; with this key at most {most} are allowed");
    Rejection::new(RejectCode::EventTooLarge, detail, "")
}

fn forbidden(name: &str) -> Rejection {
    Rejection::new(RejectCode::ForbiddenEvent, format!("this key may not send {}", quoted(name)), "/event_name")
}

/// `name` is well formed, so the command can be copied into a shell as it is.
fn unknown_name(name: &str, nearest: Option<&str>) -> Rejection {
    let suggestion = nearest.map_or(".".to_owned(), |nearest| format!("; did you mean {nearest:?}?"));
    let detail = format!(
        "no schema is named {}{suggestion} For a new event run: lakegate schemas new {name} (where the gateway is, with --schemas \
         and its schemas.dir); the running gateway reads the new files within seconds",
        quoted(name)
    );
    Rejection::new(RejectCode::UnknownEvent, detail, "/event_name")
}

fn unknown_version(newest: &str, version: Option<u32>) -> Rejection {
    let detail = format!("there is no version {}; the newest is {newest}", version.unwrap_or_default());
    Rejection::new(RejectCode::UnknownSchemaVersion, detail, "/schema_version")
}

/// Validates one event so that a panic affects that event only.
fn isolate<T>(judgement: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    // A panic may leave only the record that is being appended unfinished, and that record is then cut off.
    catch_unwind(AssertUnwindSafe(judgement)).unwrap_or_else(|_| Err(failed()))
}

fn failed() -> Rejection {
    let detail = "the gateway failed on this event; it is kept in the dead letters";
    Rejection::new(RejectCode::InternalError, detail, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_its_event_alone() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let verdict: Result<Uuid, _> = isolate(|| panic!("a bug"));
        std::panic::set_hook(quiet);
        assert_eq!(verdict.unwrap_err().code, RejectCode::InternalError);
        assert_eq!(isolate(|| Ok(Uuid::max())), Ok(Uuid::max()));
    }

    mod properties {
        use bytes::Bytes;
        use proptest::prelude::*;

        use super::*;
        use crate::{
            decode::{BodyForm, for_each_element},
            enrich::write_flat,
            event::{CreatedDays, Record},
        };

        /// Values whose spelling a value tree would change or refuse.
        fn any_value() -> impl Strategy<Value = String> {
            let spelled = prop::sample::select(vec![
                "1.10",
                "1e400",
                "-0",
                "-0.0",
                "123456789012345678901234567890",
                "0.1E-7",
                "\"\\u00e9\\/\\\"\"",
                "\"\\ud83d\\ude00\"",
                "\"é😀\"",
                "{ \"a\" :\t[ ] , \"a\":1 }",
                "null",
                "true",
            ]);
            prop_oneof![
                spelled.prop_map(str::to_owned),
                any::<i128>().prop_map(|number| number.to_string()),
                any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
                (1..60usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
            ]
        }

        proptest! {
            #[test]
            fn the_payload_is_what_the_client_wrote_byte_for_byte_and_the_flat_form_keeps_each_member_so(
                members in prop::collection::btree_map("[a-z]{1,6}|event_type|source", any_value(), 0..8),
                uuid in any::<u128>().prop_filter("identifies something", |uuid| *uuid != 0 && *uuid != u128::MAX),
                gap in "[ \t\r\n]{0,3}",
            ) {
                let uuid = Uuid::from_u128(uuid);
                let mut event = format!("{{{gap}\"event_uuid\"{gap}:\"{uuid}\",\"event_name\":\"a:b\",\"created_at\":1.5e9");
                for (name, value) in &members {
                    event.push_str(&format!(",{gap}\"{name}\":{gap}{value}"));
                }
                event.push_str(&format!("{gap}}}"));
                let (registry, metrics, names, source) = (Registry::default(), Metrics::new(), Names::default(), Arc::from("web"));
                let validator = Validator {
                    registry: &registry,
                    unknown_events: UnknownEvents::Accept,
                    source: &source,
                    is_scoped: false,
                    client_address: None,
                    sent_events: &EventNames::default(),
                    event_bytes_max: usize::MAX,
                    received_millis: 0,
                    created_in_time: CreatedDays { back: 0, ahead: 0 }.around(0),
                    replayed: false,
                    refused: None,
                    known_letters: &Arc::default(),
                    event_names: &names,
                    metrics: &metrics,
                };
                let (body, mut validated) = (format!("[{event},7,{event}]"), ValidatedBody::with_capacity(0, 0, Instant::now()));
                let mut rejected = Vec::new();
                for_each_element(body.as_bytes(), BodyForm::Json, |element| rejected.push(validator.next(&element, &mut validated))).unwrap();
                prop_assert_eq!(rejected, [false, true, false]);
                let identity = Identity { id: uuid, fingerprint: Identity::fingerprint(event.as_bytes()) };
                prop_assert_eq!(&validated.identities(&ScopeSecret::random(), None)[..], &[identity, identity], "{}", event);
                prop_assert_eq!(validated.frames.bodies().len(), 2, "{}", event);
                for record in validated.frames.bodies() {
                    let record = Record::decode(Bytes::copy_from_slice(record)).unwrap();
                    prop_assert_eq!(record.payload(), event.as_bytes());
                    let mut flat = Vec::new();
                    write_flat(&record.envelope(), record.payload(), &mut flat);
                    let flat = String::from_utf8(flat).unwrap();
                    prop_assert!(!flat.contains(['\n', '\r']));
                    for (name, value) in &members {
                        let is_kept = flat.contains(value.as_str());
                        let is_reserved = matches!(name.as_str(), "event_type" | "source");
                        prop_assert!(is_kept || is_reserved, "{} lacks {}", flat, value);
                    }
                    prop_assert_eq!(flat.matches("\"source\":").count(), 1);
                }
            }
        }
    }
}
