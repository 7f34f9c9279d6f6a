//! Drops the oldest events that wait for a sink, when they fill its part of the quota.
//!
//! Only for a sink with `when_full = "drop_this_sink"`; another sink gets every event, and never drops. The deliverer is closed
//! and opened again behind the dropped events, which is what a restart does too. What was dropped is counted, logged as an
//! error, and told by a condition for a day.

use super::{mode::Mode, quota::SinkQuota, shared::Shared};
use crate::{
    conditions::Condition,
    limits::{DROPPED_EVENTS_TOLD, SINK_SHARE_CHECK_INTERVAL},
};

/// See the module.
pub struct Dropping {
    /// The context of the deliverer.
    pub shared: Shared,
    /// The part of the sink.
    pub quota: SinkQuota,
    /// Opens the deliverer at the position of its cursor.
    pub open: Box<dyn Fn(Shared) -> anyhow::Result<Mode> + Send + Sync>,
}

impl Dropping {
    /// Waits until events must be dropped.
    pub(super) async fn when_due(&self) {
        let mut cleared_at = None;
        loop {
            tokio::time::sleep(SINK_SHARE_CHECK_INTERVAL).await;
            if self.drop_below().is_some() {
                return;
            }
            let now = tokio::time::Instant::now();
            if now >= *cleared_at.get_or_insert(now + DROPPED_EVENTS_TOLD) {
                self.shared.conditions.clear(Condition::SinkEventsDropped, &self.shared.place);
            }
        }
    }

    fn drop_below(&self) -> Option<u64> {
        self.quota.drop_below(&self.shared.spool, &self.shared.cursor)
    }

    /// Drops the oldest events, and opens the deliverer behind them.
    pub(super) async fn drop_and_open(&self) -> Mode {
        if let Some(below) = self.drop_below() {
            self.drop_events(below);
        }
        loop {
            match (self.open)(self.shared.clone()) {
                Ok(mode) => return mode,
                Err(error) => {
                    let sink = &*self.shared.place;
                    tracing::error!(sink, error = format!("{error:#}"), "the sink cannot be opened; trying again");
                    tokio::time::sleep(SINK_SHARE_CHECK_INTERVAL).await;
                }
            }
        }
    }

    fn drop_events(&self, below: u64) {
        let Shared { cursor, progress, metrics, conditions, place, .. } = &self.shared;
        // The position is durable before the events count as dropped. If the disk refuses, the next check tries again.
        let commit = || {
            progress.announce_drop(below);
            cursor.commit(below)
        };
        if tokio::task::block_in_place(commit).is_err() {
            return;
        }
        let dropped = progress.drop_below(below);
        metrics.dropped_events.inc_by(dropped);
        tracing::error!(
            sink = &**place,
            dropped,
            below,
            "the events that wait for the sink fill its part of the spool: the oldest are dropped for this sink; the other \
             sinks get them"
        );
        let detail = format!(
            "{} events were dropped for it since the start, because those that wait for it fill its part of the spool",
            metrics.dropped_events.get()
        );
        conditions.raise(Condition::SinkEventsDropped, place, detail);
    }
}
