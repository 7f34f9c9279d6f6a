//! The whole: what is opened in which order, and what is closed in which.
//!
//! ```text
//! start   listeners ─▶ registry ─▶ spool ─▶ dedup window ◀─ identities of the spool ─▶ sink ─▶ accept
//! stop    not ready ─▶ requests in flight ─▶ spool's queue ─▶ drain to the sink ─▶ tell the fleet's dedup store ─▶ close
//! ```

mod at_rest;
mod data_folder;
mod edge;
mod folder_holder;
mod reload;
mod run;
mod schemas;
mod stores;

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
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
    body_budget::BodyBudget,
    conditions::Conditions,
    config::{Config, DeadLetterKind, ProxyConfig, SinkKind},
    dead_letter::{DeadLetters, LetterStream},
    dedup::{Deduplicator, Fleet, Scopes, Window},
    deliver::{BatchBounds, BatchDeliverer, Deliverer, EventForm, Form, Shared, SinkState, StreamDeliverer, StreamSettings},
    http::{
        self, Gate, Policy, Proxies, Turns,
        server::{Server, ServerMetrics, Times},
    },
    ingest::{Awaited, Conflicts, Ingest, confirm_again, recount},
    limits::{ADMIN_CONNECTIONS_MAX, ANSWER_READ_TIMEOUT, HEADER_READ_TIMEOUT, IDLE_TIMEOUT, LAKE_BATCH_RECORDS_MAX},
    progress::Progress,
    repair::Repair,
    room::{Room, RoomParts},
    schema,
    sink::{
        kinesis::KinesisStream,
        lake::{LakeConfig as Location, LakeSink},
    },
    spool::{GroupMetrics, Spool},
    telemetry::{AccessLog, Metrics, Traces, own_output},
    tls::Tls,
    work_pool::WorkPool,
};
pub use at_rest::{AtRest, admin_address, gateway_id, is_running};
pub use data_folder::check_data_folder;
use edge::{policy, watches};
pub use reload::Reloader;
pub use run::{Ended, Failure};
use schemas::Schemas;
use stores::{open_scopes, open_spool, open_window, restore_later, shares, start_fleet};

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
        let listener = bind(config, listen, "http.listen").await?;
        let admin_listener = bind(config, config.admin.listen, "admin.listen").await?;
        let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);

        let metrics = Arc::new(Metrics::new());
        let traces = Traces::start(&config.telemetry, metrics.trace_export_failures.clone()).map_err(anyhow::Error::msg)?;
        // Seen before it is loaded, so that what changes meanwhile is noticed.
        let schemas_stamp = schema::FolderStamp::of(&config.schemas.dir);
        let organs = Organs::open(config, metrics.clone(), traces).await?;
        if let Some(fleet) = &organs.fleet {
            let again = confirm_again(fleet.clone(), organs.spool.clone(), organs.scopes.secret());
            tokio::spawn(organs.conditions.vital("confirming again").once(again));
        }
        if !organs.unread.is_empty() {
            let later = restore_later(organs.window.clone(), organs.spool.clone(), organs.scopes.clone(), organs.unread.clone());
            tokio::spawn(organs.conditions.vital("restoring identities").once(later));
        }
        at_rest::write_admin_address(config, admin_address);
        let spools = organs.spools();
        let conditions = organs.conditions.clone();
        let (gate, deliverers) = organs.wire(config, policy).await?;
        gate.share();
        let recounted = recount(gate.ingest.clone(), gate.ingest.spool.durable_end());
        tokio::spawn(conditions.vital("counting the shares of keys").once(recounted));

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
            times: Times {
                idle: config.http.idle_timeout(),
                head: config.http.header_timeout(),
                answer: config.http.answer_timeout(),
            },
            metrics: ServerMetrics {
                connections: metrics.connections.clone(),
                handshake_failures: metrics.tls_handshake_failures.clone(),
                crowded_out: metrics.crowded_out_connections.clone(),
            },
        };
        let admin_server = Server {
            listener: admin_listener,
            tls: None,
            front: http::for_operators(gate.clone(), &config.admin.hosts),
            proxies: Arc::new(Proxies::new(&ProxyConfig::default())),
            connections_max: ADMIN_CONNECTIONS_MAX,
            connections_per_address_max: ADMIN_CONNECTIONS_MAX,
            times: Times { idle: IDLE_TIMEOUT, head: HEADER_READ_TIMEOUT, answer: ANSWER_READ_TIMEOUT },
            // A scrape does not count itself.
            metrics: ServerMetrics::default(),
        };
        let schemas = Arc::new(Schemas::new(&config.schemas, schemas_stamp));
        let watches = watches(&gate, tls.clone(), schemas.clone());
        let vital = |name| gate.conditions.vital(name);
        let serve = server.run(serving.clone(), Duration::from_secs(config.stop.requests_seconds));
        let serve_operators = admin_server.run(admin.clone(), Duration::from_secs(1));
        let deliver = |deliverer: Deliverer| vital("deliverer").until(delivering.clone(), deliverer.run(delivering.clone()));
        let (server, admin) = (
            tokio::spawn(vital("listener for events").until(serving, serve)),
            tokio::spawn(vital("listener for operators").until(admin, serve_operators)),
        );
        let deliverers = deliverers.into_iter().map(|deliverer| tokio::spawn(deliver(deliverer))).collect();
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
            server,
            admin,
            deliverers,
            drain_timeout: Duration::from_secs(config.stop.drain_seconds),
        })
    }
}

