//! `[kinesis]`: the stream, and the format of its records.

use serde::{Deserialize, Serialize};

use super::stream::{
    Aggregation, Delivery, RecordFormat, check_delivery, check_endpoint, check_format, check_partition_key, within,
};
use crate::limits;

/// `[kinesis]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct KinesisConfig {
    /// Name or ARN of the stream.
    pub stream: String,
    /// AWS region. Empty: from the environment, the profile, or the machine.
    pub region: String,
    /// Endpoint other than AWS's own, for a server on this machine. Empty: AWS.
    pub endpoint: String,
    /// What decides the shard of an event: `event_uuid`, or a JSON pointer into the event, such as `/session_id`.
    pub partition_key: String,
    /// Whether events of one partition key arrive in the order in which they were accepted.
    pub ordered_by_key: bool,
    /// The format of one event.
    pub format: RecordFormat,
    /// How events are packed into records.
    pub aggregation: Aggregation,
    /// Bytes of one packed record.
    pub aggregate_bytes_max: usize,
    /// Milliseconds that an event waits for other events to share its record.
    pub linger_ms: u64,
    /// Records in one PutRecords call.
    pub call_records_max: usize,
    /// Bytes of one PutRecords call, partition keys included.
    pub call_bytes_max: usize,
    /// Bytes of one record with its partition key; raise it with the stream's own `MaxRecordSize`.
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

impl Default for KinesisConfig {
    fn default() -> Self {
        Self {
            stream: String::new(),
            region: String::new(),
            endpoint: String::new(),
            partition_key: "event_uuid".into(),
            ordered_by_key: false,
            format: RecordFormat::Flat,
            aggregation: Aggregation::None,
            aggregate_bytes_max: limits::KINESIS_AGGREGATE_BYTES,
            linger_ms: limits::STREAM_LINGER.as_millis() as u64,
            call_records_max: limits::KINESIS_CALL_RECORDS_MAX,
            call_bytes_max: limits::KINESIS_CALL_BYTES,
            record_bytes_max: limits::KINESIS_RECORD_BYTES,
            calls_in_flight_max: limits::STREAM_CALLS_IN_FLIGHT,
            call_timeout_ms: limits::STREAM_CALL_TIMEOUT.as_millis() as u64,
            memory_bytes_max: limits::STREAM_MEMORY_BYTES,
            backlog_percent: limits::BACKLOG_PERCENT,
        }
    }
}

/// Validates the section beyond its types. Returns the key and the reason of the first fault.
pub(super) fn check(kinesis: &KinesisConfig) -> Result<(), (String, String)> {
    let within = |key, found, range| within("kinesis", key, found, range);
    within("call_records_max", kinesis.call_records_max, 1..=limits::KINESIS_CALL_RECORDS_MAX)?;
    within("record_bytes_max", kinesis.record_bytes_max, 1024..=limits::KINESIS_RECORD_BYTES_MAX)?;
    within("call_bytes_max", kinesis.call_bytes_max, kinesis.record_bytes_max..=limits::KINESIS_CALL_BYTES_MAX)?;
    within("aggregate_bytes_max", kinesis.aggregate_bytes_max, 1024..=kinesis.record_bytes_max)?;
    check_delivery(
        "kinesis",
        &Delivery {
            calls_in_flight_max: kinesis.calls_in_flight_max,
            call_timeout_ms: kinesis.call_timeout_ms,
            linger_ms: kinesis.linger_ms,
            memory_bytes_max: kinesis.memory_bytes_max,
            backlog_percent: kinesis.backlog_percent,
        },
    )?;
    check_partition_key("kinesis", &kinesis.partition_key)?;
    check_format("kinesis", kinesis.format)?;
    check_endpoint("kinesis", &kinesis.endpoint)?;
    if kinesis.ordered_by_key && kinesis.aggregation != Aggregation::None {
        let reason = "needs aggregation = \"none\": a packed record goes where its first key belongs, so the order of the others \
                      would not survive a change of the shards";
        return Err(("kinesis.ordered_by_key".into(), reason.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kinesis_would_refuse_is_refused_at_once() {
        let default = KinesisConfig::default();
        assert_eq!(check(&default), Ok(()));
        let cases = [
            (KinesisConfig { call_records_max: 501, ..default.clone() }, "kinesis.call_records_max", "1 to 500"),
            (KinesisConfig { call_bytes_max: 1, ..default.clone() }, "kinesis.call_bytes_max", "1048576 to 10485760"),
            (KinesisConfig { aggregate_bytes_max: 2 << 20, ..default.clone() }, "kinesis.aggregate_bytes_max", "1048576"),
            (KinesisConfig { partition_key: "session_id".into(), ..default.clone() }, "kinesis.partition_key", "JSON pointer"),
            (KinesisConfig { format: RecordFormat::Cloudevents, ..default.clone() }, "kinesis.format", "no headers"),
            (KinesisConfig { endpoint: "localhost:1".into(), ..default.clone() }, "kinesis.endpoint", "https://"),
            (
                KinesisConfig { ordered_by_key: true, aggregation: Aggregation::Kpl, ..default.clone() },
                "kinesis.ordered_by_key",
                "aggregation",
            ),
        ];
        for (config, key, part) in cases {
            let (found_key, reason) = check(&config).unwrap_err();
            assert!(found_key == key && reason.contains(part), "{found_key}: {reason}");
        }
    }
}
