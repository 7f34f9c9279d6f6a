//! Reads a dead letter back; the writer is in `letter.rs`.

use std::{borrow::Cow, fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{config::is_key_name, event::millis_of_iso};

/// The parsed line: strings without escapes are borrowed, and the event is decoded only on request.
#[derive(Debug, Deserialize)]
pub struct StoredLetter<'a> {
    /// When the event was received, in the format of [`iso_millis`](crate::event::iso_millis); such texts sort as times do.
    #[serde(borrow)]
    pub received_datetime: Cow<'a, str>,
    /// Name of the key that sent the event.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Identity of the event, if readable.
    #[serde(borrow)]
    pub event_uuid: Option<Cow<'a, str>>,
    /// Name of the event, if readable.
    #[serde(borrow)]
    pub event_name: Option<Cow<'a, str>>,
    /// Why the event was rejected.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// The reason, for a person.
    #[serde(borrow)]
    pub detail: Cow<'a, str>,
    /// JSON pointer to the first fault.
    #[serde(borrow)]
    pub pointer: Cow<'a, str>,
    /// The schema that rejected the event, as `menu:item:viewed/2`.
    #[serde(borrow, default)]
    pub schema: Option<Cow<'a, str>>,
    /// The sink that refused the event, if there are several.
    #[serde(borrow, default)]
    pub sink: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    raw: Option<&'a RawValue>,
    #[serde(borrow, default)]
    raw_base64: Option<&'a RawValue>,
    /// Bytes of the event, if only its beginning was stored.
    #[serde(default)]
    pub raw_bytes: Option<u64>,
    /// SHA-256 of such an event, in hexadecimal digits.
    #[serde(borrow, default)]
    raw_sha256: Option<Cow<'a, str>>,
}

/// Why a line is not a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableLetter {
    /// Not JSON, or without a required member.
    #[error("{0}")]
    Json(String),
    /// A time or a name in the wrong format.
    #[error("{0} is not what the gateway writes")]
    Member(&'static str),
}

impl<'a> StoredLetter<'a> {
    /// Reads a line, with or without its line end.
    ///
    /// # Errors
    /// [`UnreadableLetter`].
    pub fn parse(line: &'a [u8]) -> Result<Self, UnreadableLetter> {
        let letter: Self = serde_json::from_slice(line).map_err(|error| UnreadableLetter::Json(error.to_string()))?;
        let holds = [letter.raw.is_some(), letter.raw_base64.is_some(), letter.raw_bytes.is_some()];
        if holds.iter().filter(|holds| **holds).count() != 1 {
            return Err(UnreadableLetter::Member("raw"));
        }
        // The source names a folder, and is delivered unescaped.
        if !is_key_name(&letter.source) {
            return Err(UnreadableLetter::Member("source"));
        }
        Ok(letter)
    }

    /// When the event was received, in Unix milliseconds.
    #[must_use]
    pub fn received_millis(&self) -> Option<i64> {
        millis_of_iso(&self.received_datetime)
    }

    /// SHA-256 of the event as its client wrote it. `None` if it is not known any more.
    #[must_use]
    pub fn event_sha256(&self) -> Option<[u8; 32]> {
        if self.raw_bytes.is_none() {
            return Some(Sha256::digest(self.raw()?).into());
        }
        let digits = self.raw_sha256.as_deref()?;
        let (first, second) = digits.split_at_checked(32)?;
        let half = |text: &str| text.parse::<LetterId>().map(<[u8; 16]>::from).ok();
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&half(first)?);
        hash[16..].copy_from_slice(&half(second)?);
        Some(hash)
    }

    /// The version in [`StoredLetter::schema`].
    #[must_use]
    pub fn schema_version(&self) -> Option<u32> {
        self.schema.as_ref()?.rsplit_once('/')?.1.parse().ok()
    }

    /// The event as its client wrote it. `None` if it is damaged, or if only its beginning was stored.
    #[must_use]
    pub fn raw(&self) -> Option<Vec<u8>> {
        if let Some(raw) = self.raw {
            return serde_json::from_str::<String>(raw.get()).ok().map(String::into_bytes);
        }
        let encoded: String = serde_json::from_str(self.raw_base64?.get()).ok()?;
        STANDARD.decode(encoded).ok()
    }
}

