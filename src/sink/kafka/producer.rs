//! The producer of librdkafka: idempotent, acknowledged by all in-sync replicas, with limits and time-outs of ours.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    client::OAuthToken,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::DeliveryResult,
    producer::{Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};

use super::{
    reports::{Ticket, read_report},
    setup_error::SetupError,
    token::TokenSource,
};
use crate::{
    config::{KafkaCompression, KafkaConfig, KafkaSasl},
    limits::{KAFKA_CONNECT_TIMEOUT, KAFKA_FRAMING_BYTES, KAFKA_RECONNECT_MAX},
};

/// A producer with its thread.
pub(super) type Producer = ThreadedProducer<Context>;

/// What is needed to make a producer, at the start and after a fatal error.
pub(super) struct ProducerSettings {
    settings: ClientConfig,
    token: TokenSource,
}

impl ProducerSettings {
    pub(super) fn new(config: &KafkaConfig, token: TokenSource) -> Self {
        let timeout_ms = config.delivery_timeout_ms;
        let batch_bytes_max = config.record_bytes_max + KAFKA_FRAMING_BYTES;
        let mut settings = ClientConfig::new();
        let mut set = |key: &str, value: &str| {
            settings.set(key, value);
        };
        set("bootstrap.servers", &config.bootstrap_servers);
        set("client.id", "lakegate");
        // A lost answer is asked for again under the same sequence number, which the broker recognises.
        set("enable.idempotence", "true");
        set("acks", "all");
        set("message.timeout.ms", &timeout_ms.to_string());
        // A request is given up early enough to be sent again to another leader.
        set("request.timeout.ms", &(timeout_ms / 3).max(1_000).to_string());
        set("socket.timeout.ms", &(timeout_ms / 3).max(1_000).to_string());
        set("socket.connection.setup.timeout.ms", &KAFKA_CONNECT_TIMEOUT.as_millis().to_string());
        set("socket.keepalive.enable", "true");
        set("reconnect.backoff.max.ms", &KAFKA_RECONNECT_MAX.as_millis().to_string());
        set("allow.auto.create.topics", if config.create_topics { "true" } else { "false" });
        set("compression.type", compression(config.compression));
        // Events have lingered before; a call is given to the producer as a whole.
        set("linger.ms", "1");
        set("message.max.bytes", &batch_bytes_max.to_string());
        set("batch.size", &batch_bytes_max.to_string());
        // The gateway bounds what is in flight.
        set("queue.buffering.max.messages", "0");
        set("queue.buffering.max.kbytes", &(4 * config.memory_bytes_max / 1024).max(64 * 1024).to_string());
        set("log.connection.close", "false");
        set_security(config, &mut settings);
        Self { settings, token }
    }

    /// A new producer. Nothing is sent yet.
    pub(super) fn start(&self) -> Result<Producer, SetupError> {
        let context = Context { token: self.token.clone(), is_down: AtomicBool::new(false), last_error: Mutex::default() };
        Producer::from_config_and_context(&self.settings, context)
            .map_err(|error| SetupError(format!("the Kafka producer cannot be made: {error}")))
    }
}

fn set_security(config: &KafkaConfig, settings: &mut ClientConfig) {
    let protocol = match (config.tls, config.sasl) {
        (false, KafkaSasl::None) => "plaintext",
        (true, KafkaSasl::None) => "ssl",
        (false, _) => "sasl_plaintext",
        (true, _) => "sasl_ssl",
    };
    settings.set("security.protocol", protocol);
    if config.tls {
        let path = |path: &Path| path.display().to_string();
        // A static OpenSSL does not know where this machine keeps its certificate authorities.
        let ca = if config.ca.as_os_str().is_empty() { "probe".to_owned() } else { path(&config.ca) };
        settings.set("ssl.ca.location", ca);
        if !config.client_certificate.as_os_str().is_empty() {
            settings.set("ssl.certificate.location", path(&config.client_certificate));
            settings.set("ssl.key.location", path(&config.client_key));
        }
    }
    let mechanism = match config.sasl {
        KafkaSasl::None => return,
        KafkaSasl::Plain => "PLAIN",
        KafkaSasl::ScramSha256 => "SCRAM-SHA-256",
        KafkaSasl::ScramSha512 => "SCRAM-SHA-512",
        KafkaSasl::Oauthbearer | KafkaSasl::AwsMskIam => "OAUTHBEARER",
    };
    settings.set("sasl.mechanisms", mechanism);
    if matches!(config.sasl, KafkaSasl::Plain | KafkaSasl::ScramSha256 | KafkaSasl::ScramSha512) {
        settings.set("sasl.username", &config.username);
        settings.set("sasl.password", config.password.secret());
    }
}

fn compression(compression: KafkaCompression) -> &'static str {
    match compression {
        KafkaCompression::None => "none",
        KafkaCompression::Snappy => "snappy",
        KafkaCompression::Lz4 => "lz4",
        KafkaCompression::Zstd => "zstd",
    }
}

/// What librdkafka calls back.
pub(super) struct Context {
    token: TokenSource,
    is_down: AtomicBool,
    last_error: Mutex<String>,
}

impl Context {
    /// Why no broker can be reached; `None` if one can, as far as is known.
    pub(super) fn why_down(&self) -> Option<String> {
        self.is_down.load(Ordering::Relaxed).then(|| self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// A broker has answered.
    pub(super) fn answered(&self) {
        if self.is_down.load(Ordering::Relaxed) {
            self.is_down.store(false, Ordering::Relaxed);
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // The gateway itself reports what fails for long; librdkafka repeats each failed connection.
        if level as u8 <= RDKafkaLogLevel::Critical as u8 {
            tracing::error!(facility, message, "librdkafka");
        } else {
            tracing::debug!(facility, message, "librdkafka");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let is_down = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if is_down {
            self.is_down.store(true, Ordering::Relaxed);
        } else {
            // "All brokers are down" does not say why; the error before does.
            reason.clone_into(&mut self.last_error.lock().unwrap_or_else(PoisonError::into_inner));
        }
        tracing::debug!(%error, reason, "librdkafka");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        Ok(self.token.make()?)
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        ticket.reports.put(ticket.index, read_report(result));
    }
}

/// Partitions of the topic `name`.
///
/// # Errors
/// Why they are not known, and whether no broker answered.
pub(super) fn look(producer: &Producer, name: &str, timeout: Duration) -> Result<usize, (String, bool)> {
    let found = producer.client().fetch_metadata(Some(name), timeout);
    let found = found.map_err(|error| {
        let why = producer.context().why_down();
        (why.filter(|why| !why.is_empty()).unwrap_or_else(|| error.to_string()), true)
    })?;
    producer.context().answered();
    let Some(topic) = found.topics().iter().find(|topic| topic.name() == name) else {
        return Err(("the brokers say nothing of the topic".into(), false));
    };
    match topic.error() {
        _ if !topic.partitions().is_empty() => Ok(topic.partitions().len()),
        Some(error) => Err((format!("{:?}", RDKafkaErrorCode::from(error)), false)),
        None => Err(("the topic has no partitions".into(), false)),
    }
}
