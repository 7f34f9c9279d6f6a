//! The components that the pipeline uses.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{delivery_admission::DeliveryAdmission, delivery_waiters::DeliveryWaiters};
use crate::{
    config::{Durability, UnknownEvents},
    dead_letters::DeadLetters,
    dedup::{Deduplicator, Scopes},
    key_shares::Shares,
    ledger::Ledger,
    live_events::LiveEvents,
    progress::Progress,
    schema::Registry,
    spool::Spool,
    telemetry::Metrics,
    work_pool::WorkPool,
};

/// The components that the pipeline uses.
pub struct Ingest {
    /// The schema registry; replaced as a whole.
    pub registry: ArcSwap<Registry>,
    /// What to do with events that the registry does not know.
    pub unknown_events: UnknownEvents,
    /// The dedup window, and the store of the fleet if there is one.
    pub dedup: Deduplicator,
    /// The secret that scopes the identities of browser keys.
    pub scopes: Scopes,
    /// The durable queue.
    pub spool: Arc<Spool>,
    /// The shares of the keys in the spool and in the window.
    pub shares: Arc<Shares>,
    /// Where rejected events are kept.
    pub dead_letters: Arc<DeadLetters>,
    /// How far the spool is delivered.
    pub progress: Arc<Progress>,
    /// The places of events that were not delivered while a request waited for them.
    pub delivery_waiters: DeliveryWaiters,
    /// Where large bodies take turns.
    pub pool: Arc<WorkPool>,
    /// Which requests are let in, where all of them wait for delivery (`http.durability = "delivered"`).
    pub admission: Option<DeliveryAdmission>,
    /// How long [`Durability::Delivered`] waits.
    pub delivered_wait: Duration,
    /// Where each event is accounted for.
    pub ledger: Ledger,
    /// Who watches at this moment.
    pub live_events: Arc<LiveEvents>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl Ingest {
    /// When events count as accepted, at the earliest.
    #[must_use]
    pub fn durability(&self) -> Durability {
        if self.admission.is_some() { Durability::Delivered } else { Durability::Disk }
    }
}
