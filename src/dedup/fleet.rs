//! A dedup store shared by a fleet: what makes N gateways one (Redis 7.0 or later, or Valkey).
//!
//! Each gateway's own [`Window`](super::Window) stays in front: exact, and restored from its spool. Only what is fresh there
//! is claimed in the store, in one round trip for a request (one for each thousand of a large one), under a deadline.
//!
//! # In the store
//!
//! One key an identity: the prefix, then its 16 bytes (the UUID within its scope). And one key for all, `scope-secret`
//! behind the prefix: the secret by which all gateways scope the identities of browser keys. The first gateway sets it; each
//! asks for it before it takes events, whenever it connects, and every few seconds (so it is set again after a store lost its
//! memory). A gateway whose own secret is another takes the store's over, and says so: all agree, and none needs to be told.
//! What it had claimed for browser keys under its own is fresh once more; that is a gateway which had run alone, or
//! which started for the first time while the store was down.
//!
//! ```text
//!            claim: SET key token NX GET PX claim_ttl              confirm: SET key n PX window
//! no key ───────────────────────────────────────────▶ token ──────────────────────────────────▶ n ──window──▶ no key
//!    ▲                                                  │  release: delete, if it is still this token
//!    └────────── release, or claim_ttl over ────────────┘
//! ```
//!
//! A token is the gateway (the spool's id, the same after a restart) and the number of the claim. A claim that meets
//! `n` is a duplicate; `n` is 1, as before there were fingerprints, or 2 more than that of the payload. Another gateway's token, in flight; its own gateway's, a claim whose batch is over, because the local
//! window lets one batch at a time claim an identity: it is taken over, under the new number. Confirmations and releases
//! are queued and told in the background; a release tells its claim by number, so it may come late.
//!
//! # When a gateway is killed
//!
//! | the owner dies | another gateway meanwhile | the owner, once it is back |
//! |---|---|---|
//! | before the claim is in the store | knows nothing: accepts | has nothing of the event |
//! | after it, before the event is durable | `in_flight` until the claim's time is over; then accepts | has nothing of the event; takes its own claim over, where it still is |
//! | after the event is durable, before the confirmation | `in_flight` until the claim's time is over | finds the event in its spool: a duplicate there, and at start all that the spool holds is confirmed again |
//! | after the confirmation | `duplicate` | `duplicate` |
//!
//! **What remains:** an owner that stays dead for longer than the claim's time, with the event durable on its disk and not
//! confirmed. A retry through another gateway is then accepted there, and the lake has the event twice once the owner is
//! back. No store can tell such a gateway from one that died before its event was durable, and the choice is for the event
//! to be there twice rather than not at all. The stretch is some milliseconds of each event's life; `finishing dedup` in
//! the lake removes it. The same holds for a claim that expires because the disk took longer to append than it lives.
//!
//! # When the store fails
//!
//! Down, slow, full, a replica, refusing, or answering with something that Lakegate did not write: the event is accepted
//! when the deadline is over, at the latest, and tagged `"dedup":"unchecked"`. The circuit opens: nobody asks the store until
//! it has answered a probe in time again. What was accepted meanwhile is confirmed then, so that the others know it; of two
//! gateways that accepted the same event meanwhile, both copies are tagged. A claim that the store executes after we gave
//! up on it does no harm: the confirmation overwrites it, or its time ends it.
//! Not noticed: a store that lost its memory, or the last moments of it in a failover. An identity that it knew is then fresh
//! to every gateway but the one that accepted it.
//!
//! # Not promised
//!
//! - A store that is a cluster. Every command names one key, so slots would not matter, but this speaks to one server.
//! - For `Prefer: durability=delivered`, a duplicate known from the store is durable with another gateway; whether it was
//!   delivered is not known here.
//! - Two gateways on copies of one data folder have the same id, and would take each other's claims over.

mod backlog;
mod connection;
mod protocol;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Pipeline, Value};
use tokio::{task::AbortHandle, time::timeout};
use uuid::Uuid;

use self::{
    backlog::{Backlog, Portion},
    connection::{Connection, StoreConnection},
    protocol::{Answer, Protocol, Token, complaint},
};
use crate::{
    conditions::Conditions,
    dedup::{Identity, Scopes},
    limits::{FLEET_BACKLOG_IDENTITIES_MAX, FLEET_DEADLINE_PER_IDENTITY, FLEET_PIPELINE_IDENTITIES, FLEET_SETTLE_TIMEOUT},
    telemetry::Metrics,
};

