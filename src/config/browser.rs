//! `[browser]` and `[privacy]`: settings for web pages, and for personal data in events.

use serde::{Deserialize, Serialize};

/// `[browser]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct BrowserConfig {
    /// An additional path for events (POST) and the pixel (GET), for pages whose visitors' ad blockers know the usual paths.
    /// Empty: none.
    pub extra_path: String,
}

/// `[privacy]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Whether events of requests with `Sec-GPC: 1` or `DNT: 1` are dropped; the answer says so.
    pub respect_gpc: bool,
    /// How much of the client addresses is stored.
    pub client_address: AddressKept,
}

impl PrivacyConfig {
    /// Whether any part of client addresses is stored.
    #[must_use]
    pub fn keeps_addresses(&self) -> bool {
        self.client_address != AddressKept::None
    }
}

/// The stored part of an address.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AddressKept {
    /// Nothing.
    #[default]
    None,
    /// The network: the first 24 bits of an IPv4 address, the first 48 of an IPv6 address; the other bits are zero.
    Truncated,
    /// The whole address.
    Full,
}

/// Validates `[browser]` beyond its types.
pub(super) fn check(config: &BrowserConfig) -> Result<(), (String, String)> {
    let path = &config.extra_path;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.' | b'~');
    // A path of the gateway would be registered twice.
    let is_taken = ["/v1/", "/k/", "/healthz", "/readyz", "/metrics", "/errors/", "/openapi.yaml/"]
        .iter()
        .any(|taken| format!("{path}/").starts_with(taken));
    let is_plain = path.len() > 1 && path.starts_with('/') && path.bytes().all(allowed) && !path.contains("//");
    if path.is_empty() || is_plain && !is_taken && !path.ends_with('/') {
        return Ok(());
    }
    let allowed = "a path such as \"/menu/s\" is allowed: letters, digits, `_`, `-`, `.`, `~` between slashes, none at its \
                   end, and not below /v1, /k, /healthz, /readyz, /metrics, /errors or /openapi.yaml";
    Err(("browser.extra_path".into(), format!("found {path:?}; {allowed}")))
}
