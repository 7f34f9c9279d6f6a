//! The two forms of an event in a stream, held against the bytes that its client sent. None of the gateway's code is used.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, value::RawValue};

/// Names that the gateway sets, whatever the client sent by them.
const RESERVED: [&str; 5] = ["created_datetime", "event_type", "event_subtype", "received_datetime", "source"];

/// The columns of an envelope, in order.
const ENVELOPE: [&str; 11] = [
    "event_uuid",
    "event_name",
    "event_type",
    "event_subtype",
    "source",
    "schema_version",
    "created_at",
    "created_datetime",
    "created_date",
    "received_datetime",
    "payload",
];

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    Flat,
    Envelope,
}

impl LineForm {
    /// As `kinesis.format` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Envelope => "envelope",
        }
    }

    /// Panics unless `line` is `payload` in this form, its bytes untouched.
    pub fn assert_holds(self, line: &[u8], payload: &[u8]) {
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "one line: {}", text(line));
        match self {
            Self::Flat => assert_flat(line, payload),
            Self::Envelope => assert_envelope(line, payload),
        }
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)])
}

/// Members by name, each value as it is spelt.
fn members(object: &[u8]) -> BTreeMap<String, &str> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(object).unwrap_or_else(|error| panic!("{error}: {}", text(object)));
    members.into_iter().map(|(name, value)| (name, value.get())).collect()
}

fn assert_flat(line: &[u8], payload: &[u8]) {
    let mut own = members(payload);
    let mut found = members(line);
    // A late event has the day of its receipt: its members are written one by one, as where one of them is replaced.
    let late = found.remove("created_date");
    if let Some(date) = late {
        assert_eq!(date.trim_matches('"'), &found["received_datetime"][1..11], "{}", text(line));
    }
    if late.is_some() || RESERVED.iter().any(|name| own.contains_key(*name)) {
        assert_eq!(found["source"], "\"dev\"", "{}", text(line));
        for name in RESERVED {
            assert!(found.remove(name).is_some(), "{name} is added: {}", text(line));
            own.remove(name);
        }
        if !own.contains_key("schema_version") {
            found.remove("schema_version");
        }
        assert_eq!(found, own, "every other member as it was spelt");
        return;
    }
    let object = payload.trim_ascii();
    let own = object[..object.len() - 1].trim_ascii_end();
    let own: Vec<u8> = own.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    let added = line.strip_prefix(&*own).and_then(|rest| rest.strip_prefix(b","));
    let added = added.unwrap_or_else(|| panic!("sent as\n{}\nand is\n{}", text(payload), text(line)));
    let added: Value = serde_json::from_slice(&[b"{", added].concat()).unwrap_or_else(|error| panic!("{error}: {}", text(line)));
    let mut names: Vec<_> = added.as_object().expect("an object").keys().map(String::as_str).collect();
    names.retain(|name| *name != "schema_version");
    assert_eq!(names, RESERVED, "{}", text(line));
    assert_eq!(added["source"], "dev");
}

fn assert_envelope(line: &[u8], payload: &[u8]) {
    let row: Value = serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", text(line)));
    let names: Vec<_> = row.as_object().expect("an object").keys().collect();
    assert_eq!(names, ENVELOPE, "{}", text(line));
    let found = row["payload"].as_str().expect("text");
    assert!(found.as_bytes() == payload, "sent as\n{}\nand is\n{}", text(payload), text(found.as_bytes()));
    let own = members(payload);
    assert_eq!(row["event_name"].to_string(), own["event_name"]);
    assert_eq!(row["event_uuid"].to_string(), own["event_uuid"].to_lowercase());
    assert_eq!(row["source"], "dev");
    assert!(row["created_at"].is_number() && row["received_datetime"].is_string(), "{}", text(line));
}
