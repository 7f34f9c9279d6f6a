//! The body of a PutRecords call, written in one go: the SDK's own way copies every event three times.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::record::StreamRecord;

/// Bytes that a record takes beside its data and its key: names, punctuation, and a place of 39 digits.
const MEMBERS_BYTES: usize = 100;

/// A stream as a call names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamId<'a> {
    Arn(&'a str),
    Name(&'a str),
}

/// The body, as the API's JSON protocol (`application/x-amz-json-1.1`) has it.
pub(super) fn put_records_body(stream: StreamId<'_>, records: &[StreamRecord]) -> Vec<u8> {
    let record_bytes = |record: &StreamRecord| record.size() * 4 / 3 + MEMBERS_BYTES;
    let mut body = String::with_capacity(records.iter().map(record_bytes).sum::<usize>() + 256);
    body.push_str("{\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        body.push_str(if index == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        STANDARD.encode_string(record.data(), &mut body);
        body.push_str("\",\"PartitionKey\":");
        push_text(record.key(), &mut body);
        if let Some(place) = record.explicit_place {
            body.push_str(",\"ExplicitHashKey\":\"");
            body.push_str(&place.to_string());
            body.push('"');
        }
        body.push('}');
    }
    let (member, stream) = match stream {
        StreamId::Arn(arn) => ("],\"StreamARN\":", arn),
        StreamId::Name(name) => ("],\"StreamName\":", name),
    };
    body.push_str(member);
    push_text(stream, &mut body);
    body.push('}');
    body.into_bytes()
}

fn push_text(text: &str, body: &mut String) {
    match serde_json::to_string(text) {
        Ok(quoted) => body.push_str(&quoted),
        Err(_) => unreachable!("a string is written into memory"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::record::{Entry, Packing},
        *,
    };
    use crate::config::Aggregation;

    fn records(aggregation: Aggregation, events: &[(&str, &str)]) -> Vec<StreamRecord> {
        let packing = Packing { aggregation, bytes_max: 1000, shares_key: false };
        let entry = |(key, data): &(&str, &str)| Entry {
            seq: 0,
            key: (*key).into(),
            place: u128::MAX,
            data: data.as_bytes().into(),
            is_maybe_sent: false,
        };
        events.iter().map(|event| packing.record(vec![entry(event)])).collect()
    }

    #[test]
    fn it_is_what_the_api_reads() {
        let plain =
            put_records_body(StreamId::Name("s\"1"), &records(Aggregation::None, &[("k\n\"é", "{\"a\":1}\n"), ("b", "")]));
        let expected = json!({
            "Records": [{ "Data": "eyJhIjoxfQo=", "PartitionKey": "k\n\"é" }, { "Data": "", "PartitionKey": "b" }],
            "StreamName": "s\"1",
        });
        assert_eq!(serde_json::from_slice::<Value>(&plain).unwrap(), expected);
        let placed = put_records_body(StreamId::Arn("arn:aws:kinesis:x"), &records(Aggregation::Ndjson, &[("k", "x")]));
        let expected = json!({
            "Records": [{ "Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": u128::MAX.to_string() }],
            "StreamARN": "arn:aws:kinesis:x",
        });
        assert_eq!(serde_json::from_slice::<Value>(&placed).unwrap(), expected);
    }
}