/// What lies on disk, opened.
struct Organs {
    registry: schema::Registry,
    spool: Arc<Spool>,
    window: Window,
    /// Numbers of events whose identities the window does not have yet, because they could not be read.
    unread: Vec<Range<u64>>,
    scopes: Scopes,
    fleet: Option<Fleet>,
    dead_letter_spool: Option<Arc<Spool>>,
    dead_letters: Arc<DeadLetters>,
    metrics: Arc<Metrics>,
    traces: Traces,
    conditions: Conditions,
}

impl Organs {
    async fn open(config: &Config, metrics: Arc<Metrics>, traces: Traces) -> anyhow::Result<Self> {
        check_data_folder(config)?;
        let registry = schema::load(&config.schemas.dir)?;
        tracing::info!(events = registry.len(), dir = %config.schemas.dir.display(), "schemas loaded");
        let conditions = Conditions::default();
        let spool = Arc::new(open_spool(config, "spool", config.spool.quota_bytes, conditions.clone())?);
        let (sync_seconds, bytes) = (metrics.spool_sync_seconds.clone(), metrics.spool_group_bytes.clone());
        spool.observe_groups(GroupMetrics { sync_seconds, bytes });
        folder_holder::write(&config.data_dir);
        data_folder::mark(&config.data_dir)?;
        data_folder::warn_of_open_folders(&config.data_dir);
        let scopes = open_scopes(config)?;
        let fleet = start_fleet(config, &spool, &scopes, &metrics, conditions.clone()).await?;
        let (window, unread) = open_window(config, &spool, &scopes, &conditions)?;
        let dead_letter_spool = match config.dead_letter.kind {
            DeadLetterKind::Files => None,
            DeadLetterKind::Kinesis => {
                let quota_bytes = config.dead_letter.quota_bytes;
                Some(Arc::new(open_spool(config, "dead-letter-spool", quota_bytes, conditions.clone())?))
            }
        };
        let share = config.dead_letter.quota_bytes / 100 * u64::from(config.dead_letter.share_percent);
        let dead_letters = DeadLetters::open(
            config.data_dir.join("rejected"),
            config.dead_letter.bytes_per_key_max,
            dead_letter_spool.clone().map(|spool| LetterStream::new(spool, share)),
            metrics.clone(),
            conditions.clone(),
        );
        let dead_letters = Arc::new(dead_letters.context("the folder of the dead letters cannot be used")?);
        Ok(Self { registry, spool, window, unread, scopes, fleet, dead_letter_spool, dead_letters, metrics, traces, conditions })
    }

