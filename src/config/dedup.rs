//! `[dedup]`: the window, and the shared store of a fleet.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::limits;

/// `[dedup]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DedupConfig {
    /// Days for which an identity is remembered.
    pub window_days: u32,
    /// Largest number of remembered identities; beyond it the oldest are forgotten early, and `/metrics` reports that.
    pub identities_max: u64,
    /// The store beside the gateway's own window.
    pub store: DedupStore,
    /// The shared store, if there is one.
    pub redis: RedisConfig,
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self {
            window_days: limits::DEDUP_WINDOW_DAYS,
            identities_max: limits::DEDUP_IDENTITIES_MAX,
            store: DedupStore::Local,
            redis: RedisConfig::default(),
        }
    }
}

/// The store beside the gateway's own window.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DedupStore {
    /// None: there is one gateway, or this gateway gets all events of an identity.
    Local,
    /// A Redis (7.0 or later) or Valkey that all gateways share.
    Redis,
}

/// `[dedup.redis]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// The URL: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: StoreUrl,
    /// Prefix of every key; the same for all gateways of a fleet.
    pub key_prefix: String,
    /// Milliseconds that a request waits for it, plus a hundredth per event; then its events are accepted unchecked.
    pub deadline_ms: u64,
    /// Seconds after which a claim of a dead gateway expires.
    pub claim_ttl_seconds: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: StoreUrl::default(),
            key_prefix: "lakegate:".into(),
            deadline_ms: limits::FLEET_DEADLINE.as_millis() as u64,
            claim_ttl_seconds: limits::FLEET_CLAIM_TTL.as_secs(),
        }
    }
}

impl RedisConfig {
    /// The first fault of a fleet's section: the key and the reason.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, reason: String| Err((format!("dedup.redis.{key}"), reason));
        if !self.url.is_usable() {
            let found = if self.url.0.is_empty() { "nothing" } else { "a text that is none" };
            let allowed = "redis://[[user]:password@]host[:port][/database] is allowed, or rediss:// for TLS";
            return wrong("url", format!("found {found}; {allowed}"));
        }
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
        if self.key_prefix.len() > limits::FLEET_KEY_PREFIX_BYTES_MAX || !self.key_prefix.bytes().all(is_allowed) {
            let (found, most) = (&self.key_prefix, limits::FLEET_KEY_PREFIX_BYTES_MAX);
            return wrong(
                "key_prefix",
                format!("found {found:?}; at most {most} letters, digits and signs but {{}} are allowed"),
            );
        }
        let within = |key: &str, found: u64, most: u64| match found {
            found if (1..=most).contains(&found) => Ok(()),
            found => wrong(key, format!("found {found}; 1 to {most} is allowed")),
        };
        within("deadline_ms", self.deadline_ms, limits::FLEET_DEADLINE_MAX.as_millis() as u64)?;
        within("claim_ttl_seconds", self.claim_ttl_seconds, limits::FLEET_CLAIM_TTL_MAX.as_secs())?;
        if self.claim_ttl_seconds * 1000 < 2 * self.deadline_ms {
            let reason = format!("found {}; at least twice the deadline is allowed", self.claim_ttl_seconds);
            return wrong("claim_ttl_seconds", reason);
        }
        Ok(())
    }
}

/// A URL that may hold a password. Printed with `***` instead of user and password.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The URL with the password. Do not log it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    fn is_usable(&self) -> bool {
        let is_known = ["redis://", "rediss://"].iter().any(|scheme| self.0.starts_with(scheme));
        is_known && redis::Client::open(self.secret()).is_ok()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Split at the last `@`, so that a password with an `@` is hidden completely.
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => write!(f, "{scheme}://***@{place}"),
            (None, Some(_)) => f.write_str("***"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for StoreUrl {
    /// The printed form: `lakegate config check` prints it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_the_password() {
        for text in ["redis://:s3cret@host:6379/1", "rediss://me:s3cret@host", "redis://me:s3cret@s3cret@host", ":s3cret@host"] {
            let url = StoreUrl(text.to_owned());
            let config = RedisConfig { url: url.clone(), ..RedisConfig::default() };
            let printed = format!("{url} {url:?} {config:?} {}", toml::to_string(&config).unwrap());
            assert!(!printed.contains("s3cret"), "{printed}");
            let reason = config.check().map_or_else(|(_, reason)| reason, |()| String::new());
            assert!(!reason.contains("s3cret"), "{reason}");
        }
        assert_eq!(StoreUrl("redis://:x@host:6379/1".into()).to_string(), "redis://***@host:6379/1");
        assert_eq!(StoreUrl("redis://host".into()).to_string(), "redis://host");
    }
}
