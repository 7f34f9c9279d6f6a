//! `POST /v1/events`.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Gate,
    admit::{Admitted, Page, admit},
    body,
    finish::Finish,
    opt_out,
    problem::{Problem, ProblemCode, unsupported_encoding},
    rate_headers,
};
use crate::{
    decode::{BodyForm, Encoding},
    event::unix_millis,
    ingest::{Durability, Fate, Submission},
    limits::{BODY_BYTES_MAX, INFLATED_BYTES_MAX, RETRY_AFTER_SECONDS},
    outcome::{Counts, Fault, Outcome, RetryCause},
};

/// What a body may be, as `Accept` in an answer says it.
const ACCEPTED_TYPES: &str = "application/json, application/x-ndjson, text/plain";

/// Where the schemas are, on the same host.
const SCHEMAS: &str = "/v1/schemas";

/// Takes events.
pub(super) async fn post(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let submission = match Preamble::read(&gate, &parts) {
        Ok(submission) => submission,
        Err(problem) => {
            // To read from the body of a client that asks first would be to tell it to send.
            if !parts.headers.contains_key(header::EXPECT) {
                body::drain(body).await;
            }
            return Err(problem);
        }
    };
    let mut share = gate.bodies.share();
    let body = body::read(body, &gate.bodies, &mut share).await?;
    gate.metrics.body_bytes.observe(body.len() as f64);
    let encoding = submission.encoding.of_body(&body);
    if encoding != Encoding::Identity {
        // What it may become: given back with the rest when the request is answered.
        gate.bodies.take(&mut share, body.len().saturating_mul(16).min(INFLATED_BYTES_MAX))?;
    }
    if opt_out::is_asked(&gate, &parts.headers) {
        return opt_out::drop_all(&gate, &body, encoding, submission.form);
    }
    let (durability, sender) = (submission.durability, submission.sender);
    let rate = sender.source.rate.clone();
    let submission = Submission {
        body,
        encoding,
        form: submission.form,
        source: sender.source.name.clone(),
        sender: sender.source,
        payers: sender.payers,
        client_address: sender.client_address,
        received_millis: unix_millis(SystemTime::now()),
        durability: durability.unwrap_or_default(),
    };
    let ingest = gate.ingest.clone();
    let fates = Finish::new(async move {
        let _share = share;
        ingest.submit(submission).await
    })
    .await?;
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

/// What a request says before its body.
struct Preamble {
    sender: Admitted,
    form: BodyForm,
    encoding: Encoding,
    durability: Option<Durability>,
}

impl Preamble {
    fn read(gate: &Gate, request: &Parts) -> Result<Self, Problem> {
        let sender = admit(gate, request, Page::Origin)?;
        let headers = &request.headers;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(body::too_large());
        }
        Ok(Self { sender, form: form(headers)?, encoding: encoding(headers)?, durability: durability(headers)? })
    }
}

fn form(headers: &HeaderMap) -> Result<BodyForm, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(BodyForm::Any) };
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

/// `Prefer: durability=…` (RFC 7240); other preferences are none of ours.
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

/// The body of an answer.
#[derive(Serialize)]
struct Answer<'a> {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    retry: usize,
    results: Vec<ResultItem<'a>>,
}

#[derive(Serialize)]
struct ResultItem<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_uuid: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorItem<'a>>,
}

#[derive(Serialize)]
struct ErrorItem<'a> {
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    /// Where that schema can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_url: Option<String>,
    /// All faults, where there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