    fn spools(&self) -> Vec<Arc<Spool>> {
        std::iter::once(&self.spool).chain(&self.dead_letter_spool).cloned().collect()
    }

    async fn wire(self, config: &Config, policy: Policy) -> anyhow::Result<(Arc<Gate>, Vec<Deliverer>)> {
        let Self { registry, spool, window, scopes, fleet, dead_letter_spool, dead_letters, metrics, traces, conditions, .. } =
            self;
        let progress = Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive));
        let shares = Arc::new(shares(config));
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
            shares: shares.clone(),
            sink: sink_state.clone(),
            metrics: metrics.clone(),
            quota_bytes: config.spool.quota_bytes,
            data_dir: config.data_dir.clone(),
            dir: config.data_dir.join("spool"),
            free_bytes_min: config.spool.free_bytes_min,
            conditions: conditions.clone(),
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
            conditions: conditions.clone(),
            scopes: scopes.clone(),
        };
        let mut deliverers = vec![match config.sink.kind {
            SinkKind::Lake => lake_deliverer(config, shared)?,
            SinkKind::Kinesis => {
                let form = Form::Events(EventForm::new(config.kinesis.format, &config.kinesis.partition_key));
                kinesis_deliverer(config, &config.kinesis.stream, form, shared).await
            }
        }];
        // By now it is known what was delivered beyond the cursor.
        metrics.spool_recovered_events.set(progress.unsettled(spool.durable_end()) as i64);
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
                conditions: conditions.clone(),
                scopes: scopes.clone(),
            };
            deliverers.push(kinesis_deliverer(config, &config.dead_letter.stream, Form::Lines, shared).await);
        }
        let ingest = Ingest {
            registry: ArcSwap::from_pointee(registry),
            unknown_events: config.schemas.unknown_events,
            scopes,
            dedup: Deduplicator::new(window, fleet),
            spool,
            shares,
            dead_letters,
            progress,
            awaited: Awaited::default(),
            conflicts: Conflicts::default(),
            pool: WorkPool::of_this_machine(),
            delivered_wait: Duration::from_secs(config.http.delivered_wait_seconds),
            metrics: metrics.clone(),
        };
        let ingest = Arc::new(ingest);
        let dropped = metrics.access_log_dropped_lines.clone();
        let access_log =
            config.telemetry.access_log.then(|| AccessLog::start(own_output(std::io::stdout())?, dropped)).transpose();
        let gate = Gate {
            policy: ArcSwap::from_pointee(policy),
            proxies: Arc::new(Proxies::new(&config.proxy)),
            repair: Repair::new(ingest.clone()),
            ingest,
            bodies: BodyBudget::new(metrics.clone()),
            room: Arc::new(room),
            conditions,
            sink: sink_state,
            dead_letter_sink,
            metrics,
            traces,
            access_log: access_log.context("the access log cannot be started")?,
            turns: Turns::default(),
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
    let folder = config.data_dir.join("delivery");
    let sink = Box::new(LakeSink::open_with_memory(&lake_location(config), &folder)?);
    Ok(Deliverer::Batches(Box::new(BatchDeliverer::open(shared, sink, bounds, folder.join("events.journal")))))
}

async fn kinesis_deliverer(config: &Config, stream: &str, form: Form, shared: Shared) -> Deliverer {
    let journal = config.data_dir.join("delivery").join(match form {
        Form::Events(_) => "events.journal",
        Form::Lines => "dead-letters.journal",
    });
    let settings = StreamSettings::new(&config.kinesis, &form);
    let stream = Arc::new(KinesisStream::connect(&config.kinesis, stream).await);
    let deliverer = StreamDeliverer::open(shared, stream, form, settings, journal);
    Deliverer::Stream(Box::new(deliverer))
}

async fn bind(config: &Config, address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // The usual case: a gateway runs already, with the same configuration.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running(&config.data_dir).unwrap_or(false) => {
            Err(folder_holder::in_use(&config.data_dir).context(format!("{key}: cannot listen on {address}")))
        }
        bound => bound.with_context(|| format!("{key}: cannot listen on {address}")),
    }
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
