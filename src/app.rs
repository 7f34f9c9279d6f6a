//! The whole gateway: opens its components in order, and closes them in order.
//!
//! ```text
//! start   listeners ─▶ registry ─▶ spool ─▶ dedup window ◀─ identities of the spool ─▶ sink ─▶ accept
//! stop    not ready ─▶ lame duck ─▶ requests in flight ─▶ spool's queue ─▶ drain to the sink ─▶ confirm in the fleet's dedup store ─▶ close
//! ```

mod background_tasks;
mod components;
mod data_folder;
mod difference;
mod ended;
mod erasure;
mod finder;
mod folder_holder;
mod lake_location;
mod lake_upkeep;
mod metrics_exports;
mod offline;
mod policy;
mod reload;
mod retention;
mod schemas;
mod shutdown;
mod sinks;
mod stop_request;
mod stores;
mod typed_columns;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    auth,
    config::Config,
    deliver::Deliverer,
    erasure::Erasure,
    http::{
        self, Console, FirstEvent, Gate,
        server::{Server, ServerMetrics, Timeouts},
    },
    ingest::{reconfirm_on_start, recount_on_start},
    limits::{ADMIN_CONNECTIONS_MAX, ANSWER_READ_TIMEOUT, HEADER_READ_TIMEOUT, IDLE_TIMEOUT},
    rig::Rig,
    schema,
    spool::Spool,
    telemetry::{Metrics, Traces},
    tls::Tls,
};
use background_tasks::background_tasks;
use components::Components;
pub use data_folder::check_data_folder;
pub use ended::{Ended, Failure};
pub use folder_holder::gateway_process;
pub use lake_location::{check_typed_tables, lake_location, location_of, typed_location_of};
use lake_upkeep::LakeUpkeep;
pub use lake_upkeep::{SCRATCH_FOLDER, upkeep_settings};
use metrics_exports::MetricsExports;
pub use offline::{Offline, admin_address, gateway_id, is_running};
pub use policy::check_listener;
use policy::policy;
pub use reload::Reloader;
use retention::Retention;
use schemas::Schemas;
pub use stop_request::Stop;
use stores::restore_later;
use typed_columns::typed_columns;

/// A running gateway.
pub struct App {
    /// Address of the listener for events.
    pub address: SocketAddr,
    /// Address of the listener for operators.
    pub admin_address: SocketAddr,
    /// The certificate, if the gateway created its own.
    pub self_signed: Option<PathBuf>,
    /// Applies another configuration.
    pub reloader: Arc<Reloader>,
    gate: Arc<Gate>,
    /// The spool of the events, then the spool of the dead letters, if there is one.
    spools: Vec<Arc<Spool>>,
    phases: Phases,
    server: JoinHandle<()>,
    admin: JoinHandle<()>,
    deliverers: Vec<JoinHandle<()>>,
    lake_upkeep: LakeUpkeep,
    metrics_exports: Arc<MetricsExports>,
    /// Tasks that run beside the requests until the gateway stops.
    background_tasks: JoinSet<()>,
    lame_duck: Duration,
    drain_timeout: Duration,
}

/// The phases of a stop, in order.
struct Phases {
    lame_duck_begins: watch::Sender<bool>,
    serving_ends: watch::Sender<bool>,
    delivering_ends: watch::Sender<bool>,
    admin_ends: watch::Sender<bool>,
}

