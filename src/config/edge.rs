//! `[http]`, `[tls]`, `[proxy]` and `[rate_limit]`: the listener for events, and its limits.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::limits;

/// When an event counts as accepted. The later is the greater.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the event is on the gateway's disk.
    #[default]
    Disk,
    /// When the sink has confirmed the event.
    Delivered,
}

/// `[http]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// HTTP without TLS, behind a load balancer that terminates TLS.
    pub plaintext: bool,
    /// Connections open at one time.
    pub connections_max: usize,
    /// Connections open at one time from one client address.
    pub connections_per_address_max: usize,
    /// Seconds for which a connection without an open request is kept.
    pub idle_timeout_seconds: u64,
    /// Seconds within which the head of a request must arrive, from its first byte.
    pub header_timeout_seconds: u64,
    /// Seconds within which a client over HTTP/1 must read an answer, after it falls behind.
    pub answer_timeout_seconds: u64,
    /// When an event counts as accepted, at the earliest. `Prefer: durability=…` may only raise it.
    pub durability: Durability,
    /// Seconds that a request with the durability `delivered` waits for the sink.
    pub delivered_wait_seconds: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 8443),
            plaintext: false,
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            idle_timeout_seconds: limits::IDLE_TIMEOUT.as_secs(),
            header_timeout_seconds: limits::HEADER_READ_TIMEOUT.as_secs(),
            answer_timeout_seconds: limits::ANSWER_READ_TIMEOUT.as_secs(),
            durability: Durability::Disk,
            delivered_wait_seconds: limits::DELIVERED_WAIT.as_secs(),
        }
    }
}

impl HttpConfig {
    /// Time for which a connection without an open request is kept.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }

    /// Time for the head of a request.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds)
    }

    /// Time for reading an answer over HTTP/1.
    #[must_use]
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_secs(self.answer_timeout_seconds)
    }
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the certificate chain, the server's own first. Absent on a loopback listener: the gateway creates one.
    pub certificate: Option<PathBuf>,
    /// PEM file of the private key.
    pub private_key: Option<PathBuf>,
    /// PEM file of the authorities for client certificates. Absent: no client certificate is requested.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate may connect. Keys with `client_certificate = true` always need one.
    pub client_auth: ClientAuth,
    /// Seconds for which browsers must use only HTTPS (`Strict-Transport-Security`). 0: the header is not sent.
    pub hsts_seconds: u64,
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Clients may connect without a certificate.
    #[default]
    Optional,
    /// Clients must have a certificate.
    Required,
}

/// `[proxy]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// Addresses and networks of the proxies that are trusted to report the client's address.
    #[serde(deserialize_with = "networks")]
    pub trusted: Vec<IpNet>,
    /// Whether the proxies report it in `X-Forwarded-For`.
    pub forwarded_for: bool,
    /// Whether the proxies begin each connection with the PROXY protocol, version 1 or 2.
    pub proxy_protocol: bool,
    /// Whether a balancer in front keeps the address of the client as that of the connection. For `http.plaintext`, where a
    /// connection else is taken for the balancer's own.
    pub keeps_addresses: bool,
}

/// Networks; an address is a network of one.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let parsed = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
        parsed.map_err(|_| D::Error::custom(format!("found {text:?}; an address or a network such as \"10.0.0.0/8\" is allowed")))
    };
    texts.iter().map(network).collect()
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { trusted: Vec::new(), forwarded_for: true, proxy_protocol: false, keeps_addresses: false }
    }
}

