//! Sends the metrics at an interval: to an OpenTelemetry collector, and as lines for CloudWatch.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{task::JoinSet, time::timeout};

use super::offline::gateway_id;
use crate::{
    config::Config,
    http::{self, Gate},
    limits::TELEMETRY_CLOSE_TIMEOUT,
    telemetry::{Emf, MetricsExport},
};

/// The exports that are configured, with their intervals.
pub(super) struct MetricsExports {
    collector: Option<(MetricsExport, Duration)>,
    emf: Option<(Emf, Duration)>,
}

impl MetricsExports {
    /// As configured. Sends nothing yet.
    pub(super) fn start(config: &Config, gate: &Gate) -> anyhow::Result<Self> {
        let telemetry = &config.telemetry;
        let id = gateway_id(&config.data_dir).map(|id| id.to_string());
        let failures = gate.metrics.metric_export_failures.clone();
        let collector = MetricsExport::start(telemetry, id.clone(), failures).map_err(anyhow::Error::msg)?;
        let emf = gate.output.as_ref().and_then(|lines| Emf::start(telemetry, id, lines));
        Ok(Self {
            collector: collector.map(|export| (export, Duration::from_secs(telemetry.metrics_interval_seconds))),
            emf: emf.map(|emf| (emf, Duration::from_secs(telemetry.emf_interval_seconds))),
        })
    }

    /// Starts the tasks.
    pub(super) fn run(self: &Arc<Self>, gate: &Arc<Gate>, tasks: &mut JoinSet<()>) {
        let exports = (self.clone(), gate.clone());
        if let Some(interval) = self.collector.as_ref().map(|(_, interval)| *interval) {
            let (exports, gate) = exports.clone();
            tasks.spawn(gate.conditions.vital("export of metrics").forever(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    exports.send(&gate).await;
                }
            }));
        }
        if let Some(interval) = self.emf.as_ref().map(|(_, interval)| *interval) {
            let (exports, gate) = exports;
            tasks.spawn(gate.conditions.vital("metrics for CloudWatch").forever(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    let (exports, gate) = (exports.clone(), gate.clone());
                    // Blocking: looks at the disk. What it panics with is a line of the log; the next minute tries again.
                    let _ = tokio::task::spawn_blocking(move || exports.write(&gate)).await;
                }
            }));
        }
    }

    async fn send(&self, gate: &Arc<Gate>) {
        let Some((export, _)) = &self.collector else { return };
        let gate = gate.clone();
        if let Ok(text) = tokio::task::spawn_blocking(move || http::exposition(&gate)).await {
            export.export(&text).await;
        }
    }

    /// Sends the metrics of the end, within [`TELEMETRY_CLOSE_TIMEOUT`].
    pub(super) async fn send_last(&self, gate: &Arc<Gate>) {
        if timeout(TELEMETRY_CLOSE_TIMEOUT, self.send(gate)).await.is_err() {
            tracing::warn!("the last metrics were not taken");
        }
    }

    /// Writes what happened since the last lines.
    pub(super) fn write(&self, gate: &Gate) {
        if let Some((emf, _)) = &self.emf {
            emf.write(&http::exposition(gate), SystemTime::now());
        }
    }
}