impl App {
    /// Opens everything and begins to accept events.
    ///
    /// # Errors
    /// The obstacle to the start, worded for the operator.
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
        // Taken before loading, so that a change meanwhile is noticed.
        let schemas_stamp = schema::FolderStamp::of(&config.schemas.dir);
        let components = Components::open(config, metrics.clone(), traces).await?;
        if !components.unread.is_empty() {
            let later = restore_later(
                components.window.clone(),
                components.spool.clone(),
                components.scopes.clone(),
                components.unread.clone(),
            );
            tokio::spawn(components.conditions.vital("restoring identities").once(later));
        }
        offline::write_admin_address(config, admin_address);
        let spools = components.spools();
        let conditions = components.conditions.clone();
        let first_event = FirstEvent {
            url: format!(
                "{}://localhost:{}/v1/events",
                if tls.is_some() && !config.is_rig { "https" } else { "http" },
                address.port()
            ),
            certificate: self_signed.clone().filter(|_| !config.is_rig),
            takes_dev: auth::takes_dev_key(&config.keys),
        };
        let console = Console::new(&config.admin, first_event);
        let (gate, deliverers) = components.wire(config, policy, console).await?;
        gate.share();
        if let Some(again) = reconfirm_on_start(&gate.ingest) {
            tokio::spawn(conditions.vital("confirming again").once(again));
        }
        if Erasure::has_unfinished(&config.data_dir) {
            let continuing = gate.clone();
            let unfinished = async move { continuing.erasure.continue_unfinished(&continuing.repair).await };
            tokio::spawn(conditions.vital("continuing erasures").once(unfinished));
        }
        let recounted = recount_on_start(gate.ingest.clone(), gate.ingest.spool.durable_end());
        tokio::spawn(conditions.vital("counting the shares of keys").once(recounted));

        let (lame_duck_begins, lame_duck) = watch::channel(false);
        let (serving_ends, serving) = watch::channel(false);
        let (delivering_ends, delivering) = watch::channel(false);
        let (admin_ends, admin) = watch::channel(false);
        let server = Server {
            listener,
            tls: tls.as_ref().map(|tls| tls.current.clone()),
            takes_plain_http: config.is_rig,
            front: http::for_events(gate.clone(), &config.browser.extra_path, config.tls.hsts_seconds),
            proxies: gate.proxies.clone(),
            may_lack_proxy_header: false,
            lame_duck: lame_duck.clone(),
            connections_max: config.http.connections_max,
            connections_per_address_max: config.http.connections_per_address_max,
            times: Timeouts {
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
            takes_plain_http: true,
            front: http::for_operators(gate.clone(), &config.admin.hosts),
            // A balancer that checks the health here may speak the PROXY protocol; who scrapes does not.
            proxies: gate.proxies.clone(),
            may_lack_proxy_header: true,
            // Served until the end.
            lame_duck: watch::channel(false).1,
            connections_max: ADMIN_CONNECTIONS_MAX,
            connections_per_address_max: ADMIN_CONNECTIONS_MAX,
            times: Timeouts { idle: IDLE_TIMEOUT, head: HEADER_READ_TIMEOUT, answer: ANSWER_READ_TIMEOUT },
            // Scrapes are not counted in the metrics.
            metrics: ServerMetrics::default(),
        };
        let schemas = Arc::new(Schemas::new(&config.schemas, schemas_stamp));
        let lake_upkeep = LakeUpkeep::start(config, &typed_columns(&gate), &metrics, &gate.conditions)?;
        let metrics_exports = Arc::new(MetricsExports::start(config, &gate)?);
        let mut background_tasks = background_tasks(Retention::of(config), &gate, tls.clone(), schemas.clone());
        metrics_exports.run(&gate, &mut background_tasks);
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
            background_tasks,
            gate,
            spools,
            phases: Phases { lame_duck_begins, serving_ends, delivering_ends, admin_ends },
            server,
            admin,
            deliverers,
            lake_upkeep,
            metrics_exports,
            lame_duck: Duration::from_secs(config.stop.lame_duck_seconds),
            drain_timeout: Duration::from_secs(config.stop.drain_seconds),
        })
    }

    /// What only `lakegate dev` has.
    #[must_use]
    pub fn rig(&self) -> Option<&Arc<Rig>> {
        self.gate.rig.as_ref()
    }
}

async fn bind(config: &Config, address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // The usual case: a gateway with the same configuration is already running.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running(&config.data_dir).unwrap_or(false) => {
            Err(folder_holder::in_use(&config.data_dir).context(format!("{key}: cannot listen on {address}")))
        }
        bound => bound.with_context(|| format!("{key}: cannot listen on {address}")),
    }
}
