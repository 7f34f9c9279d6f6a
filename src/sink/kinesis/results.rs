//! Reads the results of a PutRecords call directly from the response, because the SDK creates two strings for each record.

use std::{borrow::Cow, sync::Arc};

use crate::{
    json::{Kind, Node, Parser, Tape},
    sink::stream::{Answer, RecordResult},
};

/// The results in the body of a successful response to `sent` records. An inconsistent body counts as no response.
pub(super) fn read_results(sent: usize, body: &[u8]) -> Answer {
    let unreadable = |error: String| Answer::Unknown(format!("the answer cannot be read: {error}"));
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return unreadable(error.to_string()),
    };
    let mut tape = Tape::new();
    let mut parser = Parser::new(text, usize::MAX);
    match parser.value(&mut tape) {
        Ok(_) if parser.peek().is_none() => {}
        Ok(_) => return unreadable("more follows it".to_owned()),
        Err(error) => return unreadable(error.to_string()),
    }
    match results(&tape.root(text)) {
        Some((failed, results)) => Answer::each(sent, failed, results),
        None => unreadable("a member is missing, or of another kind".to_owned()),
    }
}

/// The number of failed records, if the answer has it, and the result of each record.
fn results(answer: &Node<'_>) -> Option<(Option<u64>, Vec<RecordResult>)> {
    let (mut failed, mut records) = (None, None);
    for (name, value) in answer.members() {
        match &*name {
            "FailedRecordCount" if value.kind() != Kind::Null => failed = Some(value.raw().parse().ok()?),
            "Records" if value.kind() == Kind::Array => records = Some(value),
            _ => {}
        }
    }
    let records = records?;
    let mut results = Vec::with_capacity(records.count());
    let mut last_shard: Arc<str> = "".into();
    for record in records.elements() {
        results.push(result(&record, &mut last_shard)?);
    }
    Some((failed, results))
}

/// The result of a record; `None` if it is no result. `last_shard` is the previous shard id: a stream has few shards, and their ids
/// are shared.
fn result(record: &Node<'_>, last_shard: &mut Arc<str>) -> Option<RecordResult> {
    if record.kind() != Kind::Object {
        return None;
    }
    let (mut code, mut number, mut shard) = (None, None, Cow::Borrowed(""));
    for (name, value) in record.members().filter(|(_, value)| value.kind() != Kind::Null) {
        match &*name {
            "ErrorCode" => code = Some(value.string()?),
            "SequenceNumber" => number = Some(value.string()?),
            "ShardId" => shard = value.string()?,
            _ => {}
        }
    }
    Some(match (code.as_deref(), number.as_deref()) {
        (Some("ProvisionedThroughputExceededException"), _) => RecordResult::Throttled,
        (Some(code), _) => RecordResult::Failed { code: code.to_owned() },
        (None, Some(number)) if !number.is_empty() => {
            if **last_shard != *shard {
                *last_shard = (&*shard).into();
            }
            RecordResult::Stored { shard: Some(last_shard.clone()) }
        }
        // Neither stored nor failed: there is no evidence that the stream has the record.
        (None, _) => RecordResult::Failed { code: "no sequence number".into() },
    })
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
