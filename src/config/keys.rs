//! `[[keys]]`: the senders, with their origins, events and limits.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::secrets::{self, SecretConfig};
use crate::{
    event::CreatedDays,
    limits::{
        BROWSER_CREATED_DAYS, EVENT_BYTES_MAX, EVENTS_PER_REQUEST_MAX, INFLATED_BYTES_MAX, KEY_EVENT_BYTES_LEAST,
        KEY_PATTERNS_MAX, KEYS_MAX, SOURCE_BYTES_MAX,
    },
};

/// One key.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Name, which becomes the `source` of its events: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// SHA-256 of the secret, 64 hexadecimal digits. No file holds the secret itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_sha256: Option<String>,
    /// The kind of sender.
    #[serde(default)]
    pub kind: KeyKind,
    /// Browser keys: the web pages that may use the key, such as `https://menu.example`, `https://*.menu.example`, or `*`.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Names of the events that the key may send, such as `menu:*`. Empty: all.
    #[serde(default)]
    pub allowed_events: Vec<String>,
    /// Whether the key is valid only on connections with a client certificate: see `tls.client_ca`.
    #[serde(default)]
    pub client_certificate: bool,
    /// Events per second that the key may send, on average. If this or one of the following is absent, `[rate_limit]` applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    /// Events that the key may send at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_burst: Option<u32>,
    /// Bytes per second, of bodies after decompression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u32>,
    /// Bytes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_burst: Option<u32>,
    /// Bytes of one event. Absent: 64 KiB for a browser key, and the gateway's limit for a server key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_bytes_max: Option<usize>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_burst: Option<u32>,
    /// Largest number of days between creation and receipt of an event that still gets the partition of its creation day.
    /// Absent, like the next one: [`KeyConfig::created_days`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_days_back: Option<u16>,
    /// The same for events created after the day of their receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_days_ahead: Option<u16>,
    /// Percent of the spool, and of the dedup window, that the events of the key may hold. Absent: 50 for a browser key, 90 for
    /// a server key, 100 for the only key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<u8>,
    /// What its clients read of an answer.
    #[serde(default)]
    pub answers: Answers,
    /// Whether the key may send now.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// More secrets of the same key, each with its end if it has one: senders change from one to another without a gap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretConfig>,
}

impl KeyConfig {
    /// A service key with only the required fields.
    #[must_use]
    pub fn new(name: &str, secret_sha256: String) -> Self {
        Self {
            name: name.into(),
            secret_sha256: Some(secret_sha256),
            kind: KeyKind::Server,
            allowed_origins: Vec::new(),
            allowed_events: Vec::new(),
            client_certificate: false,
            events_per_second: None,
            events_burst: None,
            bytes_per_second: None,
            bytes_burst: None,
            event_bytes_max: None,
            requests_per_second: None,
            requests_burst: None,
            created_days_back: None,
            created_days_ahead: None,
            share_percent: None,
            answers: Answers::Each,
            enabled: true,
            secrets: Vec::new(),
        }
    }

    /// All secrets of the key: the one in `secret_sha256`, which does not expire, and those in `secrets`.
    pub fn all_secrets(&self) -> impl Iterator<Item = SecretConfig> {
        let one = self.secret_sha256.iter().map(|sha256| SecretConfig { sha256: sha256.clone(), not_after: None });
        one.chain(self.secrets.iter().cloned())
    }

    /// How far from its receipt an event of this key may have been created and still get the partition of that day:
    /// [`CreatedDays::WIDEST`] for a server key and [`BROWSER_CREATED_DAYS`] for a browser key, unless configured.
    #[must_use]
    pub fn created_days(&self) -> CreatedDays {
        let default = match self.kind {
            KeyKind::Server => CreatedDays::WIDEST,
            KeyKind::Browser => CreatedDays { back: BROWSER_CREATED_DAYS.0, ahead: BROWSER_CREATED_DAYS.1 },
        };
        CreatedDays {
            back: self.created_days_back.unwrap_or(default.back),
            ahead: self.created_days_ahead.unwrap_or(default.ahead),
        }
    }
}

/// The kind of sender.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// A service: the key is a secret.
    #[default]
    Server,
    /// Web pages: everyone can read the key in a page, so it is valid only for the page's origins.
    Browser,
}

/// What the clients of a key read of an answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// The outcome of each event, in `results`.
    #[default]
    Each,
    /// The status: 200 if every event is settled, 503 if the whole request must be sent again.
    Whole,
}

fn enabled() -> bool {
    true
}

/// Validates keys in a configuration without an authority for client certificates.
///
/// # Errors
/// The key and the reason of the first fault.
pub fn check_keys(keys: &[KeyConfig]) -> Result<(), (String, String)> {
    check(keys, false)
}

