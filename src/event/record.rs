//! The record: the unchanged bytes of an event with the envelope that the gateway stores beside them, and its form on disk.
//!
//! ```text
//! version      u8      1; 2 if more flags follow; 3 if more flags and a sink follow
//! flags        u8      bit 0: schema_version is known; bit 1: the payload has its own reserved fields;
//!                      bit 2: the dedup store of the fleet was not asked; bit 3: the payload names its schema_version;
//!                      bit 4: the client's address is kept; bit 5: replayed from the dead letters;
//!                      bit 6: its identity is scoped by its source (scope.rs); bit 7: replayed after it was accepted
//!                      before; has the name of its dead letter
//! event_uuid   16 B
//! received     i64 LE  Unix milliseconds
//! created      f64 LE  Unix seconds; i64 LE Unix milliseconds
//! schema       u32 LE  schema_version, 0 if unknown
//! name length  u8      then event_name
//! source len.  u8      then source
//! address len. u8      then the client's address; both only with bit 4
//! letter       16 B    name of the dead letter that it was replayed from; only with bit 7
//! more flags   u8      only from version 2 on; bit 0: late, by the limits of its key when it was validated
//! sink length  u8      then the name of the only sink that it is for; both only in version 3
//! payload      the rest, byte for byte as the client wrote it
//! ```
//!
//! Versions 2 and 3 are written only if they are needed. A gateway that does not know such a record, of 2026-11 or older, moves
//! the record to the dead letters.

use bytes::Bytes;
use uuid::Uuid;

use super::{CreatedAt, CreatedDays, Date, EventName, ScopeSecret};
use crate::limits::{EVENT_NAME_BYTES_MAX, SINK_NAME_CHARS_MAX, SOURCE_BYTES_MAX};

const VERSION: u8 = 1;
const VERSION_MORE_FLAGS: u8 = 2;
const VERSION_ONE_SINK: u8 = 3;
const MORE_FLAG_LATE: u8 = 1;
const FLAG_SCHEMA_VERSION: u8 = 1;
const FLAG_RESERVED_FIELDS: u8 = 1 << 1;
const FLAG_DEDUP_UNCHECKED: u8 = 1 << 2;
const FLAG_NAMES_VERSION: u8 = 1 << 3;
const FLAG_CLIENT_ADDRESS: u8 = 1 << 4;
const FLAG_REPLAYED: u8 = 1 << 5;
const FLAG_SCOPED: u8 = 1 << 6;
const FLAG_REPLAY_OF: u8 = 1 << 7;
const FIXED_BYTES: usize = 2 + 16 + 8 + 8 + 8 + 4;

const _: () = assert!(EVENT_NAME_BYTES_MAX <= u8::MAX as usize, "its length is one byte");
const _: () = assert!(SOURCE_BYTES_MAX <= u8::MAX as usize, "its length is one byte");

/// What the gateway knows of an event: read from the event, or added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Envelope<'a> {
    /// The client's UUID: the identity of the event within its scope.
    pub event_uuid: Uuid,
    /// The name, which is also the location in the schema registry.
    pub event_name: EventName<'a>,
    /// The version of the schema that validated the event; `None` if the name is unknown and unknown names are accepted.
    pub schema_version: Option<u32>,
    /// When the client says that the event was created.
    pub created_at: CreatedAt,
    /// When the gateway received it, Unix milliseconds.
    pub received_millis: i64,
    /// The name of the key that sent the event.
    pub source: &'a str,
    /// The IP address of the client, in the form that is kept.
    pub client_address: Option<&'a str>,
    /// Whether the payload has members with reserved names, which the added fields replace.
    pub has_reserved_fields: bool,
    /// Whether the payload has a `schema_version`, so that none is added.
    pub names_its_version: bool,
    /// Whether the event was accepted without asking the dedup store of the fleet, so that another gateway may have it too.
    pub dedup_unchecked: bool,
    /// Whether the event was replayed from the dead letters: received long before it was spooled, and not waiting since then.
    pub replayed: bool,
    /// Whether the identity is scoped by `source`, which was a browser key when it sent the event. Stored in the record,
    /// because the configuration may have changed when the identity is needed again.
    pub is_scoped: bool,
    /// Whether `created_at` differs from the receipt by more days than the key allowed at validation, or than
    /// [`CreatedDays::WIDEST`]. Stored in the record, so that the partition of the event does not change with the
    /// configuration.
    pub is_late: bool,
}

