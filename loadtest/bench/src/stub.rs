//! A stream that takes everything: PutRecords and ListShards of Kinesis, PutRecordBatch and DescribeDeliveryStream of Firehose,
//! counting events and bytes without reading the JSON around them, with answers made once per number of records. It runs on a thread of this program, so its CPU is not the gateway's.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use memchr::{memchr, memchr_iter, memmem::Finder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Open shards of the stream. Why: an on-demand stream begins with as many.
const SHARDS: u128 = 4;

/// What a KPL aggregate begins with, and the bytes of the MD5 it ends with.
const KPL_MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const KPL_MD5_BYTES: usize = 16;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// One event: records are counted and not opened.
    OneEvent,
    /// A KPL aggregate, or lines: it is decoded, and what is in it counted.
    Packed,
}

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// PutRecords calls.
    pub(crate) calls: AtomicU64,
    /// Their records.
    pub(crate) records: AtomicU64,
    /// The events in them.
    pub(crate) events: AtomicU64,
}

/// The running stub. It ends with the program.
#[derive(Debug)]
pub(crate) struct Stub {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What came in.
    pub(crate) received: Arc<Received>,
}

impl Stub {
    /// Starts it on a free port of loopback.
    pub(crate) fn start(contents: Contents) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let received = Arc::new(Received::default());
        let stream = Arc::new(Stream { contents, received: received.clone(), answers: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("stub".into()).spawn(move || runtime.block_on(listen(listener, stream)))?;
        Ok(Self { address, received })
    }
}

async fn listen(listener: std::net::TcpListener, stream: Arc<Stream>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((connection, _)) = listener.accept().await {
        let _ = connection.set_nodelay(true);
        let stream = stream.clone();
        let service = service_fn(move |request| answer(stream.clone(), request));
        // How a connection ends is the gateway's affair.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Service {
    Kinesis,
    Firehose,
}

struct Stream {
    contents: Contents,
    received: Arc<Received>,
    /// The answer to a call, by its service and its records.
    answers: Mutex<HashMap<(Service, u64), Bytes>>,
}

async fn answer(stream: Arc<Stream>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let (status, answer) = match (target.rsplit(|byte| *byte == b'.').next(), body) {
        (Some(b"PutRecords"), Ok(body)) => put_answer_of(&stream, Service::Kinesis, &body),
        (Some(b"PutRecordBatch"), Ok(body)) => put_answer_of(&stream, Service::Firehose, &body),
        (Some(b"DescribeDeliveryStream"), Ok(_)) => (200, Bytes::from("{}")),
        (Some(b"ListShards"), Ok(_)) => (200, list_shards().to_string().into()),
        _ => (400, Bytes::from(r#"{"__type":"UnknownOperationException","message":""}"#)),
    };
    let mut response = Response::new(Full::new(answer));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/x-amz-json-1.1"));
    Ok(response)
}

fn put_answer_of(stream: &Stream, service: Service, body: &[u8]) -> (u16, Bytes) {
    stream.put(service, body).map_or_else(|| (400, Bytes::from("{}")), |answer| (200, answer))
}

impl Stream {
    /// Counts the call; none where it is not what the gateway should send.
    fn put(&self, service: Service, body: &[u8]) -> Option<Bytes> {
        let (mut records, mut events) = (0, 0);
        // Base64 has no quote and keys are UUIDs, so what looks like a field's name is one.
        for at in Finder::new(br#""Data":""#).find_iter(body) {
            records += 1;
            events += match self.contents {
                Contents::OneEvent => 1,
                Contents::Packed => {
                    let data = &body[at + 8..];
                    events_of_aggregate(&STANDARD.decode(&data[..memchr(b'"', data)?]).ok()?)?
                }
            };
        }
        if records == 0 {
            return None;
        }
        self.received.calls.fetch_add(1, Ordering::Relaxed);
        self.received.records.fetch_add(records, Ordering::Relaxed);
        self.received.events.fetch_add(events, Ordering::Release);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(answers.entry((service, records)).or_insert_with(|| put_answer(service, records)).clone())
    }
}

/// Events in the data of a record: those of an aggregate, or the lines where an aggregate of one was not worth it.
fn events_of_aggregate(data: &[u8]) -> Option<u64> {
    let Some(rest) = data.strip_prefix(&KPL_MAGIC) else { return Some(memchr_iter(b'\n', data).count() as u64) };
    let mut message = rest.get(..rest.len().checked_sub(KPL_MD5_BYTES)?)?;
    let mut events = 0;
    while !message.is_empty() {
        // Every field of AggregatedRecord is length-delimited; number 3 is a record.
        let tag = varint(&mut message)?;
        let length = usize::try_from(varint(&mut message)?).ok()?;
        message = message.get(length..)?;
        events += u64::from(tag >> 3 == 3);
    }
    Some(events)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_answer(service: Service, records: u64) -> Bytes {
    let number = "49590338271490256608559692538361571095921575989136588898";
    let result = match service {
        Service::Kinesis => json!({"SequenceNumber": number, "ShardId": "shardId-000000000000"}),
        // As long as AWS's own.
        Service::Firehose => json!({"RecordId": number.repeat(4)}),
    };
    let results = vec![result; records as usize];
    let answer = match service {
        Service::Kinesis => json!({"FailedRecordCount": 0, "EncryptionType": "NONE", "Records": results}),
        Service::Firehose => json!({"FailedPutCount": 0, "Encrypted": false, "RequestResponses": results}),
    };
    answer.to_string().into()
}

fn list_shards() -> Value {
    let width = u128::MAX / SHARDS + 1;
    let shard = |number: u128| {
        json!({
            "ShardId": format!("shardId-{number:012}"),
            "HashKeyRange": {
                "StartingHashKey": (number * width).to_string(),
                "EndingHashKey": (number * width + (width - 1)).to_string(),
            },
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        })
    };
    json!({"Shards": (0..SHARDS).map(shard).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_an_aggregate_are_counted() {
        let mut data = KPL_MAGIC.to_vec();
        // A partition key, then three records, the second with a length of two bytes.
        data.extend([0x0A, 1, b'k', 0x1A, 2, 8, 0, 0x1A, 0x80, 0x01]);
        data.extend([0; 128]);
        data.extend([0x1A, 0]);
        data.extend([0; KPL_MD5_BYTES]);
        assert_eq!(events_of_aggregate(&data), Some(3));
        assert_eq!(events_of_aggregate(b"{}\n"), Some(1));
        assert_eq!(events_of_aggregate(&data[..30]), None);
    }

    #[test]
    fn a_call_is_counted_and_answered_with_as_many_results() {
        let received = Arc::new(Received::default());
        let stream = Stream { contents: Contents::OneEvent, received: received.clone(), answers: Mutex::default() };
        let body = br#"{"Records":[{"Data":"e30K","PartitionKey":"a"},{"Data":"e30K","PartitionKey":"b"}],"StreamName":"s"}"#;
        let answer: Value = serde_json::from_slice(&stream.put(Service::Kinesis, body).unwrap()).unwrap();
        assert_eq!(answer["Records"].as_array().unwrap().len(), 2);
        assert_eq!(received.events.load(Ordering::Acquire), 2);
        let answer: Value = serde_json::from_slice(&stream.put(Service::Firehose, body).unwrap()).unwrap();
        assert_eq!(answer["RequestResponses"].as_array().unwrap().len(), 2);
        assert_eq!(stream.put(Service::Kinesis, b"{}"), None);
    }

    #[test]
    fn the_shards_own_every_hash_key_once() {
        let shards = list_shards();
        let keys =
            |index: usize, name: &str| shards["Shards"][index]["HashKeyRange"][name].as_str().unwrap().parse::<u128>().unwrap();
        assert_eq!(keys(0, "StartingHashKey"), 0);
        assert_eq!(keys(0, "EndingHashKey") + 1, keys(1, "StartingHashKey"));
        assert_eq!(keys(SHARDS as usize - 1, "EndingHashKey"), u128::MAX);
    }
}
