//! What the edge needs beside its listeners: who may send, and what goes on beside the requests.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::schemas::Schemas;
use crate::{
    auth::Keys,
    config::Config,
    http::{Gate, Policy},
    limits::ADDRESS_SWEEP_INTERVAL,
    rate_limit::{AddressRates, Allowance},
    tls::Tls,
};

/// Who may send, and how much. What is as it was `before` goes on with the buckets it had.
pub(super) fn policy(config: &Config, before: Option<&Policy>) -> anyhow::Result<Policy> {
    let rate = &config.rate_limit;
    let events = Allowance { per_second: rate.address_events_per_second, burst: rate.address_events_burst };
    let requests = Allowance { per_second: rate.address_requests_per_second, burst: rate.address_requests_burst };
    let is_off = events.per_second == 0 || requests.per_second == 0;
    // Behind a load balancer that nobody trusts, all clients have its address.
    let is_blind = config.http.plaintext && config.proxy.trusted.is_empty();
    if is_blind && before.is_none() && !is_off {
        tracing::warn!("plaintext without proxy.trusted: client addresses are not known, and held to no limits");
    }
    let same = before.and_then(|before| before.addresses.clone()).filter(|same| same.allowances() == [events, requests]);
    Ok(Policy {
        keys: Keys::new(&config.keys, rate, config.http.listen.ip(), before.map(|before| &before.keys))?,
        addresses: (!is_off && !is_blind).then(|| same.unwrap_or_else(|| Arc::new(AddressRates::new(events, requests)))),
        respect_gpc: config.privacy.respect_gpc,
        client_address: config.privacy.client_address,
    })
}

/// What goes on beside the requests.
pub(super) fn watches(gate: &Arc<Gate>, tls: Option<Arc<Tls>>, schemas: Arc<Schemas>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    let room = gate.room.clone();
    watches.spawn(async move { room.watch().await });
    let swept = gate.clone();
    watches.spawn(async move {
        loop {
            tokio::time::sleep(ADDRESS_SWEEP_INTERVAL).await;
            let addresses = swept.policy.load().addresses.clone();
            if let Some(addresses) = &addresses {
                addresses.sweep();
            }
            swept.metrics.client_addresses.set(addresses.map_or(0, |addresses| addresses.len()) as i64);
        }
    });
    if let Some(tls) = tls {
        let (reloads, failures) = (gate.metrics.certificate_reloads.clone(), gate.metrics.certificate_reload_failures.clone());
        watches.spawn(async move { tls.watch(reloads, failures).await });
    }
    watches.spawn(schemas.watch(gate.clone()));
    watches
}
