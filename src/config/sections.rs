//! The sections. Every field has its meaning, unit and default; `lakegate.example.toml` shows them all.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    BrowserConfig, DedupConfig, FirehoseConfig, HttpConfig, KafkaConfig, KeyConfig, KinesisConfig, LakeRetentionConfig,
    LakeTypedConfig, LakeUpkeepConfig, PrivacyConfig, ProxyConfig, RateLimitConfig, SinkConfig, SinkEntry, TelemetryConfig,
    TlsConfig,
};
use crate::limits;

/// The whole configuration.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of all data of the gateway: spool, dedup window, lake, dead letters, its own certificate.
    pub data_dir: PathBuf,
    /// Refuse to start if `data_dir` was not used before, because then its file system is probably not mounted.
    pub require_existing_data: bool,
    /// Listener for events.
    pub http: HttpConfig,
    /// TLS of the listener for events.
    pub tls: TlsConfig,
    /// The proxies in front of that listener.
    pub proxy: ProxyConfig,
    /// Listener for operators.
    pub admin: AdminConfig,
    /// The senders. Empty: the key `dev`, on loopback only.
    pub keys: Vec<KeyConfig>,
    /// Settings for web pages.
    pub browser: BrowserConfig,
    /// Settings for personal data in events.
    pub privacy: PrivacyConfig,
    /// Limits of one key.
    pub rate_limit: RateLimitConfig,
    /// The schema registry.
    pub schemas: SchemasConfig,
    /// The durable queue between the answer and the sink.
    pub spool: SpoolConfig,
    /// The window in which a repeated `event_uuid` is a duplicate.
    pub dedup: DedupConfig,
    /// The destination of accepted events, if there is one.
    pub sink: SinkConfig,
    /// The destinations of accepted events, if there are several. Empty: the one of `sink`.
    pub sinks: Vec<SinkEntry>,
    /// The Parquet lake.
    pub lake: LakeConfig,
    /// The Kinesis stream.
    pub kinesis: KinesisConfig,
    /// The delivery stream of Firehose.
    pub firehose: FirehoseConfig,
    /// The brokers and topics of Kafka.
    pub kafka: KafkaConfig,
    /// Rejected events.
    pub dead_letters: DeadLettersConfig,
    /// Graceful stop.
    pub stop: StopConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Notices for the operator about names in the file or the environment: old ones, and variables that are not read. Not a key.
    #[serde(skip)]
    pub notices: Vec<String>,
    /// Whether this is a rig for the tests of an application (`lakegate dev`). Not a key: no file makes a gateway a rig.
    #[serde(skip)]
    pub is_rig: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./data".into(),
            require_existing_data: false,
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            proxy: ProxyConfig::default(),
            admin: AdminConfig::default(),
            keys: Vec::new(),
            browser: BrowserConfig::default(),
            privacy: PrivacyConfig::default(),
            rate_limit: RateLimitConfig::default(),
            schemas: SchemasConfig::default(),
            spool: SpoolConfig::default(),
            dedup: DedupConfig::default(),
            sink: SinkConfig::default(),
            sinks: Vec::new(),
            lake: LakeConfig::default(),
            kinesis: KinesisConfig::default(),
            firehose: FirehoseConfig::default(),
            kafka: KafkaConfig::default(),
            dead_letters: DeadLettersConfig::default(),
            stop: StopConfig::default(),
            telemetry: TelemetryConfig::default(),
            notices: Vec::new(),
            is_rig: false,
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port. Plain HTTP without keys: keep it on loopback or a private network.
    pub listen: SocketAddr,
    /// Names under which clients may call this listener, in addition to addresses, `localhost` and names without a dot.
    /// `*.example` matches all names below `example`.
    pub hosts: Vec<String>,
    /// Whether `lakegate tail` shows the values in payloads; otherwise only their kinds.
    pub tail_payloads: bool,
    /// Whether the console, a web page, may replay and drop dead letters; programs may in any case.
    pub allow_changes: bool,
    /// Other gateways whose figures the console shows: `http://` with host and port of their listener for operators.
    pub fleet: Vec<String>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 9090),
            hosts: Vec::new(),
            tail_payloads: false,
            allow_changes: false,
            fleet: Vec::new(),
        }
    }
}

