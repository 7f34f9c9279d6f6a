//! Reads the results of a PutRecordBatch call directly from the response, because the SDK creates two strings for each record.

use std::borrow::Cow;

use serde::Deserialize;

use super::error::is_throttling;
use crate::sink::stream::{Answer, RecordResult};

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(rename = "FailedPutCount")]
    failed: Option<u64>,
    #[serde(rename = "RequestResponses", borrow)]
    records: Vec<ResultItem<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ResultItem<'a> {
    #[serde(borrow)]
    record_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_code: Option<Cow<'a, str>>,
}

/// The results in the body of a successful response to `sent` records. An inconsistent body counts as no response.
pub(super) fn read_results(sent: usize, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Results<'_>>(body) {
        Ok(Results { failed, records }) => Answer::each(sent, failed, records.iter().map(read_result).collect()),
        Err(error) => Answer::Unknown(format!("the answer cannot be read: {error}")),
    }
}

fn read_result(result: &ResultItem<'_>) -> RecordResult {
    match (result.error_code.as_deref(), result.record_id.as_deref()) {
        (Some(code), _) if is_throttling(code) => RecordResult::Throttled,
        (Some(code), _) => RecordResult::Failed { code: code.to_owned() },
        (None, Some(id)) if !id.is_empty() => RecordResult::Stored { shard: None },
        // Neither stored nor failed: there is no evidence that the delivery stream has the record.
        (None, _) => RecordResult::Failed { code: "no record id".into() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(sent: usize, failed: impl Into<Value>, records: &[Value]) -> Answer {
        let body = json!({ "FailedPutCount": failed.into(), "Encrypted": true, "RequestResponses": records });
        read_results(sent, body.to_string().as_bytes())
    }

    fn stored() -> Value {
        json!({ "RecordId": "r/1", "ErrorCode": null })
    }

    fn failed(code: &str) -> Value {
        json!({ "ErrorCode": code, "ErrorMessage": "m" })
    }

    #[test]
    fn each_record_counts_for_itself_and_silence_is_no_success() {
        let records = [stored(), failed("ServiceUnavailableException"), failed("Internal\nFailure"), json!({}), failed("")];
        let failed = |code: &str| RecordResult::Failed { code: code.into() };
        let expected = vec![
            RecordResult::Stored { shard: None },
            RecordResult::Throttled,
            failed("Internal\nFailure"),
            failed("no record id"),
            failed(""),
        ];
        assert_eq!(read(5, 4, &records), Answer::Each(expected));
        let both = json!({ "RecordId": "r", "ErrorCode": "InternalFailure" });
        assert_eq!(read(1, 1, &[both]), Answer::Each(vec![failed("InternalFailure")]), "an error beside an id is an error");
    }

    #[test]
    fn an_answer_that_does_not_add_up_is_no_answer() {
        assert!(matches!(read(2, 0, &[stored()]), Answer::Unknown(_)), "too few");
        assert!(matches!(read(1, 0, &[stored(), stored()]), Answer::Unknown(_)), "too many");
        assert!(matches!(read(1, 1, &[stored()]), Answer::Unknown(_)), "a failure that nobody owns");
        assert!(matches!(read(1, 0, &[failed("InternalFailure")]), Answer::Unknown(_)), "a failure not counted");
        assert!(matches!(read(1, Value::Null, &[stored()]), Answer::Each(_)), "a server that does not count");
        for body in [&b""[..], b"{}", b"[]", b"{\"RequestResponses\":[{\"RecordId\":\"1\"", b"\xff"] {
            assert!(matches!(read_results(1, body), Answer::Unknown(_)), "{body:?}");
        }
    }
}
