//! `POST /v1/events`.

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};

use super::{
    Gate,
    answer::answer,
    authorize::{Authorized, Page, authorize},
    body, opt_out,
    problem::{Problem, ProblemCode, unsupported_encoding},
    rate_headers,
    run_to_completion::RunToCompletion,
};
use crate::{
    decode::{BodyForm, Encoding},
    event::unix_millis,
    ingest::{Durability, Submission},
    limits::BODY_BYTES_MAX,
};

/// The accepted content types, for `Accept` in an answer.
const ACCEPTED_TYPES: &str = "application/json, application/x-ndjson, text/plain";

/// Receives events.
pub(super) async fn post(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let submission = match Preamble::read(&gate, &parts) {
        Ok(submission) => submission,
        Err(problem) => {
            // Do not read the body of a client that waits for `100 Continue`, because reading tells the client to send.
            if !parts.headers.contains_key(header::EXPECT) {
                body::drain(body).await;
            }
            return Err(problem);
        }
    };
    let Authorized { address_bodies, payers, .. } = &submission.sender;
    let mut share = gate.bodies.share(address_bodies.clone(), Some(payers.key.clone()));
    let body = body::read(body, &mut share).await?;
    gate.metrics.body_bytes.observe(body.len() as f64);
    let encoding = submission.encoding.of_body(&body);
    let (durability, sender) = (submission.durability, submission.sender);
    let rate = sender.source.rate.clone();
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
        durability: durability.unwrap_or_default(),
    };
    if opt_out::is_asked(&gate, &parts.headers) {
        return Box::pin(opt_out::drop_all(&gate, submission)).await;
    }
    let prepared = gate.ingest.prepare(submission).await?;
    let ingest = gate.ingest.clone();
    let fates = RunToCompletion::new(async move { ingest.finish(prepared).await }).await;
    let mut response = answer(&fates)?;
    if let Some(durability) = durability {
        let applied = match durability {
            Durability::Disk => "durability=disk",
            Durability::Delivered => "durability=delivered",
        };
        response.headers_mut().insert("preference-applied", HeaderValue::from_static(applied));
    }
    rate_headers::warn(&rate, response.headers_mut());
    Ok(response)
}

/// The information of a request before its body.
struct Preamble {
    sender: Authorized,
    form: BodyForm,
    encoding: Encoding,
    durability: Option<Durability>,
}

impl Preamble {
    fn read(gate: &Gate, request: &Parts) -> Result<Self, Problem> {
        let sender = authorize(gate, request, Page::Origin)?;
        let headers = &request.headers;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(body::too_large());
        }
        let mut durability = durability(headers)?;
        if sender.source.is_public() {
            // Waiting for delivery makes the lake flush early. Everyone has this key, so the wish is not honoured, and the
            // answer says so.
            durability = durability.and(Some(Durability::Disk));
        }
        Ok(Self { sender, form: form(headers)?, encoding: encoding(headers)?, durability })
    }
}

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
        _ => {
            let detail = format!("the Content-Type {essence:?} is not supported; {ACCEPTED_TYPES} are");
            Err(Problem::new(ProblemCode::UnsupportedMediaType, detail).header(header::ACCEPT, ACCEPTED_TYPES))
        }
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

/// Parses `Prefer: durability=…` (RFC 7240). Other preferences are ignored.
fn durability(headers: &HeaderMap) -> Result<Option<Durability>, Problem> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for preference in preferences {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        if !name.trim().eq_ignore_ascii_case("durability") {
            continue;
        }
        let value = value.split(';').next().unwrap_or_default().trim().trim_matches('"');
        return match value.to_ascii_lowercase().as_str() {
            "disk" => Ok(Some(Durability::Disk)),
            "delivered" => Ok(Some(Durability::Delivered)),
            _ => {
                let detail = format!("durability={value} is not known; \"disk\" and \"delivered\" are");
                Err(Problem::new(ProblemCode::InvalidPreference, detail))
            }
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::headers, *};

    #[test]
    fn the_preference_is_found_among_others() {
        let durability = |value| durability(&headers(&[("prefer", value)]));
        assert_eq!(durability("respond-async, Durability=\"delivered\"; x=y").unwrap(), Some(Durability::Delivered));
        assert_eq!(durability("durability=disk").unwrap(), Some(Durability::Disk));
        assert_eq!(durability("wait=5").unwrap(), None);
        assert!(durability("durability=twice").is_err());
    }
}
