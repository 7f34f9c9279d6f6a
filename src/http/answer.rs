//! The answer to a request for events: the counts, and `results`, which lists the events that were not simply accepted.
//!
//! An answer by each event ([`Answers::Each`]) is 202, 207, 422 or 503, and the client reads `results`. A whole answer
//! ([`Answers::Whole`]) is for clients that read only the status: 200 if every event is settled, also if all were rejected, or
//! 503 if any must be sent again. The client then sends the whole request again, and the settled events are duplicates, or
//! rejected without a second dead letter.
//!
//! `results` has a limit ([`ANSWER_RESULTS_BYTES_MAX`]), because a body of 200 bytes can make 10,000 rejected events with a
//! reason each. Events beyond the limit are left out, and `results_truncated` is set; the counts always cover all events. The
//! omitted events are chosen so that a client that regards unlisted events as settled loses none:
//!
//! - An answer that acknowledges events always lists every event that must be sent again. If even those do not fit, nothing is
//!   acknowledged: the client sends the whole body again, and the events that were stored are duplicates then.
//! - Rejected events come next, and duplicates last. Both are stored, and neither must be sent again.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;

use super::{
    problem::{Problem, ProblemCode},
    retry_after::Wait,
};
use crate::{
    config::Answers,
    ingest::Fate,
    limits::ANSWER_RESULTS_BYTES_MAX,
    outcome::{Counts, Fault, Outcome, RetryCause},
};

/// The path of the schemas, on the same host.
const SCHEMAS: &str = "/v1/schemas";

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnswerForm {
    pub(super) answers: Answers,
    /// Whether `results` lists only the events that must be sent again.
    pub(super) is_minimal: bool,
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
    /// The URL of that schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_url: Option<String>,
    /// All faults, if there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

/// The events that were not simply accepted, as the JSON of `results`.
struct Results {
    json: String,
    /// Whether any events are left out.
    is_truncated: bool,
    /// Whether any events that must be sent again are left out.
    lacks_retries: bool,
}

impl Results {
    /// Lists the events that were not simply accepted, in input order, up to the size limit; with `is_minimal` only those that
    /// must be sent again.
    fn of(fates: &[Fate], is_minimal: bool) -> Self {
        let mut text = Vec::new();
        let mut listed = Vec::new();
        let mut cut_at = None;
        let kinds: [fn(&Outcome) -> bool; 3] = [is_retry, is_rejected, is_duplicate];
        for of_kind in &kinds[..if is_minimal { 1 } else { 3 }] {
            let items = fates.iter().enumerate().filter(|(_, fate)| of_kind(&fate.outcome));
            for item in items.filter_map(|(index, fate)| item(index, fate)) {
                let start = text.len();
                // Cannot fail: only strings and numbers are written, into memory.
                let written = serde_json::to_writer(&mut text, &item);
                debug_assert!(written.is_ok());
                if text.len() + listed.len() > ANSWER_RESULTS_BYTES_MAX {
                    cut_at = Some(item.status);
                    break;
                }
                listed.push((item.index, start..text.len()));
            }
            if cut_at.is_some() {
                break;
            }
        }
        listed.sort_unstable_by_key(|(index, _)| *index);
        let mut json = String::with_capacity(text.len() + listed.len() + 2);
        json.push('[');
        for (at, (_, place)) in listed.into_iter().enumerate() {
            json.push_str(if at == 0 { "" } else { "," });
            json.push_str(std::str::from_utf8(&text[place]).unwrap_or_default());
        }
        json.push(']');
        Self { json, is_truncated: cut_at.is_some(), lacks_retries: cut_at == Some(RETRY) }
    }
}

/// The `status` of an event that must be sent again.
const RETRY: &str = "retry";

fn is_retry(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry(_))
}

fn is_rejected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(_))
}

fn is_duplicate(outcome: &Outcome) -> bool {
    *outcome == Outcome::Duplicate
}

/// The answer for `fates`. Every event is in exactly one of the counts. `headers` is empty; its memory is used if it can be.
pub(super) fn answer(fates: &[Fate], form: AnswerForm, headers: HeaderMap) -> Result<Response, Problem> {
    if fates.iter().all(|fate| fate.outcome == Outcome::Accepted) {
        return Ok(all_accepted(form.answers, fates.len(), headers));
    }
    let counts = Counts::of(fates.iter().map(|fate| &fate.outcome));
    let results = Results::of(fates, form.is_minimal);
    if form.answers == Answers::Whole {
        return whole(fates, &counts, results);
    }
    if counts.rejected == fates.len() {
        let problem = Problem::new(ProblemCode::AllRejected, "every event was rejected; results says why");
        return Err(with_members(problem, &counts, results));
    }
    let (code, detail) = nothing_stored(fates);
    if counts.retry == fates.len() {
        return Err(with_members(Problem::new(code, detail).wait(wait(fates)), &counts, results));
    }
    if results.lacks_retries {
        let detail = format!("{} events must be sent again, more than can be listed: send the whole request again", counts.retry);
        return Err(Problem::new(code, detail).wait(wait(fates)));
    }
    let status = if counts.rejected + counts.retry == 0 { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
    let mut response = counted(status, &counts, &results.json, results.is_truncated);
    if counts.retry > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, wait(fates).seconds().into());
    }
    Ok(response)
}