/// Where the store is, and how it is used.
#[derive(Clone)]
pub struct FleetConfig {
    /// `redis://` or `rediss://`, with the password if there is one.
    pub url: String,
    /// What every key begins with.
    pub key_prefix: String,
    /// For how long a claim is waited for, and [`FLEET_DEADLINE_PER_IDENTITY`] more for each identity.
    pub deadline: Duration,
    /// For how long a claim lives that is neither confirmed nor released.
    pub claim_ttl: Duration,
    /// For how long a confirmed identity lives.
    pub window: Duration,
    /// This gateway, the same after a restart.
    pub gateway: Uuid,
    /// The secret that scopes identities: given to the store where that has none, else replaced by the store's.
    pub scopes: Scopes,
    /// Where it is told that one of its tasks died.
    pub conditions: Conditions,
}

/// Why the store cannot be used at all. A store that does not answer is no error.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The URL is none. It is not repeated, because it may hold a password.
    #[error("the URL of the shared dedup store is not understood: {0}")]
    Url(String),
}

/// What becomes of an identity that is fresh here, by what the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    /// With the fingerprint of the payload that was confirmed, where the store has one.
    Duplicate {
        fingerprint: u32,
    },
    InFlight,
    /// The store did not say.
    Unchecked,
}

/// The shared store. Clones are the same one.
#[derive(Clone)]
pub struct Fleet {
    pub(super) store: Arc<Store>,
    tasks: Arc<[AbortHandle; 2]>,
}

pub(super) struct Store {
    protocol: Protocol,
    link: StoreConnection,
    backlog: Backlog,
    deadline: Duration,
    next_number: AtomicU64,
    pub(super) metrics: Arc<Metrics>,
}

