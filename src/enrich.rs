//! The derived fields, and the forms in which an event leaves the gateway as JSON.
//!
//! *Flat*: the client's own object with the added fields. *Envelope*: the lake's columns, with the client's object as a string.
//!
//! In the flat form the client's bytes are spliced, never re-serialised (promise P6). Only two things change. A member with a
//! reserved name is removed, because the gateway's value replaces it. A line break between tokens becomes a space, so that an
//! event is always one line (a JSON string cannot contain a raw line break).

use serde::Serialize;
use uuid::Uuid;

use crate::{
    event::{CLIENT_ADDRESS_FIELD, CREATED_DATE_FIELD, DEDUP_FIELD, Envelope, RESERVED_FIELDS, iso_millis},
    json::{Parser, Tape},
};

/// Value of [`DEDUP_FIELD`].
const UNCHECKED: &str = "unchecked";

/// Appends the flat form of an event to `out`: one line of JSON, without a line end.
///
/// `payload` is an accepted event, so it is a non-empty object.
pub fn write_flat(envelope: &Envelope<'_>, payload: &[u8], out: &mut Vec<u8>) {
    let names_its_version = write_own_members(payload.trim_ascii(), envelope, out);
    write_added_fields(envelope, names_its_version, out);
}

/// Writes `{` and the client's members. Returns whether `schema_version` is among them.
fn write_own_members(object: &[u8], envelope: &Envelope<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'{');
    let has_optional_fields = envelope.dedup_unchecked || envelope.client_address.is_some() || envelope.is_late;
    let names_its_version = if envelope.has_reserved_fields || has_optional_fields {
        write_kept_members(std::str::from_utf8(object).unwrap_or_default(), envelope, out)
    } else {
        let own = &object[1..object.len() - 1];
        out.extend_from_slice(own.trim_ascii_end());
        envelope.names_its_version
    };
    let mut from = start;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[from..]) {
        out[from + at] = b' ';
        from += at + 1;
    }
    names_its_version
}

/// Writes the members whose names are not reserved. Returns whether `schema_version` is among them.
fn write_kept_members(object: &str, envelope: &Envelope<'_>, out: &mut Vec<u8>) -> bool {
    let mut tape = Tape::new();
    if Parser::new(object, usize::MAX).value(&mut tape).is_err() {
        debug_assert!(false, "an accepted event is JSON");
        return false;
    }
    let is_replaced = |name: &str| {
        RESERVED_FIELDS.contains(&name) && envelope.has_reserved_fields
            || name == DEDUP_FIELD && envelope.dedup_unchecked
            || name == CLIENT_ADDRESS_FIELD && envelope.client_address.is_some()
            || name == CREATED_DATE_FIELD && envelope.is_late
    };
    let mut names_its_version = false;
    for (index, (name, raw)) in tape.root(object).members().with_raw().filter(|(name, _)| !is_replaced(name)).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(raw.as_bytes());
        names_its_version |= name == "schema_version";
    }
    names_its_version
}

fn write_added_fields(envelope: &Envelope<'_>, names_its_version: bool, out: &mut Vec<u8>) {
    // Names, types and times need no JSON escapes: see `EventName` and the checks on key names.
    let mut add = |name: &str, value: &[u8], end: &str| {
        for part in [name.as_bytes(), value, end.as_bytes()] {
            out.extend_from_slice(part);
        }
    };
    let (event_type, event_subtype) = envelope.event_name.type_and_subtype();
    add(",\"created_datetime\":\"", iso_millis(envelope.created_at.millis).as_bytes(), "\"");
    add(",\"event_type\":\"", event_type.as_bytes(), "\"");
    match event_subtype {
        Some(subtype) => add(",\"event_subtype\":\"", subtype.as_bytes(), "\""),
        None => add(",\"event_subtype\":", b"null", ""),
    }
    add(",\"received_datetime\":\"", iso_millis(envelope.received_millis).as_bytes(), "\"");
    add(",\"source\":\"", envelope.source.as_bytes(), "\"");
    if let (Some(version), false) = (envelope.schema_version, names_its_version) {
        match char::from_digit(version, 10) {
            // Most versions have one digit.
            Some(digit) => add(",\"schema_version\":", digit.encode_utf8(&mut [0; 1]).as_bytes(), ""),
            None => add(",\"schema_version\":", version.to_string().as_bytes(), ""),
        }
    }
    if let Some(address) = envelope.client_address {
        add(",\"client_address\":\"", address.as_bytes(), "\"");
    }
    if let Some(scope) = envelope.dedup_scope() {
        add(",\"dedup_scope\":\"", scope.as_bytes(), "\"");
    }
    if envelope.is_late {
        add(",\"created_date\":\"", envelope.created_date().to_string().as_bytes(), "\"");
    }
    if envelope.dedup_unchecked {
        add(",\"dedup\":\"", UNCHECKED.as_bytes(), "\"");
    }
    out.push(b'}');
}

