//! The JSON 1.1 protocol: which operation, which stream, and errors as AWS spells them.

use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    ACCOUNT, REGION, Service, State, StreamState,
    fault::Fault,
    firehose,
    put::put_records,
    read::{get_records, get_shard_iterator},
    stored::{Call, Fate},
};

/// What is done about a call.
pub enum Reply {
    /// This answer is given; where it `is_cut`, only half of it.
    Answer { status: u16, body: Bytes, fate: Fate, is_cut: bool, delay: Duration },
    /// The connection is reset.
    Reset,
    /// Nothing, for ever.
    Stall,
}

/// An error of a whole call.
pub struct Wrong {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Wrong {
    /// A client's error.
    pub fn new(code: &'static str, message: impl std::fmt::Display) -> Self {
        Self { status: 400, code, message: message.to_string() }
    }

    pub fn constraint(place: &str, rule: &str) -> Self {
        let message = format!("1 validation error detected: Value at '{place}' failed to satisfy constraint: {rule}");
        Self::new("ValidationException", message)
    }

    pub fn no_stream(name: &str) -> Self {
        Self::new("ResourceNotFoundException", format_args!("Stream {name} under account {ACCOUNT} not found."))
    }

    fn reply(self) -> Reply {
        let body = json!({"__type": self.code, "message": self.message}).to_string();
        Reply::Answer { status: self.status, body: body.into(), fate: Fate::Answered, is_cut: false, delay: Duration::ZERO }
    }
}

/// The stream that a request names, by its name or its ARN.
pub fn stream_name(body: &Value) -> Result<String, Wrong> {
    let arn = |arn: &str| arn.rsplit_once(":stream/").map(|(_, name)| name.to_owned());
    let named = body["StreamName"].as_str().map(str::to_owned).or_else(|| body["StreamARN"].as_str().and_then(arn));
    named.ok_or_else(|| Wrong::new("InvalidArgumentException", "Either StreamName or StreamARN must be provided"))
}

/// Takes the call in, does what it asks, and answers its number and what is to be replied.
pub fn handle(state: &mut State, connection: u64, headers: &HeaderMap, body: &[u8]) -> (usize, Reply) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = header("x-amz-target");
    let (service, operation) = Service::of_target(target).unwrap_or((Service::Kinesis, ""));
    let named = |body: &Value| match service {
        Service::Kinesis => stream_name(body),
        Service::Firehose => firehose::delivery_stream_name(body),
    };
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    let call = state.calls.len();
    state.calls.push(Call {
        at: Instant::now(),
        target: operation.to_owned(),
        stream: parsed.as_ref().ok().and_then(|body| named(body).ok()).unwrap_or_default(),
        connection,
        body_bytes: body.len(),
        records: 0,
        stored: 0,
        fault: None,
        status: 0,
        fate: Fate::Pending,
        settled_at: None,
    });
    state.calls_in_flight += 1;
    state.calls_in_flight_max = state.calls_in_flight_max.max(state.calls_in_flight);
    let reply = match parsed {
        _ if header("content-type") != "application/x-amz-json-1.1" => Err(Wrong::new("UnknownOperationException", "")),
        _ if !header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=") => {
            Err(Wrong::new("MissingAuthenticationTokenException", "Missing Authentication Token"))
        }
        Err(error) => Err(Wrong::new("SerializationException", error)),
        Ok(body) => match (service, operation) {
            (Service::Kinesis, "PutRecords") => put_records(state, call, &body),
            (Service::Kinesis, "ListShards") => list_shards(state, call, &body),
            (Service::Kinesis, "DescribeStreamSummary") => describe(state, &body),
            (Service::Kinesis, "GetShardIterator") => get_shard_iterator(state, call, &body),
            (Service::Kinesis, "GetRecords") => get_records(state, call, &body),
            (Service::Firehose, "PutRecordBatch") => firehose::put_record_batch(state, call, &body),
            (Service::Firehose, "DescribeDeliveryStream") => firehose::describe(state, call, &body),
            _ => Err(Wrong::new("UnknownOperationException", "")),
        },
    };
    let reply = reply.unwrap_or_else(Wrong::reply);
    if let Reply::Answer { status, .. } = reply {
        state.calls[call].status = status;
    }
    (call, reply)
}

pub fn ok(body: &Value) -> Reply {
    Reply::Answer { status: 200, body: body.to_string().into(), fate: Fate::Answered, is_cut: false, delay: Duration::ZERO }
}

/// A stream of Kinesis.
pub fn stream<'a>(state: &'a mut State, name: &str) -> Result<&'a mut StreamState, Wrong> {
    let stream = state.streams.get_mut(name).filter(|stream| stream.service == Service::Kinesis);
    stream.ok_or_else(|| Wrong::no_stream(name))
}

/// ListShards, in pages: a token is the stream's name and the index of the first shard of its page.
fn list_shards(state: &mut State, call: usize, body: &Value) -> Result<Reply, Wrong> {
    let invalid = |message: &str| Wrong::new("InvalidArgumentException", message);
    let (name, first) = match body["NextToken"].as_str() {
        None => (stream_name(body)?, 0),
        Some(_) if stream_name(body).is_ok() => return Err(invalid("NextToken and StreamName cannot be provided together.")),
        Some(token) => {
            let parts = token.rsplit_once('/').and_then(|(name, first)| Some((name.to_owned(), first.parse().ok()?)));
            parts.ok_or_else(|| invalid("NextToken is invalid."))?
        }
    };
    state.calls[call].stream.clone_from(&name);
    let asked = body["MaxResults"].as_u64().map_or(usize::MAX, |most| most as usize);
    let page = state.shards_per_page.min(asked);
    let stream = stream(state, &name)?;
    let faults = [Fault::ListShardsDenied, Fault::ListShardsFailed, Fault::ListShardsLimited];
    if let Some(fault) = faults.into_iter().find(|fault| stream.faults.draw(*fault)) {
        let (status, code, message) = fault.error(Service::Kinesis).expect("all three are errors");
        state.calls[call].fault = Some(fault);
        return Err(Wrong { status, code, message: message.to_owned() });
    }
    let all = stream.shards.all();
    let only_open = body["ShardFilter"]["Type"] == "AT_LATEST";
    let listed: Vec<_> = all.iter().filter(|shard| shard.is_open() || !only_open).collect();
    let end = listed.len().min(first + page);
    let shards: Vec<Value> = listed[first.min(end)..end].iter().map(|shard| shard.describe(all)).collect();
    let mut answer = json!({"Shards": shards});
    if end < listed.len() {
        answer["NextToken"] = format!("{name}/{end}").into();
    }
    Ok(ok(&answer))
}

fn describe(state: &mut State, body: &Value) -> Result<Reply, Wrong> {
    let name = stream_name(body)?;
    let record_kib_max = state.limits[Service::Kinesis as usize].record_bytes_max >> 10;
    let stream = stream(state, &name)?;
    let shards = stream.shards.all();
    Ok(ok(&json!({"StreamDescriptionSummary": {
        "StreamName": name,
        "StreamARN": format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "RetentionPeriodHours": stream.retention_hours,
        "StreamCreationTimestamp": stream.created,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
        "OpenShardCount": shards.iter().filter(|shard| shard.is_open()).count(),
        "ConsumerCount": 0,
        "MaxRecordSizeInKiB": record_kib_max,
    }})))
}