impl Envelope<'_> {
    /// The day of its partition: the day of creation or, if the event is late, of receipt. So it is always near the receipt,
    /// and an event is late if it differs from the day of `created_at`.
    #[must_use]
    pub fn created_date(&self) -> Date {
        Date::of_millis(if self.is_late { self.received_millis } else { self.created_at.millis })
    }

    /// Like [`Envelope::encode`], for an event that was accepted before and that a sink refused. The dead letter it is replayed
    /// from, not its own identity, decides whether it is a duplicate. `sink` is the name of that sink if there are several. See
    /// [`Record::replay_of`] and [`Record::only_sink`].
    pub fn encode_replay_of(&self, letter: Uuid, sink: Option<&str>, payload: &[u8], buffer: &mut Vec<u8>) {
        self.write(Some(letter), sink, payload, buffer);
    }

    /// The scope of the identity: [`DEDUP_SCOPE_FIELD`](super::DEDUP_SCOPE_FIELD).
    #[must_use]
    pub fn dedup_scope(&self) -> Option<&str> {
        self.is_scoped.then_some(self.source)
    }

    /// Appends the on-disk form of the record to `buffer`.
    pub fn encode(&self, payload: &[u8], buffer: &mut Vec<u8>) {
        self.write(None, None, payload, buffer);
    }

    fn write(&self, replay_of: Option<Uuid>, only_sink: Option<&str>, payload: &[u8], buffer: &mut Vec<u8>) {
        let name = self.event_name.as_str().as_bytes();
        let source = self.source.as_bytes();
        debug_assert!(source.len() <= SOURCE_BYTES_MAX);
        let address = self.client_address.map(str::as_bytes);
        buffer.reserve(FIXED_BYTES + 4 + name.len() + source.len() + address.map_or(0, <[u8]>::len) + payload.len());
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
        if self.is_scoped {
            flags |= FLAG_SCOPED;
        }
        if replay_of.is_some() {
            flags |= FLAG_REPLAY_OF;
        }
        let version = match only_sink {
            Some(_) => VERSION_ONE_SINK,
            None if self.is_late => VERSION_MORE_FLAGS,
            None => VERSION,
        };
        buffer.extend_from_slice(&[version, flags]);
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
        if let Some(letter) = replay_of {
            buffer.extend_from_slice(letter.as_bytes());
        }
        if version != VERSION {
            buffer.push(if self.is_late { MORE_FLAG_LATE } else { 0 });
        }
        if let Some(sink) = only_sink {
            debug_assert!(sink.len() <= SINK_NAME_CHARS_MAX);
            buffer.push(sink.len() as u8);
            buffer.extend_from_slice(sink.as_bytes());
        }
        buffer.extend_from_slice(payload);
    }
}

/// Some fields of an encoded record, read without checking the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead<'a> {
    /// [`Envelope::received_millis`].
    pub received_millis: i64,
    /// [`Envelope::event_name`].
    pub event_name: &'a str,
    /// [`Envelope::source`].
    pub source: &'a str,
}

/// The probable identity in a damaged record: its beginning looks like a record, but this is no proof.
#[must_use]
pub fn probable_uuid(bytes: &[u8]) -> Option<Uuid> {
    /// The years 2017 to 2128, in which a record can have been received.
    const PLAUSIBLE: std::ops::Range<i64> = 1_500_000_000_000..5_000_000_000_000;
    let received = i64::from_le_bytes(*bytes.get(18..)?.first_chunk()?);
    // The flags are not checked, because all their values are valid.
    let is_plausible = matches!(bytes[0], VERSION..=VERSION_ONE_SINK) && PLAUSIBLE.contains(&received);
    Uuid::from_slice(&bytes[2..18]).ok().filter(|uuid| is_plausible && !uuid.is_nil())
}

