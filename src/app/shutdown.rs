//! When a gateway stops, and the order in which it closes.
//!
//! Before it stops, a gateway is a lame duck for a while, if so configured: `/readyz` fails, and each connection is closed after
//! the request that it serves, so that load balancers send their requests elsewhere before the listener closes.
//!
//! A gateway runs until a stop is requested, the disk fails, or one of its threads or tasks dies ([`Condition::PartEnded`]). A
//! gateway with a missing part would still look healthy. So it ends and reports why, and a supervisor starts it again.
//! Acknowledged events are on disk.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::{
    App,
    ended::{Ended, Failure},
    stop_request::Stop,
};
use crate::{
    conditions::{Condition, Conditions},
    limits::{FAILED_STOP_TIMEOUT, FLEET_CLOSE_TIMEOUT},
};

impl App {
    /// The current conditions, for the owner of a task that the gateway depends on.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.gate.conditions.clone()
    }

    /// Runs until a stop is asked for, the disk fails or a part ends; then stops gracefully, after a failure within
    /// [`FAILED_STOP_TIMEOUT`]. `stops` is closed once no further request changes the way to stop.
    pub async fn run(self, mut stops: mpsc::Receiver<Stop>) -> Ended {
        let mut failures = JoinSet::new();
        for mut failed in self.spools.iter().map(|spool| spool.watch_failed()) {
            failures.spawn(async move { failed.wait_for(|failed| *failed).await.is_ok() });
        }
        let conditions = self.conditions();
        let failure = tokio::select! {
            () = self.when_asked_to_stop(&mut stops) => None,
            _ = failures.join_next() => Some(Failure::Disk),
            () = conditions.when(Condition::PartEnded) => Some(Failure::Part(dead_part(&conditions))),
        };
        let undelivered_events = match &failure {
            None => {
                drop(stops);
                Some(self.end(true).await)
            }
            Some(failure) => {
                match failure {
                    Failure::Disk => tracing::error!(
                        "the disk failed to sync: what was acknowledged is safe, nothing more is taken, restart the gateway"
                    ),
                    Failure::Part(part) => {
                        tracing::error!(part, "a part of the gateway died: what was acknowledged is on disk, the gateway ends");
                    }
                }
                // Many places may wait for a dead or stuck part.
                timeout(FAILED_STOP_TIMEOUT, self.end(false)).await.ok()
            }
        };
        Ended { undelivered_events, failure }
    }

    /// Waits until a stop is asked for and the lame duck is over. Another request cuts the lame duck short.
    async fn when_asked_to_stop(&self, stops: &mut mpsc::Receiver<Stop>) {
        if stops.recv().await == Some(Stop::Soon) || self.lame_duck.is_zero() {
            return;
        }
        tracing::info!(seconds = self.lame_duck.as_secs(), "lame duck: not ready, and requests are served for this time");
        self.gate.lame_duck.store(true, Ordering::Relaxed);
        self.phases.lame_duck_begins.send_replace(true);
        let _ = timeout(self.lame_duck, stops.recv()).await;
    }

    /// Closes in order. Returns the number of undelivered events.
    async fn end(mut self, may_drain: bool) -> u64 {
        tracing::info!("stopping: no more events are taken");
        self.gate.stopping.store(true, Ordering::Relaxed);
        self.gate.erasure.interrupt();
        self.phases.serving_ends.send_replace(true);
        let _ = self.server.await;
        // No more events come.
        self.gate.ingest.live_events.end();
        let lake_upkeep = self.lake_upkeep;
        aside(move || lake_upkeep.stop()).await;
        let spools = self.spools.clone();
        aside(move || spools.iter().for_each(|spool| spool.close())).await;
        self.phases.delivering_ends.send_replace(true);
        let deadline = tokio::time::Instant::now() + if may_drain { self.drain_timeout } else { Duration::ZERO };
        for mut deliverer in self.deliverers {
            if tokio::time::timeout_at(deadline, &mut deliverer).await.is_err() {
                // Interrupted: the next start delivers unconfirmed records again.
                deliverer.abort();
                let _ = deliverer.await;
            }
        }
        // Makes the accepted identities and their latest time known to the next start, even if the spool is then missing.
        let dedup = self.gate.ingest.dedup.clone();
        aside(move || {
            if let Err(error) = dedup.close_window() {
                tracing::warn!(%error, "the dedup window is not sealed; the next start reads it from the spool");
            }
        })
        .await;
        let ledger = self.gate.ingest.ledger.clone();
        aside(move || ledger.close()).await;
        if let Some(fleet) = self.gate.ingest.dedup.fleet() {
            fleet.close(FLEET_CLOSE_TIMEOUT).await;
        }
        let undelivered_events = self.gate.disk_headroom.current().lag_events;
        let (gate, exports) = (self.gate.clone(), self.metrics_exports.clone());
        let written = aside(move || {
            gate.ingest.dead_letters.note_repeats();
            exports.write(&gate);
            gate.traces.close();
            gate.output.as_ref().inspect(|output| output.close());
        });
        // At the same time, so that a collector that is away delays the end once.
        tokio::join!(written, self.metrics_exports.send_last(&self.gate));
        self.phases.admin_ends.send_replace(true);
        let _ = self.admin.await;
        self.background_tasks.shutdown().await;
        self.gate.metrics.refusals.log_all();
        tracing::info!(undelivered_events, "stopped; what is undelivered stays spooled");
        undelivered_events
    }
}

/// Runs blocking work on a separate thread; on this thread if the system has no more, which may be the cause of the stop.
async fn aside(work: impl Fn() + Send + Sync + 'static) {
    let work = Arc::new(work);
    let (done, ended) = oneshot::channel::<()>();
    let on_thread = work.clone();
    let thread = thread::Builder::new().name("closing".into()).spawn(move || {
        on_thread();
        drop(done);
    });
    match thread {
        // Dropped in any case, also after a panic.
        Ok(_) => drop(ended.await),
        Err(_) => work(),
    }
}

fn dead_part(conditions: &Conditions) -> String {
    let raised = conditions.list().into_iter().find(|raised| raised.condition == Condition::PartEnded);
    raised.map_or_else(String::new, |raised| format!("{}: {}", raised.place, raised.detail))
}
