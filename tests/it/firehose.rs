//! What Firehose has and Kinesis has not: its own limits and results, one lane with a quota, records without keys.

use std::{collections::HashSet, time::Duration};

use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::put_record_batch::{PutRecordBatchError, PutRecordBatchOutput},
    primitives::Blob,
    types::{DeliveryStreamDescription, Record},
};
use aws_smithy_http_client::tls;

use crate::support::{
    kinesis::{Fault, KinesisServer, REGION, Service, ShardRate},
    metrics::Scrape,
    say,
    streaming::{ARRIVAL_LIMIT, Rig, send},
};

fn sdk(server: &KinesisServer) -> Client {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .endpoint_url(server.url())
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(provider).build_https())
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

type PutResult = Result<PutRecordBatchOutput, SdkError<PutRecordBatchError>>;

async fn put(client: &Client, sizes: &[usize]) -> PutResult {
    let record = |bytes: &usize| Record::builder().data(Blob::new(vec![b'x'; *bytes])).build().expect("all is set");
    let records = sizes.iter().map(record).collect();
    Box::pin(client.put_record_batch().delivery_stream_name("events").set_records(Some(records)).send()).await
}

fn code(result: PutResult) -> String {
    result.expect_err("an error").as_service_error().expect("an answer").code().expect("a code").to_owned()
}