/// Appends the envelope form of an event to `out`: one line of JSON with the lake's columns, without a line end.
/// The column `payload` is the event's own object as a string, character for character.
pub fn write_envelope(envelope: &Envelope<'_>, payload: &[u8], out: &mut Vec<u8>) {
    let (created, received) = (iso_millis(envelope.created_at.millis), iso_millis(envelope.received_millis));
    let columns = EnvelopeColumns {
        event_uuid: envelope.event_uuid,
        event_name: envelope.event_name.as_str(),
        event_type: envelope.event_name.event_type(),
        event_subtype: envelope.event_name.event_subtype(),
        source: envelope.source,
        schema_version: envelope.schema_version,
        created_at: envelope.created_at.seconds,
        created_datetime: created.as_str(),
        created_date: envelope.created_date().to_string(),
        received_datetime: received.as_str(),
        payload: std::str::from_utf8(payload).unwrap_or_default(),
        client_address: envelope.client_address,
        dedup_scope: envelope.dedup_scope(),
        dedup: envelope.dedup_unchecked.then_some(UNCHECKED),
    };
    // Cannot fail: only strings and numbers are written, into memory.
    let written = serde_json::to_writer(out, &columns);
    debug_assert!(written.is_ok());
}

/// The columns of `sink/lake.rs`, and its two partition columns.
#[derive(Serialize)]
struct EnvelopeColumns<'a> {
    event_uuid: Uuid,
    event_name: &'a str,
    event_type: &'a str,
    event_subtype: Option<&'a str>,
    source: &'a str,
    schema_version: Option<u32>,
    created_at: f64,
    created_datetime: &'a str,
    created_date: String,
    received_datetime: &'a str,
    payload: &'a str,
    /// Optional fields, not columns: present only if they have a value. A reader that does not know them ignores them.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::event::{CreatedAt, EventName};

    fn envelope() -> Envelope<'static> {
        Envelope {
            event_uuid: Uuid::from_u128(7),
            event_name: EventName::parse("menu:item:viewed").unwrap(),
            schema_version: None,
            created_at: CreatedAt::parse("1763683200.123").unwrap(),
            received_millis: 1_763_683_201_000,
            source: "web",
            client_address: None,
            has_reserved_fields: false,
            names_its_version: false,
            dedup_unchecked: false,
            replayed: false,
            is_scoped: false,
            is_late: false,
        }
    }

    fn flat(payload: &str, has_reserved_fields: bool, schema_version: Option<u32>) -> String {
        tagged_flat(payload, has_reserved_fields, schema_version, false)
    }

    fn tagged_flat(payload: &str, has_reserved_fields: bool, schema_version: Option<u32>, dedup_unchecked: bool) -> String {
        let names_its_version = payload.contains("schema_version");
        let envelope = Envelope { schema_version, has_reserved_fields, names_its_version, dedup_unchecked, ..envelope() };
        let mut out = Vec::new();
        write_flat(&envelope, payload.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    const ADDED: &str = concat!(
        r#","created_datetime":"2025-11-21T00:00:00.123Z","event_type":"menu","event_subtype":"item","#,
        r#""received_datetime":"2025-11-21T00:00:01.000Z","source":"web""#
    );

    #[test]
    fn what_the_client_wrote_comes_first_and_untouched() {
        let own = r#"{ "n":1.10, "big":123456789012345678901234567890,"e":1e400 ,"s":"\u00e9\/\"" "#;
        assert_eq!(flat(&format!("{own}}}"), false, Some(2)), format!("{}{ADDED},\"schema_version\":2}}", own.trim_end()));
    }

    #[test]
    fn a_version_the_client_named_is_not_added_again() {
        assert_eq!(flat(r#"{"schema_version":1}"#, false, Some(1)), format!(r#"{{"schema_version":1{ADDED}}}"#));
        assert_eq!(flat(r#"{"a":1}"#, false, None), format!(r#"{{"a":1{ADDED}}}"#));
    }

    #[test]
    fn reserved_names_are_replaced_in_any_spelling() {
        let payload = "{\"source\":{\"x\":[1,2]},\n \"a\" : 1.0,\r\n\"s\\u006furce\":1,\"event_type\":\"lie\",\"b\":2}";
        assert_eq!(flat(payload, true, None), format!("{{\"a\" : 1.0,\"b\":2{ADDED}}}"));
    }

    #[test]
    fn a_kept_address_replaces_what_a_client_says_it_is() {
        let envelope = Envelope { client_address: Some("203.0.113.0"), ..envelope() };
        let mut line = Vec::new();
        write_flat(&envelope, br#"{"client_address":"10.0.0.1","a":1}"#, &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), format!(r#"{{"a":1{ADDED},"client_address":"203.0.113.0"}}"#));
        let mut line = Vec::new();
        write_envelope(&envelope, b"{}", &mut line);
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["client_address"], "203.0.113.0");
    }

    #[test]
    fn a_late_event_says_its_date_in_both_forms_and_only_there_the_name_is_reserved() {
        let own = r#"{"created_date":"mine","a":1}"#;
        assert_eq!(flat(own, false, None), format!(r#"{{"created_date":"mine","a":1{ADDED}}}"#));
        let late = Envelope { received_millis: 1_763_683_201_000 + 7 * 86_400_000, is_late: true, ..envelope() };
        let added = ADDED.replace("2025-11-21T00:00:01", "2025-11-28T00:00:01");
        let mut line = Vec::new();
        write_flat(&late, own.as_bytes(), &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), format!(r#"{{"a":1{added},"created_date":"2025-11-28"}}"#));
        let mut line = Vec::new();
        write_envelope(&late, own.as_bytes(), &mut line);
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&line["created_date"], &line["payload"]), (&"2025-11-28".into(), &own.into()));
    }

    #[test]
    fn the_scope_of_an_identity_is_the_gateways_word() {
        let scoped = Envelope { is_scoped: true, has_reserved_fields: true, ..envelope() };
        let mut line = Vec::new();
        write_flat(&scoped, br#"{"dedup_scope":"app","a":1}"#, &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), format!(r#"{{"a":1{ADDED},"dedup_scope":"web"}}"#));
        assert_eq!(flat(r#"{"dedup_scope":"app","a":1}"#, true, None), format!(r#"{{"a":1{ADDED}}}"#));
        for (is_scoped, expected) in [(true, Value::from("web")), (false, Value::Null)] {
            let mut line = Vec::new();
            write_envelope(&Envelope { is_scoped, ..envelope() }, b"{}", &mut line);
            assert_eq!(serde_json::from_slice::<Value>(&line).unwrap()["dedup_scope"], expected);
        }
    }

    #[test]
    fn an_unchecked_event_is_tagged_and_only_there_the_name_is_reserved() {
        let tag = r#","dedup":"unchecked""#;
        let own = r#"{"dedup":"mine","a":1}"#;
        assert_eq!(flat(own, false, None), format!(r#"{{"dedup":"mine","a":1{ADDED}}}"#));
        assert_eq!(tagged_flat(r#"{"a":1}"#, false, None, true), format!(r#"{{"a":1{ADDED}{tag}}}"#));
        assert_eq!(tagged_flat(own, false, None, true), format!(r#"{{"a":1{ADDED}{tag}}}"#));
        assert_eq!(tagged_flat(r#"{"source":1,"d\u0065dup":2,"a":1}"#, true, None, true), format!(r#"{{"a":1{ADDED}{tag}}}"#));
    }

    #[test]
    fn the_envelope_holds_the_columns_and_the_event_as_it_was_written() {
        let envelope = Envelope { event_name: EventName::parse("heartbeat").unwrap(), ..envelope() };
        let payload = "{\"a\" : 1.10,\n\"s\":\"\\u00e9 \u{1F35C}\"}";
        let mut out = Vec::new();
        write_envelope(&envelope, payload.as_bytes(), &mut out);
        assert!(!out.contains(&b'\n'));
        let line: Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!({
            "event_uuid": "00000000-0000-0000-0000-000000000007", "event_name": "heartbeat", "event_type": "heartbeat",
            "event_subtype": null, "source": "web", "schema_version": null, "created_at": 1_763_683_200.123,
            "created_datetime": "2025-11-21T00:00:00.123Z", "created_date": "2025-11-21",
            "received_datetime": "2025-11-21T00:00:01.000Z", "payload": payload,
        });
        assert_eq!(line, expected);
        let mut tagged = Vec::new();
        write_envelope(&Envelope { dedup_unchecked: true, ..envelope }, payload.as_bytes(), &mut tagged);
        let line: Value = serde_json::from_slice(&tagged).unwrap();
        assert_eq!(line[DEDUP_FIELD], UNCHECKED);
    }

    proptest! {
        #[test]
        fn the_flat_form_is_one_line_of_json_that_keeps_every_member(
            members in prop::collection::btree_map("[a-z\"\\\\é]{1,8}|event_type|source|schema_version", any::<i64>(), 1..8),
            pretty in any::<bool>(),
        ) {
            // Every accepted event has at least its identity beside members with reserved names.
            let own = members.into_iter().chain([("event_uuid".to_owned(), 7)]);
            let own = Value::Object(own.map(|(name, value)| (name, value.into())).collect());
            let payload = if pretty { serde_json::to_string_pretty(&own) } else { serde_json::to_string(&own) }.unwrap();
            let reserved = RESERVED_FIELDS.iter().any(|name| own.get(name).is_some());
            let line = flat(&payload, reserved, Some(3));
            prop_assert!(!line.contains(['\n', '\r']));
            let read: Value = serde_json::from_str(&line).unwrap();
            for (name, value) in own.as_object().unwrap() {
                if !RESERVED_FIELDS.contains(&name.as_str()) {
                    prop_assert_eq!(&read[name], value);
                }
            }
            prop_assert_eq!(&read["event_type"], "menu");
            prop_assert_eq!(&read["source"], "web");
            let names: Vec<_> = line.match_indices("\"source\":").collect();
            prop_assert_eq!(names.len(), 1);
        }
    }
}
