//! Events: the examples of a registry, whole, with their required fields only, or with a `context`, and other values in
//! each. Every shape is checked against its schema by the gateway's own validator before it is used.

use std::{path::Path, time::SystemTime};

use anyhow::{Context, bail, ensure};
use lakegate::{
    decode::{BodyForm, for_each_element},
    schema::{Registry, Resolution},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Characters of a UUID.
pub const UUID_CHARS: usize = 36;

/// What stands before the identity of an event.
const IDENTITY: &[u8] = br#""event_uuid":""#;

/// Fields that hold identities of something else, which differ from event to event.
const OTHER_IDENTITIES: [&str; 3] = ["session_id", "visit_id", "lesson_id"];

/// Of 100 events: those with their required fields only, and those with a `context`. The others are whole examples.
const BARE_PERCENT: u8 = 30;
const CONTEXT_PERCENT: u8 = 5;

/// The largest event. Why: the largest that the mission speaks of.
const EVENT_BYTES_MAX: usize = 4096;

/// One event as JSON, and where its identity is.
#[derive(Debug, Clone)]
pub struct Event {
    /// The whole object, without a line end.
    pub bytes: Vec<u8>,
    /// Index of the first character of its `event_uuid`.
    pub uuid_at: usize,
}

/// What events can look like.
#[derive(Debug)]
pub struct Shapes {
    examples: Vec<Value>,
    bare: Vec<Value>,
    has_context: bool,
}

impl Shapes {
    /// Those of the newest schemas below `folder`.
    pub fn of_registry(folder: &Path) -> anyhow::Result<Self> {
        let registry = lakegate::schema::load(folder)?;
        let (mut examples, mut bare, mut has_context) = (Vec::new(), Vec::new(), true);
        for (name, versions) in registry.iter() {
            let newest = versions.last().with_context(|| format!("{name} has no version"))?;
            let schema: Value = serde_json::from_str(&newest.document)?;
            has_context &= schema["properties"]["context"].is_object();
            let own = schema["examples"].as_array().cloned().unwrap_or_default();
            bare.extend(own.iter().map(|example| only_required(example, &schema)));
            examples.extend(own);
        }
        ensure!(!examples.is_empty(), "{} holds no schema with examples", folder.display());
        let shapes = Self { examples, bare, has_context };
        shapes.check(&registry)?;
        Ok(shapes)
    }

    /// The `index`-th example, in turn, as a new event.
    pub fn example(&self, index: usize) -> Event {
        finish(self.examples[index % self.examples.len()].clone())
    }

    /// Any event, by the shares at the top of this file.
    pub fn random(&self) -> Event {
        let index = fastrand::usize(..self.examples.len());
        let percent = fastrand::u8(..100);
        if percent < BARE_PERCENT {
            return finish(self.bare[index].clone());
        }
        let mut event = self.examples[index].clone();
        if percent >= 100 - CONTEXT_PERCENT && self.has_context {
            let room = EVENT_BYTES_MAX - event.to_string().len();
            event["context"] = context(room);
        }
        finish(event)
    }

    /// An event of `bytes` bytes, or the shortest of those that are longer: a whole example with a note that fills it up.
    pub fn sized(&self, bytes: usize) -> Event {
        let index = fastrand::usize(..self.examples.len());
        let short = finish(self.bare[index].clone());
        if short.bytes.len() >= bytes || !self.has_context {
            return short;
        }
        let with_note = |chars: usize| {
            let mut event = self.bare[index].clone();
            event["context"] = json!({ "note": words(chars) });
            finish(event)
        };
        let empty = with_note(0).bytes.len();
        if empty > bytes { short } else { with_note(bytes - empty) }
    }

    fn check(&self, registry: &Registry) -> anyhow::Result<()> {
        let with_context = self.examples.iter().filter(|_| self.has_context).map(|example| {
            let mut event = example.clone();
            event["context"] = context(EVENT_BYTES_MAX);
            event
        });
        self.examples.iter().chain(&self.bare).cloned().chain(with_context).try_for_each(|shape| check(registry, &shape))
    }
}

fn check(registry: &Registry, event: &Value) -> anyhow::Result<()> {
    let name = event["event_name"].as_str().unwrap_or_default();
    let version = event["schema_version"].as_u64().and_then(|version| u32::try_from(version).ok());
    let Resolution::Known(schema) = registry.resolve(name, version) else { bail!("{name} is not in the registry") };
    let mut verdict = Ok(());
    let text = event.to_string();
    let read = for_each_element(text.as_bytes(), BodyForm::Json, |element| {
        verdict = element
            .event
            .map_err(|_| anyhow::anyhow!("it is no event"))
            .and_then(|event| schema.validate(event).map_err(|rejection| anyhow::anyhow!("{rejection:?}")));
    });
    ensure!(read.is_ok(), "an event of {name} cannot be read");
    verdict.with_context(|| format!("an event of {name} is not valid: {event}"))
}

/// The example without the fields that the schema does not ask for.
fn only_required(example: &Value, schema: &Value) -> Value {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let kept: Vec<&str> = ["event_uuid", "event_name", "created_at"].into_iter().chain(required).collect();
    let fields = example.as_object().into_iter().flatten().filter(|(name, _)| kept.contains(&name.as_str()));
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

/// What a browser sends along, within `room` bytes: some hundred bytes as a rule, rarely all there is room for.
fn context(room: usize) -> Value {
    let mut context = json!({
        "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1",
        "referrer": format!("https://example.org/search?q={}", words(fastrand::usize(10..60))),
        "experiments": ["menu-photos-large", "checkout-one-page", format!("bucket-{}", fastrand::u16(..))],
    });
    // The share of the remaining room, squared: small ones are common, and the largest reach the end.
    let share = fastrand::f64() * fastrand::f64();
    let left = room.saturating_sub(context.to_string().len() + 60).min(4000);
    context["note"] = words((left as f64 * share) as usize).into();
    context
}

/// `length` characters that compress like text.
fn words(length: usize) -> String {
    const WORDS: [&str; 12] =
        ["menu", "fresh", "table", "river", "order", "lemon", "window", "seven", "bread", "garden", "evening", "salt"];
    let mut text = String::with_capacity(length + 8);
    while text.len() < length {
        text.push_str(WORDS[fastrand::usize(..WORDS.len())]);
        text.push(' ');
    }
    text.truncate(length);
    text
}

/// Gives it a time and identities of its own, and writes it out.
fn finish(mut event: Value) -> Event {
    event["event_uuid"] = Uuid::now_v7().to_string().into();
    event["created_at"] = json!(unix_seconds());
    for name in OTHER_IDENTITIES {
        let is_uuid = event[name].as_str().is_some_and(|value| Uuid::try_parse(value).is_ok());
        if is_uuid {
            event[name] = Uuid::now_v7().to_string().into();
        }
    }
    if let Some(fields) = event.as_object_mut() {
        // Indexing makes what was not there.
        fields.retain(|_, value| !value.is_null());
    }
    let bytes = event.to_string().into_bytes();
    let uuid_at = memchr::memmem::find(&bytes, IDENTITY).map_or(0, |at| at + IDENTITY.len());
    Event { bytes, uuid_at }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_millis() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{corpus::Sizes, registry};

    #[test]
    fn events_of_100_types_are_valid_and_as_large_as_they_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let (schemas, made) = (concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas"), folder.path().join("schemas"));
        registry::write(Path::new(schemas), &made, registry::TYPES).unwrap();
        let registry = lakegate::schema::load(&made).unwrap();
        assert_eq!(registry.len(), registry::TYPES);
        let shapes = Shapes::of_registry(&made).unwrap();
        let events: Vec<Event> = (0..1000).map(|_| shapes.random()).collect();
        for event in &events {
            check(&registry, &serde_json::from_slice(&event.bytes).unwrap()).unwrap();
            assert!((200..=EVENT_BYTES_MAX).contains(&event.bytes.len()));
            let uuid = std::str::from_utf8(&event.bytes[event.uuid_at..event.uuid_at + UUID_CHARS]).unwrap();
            assert!(Uuid::try_parse(uuid).is_ok());
        }
        for bytes in [600, 4096, 65_000] {
            let event = shapes.sized(bytes);
            assert!(event.bytes.len().abs_diff(bytes) < 16, "{} of {bytes}", event.bytes.len());
            check(&registry, &serde_json::from_slice(&event.bytes).unwrap()).unwrap();
        }
        let mean = events.iter().map(|event| event.bytes.len()).sum::<usize>() / events.len();
        assert!((490..=580).contains(&mean), "{}", Sizes::of(&events));
    }
}
