//! PutRecords: AWS's rules. And for both services: the shard of each record, and what the faults make of a call.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Service, State, StreamState,
    api::{Reply, Wrong, stream_name},
    fault::Fault,
    shards::{ShardFault, hash_of_key},
    stored::{Fate, Stored},
};

/// What a call and a record may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub call_records_max: usize,
    /// Data and keys of all records.
    pub call_bytes_max: usize,
    /// Data and key of one record.
    pub record_bytes_max: usize,
}

impl Default for Limits {
    /// Kinesis, as third-party servers have it; AWS takes 10 MiB in a call by now.
    fn default() -> Self {
        Self { call_records_max: 500, call_bytes_max: 5 << 20, record_bytes_max: 1 << 20 }
    }
}

impl Limits {
    /// Firehose: records have no keys.
    pub const FIREHOSE: Self = Self { call_records_max: 500, call_bytes_max: 4 << 20, record_bytes_max: 1_000 << 10 };
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    records: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    data: String,
    partition_key: String,
    explicit_hash_key: Option<String>,
}

/// A record that obeys the rules.
pub struct Record {
    pub data: Bytes,
    /// Empty where the service has no keys.
    pub partition_key: String,
    pub explicit_hash_key: Option<u128>,
}

impl Record {
    fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// Answers the PutRecords call number `call`.
pub fn put_records(state: &mut State, call: usize, body: &Value) -> Result<Reply, Wrong> {
    let request: Request = Request::deserialize(body).map_err(|error| Wrong::new("SerializationException", error))?;
    state.calls[call].records = request.records.len();
    let limits = state.limits[Service::Kinesis as usize];
    check_count(request.records.len(), limits)?;
    let entries = request.records.into_iter().enumerate();
    let records = entries.map(|(index, entry)| check_entry(entry, &format!("records.{}.member", index + 1), limits));
    let records = records.collect::<Result<Vec<_>, Wrong>>()?;
    check_bytes(&records, limits)?;
    store(state, call, &stream_name(body)?, records, Service::Kinesis)
}

/// Stores the records of a call that obeys the rules, unless a fault or a shard is against it, and answers it.
pub fn store(state: &mut State, call: usize, name: &str, records: Vec<Record>, service: Service) -> Result<Reply, Wrong> {
    let of_service = state.streams.get_mut(name).filter(|stream| stream.service == service);
    let stream = of_service.ok_or_else(|| Wrong::no_stream(name))?;
    let delay = if stream.faults.draw(Fault::Slow) { stream.faults.slow } else { Duration::ZERO };
    let fault = stream.faults.next_call();
    state.calls[call].fault = fault;
    if let Some((status, code, message)) = fault.and_then(|fault| fault.error(service)) {
        return Err(Wrong { status, code, message: message.to_owned() });
    }
    let mut results = Vec::with_capacity(records.len() + 1);
    let is_stored = fault.is_none_or(Fault::is_after_storing);
    for (place, record) in records.into_iter().enumerate() {
        state.sequence += 1;
        results.push(if is_stored {
            put_record(stream, record, (call, place), state.sequence, name)
        } else {
            let shard = stream.shards.route(hash_of_key(&record.partition_key));
            service.stored(state.sequence, &stream.shards.all()[shard].id)
        });
    }
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    if is_stored {
        state.calls[call].stored = results.len() - failed;
    }
    match fault {
        Some(Fault::TooFewBefore | Fault::TooFewAfter) => {
            results.pop();
        }
        Some(Fault::TooManyBefore | Fault::TooManyAfter) => {
            results.push(service.stored(state.sequence, &stream.shards.all()[0].id));
        }
        _ => {}
    }
    let body = service.answer(failed, &results).to_string();
    let answer = |body: String, fate| Reply::Answer { status: 200, body: body.into(), fate, is_cut: false, delay };
    Ok(match fault {
        Some(Fault::ResetBefore | Fault::ResetAfter) => Reply::Reset,
        Some(Fault::StallBefore | Fault::StallAfter) => Reply::Stall,
        Some(Fault::CutAfter) => Reply::Answer { status: 200, body: body.into(), fate: Fate::Lost, is_cut: true, delay },
        Some(Fault::GarbageBefore | Fault::GarbageAfter) => answer("<html>{\"Records\":[</html>".to_owned(), Fate::Lost),
        Some(_) => answer(body, Fate::Lost),
        None => answer(body, Fate::Answered),
    })
}

/// Stores a record, unless a fault or its shard is against it, and answers its result.
fn put_record(stream: &mut StreamState, record: Record, at: (usize, usize), sequence: u64, name: &str) -> Value {
    let service = stream.service;
    let hash = record.explicit_hash_key.unwrap_or_else(|| hash_of_key(&record.partition_key));
    let shard = stream.shards.route(hash);
    let fault = stream.shards.all()[shard].fault;
    let is_throttled = fault == Some(ShardFault::Throttled)
        || stream.faults.draw(Fault::RecordThrottled)
        || !stream.shards.takes(shard, record.bytes(), Instant::now());
    if is_throttled {
        return service.throttled(name, &stream.shards.all()[shard].id);
    }
    if fault == Some(ShardFault::Failing) || stream.faults.draw(Fault::RecordFailed) {
        return json!({"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."});
    }
    stream.stored.push(Stored {
        call: at.0,
        place: at.1,
        fate: Fate::Pending,
        shard,
        sequence,
        partition_key: record.partition_key,
        explicit_hash_key: record.explicit_hash_key,
        data: record.data,
        arrived: super::now_seconds(),
    });
    service.stored(sequence, &stream.shards.all()[shard].id)
}

/// Holds the number of a call's records against AWS's rules.
pub fn check_count(count: usize, limits: Limits) -> Result<(), Wrong> {
    let length = |relation: &str, limit: usize| format!("Member must have length {relation} than or equal to {limit}");
    if count == 0 || count > limits.call_records_max {
        let rule = if count == 0 { length("greater", 1) } else { length("less", limits.call_records_max) };
        return Err(Wrong::constraint("records", &rule));
    }
    Ok(())
}

/// Holds the bytes of a call against AWS's rules.
pub fn check_bytes(records: &[Record], limits: Limits) -> Result<(), Wrong> {
    let bytes: usize = records.iter().map(Record::bytes).sum();
    if bytes > limits.call_bytes_max {
        let limit = limits.call_bytes_max >> 20;
        return Err(Wrong::new("InvalidArgumentException", format_args!("Records size exceeds {limit} MB limit")));
    }
    Ok(())
}

/// The data of a record, held against AWS's rules.
pub fn check_data(data: &str, key_bytes: usize, place: &str, limits: Limits) -> Result<Bytes, Wrong> {
    let data = STANDARD.decode(data).map_err(|error| Wrong::new("SerializationException", error))?;
    if data.len() + key_bytes > limits.record_bytes_max {
        let rule = format!("Member must have length less than or equal to {}", limits.record_bytes_max);
        return Err(Wrong::constraint(&format!("{place}.data"), &rule));
    }
    Ok(data.into())
}

fn check_entry(entry: Entry, place: &str, limits: Limits) -> Result<Record, Wrong> {
    let key_length = entry.partition_key.chars().count();
    if !(1..=256).contains(&key_length) {
        let rule = "Member must have length between 1 and 256";
        return Err(Wrong::constraint(&format!("{place}.partitionKey"), rule));
    }
    let data = check_data(&entry.data, entry.partition_key.len(), place, limits)?;
    let explicit_hash_key = match entry.explicit_hash_key {
        None => None,
        Some(text) => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            if !is_number || text.is_empty() {
                let rule = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})";
                return Err(Wrong::constraint(&format!("{place}.explicitHashKey"), rule));
            }
            let wrong = || {
                let rule = "ExplicitHashKey must be in the range: [0, 2^128-1].";
                Wrong::new("InvalidArgumentException", format_args!("Invalid ExplicitHashKey. {rule} Specified value was {text}"))
            };
            Some(text.parse().map_err(|_| wrong())?)
        }
    };
    Ok(Record { data, partition_key: entry.partition_key, explicit_hash_key })
}
