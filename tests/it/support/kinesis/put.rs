//! PutRecords: AWS's rules, the shard of each record, and what the faults make of it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    ACCOUNT, State, StreamState,
    api::{Reply, Wrong, stream_name},
    fault::Fault,
    shards::{ShardFault, hash_of_key, sequence_text},
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
    /// As third-party servers have it; AWS takes 10 MiB in a call by now.
    fn default() -> Self {
        Self { call_records_max: 500, call_bytes_max: 5 << 20, record_bytes_max: 1 << 20 }
    }
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
struct Record {
    data: Bytes,
    partition_key: String,
    explicit_hash_key: Option<u128>,
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
    let records = check(request, state.limits)?;
    let name = stream_name(body)?;
    let stream = state.streams.get_mut(&name).ok_or_else(|| Wrong::no_stream(&name))?;
    let delay = if stream.faults.draw(Fault::Slow) { stream.faults.slow } else { Duration::ZERO };
    let fault = stream.faults.next_call();
    state.calls[call].fault = fault;
    if let Some((status, code, message)) = fault.and_then(Fault::error) {
        return Err(Wrong { status, code, message: message.to_owned() });
    }
    let mut results = Vec::with_capacity(records.len() + 1);
    let is_stored = fault.is_none_or(Fault::is_after_storing);
    for (place, record) in records.into_iter().enumerate() {
        state.sequence += 1;
        results.push(if is_stored {
            put_record(stream, record, (call, place), state.sequence, &name)
        } else {
            let shard = stream.shards.route(hash_of_key(&record.partition_key));
            success(stream, shard, state.sequence)
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
        Some(Fault::TooManyBefore | Fault::TooManyAfter) => results.push(success(stream, 0, state.sequence)),
        _ => {}
    }
    let body = json!({"FailedRecordCount": failed, "EncryptionType": "NONE", "Records": results}).to_string();
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
    let hash = record.explicit_hash_key.unwrap_or_else(|| hash_of_key(&record.partition_key));
    let shard = stream.shards.route(hash);
    let fault = stream.shards.all()[shard].fault;
    let is_throttled = fault == Some(ShardFault::Throttled)
        || stream.faults.draw(Fault::RecordThrottled)
        || !stream.shards.takes(shard, record.bytes(), Instant::now());
    if is_throttled {
        let id = &stream.shards.all()[shard].id;
        let message = format!("Rate exceeded for shard {id} in stream {name} under account {ACCOUNT}.");
        return json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": message});
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
    });
    success(stream, shard, sequence)
}

fn success(stream: &StreamState, shard: usize, sequence: u64) -> Value {
    json!({"SequenceNumber": sequence_text(sequence), "ShardId": stream.shards.all()[shard].id})
}

/// Holds a request against AWS's rules.
fn check(request: Request, limits: Limits) -> Result<Vec<Record>, Wrong> {
    let count = request.records.len();
    let length = |relation: &str, limit: usize| format!("Member must have length {relation} than or equal to {limit}");
    if count == 0 || count > limits.call_records_max {
        let rule = if count == 0 { length("greater", 1) } else { length("less", limits.call_records_max) };
        return Err(Wrong::constraint("records", &rule));
    }
    let mut records = Vec::with_capacity(count);
    for (index, entry) in request.records.into_iter().enumerate() {
        records.push(check_entry(entry, &format!("records.{}.member", index + 1), limits)?);
    }
    let bytes: usize = records.iter().map(Record::bytes).sum();
    if bytes > limits.call_bytes_max {
        let limit = limits.call_bytes_max >> 20;
        return Err(Wrong::new("InvalidArgumentException", format_args!("Records size exceeds {limit} MB limit")));
    }
    Ok(records)
}

fn check_entry(entry: Entry, place: &str, limits: Limits) -> Result<Record, Wrong> {
    let key_length = entry.partition_key.chars().count();
    if !(1..=256).contains(&key_length) {
        let rule = "Member must have length between 1 and 256";
        return Err(Wrong::constraint(&format!("{place}.partitionKey"), rule));
    }
    let data = STANDARD.decode(&entry.data).map_err(|error| Wrong::new("SerializationException", error))?;
    if data.len() + entry.partition_key.len() > limits.record_bytes_max {
        let rule = format!("Member must have length less than or equal to {}", limits.record_bytes_max);
        return Err(Wrong::constraint(&format!("{place}.data"), &rule));
    }
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
    Ok(Record { data: data.into(), partition_key: entry.partition_key, explicit_hash_key })
}
