//! Work on the data folder while no gateway runs on it, and the check whether one runs.
//!
//! A process that opens the spool holds its lock, so a gateway and a command never write at the same time. If a gateway runs,
//! the command asks the gateway: the gateway writes the address of its operators' listener to `admin.address`. The file is
//! valid only while the lock is held.

use std::{collections::HashSet, fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use uuid::Uuid;

use super::{components::Components, erasure::erasure, finder::finder, folder_holder::lock_of, stores::shares};
use crate::{
    auth::{Keys, Source},
    config::{Config, Durability},
    dedup::{Deduplicator, Identity},
    durable,
    erasure::Erasure,
    event::Record,
    find::Finder,
    ingest::{DeliveryWaiters, Ingest, reconfirm_on_start},
    ledger::Ledger,
    limits::{FLEET_CLOSE_TIMEOUT, RESTORE_RECORDS, SALVAGE_RECORDS},
    live_events::LiveEvents,
    outcome::Outcome,
    progress::Progress,
    repair::Repair,
    spool::{Disk, FrameBuffer, RealDisk, spool_id},
    telemetry::{Metrics, Traces},
    work_pool::WorkPool,
};

const ADDRESS_FILE: &str = "admin.address";

/// A data folder opened without listeners and without a sink. The next start delivers events stored here.
pub struct Offline {
    /// Replays and drops.
    pub repair: Repair,
    /// Erases.
    pub erasure: Erasure,
    /// The configured keys.
    pub senders: Vec<Arc<Source>>,
    /// A notice for the user, if the folder of the dead letters had its old name.
    pub old_folder: Option<String>,
    ingest: Arc<Ingest>,
}

impl Offline {
    /// Opens the data folder of `config`.
    ///
    /// # Errors
    /// Any obstacle, including a gateway that runs on the folder.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let keys = Keys::new(&config.keys, &config.rate_limit, config.http.listen.ip(), None)?;
        let components = Components::open(config, metrics.clone(), Traces::default()).await?;
        let Components { registry, spool, window, scopes, fleet, dead_letter_spool, dead_letters, ledger, old_folder, .. } =
            components;
        let of_letters = dead_letter_spool.as_ref().map(|(spool, _)| spool);
        let erasure = erasure(config, &spool, of_letters, &dead_letters, false)?;
        // What waits for the sinks goes on waiting.
        ledger.begin(&spool, None).context("the thread of the ledger cannot be started")?;
        let ingest = Arc::new(Ingest {
            registry: ArcSwap::from_pointee(registry),
            unknown_events: config.schemas.unknown_events,
            scopes,
            dedup: Deduplicator::new(window, fleet),
            progress: Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive)),
            spool,
            shares: Arc::new(shares(config)),
            dead_letters,
            delivery_waiters: DeliveryWaiters::default(),
            pool: WorkPool::of_this_machine(),
            admission: None,
            delivered_wait: Duration::ZERO,
            ledger,
            live_events: LiveEvents::new(false, None),
            metrics,
        });
        // As at a start: events that a killed gateway left unconfirmed. Where they must be delivered first, the next start does it.
        if config.http.durability == Durability::Disk
            && let Some(again) = reconfirm_on_start(&ingest)
        {
            again.await;
        }
        let (repair, senders) = (Repair::new(ingest.clone()), keys.sources().cloned().collect());
        Ok(Self { repair, erasure, senders, old_folder, ingest })
    }

    /// Stores salvaged events again: `lost` were acknowledged but never delivered, although the window knows them; `foreign`
    /// are deduplicated like any event. Returns how many of each were stored.
    ///
    /// # Errors
    /// If the spool refuses them.
    pub async fn salvage(&self, lost: Vec<Record>, foreign: Vec<Record>) -> anyhow::Result<(u64, u64)> {
        let mut taken_foreign = 0;
        for records in foreign.chunks(SALVAGE_RECORDS) {
            let frames = frames_of(records)?;
            let secret = self.ingest.scopes.secret();
            let ids: Vec<Identity> = records.iter().map(|record| Identity::of(record, &secret)).collect();
            let outcomes = self.ingest.store_again(frames, &ids).await;
            taken_foreign += outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count() as u64;
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry(_))) {
                bail!("the spool takes no more now; run it again later");
            }
        }
        let secret = self.ingest.scopes.secret();
        let spooled = self.spooled_identities()?;
        let lost: Vec<Record> = lost.into_iter().filter(|record| !spooled.contains(&record.identity(&secret))).collect();
        for records in lost.chunks(SALVAGE_RECORDS) {
            let frames = frames_of(records)?;
            let (done, appended) = tokio::sync::oneshot::channel();
            let (ledger, accepted) = (self.ingest.ledger.clone(), self.ingest.accounted(records));
            self.ingest.spool.append(frames, move |result| {
                if let Ok(appended) = &result {
                    ledger.accepted(appended.first_seq, &accepted);
                }
                let _ = done.send(result);
            });
            appended.await.context("the spool closed")??;
        }
        Ok((lost.len() as u64, taken_foreign))
    }

    /// The identities of undelivered events: a client that was told of a loss may have sent the event again.
    fn spooled_identities(&self) -> anyhow::Result<HashSet<Uuid>> {
        let (spool, secret) = (&self.ingest.spool, self.ingest.scopes.secret());
        let mut reader = spool.reader(spool.cursor().delivered_exclusive).that_only_looks();
        let mut identities = HashSet::new();
        while reader.next_seq() < spool.durable_end() {
            let batch = reader.read(RESTORE_RECORDS, usize::MAX).context("the spool cannot be read")?;
            let records = batch.frames.into_iter().filter_map(|frame| Record::decode(frame.body).ok());
            identities.extend(records.map(|record| record.identity(&secret)));
        }
        Ok(identities)
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ingest.ledger
    }

    /// Finds single events.
    ///
    /// # Errors
    /// If the sinks of the configuration are invalid.
    pub fn finder(&self, config: &Config) -> anyhow::Result<Finder> {
        finder(config, &self.ingest)
    }

    /// The keys whose identities are scoped.
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        self.senders.iter().filter_map(|source| source.dedup_scope().map(str::to_owned)).collect()
    }

    /// Closes the folder.
    pub async fn close(self) {
        let spool = self.ingest.spool.clone();
        let ledger = self.ingest.ledger.clone();
        let closed = tokio::task::spawn_blocking(move || {
            spool.close();
            ledger.close();
        });
        let _ = closed.await;
        if let Some(fleet) = self.ingest.dedup.fleet() {
            fleet.close(FLEET_CLOSE_TIMEOUT).await;
        }
    }
}

