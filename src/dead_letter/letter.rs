//! One dead letter: an event with what was wrong with it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    event::iso_millis,
    outcome::{Fault, Rejection},
};

/// What a dead letter says.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Name of the key that sent it.
    pub source: &'a str,
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
    /// Its identity, where it was readable.
    pub event_uuid: Option<&'a str>,
    /// Its name, where it was readable.
    pub event_name: Option<&'a str>,
    /// Why it was rejected.
    pub rejection: &'a Rejection,
    /// The event as the client wrote it.
    pub raw: &'a [u8],
}

/// The line as it is written. `raw` is the event's bytes as a JSON string; where they are no UTF-8, `raw_base64`.
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
    /// All faults, where there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

/// Appends the letter to `out`: one line of JSON with its line end.
pub fn write_letter(letter: &Letter<'_>, out: &mut Vec<u8>) {
    let none = Fault { detail: String::new(), pointer: String::new() };
    let first = letter.rejection.faults.first().unwrap_or(&none);
    let raw = std::str::from_utf8(letter.raw).ok();
    let faults = &letter.rejection.faults;
    let line = Line {
        received_datetime: iso_millis(letter.received_millis).as_str().to_owned(),
        source: letter.source,
        event_uuid: letter.event_uuid,
        event_name: letter.event_name,
        code: letter.rejection.code.as_str(),
        detail: &first.detail,
        pointer: &first.pointer,
        schema: letter.rejection.schema.as_deref(),
        errors: if faults.len() > 1 { faults } else { &[] },
        raw,
        raw_base64: raw.is_none().then(|| STANDARD.encode(letter.raw)),
    };
    // Strings and numbers into memory: there is nothing in it that can fail.
    let written = serde_json::to_writer(&mut *out, &line);
    debug_assert!(written.is_ok());
    out.push(b'\n');
}

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
}
