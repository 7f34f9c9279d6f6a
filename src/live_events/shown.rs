//! An event as a watcher is shown it: one line of JSON.
//!
//! Of a busy stream most events that are kept are replaced by others before the tick is over. So the event is copied, and its line is
//! written when it is shown, by the task of the watcher.
//!
//! Nothing that a client sent can end the line, or reach a terminal as anything but text: JSON escapes what is below a space,
//! [`Visible`] the rest.

use std::{borrow::Cow, io::Write, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{question::outcome_name, redacted::redacted};
use crate::{
    decode::{only_element, uuid_text},
    event::iso_millis,
    json::{Node, Visible},
    limits::{WATCH_COPY_BYTES_MAX, WATCH_PAYLOAD_BYTES_MAX},
    outcome::{Outcome, shortened},
};

/// What is known of an event beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// What became of it.
    pub outcome: &'a Outcome,
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
}

/// What is known of all events of a request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The name of the key.
    pub key: &'a Arc<str>,
    /// Whether its events are replayed from the dead letters.
    pub is_replay: bool,
    /// See [`Version`].
    pub version: &'a Version<'a>,
}

/// The version of the schema that judges an event of this name, given the version that the event names.
pub type Version<'a> = dyn Fn(&str, Option<u32>) -> Option<u32> + 'a;

/// An event that is kept to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown(Kept);

#[derive(Debug, Clone, PartialEq)]
enum Kept {
    Event { raw: Box<[u8]>, key: Arc<str>, is_replay: bool, received_millis: i64, outcome: Outcome },
    Line(String),
}

impl Shown {
    pub(super) fn keep(raw: &[u8], request: &Request<'_>, told: &Told<'_>, shows_payloads: bool) -> Self {
        let Told { outcome, received_millis } = *told;
        Self(match raw.len() <= WATCH_COPY_BYTES_MAX {
            true => Kept::Event {
                raw: raw.into(),
                key: request.key.clone(),
                is_replay: request.is_replay,
                received_millis,
                outcome: outcome.clone(),
            },
            false => Kept::Line(line(raw, request, told, values_up_to(shows_payloads))),
        })
    }

    /// The line of an event with its whole payload, without the end of the line.
    pub(super) fn whole_line(raw: &[u8], request: &Request<'_>, told: &Told<'_>) -> String {
        line(raw, request, told, Some(usize::MAX))
    }

    /// The line, without its end.
    pub(super) fn line(&self, version: &Version<'_>, shows_payloads: bool) -> String {
        match &self.0 {
            Kept::Event { raw, key, is_replay, received_millis, outcome } => {
                let request = Request { key, is_replay: *is_replay, version };
                line(raw, &request, &Told { outcome, received_millis: *received_millis }, values_up_to(shows_payloads))
            }
            Kept::Line(line) => line.clone(),
        }
    }
}

#[cfg(test)]
impl Shown {
    /// One whose line is made already.
    pub(super) fn of_line(line: String) -> Self {
        Self(Kept::Line(line))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    received_datetime: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    replayed: bool,
    bytes: usize,
    /// Its values only if configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// Of a payload that is too long, or no JSON object, the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_head: Option<&'a str>,
}

/// Bytes of the payload that are shown with their values; `None` shows no values.
fn values_up_to(shows_payloads: bool) -> Option<usize> {
    shows_payloads.then_some(WATCH_PAYLOAD_BYTES_MAX)
}

fn line(raw: &[u8], request: &Request<'_>, told: &Told<'_>, values_up_to: Option<usize>) -> String {
    let received = iso_millis(told.received_millis);
    let mut line = Line {
        received_datetime: received.as_str(),
        key: request.key,
        event_uuid: None,
        event_name: None,
        schema_version: None,
        outcome: outcome_name(told.outcome),
        code: None,
        pointer: None,
        detail: None,
        replayed: request.is_replay,
        bytes: raw.len(),
        payload: None,
        payload_head: None,
    };
    match told.outcome {
        Outcome::Accepted | Outcome::Duplicate => {}
        Outcome::Rejected(rejection) => {
            line.code = Some(rejection.code.as_str());
            if let Some(fault) = rejection.faults.first() {
                line.detail = Some(&fault.detail);
                line.pointer = Some(&*fault.pointer).filter(|pointer| !pointer.is_empty());
            }
        }
        Outcome::Retry(cause) => (line.code, line.detail) = (Some(cause.as_str()), Some(cause.detail())),
    }
    only_element(raw, |element| {
        let Ok(event) = &element.event else { return };
        line.event_uuid = uuid_text(event);
        line.event_name = event_name(event).map(|name| shortened(name.into_owned()));
        let version = event.members().find(|(name, _)| name == "schema_version");
        let named = version.and_then(|(_, version)| version.raw().parse().ok());
        line.schema_version = line.event_name.as_deref().map_or(named, |name| (request.version)(name, named));
        line.payload = payload(event, values_up_to);
    });
    if values_up_to.is_some() && line.payload.is_none() {
        line.payload_head = Some(head(raw));
    }
    visible(&line)
}

/// The name of an event, if it is a text.
#[must_use]
pub fn event_name<'a>(event: &Node<'a>) -> Option<Cow<'a, str>> {
    event.members().find(|(name, _)| name == "event_name").and_then(|(_, name)| name.string())
}

