//! Configuration: TOML, then `LAKEGATE__SECTION__KEY` from the environment, then the command line.
//!
//! One small struct per component, with its own defaults; unknown keys are refused. Without any configuration the gateway runs
//! embedded, on loopback.

mod browser;
mod dedup;
mod edge;
mod firehose;
mod kafka;
mod keys;
mod kinesis;
mod lake_upkeep;
mod load;
mod old_names;
mod secrets;
mod sections;
mod sink_entry;
mod sinks;
mod stream;
mod telemetry;
mod unknown_key;

pub use browser::{AddressKept, BrowserConfig, PrivacyConfig};
pub use dedup::{DedupConfig, DedupStore, RedisConfig, StoreUrl};
pub use edge::{ClientAuth, Durability, HttpConfig, ProxyConfig, RateLimitConfig, TlsConfig};
pub use firehose::FirehoseConfig;
pub use kafka::{
    EVENT_SUBTYPE_PLACEHOLDER, EVENT_TYPE_PLACEHOLDER, KafkaCompression, KafkaConfig, KafkaSasl, KafkaTopic, Secret,
    check_topic_name, has_placeholders,
};
pub use keys::{Answers, KeyConfig, KeyKind, check_keys, is_key_name};
pub use kinesis::KinesisConfig;
pub use lake_upkeep::{LakeRetentionConfig, LakeTypedConfig, LakeUpkeepConfig};
pub use load::{ConfigError, keys_variable, load, parse};
pub use secrets::{NotAfter, SecretConfig, secret_id};
pub use sections::{
    AdminConfig, Config, DeadLettersConfig, DeadLettersKind, LakeConfig, LakeTable, SchemasConfig, SpoolConfig, StopConfig,
    UnknownEvents, WhenFull,
};
pub use sink_entry::{SinkConfig, SinkEntry, SinkKind, StartAt, WhenSinkFull};
pub use sinks::{Sink, SinkSettings};
pub use stream::{Aggregation, RecordFormat};
pub use telemetry::{LogFormat, TelemetryConfig};
