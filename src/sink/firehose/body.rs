//! The body of a PutRecordBatch call.

use crate::sink::{aws::JsonBody, stream::StreamRecord};

/// Bytes of a record beside its data: its name and punctuation.
const MEMBERS_BYTES: usize = 16;

/// The body of a call with these records to the delivery stream `name`.
#[must_use]
pub fn put_record_batch_body(name: &str, records: &[StreamRecord]) -> Vec<u8> {
    let data_bytes = records.iter().map(StreamRecord::size).sum();
    let mut body = JsonBody::with_capacity(data_bytes, records.len() * MEMBERS_BYTES + 256);
    body.push("{\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        body.push(if index == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        body.push_base64(record.data());
        body.push("\"}");
    }
    body.push("],\"DeliveryStreamName\":");
    body.push_text(name);
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

    #[test]
    fn it_is_what_the_api_reads() {
        let packing = Packing { aggregation: Aggregation::Ndjson, bytes_max: 1000, events_max: 500, shares_key: false };
        let entry = |data: &str| Entry {
            seq: 0,
            key: "".into(),
            place: 0,
            data: data.as_bytes().into(),
            headers_bytes: 0,
            is_maybe_sent: false,
        };
        let records = [packing.record(vec![entry("{\"a\":1}\n"), entry("{}\n")]), packing.record(vec![entry("")])];
        let expected = json!({
            "Records": [{ "Data": "eyJhIjoxfQp7fQo=" }, { "Data": "" }],
            "DeliveryStreamName": "s\"1",
        });
        assert_eq!(serde_json::from_slice::<Value>(&put_record_batch_body("s\"1", &records)).unwrap(), expected);
    }
}
