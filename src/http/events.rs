//! `POST /v1/events`.

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::{Request, State},
    http::{self, HeaderMap, HeaderName, header, request::Parts},
    response::Response,
};

use super::{
    Gate,
    answer::{AnswerForm, answer},
    authorize::{Authorized, Page, authorize},
    body::{self, RequestBody},
    client_address::Peer,
    opt_out,
    preferences::Preferences,
    problem::{Problem, ProblemCode, unsupported_encoding},
    rate_headers,
    run_to_completion::RunToCompletion,
};
use crate::{
    config::Durability,
    decode::{BodyForm, Encoding},
    event::unix_millis,
    ingest::Submission,
    json::quoted,
    limits::{BODY_BYTES_MAX, HEADERS_KEPT_MAX},
};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The accepted content types, for `Accept` in an answer.
const ACCEPTED_TYPES: &str = "application/json, application/*+json, application/x-ndjson, text/plain";

/// Receives events at a route of the router.
pub(super) async fn post(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().cloned();
    receive(&gate, request, peer.as_ref()).await
}

/// Receives events from `peer`.
pub(super) async fn receive<B: RequestBody>(
    gate: &Arc<Gate>,
    request: http::Request<B>,
    peer: Option<&Peer>,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let submission = match Preamble::read(gate, &parts, peer) {
        Ok(submission) => submission,
        Err(problem) => {
            // Do not read the body of a client that waits for `100 Continue`, because reading tells the client to send.
            if !parts.headers.contains_key(header::EXPECT) {
                body::discard(body, parts.version).await;
            }
            return Err(problem);
        }
    };
    let Authorized { address_bodies, payers, .. } = &submission.sender;
    let mut share = gate.bodies.share(address_bodies.clone(), Some(payers.key.clone()));
    let source = submission.sender.source.clone();
    let of_key = |problem: Problem| problem.of_key(&source.name);
    let body = body::read(body, parts.version, &mut share).await.map_err(of_key)?;
    gate.metrics.body_bytes.observe(body.len() as f64);
    let encoding = submission.encoding.of_body(&body);
    let (mut preferences, sender) = (submission.preferences, submission.sender);
    let answers = preferences.answers.unwrap_or(sender.source.answers);
    let form = AnswerForm { answers, is_minimal: preferences.is_minimal == Some(true) };
    let submission = Submission {
        body,
        encoding,
        form: submission.form,
        source: sender.source.name.clone(),
        sender: sender.source,
        payers: sender.payers,
        memory: share,
        client_address: sender.client_address,
        received_millis: unix_millis(SystemTime::now()),
        durability: preferences.durability.unwrap_or(gate.ingest.durability()),
        answers,
    };
    let answered = if opt_out::is_asked(gate, &parts.headers) {
        // Nothing is stored.
        preferences.durability = None;
        Ok(Box::pin(opt_out::drop_all(gate, submission)).await.map_err(of_key)?)
    } else {
        let prepared = gate.ingest.prepare(submission).await.map_err(|error| of_key(error.into()))?;
        let ingest = gate.ingest.clone();
        let fates = RunToCompletion::new(async move { ingest.finish(prepared).await }).await;
        answer(&fates, form, emptied(&mut parts.headers))
    };
    let applied = preferences.applied();
    match answered {
        Ok(mut response) => {
            if let Some(applied) = applied {
                response.headers_mut().insert(PREFERENCE_APPLIED, applied);
            }
            rate_headers::warn(&source.rate, response.headers_mut());
            Ok(response)
        }
        Err(problem) => Err(of_key(problem).headers(applied.map(|applied| (PREFERENCE_APPLIED, applied)).into_iter().collect())),
    }
}

/// The memory of a request's headers, for those of its answer. The connection then keeps it for the next request, so that of many
/// headers is given back.
fn emptied(headers: &mut HeaderMap) -> HeaderMap {
    let mut headers = std::mem::take(headers);
    if headers.capacity() > HEADERS_KEPT_MAX {
        return HeaderMap::new();
    }
    headers.clear();
    headers
}

/// The information of a request before its body.
struct Preamble {
    sender: Authorized,
    form: BodyForm,
    encoding: Encoding,
    preferences: Preferences,
}

impl Preamble {
    fn read(gate: &Gate, request: &Parts, peer: Option<&Peer>) -> Result<Self, Problem> {
        let sender = authorize(gate, request, peer, Page::Origin)?;
        let read = Self::of_headers(gate, &request.headers, &sender);
        let (form, encoding, preferences) = read.map_err(|problem| problem.of_key(&sender.source.name))?;
        Ok(Self { sender, form, encoding, preferences })
    }

