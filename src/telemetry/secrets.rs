//! The metrics of the secrets in the configuration: when each was last used, when it expires, and who still sends it then.
//!
//! A request only touches two numbers of its own secret. The labels are made at each scrape, from the list in force, so a
//! secret that is removed from the configuration leaves the metrics.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// How a secret is used.
#[derive(Debug, Default)]
pub struct SecretUse {
    last_used: AtomicI64,
    expired_requests: AtomicU64,
}

impl SecretUse {
    /// Notes a use at `now` (Unix seconds). Writes once a second at most, so that requests on several processors do not take the
    /// number from each other.
    pub fn note(&self, now: i64) {
        if self.last_used.load(Ordering::Relaxed) != now {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    /// Counts a request that was refused because the secret has expired.
    pub fn count_expired(&self) {
        self.expired_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// When the secret was last used, in Unix seconds; 0 if it was not used since the start.
    #[must_use]
    pub fn last_used(&self) -> i64 {
        self.last_used.load(Ordering::Relaxed)
    }
}

/// A secret of the configuration in force.
#[derive(Debug)]
pub struct SecretInForce {
    /// Name of the key.
    pub key: Arc<str>,
    /// The first digits of the secret's hash.
    pub secret: String,
    /// When it expires, in Unix seconds.
    pub not_after: Option<i64>,
    /// How it is used.
    pub usage: Arc<SecretUse>,
}

/// The secrets of the configuration in force.
#[derive(Debug, Default)]
pub struct Secrets(Arc<ArcSwap<Vec<SecretInForce>>>);

impl Secrets {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let secrets = Self::default();
        registry.register_collector(Box::new(List(secrets.0.clone())));
        secrets
    }

    /// Replaces the list.
    pub fn replace(&self, secrets: Vec<SecretInForce>) {
        self.0.store(Arc::new(secrets));
    }
}

/// Read at each scrape.
#[derive(Debug)]
struct List(Arc<ArcSwap<Vec<SecretInForce>>>);

impl SecretInForce {
    fn label(&self) -> [(&'static str, &str); 2] {
        [("key", &self.key), ("secret", &self.secret)]
    }
}

impl Collector for List {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let secrets = self.0.load();
        let help = "When a secret of a key was last used, Unix time; 0: not since the start";
        let mut last_used = encoder.encode_descriptor("key_last_used_timestamp_seconds", help, None, MetricType::Gauge)?;
        for secret in secrets.iter() {
            ConstGauge::new(secret.usage.last_used()).encode(last_used.encode_family(&secret.label())?)?;
        }
        let expiring = || secrets.iter().filter_map(|secret| Some((secret, secret.not_after?)));
        let help = "When a secret of a key expires, Unix time; only of those that do";
        let mut ends = encoder.encode_descriptor("key_not_after_timestamp_seconds", help, None, MetricType::Gauge)?;
        for (secret, not_after) in expiring() {
            ConstGauge::new(not_after).encode(ends.encode_family(&secret.label())?)?;
        }
        let help = "Requests with a secret that has expired";
        let mut expired = encoder.encode_descriptor("key_expired_requests", help, None, MetricType::Counter)?;
        for (secret, _) in expiring() {
            let count = ConstCounter::new(secret.usage.expired_requests.load(Ordering::Relaxed));
            count.encode(expired.encode_family(&secret.label())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_secret_has_its_times_while_it_is_in_force() {
        let mut registry = Registry::default();
        let secrets = Secrets::register(&mut registry);
        let scrape = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        let usage = Arc::new(SecretUse::default());
        let old = |usage| SecretInForce { key: "web".into(), secret: "0a1b2c3d".into(), not_after: Some(1_800_000_000), usage };
        let new = SecretInForce { key: "web".into(), secret: "ffff0000".into(), not_after: None, usage: Arc::default() };
        secrets.replace(vec![old(usage.clone()), new]);
        usage.note(1_795_000_000);
        usage.count_expired();
        assert_eq!(
            scrape(),
            [
                "key_last_used_timestamp_seconds{key=\"web\",secret=\"0a1b2c3d\"} 1795000000",
                "key_last_used_timestamp_seconds{key=\"web\",secret=\"ffff0000\"} 0",
                "key_not_after_timestamp_seconds{key=\"web\",secret=\"0a1b2c3d\"} 1800000000",
                "key_expired_requests_total{key=\"web\",secret=\"0a1b2c3d\"} 1",
            ]
        );
        secrets.replace(Vec::new());
        assert_eq!(scrape(), [""; 0]);
    }
}
