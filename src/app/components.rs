//! The components of a gateway: opened from the data folder, and connected.

use std::{
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwap;

use super::{
    data_folder::{self, check_data_folder},
    erasure::erasure,
    finder::finder,
    folder_holder,
    sinks::{SinkParts, Sinks, dead_letter_deliverer, new_state},
    stores::{open_ledger, open_scopes, open_spool, open_window, shares, start_fleet},
};
use crate::{
    body_budget::BodyBudget,
    conditions::Conditions,
    config::{Config, DeadLettersKind, Durability},
    dead_letters::{self, DeadLetters, LetterStream, Quota},
    dedup::{Deduplicator, Fleet, Scopes, Window},
    deliver::{Deliverer, Shared, SinkNames},
    disk_headroom::{DiskHeadroom, DiskHeadroomParts},
    http::{Console, Gate, Policy, Proxies, Turns},
    ingest::{AwaitedSink, DeliveryAdmission, DeliveryWaiters, Ingest},
    ledger::Ledger,
    live_events::LiveEvents,
    progress::Progress,
    repair::Repair,
    rig::Rig,
    schema,
    spool::{GroupMetrics, Spool},
    telemetry::{AccessLog, Metrics, OutputLines, Traces, own_output},
    work_pool::WorkPool,
};

/// The components with data on disk.
pub(super) struct Components {
    pub(super) registry: schema::Registry,
    pub(super) spool: Arc<Spool>,
    pub(super) window: Window,
    /// Numbers of events whose identities are not in the window yet, because the events could not be read.
    pub(super) unread: Vec<Range<u64>>,
    pub(super) scopes: Scopes,
    pub(super) fleet: Option<Fleet>,
    /// The spool of the dead letters, and its progress.
    pub(super) dead_letter_spool: Option<(Arc<Spool>, Arc<Progress>)>,
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) ledger: Ledger,
    /// A notice, if the folder of the dead letters had its old name.
    pub(super) old_folder: Option<String>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) traces: Traces,
    pub(super) conditions: Conditions,
}