/// `None` if the payload is too long to be shown.
fn payload(event: &Node<'_>, values_up_to: Option<usize>) -> Option<Box<RawValue>> {
    let json = match values_up_to {
        None => redacted(event),
        Some(most) if event.raw().len() > most => return None,
        // Strings of JSON have no such characters, so these are between its tokens.
        Some(_) => event.raw().replace(|c: char| c < ' ', " "),
    };
    RawValue::from_string(json).ok()
}

/// The beginning of bytes that are shown as a text.
fn head(raw: &[u8]) -> &str {
    let raw = &raw[..raw.len().min(WATCH_PAYLOAD_BYTES_MAX)];
    match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&raw[..error.valid_up_to()]).unwrap_or_default(),
    }
}

fn visible(line: &Line<'_>) -> String {
    let mut out = Visible::new(Vec::new());
    // Into memory.
    let written = serde_json::to_writer(&mut out, line).map_err(std::io::Error::from).and_then(|()| out.flush());
    debug_assert!(written.is_ok());
    String::from_utf8(out.into_inner()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        json::is_unseen,
        outcome::{RejectCode, Rejection, RetryCause},
    };

    const UUID: &str = "01a1f059-0e41-719a-b0ae-3071d38cf734";

    fn shown(raw: &[u8], outcome: &Outcome, shows_payloads: bool) -> (String, Value) {
        let version = |name: &str, named: Option<u32>| named.or((name == "a:b").then_some(3));
        let request = Request { key: &"web".into(), is_replay: false, version: &version };
        let kept = Shown::keep(raw, &request, &Told { outcome, received_millis: 0 }, shows_payloads);
        assert_eq!(matches!(kept.0, Kept::Line(_)), raw.len() > WATCH_COPY_BYTES_MAX);
        let line = kept.line(&version, shows_payloads);
        let json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        (line, json)
    }

    #[test]
    fn an_event_is_shown_with_its_outcome_and_without_its_values() {
        let event = format!("{{ \"event_uuid\":\"{UUID}\",\n\"event_name\":\"a:b\",\r\n\"created_at\":1.50,\"guest\":\"Ann\" }}");
        let (_, json) = shown(event.as_bytes(), &Outcome::Accepted, false);
        let expected = serde_json::json!({
            "received_datetime": "1970-01-01T00:00:00.000Z", "key": "web", "event_uuid": UUID, "event_name": "a:b",
            "schema_version": 3, "outcome": "accepted", "replayed": false, "bytes": event.len(),
            "payload": {
                "event_uuid": "<string 36>", "event_name": "<string 3>", "created_at": "<number>", "guest": "<string 3>"
            }
        });
        assert_eq!(json, expected);
        let (line, json) = shown(event.as_bytes(), &Outcome::Duplicate, true);
        assert!(
            line.contains("\"created_at\":1.50") && json["payload"]["guest"] == "Ann" && json["outcome"] == "duplicate",
            "{line}"
        );
        let rejection = Rejection::new(RejectCode::SchemaViolation, "expected a number", "/guest");
        let (_, json) = shown(event.as_bytes(), &Outcome::Rejected(Box::new(rejection)), false);
        assert_eq!([&json["code"], &json["pointer"], &json["detail"]], ["schema_violation", "/guest", "expected a number"]);
        let (_, json) = shown(event.as_bytes(), &Outcome::Retry(RetryCause::Busy), false);
        assert_eq!((&json["code"], json.get("pointer")), (&"busy".into(), None));
    }

    #[test]
    fn what_is_no_event_is_shown_too_and_nothing_ends_a_line_or_reaches_a_terminal() {
        let odd = "x\u{9b}2J\u{202e}\u{2028}\u{e0041}\u{7f}";
        let named = format!("{{\"event_name\":\"{odd}\\n\\u001b[2J\",\n\"{odd}\":\"{odd}\",\r\"a\":1}}");
        let long = format!("{{\"event_name\":\"{}\",\"text\":\"{}\"}}", "n".repeat(5_000), "\u{9b}".repeat(5_000));
        let bytes: [&[u8]; 7] =
            [named.as_bytes(), long.as_bytes(), b"7", b"{\"a\":", b"", b"\xff\x1b[2J\n", b"data: x\r\nevent: y\n\ndata: z"];
        let rejection = Rejection::new(RejectCode::InvalidJson, odd, odd);
        let outcome = Outcome::Rejected(Box::new(rejection));
        for raw in bytes {
            for shows_payloads in [false, true] {
                let (line, json) = shown(raw, &outcome, shows_payloads);
                assert!(!line.contains(is_unseen), "{line:?}");
                assert_eq!((json["bytes"].as_u64(), &json["detail"]), (Some(raw.len() as u64), &odd.into()));
                assert!(line.len() < crate::limits::WATCH_LINE_BYTES_MAX);
                assert_eq!(shows_payloads, json.get("payload_head").is_some() || json["payload"]["a"] == 1, "{line}");
            }
        }
        assert_eq!(shown(b"7 and more", &outcome, true).1["payload_head"], "7 and more");
        assert!(shown(long.as_bytes(), &outcome, false).1["event_name"].as_str().is_some_and(|name| name.ends_with('…')));
    }
}
