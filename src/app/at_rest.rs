//! Work on the data folder while no gateway runs on it, and how to tell whether one does.
//!
//! Whoever opens the spool holds its lock, so a gateway and a command never write at the same time. A gateway that runs is
//! asked instead: it leaves the address of its operators' listener in `admin.address`, which means something only while the
//! lock is held.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use arc_swap::ArcSwap;
use uuid::Uuid;

use super::{Organs, confirm_again};
use crate::{
    auth::{Keys, Source},
    config::Config,
    dedup::Deduplicator,
    ingest::{Awaited, Ingest},
    limits::FLEET_CLOSE_TIMEOUT,
    progress::Progress,
    repair::Repair,
    spool::{Disk, RealDisk, spool_id},
    telemetry::{Metrics, Traces},
};

const ADDRESS_FILE: &str = "admin.address";

/// What is needed to judge and store, without listeners and without a sink: what is stored is delivered by the next start.
pub struct AtRest {
    /// Replays and drops.
    pub repair: Repair,
    /// The keys there are.
    pub senders: Vec<Arc<Source>>,
    ingest: Arc<Ingest>,
}

impl AtRest {
    /// Opens the data folder of `config`.
    ///
    /// # Errors
    /// Whatever stands in the way, a gateway that runs on it too.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let keys = Keys::new(&config.keys, &config.rate_limit, config.http.listen.ip(), None)?;
        let organs = Organs::open(config, metrics.clone(), Traces::default())?;
        if let Some(fleet) = &organs.fleet {
            fleet.when_tried().await;
            // As a start does: what a gateway that was killed left unconfirmed.
            confirm_again(fleet.clone(), organs.spool.clone()).await;
        }
        let Organs { registry, spool, window, fleet, dead_letters, .. } = organs;
        let ingest = Arc::new(Ingest {
            registry: ArcSwap::from_pointee(registry),
            unknown_events: config.schemas.unknown_events,
            dedup: Deduplicator::new(window, fleet),
            progress: Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive)),
            spool,
            dead_letters,
            awaited: Awaited::default(),
            delivered_wait: Duration::ZERO,
            metrics,
        });
        Ok(Self { repair: Repair::new(ingest.clone()), senders: keys.sources().cloned().collect(), ingest })
    }

    /// Closes the folder.
    pub async fn close(self) {
        let spool = self.ingest.spool.clone();
        let _ = tokio::task::spawn_blocking(move || spool.close()).await;
        if let Some(fleet) = self.ingest.dedup.fleet() {
            fleet.close(FLEET_CLOSE_TIMEOUT).await;
        }
    }
}

/// Whether a gateway, or a command such as this one, has the data folder open.
///
/// # Errors
/// Where that cannot be told.
pub fn is_running(data_dir: &Path) -> anyhow::Result<bool> {
    let lock = data_dir.join("spool/lock");
    if !lock.exists() {
        return Ok(false);
    }
    match RealDisk.lock(&lock) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{}: whether a gateway runs cannot be told", lock.display())),
    }
}

/// Identity of the gateway whose data folder this is. It goes with every question, so that a gateway which took over an address
/// answers for no other one's letters.
#[must_use]
pub fn gateway_id(data_dir: &Path) -> Option<Uuid> {
    spool_id(&RealDisk, &data_dir.join("spool"))
}

/// Where the gateway that has the data folder open listens for operators, by its own word.
#[must_use]
pub fn admin_address(data_dir: &Path) -> Option<SocketAddr> {
    fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

pub(super) fn write_admin_address(config: &Config, address: SocketAddr) {
    if let Err(error) = fs::write(config.data_dir.join(ADDRESS_FILE), format!("{address}\n")) {
        tracing::warn!(%error, ADDRESS_FILE, "commands on this machine will need --admin to find this gateway");
    }
}