    fn of_headers(gate: &Gate, headers: &HeaderMap, sender: &Authorized) -> Result<(BodyForm, Encoding, Preferences), Problem> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(body::too_large());
        }
        let mut preferences = Preferences::read(headers)?;
        if sender.source.is_public() {
            // Waiting for delivery makes the lake flush early. Everyone has this key, so the wish is not honoured, and the
            // answer says so.
            preferences.durability = preferences.durability.and(Some(Durability::Disk));
        }
        preferences.durability = preferences.durability.map(|asked| asked.max(gate.ingest.durability()));
        Ok((form(headers)?, encoding(headers)?, preferences))
    }
}

/// The form of the body by its `Content-Type`. Its parameters are not read: JSON is UTF-8 (RFC 8259, section 8.1), and a body
/// in another encoding is refused by its bytes. Many libraries name `ISO-8859-1` for bodies that are plain ASCII.
fn form(headers: &HeaderMap) -> Result<BodyForm, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(BodyForm::Any) };
    // The usual spellings.
    match value.as_bytes() {
        b"application/json" => return Ok(BodyForm::Json),
        b"application/x-ndjson" => return Ok(BodyForm::Ndjson),
        _ => {}
    }
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(BodyForm::Json),
        "application/x-ndjson" | "application/ndjson" => Ok(BodyForm::Ndjson),
        "text/plain" | "" => Ok(BodyForm::Any),
        // A media type of JSON with a meaning of its own (RFC 6839, section 3.1).
        other if other.strip_prefix("application/").is_some_and(|name| name.len() > "+json".len() && name.ends_with("+json")) => {
            Ok(BodyForm::Json)
        }
        _ => {
            let detail =
                format!("the Content-Type {} is not supported; {ACCEPTED_TYPES} are{}", quoted(&essence), hint(&essence));
            Err(Problem::new(ProblemCode::UnsupportedMediaType, detail).header(header::ACCEPT, ACCEPTED_TYPES))
        }
    }
}

/// What to do instead, for the content types that HTTP libraries send if they are not told otherwise.
fn hint(essence: &str) -> &'static str {
    match essence {
        "application/x-www-form-urlencoded" => {
            "; this is what curl -d and many libraries send for a form: set Content-Type: application/json"
        }
        "multipart/form-data" => "; this is what a form with files sends: send the JSON itself as the body",
        "application/octet-stream" => "; this is what some libraries send for bytes: set Content-Type: application/json",
        "text/json" => "; for JSON it is application/json",
        "application/jsonl" | "application/x-jsonlines" | "application/json-seq" => {
            "; for one object per line it is application/x-ndjson"
        }
        _ => "",
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Encoding::Identity),
        (Some(value), None) => value.to_str().ok().and_then(Encoding::from_header).ok_or_else(unsupported_encoding),
        (Some(_), Some(_)) => Err(unsupported_encoding()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::headers, *};

    #[test]
    fn the_memory_of_usual_headers_is_used_again_and_that_of_many_is_not() {
        let mut usual = headers(&[("content-type", "application/json"), ("content-length", "2")]);
        let capacity = usual.capacity();
        let again = emptied(&mut usual);
        assert_eq!((again.len(), again.capacity(), usual.capacity()), (0, capacity, 0));
        let mut many = HeaderMap::with_capacity(HEADERS_KEPT_MAX + 1);
        assert_eq!(emptied(&mut many).capacity(), 0);
    }

    #[test]
    fn each_media_type_of_json_is_taken_and_a_form_is_told_what_to_send() {
        let form_of = |value: &'static str| form(&headers(&[("content-type", value)])).ok();
        for value in [
            "application/json; charset=utf-8",
            "Application/JSON;charset=\"UTF-8\"",
            "application/json; charset=ISO-8859-1",
            "application/vnd.api+json",
            "application/cloudevents+json; charset=utf-8",
            "application/cloudevents-batch+json",
            "APPLICATION/PROBLEM+JSON",
        ] {
            assert_eq!(form_of(value), Some(BodyForm::Json), "{value}");
        }
        for value in ["application/+json", "text/x+json", "image/svg+xml", "application/json+x", "application/jsonp", "json"] {
            assert_eq!(form_of(value), None, "{value}");
        }
        assert_eq!(form_of("text/plain;charset=UTF-8"), Some(BodyForm::Any));
    }
}
