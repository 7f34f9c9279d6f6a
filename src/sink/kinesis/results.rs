//! Reads the results of a PutRecords call directly from the response, because the SDK creates two strings for each record.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;

use crate::sink::stream::{Answer, RecordResult};

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(rename = "FailedRecordCount")]
    failed: Option<u64>,
    #[serde(rename = "Records", borrow)]
    records: Vec<ResultItem<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ResultItem<'a> {
    #[serde(borrow)]
    error_code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sequence_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    shard_id: Option<Cow<'a, str>>,
}

/// The results in the body of a successful response to `sent` records. An inconsistent body counts as no response.
pub(super) fn read_results(sent: usize, body: &[u8]) -> Answer {
    let Results { failed, records } = match serde_json::from_slice(body) {
        Ok(results) => results,
        Err(error) => return Answer::Unknown(format!("the answer cannot be read: {error}")),
    };
    let mut last_shard: Arc<str> = "".into();
    Answer::each(sent, failed, records.iter().map(|record| read_result(record, &mut last_shard)).collect())
}

/// `last_shard` is the previous shard id: a stream has few shards, and their ids are shared.
fn read_result(result: &ResultItem<'_>, last_shard: &mut Arc<str>) -> RecordResult {
    match (result.error_code.as_deref(), result.sequence_number.as_deref()) {
        (Some("ProvisionedThroughputExceededException"), _) => RecordResult::Throttled,
        (Some(code), _) => RecordResult::Failed { code: code.to_owned() },
        (None, Some(number)) if !number.is_empty() => {
            let shard = result.shard_id.as_deref().unwrap_or_default();
            if **last_shard != *shard {
                *last_shard = shard.into();
            }
            RecordResult::Stored { shard: Some(last_shard.clone()) }
        }
        // Neither stored nor failed: there is no evidence that the stream has the record.
        (None, _) => RecordResult::Failed { code: "no sequence number".into() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stored(shard: &str) -> Value {
        json!({ "SequenceNumber": "1", "ShardId": shard, "ErrorCode": null })
    }

    fn failed(code: &str) -> Value {
        json!({ "ErrorCode": code, "ErrorMessage": "m" })
    }

    fn read(sent: usize, failed: impl Into<Value>, records: &[Value]) -> Answer {
        read_results(
            sent,
            json!({ "FailedRecordCount": failed.into(), "Records": records, "EncryptionType": "KMS" }).to_string().as_bytes(),
        )
    }

    #[test]
    fn each_record_counts_for_itself_and_silence_is_no_success() {
        let records =
            [stored("s"), failed("ProvisionedThroughputExceededException"), failed("Internal\nFailure"), json!({}), stored("t")];
        let Answer::Each(results) = read(5, 3, &records) else { panic!() };
        let at = |shard: &str| RecordResult::Stored { shard: Some(shard.into()) };
        let failed = |code: &str| RecordResult::Failed { code: code.into() };
        let expected = [at("s"), RecordResult::Throttled, failed("Internal\nFailure"), failed("no sequence number"), at("t")];
        assert_eq!(results, expected);
    }

    #[test]
    fn an_answer_that_does_not_add_up_is_no_answer() {
        assert!(matches!(read(2, 0, &[stored("s")]), Answer::Unknown(_)), "too few");
        assert!(matches!(read(1, 0, &[stored("s"), stored("s")]), Answer::Unknown(_)), "too many");
        assert!(matches!(read(1, 1, &[stored("s")]), Answer::Unknown(_)), "a failure that nobody owns");
        assert!(matches!(read(1, 0, &[failed("InternalFailure")]), Answer::Unknown(_)), "a failure not counted");
        assert!(matches!(read(1, Value::Null, &[stored("s")]), Answer::Each(_)), "a server that does not count");
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            b"{\"Records\":[{\"SequenceNumber\":\"1\"",
            b"{\"Records\":[{\"SequenceNumber\":1}]}",
            b"\xff",
        ] {
            assert!(matches!(read_results(1, body), Answer::Unknown(_)), "{body:?}");
        }
    }
}
