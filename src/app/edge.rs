//! What the edge needs beside its listeners: who may send, and what goes on beside the requests.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::schemas::Schemas;
use crate::{
    auth::Keys,
    config::Config,
    http::{self, Gate, Policy},
    limits::ADDRESS_SWEEP_INTERVAL,
    rate_limit::{AddressRates, Allowance},
    telemetry::{AccessLog, log_has_ended},
    tls::Tls,
};

/// Who may send, and how much. What is as it was `before` goes on with the buckets it had.
pub(super) fn policy(config: &Config, before: Option<&Policy>) -> anyhow::Result<Policy> {
    let rate = &config.rate_limit;
    let events = Allowance { per_second: rate.address_events_per_second, burst: rate.address_events_burst };
    let bytes = Allowance::of_bytes(rate.address_bytes_per_second, rate.address_bytes_burst, events);
    let requests = Allowance { per_second: rate.address_requests_per_second, burst: rate.address_requests_burst };
    let is_off = events.per_second == 0 || requests.per_second == 0;
    // Behind a load balancer that nobody trusts, all clients have its address.
    let is_blind = config.http.plaintext && config.proxy.trusted.is_empty();
    if is_blind && before.is_none() && !is_off {
        tracing::warn!("plaintext without proxy.trusted: client addresses are not known, and held to no limits");
    }
    let same = before.and_then(|before| before.addresses.clone()).filter(|same| same.allowances() == [events, bytes, requests]);
    Ok(Policy {
        keys: Keys::new(&config.keys, rate, config.http.listen.ip(), before.map(|before| &before.keys))?,
        addresses: (!is_off && !is_blind).then(|| same.unwrap_or_else(|| Arc::new(AddressRates::new(events, bytes, requests)))),
        respect_gpc: config.privacy.respect_gpc,
        client_address: config.privacy.client_address,
    })
}

/// What goes on beside the requests.
pub(super) fn watches(gate: &Arc<Gate>, tls: Option<Arc<Tls>>, schemas: Arc<Schemas>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    let vital = |name| gate.conditions.vital(name);
    let room = gate.room.clone();
    watches.spawn(vital("watch of the room").forever(async move { room.watch().await }));
    watches.spawn(watch_conditions(gate.clone()));
    let swept = gate.clone();
    watches.spawn(vital("sweep of the addresses").forever(async move {
        loop {
            tokio::time::sleep(ADDRESS_SWEEP_INTERVAL).await;
            let addresses = swept.policy.load().addresses.clone();
            if let Some(addresses) = &addresses {
                addresses.sweep();
            }
            swept.metrics.client_addresses.set(addresses.map_or(0, |addresses| addresses.len()) as i64);
        }
    }));
    if let Some(tls) = tls {
        let (reloads, failures) = (gate.metrics.certificate_reloads.clone(), gate.metrics.certificate_reload_failures.clone());
        watches.spawn(vital("watch of the certificate").forever(async move { tls.watch(reloads, failures).await }));
    }
    watches.spawn(vital("watch of the schemas").forever(schemas.watch(gate.clone())));
    watches
}

/// Looks every second for what raises no condition by itself.
async fn watch_conditions(gate: Arc<Gate>) {
    let vital = gate.conditions.vital("watch of the conditions");
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        http::look(&gate);
        gate.metrics.refusals.log_due();
        let (log, access_log) = (log_has_ended(), gate.access_log.as_ref().is_some_and(AccessLog::has_ended));
        if log || access_log {
            vital.ended(if log { "the thread that writes the log ended" } else { "the thread that writes the access log ended" });
        }
    }
}