/// The answer for a client that reads only the status.
fn whole(fates: &[Fate], counts: &Counts, results: Results) -> Result<Response, Problem> {
    if counts.retry == 0 {
        return Ok(counted(status_of_taken(Answers::Whole), counts, &results.json, results.is_truncated));
    }
    let (code, cause) = nothing_stored(fates);
    let detail = match fates.len() - counts.retry {
        0 => cause.to_owned(),
        settled => format!("send the whole request again: {settled} events are settled, {} are not; {cause}", counts.retry),
    };
    if results.lacks_retries && counts.retry < fates.len() {
        // A client that reads `results` all the same must not take unlisted events for settled.
        return Err(Problem::new(code, detail).wait(wait(fates)));
    }
    Err(with_members(Problem::new(code, detail).wait(wait(fates)), counts, results))
}

/// The status if no event must be sent again.
pub(super) fn status_of_taken(answers: Answers) -> StatusCode {
    match answers {
        Answers::Each => StatusCode::ACCEPTED,
        Answers::Whole => StatusCode::OK,
    }
}

fn wait(fates: &[Fate]) -> Wait {
    Wait::of_all(causes(fates))
}

fn causes(fates: &[Fate]) -> impl Iterator<Item = RetryCause> + Clone {
    fates.iter().filter_map(|fate| match &fate.outcome {
        Outcome::Retry(cause) => Some(*cause),
        _ => None,
    })
}

fn with_members(problem: Problem, counts: &Counts, results: Results) -> Problem {
    let Counts { accepted, duplicates, rejected, retry } = *counts;
    let counts = [("accepted", accepted), ("duplicates", duplicates), ("rejected", rejected), ("retry", retry)];
    let problem = counts.into_iter().fold(problem, |problem, (name, count)| problem.member(name, count.to_string()));
    let problem = problem.member("results", results.json);
    if results.is_truncated { problem.member("results_truncated", "true".into()) } else { problem }
}

/// The usual answer. For a single event it is always the same.
fn all_accepted(answers: Answers, count: usize, headers: HeaderMap) -> Response {
    let body = match count {
        1 => Bytes::from_static(b"{\"accepted\":1,\"duplicates\":0,\"rejected\":0,\"retry\":0,\"results\":[]}"),
        _ => format!("{{\"accepted\":{count},\"duplicates\":0,\"rejected\":0,\"retry\":0,\"results\":[]}}").into(),
    };
    with_body(status_of_taken(answers), body, headers)
}

/// An answer with counts, written without a serializer.
fn counted(status: StatusCode, counts: &Counts, results: &str, is_truncated: bool) -> Response {
    let Counts { accepted, duplicates, rejected, retry } = *counts;
    let truncated = if is_truncated { ",\"results_truncated\":true" } else { "" };
    let body = format!(
        "{{\"accepted\":{accepted},\"duplicates\":{duplicates},\"rejected\":{rejected},\"retry\":{retry},\"results\":{results}{truncated}}}"
    );
    with_body(status, body.into(), HeaderMap::new())
}

fn with_body(status: StatusCode, body: Bytes, headers: HeaderMap) -> Response {
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
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
            (RETRY, Some(ErrorItem { code, detail, pointer: None, schema: None, schema_url: None, errors: &[] }))
        }
    };
    Some(ResultItem { index, event_uuid: fate.event_uuid.as_deref(), status, error })
}

