//! The tasks that run beside the requests until the gateway stops.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{retention::Retention, schemas::Schemas};
use crate::{
    http::{self, Gate},
    limits::ADDRESS_SWEEP_INTERVAL,
    telemetry::{OutputLines, log_has_ended},
    tls::Tls,
};

/// Starts the tasks.
pub(super) fn background_tasks(
    retention: Retention,
    gate: &Arc<Gate>,
    tls: Option<Arc<Tls>>,
    schemas: Arc<Schemas>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let vital = |name| gate.conditions.vital(name);
    let headroom = gate.disk_headroom.clone();
    tasks.spawn(vital("watch of the disk headroom").forever(async move { headroom.watch().await }));
    tasks.spawn(watch_conditions(gate.clone()));
    tasks.spawn(vital("retention of dead letters").forever(retention.keep(gate.clone())));
    let swept = gate.clone();
    tasks.spawn(vital("sweep of the addresses").forever(async move {
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
        tasks.spawn(vital("watch of the certificate").forever(async move { tls.watch(reloads, failures).await }));
    }
    tasks.spawn(vital("watch of the schemas").forever(schemas.watch(gate.clone())));
    tasks
}

/// Checks every second for faults that raise no condition themselves.
async fn watch_conditions(gate: Arc<Gate>) {
    let vital = gate.conditions.vital("watch of the conditions");
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        http::look(&gate);
        gate.metrics.refusals.log_due();
        let (log, output) = (log_has_ended(), gate.output.as_ref().is_some_and(OutputLines::has_ended));
        if log || output {
            vital.ended(if log {
                "the thread that writes the log ended"
            } else {
                "the thread that writes standard output ended"
            });
        }
    }
}
