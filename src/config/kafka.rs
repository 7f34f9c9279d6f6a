//! `[kafka]`: the brokers, the topics, and the format of the records.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::stream::{Delivery, RecordFormat, check_delivery, check_partition_key, within};
use crate::limits;

/// Placeholders of a topic's name.
pub const EVENT_TYPE_PLACEHOLDER: &str = "{event_type}";
/// See [`EVENT_TYPE_PLACEHOLDER`].
pub const EVENT_SUBTYPE_PLACEHOLDER: &str = "{event_subtype}";

/// `[kafka]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to ask for the others: `host:port`, several with commas between them.
    pub bootstrap_servers: String,
    /// The topic of events that no rule of `topics` names; may have the placeholders `{event_type}` and `{event_subtype}`.
    pub topic: String,
    /// Topics of some events, in order: the first that matches decides.
    pub topics: Vec<KafkaTopic>,
    /// Whether topics that do not exist are created, if the brokers create topics on demand.
    pub create_topics: bool,
    /// What decides the partition of an event: `event_uuid`, or a JSON pointer into the event, such as `/session_id`.
    pub partition_key: String,
    /// Whether events of one partition key arrive in the order in which they were accepted.
    pub ordered_by_key: bool,
    /// The format of one event.
    pub format: RecordFormat,
    /// The compression of batches.
    pub compression: KafkaCompression,
    /// Whether connections use TLS.
    pub tls: bool,
    /// PEM file with the certificate authorities of the brokers. Empty: those of the machine.
    pub ca: PathBuf,
    /// PEM file with the certificate of the gateway, if the brokers ask for one.
    pub client_certificate: PathBuf,
    /// PEM file with the private key of that certificate.
    pub client_key: PathBuf,
    /// How the gateway proves who it is.
    pub sasl: KafkaSasl,
    /// The user, for PLAIN and SCRAM.
    pub username: String,
    /// The password, for PLAIN and SCRAM.
    pub password: Secret,
    /// File with a token, for OAUTHBEARER; read again before the token expires.
    pub token_file: PathBuf,
    /// AWS region, for MSK's IAM. Empty: from the environment, the profile, or the machine.
    pub region: String,
    /// Milliseconds that an event waits for other events to share its batch.
    pub linger_ms: u64,
    /// Records in one call to a partition.
    pub call_records_max: usize,
    /// Bytes of one call to a partition.
    pub call_bytes_max: usize,
    /// Bytes of one record with its key; raise it with the topic's own `max.message.bytes`.
    pub record_bytes_max: usize,
    /// Milliseconds for which a record is tried until it counts as unanswered.
    pub delivery_timeout_ms: u64,
    /// Bytes of events in memory: waiting, in flight, or to be sent again. All other events wait on disk.
    pub memory_bytes_max: usize,
    /// Percent of the throughput for events from an outage while new events arrive.
    pub backlog_percent: u8,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: String::new(),
            topic: String::new(),
            topics: Vec::new(),
            create_topics: false,
            partition_key: "event_uuid".into(),
            ordered_by_key: false,
            format: RecordFormat::Flat,
            compression: KafkaCompression::Zstd,
            tls: false,
            ca: PathBuf::new(),
            client_certificate: PathBuf::new(),
            client_key: PathBuf::new(),
            sasl: KafkaSasl::None,
            username: String::new(),
            password: Secret::default(),
            token_file: PathBuf::new(),
            region: String::new(),
            linger_ms: limits::STREAM_LINGER.as_millis() as u64,
            call_records_max: limits::KAFKA_CALL_RECORDS_MAX,
            call_bytes_max: limits::KAFKA_CALL_BYTES,
            record_bytes_max: limits::KAFKA_RECORD_BYTES,
            delivery_timeout_ms: limits::KAFKA_DELIVERY_TIMEOUT.as_millis() as u64,
            memory_bytes_max: limits::KAFKA_MEMORY_BYTES,
            backlog_percent: limits::BACKLOG_PERCENT,
        }
    }
}

/// One of `[[kafka.topics]]`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct KafkaTopic {
    /// Event names; `*` is any text, including colons.
    pub events: String,
    /// Their topic, as in `topic`.
    pub topic: String,
}

/// The compression of batches.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KafkaCompression {
    /// None.
    None,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard, for brokers from Kafka 2.1 on.
    Zstd,
}

/// How the gateway proves to the brokers who it is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaSasl {
    /// Not at all, or by its certificate.
    None,
    /// User and password.
    Plain,
    /// User and password, which are not sent.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// User and password, which are not sent.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// A token from a file.
    Oauthbearer,
    /// Credentials of AWS, for Amazon MSK.
    AwsMskIam,
}

