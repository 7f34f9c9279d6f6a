//! `[firehose]`: the delivery stream, and the format of its records.

use serde::{Deserialize, Serialize};

use super::stream::{Aggregation, Delivery, RecordFormat, check_delivery, check_endpoint, check_format, within};
use crate::limits;

/// `[firehose]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FirehoseConfig {
    /// Name of the delivery stream, whose source is Direct PUT.
    pub stream: String,
    /// AWS region. Empty: from the environment, the profile, or the machine.
    pub region: String,
    /// Endpoint other than AWS's own, for a server on this machine. Empty: AWS.
    pub endpoint: String,
    /// The format of one event.
    pub format: RecordFormat,
    /// How events are packed into records: `none` or `ndjson`.
    pub aggregation: Aggregation,
    /// Bytes of one packed record.
    pub aggregate_bytes_max: usize,
    /// Milliseconds that an event waits for other events to share its record.
    pub linger_ms: u64,
    /// Records in one PutRecordBatch call.
    pub call_records_max: usize,
    /// Bytes of one PutRecordBatch call.
    pub call_bytes_max: usize,
    /// Bytes of one record.
    pub record_bytes_max: usize,
    /// Calls in flight at one time.
    pub calls_in_flight_max: usize,
    /// Milliseconds after which a call counts as unanswered.
    pub call_timeout_ms: u64,
    /// Bytes of events in memory: waiting, in flight, or to be sent again. All other events wait on disk.
    pub memory_bytes_max: usize,
    /// Percent of the throughput for events from an outage while new events arrive.
    pub backlog_percent: u8,
}

impl Default for FirehoseConfig {
    fn default() -> Self {
        Self {
            stream: String::new(),
            region: String::new(),
            endpoint: String::new(),
            format: RecordFormat::Flat,
            aggregation: Aggregation::None,
            aggregate_bytes_max: limits::FIREHOSE_AGGREGATE_BYTES,
            linger_ms: limits::STREAM_LINGER.as_millis() as u64,
            call_records_max: limits::FIREHOSE_CALL_RECORDS_MAX,
            call_bytes_max: limits::FIREHOSE_CALL_BYTES_MAX,
            record_bytes_max: limits::FIREHOSE_RECORD_BYTES_MAX,
            calls_in_flight_max: limits::STREAM_CALLS_IN_FLIGHT,
            call_timeout_ms: limits::STREAM_CALL_TIMEOUT.as_millis() as u64,
            memory_bytes_max: limits::STREAM_MEMORY_BYTES,
            backlog_percent: limits::BACKLOG_PERCENT,
        }
    }
}

/// Validates the section beyond its types. Returns the key and the reason of the first fault.
pub(super) fn check(firehose: &FirehoseConfig) -> Result<(), (String, String)> {
    let within = |key, found, range| within("firehose", key, found, range);
    within("call_records_max", firehose.call_records_max, 1..=limits::FIREHOSE_CALL_RECORDS_MAX)?;
    within("record_bytes_max", firehose.record_bytes_max, 1024..=limits::FIREHOSE_RECORD_BYTES_MAX)?;
    within("call_bytes_max", firehose.call_bytes_max, firehose.record_bytes_max..=limits::FIREHOSE_CALL_BYTES_MAX)?;
    within("aggregate_bytes_max", firehose.aggregate_bytes_max, 1024..=firehose.record_bytes_max)?;
    check_delivery(
        "firehose",
        &Delivery {
            calls_in_flight_max: firehose.calls_in_flight_max,
            call_timeout_ms: firehose.call_timeout_ms,
            linger_ms: firehose.linger_ms,
            memory_bytes_max: firehose.memory_bytes_max,
            backlog_percent: firehose.backlog_percent,
        },
    )?;
    if firehose.aggregation == Aggregation::Kpl {
        let reason =
            "found \"kpl\"; `none` or `ndjson` is allowed: Firehose unpacks the KPL's format only when it reads a Kinesis stream";
        return Err(("firehose.aggregation".into(), reason.into()));
    }
    check_format("firehose", firehose.format)?;
    check_endpoint("firehose", &firehose.endpoint)
}

/// Validates the name of a delivery stream that is in use.
pub(super) fn check_name(key: &str, name: &str) -> Result<(), (String, String)> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.len() > limits::FIREHOSE_NAME_CHARS_MAX || !name.chars().all(is_allowed) {
        let reason = format!(
            "found {name:?}; the name of a delivery stream is allowed, not its ARN: letters, digits, `_`, `.` and `-`, {} at most",
            limits::FIREHOSE_NAME_CHARS_MAX
        );
        return Err((key.to_owned(), reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_firehose_would_refuse_is_refused_at_once() {
        let default = FirehoseConfig::default();
        assert_eq!(check(&default), Ok(()));
        let cases = [
            (FirehoseConfig { call_records_max: 501, ..default.clone() }, "firehose.call_records_max", "1 to 500"),
            (FirehoseConfig { call_bytes_max: 5 << 20, ..default.clone() }, "firehose.call_bytes_max", "1024000 to 4194304"),
            (FirehoseConfig { record_bytes_max: 1 << 20, ..default.clone() }, "firehose.record_bytes_max", "1024 to 1024000"),
            (FirehoseConfig { aggregation: Aggregation::Kpl, ..default.clone() }, "firehose.aggregation", "ndjson"),
            (FirehoseConfig { format: RecordFormat::Cloudevents, ..default.clone() }, "firehose.format", "no headers"),
            (FirehoseConfig { endpoint: "localhost:1".into(), ..default.clone() }, "firehose.endpoint", "https://"),
        ];
        for (config, key, part) in cases {
            let (found_key, reason) = check(&config).unwrap_err();
            assert!(found_key == key && reason.contains(part), "{found_key}: {reason}");
        }
        assert_eq!(check_name("firehose.stream", "menu-events_1.x"), Ok(()));
        for wrong in ["arn:aws:firehose:us-east-1:000000000000:deliverystream/x", "a b", &"x".repeat(65)] {
            assert!(check_name("firehose.stream", wrong).is_err_and(|(key, _)| key == "firehose.stream"), "{wrong}");
        }
    }
}
