//! The body of a PutRecords call.

use crate::sink::{aws::JsonBody, stream::StreamRecord};

/// Bytes of a record beside its data and its key: names, punctuation, and a place of 39 digits.
const MEMBERS_BYTES: usize = 100;

/// The body of a call with these records to `stream`, a name or an ARN.
#[must_use]
pub fn put_records_body(stream: &str, records: &[StreamRecord]) -> Vec<u8> {
    let data_bytes = records.iter().map(StreamRecord::size).sum();
    let mut body = JsonBody::with_capacity(data_bytes, records.len() * MEMBERS_BYTES + 256);
    body.push("{\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        body.push(if index == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        body.push_base64(record.data());
        body.push("\",\"PartitionKey\":");
        body.push_text(record.key());
        if let Some(place) = record.explicit_place {
            body.push(",\"ExplicitHashKey\":\"");
            body.push(&place.to_string());
            body.push("\"");
        }
        body.push("}");
    }
    body.push(if stream.starts_with("arn:") { "],\"StreamARN\":" } else { "],\"StreamName\":" });
    body.push_text(stream);
    body.push("}");
    body.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        config::Aggregation,
        sink::stream::{Entry, Packing},
    };

    fn records(aggregation: Aggregation, events: &[(&str, &str)]) -> Vec<StreamRecord> {
        let packing = Packing { aggregation, bytes_max: 1000, events_max: 500, shares_key: false };
        let entry = |(key, data): &(&str, &str)| Entry {
            seq: 0,
            key: (*key).into(),
            place: u128::MAX,
            data: data.as_bytes().into(),
            headers_bytes: 0,
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