/// `[rate_limit]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// Events per second that one key may send, on average.
    pub events_per_second: u32,
    /// Events that one key may send at once, above that rate.
    pub events_burst: u32,
    /// Bytes per second with one key, of bodies after decompression. Absent: 4 KiB for each event of `events_per_second`, at
    /// least 1 MiB.
    pub bytes_per_second: Option<u32>,
    /// Bytes at once with one key. Absent: 4 KiB for each event of `events_burst`.
    pub bytes_burst: Option<u32>,
    /// Requests per second with one key. Absent: as many as events.
    pub requests_per_second: Option<u32>,
    /// Requests at once with one key. Absent: as many as events.
    pub requests_burst: Option<u32>,
    /// Events per second from one client address, for limited addresses. 0: addresses have no limit.
    pub address_events_per_second: u32,
    /// Events at once from one client address.
    pub address_events_burst: u32,
    /// Bytes per second from one client address. Absent: as with one key, for the events of an address.
    pub address_bytes_per_second: Option<u32>,
    /// Bytes at once from one client address. Absent: as with one key, for the events of an address.
    pub address_bytes_burst: Option<u32>,
    /// Requests per second from one client address. 0: addresses have no limit.
    pub address_requests_per_second: u32,
    /// Requests at once from one client address.
    pub address_requests_burst: u32,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            events_per_second: limits::KEY_EVENTS_PER_SECOND,
            events_burst: limits::KEY_EVENTS_BURST,
            bytes_per_second: None,
            bytes_burst: None,
            requests_per_second: None,
            requests_burst: None,
            address_events_per_second: limits::ADDRESS_EVENTS_PER_SECOND,
            address_events_burst: limits::ADDRESS_EVENTS_BURST,
            address_bytes_per_second: None,
            address_bytes_burst: None,
            address_requests_per_second: limits::ADDRESS_REQUESTS_PER_SECOND,
            address_requests_burst: limits::ADDRESS_REQUESTS_BURST,
        }
    }
}

/// Validates these sections beyond their types. Returns the key and the reason of the first fault.
pub(super) fn check(
    http: &HttpConfig,
    tls: &TlsConfig,
    proxy: &ProxyConfig,
    rate: &RateLimitConfig,
) -> Result<(), (String, String)> {
    let at_least = |key: &str, found: u64, least: u64| {
        if found < least { Err((key.to_owned(), format!("found {found}; at least {least} is allowed"))) } else { Ok(()) }
    };
    let one_request = limits::EVENTS_PER_REQUEST_MAX as u64;
    at_least("http.connections_max", http.connections_max as u64, 1)?;
    at_least("http.connections_per_address_max", http.connections_per_address_max as u64, 1)?;
    at_least("http.idle_timeout_seconds", http.idle_timeout_seconds, 1)?;
    at_least("http.header_timeout_seconds", http.header_timeout_seconds, 1)?;
    at_least("http.answer_timeout_seconds", http.answer_timeout_seconds, 1)?;
    at_least("http.delivered_wait_seconds", http.delivered_wait_seconds, 1)?;
    at_least("rate_limit.events_per_second", rate.events_per_second.into(), 1)?;
    at_least("rate_limit.events_burst", rate.events_burst.into(), one_request)?;
    let largest_body = limits::INFLATED_BYTES_MAX as u64;
    let bytes_burst = |found: Option<u32>| found.map_or(largest_body, u64::from);
    at_least("rate_limit.bytes_per_second", rate.bytes_per_second.unwrap_or(1).into(), 1)?;
    at_least("rate_limit.bytes_burst", bytes_burst(rate.bytes_burst), largest_body)?;
    at_least("rate_limit.address_bytes_per_second", rate.address_bytes_per_second.unwrap_or(1).into(), 1)?;
    at_least("rate_limit.address_bytes_burst", bytes_burst(rate.address_bytes_burst), largest_body)?;
    at_least("rate_limit.requests_per_second", rate.requests_per_second.unwrap_or(1).into(), 1)?;
    at_least("rate_limit.requests_burst", rate.requests_burst.unwrap_or(1).into(), 1)?;
    at_least("rate_limit.address_events_burst", rate.address_events_burst.into(), one_request)?;
    at_least("rate_limit.address_requests_burst", rate.address_requests_burst.into(), 1)?;
    let wrong = |key: &str, reason: String| Err((key.to_owned(), reason));
    if tls.certificate.is_some() != tls.private_key.is_some() {
        return wrong("tls", "certificate and private_key go together; only one of them was found".into());
    }
    if tls.client_ca.is_none() && tls.client_auth == ClientAuth::Required {
        return wrong("tls.client_auth", "found \"required\" without client_ca, the authorities to ask for".into());
    }
    if proxy.trusted.len() > limits::PROXY_NETWORKS_MAX {
        let found = proxy.trusted.len();
        return wrong("proxy.trusted", format!("found {found}; at most {} are allowed", limits::PROXY_NETWORKS_MAX));
    }
    if proxy.proxy_protocol && proxy.trusted.is_empty() {
        return wrong("proxy.proxy_protocol", "is set, and proxy.trusted names nobody who may speak it".into());
    }
    Ok(())
}
