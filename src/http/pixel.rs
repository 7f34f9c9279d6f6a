//! `GET /v1/pixel.gif`: one event in the URL of an image, for mails and for pages without scripts.
//!
//! The event is in `e`, as JSON in base64url. Otherwise each parameter is a field: `section_id=reds` is a text;
//! `section_index:=0` (the name ends in a colon) is JSON. `created_at` is a number or RFC 3339 text. `event_uuid` and `created_at`
//! may be absent, because a URL that was written once cannot generate them. Then every view is a separate event at the time of its receipt.
//!
//! The answer is always an image, even if the event is not stored, because people see its place. The status and `Lakegate-Code`
//! report what happened to the event.

use std::{fmt::Write, sync::Arc, time::SystemTime};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Gate, address_rate_limit,
    answer::{AnswerForm, answer},
    authorize::{Page, authorize},
    opt_out,
    problem::{Problem, ProblemCode},
    run_to_completion::RunToCompletion,
};
use crate::{
    config::Answers,
    decode::{BodyForm, Encoding},
    event::unix_millis,
    ingest::{Fate, Submission},
    json::{Kind, Parser, Tape},
    limits::PIXEL_QUERY_BYTES_MAX,
    outcome::Outcome,
};

/// A transparent image of one pixel.
const GIF: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// The header with the stable code of the reason why the event was not accepted.
const CODE: HeaderName = HeaderName::from_static("lakegate-code");

/// Why the event of a pixel was not accepted.
struct NotTaken {
    status: StatusCode,
    code: &'static str,
}

impl From<Problem> for NotTaken {
    fn from(problem: Problem) -> Self {
        let (status, code, _) = problem.code().parts();
        Self { status, code }
    }
}

/// Receives one event and answers with an image.
pub(super) async fn get(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let taken = match parts.method {
        // A client that requests only the headers did not view the image, so there is no event.
        Method::HEAD => {
            address_rate_limit::take(&gate, &parts.headers, &parts.extensions).map_err(|full| Problem::from(full).into())
        }
        _ => take(&gate, &parts).await,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/gif")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Allow pages with cross-origin isolation (COEP) to embed the image.
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
    ];
    match taken {
        Ok(()) => (headers, GIF).into_response(),
        Err(NotTaken { status, code }) => (status, headers, [(CODE, HeaderValue::from_static(code))], GIF).into_response(),
    }
}

async fn take(gate: &Gate, request: &Parts) -> Result<(), NotTaken> {
    let sender = authorize(gate, request, request.extensions.get(), Page::Image)?;
    let query = request.uri.query().unwrap_or_default();
    if query.len() > PIXEL_QUERY_BYTES_MAX {
        return Err(Problem::new(ProblemCode::QueryTooLong, "").into());
    }
    let received_millis = unix_millis(SystemTime::now());
    let key = sender.payers.key.clone();
    let submission = Submission {
        body: event(query, received_millis)?.into(),
        encoding: Encoding::Identity,
        form: BodyForm::Json,
        source: sender.source.name.clone(),
        sender: sender.source,
        payers: sender.payers,
        memory: gate.bodies.share(sender.address_bodies, Some(key)),
        client_address: sender.client_address,
        received_millis,
        durability: gate.ingest.durability(),
        // An image has no body to read: its status is that of its one event, whatever the key says.
        answers: Answers::Each,
    };
    if opt_out::is_asked(gate, &request.headers) {
        opt_out::drop_all(gate, submission).await?;
        return Err(NotTaken { status: StatusCode::OK, code: "opted_out" });
    }
    let prepared = gate.ingest.prepare(submission).await.map_err(Problem::from)?;
    let ingest = gate.ingest.clone();
    let fates = RunToCompletion::new(async move { ingest.finish(prepared).await }).await;
    match answer(&fates, AnswerForm::default(), HeaderMap::new()) {
        Ok(_) => Ok(()),
        Err(problem) => {
            let NotTaken { status, code } = problem.into();
            Err(NotTaken { status, code: fates.first().and_then(code_of).unwrap_or(code) })
        }
    }
}

fn code_of(fate: &Fate) -> Option<&'static str> {
    match &fate.outcome {
        Outcome::Accepted | Outcome::Duplicate => None,
        Outcome::Rejected(rejection) => Some(rejection.code.as_str()),
        Outcome::Retry(cause) => Some(cause.as_str()),
    }
}

/// The event that a query describes, as JSON.
fn event(query: &str, received_millis: i64) -> Result<Vec<u8>, Problem> {
    let parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let encoded = parameters.clone().find_map(|(name, value)| (name == "e").then_some(value));
    let text = match encoded {
        Some(encoded) => decoded(encoded)?,
        None => from_fields(parameters.filter(|(name, _)| *name != "key"))?,
    };
    Ok(completed(text, received_millis))
}

fn decoded(encoded: &str) -> Result<Vec<u8>, Problem> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);
    let characters: Vec<u8> = percent_encoding::percent_decode_str(encoded).collect();
    // Accept both base64 alphabets: no character has a different meaning in the other alphabet.
    let url_safe = characters.into_iter().map(|byte| match byte {
        b'+' => b'-',
        b'/' => b'_',
        byte => byte,
    });
    let decoded = BASE64.decode(url_safe.collect::<Vec<u8>>());
    decoded.map_err(|error| Problem::new(ProblemCode::UnreadableJson, format!("e is not base64url: {error}")))
}

