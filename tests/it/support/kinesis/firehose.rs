//! Firehose: PutRecordBatch with AWS's rules, and DescribeDeliveryStream.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ACCOUNT, REGION, Service, State,
    api::{Reply, Wrong, ok},
    fault::Fault,
    put::{Record, check_bytes, check_count, check_data, store},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    records: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    data: String,
}

/// The delivery stream that a request names.
pub fn delivery_stream_name(body: &Value) -> Result<String, Wrong> {
    let name = body["DeliveryStreamName"].as_str();
    let name = name.ok_or_else(|| Wrong::constraint("deliveryStreamName", "Member must not be null"))?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !(1..=64).contains(&name.len()) || !name.chars().all(is_allowed) {
        let rule = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
        return Err(Wrong::constraint("deliveryStreamName", rule));
    }
    Ok(name.to_owned())
}

/// Answers the PutRecordBatch call number `call`.
pub fn put_record_batch(state: &mut State, call: usize, body: &Value) -> Result<Reply, Wrong> {
    let request: Request = Request::deserialize(body).map_err(|error| Wrong::new("SerializationException", error))?;
    state.calls[call].records = request.records.len();
    let limits = state.limits[Service::Firehose as usize];
    check_count(request.records.len(), limits)?;
    let entries = request.records.iter().enumerate();
    let records = entries.map(|(index, entry)| {
        let data = check_data(&entry.data, 0, &format!("records.{}.member", index + 1), limits)?;
        Ok(Record { data, partition_key: String::new(), explicit_hash_key: None })
    });
    let records = records.collect::<Result<Vec<_>, Wrong>>()?;
    check_bytes(&records, limits)?;
    store(state, call, &delivery_stream_name(body)?, records, Service::Firehose)
}

/// Answers DescribeDeliveryStream. It fails by the same faults as ListShards.
pub fn describe(state: &mut State, call: usize, body: &Value) -> Result<Reply, Wrong> {
    let name = delivery_stream_name(body)?;
    let stream = state.streams.get_mut(&name).filter(|stream| stream.service == Service::Firehose);
    let stream = stream.ok_or_else(|| Wrong::no_stream(&name))?;
    let faults = [Fault::ListShardsDenied, Fault::ListShardsFailed, Fault::ListShardsLimited];
    if let Some(fault) = faults.into_iter().find(|fault| stream.faults.draw(*fault)) {
        let (status, code, message) = fault.error(Service::Firehose).expect("all three are errors");
        state.calls[call].fault = Some(fault);
        return Err(Wrong { status, code, message: message.to_owned() });
    }
    Ok(ok(&json!({"DeliveryStreamDescription": {
        "DeliveryStreamName": name,
        "DeliveryStreamARN": format!("arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/{name}"),
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "Destinations": [],
        "HasMoreDestinations": false,
    }})))
}
