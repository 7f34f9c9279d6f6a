//! The Kinesis of `tests/it/support/kinesis.rs`: it keeps AWS's rules, and each of its faults does what it says. The client is
//! AWS's own SDK; only what no SDK would send is sent by hand.

use std::{collections::HashSet, time::Duration};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::put_records::{PutRecordsError, PutRecordsOutput},
    primitives::{Blob, DateTime},
    types::{PutRecordsRequestEntry, ShardIteratorType},
};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use uuid::Uuid;

use crate::support::kinesis::{Fate, Fault, KinesisServer, Limits, ShardFault, ShardRate, Stream};

const LIMIT: Duration = Duration::from_secs(20);

/// How long the SDK waits for an answer: five mebibytes, unoptimised, take half a second on a busy machine.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// The SDK, as the sink uses it: no retries of its own.
fn sdk(server: &KinesisServer) -> Client {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(crate::support::kinesis::REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .endpoint_url(server.url())
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(provider).build_https())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .build();
    Client::from_conf(config)
}

async fn server_with_stream(shards: usize) -> (KinesisServer, Stream, Client) {
    let server = KinesisServer::start(1).await;
    let stream = server.create_stream("events", shards);
    let client = sdk(&server);
    (server, stream, client)
}

fn line(uuid: Uuid) -> Vec<u8> {
    format!("{{\"event_uuid\":\"{uuid}\",\"n\":1e400}}\n").into_bytes()
}

fn uuids(range: std::ops::Range<u128>) -> Vec<Uuid> {
    range.map(Uuid::from_u128).collect()
}

fn entry(key: &str, data: impl Into<Vec<u8>>) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build().expect("all is set")
}

type PutResult = Result<PutRecordsOutput, SdkError<PutRecordsError>>;

async fn put_entries(client: &Client, entries: Vec<PutRecordsRequestEntry>) -> PutResult {
    Box::pin(client.put_records().stream_name("events").set_records(Some(entries)).send()).await
}

/// One record for each event, with its identity as the key.
async fn put(client: &Client, events: &[Uuid]) -> PutResult {
    put_entries(client, events.iter().map(|uuid| entry(&uuid.to_string(), line(*uuid))).collect()).await
}

/// The code of a call's error; `None` where it has none, because no answer came or it was no answer.
fn code(result: PutResult) -> Option<String> {
    result.expect_err("an error").as_service_error()?.code().map(str::to_owned)
}

