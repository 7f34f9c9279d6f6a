//! `[sink]` and `[[sinks]]`: where accepted events go, as it is written.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

/// `[sink]`: the only sink, if there are no `[[sinks]]`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// The destination of accepted events.
    pub kind: SinkKind,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self { kind: SinkKind::Lake }
    }
}

/// The destination of accepted events.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// Into Parquet files: `[lake]`.
    Lake,
    /// Into an Amazon Kinesis stream: `[kinesis]`.
    Kinesis,
    /// Into a delivery stream of Amazon Data Firehose: `[firehose]`.
    Firehose,
    /// Into topics of Apache Kafka, in a build with the feature `kafka`: `[kafka]`.
    Kafka,
}

impl SinkKind {
    /// As it is configured.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lake => "lake",
            Self::Kinesis => "kinesis",
            Self::Firehose => "firehose",
            Self::Kafka => "kafka",
        }
    }
}

/// One of several sinks. Each gets every event.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SinkEntry {
    /// Its name in metrics, in `/readyz` and on disk. Empty: its kind.
    #[serde(default)]
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// Where it begins if no sink of its name was there before.
    #[serde(default)]
    pub start: StartAt,
    /// Percent of `spool.quota_bytes` for the events that wait for it.
    #[serde(default = "whole_quota")]
    pub quota_percent: u8,
    /// What happens when the events that wait for it fill its part of the quota.
    #[serde(default)]
    pub when_full: WhenSinkFull,
    /// Keys of the section of its kind that differ for this sink.
    #[serde(default)]
    pub settings: OwnSettings,
}

/// The key of a secret in the sections of the sinks.
pub(super) const SECRET_KEY: &str = "password";

/// Keys of a section. A secret is printed as `***`.
#[derive(Clone, Default, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct OwnSettings(pub Table);

impl OwnSettings {
    fn shown(&self) -> Table {
        let hide = |(key, value): (&String, &Value)| (key.clone(), if key == SECRET_KEY { "***".into() } else { value.clone() });
        self.0.iter().map(hide).collect()
    }
}

impl fmt::Debug for OwnSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}

impl Serialize for OwnSettings {
    /// The printed form: `lakegate config check` prints it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

fn whole_quota() -> u8 {
    100
}

/// Where a new sink begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// Where a sink that is gone stood; if none is gone, at the oldest event that is still spooled.
    #[default]
    TakeOver,
    /// At the oldest event that is still spooled.
    Oldest,
    /// At the next event. Not followed if events would then reach no sink.
    Now,
}

/// What happens when the events that wait for a sink fill its part of the quota.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WhenSinkFull {
    /// New events are answered `retry` until there is room.
    #[default]
    StopTaking,
    /// The oldest events that wait for this sink never reach it. The other sinks get them.
    DropThisSink,
}
