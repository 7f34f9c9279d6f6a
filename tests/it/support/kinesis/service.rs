//! The two services that the server speaks, and where their answers differ.

use serde_json::{Value, json};

use super::{ACCOUNT, put::Limits, shards::sequence_text};

/// A service, and what its streams are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Streams with shards.
    Kinesis = 0,
    /// Delivery streams that are put to directly.
    Firehose = 1,
}

impl Service {
    pub const BOTH: [Self; 2] = [Self::Kinesis, Self::Firehose];

    /// The section of the gateway's configuration, and the kind of its sink.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kinesis => "kinesis",
            Self::Firehose => "firehose",
        }
    }

    /// How the gateway may pack events for it.
    pub fn aggregations(self) -> &'static [&'static str] {
        match self {
            Self::Kinesis => &["none", "kpl", "ndjson"],
            Self::Firehose => &["none", "ndjson"],
        }
    }

    /// What it really enforces.
    pub fn limits(self) -> Limits {
        match self {
            Self::Kinesis => Limits::default(),
            Self::Firehose => Limits::FIREHOSE,
        }
    }

    /// The service of a target, and its operation.
    pub fn of_target(target: &str) -> Option<(Self, &str)> {
        let (service, operation) = target.split_once('.')?;
        match service {
            "Kinesis_20131202" => Some((Self::Kinesis, operation)),
            "Firehose_20150804" => Some((Self::Firehose, operation)),
            _ => None,
        }
    }

    /// The result of a stored record.
    pub fn stored(self, sequence: u64, shard: &str) -> Value {
        match self {
            Self::Kinesis => json!({"SequenceNumber": sequence_text(sequence), "ShardId": shard}),
            Self::Firehose => json!({"RecordId": format!("record/{sequence:040}")}),
        }
    }

    /// The result of a record that is too much for now.
    pub fn throttled(self, stream: &str, shard: &str) -> Value {
        match self {
            Self::Kinesis => {
                let message = format!("Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}.");
                json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": message})
            }
            Self::Firehose => json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}),
        }
    }

    /// The answer to a call that passed.
    pub fn answer(self, failed: usize, results: &[Value]) -> Value {
        match self {
            Self::Kinesis => json!({"FailedRecordCount": failed, "EncryptionType": "NONE", "Records": results}),
            Self::Firehose => json!({"FailedPutCount": failed, "Encrypted": false, "RequestResponses": results}),
        }
    }
}
