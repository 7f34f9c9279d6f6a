//! What the sections of the streams have in common.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::limits::STREAM_SHARD_BYTES_MIN;

/// The format of one event in a record. The records of Kinesis and Firehose end with a line end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RecordFormat {
    /// The event's own object plus the added fields.
    Flat,
    /// An object with the lake's columns; the event itself is one string in `payload`.
    Envelope,
    /// The event's own object, and all else in the headers of the record (CloudEvents 1.0, binary mode). For Kafka only.
    Cloudevents,
}

/// How events are packed into records.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// One event, one record.
    None,
    /// The format of the Kinesis Producer Library, which KCL and Firehose unpack automatically when they read a Kinesis stream.
    Kpl,
    /// Several lines in one record, which Firehose splits if configured.
    Ndjson,
}

/// Validates a number of `section`.
pub(super) fn within(section: &str, key: &str, found: usize, range: RangeInclusive<usize>) -> Result<(), (String, String)> {
    let (least, most) = (*range.start(), *range.end());
    let reason = format!("found {found}; {least} to {most} is allowed");
    if range.contains(&found) { Ok(()) } else { Err((format!("{section}.{key}"), reason)) }
}

/// What is configured of the delivery to any stream, in the units of the configuration.
pub(super) struct Delivery {
    pub(super) calls_in_flight_max: usize,
    pub(super) call_timeout_ms: u64,
    pub(super) linger_ms: u64,
    pub(super) memory_bytes_max: usize,
    pub(super) backlog_percent: u8,
}

/// Validates the delivery of `section`.
pub(super) fn check_delivery(section: &str, delivery: &Delivery) -> Result<(), (String, String)> {
    let within = |key, found, range| within(section, key, found, range);
    within("calls_in_flight_max", delivery.calls_in_flight_max, 1..=1_000)?;
    within("call_timeout_ms", delivery.call_timeout_ms as usize, 100..=600_000)?;
    within("linger_ms", delivery.linger_ms as usize, 0..=60_000)?;
    within("memory_bytes_max", delivery.memory_bytes_max, 4 * STREAM_SHARD_BYTES_MIN..=usize::MAX)?;
    within("backlog_percent", delivery.backlog_percent.into(), 1..=99)
}

/// Validates that the stream that `key` names is named.
pub(super) fn check_named(key: &str, stream: &str) -> Result<(), (String, String)> {
    if stream.is_empty() {
        return Err((key.into(), "is empty; the name of a stream is needed, for Kinesis its name or its ARN".into()));
    }
    Ok(())
}

/// Validates the source of the partition key.
pub(super) fn check_partition_key(section: &str, key: &str) -> Result<(), (String, String)> {
    if key == "event_uuid" || key.starts_with('/') {
        return Ok(());
    }
    let reason = format!("found {key:?}; `event_uuid` or a JSON pointer such as `/session_id` is allowed");
    Err((format!("{section}.partition_key"), reason))
}

/// Refuses a format with headers, in the `section` of a stream without them.
pub(super) fn check_format(section: &str, format: RecordFormat) -> Result<(), (String, String)> {
    if format == RecordFormat::Cloudevents {
        let reason = "found \"cloudevents\"; `flat` or `envelope` is allowed: records of this stream have no headers";
        return Err((format!("{section}.format"), reason.into()));
    }
    Ok(())
}

/// Validates the endpoint of `section`.
pub(super) fn check_endpoint(section: &str, endpoint: &str) -> Result<(), (String, String)> {
    if endpoint.is_empty() || endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        return Ok(());
    }
    Err((format!("{section}.endpoint"), format!("found {endpoint:?}; http://… or https://… is allowed")))
}
