//! The whole: what is opened in which order, and what is closed in which.
//!
//! ```text
//! start   listeners ─▶ registry ─▶ spool ─▶ dedup window ◀─ identities of the spool ─▶ sink ─▶ accept
//! stop    not ready ─▶ requests in flight ─▶ spool's queue ─▶ drain to the sink ─▶ tell the fleet's dedup store ─▶ close
//! ```

mod at_rest;
mod edge;
mod reload;
mod schemas;
mod stores;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    config::{Config, DeadLetterKind, ProxyConfig, SinkKind},
    dead_letter::DeadLetters,
    dedup::{Deduplicator, Fleet, Window},
    deliver::{BatchBounds, BatchDeliverer, Deliverer, EventForm, Form, Shared, SinkState, StreamDeliverer, StreamSettings},
    http::{
        self, BodyBudget, Gate, Policy, Proxies,
        server::{Server, ServerMetrics},
    },
    ingest::{Awaited, Ingest, confirm_again},
    limits::{ADMIN_CONNECTIONS_MAX, FLEET_CLOSE_TIMEOUT, LAKE_BATCH_RECORDS_MAX},
    progress::Progress,
    repair::Repair,
    room::{Room, RoomParts},
    schema,
    sink::{
        kinesis::KinesisStream,
        lake::{LakeConfig as Location, LakeSink},
    },
    spool::{GroupMetrics, Spool},
    telemetry::{AccessLog, Metrics, Traces},
    tls::Tls,
};
pub use at_rest::{AtRest, admin_address, gateway_id, is_running};
use edge::{policy, watches};
pub use reload::Reloader;
use schemas::Schemas;
use stores::{open_spool, open_window, start_fleet};

/// A running gateway.
pub struct App {
    /// Where events are taken.
    pub address: SocketAddr,
    /// Where operators look.
    pub admin_address: SocketAddr,
    /// The certificate that the gateway made itself, where it did.
    pub self_signed: Option<PathBuf>,
    /// Puts another configuration in force.
    pub reloader: Arc<Reloader>,
    gate: Arc<Gate>,
    /// That of the events, then that of the dead letters, where they have one.
    spools: Vec<Arc<Spool>>,
    phases: Phases,
    server: JoinHandle<()>,
    admin: JoinHandle<()>,
    deliverers: Vec<JoinHandle<()>>,
    /// What goes on beside the requests for as long as the gateway runs.
    watches: JoinSet<()>,
    drain_timeout: Duration,
}

/// What ends, one after the other.
struct Phases {
    serving_ends: watch::Sender<bool>,
    delivering_ends: watch::Sender<bool>,
    admin_ends: watch::Sender<bool>,
}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Events that are spooled and not delivered; the next start delivers them.
    pub undelivered_events: u64,
    /// Whether the disk failed, so that a restart is needed.
    pub spool_failed: bool,
}