/// A text that is printed as `***`.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text. Do not log it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for Secret {
    /// The printed form: `lakegate config check` prints it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Validates the section beyond its types. Returns the key and the reason of the first fault.
pub(super) fn check(kafka: &KafkaConfig) -> Result<(), (String, String)> {
    let within = |key, found, range| within("kafka", key, found, range);
    within("call_records_max", kafka.call_records_max, 1..=limits::KAFKA_CALL_RECORDS_MAX)?;
    within("record_bytes_max", kafka.record_bytes_max, 1024..=limits::KAFKA_RECORD_BYTES_MAX)?;
    within("call_bytes_max", kafka.call_bytes_max, kafka.record_bytes_max..=limits::KAFKA_CALL_BYTES_MAX)?;
    within("delivery_timeout_ms", kafka.delivery_timeout_ms as usize, 1_000..=600_000)?;
    check_delivery(
        "kafka",
        &Delivery {
            calls_in_flight_max: 1,
            call_timeout_ms: kafka.delivery_timeout_ms,
            linger_ms: kafka.linger_ms,
            memory_bytes_max: kafka.memory_bytes_max,
            backlog_percent: kafka.backlog_percent,
        },
    )?;
    check_partition_key("kafka", &kafka.partition_key)?;
    check_topics(kafka)?;
    check_security(kafka)
}

fn check_topics(kafka: &KafkaConfig) -> Result<(), (String, String)> {
    let most = limits::KAFKA_TOPICS_MAX - 1;
    if kafka.topics.len() > most {
        return Err(("kafka.topics".into(), format!("found {} rules; at most {most} are allowed", kafka.topics.len())));
    }
    if !kafka.topic.is_empty() {
        check_template(&kafka.topic).map_err(|reason| ("kafka.topic".to_owned(), reason))?;
    }
    for (index, rule) in kafka.topics.iter().enumerate() {
        check_template(&rule.topic).map_err(|reason| (format!("kafka.topics[{index}].topic"), reason))?;
        if rule.events.is_empty() {
            return Err((format!("kafka.topics[{index}].events"), "is empty; a pattern such as \"menu:*\" is allowed".into()));
        }
    }
    Ok(())
}

fn check_security(kafka: &KafkaConfig) -> Result<(), (String, String)> {
    let wrong = |key: &str, reason: &str| Err((format!("kafka.{key}"), reason.to_owned()));
    let files = [("ca", &kafka.ca), ("client_certificate", &kafka.client_certificate), ("client_key", &kafka.client_key)];
    if let Some((key, _)) = files.iter().find(|(_, file)| !kafka.tls && !file.as_os_str().is_empty()) {
        return wrong(key, "is set, and kafka.tls is false");
    }
    if kafka.client_certificate.as_os_str().is_empty() != kafka.client_key.as_os_str().is_empty() {
        return wrong("client_key", "belongs to client_certificate; set both or none");
    }
    let has_user = !kafka.username.is_empty() && !kafka.password.secret().is_empty();
    let has_token = !kafka.token_file.as_os_str().is_empty();
    match kafka.sasl {
        KafkaSasl::Plain | KafkaSasl::ScramSha256 | KafkaSasl::ScramSha512 if !has_user => {
            wrong("username", "and kafka.password are needed for kafka.sasl = \"plain\" and \"scram-…\"")
        }
        KafkaSasl::Oauthbearer if !has_token => {
            wrong("token_file", "is empty; kafka.sasl = \"oauthbearer\" needs a file with a token")
        }
        KafkaSasl::Plain | KafkaSasl::Oauthbearer | KafkaSasl::AwsMskIam if !kafka.tls => {
            wrong("sasl", "sends a secret that others could read; kafka.tls = true is needed, or a scram-… that sends none")
        }
        _ => Ok(()),
    }
}

/// Whether a name of a topic is made for each event.
#[must_use]
pub fn has_placeholders(topic: &str) -> bool {
    topic.contains(EVENT_TYPE_PLACEHOLDER) || topic.contains(EVENT_SUBTYPE_PLACEHOLDER)
}

/// Checks a name of a topic, which may have placeholders.
fn check_template(topic: &str) -> Result<(), String> {
    check_topic_name(&topic.replace(EVENT_TYPE_PLACEHOLDER, "x").replace(EVENT_SUBTYPE_PLACEHOLDER, "x"))
}

/// Checks the name of a topic by Kafka's rules.
///
/// # Errors
/// Why it is no name.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    let most = limits::KAFKA_TOPIC_CHARS_MAX;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if matches!(name, "" | "." | "..") || name.len() > most || !name.bytes().all(is_allowed) {
        let placeholders = format!("{EVENT_TYPE_PLACEHOLDER} and {EVENT_SUBTYPE_PLACEHOLDER}");
        return Err(format!(
            "found {name:?}; the name of a topic is letters, digits, `.`, `_` and `-`, {most} at most, and in the configuration \
             the placeholders {placeholders}"
        ));
    }
    Ok(())
}