fn frames_of(records: &[Record]) -> anyhow::Result<FrameBuffer> {
    let mut frames = FrameBuffer::default();
    for record in records {
        frames.push(|buffer| buffer.extend_from_slice(record.as_bytes()))?;
    }
    Ok(frames)
}

/// Whether a gateway, or a command such as this one, has the data folder open.
///
/// # Errors
/// If that cannot be determined.
pub fn is_running(data_dir: &Path) -> anyhow::Result<bool> {
    let lock = lock_of(data_dir);
    if !lock.exists() {
        return Ok(false);
    }
    match RealDisk.lock(&lock) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{}: whether a gateway runs cannot be told", lock.display())),
    }
}

/// Identity of the gateway that owns this data folder. Every request has it, so that a gateway which took over an address does
/// not answer for another gateway's letters.
#[must_use]
pub fn gateway_id(data_dir: &Path) -> Option<Uuid> {
    spool_id(&RealDisk, &data_dir.join("spool"))
}

/// The operators' address of the gateway that has the data folder open, from its file.
#[must_use]
pub fn admin_address(data_dir: &Path) -> Option<SocketAddr> {
    fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

pub(super) fn write_admin_address(config: &Config, address: SocketAddr) {
    if let Err(error) = durable::replace_file(&config.data_dir.join(ADDRESS_FILE), format!("{address}\n").as_bytes()) {
        tracing::warn!(%error, ADDRESS_FILE, "commands on this machine will need --admin to find this gateway");
    }
}
