//! The parts of the gateway that the handlers use, and the policy in force.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{client_address::Proxies, console_state::Console, operator_turns::Turns};
use crate::{
    auth::Keys,
    body_budget::BodyBudget,
    conditions::Conditions,
    config::AddressKept,
    deliver::SinkState,
    disk_headroom::DiskHeadroom,
    erasure::Erasure,
    find::Finder,
    ingest::Ingest,
    rate_limit::AddressRates,
    repair::Repair,
    rig::Rig,
    telemetry::{AccessLog, Metrics, OutputLines, Traces},
};

/// Who may send events, and how many. An operator can change it while the gateway runs. It is replaced as a whole.
pub struct Policy {
    /// The keys, and the permissions of each.
    pub keys: Keys,
    /// The rate limits of client addresses, if configured.
    pub addresses: Option<Arc<AddressRates>>,
    /// Whether events of people who opt out of tracking are dropped.
    pub respect_gpc: bool,
    /// The form of client address that events keep.
    pub client_address: AddressKept,
}

/// The parts of the gateway that the handlers use.
pub struct Gate {
    /// The policy in force.
    pub policy: ArcSwap<Policy>,
    /// The proxies that are trusted to report client addresses.
    pub proxies: Arc<Proxies>,
    /// Validates and stores events.
    pub ingest: Arc<Ingest>,
    /// The repair of dead letters.
    pub repair: Repair,
    /// Finds single events.
    pub finder: Finder,
    /// Erases the events of a person.
    pub erasure: Erasure,
    /// The memory that all request bodies together may hold.
    pub bodies: BodyBudget,
    /// How much space is left on the disk.
    pub disk_headroom: Arc<DiskHeadroom>,
    /// The conditions that are raised.
    pub conditions: Conditions,
    /// The state of the stream of the dead letters, if they have one.
    pub dead_letter_sink: Option<watch::Receiver<SinkState>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The traces.
    pub traces: Traces,
    /// The access log, if it is switched on.
    pub access_log: Option<AccessLog>,
    /// The lines on standard output, if there are any: of the access log, and of metrics for CloudWatch.
    pub output: Option<OutputLines>,
    /// Limits how many operators are answered at one time.
    pub turns: Turns,
    /// What the console may do, and what it was told last.
    pub console: Console,
    /// What only `lakegate dev` has.
    pub rig: Option<Arc<Rig>>,
    /// Whether the gateway stops soon, and still serves requests.
    pub lame_duck: AtomicBool,
    /// Whether the gateway is stopping.
    pub stopping: AtomicBool,
}

impl Gate {
    /// Whether the gateway stops soon. It still accepts requests, and is not ready.
    #[must_use]
    pub fn is_lame_duck(&self) -> bool {
        self.lame_duck.load(Ordering::Relaxed)
    }

    /// Whether the gateway is stopping. It then accepts no requests and is not ready.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Gives every key of the policy in force its share before the key sends, so that its limit is right from the start, and
    /// shows its secrets in the metrics.
    pub fn share(&self) {
        let policy = self.policy.load();
        for source in policy.keys.sources() {
            source.share(&self.ingest.shares);
        }
        self.metrics.secrets.replace(policy.keys.secrets_in_force());
    }
}
