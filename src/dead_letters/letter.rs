//! One dead letter: an event with its faults.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    digest::sha256_hex,
    event::iso_millis,
    limits::{DEAD_LETTER_EVENT_BYTES_MAX, DEAD_LETTER_HEAD_BYTES, DETAIL_CHARS_MAX},
    outcome::{Fault, Rejection, shortened},
};

/// The contents of a dead letter.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Name of the key that sent the event.
    pub source: &'a str,
    /// When the event was received, in Unix milliseconds.
    pub received_millis: i64,
    /// Identity of the event, if readable.
    pub event_uuid: Option<&'a str>,
    /// Name of the event, if readable.
    pub event_name: Option<&'a str>,
    /// Why the event was rejected.
    pub rejection: &'a Rejection,
    /// The event as the client wrote it.
    pub raw: &'a [u8],
}

/// The line as written. `raw` is the event's bytes as a JSON string. It is `raw_base64` if the bytes are not UTF-8, or have
/// many control characters, which a string escapes in six bytes each. For an event that is too large `raw_bytes` is its length,
/// `raw_sha256` the hash of all its bytes, and `raw_head` or `raw_head_base64` its beginning.
#[derive(Serialize)]
struct Line<'a> {
    received_datetime: String,
    source: &'a str,
    event_uuid: Option<&'a str>,
    event_name: Option<&'a str>,
    code: &'static str,
    detail: &'a str,
    pointer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    /// The sink that refused the event, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a str>,
    /// All faults, if there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_head: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_head_base64: Option<String>,
}

/// Appends the letter to `out`: one line of JSON with its line end.
pub fn write_letter(letter: &Letter<'_>, out: &mut Vec<u8>) {
    write_letter_of_sink(letter, None, out);
}

/// The same for an event that `sink` refused, one of several sinks.
pub fn write_letter_of_sink(letter: &Letter<'_>, sink: Option<&str>, out: &mut Vec<u8>) {
    let none = Fault { detail: String::new(), pointer: String::new() };
    let first = letter.rejection.faults.first().unwrap_or(&none);
    let is_cut = letter.raw.len() > DEAD_LETTER_EVENT_BYTES_MAX;
    let (text, encoded) = written(if is_cut { head(letter.raw) } else { letter.raw });
    let faults = &letter.rejection.faults;
    let event_name = letter.event_name.map(|name| match name.len() {
        // The name comes from the client, and the event has it whole.
        DETAIL_CHARS_MAX.. => Cow::Owned(shortened(name.into())),
        _ => Cow::Borrowed(name),
    });
    let line = Line {
        received_datetime: iso_millis(letter.received_millis).as_str().to_owned(),
        source: letter.source,
        event_uuid: letter.event_uuid,
        event_name: event_name.as_deref(),
        code: letter.rejection.code.as_str(),
        detail: &first.detail,
        pointer: &first.pointer,
        schema: letter.rejection.schema.as_deref(),
        sink,
        errors: if faults.len() > 1 { faults } else { &[] },
        raw: text.filter(|_| !is_cut),
        raw_base64: encoded.clone().filter(|_| !is_cut),
        raw_bytes: is_cut.then_some(letter.raw.len()),
        raw_sha256: is_cut.then(|| sha256_hex(letter.raw)),
        raw_head: text.filter(|_| is_cut),
        raw_head_base64: encoded.filter(|_| is_cut),
    };
    // Strings and numbers written to memory cannot fail.
    let written = serde_json::to_writer(&mut *out, &line);
    debug_assert!(written.is_ok());
    out.push(b'\n');
}

/// The first bytes of an event; text is cut at the end of a character.
fn head(raw: &[u8]) -> &[u8] {
    let mut end = DEAD_LETTER_HEAD_BYTES.min(raw.len());
    // A UTF-8 character has at most four bytes.
    for _ in 0..3 {
        if raw.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
    }
    &raw[..end]
}

/// Bytes as text, or in base64.
fn written(raw: &[u8]) -> (Option<&str>, Option<String>) {
    let controls = raw.iter().filter(|byte| **byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')).count();
    let text = std::str::from_utf8(raw).ok().filter(|_| controls <= raw.len() / CONTROLS_ONE_IN_MIN);
    (text, text.is_none().then(|| STANDARD.encode(raw)))
}

/// JSON has no control characters but white space, so an event with more than one in eight is not readable anyway.
const CONTROLS_ONE_IN_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::outcome::RejectCode;

    proptest! {
        #[test]
        fn any_bytes_come_back_from_the_letter_as_they_were(raw in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80), any::<String>().prop_map(String::into_bytes),
        ]) {
            let rejection = Rejection::new(RejectCode::InvalidJson, "the line\nis odd", "/a");
            let letter =
                Letter { source: "web", received_millis: 0, event_uuid: None, event_name: None, rejection: &rejection, raw: &raw };
            let mut out = Vec::new();
            write_letter(&letter, &mut out);
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let line: Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&line["code"], "invalid_json");
            let back = match (line["raw"].as_str(), line["raw_base64"].as_str()) {
                (Some(text), None) => text.as_bytes().to_vec(),
                (None, Some(encoded)) => STANDARD.decode(encoded).unwrap(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(back, raw);
        }
    }

    fn line_of(raw: &[u8], event_name: &str) -> (Value, usize) {
        let rejection = Rejection::new(RejectCode::EventTooLarge, "too large", "");
        let letter = Letter {
            source: "web",
            received_millis: 0,
            event_uuid: None,
            event_name: Some(event_name),
            rejection: &rejection,
            raw,
        };
        let mut out = Vec::new();
        write_letter(&letter, &mut out);
        (serde_json::from_slice(&out).unwrap(), out.len())
    }

    #[test]
    fn of_an_event_beyond_the_bound_the_head_is_kept_and_the_letter_says_so() {
        let (line, bytes) = line_of(&vec![b'a'; DEAD_LETTER_EVENT_BYTES_MAX], "a:b");
        assert!(line["raw"].as_str().unwrap().len() == DEAD_LETTER_EVENT_BYTES_MAX && bytes > DEAD_LETTER_EVENT_BYTES_MAX);
        let long = "é".repeat(DEAD_LETTER_EVENT_BYTES_MAX);
        let (line, bytes) = line_of(&[b"x", long.as_bytes()].concat(), "a:b");
        assert_eq!(line["raw_bytes"], long.len() + 1);
        let head = line["raw_head"].as_str().unwrap();
        assert!(head.len() == DEAD_LETTER_HEAD_BYTES - 1 && head.starts_with("xé"), "cut between characters");
        assert!(bytes < DEAD_LETTER_HEAD_BYTES + 1000 && line["raw"].is_null() && line["raw_base64"].is_null());
        let (line, _) = line_of(&vec![0xff; DEAD_LETTER_EVENT_BYTES_MAX + 1], "a:b");
        assert!(line["raw_head_base64"].as_str().unwrap().starts_with("////"));
    }

    #[test]
    fn control_characters_and_names_without_end_do_not_make_a_letter_many_times_its_event() {
        let raw = vec![1; 100_000];
        let (line, bytes) = line_of(&raw, &"n".repeat(100_000));
        assert!(bytes < 140_000, "{bytes}");
        assert_eq!(STANDARD.decode(line["raw_base64"].as_str().unwrap()).unwrap(), raw);
        assert_eq!(line["event_name"].as_str().unwrap().chars().count(), DETAIL_CHARS_MAX);
        let indented = b"{\n\t\"a\": 1,\n\t\"b\": 2\n}";
        assert_eq!(line_of(indented, "a:b").0["raw"].as_str().unwrap().as_bytes(), indented);
    }
}