/// The answer for `fates`. Every event is in exactly one of the counts; `results` names all that were not plainly accepted.
pub(super) fn answer(fates: &[Fate]) -> Result<Response, Problem> {
    if fates.iter().all(|fate| fate.outcome == Outcome::Accepted) {
        return Ok(all_accepted(fates.len()));
    }
    let counts = Counts::of(fates.iter().map(|fate| &fate.outcome));
    let results = fates.iter().enumerate().filter_map(|(index, fate)| item(index, fate)).collect();
    let Counts { accepted, duplicates, rejected, retry } = counts;
    let answer = Answer { accepted, duplicates, rejected, retry, results };
    let problem = if rejected == fates.len() {
        Problem::new(ProblemCode::AllRejected, "every event was rejected; results says why")
    } else if retry == fates.len() {
        let (code, detail) = nothing_stored(fates);
        Problem::new(code, detail)
    } else {
        let status = if rejected + retry == 0 { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
        let mut response = (status, Json(answer)).into_response();
        if retry > 0 {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        return Ok(response);
    };
    match serde_json::to_value(&answer) {
        Ok(Value::Object(members)) => Err(problem.members(members)),
        _ => Err(problem),
    }
}

/// The usual answer, written without a serializer.
fn all_accepted(count: usize) -> Response {
    let body = format!("{{\"accepted\":{count},\"duplicates\":0,\"rejected\":0,\"retry\":0,\"results\":[]}}");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn item(index: usize, fate: &Fate) -> Option<ResultItem<'_>> {
    let (status, error) = match &fate.outcome {
        Outcome::Accepted => return None,
        Outcome::Duplicate => ("duplicate", None),
        Outcome::Rejected(rejection) => {
            let first = rejection.faults.first()?;
            let error = ErrorItem {
                code: rejection.code.as_str(),
                detail: &first.detail,
                pointer: Some(&first.pointer),
                schema: rejection.schema.as_deref(),
                schema_url: rejection.schema.as_deref().map(|schema| format!("{SCHEMAS}/{schema}")),
                errors: if rejection.faults.len() > 1 { &rejection.faults } else { &[] },
            };
            ("rejected", Some(error))
        }
        Outcome::Retry(cause) => {
            let (code, detail) = (cause.as_str(), cause.detail());
            ("retry", Some(ErrorItem { code, detail, pointer: None, schema: None, schema_url: None, errors: &[] }))
        }
    };
    Some(ResultItem { index, event_uuid: fate.event_uuid.as_deref(), status, error })
}

/// The code for a request of which nothing could be stored: the gravest cause of its events.
fn nothing_stored(fates: &[Fate]) -> (ProblemCode, &'static str) {
    let gravity = |cause: &RetryCause| match cause {
        RetryCause::StorageUnavailable => 5,
        RetryCause::QuotaFull => 4,
        RetryCause::DeadLettersFull => 3,
        RetryCause::DedupFull => 2,
        RetryCause::NotDeliveredInTime => 1,
        RetryCause::Busy | RetryCause::InFlight => 0,
    };
    let causes = fates.iter().filter_map(|fate| match &fate.outcome {
        Outcome::Retry(cause) => Some(*cause),
        _ => None,
    });
    let gravest = causes.max_by_key(gravity).unwrap_or(RetryCause::StorageUnavailable);
    let code = match gravity(&gravest) {
        0 => ProblemCode::Busy,
        1 => ProblemCode::NotDeliveredInTime,
        _ => ProblemCode::StorageUnavailable,
    };
    (code, gravest.detail())
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

    #[tokio::test]
    async fn the_usual_answer_is_what_the_serializer_would_write() {
        let written = Json(Answer { accepted: 7, duplicates: 0, rejected: 0, retry: 0, results: Vec::new() });
        let (usual, written) = (all_accepted(7), (StatusCode::ACCEPTED, written).into_response());
        assert_eq!((usual.status(), usual.headers()), (written.status(), written.headers()));
        let body = |response: Response| axum::body::to_bytes(response.into_body(), 1000);
        assert_eq!(body(usual).await.unwrap(), body(written).await.unwrap());
    }

    #[test]
    fn the_status_says_what_the_counts_say() {
        use crate::outcome::{RejectCode, Rejection};
        let rejected = || Outcome::Rejected(Box::new(Rejection::new(RejectCode::MissingField, "x", "")));
        let retry = Outcome::Retry;
        let status = |outcomes: Vec<Outcome>| {
            let fates: Vec<Fate> = outcomes.into_iter().map(|outcome| Fate { event_uuid: None, outcome }).collect();
            answer(&fates).unwrap_or_else(IntoResponse::into_response).status().as_u16()
        };
        assert_eq!(status(vec![Outcome::Accepted, Outcome::Duplicate]), 202);
        assert_eq!(status(vec![Outcome::Duplicate]), 202);
        assert_eq!(status(vec![Outcome::Accepted, rejected()]), 207);
        assert_eq!(status(vec![rejected(), rejected()]), 422);
        assert_eq!(status(vec![rejected(), Outcome::Duplicate]), 207);
        assert_eq!(status(vec![rejected(), retry(RetryCause::Busy)]), 207);
        assert_eq!(status(vec![retry(RetryCause::InFlight), retry(RetryCause::QuotaFull)]), 503);
    }
}