impl App {
    /// Opens everything and begins to accept.
    ///
    /// # Errors
    /// Whatever stands in the way, said for whoever starts the gateway.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let listen = config.http.listen;
        let policy = policy(config, None)?;
        let tls = match config.http.plaintext {
            true => None,
            false => Some(Arc::new(Tls::load(&config.tls, &config.data_dir.join("tls"), listen.ip())?)),
        };
        let self_signed = tls.as_ref().and_then(|tls| tls.self_signed.clone());
        let listener = bind(listen, "http.listen").await?;
        let admin_listener = bind(config.admin.listen, "admin.listen").await?;
        let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);

        let metrics = Arc::new(Metrics::new());
        let traces = Traces::start(&config.telemetry, metrics.trace_export_failures.clone()).map_err(anyhow::Error::msg)?;
        // Seen before it is loaded, so that what changes meanwhile is noticed.
        let schemas_stamp = schema::FolderStamp::of(&config.schemas.dir);
        let organs = Organs::open(config, metrics.clone(), traces)?;
        if let Some(fleet) = &organs.fleet {
            // So that the first events are checked too, where the store is there.
            fleet.when_tried().await;
            tokio::spawn(confirm_again(fleet.clone(), organs.spool.clone()));
        }
        at_rest::write_admin_address(config, admin_address);
        let spools = organs.spools();
        let (gate, deliverers) = organs.wire(config, policy).await?;

        let (serving_ends, serving) = watch::channel(false);
        let (delivering_ends, delivering) = watch::channel(false);
        let (admin_ends, admin) = watch::channel(false);
        let server = Server {
            listener,
            tls: tls.as_ref().map(|tls| tls.current.clone()),
            front: http::for_events(gate.clone(), &config.browser.extra_path, config.tls.hsts_seconds),
            proxies: gate.proxies.clone(),
            connections_max: config.http.connections_max,
            connections_per_address_max: config.http.connections_per_address_max,
            metrics: ServerMetrics {
                connections: metrics.connections.clone(),
                handshake_failures: metrics.tls_handshake_failures.clone(),
                crowded_out: metrics.crowded_out_connections.clone(),
            },
        };
        let admin_server = Server {
            listener: admin_listener,
            tls: None,
            front: http::for_operators(gate.clone()),
            proxies: Arc::new(Proxies::new(&ProxyConfig::default())),
            connections_max: ADMIN_CONNECTIONS_MAX,
            connections_per_address_max: ADMIN_CONNECTIONS_MAX,
            // A scrape does not count itself.
            metrics: ServerMetrics::default(),
        };
        let schemas = Arc::new(Schemas::new(&config.schemas, schemas_stamp));
        let watches = watches(&gate, tls.clone(), schemas.clone());
        let reloader = Reloader { gate: gate.clone(), tls, schemas, config: Mutex::new(config.clone()) };
        Ok(Self {
            address,
            admin_address,
            self_signed,
            reloader: Arc::new(reloader),
            watches,
            gate,
            spools,
            phases: Phases { serving_ends, delivering_ends, admin_ends },
            server: tokio::spawn(server.run(serving, Duration::from_secs(config.stop.requests_seconds))),
            admin: tokio::spawn(admin_server.run(admin, Duration::from_secs(1))),
            deliverers: deliverers.into_iter().map(|deliverer| tokio::spawn(deliverer.run(delivering.clone()))).collect(),
            drain_timeout: Duration::from_secs(config.stop.drain_seconds),
        })
    }

    /// Runs until `stop` resolves or the disk fails, then ends gracefully.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Ended {
        let mut failures = JoinSet::new();
        for mut failed in self.spools.iter().map(|spool| spool.watch_failed()) {
            failures.spawn(async move { failed.wait_for(|failed| *failed).await.is_ok() });
        }
        let spool_failed = tokio::select! {
            () = stop => false,
            _ = failures.join_next() => true,
        };
        if spool_failed {
            tracing::error!("the disk failed to sync: what was acknowledged is safe, nothing more is taken, restart the gateway");
        }
        self.end(spool_failed).await
    }

    async fn end(mut self, spool_failed: bool) -> Ended {
        tracing::info!("stopping: no more events are taken");
        self.gate.stopping.store(true, Ordering::Relaxed);
        self.phases.serving_ends.send_replace(true);
        let _ = self.server.await;
        let spools = self.spools.clone();
        let _ = tokio::task::spawn_blocking(move || spools.iter().for_each(|spool| spool.close())).await;
        self.phases.delivering_ends.send_replace(true);
        let deadline = tokio::time::Instant::now() + if spool_failed { Duration::ZERO } else { self.drain_timeout };
        for mut deliverer in self.deliverers {
            if tokio::time::timeout_at(deadline, &mut deliverer).await.is_err() {
                // Cut in the middle: the next start delivers again what was not confirmed.
                deliverer.abort();
                let _ = deliverer.await;
            }
        }
        if let Some(fleet) = self.gate.ingest.dedup.fleet() {
            fleet.close(FLEET_CLOSE_TIMEOUT).await;
        }
        let undelivered_events = self.gate.room.current().lag_events;
        let gate = self.gate.clone();
        let _ = tokio::task::spawn_blocking(move || {
            gate.traces.close();
            gate.access_log.as_ref().inspect(|log| log.close());
        })
        .await;
        self.phases.admin_ends.send_replace(true);
        let _ = self.admin.await;
        self.watches.shutdown().await;
        tracing::info!(undelivered_events, "stopped; what is undelivered stays spooled");
        Ended { undelivered_events, spool_failed }
    }
}