/// Validates that there is a broker to ask.
pub(super) fn check_servers(kafka: &KafkaConfig) -> Result<(), (String, String)> {
    if kafka.bootstrap_servers.trim().is_empty() {
        let reason = "is empty; host:port of a broker is needed, or several with commas";
        return Err(("kafka.bootstrap_servers".into(), reason.into()));
    }
    Ok(())
}

/// Validates that events have a topic. That of the dead letters is `dead_letters.stream`.
pub(super) fn check_topic(kafka: &KafkaConfig) -> Result<(), (String, String)> {
    if kafka.topic.is_empty() {
        return Err(("kafka.topic".into(), "is empty; the name of a topic is needed".into()));
    }
    Ok(())
}

/// Validates that this build can deliver to Kafka.
pub(super) fn check_build(key: &str, has_kafka: bool) -> Result<(), (String, String)> {
    if has_kafka {
        return Ok(());
    }
    Err((key.to_owned(), "found \"kafka\"; this build has no Kafka: build it with `--features kafka`".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_would_refuse_is_refused_at_once() {
        let default = KafkaConfig::default();
        assert_eq!(check(&default), Ok(()));
        let rule = |events: &str, topic: &str| vec![KafkaTopic { events: events.into(), topic: topic.into() }];
        let user = || KafkaConfig { username: "u".into(), password: Secret("s3cret".into()), ..KafkaConfig::default() };
        let cases = [
            (KafkaConfig { call_bytes_max: 1, ..default.clone() }, "kafka.call_bytes_max", "1000000"),
            (KafkaConfig { record_bytes_max: 1, ..default.clone() }, "kafka.record_bytes_max", "1024"),
            (KafkaConfig { delivery_timeout_ms: 1, ..default.clone() }, "kafka.delivery_timeout_ms", "1000"),
            (KafkaConfig { partition_key: "session_id".into(), ..default.clone() }, "kafka.partition_key", "JSON pointer"),
            (KafkaConfig { topic: "a b".into(), ..default.clone() }, "kafka.topic", "\"a b\""),
            (KafkaConfig { topic: "{event_name}".into(), ..default.clone() }, "kafka.topic", "placeholders"),
            (KafkaConfig { topics: rule("*", ".."), ..default.clone() }, "kafka.topics[0].topic", "\"..\""),
            (KafkaConfig { topics: rule("", "x"), ..default.clone() }, "kafka.topics[0].events", "empty"),
            (KafkaConfig { ca: "ca.pem".into(), ..default.clone() }, "kafka.ca", "kafka.tls"),
            (KafkaConfig { tls: true, client_key: "k".into(), ..default.clone() }, "kafka.client_key", "both"),
            (KafkaConfig { sasl: KafkaSasl::ScramSha256, ..default.clone() }, "kafka.username", "needed"),
            (KafkaConfig { sasl: KafkaSasl::Plain, ..user() }, "kafka.sasl", "tls"),
            (KafkaConfig { sasl: KafkaSasl::AwsMskIam, ..default.clone() }, "kafka.sasl", "tls"),
            (KafkaConfig { sasl: KafkaSasl::Oauthbearer, tls: true, ..default.clone() }, "kafka.token_file", "file"),
        ];
        for (config, key, part) in cases {
            let (found_key, reason) = check(&config).unwrap_err();
            assert!(found_key == key && reason.contains(part), "{found_key}: {reason}");
        }
        assert_eq!(check(&KafkaConfig { sasl: KafkaSasl::ScramSha512, ..user() }), Ok(()));
        assert_eq!(check(&KafkaConfig { topics: rule("menu:*", "m.{event_type}-{event_subtype}"), ..default.clone() }), Ok(()));
        assert_eq!(check_servers(&default).unwrap_err().0, "kafka.bootstrap_servers");
        assert_eq!(check_topic(&default).unwrap_err().0, "kafka.topic");
        let (key, reason) = check_build("sink.kind", false).unwrap_err();
        assert!(key == "sink.kind" && reason.contains("--features kafka"), "{key}: {reason}");
    }

    #[test]
    fn nothing_prints_the_password() {
        let config = KafkaConfig { password: Secret("s3cret".into()), ..KafkaConfig::default() };
        let printed = format!("{config:?} {} {}", toml::to_string(&config).unwrap(), config.password);
        assert!(printed.contains("***") && !printed.contains("s3cret"), "{printed}");
    }
}