fn from_fields<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Vec<u8>, Problem> {
    let mut text = String::from("{");
    for (name, value) in parameters {
        let unescaped = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| Problem::new(ProblemCode::InvalidUtf8, "a parameter is not UTF-8"))
        };
        let (name, value) = (unescaped(name)?, unescaped(value)?);
        let is_valid_json = || serde_json::from_str::<&RawValue>(&value).is_ok();
        let (name, is_json) = match name.strip_suffix(':') {
            Some(name) => (name, true),
            // Otherwise it is RFC 3339 text.
            None if name == "created_at" => (&*name, is_valid_json()),
            None => (&*name, name == "schema_version"),
        };
        if is_json && !is_valid_json() {
            return Err(Problem::new(ProblemCode::UnreadableJson, format!("the parameter {name:?} is not JSON")));
        }
        let value = if is_json { value } else { serde_json::Value::String(value).to_string() };
        let comma = if text.len() > 1 { "," } else { "" };
        let _ = write!(text, "{comma}{}:{value}", serde_json::Value::from(name));
    }
    if text.len() == 1 {
        return Err(Problem::new(ProblemCode::NoEvents, "the address has no event"));
    }
    text.push('}');
    Ok(text.into_bytes())
}

/// Adds `event_uuid` and `created_at` if an event has none. A text that is not an object is left for the pipeline to refuse.
fn completed(text: Vec<u8>, received_millis: i64) -> Vec<u8> {
    let Ok(event) = std::str::from_utf8(&text).map(str::trim) else { return text };
    let mut tape = Tape::new();
    if Parser::new(event, usize::MAX).value(&mut tape).is_err() || tape.root(event).kind() != Kind::Object {
        return text;
    }
    let has = |wanted: &str| tape.root(event).members().any(|(name, _)| name == wanted);
    let mut added = String::from("{");
    if !has("event_uuid") {
        let _ = write!(added, "\"event_uuid\":\"{}\",", Uuid::now_v7());
    }
    if !has("created_at") {
        let _ = write!(added, "\"created_at\":{}.{:03},", received_millis / 1000, received_millis % 1000);
    }
    let own = &event[1..];
    if own.trim_start().starts_with('}') && added.len() > 1 {
        added.pop();
    }
    added.push_str(own);
    added.into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_795_111_203_005;

    fn read(query: &str) -> Value {
        serde_json::from_slice(&event(query, NOW).unwrap()).unwrap()
    }

    fn code(query: &str) -> &'static str {
        event(query, NOW).unwrap_err().code().parts().1
    }

    #[test]
    fn an_event_stands_in_e_or_field_by_field() {
        let whole = json!({"event_uuid": "x", "event_name": "mail:opened", "created_at": 1, "n": [1.5, "é~?"]});
        for engine in [
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            &base64::engine::general_purpose::URL_SAFE,
            &base64::engine::general_purpose::STANDARD,
        ] {
            let encoded = engine.encode(whole.to_string());
            assert_eq!(read(&format!("key=k&e={encoded}")), whole);
            assert_eq!(read(&format!("e={}", encoded.replace('=', "%3D").replace('+', "%2B"))), whole);
        }
        let fields = "key=k&event_name=mail:opened&event_uuid=x&created_at=1.50&who=a%20b+c%26&index:=0&tags%3A=[%22x%22]";
        let expected = json!({
            "event_name": "mail:opened", "event_uuid": "x", "created_at": 1.5, "who": "a b c&", "index": 0, "tags": ["x"]
        });
        assert_eq!(read(fields), expected);
        assert_eq!(
            std::str::from_utf8(&event("created_at=1.50&event_uuid=x", NOW).unwrap()).unwrap(),
            r#"{"created_at":1.50,"event_uuid":"x"}"#
        );
        for created in ["2026-11-19T19:00:03.5%2B01:00", "%222026-11-19T19:00:03.5%2B01:00%22"] {
            assert_eq!(read(&format!("created_at={created}&event_uuid=x"))["created_at"], "2026-11-19T19:00:03.5+01:00");
        }
    }

    #[test]
    fn identity_and_time_are_added_where_an_address_cannot_have_them() {
        let first = read("event_name=mail:opened");
        assert_eq!(first["created_at"], json!(1_795_111_203.005));
        assert_ne!(first["event_uuid"], read("event_name=mail:opened")["event_uuid"]);
        assert_eq!(Uuid::parse_str(first["event_uuid"].as_str().unwrap()).unwrap().get_version_num(), 7);
        // Names with escapes are found too; an empty object gets both fields.
        let encoded = base64::engine::general_purpose::STANDARD.encode(r#" {"event\u005fuuid":"x"} "#);
        assert_eq!(read(&format!("e={encoded}")), json!({"created_at": 1_795_111_203.005, "event_uuid": "x"}));
        assert_eq!(read("e=e30").as_object().unwrap().len(), 2);
        // A text that is not an object is left for the pipeline to refuse.
        assert_eq!(event("e=WzFd", NOW).unwrap(), b"[1]");
    }

    #[test]
    fn what_is_no_event_is_told_so() {
        assert_eq!(code("key=k"), "no_events");
        assert_eq!(code("e=***"), "unreadable_json");
        assert_eq!(code("index:=x"), "unreadable_json");
        assert_eq!(code("index:=1,%22a%22:2"), "unreadable_json");
        assert_eq!(code("a=%ff"), "invalid_utf8");
    }

    #[test]
    fn the_image_is_one_pixel() {
        assert_eq!((&GIF[..6], &GIF[6..10], GIF[42]), (&b"GIF89a"[..], &[1, 0, 1, 0][..], b';'));
    }
}
