//! The format of a spooled event in the stream: its bytes, and the key that decides its shard.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    config::RecordFormat,
    deliver::SinkNames,
    enrich::{write_envelope, write_flat},
    event::{Envelope, Record},
    json::{Parser, Tape, pointer_name},
    sink::{
        kafka::{Topics, write_headers},
        stream::KeyRules,
    },
};

/// The content of the spool, and the format in which it is sent.
#[derive(Clone, Debug)]
pub enum StreamFormat {
    /// Events.
    Events(EventFormat),
    /// Lines that are sent as they are: dead letters.
    Lines {
        /// Whether the stream has keys; the key of a line is its number in the spool.
        is_keyed: bool,
    },
}

/// How an event is written, and the source of its key.
#[derive(Clone, Debug)]
pub struct EventFormat {
    /// How it is written.
    pub format: RecordFormat,
    /// The source of its key.
    pub key: KeySource,
    /// The topics, if the stream has any. Their records do not end with a line end.
    pub topics: Option<Arc<Topics>>,
}

/// The source of an event's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The event's identity.
    Identity,
    /// The text at the end of these members, from the top; the identity if there is none.
    Members(Vec<String>),
    /// The stream has no keys.
    None,
}

/// A body in the stream's format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormattedEvent {
    pub(super) key: Box<str>,
    /// Its headers, then its bytes.
    pub(super) data: Box<[u8]>,
    pub(super) headers_bytes: u32,
    /// The number of its topic; 0 if the stream has none.
    pub(super) topic: u32,
}

impl EventFormat {
    /// As configured: `event_uuid`, or a JSON pointer (RFC 6901) whose tokens name members.
    #[must_use]
    pub fn new(format: RecordFormat, partition_key: &str) -> Self {
        let members = partition_key.strip_prefix('/').map(|path| path.split('/').map(pointer_name).collect());
        Self { format, key: members.map_or(KeySource::Identity, KeySource::Members), topics: None }
    }

    /// For a stream without keys.
    #[must_use]
    pub fn without_key(format: RecordFormat) -> Self {
        Self { format, key: KeySource::None, topics: None }
    }

    /// For a stream with topics.
    #[must_use]
    pub fn in_topics(self, topics: Arc<Topics>) -> Self {
        Self { topics: Some(topics), ..self }
    }

    fn form(&self, record: &Record, keys: &KeyRules, scratch: &mut Vec<u8>) -> Result<FormattedEvent, String> {
        let envelope = record.envelope();
        let topic = self.topics.as_ref().map_or(Ok(0), |topics| topics.of_event(&envelope.event_name))?;
        scratch.clear();
        let mut headers_bytes = 0;
        match self.format {
            RecordFormat::Flat => write_flat(&envelope, record.payload(), scratch),
            RecordFormat::Envelope => write_envelope(&envelope, record.payload(), scratch),
            RecordFormat::Cloudevents => {
                write_headers(&envelope, scratch);
                headers_bytes = scratch.len() as u32;
                scratch.extend_from_slice(record.payload());
            }
        }
        if self.topics.is_none() {
            scratch.push(b'\n');
        }
        let key = match &self.key {
            KeySource::Identity => identity_key(&envelope),
            KeySource::Members(path) => key_at(path, record.payload(), keys).unwrap_or_else(|| identity_key(&envelope)),
            KeySource::None => Box::default(),
        };
        Ok(FormattedEvent { key, data: scratch.as_slice().into(), headers_bytes, topic })
    }
}

fn identity_key(envelope: &Envelope<'_>) -> Box<str> {
    (&*envelope.event_uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())).into()
}

impl StreamFormat {
    /// Whether the key only identifies the event.
    #[must_use]
    pub fn key_is_identity(&self) -> bool {
        !matches!(self, Self::Events(EventFormat { key: KeySource::Members(_), .. }))
    }

    /// The body of the frame `seq` as it is sent; `None` if it is for another of the `sinks` only. `scratch` is a buffer, reused
    /// between calls.
    pub(super) fn form(
        &self,
        seq: u64,
        body: &Bytes,
        sinks: &SinkNames,
        keys: &KeyRules,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<FormattedEvent>, String> {
        match self {
            Self::Events(form) => match Record::decode(body.clone()) {
                Ok(record) if sinks.include(&record) => form.form(&record, keys, scratch).map(Some),
                Ok(_) => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            Self::Lines { is_keyed } => {
                let key = if *is_keyed { format!("{seq}").into() } else { Box::default() };
                Ok(Some(FormattedEvent { key, data: (&body[..]).into(), headers_bytes: 0, topic: 0 }))
            }
        }
    }
}

/// The text at `path`, as a partition key; `None` if it is absent, null or empty.
fn key_at(path: &[String], payload: &[u8], keys: &KeyRules) -> Option<Box<str>> {
    let object = std::str::from_utf8(payload).ok()?.trim_ascii();
    let mut tape = Tape::new();
    Parser::new(object, usize::MAX).value(&mut tape).ok()?;
    let mut node = tape.root(object);
    for name in path {
        node = node.members().find(|(member, _)| member == name)?.1;
    }
    let text = node.string().unwrap_or_else(|| node.raw().into());
    match text.chars().count() {
        0 => None,
        _ if node.raw() == "null" => None,
        chars if chars <= keys.chars_max => Some((&*text).into()),
        _ => {
            let mut hash = String::new();
            let _ = write!(hash, "{:032x}", (keys.place_of)(&text));
            Some(hash.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::KinesisConfig, sink::kinesis};

    fn keys() -> KeyRules {
        kinesis::settings(&KinesisConfig::default(), true).rules.keys
    }

    fn key(pointer: &str, payload: &str) -> Option<String> {
        let KeySource::Members(path) = EventFormat::new(RecordFormat::Flat, pointer).key else { panic!("a pointer") };
        key_at(&path, payload.as_bytes(), &keys()).map(Into::into)
    }

    #[test]
    fn a_key_is_the_text_at_the_pointer_and_otherwise_the_identity() {
        let event = r#"{"session_id":"s-\u00e9","n":7,"deep":{"a/b":{"~":true}},"no":null,"empty":""}"#;
        assert_eq!(key("/session_id", event).unwrap(), "s-é");
        assert_eq!(key("/n", event).unwrap(), "7");
        assert_eq!(key("/deep/a~1b/~0", event).unwrap(), "true");
        for absent in ["/no", "/empty", "/missing", "/session_id/x"] {
            assert_eq!(key(absent, event), None, "{absent}");
        }
        let long = format!(r#"{{"k":"{}"}}"#, "é".repeat(257));
        assert_eq!(key("/k", &long).unwrap(), format!("{:032x}", kinesis::hash_key(&"é".repeat(257))));
        assert_eq!(key("/k", &long.replacen('é', "", 1)).unwrap(), "é".repeat(256));
        assert_eq!(EventFormat::new(RecordFormat::Flat, "event_uuid").key, KeySource::Identity);
    }
}