impl AdminConfig {
    /// Validates the section beyond its types.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |reason: String| Err(("admin.hosts".to_owned(), reason));
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        };
        if self.hosts.len() > limits::ADMIN_HOSTS_MAX {
            return wrong(format!("found {} names; at most {} are allowed", self.hosts.len(), limits::ADMIN_HOSTS_MAX));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_name(host.strip_prefix("*.").unwrap_or(host))) {
            return wrong(format!("found {host:?}; a name in small letters without a port, or \"*.\" and a name, is allowed"));
        }
        let wrong = |reason: String| Err(("admin.fleet".to_owned(), reason));
        if self.fleet.len() > limits::FLEET_SHOWN_MAX {
            return wrong(format!("found {} gateways; at most {} are allowed", self.fleet.len(), limits::FLEET_SHOWN_MAX));
        }
        match self.fleet.iter().find(|gateway| !is_operators_url(gateway)) {
            Some(gateway) => {
                wrong(format!("found {gateway:?}; http:// with a host and a port, such as \"http://10.0.0.7:9090\", is allowed"))
            }
            None => Ok(()),
        }
    }
}

/// Whether a text is the address of a listener for operators: `http://`, a host and a port, and nothing else.
fn is_operators_url(text: &str) -> bool {
    let Some((host, port)) = text.strip_prefix("http://").and_then(|authority| authority.rsplit_once(':')) else { return false };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `[schemas]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SchemasConfig {
    /// Folder of the registry.
    pub dir: PathBuf,
    /// Handling of events whose name has no schema.
    pub unknown_events: UnknownEvents,
    /// Whether a change of the folder takes effect automatically; otherwise `SIGHUP` is needed.
    pub watch: bool,
}

impl Default for SchemasConfig {
    fn default() -> Self {
        Self { dir: "./schemas".into(), unknown_events: UnknownEvents::Reject, watch: true }
    }
}

/// Handling of events whose name has no schema.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UnknownEvents {
    /// The event is rejected, with the nearest known name in the detail.
    Reject,
    /// The event is accepted without a schema.
    Accept,
}

/// `[spool]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Bytes that may wait for the sink; beyond it the answer is 503.
    pub quota_bytes: u64,
    /// Bytes that must stay free on the file system; below it the answer is 503.
    pub free_bytes_min: u64,
    /// Bytes at which a segment file is closed and the next one is opened.
    pub segment_bytes: u64,
    /// Seconds for which an unreadable block is retried before its events are given up, and listed.
    pub unreadable_block_seconds: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            unreadable_block_seconds: limits::SPOOL_UNREADABLE_PATIENCE.budget.as_secs(),
            quota_bytes: limits::SPOOL_BYTES_MAX,
            free_bytes_min: limits::SPOOL_FREE_BYTES_MIN,
            segment_bytes: limits::SEGMENT_BYTES,
        }
    }
}

/// `[lake]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct LakeConfig {
    /// Folder, or `s3://bucket/prefix` in a build with the feature `s3`. Empty: `lake` below `data_dir`.
    pub root: String,
    /// What tells readers which files are the lake.
    pub table: LakeTable,
    /// Age in milliseconds of the oldest event at which files are written.
    pub flush_age_ms: u64,
    /// Bytes of waiting events at which files are written, at any age.
    pub batch_bytes_max: usize,
    /// Endpoint of an S3-compatible store. Empty: AWS.
    pub s3_endpoint: String,
    /// Region of the bucket. Empty: from the environment.
    pub s3_region: String,
    /// Allow plain HTTP to the endpoint, for a store on this machine.
    pub s3_allow_http: bool,
    /// Compaction, vacuum, clean-up of the log.
    pub upkeep: LakeUpkeepConfig,
    /// Tables with typed columns.
    pub typed: LakeTypedConfig,
    /// How long events are kept.
    pub retention: LakeRetentionConfig,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            root: String::new(),
            table: LakeTable::Delta,
            flush_age_ms: limits::LAKE_FLUSH_AGE.as_millis() as u64,
            batch_bytes_max: limits::LAKE_BATCH_BYTES_MAX,
            s3_endpoint: String::new(),
            s3_region: String::new(),
            s3_allow_http: false,
            upkeep: LakeUpkeepConfig::default(),
            typed: LakeTypedConfig::default(),
            retention: LakeRetentionConfig::default(),
        }
    }
}