/// What lies on disk, opened.
struct Organs {
    registry: schema::Registry,
    spool: Arc<Spool>,
    window: Window,
    fleet: Option<Fleet>,
    dead_letter_spool: Option<Arc<Spool>>,
    dead_letters: Arc<DeadLetters>,
    metrics: Arc<Metrics>,
    traces: Traces,
}

impl Organs {
    fn open(config: &Config, metrics: Arc<Metrics>, traces: Traces) -> anyhow::Result<Self> {
        let registry = schema::load(&config.schemas.dir)?;
        tracing::info!(events = registry.len(), dir = %config.schemas.dir.display(), "schemas loaded");
        let spool = Arc::new(open_spool(config, "spool", config.spool.quota_bytes)?);
        let (sync_seconds, bytes) = (metrics.spool_sync_seconds.clone(), metrics.spool_group_bytes.clone());
        spool.observe_groups(GroupMetrics { sync_seconds, bytes });
        let window = open_window(config, &spool)?;
        let fleet = start_fleet(config, &spool, &metrics)?;
        let dead_letter_spool = match config.dead_letter.kind {
            DeadLetterKind::Files => None,
            DeadLetterKind::Kinesis => Some(Arc::new(open_spool(config, "dead-letter-spool", config.dead_letter.quota_bytes)?)),
        };
        let dead_letters = DeadLetters::open(
            config.data_dir.join("rejected"),
            config.dead_letter.bytes_per_key_max,
            dead_letter_spool.clone(),
            metrics.clone(),
        );
        let dead_letters = Arc::new(dead_letters.context("the folder of the dead letters cannot be used")?);
        Ok(Self { registry, spool, window, fleet, dead_letter_spool, dead_letters, metrics, traces })
    }

    fn spools(&self) -> Vec<Arc<Spool>> {
        std::iter::once(&self.spool).chain(&self.dead_letter_spool).cloned().collect()
    }