/// A decoded record: shared bytes, nothing copied.
#[derive(Clone, Debug)]
pub struct Record {
    bytes: Bytes,
    name_end: usize,
    source_end: usize,
    address_end: usize,
    letter_end: usize,
    payload_start: usize,
}

/// Why bytes are not a record. Their checksum in the spool was correct, so another version wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of version {VERSION} to {VERSION_ONE_SINK}: {0}")]
pub struct RecordError(&'static str);

impl Record {
    /// Decodes the on-disk form.
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are not a record of this version.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let version = match bytes.first() {
            Some(version @ VERSION..=VERSION_ONE_SINK) => *version,
            _ => return Err(RecordError("its first byte differs")),
        };
        let short = RecordError("it is too short");
        let name_length = usize::from(*bytes.get(FIXED_BYTES).ok_or(short.clone())?);
        let name_end = FIXED_BYTES + 1 + name_length;
        let source_length = usize::from(*bytes.get(name_end).ok_or(short.clone())?);
        let source_end = name_end + 1 + source_length;
        let mut address_end = source_end;
        if bytes[1] & FLAG_CLIENT_ADDRESS != 0 {
            address_end += 1 + usize::from(*bytes.get(source_end).ok_or(short.clone())?);
        }
        let letter_bytes = if bytes[1] & FLAG_REPLAY_OF != 0 { size_of::<Uuid>() } else { 0 };
        let letter_end = address_end + letter_bytes;
        let mut payload_start = letter_end + usize::from(version != VERSION);
        if version == VERSION_ONE_SINK {
            payload_start += 1 + usize::from(*bytes.get(payload_start).ok_or(short.clone())?);
        }
        if bytes.len() < payload_start {
            return Err(short);
        }
        let text_is_utf8 = std::str::from_utf8(&bytes[FIXED_BYTES + 1..name_end])
            .is_ok_and(|name| EventName::parse(name).is_ok())
            && std::str::from_utf8(&bytes[name_end + 1..source_end]).is_ok()
            && std::str::from_utf8(&bytes[source_end..address_end]).is_ok()
            && std::str::from_utf8(&bytes[letter_end..payload_start]).is_ok();
        if !text_is_utf8 {
            return Err(RecordError("its event name, source, address or sink is malformed"));
        }
        Ok(Self { bytes, name_end, source_end, address_end, letter_end, payload_start })
    }

    /// Reads some fields of an encoded record; `None` if it is too short, or its texts are no UTF-8.
    #[must_use]
    pub fn head(encoded: &[u8]) -> Option<RecordHead<'_>> {
        let text = |at: usize| {
            let end = at + 1 + usize::from(*encoded.get(at)?);
            Some((std::str::from_utf8(encoded.get(at + 1..end)?).ok()?, end))
        };
        let received_millis = i64::from_le_bytes(*encoded.get(18..)?.first_chunk()?);
        let (event_name, source_at) = text(FIXED_BYTES)?;
        Some(RecordHead { received_millis, event_name, source: text(source_at)?.0 })
    }

    /// Sets [`Envelope::dedup_unchecked`] in an encoded record, because this is known only after encoding.
    pub fn set_dedup_unchecked(encoded: &mut [u8]) {
        if let Some(flags) = encoded.get_mut(1) {
            *flags |= FLAG_DEDUP_UNCHECKED;
        }
    }

    /// The on-disk form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> Envelope<'_> {
        let fixed = |at: usize| -> [u8; 8] { self.bytes[at..at + 8].try_into().unwrap_or_default() };
        let flags = self.bytes[1];
        let more_flags = self.bytes[self.letter_end..self.payload_start].first().copied().unwrap_or(0);
        let schema_version = u32::from_le_bytes(self.bytes[42..46].try_into().unwrap_or_default());
        let (received_millis, created_millis) = (i64::from_le_bytes(fixed(18)), i64::from_le_bytes(fixed(34)));
        Envelope {
            event_uuid: self.event_uuid(),
            event_name: EventName::of_checked(self.text(FIXED_BYTES + 1, self.name_end)),
            schema_version: (flags & FLAG_SCHEMA_VERSION != 0).then_some(schema_version),
            created_at: CreatedAt { seconds: f64::from_le_bytes(fixed(26)), millis: created_millis },
            received_millis,
            source: self.source(),
            client_address: (flags & FLAG_CLIENT_ADDRESS != 0).then(|| self.text(self.source_end + 1, self.address_end)),
            has_reserved_fields: flags & FLAG_RESERVED_FIELDS != 0,
            names_its_version: flags & FLAG_NAMES_VERSION != 0,
            dedup_unchecked: flags & FLAG_DEDUP_UNCHECKED != 0,
            replayed: flags & FLAG_REPLAYED != 0,
            is_scoped: self.is_scoped(),
            // Records of older gateways do not have this flag.
            is_late: more_flags & MORE_FLAG_LATE != 0 || !CreatedDays::WIDEST.around(received_millis).contains(&created_millis),
        }
    }

    /// The client's UUID. Duplicates are detected by [`identity`](Self::identity) instead.
    #[must_use]
    pub fn event_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.bytes[2..18].try_into().unwrap_or_default())
    }

    /// The dead letter that the event was replayed from after the sink had refused it. The dedup window knows the event's own
    /// identity since the first acceptance; the dead letter's name prevents that the replay is stored twice.
    #[must_use]
    pub fn replay_of(&self) -> Option<Uuid> {
        let letter = &self.bytes[self.address_end..self.letter_end];
        letter.try_into().ok().map(Uuid::from_bytes)
    }

    /// The name of the only sink that the event is for, because the other sinks have it already.
    #[must_use]
    pub fn only_sink(&self) -> Option<&str> {
        // The flags and the length come before the name.
        (self.bytes[0] == VERSION_ONE_SINK).then(|| self.text(self.letter_end + 2, self.payload_start))
    }

    /// The identity that detects duplicates: the UUID within its scope.
    #[must_use]
    pub fn identity(&self, secret: &ScopeSecret) -> Uuid {
        secret.identity(self.event_uuid(), self.is_scoped().then(|| self.source()))
    }

    /// Whether the identity is scoped: [`Envelope::is_scoped`].
    #[must_use]
    pub fn is_scoped(&self) -> bool {
        self.bytes[1] & FLAG_SCOPED != 0
    }

    /// The name of the key that sent the event: [`Envelope::source`].
    #[must_use]
    pub fn source(&self) -> &str {
        self.text(self.name_end + 1, self.source_end)
    }

    /// Whether the client's address is kept: [`Envelope::client_address`].
    #[must_use]
    pub fn has_client_address(&self) -> bool {
        self.bytes[1] & FLAG_CLIENT_ADDRESS != 0
    }

    /// The JSON object of the event, byte for byte as the client wrote it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_start..]
    }

    /// The size of the record in bytes.
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
            is_scoped: false,
            is_late: false,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        for (schema_version, client_address) in [(Some(2), Some("2001:db8::")), (None, None), (None, Some(""))] {
            for is_late in [false, true] {
                let replayed = schema_version.is_none();
                let written = Envelope { schema_version, client_address, replayed, is_late, ..envelope() };
                let mut buffer = Vec::new();
                written.encode(b"{\"x\": 1.10}", &mut buffer);
                let record = Record::decode(buffer.into()).unwrap();
                assert_eq!(record.envelope(), written);
                assert_eq!(record.has_client_address(), client_address.is_some());
                assert_eq!(record.payload(), b"{\"x\": 1.10}");
            }
        }
    }

    #[test]
    fn a_late_event_has_the_day_of_its_receipt_whether_the_record_says_so_or_the_widest_bounds_do() {
        const DAY: i64 = 86_400_000;
        let received_millis = envelope().received_millis;
        for (days, is_marked, expected) in
            [(-7, false, -7), (-7, true, 0), (1, false, 1), (1, true, 0), (-366, false, -366), (-367, false, 0), (3, false, 0)]
        {
            let millis = received_millis + days * DAY;
            let created_at = CreatedAt { seconds: millis as f64 / 1e3, millis };
            let mut buffer = Vec::new();
            Envelope { created_at, is_late: is_marked, ..envelope() }.encode(b"{}", &mut buffer);
            assert_eq!(buffer[0], if is_marked { 2 } else { 1 }, "older gateways read what they can");
            let record = Record::decode(buffer.into()).unwrap();
            let date = Date::of_millis(received_millis + expected * DAY);
            assert_eq!((record.envelope().created_date(), record.envelope().is_late), (date, expected != days), "{days}");
        }
    }

    #[test]
    fn a_replay_of_what_the_sink_refused_names_its_letter_and_changes_nothing_else() {
        let letter = Uuid::from_u128(9);
        for (client_address, is_late) in [(None, false), (None, true), (Some("2001:db8::"), true)] {
            let written = Envelope { client_address, replayed: true, is_late, ..envelope() };
            let (mut plain, mut replay) = (Vec::new(), Vec::new());
            written.encode(b"{}", &mut plain);
            written.encode_replay_of(letter, None, b"{}", &mut replay);
            for cut in 0..replay.len() - 2 {
                assert!(Record::decode(Bytes::copy_from_slice(&replay[..cut])).is_err(), "{cut}");
            }
            let (plain, replay) = (Record::decode(plain.into()).unwrap(), Record::decode(replay.into()).unwrap());
            assert_eq!((plain.replay_of(), replay.replay_of()), (None, Some(letter)));
            let mut of_one = Vec::new();
            written.encode_replay_of(letter, Some("lake-2"), b"{}", &mut of_one);
            let of_one = Record::decode(of_one.into()).unwrap();
            assert_eq!((replay.only_sink(), of_one.only_sink()), (None, Some("lake-2")));
            assert_eq!(
                (of_one.envelope(), of_one.payload(), of_one.replay_of()),
                (replay.envelope(), replay.payload(), Some(letter))
            );
            assert_eq!((replay.envelope(), replay.payload()), (written, &b"{}"[..]));
        }
    }

    #[test]
    fn the_record_alone_says_in_which_scope_its_identity_holds() {
        let secret = ScopeSecret::random();
        for is_scoped in [false, true] {
            let mut buffer = Vec::new();
            Envelope { is_scoped, ..envelope() }.encode(b"{}", &mut buffer);
            let record = Record::decode(buffer.into()).unwrap();
            assert_eq!((record.is_scoped(), record.envelope().is_scoped), (is_scoped, is_scoped));
            assert_eq!(record.envelope().dedup_scope(), is_scoped.then_some("web"));
            assert_eq!(record.identity(&secret), secret.identity(envelope().event_uuid, is_scoped.then_some("web")));
        }
    }

    #[test]
    fn the_head_of_a_record_is_that_of_its_envelope() {
        let mut buffer = Vec::new();
        envelope().encode(b"{}", &mut buffer);
        let head = Record::head(&buffer).unwrap();
        let whole = envelope();
        assert_eq!(
            (head.received_millis, head.event_name, head.source),
            (whole.received_millis, whole.event_name.as_str(), whole.source)
        );
        assert!((0..50).all(|length| Record::head(&buffer[..length]).is_none()));
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
        for is_late in [false, true] {
            let mut buffer = Vec::new();
            Envelope { is_late, ..envelope() }.encode(b"", &mut buffer);
            for length in 0..buffer.len() {
                assert!(Record::decode(Bytes::copy_from_slice(&buffer[..length])).is_err(), "{length}");
            }
            assert_eq!(probable_uuid(&buffer), Some(envelope().event_uuid));
            for version in [0, 3, 9] {
                buffer[0] = version;
                assert!(Record::decode(buffer.clone().into()).is_err());
            }
        }
    }
}