/// The server of the tests, asked by AWS's own SDK.
#[tokio::test]
async fn the_rules_of_firehose_are_kept() {
    const RECORD: usize = 1_024_000;
    let server = KinesisServer::start(1).await;
    let stream = server.create(Service::Firehose, "events", 9);
    let client = sdk(&server);
    let answer = put(&client, &[1; 500]).await.expect("it is taken");
    assert_eq!((answer.failed_put_count(), answer.request_responses().len()), (0, 500));
    assert!(answer.request_responses().iter().all(|result| result.record_id().is_some_and(|id| !id.is_empty())));
    assert_eq!(code(put(&client, &[1; 501]).await), "ValidationException");
    assert_eq!(code(put(&client, &[]).await), "ValidationException");
    put(&client, &[RECORD]).await.expect("it is taken");
    assert_eq!(code(put(&client, &[RECORD + 1]).await), "ValidationException");
    let rest = (4 << 20) - 4 * RECORD;
    put(&client, &[RECORD, RECORD, RECORD, RECORD, rest]).await.expect("it is taken");
    assert_eq!(code(put(&client, &[RECORD, RECORD, RECORD, RECORD, rest + 1]).await), "InvalidArgumentException");
    assert_eq!(stream.stored().len(), 506, "what is wrong is not stored");
    let kinesis = server.create_stream("kinesis", 1);
    let record = Record::builder().data(Blob::new("x")).build().expect("all is set");
    let wrong = client.put_record_batch().delivery_stream_name("kinesis").records(record);
    assert_eq!(code(Box::pin(wrong.send()).await), "ResourceNotFoundException");
    assert!(kinesis.stored().is_empty());
    let described = client.describe_delivery_stream().delivery_stream_name("events").send().await.expect("an answer");
    assert_eq!(described.delivery_stream_description().map(DeliveryStreamDescription::delivery_stream_name), Some("events"));
    stream.set(Fault::RecordThrottled, 1.0);
    let answer = put(&client, &[1; 2]).await.expect("the call passes");
    assert_eq!(answer.failed_put_count(), 2);
    assert!(answer.request_responses().iter().all(|result| result.error_code() == Some("ServiceUnavailableException")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_slows_the_lane_and_is_no_lost_answer() {
    let rig = Rig::of(Service::Firehose, 1).await;
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 10).await;
    rig.stream.wait_for_events(10, ARRIVAL_LIMIT).await;
    // Every call is refused for a while, as when the quota is used up for long, or the service is away.
    rig.stream.set(Fault::CallThrottled, 1.0);
    sent.extend(send(&gateway.client(), 500).await);
    rig.stream.wait_until_struck(Fault::CallThrottled, 4, ARRIVAL_LIMIT).await;
    let readiness = gateway.until_reason("ServiceUnavailableException", ARRIVAL_LIMIT).await;
    assert_eq!((readiness.status, &readiness.json()["reasons"][0]["code"]), (200, &"sink_unreachable".into()));
    rig.stream.clear_faults();
    let drained = Scrape::when_drained(&gateway).await;
    assert!(drained.sum("stream_calls", "answer=\"throttled\"") >= 4, "{drained:?}");
    assert!(drained.sum("shard_throttled_records", "shard=\"all\"") >= 100, "{drained:?}");
    assert_eq!(drained.value("maybe_duplicate_events"), 0, "nothing of a throttled call is stored");
    gateway.until_reason("", ARRIVAL_LIMIT).await;
    rig.finish(gateway, &sent).await;
    assert_eq!(rig.stream.contents().duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_may_only_put_delivers_and_says_nothing_of_the_rest() {
    let rig = Rig::of(Service::Firehose, 1).await;
    rig.stream.set(Fault::ListShardsDenied, 1.0);
    let gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), 50).await;
    rig.stream.wait_for_events(50, ARRIVAL_LIMIT).await;
    gateway.until_reason("", ARRIVAL_LIMIT).await;
    assert!(rig.stream.struck(Fault::ListShardsDenied) > 0);
    // It looks before it sends, so this would be said by now.
    assert!(!gateway.has_logged("the sink fails") && !gateway.has_logged("WARN"), "{}", gateway.log_text());
    rig.finish(gateway, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_records_hold_no_more_than_firehose_splits_and_are_counted_with_their_events() {
    const EVENTS: usize = 3_000;
    let rig = Rig::of(Service::Firehose, 1).await.tuned("aggregation", "ndjson").tuned("aggregate_bytes_max", 1_000_000);
    let rig = rig.tuned("linger_ms", 2_000);
    let gateway = rig.setup.start().await;
    let sent: HashSet<_> = send(&gateway.client(), EVENTS).await;
    rig.stream.wait_for_events(EVENTS, ARRIVAL_LIMIT).await;
    let drained = Scrape::when_drained(&gateway).await;
    let stored = rig.stream.stored();
    let lines = |data: &[u8]| data.iter().filter(|byte| **byte == b'\n').count();
    let most = stored.iter().map(|record| lines(&record.data)).max().unwrap_or_default();
    assert_eq!(most, 500, "a record is filled up to what Firehose splits again, and not beyond");
    assert!(stored.iter().all(|record| record.data.ends_with(b"\n") && record.partition_key.is_empty()));
    let billed: usize = stored.iter().map(|record| record.data.len().div_ceil(5_000)).sum();
    let bytes: usize = stored.iter().map(|record| record.data.len()).sum();
    let counted =
        ["delivered_events", "stream_records", "stream_bytes", "stream_put_units"].map(|name| drained.value(name) as usize);
    assert_eq!(counted, [EVENTS, stored.len(), bytes, billed]);
    rig.finish(gateway, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lane_learns_the_quota_of_the_delivery_stream() {
    const LEARNING: Duration = Duration::from_secs(3);
    const MEASURED: Duration = Duration::from_secs(5);
    let rig = Rig::of(Service::Firehose, 1).await;
    rig.stream.set_shard_rate(Some(ShardRate::AWS));
    let gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), 12_000).await;
    let began = tokio::time::Instant::now();
    let is_over = async || began.elapsed() > LEARNING + MEASURED;
    crate::support::eventually("the time to measure is over", ARRIVAL_LIMIT, is_over).await;
    let (calls, from) = (rig.server.calls(), began + LEARNING);
    let puts = calls.iter().filter(|call| call.target == "PutRecordBatch" && (from..from + MEASURED).contains(&call.at));
    let (records, stored) = puts.fold((0, 0), |(records, stored), call| (records + call.records, stored + call.stored));
    let used = stored as f64 / (1_000.0 * MEASURED.as_secs_f64());
    let throttled = (records - stored) as f64 / records as f64;
    say(format_args!("firehose: {:.0} % of the quota is used, {:.0} % is throttled", used * 100.0, throttled * 100.0));
    assert!(used >= 0.7, "{used}");
    assert!(throttled <= 0.2, "{throttled}");
    rig.stream.set_shard_rate(None);
    rig.finish(gateway, &sent).await;
}