    async fn wire(self, config: &Config, policy: Policy) -> anyhow::Result<(Arc<Gate>, Vec<Deliverer>)> {
        let Self { registry, spool, window, fleet, dead_letter_spool, dead_letters, metrics, traces } = self;
        let progress = Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive));
        let name = match config.sink.kind {
            SinkKind::Lake => "lake",
            SinkKind::Kinesis => "kinesis",
        };
        let (state, sink_state) = new_state(name);
        let dead_letter_progress = dead_letter_spool.as_ref().map(|spool| {
            let progress = Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive);
            (spool.clone(), Arc::new(progress))
        });
        let room = Room::new(RoomParts {
            spool: spool.clone(),
            dead_letters: dead_letter_progress.clone(),
            window: window.clone(),
            progress: progress.clone(),
            sink: sink_state.clone(),
            metrics: metrics.clone(),
            quota_bytes: config.spool.quota_bytes,
            dir: config.data_dir.join("spool"),
            free_bytes_min: config.spool.free_bytes_min,
        });
        let shared = Shared {
            spool: spool.clone(),
            window: Some(window.clone()),
            dead_letters: dead_letters.clone(),
            progress: progress.clone(),
            quota_bytes: config.spool.quota_bytes,
            metrics: metrics.delivery.clone(),
            state,
            traces: traces.clone(),
        };
        let mut deliverers = vec![match config.sink.kind {
            SinkKind::Lake => lake_deliverer(config, shared)?,
            SinkKind::Kinesis => {
                let form = Form::Events(EventForm::new(config.kinesis.format, &config.kinesis.partition_key));
                kinesis_deliverer(config, &config.kinesis.stream, form, shared).await?
            }
        }];
        // By now it is known what was delivered beyond the cursor.
        metrics.spool_recovered_events.set(progress.undelivered(spool.durable_end()) as i64);
        let mut dead_letter_sink = None;
        if let Some((spool, progress)) = dead_letter_progress {
            let (state, sink_state) = new_state("dead-letter stream");
            dead_letter_sink = Some(sink_state);
            let shared = Shared {
                spool,
                progress,
                window: None,
                dead_letters: dead_letters.clone(),
                quota_bytes: config.dead_letter.quota_bytes,
                metrics: metrics.dead_letter_delivery.clone(),
                state,
                traces: traces.clone(),
            };
            deliverers.push(kinesis_deliverer(config, &config.dead_letter.stream, Form::Lines, shared).await?);
        }
        let ingest = Ingest {
            registry: ArcSwap::from_pointee(registry),
            unknown_events: config.schemas.unknown_events,
            dedup: Deduplicator::new(window, fleet),
            spool,
            dead_letters,
            progress,
            awaited: Awaited::default(),
            delivered_wait: Duration::from_secs(config.http.delivered_wait_seconds),
            metrics: metrics.clone(),
        };
        let ingest = Arc::new(ingest);
        let dropped = metrics.access_log_dropped_lines.clone();
        let access_log = config.telemetry.access_log.then(|| AccessLog::start(std::io::stdout(), dropped)).transpose();
        let gate = Gate {
            policy: ArcSwap::from_pointee(policy),
            proxies: Arc::new(Proxies::new(&config.proxy)),
            repair: Repair::new(ingest.clone()),
            ingest,
            bodies: BodyBudget::new(metrics.clone()),
            room: Arc::new(room),
            sink: sink_state,
            dead_letter_sink,
            metrics,
            traces,
            access_log: access_log.context("the access log cannot be started")?,
            stopping: AtomicBool::new(false),
        };
        Ok((Arc::new(gate), deliverers))
    }
}

fn new_state(name: &'static str) -> (watch::Sender<SinkState>, watch::Receiver<SinkState>) {
    watch::channel(SinkState { name, failing: None, oldest_received_millis: None })
}

fn lake_deliverer(config: &Config, shared: Shared) -> anyhow::Result<Deliverer> {
    let bounds = BatchBounds {
        records_max: LAKE_BATCH_RECORDS_MAX,
        bytes_max: config.lake.batch_bytes_max,
        age_max: Duration::from_millis(config.lake.flush_age_ms),
    };
    let sink = Box::new(LakeSink::open(&lake_location(config))?);
    Ok(Deliverer::Batches(Box::new(BatchDeliverer { shared, sink, bounds })))
}

async fn kinesis_deliverer(config: &Config, stream: &str, form: Form, shared: Shared) -> anyhow::Result<Deliverer> {
    let journal = config.data_dir.join("delivery").join(match form {
        Form::Events(_) => "events.journal",
        Form::Lines => "dead-letters.journal",
    });
    let settings = StreamSettings::new(&config.kinesis, &form);
    let stream = Arc::new(KinesisStream::connect(&config.kinesis, stream).await);
    let deliverer = StreamDeliverer::open(shared, stream, form, settings, journal);
    Ok(Deliverer::Stream(Box::new(deliverer.context("the journal of deliveries cannot be used")?)))
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

/// Where the configuration says the lake is.
#[must_use]
pub fn lake_location(config: &Config) -> Location {
    let lake = &config.lake;
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    Location {
        root: given(&lake.root).unwrap_or_else(|| config.data_dir.join("lake").display().to_string()),
        s3_endpoint: given(&lake.s3_endpoint),
        s3_region: given(&lake.s3_region),
        s3_allow_http: lake.s3_allow_http,
    }
}
