//! Writes the body of a PutRecords call directly, because the SDK copies every event three times.

use base64::{
    Engine as _,
    engine::{general_purpose::PAD, simd::Simd},
};

use super::record::StreamRecord;

/// Bytes of a record beside its data and its key: names, punctuation, and a place of 39 digits.
const MEMBERS_BYTES: usize = 100;

/// The body of a call with these records to `stream`, a name or an ARN, in the API's JSON protocol
/// (`application/x-amz-json-1.1`).
#[must_use]
pub fn put_records_body(stream: &str, records: &[StreamRecord]) -> Vec<u8> {
    let record_bytes = |record: &StreamRecord| record.size() * 4 / 3 + MEMBERS_BYTES;
    let mut body = Vec::with_capacity(records.iter().map(record_bytes).sum::<usize>() + 256);
    let base64 = Simd::standard(PAD);
    push(&mut body, "{\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        push(&mut body, if index == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        push_base64(&mut body, &base64, record.data());
        push(&mut body, "\",\"PartitionKey\":");
        push_text(&mut body, record.key());
        if let Some(place) = record.explicit_place {
            push(&mut body, ",\"ExplicitHashKey\":\"");
            push(&mut body, &place.to_string());
            push(&mut body, "\"");
        }
        push(&mut body, "}");
    }
    push(&mut body, if stream.starts_with("arn:") { "],\"StreamARN\":" } else { "],\"StreamName\":" });
    push_text(&mut body, stream);
    push(&mut body, "}");
    body
}

fn push(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
}

fn push_base64(body: &mut Vec<u8>, base64: &Simd, data: &[u8]) {
    let start = body.len();
    body.resize(start + data.len().div_ceil(3) * 4, 0);
    let written = base64.encode_slice(data, &mut body[start..]);
    debug_assert_eq!(written, Ok(body.len() - start));
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    // A string written to memory cannot fail.
    let written = serde_json::to_writer(body, text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{entry::Entry, record::Packing},
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
        let plain = put_records_body("s\"1", &records(Aggregation::None, &[("k\n\"é", "{\"a\":1}\n"), ("b", "")]));
        let expected = json!({
            "Records": [{ "Data": "eyJhIjoxfQo=", "PartitionKey": "k\n\"é" }, { "Data": "", "PartitionKey": "b" }],
            "StreamName": "s\"1",
        });
        assert_eq!(serde_json::from_slice::<Value>(&plain).unwrap(), expected);
        let placed = put_records_body("arn:aws:kinesis:x", &records(Aggregation::Ndjson, &[("k", "x")]));
        let expected = json!({
            "Records": [{ "Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": u128::MAX.to_string() }],
            "StreamARN": "arn:aws:kinesis:x",
        });
        assert_eq!(serde_json::from_slice::<Value>(&placed).unwrap(), expected);
    }
}
