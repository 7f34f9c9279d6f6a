//! Builds the keys and limits from the configuration.

use std::sync::Arc;

use crate::{
    auth::Keys,
    config::Config,
    http::Policy,
    rate_limit::{AddressRates, Allowance},
    tls::TlsError,
};

/// Refuses a listener beyond loopback without keys, or without a certificate. Reads no files.
///
/// # Errors
/// What is missing.
pub fn check_listener(config: &Config) -> anyhow::Result<()> {
    let listen = config.http.listen.ip();
    Keys::new(&config.keys, &config.rate_limit, listen, None)?;
    let is_served = listen.is_loopback() || config.http.plaintext || config.tls.certificate.is_some();
    anyhow::ensure!(is_served, TlsError::NoCertificate(listen));
    Ok(())
}

/// The keys and limits. Entries that did not change since `before` keep their buckets.
pub(super) fn policy(config: &Config, before: Option<&Policy>) -> anyhow::Result<Policy> {
    let rate = &config.rate_limit;
    let events = Allowance { per_second: rate.address_events_per_second, burst: rate.address_events_burst };
    let bytes = Allowance::of_bytes(rate.address_bytes_per_second, rate.address_bytes_burst, events);
    let requests = Allowance { per_second: rate.address_requests_per_second, burst: rate.address_requests_burst };
    let is_off = events.per_second == 0 || requests.per_second == 0;
    // Behind an untrusted load balancer all clients have its address.
    let is_blind = config.http.plaintext && config.proxy.trusted.is_empty() && !config.proxy.keeps_addresses;
    if is_blind && before.is_none() && !is_off {
        tracing::warn!(
            "plaintext without proxy.trusted or proxy.keeps_addresses: client addresses are not known, and held to no limits"
        );
    }
    let same = before.and_then(|before| before.addresses.clone()).filter(|same| same.allowances() == [events, bytes, requests]);
    Ok(Policy {
        keys: Keys::new(&config.keys, rate, config.http.listen.ip(), before.map(|before| &before.keys))?,
        addresses: (!is_off && !is_blind).then(|| same.unwrap_or_else(|| Arc::new(AddressRates::new(events, bytes, requests)))),
        respect_gpc: config.privacy.respect_gpc,
        client_address: config.privacy.client_address,
    })
}