/// Name of a letter: the first half of the SHA-256 of its line. The name does not depend on the file, so that journal entries
/// stay valid when files are rewritten. Two letters with the same bytes are one letter, because every repair applies to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LetterId([u8; 16]);

impl LetterId {
    /// The name of the letter on `line`, with or without its line end.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(line.trim_ascii_end())[..16]);
        Self(id)
    }

    /// The name as an identity of the dedup window, for a replay of an event that the sink refused.
    #[must_use]
    pub fn as_identity(self) -> Uuid {
        Uuid::from_bytes(self.0)
    }
}

impl From<[u8; 16]> for LetterId {
    fn from(id: [u8; 16]) -> Self {
        Self(id)
    }
}

impl From<LetterId> for [u8; 16] {
    fn from(id: LetterId) -> Self {
        id.0
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for LetterId {
    type Err = UnreadableLetter;

    fn from_str(text: &str) -> Result<Self, UnreadableLetter> {
        let wrong = UnreadableLetter::Member("letter");
        let mut id = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(wrong);
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong.clone())?;
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        dead_letters::{Letter, write_letter},
        outcome::{Fault, RejectCode, Rejection},
    };

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            raw in prop_oneof![prop::collection::vec(any::<u8>(), 0..80), any::<String>().prop_map(String::into_bytes)],
            uuid in prop::option::of(any::<String>()),
            name in prop::option::of(any::<String>()),
            faults in prop::collection::vec((any::<String>(), any::<String>()), 0..3),
            version in prop::option::of(any::<u32>()),
            received_millis in 0..4_000_000_000_000_i64,
        ) {
            let schema = version.map(|version| format!("a:b/{version}"));
            let faults: Vec<Fault> = faults.into_iter().map(|(detail, pointer)| Fault { detail, pointer }).collect();
            let rejection = Rejection { code: RejectCode::SchemaViolation, faults, schema: schema.clone(), place: None };
            let letter = Letter {
                source: "web-1.x_y", received_millis, event_uuid: uuid.as_deref(), event_name: name.as_deref(),
                rejection: &rejection, raw: &raw,
            };
            let mut line = Vec::new();
            write_letter(&letter, &mut line);
            let read = StoredLetter::parse(&line).unwrap();
            prop_assert_eq!(read.received_millis(), Some(received_millis));
            prop_assert_eq!(&*read.source, "web-1.x_y");
            prop_assert_eq!((read.event_uuid.as_deref(), read.event_name.as_deref()), (uuid.as_deref(), name.as_deref()));
            let first = rejection.faults.first().map_or(("", ""), |fault| (&fault.detail, &fault.pointer));
            prop_assert_eq!((&*read.code, &*read.detail, &*read.pointer), ("schema_violation", first.0, first.1));
            prop_assert_eq!((read.schema.as_deref(), read.schema_version()), (schema.as_deref(), version));
            prop_assert_eq!(read.raw().unwrap(), raw);
            let id = LetterId::of(&line);
            prop_assert_eq!(LetterId::of(line.trim_ascii_end()), id);
            prop_assert_eq!(id.to_string().parse::<LetterId>().unwrap(), id);
        }
    }

    #[test]
    fn what_is_no_letter_is_said_to_be_none() {
        let line = |text: &str| StoredLetter::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(line("{}").contains("missing field"));
        assert!(line("nonsense").contains("expected"));
        let with = |source: &str, rest: &str| {
            line(&format!(
                r#"{{"received_datetime":"","source":"{source}","event_uuid":null,"event_name":null,"code":"","detail":"","pointer":""{rest}}}"#
            ))
        };
        assert_eq!(with("web", ""), "raw is not what the gateway writes");
        assert_eq!(with("../web", r#","raw":"""#), "source is not what the gateway writes");
        assert!("0g".repeat(16).parse::<LetterId>().is_err() && "00".parse::<LetterId>().is_err());
    }
}
