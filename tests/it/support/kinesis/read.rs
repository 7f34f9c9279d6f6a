//! GetShardIterator and GetRecords: AWS's rules for those who read.
//!
//! An iterator is the stream's name, the index of the shard, and the sequence number from which on it reads.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Service, State, StreamState,
    api::{Reply, Wrong, ok, stream, stream_name},
    fault::Fault,
    shards::{sequence_of, sequence_text},
    stored::Stored,
};

/// What a shard answers within a second, and in one answer.
const READS_PER_SECOND: usize = 5;
const BYTES_PER_SECOND: f64 = 2_097_152.0;
const ANSWER_BYTES_MAX: usize = 10 << 20;
const RECORDS_MAX: u64 = 10_000;

/// What was read of each shard lately.
#[derive(Default)]
pub struct Reads(BTreeMap<usize, ShardReads>);

#[derive(Default)]
struct ShardReads {
    at: VecDeque<Instant>,
    /// The bytes of the last answers are paid until then.
    paid_at: Option<Instant>,
}

impl Reads {
    /// Whether the shard may be read now, which then counts.
    fn allows(&mut self, shard: usize, now: Instant) -> bool {
        let reads = self.0.entry(shard).or_default();
        while reads.at.front().is_some_and(|at| now - *at >= Duration::from_secs(1)) {
            reads.at.pop_front();
        }
        if reads.at.len() >= READS_PER_SECOND || reads.paid_at.is_some_and(|at| now < at) {
            return false;
        }
        reads.at.push_back(now);
        true
    }

    fn pay(&mut self, shard: usize, bytes: usize, now: Instant) {
        let over = (bytes as f64 / BYTES_PER_SECOND - 1.0).max(0.0);
        self.0.entry(shard).or_default().paid_at = Some(now + Duration::from_secs_f64(over));
    }
}

fn invalid(message: impl std::fmt::Display) -> Wrong {
    Wrong::new("InvalidArgumentException", message)
}

/// GetShardIterator
pub fn get_shard_iterator(state: &mut State, call: usize, body: &Value) -> Result<Reply, Wrong> {
    let name = stream_name(body)?;
    state.calls[call].stream.clone_from(&name);
    let newest = state.sequence + 1;
    let stream = stream(state, &name)?;
    let id = body["ShardId"].as_str().unwrap_or_default();
    let no_shard = || Wrong::new("ResourceNotFoundException", format_args!("Shard {id} in stream {name} does not exist"));
    let shard = stream.shards.all().iter().position(|shard| shard.id == id).ok_or_else(no_shard)?;
    let number = || body["StartingSequenceNumber"].as_str().and_then(sequence_of).ok_or_else(|| invalid("no such number"));
    let from = match body["ShardIteratorType"].as_str().unwrap_or_default() {
        "TRIM_HORIZON" => 0,
        "LATEST" => newest,
        "AT_SEQUENCE_NUMBER" => number()?,
        "AFTER_SEQUENCE_NUMBER" => number()? + 1,
        "AT_TIMESTAMP" => {
            let at = body["Timestamp"].as_f64().ok_or_else(|| invalid("Must specify timestampInMillis"))?;
            if at > super::now_seconds() {
                return Err(invalid("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis."));
            }
            of_shard(stream, shard).find(|stored| stored.arrived >= at).map_or(newest, |stored| stored.sequence)
        }
        kind => return Err(invalid(format_args!("ShardIteratorType {kind}"))),
    };
    Ok(ok(&json!({"ShardIterator": format!("{name}/{shard}/{from}")})))
}

fn of_shard(stream: &StreamState, shard: usize) -> impl Iterator<Item = &Stored> {
    stream.stored.iter().filter(move |stored| stored.shard == shard)
}

/// GetRecords
pub fn get_records(state: &mut State, call: usize, body: &Value) -> Result<Reply, Wrong> {
    let mut parts = body["ShardIterator"].as_str().unwrap_or_default().rsplitn(3, '/');
    let (from, shard, name) = (parts.next(), parts.next(), parts.next());
    let (Some(from), Some(shard), Some(name)) =
        (from.and_then(|from| from.parse::<u64>().ok()), shard.and_then(|shard| shard.parse::<usize>().ok()), name)
    else {
        return Err(invalid("Invalid ShardIterator."));
    };
    let limit = body["Limit"].as_u64().unwrap_or(RECORDS_MAX);
    if !(1..=RECORDS_MAX).contains(&limit) {
        return Err(Wrong::constraint("limit", &format!("Member must have value less than or equal to {RECORDS_MAX}")));
    }
    state.calls[call].stream = name.to_owned();
    let stream = stream(state, name)?;
    let faults = [Fault::ReadThrottled, Fault::ReadFailed, Fault::ReadDenied, Fault::IteratorExpired];
    if let Some(fault) = faults.into_iter().find(|fault| stream.faults.draw(*fault)) {
        let (status, code, message) = fault.error(Service::Kinesis).expect("all are errors");
        state.calls[call].fault = Some(fault);
        return Err(Wrong { status, code, message: message.to_owned() });
    }
    let now = Instant::now();
    if !stream.reads.allows(shard, now) {
        return Err(Wrong::new("ProvisionedThroughputExceededException", "Rate exceeded for the shard"));
    }
    // AWS may answer nothing although there is something.
    let is_empty = stream.faults.draw(Fault::ReadEmpty);
    let (mut records, mut bytes, mut next) = (Vec::new(), 0, from);
    let mut unread = of_shard(stream, shard).filter(|stored| stored.sequence >= from).peekable();
    while let Some(stored) = unread.next_if(|stored| !is_empty && bytes + stored.data.len() <= ANSWER_BYTES_MAX) {
        bytes += stored.data.len();
        next = stored.sequence + 1;
        records.push(json!({
            "SequenceNumber": sequence_text(stored.sequence),
            "ApproximateArrivalTimestamp": stored.arrived,
            "Data": STANDARD.encode(&stored.data),
            "PartitionKey": stored.partition_key,
        }));
        if records.len() as u64 == limit {
            break;
        }
    }
    let behind = unread.peek().map_or(0.0, |stored| (super::now_seconds() - stored.arrived).max(0.001) * 1e3);
    let has_ended = !stream.shards.all()[shard].is_open() && unread.peek().is_none();
    drop(unread);
    stream.reads.pay(shard, bytes, now);
    let mut answer = json!({"Records": records, "MillisBehindLatest": behind as u64});
    if !has_ended {
        answer["NextShardIterator"] = format!("{name}/{shard}/{next}").into();
    }
    Ok(ok(&answer))
}