/// The code for a request of which nothing could be stored: the most severe cause among its events.
fn nothing_stored(fates: &[Fate]) -> (ProblemCode, &'static str) {
    let gravity = |cause: &RetryCause| match cause {
        RetryCause::StorageUnavailable | RetryCause::Lost => 5,
        RetryCause::QuotaFull | RetryCause::KeySpoolShareFull | RetryCause::SinkUnavailable => 4,
        RetryCause::DeadLettersFull => 3,
        RetryCause::DedupFull | RetryCause::KeyDedupShareFull | RetryCause::DedupUnavailable => 2,
        RetryCause::NotDeliveredInTime => 1,
        RetryCause::Busy | RetryCause::InFlight => 0,
    };
    let gravest = causes(fates).max_by_key(gravity).unwrap_or(RetryCause::StorageUnavailable);
    let code = match gravity(&gravest) {
        0 => ProblemCode::Busy,
        1 => ProblemCode::NotDeliveredInTime,
        _ => ProblemCode::StorageUnavailable,
    };
    (code, gravest.detail())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::outcome::{RejectCode, Rejection};

    fn rejected(chars: usize) -> Outcome {
        Outcome::Rejected(Box::new(Rejection::new(RejectCode::MissingField, "x".repeat(chars), "/a")))
    }

    fn fates(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Fate> {
        outcomes.into_iter().map(|outcome| Fate { event_uuid: Some("\"".repeat(36)), outcome }).collect()
    }

    async fn answered(fates: &[Fate]) -> (u16, Value) {
        let (status, _, body) = answered_in(fates, AnswerForm::default()).await;
        (status, body)
    }

    /// Status, `Retry-After` and body.
    async fn answered_in(fates: &[Fate], form: AnswerForm) -> (u16, Option<u64>, Value) {
        let response = match answer(fates, form, HeaderMap::new()) {
            Ok(response) => response,
            Err(problem) => problem.write("id"),
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().parse().unwrap());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(body.len() < ANSWER_RESULTS_BYTES_MAX + 1000, "{} bytes", body.len());
        (status, retry_after, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_whole_answer_says_by_its_status_whether_all_is_settled() {
        let whole = AnswerForm { answers: Answers::Whole, is_minimal: false };
        let (accepted, duplicate) = (Outcome::Accepted, Outcome::Duplicate);
        for (outcomes, counts) in [
            (vec![accepted.clone()], [1, 0, 0, 0]),
            (vec![accepted.clone(), accepted.clone()], [2, 0, 0, 0]),
            (vec![duplicate.clone()], [0, 1, 0, 0]),
            (vec![rejected(1), rejected(1)], [0, 0, 2, 0]),
            (vec![accepted.clone(), duplicate.clone(), rejected(1)], [1, 1, 1, 0]),
            (vec![rejected(300); 10_000], [0, 0, 10_000, 0]),
        ] {
            let (status, retry_after, body) = answered_in(&fates(outcomes), whole).await;
            let said = ["accepted", "duplicates", "rejected", "retry"].map(|name| body[name].as_u64().unwrap());
            assert_eq!((status, retry_after, said, &body["code"]), (200, None, counts, &Value::Null));
        }
        for (outcomes, code, least) in [
            (vec![accepted.clone(), duplicate, rejected(1), Outcome::Retry(RetryCause::Busy)], "busy", 1),
            (vec![accepted.clone(), Outcome::Retry(RetryCause::QuotaFull)], "storage_unavailable", 10),
            (vec![accepted, Outcome::Retry(RetryCause::DeadLettersFull)], "storage_unavailable", 60),
            (vec![Outcome::Retry(RetryCause::InFlight)], "busy", 1),
            (vec![Outcome::Retry(RetryCause::InFlight); 10_000], "busy", 1),
        ] {
            let (status, retry_after, body) = answered_in(&fates(outcomes.clone()), whole).await;
            assert_eq!((status, &body["code"], &body["status"]), (503, &json!(code), &json!(503)), "{body}");
            assert!((least..=2 * least + 10).contains(&retry_after.unwrap()), "{retry_after:?}");
            let told = ["accepted", "duplicates", "rejected", "retry"].map(|name| body[name].as_u64().unwrap());
            assert_eq!(told.iter().sum::<u64>(), outcomes.len() as u64);
            assert!(listed(&body, "retry") > 0);
        }
        // If those to be sent again do not fit, nothing looks settled that is not.
        let mut many = vec![Outcome::Accepted; 100];
        many.extend(vec![Outcome::Retry(RetryCause::InFlight); 6_000]);
        let (status, _, body) = answered_in(&fates(many), whole).await;
        assert!(status == 503 && body.get("results").is_none() && body.get("accepted").is_none(), "{body}");
    }

    #[tokio::test]
    async fn a_minimal_answer_lists_only_what_must_be_sent_again_and_counts_all() {
        let minimal = AnswerForm { answers: Answers::Each, is_minimal: true };
        let mixed = [Outcome::Duplicate, rejected(1), Outcome::Retry(RetryCause::Busy), Outcome::Accepted];
        let (status, _, body) = answered_in(&fates(mixed), minimal).await;
        assert_eq!((status, &body["rejected"], &body["duplicates"]), (207, &json!(1), &json!(1)));
        assert_eq!((body["results"].as_array().unwrap().len(), &body["results"][0]["index"]), (1, &json!(2)));
        let (status, _, body) = answered_in(&fates(vec![rejected(300); 10_000]), minimal).await;
        assert_eq!((status, &body["rejected"], &body["results"]), (422, &json!(10_000), &json!([])));
        assert!(body.get("results_truncated").is_none(), "nothing is left out that was asked for");
    }

    fn listed(body: &Value, status: &str) -> usize {
        let results = body["results"].as_array().unwrap();
        assert!(results.is_sorted_by_key(|result| result["index"].as_u64()), "in input order");
        results.iter().filter(|result| result["status"] == status).count()
    }

    #[tokio::test]
    async fn the_usual_answers_are_as_they_always_were() {
        let (status, body) = answered(&fates(vec![Outcome::Accepted; 7])).await;
        assert_eq!((status, body), (202, json!({"accepted": 7, "duplicates": 0, "rejected": 0, "retry": 0, "results": []})));
        let some = fates([Outcome::Accepted, Outcome::Duplicate, rejected(1), Outcome::Retry(RetryCause::Busy)]);
        let (status, body) = answered(&some).await;
        let uuid = "\"".repeat(36);
        let error = json!({"code": "missing_field", "detail": "x", "pointer": "/a"});
        let busy = json!({"code": "busy", "detail": RetryCause::Busy.detail()});
        let results = json!([
            {"index": 1, "event_uuid": uuid, "status": "duplicate"},
            {"index": 2, "event_uuid": uuid, "status": "rejected", "error": error},
            {"index": 3, "event_uuid": uuid, "status": "retry", "error": busy},
        ]);
        let expected = json!({"accepted": 1, "duplicates": 1, "rejected": 1, "retry": 1, "results": results});
        assert_eq!((status, body), (207, expected));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_left_out_and_said_and_the_counts_are_those_of_all() {
        let (status, body) = answered(&fates(vec![rejected(300); 10_000])).await;
        assert_eq!((status, &body["rejected"], &body["results_truncated"]), (422, &json!(10_000), &json!(true)));
        assert!((400..1_000).contains(&listed(&body, "rejected")), "{}", listed(&body, "rejected"));
        let (status, body) = answered(&fates(vec![Outcome::Duplicate; 10_000])).await;
        assert_eq!((status, &body["duplicates"], &body["results_truncated"]), (202, &json!(10_000), &json!(true)));
        let (status, body) = answered(&fates(vec![Outcome::Retry(RetryCause::Busy); 10_000])).await;
        assert_eq!((status, &body["retry"], &body["results_truncated"]), (503, &json!(10_000), &json!(true)));
    }

    #[tokio::test]
    async fn no_event_that_must_be_sent_again_is_ever_left_out_of_an_answer_that_acknowledges_others() {
        // The retries come behind more rejected events than fit.
        let mut outcomes = vec![Outcome::Duplicate; 2_000];
        outcomes.extend(vec![rejected(100); 7_000]);
        outcomes.extend(vec![Outcome::Retry(RetryCause::InFlight); 900]);
        outcomes.extend(vec![Outcome::Accepted; 100]);
        let (status, body) = answered(&fates(outcomes.clone())).await;
        assert_eq!((status, &body["retry"], &body["rejected"]), (207, &json!(900), &json!(7_000)));
        assert_eq!((&body["results_truncated"], listed(&body, "retry"), listed(&body, "duplicate")), (&json!(true), 900, 0));
        assert!(listed(&body, "rejected") > 100);
        // If the retries themselves do not fit, nothing is acknowledged.
        outcomes.extend(vec![Outcome::Retry(RetryCause::InFlight); 5_000]);
        let (status, body) = answered(&fates(outcomes)).await;
        assert_eq!((status, &body["code"]), (503, &json!("busy")));
        assert!(body.get("results").is_none() && body.get("accepted").is_none(), "{body}");
    }

    #[tokio::test]
    async fn the_longest_result_of_all_fits() {
        let fault = || Fault::new("\u{1}".repeat(300), format!("/{}", "\u{1}".repeat(299)));
        let faults = (0..8).map(|_| fault()).collect();
        let longest = Rejection::of(RejectCode::SchemaViolation, faults, Some("menu:item:viewed/2".into()));
        let fate = Fate { event_uuid: Some("\u{1}".repeat(300)), outcome: Outcome::Rejected(Box::new(longest)) };
        let (status, body) = answered(&[fate]).await;
        assert_eq!((status, listed(&body, "rejected"), body.get("results_truncated")), (422, 1, None));
    }

    #[test]
    fn the_status_says_what_the_counts_say() {
        let rejected = || rejected(1);
        let retry = Outcome::Retry;
        let status = |outcomes: Vec<Outcome>| {
            let fates: Vec<Fate> = outcomes.into_iter().map(|outcome| Fate { event_uuid: None, outcome }).collect();
            answer(&fates, AnswerForm::default(), HeaderMap::new()).unwrap_or_else(IntoResponse::into_response).status().as_u16()
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