/// Validates keys beyond their types. Returns the key and the reason of the first fault.
pub(super) fn check(keys: &[KeyConfig], has_client_ca: bool) -> Result<(), (String, String)> {
    if keys.len() > KEYS_MAX {
        return Err(("keys".into(), format!("found {}; at most {KEYS_MAX} are allowed", keys.len())));
    }
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    for (index, key) in keys.iter().enumerate() {
        let at = |field: &str, reason: String| (format!("keys[{index}].{field}"), reason);
        check_name(&key.name).map_err(|reason| at("name", reason))?;
        if !names.insert(&key.name) {
            return Err(at("name", format!("found {:?} a second time; names are unique", key.name)));
        }
        secrets::check(key.secret_sha256.as_deref(), &key.secrets, &mut hashes).map_err(|(field, reason)| at(&field, reason))?;
        if key.client_certificate && !has_client_ca {
            return Err(at("client_certificate", "is set, and tls.client_ca names no authority for it".into()));
        }
        let least = |found: Option<u32>, least: usize| found.is_none_or(|found| found as usize >= least);
        if !least(key.events_burst, EVENTS_PER_REQUEST_MAX) {
            return Err(at("events_burst", format!("at least {EVENTS_PER_REQUEST_MAX} is allowed, the events of one request")));
        }
        if !least(key.bytes_burst, INFLATED_BYTES_MAX) {
            return Err(at("bytes_burst", format!("at least {INFLATED_BYTES_MAX} is allowed, the bytes of one request")));
        }
        if let Some(found) = key.event_bytes_max.filter(|found| !(KEY_EVENT_BYTES_LEAST..=EVENT_BYTES_MAX).contains(found)) {
            let reason = format!("found {found}; {KEY_EVENT_BYTES_LEAST} to {EVENT_BYTES_MAX} is allowed");
            return Err(at("event_bytes_max", reason));
        }
        for (field, found) in [
            ("events_per_second", key.events_per_second),
            ("bytes_per_second", key.bytes_per_second),
            ("requests_per_second", key.requests_per_second),
            ("requests_burst", key.requests_burst),
        ] {
            if !least(found, 1) {
                return Err(at(field, "found 0; at least 1 is allowed".into()));
            }
        }
        let widest = CreatedDays::WIDEST;
        for (field, found, most) in [
            ("created_days_back", key.created_days_back, widest.back),
            ("created_days_ahead", key.created_days_ahead, widest.ahead),
        ] {
            if let Some(found) = found.filter(|found| *found > most) {
                return Err(at(field, format!("found {found}; at most {most} is allowed")));
            }
        }
        if let Some(found) = key.share_percent.filter(|found| !(1..=100).contains(found)) {
            return Err(at("share_percent", format!("found {found}; 1 to 100 is allowed")));
        }
        check_origins(key).map_err(|reason| at("allowed_origins", reason))?;
        check_events(&key.allowed_events).map_err(|reason| at("allowed_events", reason))?;
    }
    Ok(())
}

/// Whether a key may have this name: the name is a folder of the dead letters, and is not escaped in JSON.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= SOURCE_BYTES_MAX && !name.starts_with('.') && name.bytes().all(allowed)
}

fn check_name(name: &str) -> Result<(), String> {
    if !is_key_name(name) {
        return Err(format!(
            "found {name:?}; 1 to {SOURCE_BYTES_MAX} letters, digits, `_`, `-` or `.` are allowed, not beginning with `.`"
        ));
    }
    Ok(())
}

fn check_origins(key: &KeyConfig) -> Result<(), String> {
    match (key.kind, key.allowed_origins.len()) {
        (KeyKind::Server, 0) => return Ok(()),
        (KeyKind::Server, _) => return Err("is for keys of the kind \"browser\"".into()),
        (KeyKind::Browser, 0) => return Err("is empty; a browser key names the pages that may use it; `[\"*\"]` is any".into()),
        (KeyKind::Browser, 1..=KEY_PATTERNS_MAX) => {}
        (KeyKind::Browser, found) => return Err(format!("found {found}; at most {KEY_PATTERNS_MAX} are allowed")),
    }
    match key.allowed_origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(()),
        Some(wrong) => Err(format!(
            "found {wrong:?}; an origin as browsers write it is allowed (\"https://menu.example\", lower case, a port only where \
             it is not the usual one, nothing behind it), \"https://*.menu.example\", \"null\" or \"*\""
        )),
    }
}

/// Whether a browser could send this origin; `*` may replace a name and its dot.
fn is_origin(text: &str) -> bool {
    if matches!(text, "*" | "null") {
        return true;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let rest = rest.strip_prefix("*.").unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_usual = matches!((scheme, port), ("https", Some("443")) | ("http", Some("80")));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_address = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_address || host.bytes().all(|byte| is_plain(byte) || byte == b'_'));
    !scheme.is_empty() && scheme.bytes().all(|byte| is_plain(byte) || byte == b'+') && is_host && is_port && !is_usual
}

fn check_events(patterns: &[String]) -> Result<(), String> {
    if patterns.len() > KEY_PATTERNS_MAX {
        return Err(format!("found {}; at most {KEY_PATTERNS_MAX} are allowed", patterns.len()));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'*');
    match patterns.iter().find(|pattern| pattern.is_empty() || !pattern.bytes().all(allowed)) {
        None => Ok(()),
        Some(wrong) => Err(format!("found {wrong:?}; names of events are allowed, with `*` for any text: \"menu:*\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in [
            "*",
            "null",
            "https://menu.example",
            "https://*.menu.example",
            "http://localhost:5173",
            "https://[::1]:8443",
            "http://xn--caf-dma.example",
            "capacitor://localhost",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "menu.example",
            "https://",
            "https://menu.example/",
            "https://menu.example:443",
            "http://127.0.0.1:80",
            "https://Menu.example",
            "https://menu.*",
            "https://a.*.example",
            "https://*",
            "https://menu.example:99999",
            "https://menu.example:08",
            "https://café.example",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