impl LakeConfig {
    /// Validates the section beyond its types.
    pub(super) fn check(&self, has_s3: bool) -> Result<(), (String, String)> {
        let at_least = |key: &str, found: u64, least: u64| {
            let reason = format!("found {found}; at least {least} is allowed");
            if found < least { Err((format!("lake.{key}"), reason)) } else { Ok(()) }
        };
        at_least("flush_age_ms", self.flush_age_ms, 1)?;
        at_least("batch_bytes_max", self.batch_bytes_max as u64, limits::FRAME_BODY_BYTES_MAX as u64)?;
        if self.root.starts_with("s3://") && !has_s3 {
            let reason = format!("found {:?}; this build has no s3: build it with `--features s3`", self.root);
            return Err(("lake.root".into(), reason));
        }
        super::lake_upkeep::check(&self.upkeep, &self.retention)
    }
}

/// What tells readers which files are the lake.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LakeTable {
    /// A Delta Lake log. On S3 the gateway must be allowed to list, read and delete objects, and the store must have conditional
    /// puts.
    Delta,
    /// Nothing: every file in the folders belongs to it. There is no compaction, retention or erasure.
    None,
}

/// `[dead_letters]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLettersConfig {
    /// The destination of the dead letters.
    pub kind: DeadLettersKind,
    /// Files: bytes stored per key; beyond it that key's bad events are answered `retry` until there is space.
    pub bytes_per_key_max: u64,
    /// Files: what happens to a key at that limit whose requests are answered as a whole.
    pub when_full: WhenFull,
    /// Files: minutes for which its bad events are answered `retry` before its oldest dead letters are discarded.
    pub hold_minutes_when_full: u64,
    /// Kinesis: name or ARN of the dead letters' stream. Firehose: name of their delivery stream. Kafka: name of their topic. All
    /// else is as in `[kinesis]`, `[firehose]` or `[kafka]`.
    pub stream: String,
    /// Kinesis, Firehose, Kafka: bytes that may wait for the stream on disk; beyond it bad events are answered `retry`.
    pub quota_bytes: u64,
    /// Kinesis, Firehose, Kafka: the percentage of `quota_bytes` for the letters of one key; further letters go into files.
    pub share_percent: u8,
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self {
            kind: DeadLettersKind::Files,
            bytes_per_key_max: limits::DEAD_LETTER_BYTES_PER_SOURCE_MAX,
            when_full: WhenFull::DiscardOldest,
            hold_minutes_when_full: limits::DEAD_LETTERS_HOLD_MINUTES,
            stream: String::new(),
            quota_bytes: limits::DEAD_LETTER_SPOOL_BYTES_MAX,
            share_percent: limits::DEAD_LETTER_SHARE_PERCENT,
        }
    }
}

impl DeadLettersConfig {
    /// How long the dead letters of a key are full before its oldest ones are discarded. `None`: for ever.
    #[must_use]
    pub fn discard_after(&self) -> Option<Duration> {
        (self.when_full == WhenFull::DiscardOldest).then(|| Duration::from_secs(60 * self.hold_minutes_when_full))
    }
}

/// What happens to full dead letters that hold up the good events of whole requests.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest are discarded after a while.
    DiscardOldest,
    /// Bad events are answered `retry` until a person makes room.
    Retry,
}

/// The destination of dead letters.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DeadLettersKind {
    /// Into files below `dead-letters/` of `data_dir`.
    Files,
    /// Into a separate Kinesis stream; letters that the stream refuses go into files.
    Kinesis,
    /// Into a separate delivery stream of Firehose; letters that it refuses go into files.
    Firehose,
    /// Into a separate topic of Kafka, in a build with the feature `kafka`; letters that it refuses go into files.
    Kafka,
}

impl DeadLettersKind {
    /// As it is configured.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Kinesis => "kinesis",
            Self::Firehose => "firehose",
            Self::Kafka => "kafka",
        }
    }
}

/// `[stop]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct StopConfig {
    /// After SIGTERM: seconds for which requests are served while `/readyz` fails, so that load balancers send no more. 0: none.
    pub lame_duck_seconds: u64,
    /// Seconds for the requests in flight.
    pub requests_seconds: u64,
    /// Seconds for the spool to drain into the sink; the rest stays spooled.
    pub drain_seconds: u64,
}

impl Default for StopConfig {
    fn default() -> Self {
        Self {
            lame_duck_seconds: 0,
            requests_seconds: limits::STOP_REQUESTS_TIMEOUT.as_secs(),
            drain_seconds: limits::DRAIN_TIMEOUT.as_secs(),
        }
    }
}

impl StopConfig {
    /// Validates the section beyond its types.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let (found, most) = (self.lame_duck_seconds, limits::LAME_DUCK_SECONDS_MAX);
        if found > most {
            return Err(("stop.lame_duck_seconds".into(), format!("found {found}; at most {most} is allowed")));
        }
        Ok(())
    }
}