impl Components {
    pub(super) async fn open(config: &Config, metrics: Arc<Metrics>, traces: Traces) -> anyhow::Result<Self> {
        check_data_folder(config)?;
        let registry = schema::load(&config.schemas.dir)?;
        tracing::info!(events = registry.len(), dir = %config.schemas.dir.display(), "schemas loaded");
        let conditions = Conditions::default();
        let spool = Arc::new(open_spool(config, "spool", config.spool.quota_bytes, conditions.clone())?);
        let (sync_seconds, bytes) = (metrics.spool_sync_seconds.clone(), metrics.spool_group_bytes.clone());
        spool.observe_groups(GroupMetrics { sync_seconds, bytes });
        folder_holder::write(&config.data_dir);
        data_folder::mark(&config.data_dir)?;
        let old_folder = dead_letters::take_over_old_folder(&config.data_dir)?;
        if let Some(notice) = &old_folder {
            tracing::warn!("{notice}");
        }
        data_folder::warn_of_open_folders(&config.data_dir);
        let scopes = open_scopes(config)?;
        let fleet = start_fleet(config, &spool, &scopes, &metrics, conditions.clone()).await?;
        let (window, unread) = open_window(config, &spool, &scopes, &conditions)?;
        let dead_letter_spool = match config.dead_letters.kind {
            DeadLettersKind::Files => None,
            DeadLettersKind::Kinesis | DeadLettersKind::Firehose | DeadLettersKind::Kafka => {
                let quota_bytes = config.dead_letters.quota_bytes;
                let spool = Arc::new(open_spool(config, "dead-letter-spool", quota_bytes, conditions.clone())?);
                let progress = Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive));
                Some((spool, progress))
            }
        };
        let share = config.dead_letters.quota_bytes / 100 * u64::from(config.dead_letters.share_percent);
        let opened = DeadLetters::open(
            dead_letters::folder_in(&config.data_dir),
            Quota {
                bytes_per_source_max: config.dead_letters.bytes_per_key_max,
                discard_after: config.dead_letters.discard_after(),
            },
            dead_letter_spool.clone().map(|(spool, progress)| LetterStream::new(spool, progress, config.http.durability, share)),
            metrics.clone(),
            conditions.clone(),
        );
        let dead_letters = Arc::new(opened.context("the folder of the dead letters cannot be used")?);
        let ledger = open_ledger(config, &metrics, &conditions);
        Ok(Self {
            registry,
            spool,
            window,
            unread,
            scopes,
            fleet,
            dead_letter_spool,
            dead_letters,
            ledger,
            old_folder,
            metrics,
            traces,
            conditions,
        })
    }

    pub(super) fn spools(&self) -> Vec<Arc<Spool>> {
        let of_dead_letters = self.dead_letter_spool.as_ref().map(|(spool, _)| spool);
        std::iter::once(&self.spool).chain(of_dead_letters).cloned().collect()
    }

    pub(super) async fn wire(
        self,
        config: &Config,
        policy: Policy,
        console: Console,
    ) -> anyhow::Result<(Arc<Gate>, Vec<Deliverer>)> {
        let Self {
            registry,
            spool,
            window,
            scopes,
            fleet,
            dead_letter_spool,
            dead_letters,
            ledger,
            metrics,
            traces,
            conditions,
            ..
        } = self;
        let rig = config.is_rig.then(|| Arc::new(Rig::default()));
        let sinks = Sinks::open(config, &spool)?;
        let progress = sinks.progress.clone();
        let shares = Arc::new(shares(config));
        let headroom = DiskHeadroom::new(DiskHeadroomParts {
            spool: spool.clone(),
            dead_letters: dead_letter_spool.clone(),
            window: window.clone(),
            progress: progress.clone(),
            shares: shares.clone(),
            sinks: sinks.watched(&metrics),
            metrics: metrics.clone(),
            quota_bytes: config.spool.quota_bytes,
            data_dir: config.data_dir.clone(),
            dir: config.data_dir.join("spool"),
            free_bytes_min: config.spool.free_bytes_min,
            conditions: conditions.clone(),
        });
        let parts = SinkParts {
            config,
            spool: &spool,
            window: &window,
            dead_letters: &dead_letters,
            metrics: &metrics,
            traces: &traces,
            conditions: &conditions,
            scopes: &scopes,
            rig: rig.as_ref(),
        };
        let awaited_sinks = sinks.awaited(&spool);
        let accounted = sinks.names().into_iter().zip(progress.sinks().iter().cloned()).collect();
        let mut deliverers = Box::pin(sinks.deliverers(&parts)).await?;
        // At this point the progress knows what was delivered beyond the cursor.
        ledger.begin(&spool, Some(accounted)).context("the thread of the ledger cannot be started")?;
        metrics.spool_recovered_events.set(progress.unsettled(spool.durable_end()) as i64);
        let mut dead_letter_sink = None;
        if let Some((spool, progress)) = dead_letter_spool.clone() {
            let kind = config.dead_letters.kind.as_str();
            let (state, sink_state) = new_state("dead-letter stream");
            dead_letter_sink = Some(sink_state);
            let shared = Shared {
                cursor: spool.first_sink(),
                spool,
                place: "dead-letter-spool".into(),
                sinks: SinkNames::one(),
                progress: progress.sinks()[0].clone(),
                window: None,
                dead_letters: dead_letters.clone(),
                quota_bytes: config.dead_letters.quota_bytes,
                metrics: metrics.dead_letters_delivery.of(kind),
                state,
                traces: traces.clone(),
                conditions: conditions.clone(),
                scopes: scopes.clone(),
            };
            deliverers.push(dead_letter_deliverer(config, shared).await?);
        }
        let admission = (config.http.durability == Durability::Delivered).then(|| {
            let of_dead_letters = dead_letter_sink.clone().zip(dead_letter_spool.clone());
            DeliveryAdmission::new(
                awaited_sinks,
                of_dead_letters.map(|(state, (spool, progress))| AwaitedSink {
                    state,
                    durable_end: spool.watch_durable_end(),
                    progress: progress.sinks()[0].clone(),
                }),
            )
        });
        let ingest = Ingest {
            registry: ArcSwap::from_pointee(registry),
            unknown_events: config.schemas.unknown_events,
            scopes,
            dedup: Deduplicator::new(window, fleet),
            spool,
            shares,
            dead_letters,
            progress,
            delivery_waiters: DeliveryWaiters::default(),
            pool: WorkPool::of_this_machine(),
            admission,
            delivered_wait: Duration::from_secs(config.http.delivered_wait_seconds),
            ledger,
            live_events: LiveEvents::new(config.admin.tail_payloads, rig.as_ref().map(|rig| rig.recorder.clone())),
            metrics: metrics.clone(),
        };
        let ingest = Arc::new(ingest);
        let dropped = metrics.access_log_dropped_lines.clone();
        let is_written = config.telemetry.access_log || !config.telemetry.emf_namespace.is_empty();
        let output = is_written.then(|| OutputLines::start(own_output(std::io::stdout())?, dropped)).transpose();
        let output = output.context("standard output cannot be written")?;
        let of_letters = dead_letter_spool.as_ref().map(|(spool, _)| spool);
        let erasure = erasure(config, &ingest.spool, of_letters, &ingest.dead_letters, true)?;
        let finder = finder(config, &ingest)?;
        let gate = Gate {
            policy: ArcSwap::from_pointee(policy),
            proxies: Arc::new(Proxies::new(&config.proxy)),
            repair: Repair::new(ingest.clone()),
            erasure,
            finder,
            ingest,
            bodies: BodyBudget::new(metrics.clone()),
            disk_headroom: Arc::new(headroom),
            conditions,
            dead_letter_sink,
            metrics,
            traces,
            access_log: output.clone().filter(|_| config.telemetry.access_log).map(AccessLog::new),
            output,
            turns: Turns::default(),
            console,
            rig,
            lame_duck: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        };
        Ok((Arc::new(gate), deliverers))
    }
}