/// A call by hand: the status and the body.
async fn call(server: &KinesisServer, target: &str, body: impl Into<Bytes>) -> (u16, Value) {
    let address = server.url();
    let stream = TcpStream::connect(address.trim_start_matches("http://")).await.expect("it listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::post("/")
        .header("host", "localhost")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{target}"))
        .header("authorization", "AWS4-HMAC-SHA256 Credential=test")
        .body(Full::new(body.into()))
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn what_is_put_is_in_the_shard_of_its_key() {
    let (server, stream, client) = server_with_stream(4).await;
    let events = uuids(0..200);
    let answer = put(&client, &events).await.expect("it is taken");
    assert_eq!((answer.failed_record_count(), answer.records().len()), (Some(0), 200));
    stream.wait_for_events(200, LIMIT).await;
    let (stored, shards) = (stream.stored(), stream.shards());
    for (record, result) in stored.iter().zip(answer.records()) {
        let shard = &shards[record.shard];
        assert_eq!(Some(shard.id.as_str()), result.shard_id());
        assert!(shard.contains(record.effective_hash()) && record.fate == Fate::Answered);
    }
    // `python3 -c 'import hashlib; print(int(hashlib.md5(b"a").hexdigest(), 16) * 4 >> 128)'` says 0; of "b" 2, of "e" 3.
    put_entries(&client, ["a", "b", "e"].map(|key| entry(key, line(Uuid::nil()))).to_vec()).await.expect("it is taken");
    assert_eq!(stream.stored()[200..].iter().map(|record| record.shard).collect::<Vec<_>>(), [0, 2, 3]);
    let explicit = PutRecordsRequestEntry::builder().partition_key("a").explicit_hash_key(u128::MAX.to_string());
    put_entries(&client, vec![explicit.data(Blob::new("x")).build().expect("all is set")]).await.expect("it is taken");
    assert_eq!(stream.stored()[203].shard, 3);
    assert_eq!(stream.records_per_shard().iter().sum::<usize>(), 204);
    let contents = stream.contents();
    assert_eq!((contents.copies.len(), contents.duplicates(), contents.unreadable.len()), (200, 3, 1));
    assert_eq!(contents.unexcused_duplicates(), [Uuid::nil()]);
    let call = &server.calls()[0];
    assert_eq!(
        (call.target.as_str(), call.stream.as_str(), call.records, call.stored, call.status),
        ("PutRecords", "events", 200, 200, 200)
    );
    assert_eq!((server.connections(), server.calls_in_flight_max()), (1, 1));
}

#[tokio::test]
async fn the_rules_of_aws_are_kept() {
    let (server, stream, client) = server_with_stream(1).await;
    let of_size = |bytes: usize| entry("k", vec![b'x'; bytes]);
    let validation = Some("ValidationException".to_owned());
    assert!(put_entries(&client, vec![of_size(1); 500]).await.is_ok());
    assert_eq!(code(put_entries(&client, vec![of_size(1); 501]).await), validation);
    assert_eq!(code(put_entries(&client, vec![]).await), validation);
    assert!(put_entries(&client, vec![of_size((1 << 20) - 1)]).await.is_ok());
    assert_eq!(code(put_entries(&client, vec![of_size(1 << 20)]).await), validation);
    assert!(put_entries(&client, vec![of_size((1 << 20) - 1); 5]).await.is_ok());
    let mut entries = vec![of_size((1 << 20) - 1); 5];
    entries.push(of_size(0));
    assert_eq!(code(put_entries(&client, entries.clone()).await).as_deref(), Some("InvalidArgumentException"));
    server.set_limits(Limits { call_bytes_max: 10 << 20, ..Limits::default() });
    assert!(put_entries(&client, entries).await.is_ok());
    assert!(put_entries(&client, vec![entry(&"é".repeat(256), "x")]).await.is_ok());
    for key in ["", &"é".repeat(257)] {
        assert_eq!(code(put_entries(&client, vec![entry(key, "x")]).await), validation);
    }
    let stored = stream.stored().len();
    let with = |name: &str, value: Value| {
        let mut record = json!({"Data": "eA==", "PartitionKey": "k"});
        record[name] = value;
        json!({"StreamName": "events", "Records": [record]}).to_string()
    };
    let largest = u128::MAX.to_string();
    for (body, expected) in [
        (with("ExplicitHashKey", json!(largest)), None),
        (with("ExplicitHashKey", json!("340282366920938463463374607431768211456")), Some("InvalidArgumentException")),
        (with("ExplicitHashKey", json!("01")), Some("ValidationException")),
        (with("ExplicitHashKey", json!("")), Some("ValidationException")),
        (with("Data", json!("e")), Some("SerializationException")),
        (with("Data", json!("e*==")), Some("SerializationException")),
        (with("PartitionKey", json!(7)), Some("SerializationException")),
        ("{".to_owned(), Some("SerializationException")),
        (r#"{"Records":[{"Data":"eA==","PartitionKey":"k"}]}"#.to_owned(), Some("InvalidArgumentException")),
        (with("Data", json!("eA==")).replace("events", "elsewhere"), Some("ResourceNotFoundException")),
        (
            with("Data", json!("eA=="))
                .replace("\"StreamName\":\"events\"", "\"StreamARN\":\"arn:aws:kinesis:x:y:stream/events\""),
            None,
        ),
    ] {
        let (status, answer) = call(&server, "PutRecords", body.clone()).await;
        assert_eq!(status, if expected.is_some() { 400 } else { 200 }, "{body}");
        assert_eq!(answer["__type"].as_str(), expected, "{body}");
    }
    assert_eq!(stream.stored().len(), stored + 2, "what is wrong is not stored");
    assert_eq!(call(&server, "DeleteStream", "{}").await, (400, json!({"__type": "UnknownOperationException", "message": ""})));
}

#[tokio::test]
async fn shards_are_listed_in_pages_with_their_parents() {
    let (server, stream, client) = server_with_stream(3).await;
    let events = uuids(0..300);
    put(&client, &events).await.expect("it is taken");
    let [lower, upper] = stream.split_shard(1);
    let merged = stream.merge_shards(2, upper);
    assert_eq!((lower, upper, merged), (3, 4, 5));
    server.set_shards_per_page(2);
    let (mut shards, mut token) = (Vec::new(), None);
    loop {
        let request = client.list_shards().set_next_token(token.clone());
        let request = if token.is_none() { request.stream_name("events") } else { request };
        let page = request.send().await.expect("a page");
        shards.extend(page.shards().to_vec());
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    let is_open = |index: &usize| shards[*index].sequence_number_range().expect("it has one").ending_sequence_number().is_none();
    assert_eq!((shards.len(), (0..6).filter(is_open).collect::<Vec<_>>()), (6, vec![0, 3, 5]));
    assert_eq!(shards[3].parent_shard_id(), Some("shardId-000000000001"));
    assert_eq!(shards[5].parent_shard_id(), Some("shardId-000000000002"));
    assert_eq!(shards[5].adjacent_parent_shard_id(), Some("shardId-000000000004"));
    let hash = |index: usize| shards[index].hash_key_range().expect("it has one");
    assert_eq!((hash(0).starting_hash_key(), hash(5).ending_hash_key()), ("0", u128::MAX.to_string().as_str()));
    let before = stream.records_per_shard();
    put(&client, &events).await.expect("it is taken");
    let added: Vec<_> = stream.records_per_shard().iter().zip(before).map(|(now, before)| now - before).collect();
    assert_eq!((added[1], added[2], added[4]), (0, 0, 0), "what is closed takes nothing");
    assert_eq!(added.iter().sum::<usize>(), 300);
    let summary = client.describe_stream_summary().stream_name("events").send().await.expect("an answer");
    assert_eq!(summary.stream_description_summary().expect("it is there").open_shard_count(), 3);
    stream.set(Fault::ListShardsDenied, 1.0);
    let error = client.list_shards().stream_name("events").send().await.expect_err("it is denied");
    assert_eq!(error.code(), Some("AccessDeniedException"));
}

#[tokio::test]
async fn what_was_put_is_read_back_from_any_place_and_no_shard_faster_than_aws_allows() {
    let (_server, stream, client) = server_with_stream(1).await;
    put(&client, &uuids(0..10)).await.expect("it is taken");
    let stored = stream.stored();
    let iterator = async |kind: ShardIteratorType, number: Option<String>| {
        let asked = client.get_shard_iterator().stream_name("events").shard_id("shardId-000000000000");
        let asked = asked.shard_iterator_type(kind).set_starting_sequence_number(number);
        asked.timestamp(DateTime::from_secs_f64(stored[0].arrived)).send().await.expect("an iterator").shard_iterator
    };
    let read = async |iterator: Option<String>, limit: i32| {
        client
            .get_records()
            .set_shard_iterator(iterator)
            .limit(limit)
            .send()
            .await
            .map_err(|error| error.code().map(str::to_owned))
    };
    // In pages, to the end of a closed shard.
    stream.split_shard(0);
    let first = read(iterator(ShardIteratorType::TrimHorizon, None).await, 7).await.expect("records");
    let second = read(first.next_shard_iterator.clone(), 7).await.expect("records");
    let ends = [first.next_shard_iterator.is_some(), second.next_shard_iterator.is_some()];
    assert_eq!((first.records.len(), second.records.len(), ends), (7, 3, [true, false]));
    assert!(first.records.iter().chain(&second.records).zip(&stored).all(|(read, stored)| read.data.as_ref() == stored.data));
    assert!(first.millis_behind_latest > Some(0) && second.millis_behind_latest == Some(0), "{first:?}");
    // From any place.
    let third = Some(first.records[2].sequence_number.clone());
    for (kind, number, expected) in [
        (ShardIteratorType::AtSequenceNumber, third.clone(), 8),
        (ShardIteratorType::AfterSequenceNumber, third, 7),
        (ShardIteratorType::AtTimestamp, None, 10),
        (ShardIteratorType::Latest, None, 0),
    ] {
        let from = iterator(kind.clone(), number).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(read(from, 100).await.expect("records").records.len(), expected, "{kind:?}");
    }
    let from = iterator(ShardIteratorType::TrimHorizon, None).await;
    for (fault, code) in [
        (Fault::ReadThrottled, "ProvisionedThroughputExceededException"),
        (Fault::ReadFailed, "InternalFailure"),
        (Fault::ReadDenied, "AccessDeniedException"),
        (Fault::IteratorExpired, "ExpiredIteratorException"),
    ] {
        stream.set(fault, 1.0);
        assert_eq!(read(from.clone(), 100).await.expect_err("an error").as_deref(), Some(code), "{fault:?}");
        stream.clear_faults();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reads = (0..8).map(|_| client.get_records().set_shard_iterator(from.clone()).send());
    let reads: JoinSet<_> = reads.collect();
    let passed = reads.join_all().await.into_iter().filter(Result::is_ok).count();
    assert!((1..=5).contains(&passed), "{passed} of 8 reads at once");
}

#[tokio::test]
async fn records_fail_one_by_one_as_often_as_they_should() {
    let (_server, stream, client) = server_with_stream(2).await;
    stream.set(Fault::RecordThrottled, 0.2).set(Fault::RecordFailed, 0.1);
    let mut answered = HashSet::new();
    for start in 0..10 {
        let events = uuids(start * 500..(start + 1) * 500);
        let answer = put(&client, &events).await.expect("the call passes");
        let ok = answer.records().iter().zip(&events).filter(|(result, _)| result.error_code().is_none());
        let before = answered.len();
        answered.extend(ok.map(|(_, uuid)| *uuid));
        assert_eq!(answer.failed_record_count(), Some(500 - (answered.len() - before) as i32));
    }
    stream.contents().assert_exactly(&answered);
    let (throttled, failed) = (stream.struck(Fault::RecordThrottled), stream.struck(Fault::RecordFailed));
    assert_eq!(answered.len() as u64, 5000 - throttled - failed);
    assert!((850..1150).contains(&throttled) && (300..500).contains(&failed), "{throttled} {failed}");
    stream.clear_faults();
    stream.set_shard_fault(1, Some(ShardFault::Throttled));
    let answer = put(&client, &uuids(0..500)).await.expect("the call passes");
    for (uuid, result) in uuids(0..500).iter().zip(answer.records()) {
        let hash =
            crate::support::kinesis::UserRecord { partition_key: uuid.to_string(), explicit_hash_key: None, data: Bytes::new() };
        let expected = stream.shards()[1].contains(hash.effective_hash()).then_some("ProvisionedThroughputExceededException");
        assert_eq!(result.error_code(), expected);
    }
}

#[tokio::test]
async fn a_shard_takes_what_its_bucket_holds() {
    let (_server, stream, client) = server_with_stream(1).await;
    stream.set_shard_rate(Some(ShardRate::AWS.times(0.1)));
    let failed = async |records: usize, bytes: usize| {
        let entries = vec![entry("k", vec![b'x'; bytes]); records];
        put_entries(&client, entries).await.expect("the call passes").failed_record_count().expect("it is there")
    };
    // A busy machine may take its time, in which the bucket fills again.
    let first = failed(150, 1).await;
    assert!((30..=50).contains(&first), "{first} of 150 beyond 100");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let second = failed(150, 1).await;
    assert!((50..=101).contains(&second), "{second} of 150 beyond what half a second brings");
    stream.set_shard_rate(Some(ShardRate { records: 1000.0, bytes: 100_000.0 }));
    assert_eq!(failed(5, 32_000).await, 2, "three fit");
    stream.set_shard_rate(None);
    assert_eq!(failed(500, 1).await, 0);
}

#[tokio::test]
async fn every_fault_of_a_call_does_what_it_says() {
    let (server, stream, client) = server_with_stream(2).await;
    let error_codes = [
        (Fault::CallFailed, "InternalFailure"),
        (Fault::CallUnavailable, "ServiceUnavailable"),
        (Fault::CallThrottled, "ProvisionedThroughputExceededException"),
        (Fault::CallLimited, "LimitExceededException"),
        (Fault::KmsThrottled, "KMSThrottlingException"),
        (Fault::KmsDenied, "KMSAccessDeniedException"),
        (Fault::NotFound, "ResourceNotFoundException"),
        (Fault::TokenExpired, "ExpiredTokenException"),
        (Fault::AccessDenied, "AccessDeniedException"),
    ];
    for (fault, expected) in error_codes {
        stream.script([Some(fault)]);
        assert_eq!(code(put(&client, &uuids(0..2)).await).as_deref(), Some(expected), "{fault:?}");
    }
    for (fault, expected) in [
        (Fault::ResetBefore, "Connection reset by peer"),
        (Fault::StallBefore, "TimeoutError"),
        (Fault::GarbageBefore, "ResponseError"),
    ] {
        stream.script([Some(fault)]);
        let error = format!("{:?}", put(&client, &uuids(0..2)).await.expect_err("an error"));
        assert!(error.contains(expected), "{fault:?}: {error}");
    }
    for (fault, results) in [(Fault::TooFewBefore, 1), (Fault::TooManyBefore, 3)] {
        stream.script([Some(fault)]);
        let answer = put(&client, &uuids(0..2)).await.expect("the SDK sees nothing wrong");
        assert_eq!(answer.records().len(), results, "{fault:?}");
        assert!(answer.records().iter().all(|result| result.error_code().is_none()), "{fault:?}");
    }
    assert!(stream.stored().is_empty());
    let mut first = 0;
    for fault in [Fault::ResetAfter, Fault::CutAfter, Fault::StallAfter, Fault::GarbageAfter] {
        stream.script([Some(fault)]);
        assert_eq!(code(put(&client, &uuids(first..first + 2)).await), None, "{fault:?}");
        first += 2;
    }
    for (fault, results) in [(Fault::TooFewAfter, 1), (Fault::TooManyAfter, 3)] {
        stream.script([Some(fault)]);
        let answer = put(&client, &uuids(first..first + 2)).await.expect("the SDK sees nothing wrong");
        assert_eq!(answer.records().len(), results, "{fault:?}");
        first += 2;
    }
    let contents = stream.contents();
    contents.assert_exactly(&uuids(0..first).into_iter().collect());
    assert_eq!(contents.copies_with_lost_answer(), first as usize, "no answer told of them");
    // Sent once more they are duplicates, but excused; a third time is one too many.
    put(&client, &uuids(0..first)).await.expect("it is taken");
    let contents = stream.contents();
    assert_eq!((contents.duplicates(), contents.unexcused_duplicates()), (first as usize, vec![]));
    put(&client, &uuids(3..4)).await.expect("it is taken");
    assert_eq!(stream.contents().unexcused_duplicates(), uuids(3..4));
    for fault in error_codes.iter().map(|(fault, _)| *fault).chain([Fault::ResetAfter, Fault::TooManyAfter]) {
        assert_eq!(stream.struck(fault), 1, "{fault:?}");
    }
    let calls = server.calls();
    assert_eq!(calls.iter().filter(|call| call.fault.is_some()).count(), 20);
    assert!(calls.iter().all(|call| call.fate != Fate::Pending));
}

#[tokio::test]
async fn an_answer_that_comes_when_the_client_has_hung_up_is_lost() {
    let (server, stream, client) = server_with_stream(1).await;
    stream.set_slow(Duration::from_secs(60));
    stream.set(Fault::Slow, 1.0);
    assert_eq!(code(put(&client, &uuids(0..3)).await), None);
    stream.clear_faults();
    put(&client, &uuids(0..3)).await.expect("it is taken");
    crate::support::eventually("the hanging-up is seen", LIMIT, async || server.calls()[0].fate == Fate::Lost).await;
    let contents = stream.contents();
    assert_eq!((contents.duplicates(), contents.unexcused_duplicates()), (3, vec![]));
}

#[tokio::test]
async fn an_outage_refuses_connections_and_ends() {
    let (server, stream, client) = server_with_stream(1).await;
    put(&client, &uuids(0..1)).await.expect("it is taken");
    server.begin_outage().await;
    for _ in 0..3 {
        let error = put(&client, &uuids(1..2)).await.expect_err("nobody listens");
        assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    }
    server.end_outage().await;
    put(&client, &uuids(1..2)).await.expect("it is taken");
    stream.contents().assert_exactly(&uuids(0..2).into_iter().collect());
    assert_eq!(stream.stored().len(), 2);
}

/// Made by `aws_kinesis_agg` 1.2.3 (PyPI) of events 1, 2 and 3 with keys k1, k2, k1 and explicit hash keys 7, 7 and none.
const AGGREGATE: &str = concat!(
    "f3899ac20a026b310a026b321201371a3c080010001a367b226576656e745f75756964223a2230303030303030302d303030302d303030302d3030",
    "30302d303030303030303030303031227d0a1a3c080110001a367b226576656e745f75756964223a2230303030303030302d303030302d30303030",
    "2d303030302d303030303030303030303032227d0a1a3a08001a367b226576656e745f75756964223a2230303030303030302d303030302d303030",
    "302d303030302d303030303030303030303033227d0a0940148edb43083a8d308a88fa616583",
);

#[tokio::test]
async fn aggregates_and_lines_are_opened_and_what_kcl_drops_is_known() {
    let (_server, stream, client) = server_with_stream(1).await;
    let aggregate: Vec<u8> =
        (0..AGGREGATE.len()).step_by(2).map(|at| u8::from_str_radix(&AGGREGATE[at..at + 2], 16).expect("hex")).collect();
    let two_lines = [line(Uuid::from_u128(4)), line(Uuid::from_u128(5))].concat();
    put_entries(&client, vec![entry("k1", aggregate.clone()), entry("lines", two_lines)]).await.expect("it is taken");
    let contents = stream.contents();
    contents.assert_exactly(&uuids(1..6).into_iter().collect());
    assert_eq!((contents.records, contents.aggregates, contents.user_records), (2, 1, 4));
    let by_key = contents.in_order_by_key();
    assert_eq!(
        (by_key["k1"].as_slice(), by_key["lines"].as_slice()),
        ([Uuid::from_u128(1), Uuid::from_u128(3)].as_slice(), uuids(4..6).as_slice())
    );
    assert!(stream.kcl_dropped().is_empty(), "one shard holds every hash");
    // The hash of k1 is in the upper half, the explicit 7 in the lower: after the split no shard holds both.
    stream.split_shard(0);
    put_entries(&client, vec![entry("k1", aggregate.clone())]).await.expect("it is taken");
    assert_eq!(stream.kcl_dropped(), uuids(1..4));
    let mut broken = aggregate;
    *broken.last_mut().expect("not empty") ^= 1;
    put_entries(&client, vec![entry("k1", broken)]).await.expect("it is taken");
    assert!(!stream.contents().unreadable.is_empty(), "with a wrong MD5 it is no aggregate, but somebody's data");
}