impl fmt::Debug for Fleet {
    /// Without the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("gateway", &self.store.protocol.gateway).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Begins to connect, and to tell what is confirmed, in the background. Needs a runtime.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub fn start(config: FleetConfig, metrics: Arc<Metrics>) -> Result<Self, FleetError> {
        // For rediss://. The redis crate takes the process's provider; where one is set already, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = redis::Client::open(config.url).map_err(|error| FleetError::Url(error.to_string()))?;
        let protocol = Protocol {
            gateway: config.gateway,
            key_prefix: config.key_prefix,
            claim_ttl_millis: config.claim_ttl.as_millis() as u64,
            window_millis: config.window.as_millis() as u64,
        };
        let store = Arc::new(Store {
            link: StoreConnection::new(client, protocol.clone(), config.scopes, config.deadline, metrics.clone()),
            protocol,
            backlog: Backlog::new(FLEET_BACKLOG_IDENTITIES_MAX),
            deadline: config.deadline,
            // A gateway that was killed must not count through the same numbers again.
            next_number: AtomicU64::new(fastrand::u64(..)),
            metrics,
        });
        let (linked, settling) = (store.clone(), store.clone());
        let (link, settle) = (config.conditions.vital("dedup store link"), config.conditions.vital("dedup store backlog"));
        let tasks = [
            tokio::spawn(link.forever(async move { linked.link.run().await })).abort_handle(),
            // Ends when the backlog is closed.
            tokio::spawn(settle.once(async move { settling.settle().await })).abort_handle(),
        ];
        Ok(Self { store, tasks: Arc::new(tasks) })
    }

    /// Waits until the first try to connect has succeeded or failed: a second or so, at most.
    pub async fn when_tried(&self) {
        self.store.link.when_tried().await;
    }

    /// Why the store is not used at the moment, where it fails.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.store.link.failing()
    }

    /// Confirms identities that are known to be durable since before the start. Waits for room, so that memory stays flat
    /// however many there are. False where the gateway is stopping.
    pub async fn reconfirm(&self, identities: Vec<Identity>) -> bool {
        let is_open = self.store.backlog.when_roomy().await;
        if is_open {
            self.store.confirm(identities);
        }
        is_open
    }

    /// Waits until everything is told, for at most `wait` and not for a store that fails, and ends. Claims are unchecked from
    /// then on.
    pub async fn close(&self, wait: Duration) {
        let wait = if self.failing().is_some() { Duration::ZERO } else { wait };
        if timeout(wait, self.store.backlog.when_empty()).await.is_err() {
            let untold = self.store.backlog.len();
            tracing::warn!(
                untold,
                "the shared dedup store was not told of all that was accepted; the next start tells what is still spooled"
            );
        }
        self.store.backlog.close();
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Store {
    pub(super) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Claims `ids`: one verdict each, in order, before the deadline is over. A large batch goes in portions, so that what
    /// other requests ask meanwhile need not wait for all of it.
    pub(super) async fn claim(&self, ids: &[Uuid], number: u64) -> Vec<Verdict> {
        let started = Instant::now();
        let until = started + self.deadline + FLEET_DEADLINE_PER_IDENTITY * ids.len() as u32;
        let mut verdicts = Vec::with_capacity(ids.len());
        for portion in ids.chunks(FLEET_PIPELINE_IDENTITIES) {
            let Some(connection) = self.link.connection() else { break };
            self.claim_portion(&connection, portion, number, until, &mut verdicts).await;
        }
        if !verdicts.is_empty() {
            self.metrics.dedup_store_claim_seconds.observe(started.elapsed().as_secs_f64());
        }
        verdicts.resize(ids.len(), Verdict::Unchecked);
        verdicts
    }

    async fn claim_portion(
        &self,
        connection: &Connection,
        ids: &[Uuid],
        number: u64,
        until: Instant,
        verdicts: &mut Vec<Verdict>,
    ) {
        let token = Token { gateway: self.protocol.gateway, number };
        let mut answers = self.ask(connection, &self.protocol.claims(ids.iter(), token), until).await;
        answers.resize(ids.len(), Answer::Unclear(String::new()));
        let own: Vec<usize> = (0..ids.len()).filter(|index| answers[*index] == Answer::Own).collect();
        if !own.is_empty() {
            let own_ids: Vec<Uuid> = own.iter().map(|index| ids[*index]).collect();
            let taken_over = self.ask(connection, &self.protocol.take_overs(own_ids.iter(), token), until).await;
            for (index, answer) in own.iter().zip(taken_over) {
                answers[*index] = answer;
            }
        }
        verdicts.extend(answers.iter().map(|answer| match answer {
            Answer::Fresh => Verdict::Fresh,
            Answer::Duplicate { fingerprint } => Verdict::Duplicate { fingerprint: *fingerprint },
            Answer::InFlight => Verdict::InFlight,
            Answer::Own | Answer::Unclear(_) => Verdict::Unchecked,
        }));
    }

    /// Sends claims; no answers where they did not come in time. One that is unclear fails the connection.
    async fn ask(&self, connection: &Connection, pipeline: &Pipeline, until: Instant) -> Vec<Answer> {
        let left = until.saturating_duration_since(Instant::now());
        let values = self.link.exchange(connection, pipeline, left).await.unwrap_or_default();
        let answers: Vec<Answer> = values.iter().map(|value| Answer::of(value, self.protocol.gateway)).collect();
        if let Some(Answer::Unclear(reason)) = answers.iter().find(|answer| matches!(answer, Answer::Unclear(_))) {
            self.link.fail(connection, reason.clone());
        }
        answers
    }

    pub(super) fn confirm(&self, identities: impl IntoIterator<Item = Identity>) {
        self.note(self.backlog.confirm(identities));
    }

    pub(super) fn release(&self, ids: impl IntoIterator<Item = Uuid>, number: u64) {
        self.note(self.backlog.release(ids.into_iter().map(|id| (id, number))));
    }

    fn note(&self, given_up: u64) {
        self.metrics.dedup_store_unconfirmed_events.inc_by(given_up);
        self.metrics.dedup_store_backlog.set(self.backlog.len() as i64);
    }

    /// Tells the backlog to the store; runs until it is closed.
    async fn settle(&self) {
        while let Some(portion) = self.backlog.take(FLEET_PIPELINE_IDENTITIES).await {
            let is_told = match self.link.connection() {
                Some(connection) => self.tell(&connection, &portion).await,
                None => false,
            };
            if is_told {
                self.backlog.settle(&portion);
                self.note(0);
            } else {
                self.note(self.backlog.put_back(portion));
                if self.link.when_up().await.is_none() {
                    return;
                }
            }
        }
    }

    /// Whether the store took all of it. It may take some of it twice.
    async fn tell(&self, connection: &Connection, portion: &Portion) -> bool {
        let mut pipeline = Pipeline::with_capacity(portion.confirms.len() + portion.releases.len());
        portion.confirms.iter().for_each(|identity| self.protocol.confirm(*identity, &mut pipeline));
        portion.releases.iter().for_each(|(id, number)| self.protocol.release(*id, *number, &mut pipeline));
        let Some(values) = self.link.exchange(connection, &pipeline, FLEET_SETTLE_TIMEOUT).await else { return false };
        let (confirms, releases) = values.split_at(portion.confirms.len());
        let strange = confirms.iter().find(|value| **value != Value::Okay);
        let strange = strange.or_else(|| releases.iter().find(|value| !matches!(value, Value::Int(_))));
        if let Some(value) = strange {
            self.link.fail(connection, complaint(value));
        }
        strange.is_none()
    }
}
