//! The record: an event's untouched bytes with the envelope the gateway keeps beside them, and its form on disk.
//!
//! ```text
//! version      u8      1
//! flags        u8      bit 0: schema_version is known; bit 1: the payload has reserved fields of its own;
//!                      bit 2: the dedup store of the fleet was not asked; bit 3: the payload names its schema_version;
//!                      bit 4: the client's address is kept; bit 5: replayed from the dead letters
//! event_uuid   16 B
//! received     i64 LE  Unix milliseconds
//! created      f64 LE  Unix seconds; i64 LE Unix milliseconds
//! schema       u32 LE  schema_version, 0 where unknown
//! name length  u8      then event_name
//! source len.  u8      then source
//! address len. u8      then the client's address; both only with bit 4
//! payload      the rest, byte for byte as the client wrote it
//! ```

use bytes::Bytes;
use uuid::Uuid;

use super::{CreatedAt, EventName};
use crate::limits::{EVENT_NAME_BYTES_MAX, SOURCE_BYTES_MAX};

const VERSION: u8 = 1;
const FLAG_SCHEMA_VERSION: u8 = 1;
const FLAG_RESERVED_FIELDS: u8 = 1 << 1;
const FLAG_DEDUP_UNCHECKED: u8 = 1 << 2;
const FLAG_NAMES_VERSION: u8 = 1 << 3;
const FLAG_CLIENT_ADDRESS: u8 = 1 << 4;
const FLAG_REPLAYED: u8 = 1 << 5;
const FIXED_BYTES: usize = 2 + 16 + 8 + 8 + 8 + 4;

const _: () = assert!(EVENT_NAME_BYTES_MAX <= u8::MAX as usize, "its length is one byte");
const _: () = assert!(SOURCE_BYTES_MAX <= u8::MAX as usize, "its length is one byte");

/// What the gateway knows of an event: read from it, or added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Envelope<'a> {
    /// The event's identity.
    pub event_uuid: Uuid,
    /// Its name, which is also its place in the schema registry.
    pub event_name: EventName<'a>,
    /// Version of the schema that judged it; `None` where unknown names are accepted and this one is unknown.
    pub schema_version: Option<u32>,
    /// When it was created, by its own account.
    pub created_at: CreatedAt,
    /// When the gateway received it, Unix milliseconds.
    pub received_millis: i64,
    /// Name of the key that sent it.
    pub source: &'a str,
    /// Where it comes from, as far as that is kept: an IP address.
    pub client_address: Option<&'a str>,
    /// Whether the payload has members with reserved names, which the added fields replace.
    pub has_reserved_fields: bool,
    /// Whether the payload names its `schema_version`, so that none is to be added.
    pub names_its_version: bool,
    /// Whether it was accepted without asking the dedup store of the fleet, so that another gateway may have it too.
    pub dedup_unchecked: bool,
    /// Whether it comes from the dead letters: it was received long before it was spooled, and has not waited since then.
    pub replayed: bool,
}

impl Envelope<'_> {
    /// Appends the record's form on disk to `buffer`.
    pub fn encode(&self, payload: &[u8], buffer: &mut Vec<u8>) {
        let name = self.event_name.as_str().as_bytes();
        let source = self.source.as_bytes();
        debug_assert!(source.len() <= SOURCE_BYTES_MAX);
        let address = self.client_address.map(str::as_bytes);
        buffer.reserve(FIXED_BYTES + 3 + name.len() + source.len() + address.map_or(0, <[u8]>::len) + payload.len());
        let mut flags = 0;
        if self.schema_version.is_some() {
            flags |= FLAG_SCHEMA_VERSION;
        }
        if self.has_reserved_fields {
            flags |= FLAG_RESERVED_FIELDS;
        }
        if self.names_its_version {
            flags |= FLAG_NAMES_VERSION;
        }
        if self.dedup_unchecked {
            flags |= FLAG_DEDUP_UNCHECKED;
        }
        if address.is_some() {
            flags |= FLAG_CLIENT_ADDRESS;
        }
        if self.replayed {
            flags |= FLAG_REPLAYED;
        }
        buffer.extend_from_slice(&[VERSION, flags]);
        buffer.extend_from_slice(self.event_uuid.as_bytes());
        buffer.extend_from_slice(&self.received_millis.to_le_bytes());
        buffer.extend_from_slice(&self.created_at.seconds.to_le_bytes());
        buffer.extend_from_slice(&self.created_at.millis.to_le_bytes());
        buffer.extend_from_slice(&self.schema_version.unwrap_or(0).to_le_bytes());
        buffer.push(name.len() as u8);
        buffer.extend_from_slice(name);
        buffer.push(source.len() as u8);
        buffer.extend_from_slice(source);
        if let Some(address) = address {
            debug_assert!(address.len() <= usize::from(u8::MAX));
            buffer.push(address.len() as u8);
            buffer.extend_from_slice(address);
        }
        buffer.extend_from_slice(payload);
    }
}

/// A record read back: shared bytes, nothing copied.
#[derive(Clone, Debug)]
pub struct Record {
    bytes: Bytes,
    name_end: usize,
    source_end: usize,
    payload_start: usize,
}

/// Why bytes are no record. The spool's checksum has passed by then, so this means another version wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of version {VERSION}: {0}")]
pub struct RecordError(&'static str);

impl Record {
    /// Takes the form on disk.
    ///
    /// # Errors
    /// [`RecordError`] where the bytes are no record of this version.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.first() != Some(&VERSION) {
            return Err(RecordError("its first byte differs"));
        }
        let short = RecordError("it is too short");
        let name_length = usize::from(*bytes.get(FIXED_BYTES).ok_or(short.clone())?);
        let name_end = FIXED_BYTES + 1 + name_length;
        let source_length = usize::from(*bytes.get(name_end).ok_or(short.clone())?);
        let source_end = name_end + 1 + source_length;
        let mut payload_start = source_end;
        if bytes[1] & FLAG_CLIENT_ADDRESS != 0 {
            payload_start += 1 + usize::from(*bytes.get(source_end).ok_or(short.clone())?);
        }
        if bytes.len() < payload_start {
            return Err(short);
        }
        let text_is_utf8 = std::str::from_utf8(&bytes[FIXED_BYTES + 1..name_end])
            .is_ok_and(|name| EventName::parse(name).is_ok())
            && std::str::from_utf8(&bytes[name_end + 1..source_end]).is_ok()
            && std::str::from_utf8(&bytes[source_end..payload_start]).is_ok();
        if !text_is_utf8 {
            return Err(RecordError("its event name, source or address is malformed"));
        }
        Ok(Self { bytes, name_end, source_end, payload_start })
    }

    /// Sets [`Envelope::dedup_unchecked`] in an encoded record: that is known only after it was encoded.
    pub fn set_dedup_unchecked(encoded: &mut [u8]) {
        if let Some(flags) = encoded.get_mut(1) {
            *flags |= FLAG_DEDUP_UNCHECKED;
        }
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> Envelope<'_> {
        let fixed = |at: usize| -> [u8; 8] { self.bytes[at..at + 8].try_into().unwrap_or_default() };
        let flags = self.bytes[1];
        let schema_version = u32::from_le_bytes(self.bytes[42..46].try_into().unwrap_or_default());
        Envelope {
            event_uuid: self.event_uuid(),
            event_name: EventName::of_record(self.text(FIXED_BYTES + 1, self.name_end)),
            schema_version: (flags & FLAG_SCHEMA_VERSION != 0).then_some(schema_version),
            created_at: CreatedAt { seconds: f64::from_le_bytes(fixed(26)), millis: i64::from_le_bytes(fixed(34)) },
            received_millis: i64::from_le_bytes(fixed(18)),
            source: self.text(self.name_end + 1, self.source_end),
            client_address: (flags & FLAG_CLIENT_ADDRESS != 0).then(|| self.text(self.source_end + 1, self.payload_start)),
            has_reserved_fields: flags & FLAG_RESERVED_FIELDS != 0,
            names_its_version: flags & FLAG_NAMES_VERSION != 0,
            dedup_unchecked: flags & FLAG_DEDUP_UNCHECKED != 0,
            replayed: flags & FLAG_REPLAYED != 0,
        }
    }

    /// The event's identity.
    #[must_use]
    pub fn event_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.bytes[2..18].try_into().unwrap_or_default())
    }

    /// Whether the client's address is kept: [`Envelope::client_address`].
    #[must_use]
    pub fn has_client_address(&self) -> bool {
        self.bytes[1] & FLAG_CLIENT_ADDRESS != 0
    }

    /// The event's own JSON object, byte for byte as the client wrote it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_start..]
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, start: usize, end: usize) -> &str {
        std::str::from_utf8(&self.bytes[start..end]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope<'static> {
        Envelope {
            event_uuid: Uuid::from_u128(0x0190_b0a1_7c3e_7d52_a1b2_c3d4_e5f6_0718),
            event_name: EventName::parse("menu:item:viewed").unwrap(),
            schema_version: Some(2),
            created_at: CreatedAt::parse("1763683200.5").unwrap(),
            received_millis: 1_763_683_201_000,
            source: "web",
            client_address: Some("2001:db8::"),
            has_reserved_fields: true,
            names_its_version: true,
            dedup_unchecked: false,
            replayed: false,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        for (schema_version, client_address) in [(Some(2), Some("2001:db8::")), (None, None), (None, Some(""))] {
            let written = Envelope { schema_version, client_address, replayed: schema_version.is_none(), ..envelope() };
            let mut buffer = Vec::new();
            written.encode(b"{\"x\": 1.10}", &mut buffer);
            let record = Record::decode(buffer.into()).unwrap();
            assert_eq!(record.envelope(), written);
            assert_eq!(record.has_client_address(), client_address.is_some());
            assert_eq!(record.payload(), b"{\"x\": 1.10}");
        }
    }

    #[test]
    fn a_record_is_tagged_after_it_was_encoded() {
        let mut buffer = Vec::new();
        envelope().encode(b"{}", &mut buffer);
        Record::set_dedup_unchecked(&mut buffer);
        let tagged = Envelope { dedup_unchecked: true, ..envelope() };
        assert_eq!(Record::decode(buffer.clone().into()).unwrap().envelope(), tagged);
        let mut encoded = Vec::new();
        tagged.encode(b"{}", &mut encoded);
        assert_eq!(buffer, encoded);
    }

    #[test]
    fn no_prefix_of_the_header_is_taken_for_a_record() {
        let mut buffer = Vec::new();
        envelope().encode(b"", &mut buffer);
        for length in 0..buffer.len() {
            assert!(Record::decode(Bytes::copy_from_slice(&buffer[..length])).is_err(), "{length}");
        }
        buffer[0] = 9;
        assert!(Record::decode(buffer.into()).is_err());
    }
}
