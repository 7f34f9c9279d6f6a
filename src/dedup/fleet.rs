//! A dedup store shared by a fleet, so that N gateways deduplicate as one (Redis 7.0 or later, or Valkey).
//!
//! Each gateway first asks its own [`Window`](super::Window), which is exact and restored from its spool. Only fresh
//! identities are claimed in the store, in one round trip per request (one per thousand identities), with a deadline.
//!
//! # In the store
//!
//! One key for each identity: the prefix, then its 16 bytes (the UUID within its scope). And one key for all, `scope-secret`
//! behind the prefix: the secret with which all gateways scope the identities of browser keys. The first gateway sets it. Each
//! gateway asks for it before it takes events, whenever it connects, and every few seconds (so the secret is set again after
//! the store lost its memory). A gateway that has another secret adopts the store's and logs that, so all gateways agree
//! without configuration. Its earlier claims for browser keys are then fresh again. That is a gateway that ran alone before,
//! or that first started while the store was down.
//!
//! ```text
//!            claim: SET key token NX GET PX claim_ttl              confirm: SET key n PX window
//! no key ───────────────────────────────────────────▶ token ──────────────────────────────────▶ n ──window──▶ no key
//!    ▲                                                  │  release: delete, if it is still this token
//!    └────────── release, or claim_ttl over ────────────┘
//! ```
//!
//! A token is the gateway (the spool's id, the same after a restart) and the number of the claim. A claim that meets `n` is a
//! duplicate; `n` is 1 without a fingerprint (as in older versions), else the payload's fingerprint plus 2. A claim that meets
//! another gateway's token is in flight. A token of its own gateway belongs to a claim whose batch is over, because the local
//! window lets one batch at a time claim an identity: the claim is taken over, under the new number. Confirmations and
//! releases are queued and sent in the background. A release names its claim by number, so it may come late.
//!
//! # When a gateway is killed
//!
//! | the owner dies | another gateway meanwhile | the owner, once it is back |
//! |---|---|---|
//! | before the claim is in the store | does not know the event: accepts | does not have the event |
//! | after it, before the event is durable | `in_flight` until the claim expires; then accepts | does not have the event; takes its own claim over, if it still exists |
//! | after the event is durable, before the confirmation | `in_flight` until the claim expires | finds the event in its spool: a duplicate there; the start confirms all events of the spool again |
//! | after the confirmation | `duplicate` | `duplicate` |
//!
//! **Remaining case:** an owner stays dead for longer than the claim lives, with the event durable on its disk and not
//! confirmed. Another gateway then accepts a retry, and the lake has the event twice once the owner is back. The store cannot
//! tell such a gateway from one that died before its event was durable, and Lakegate prefers a duplicate event to a lost
//! event. The gap is some milliseconds for each event; `finishing dedup` in the lake removes the copy. The same holds for a
//! claim that expires because the append to disk took longer than the claim lives.
//!
//! # When the store fails
//!
//! If the store is down, slow, full, a replica, refusing, or answers with something that Lakegate did not write, the event is
//! accepted when the deadline ends, at the latest, and tagged `"dedup":"unchecked"`. The circuit opens: no request asks the
//! store until it has answered a probe in time again. Then the events accepted meanwhile are confirmed, so that the other
//! gateways know them. If two gateways accepted the same event meanwhile, both copies are tagged. A claim that the store
//! executes after the deadline does no harm: the confirmation overwrites it, or it expires. Not detected: a store that lost
//! its memory, or its last moments in a failover. An identity that it knew is then fresh to every gateway but the one that
//! accepted it.
//!
//! # Not promised
//!
//! - A store that is a cluster. Every command names one key, so slots would not matter, but the client speaks to one server.
//! - For `Prefer: durability=delivered`, a duplicate known from the store is durable on another gateway. This gateway does not
//!   know whether it was delivered. Where every request waits (`http.durability = "delivered"`, on all gateways), an event is
//!   confirmed only once it is delivered, so that such a duplicate was.
//! - Two gateways on copies of one data folder have the same id, and would take over each other's claims.

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

/// Settings of the store.
#[derive(Clone)]
pub struct FleetConfig {
    /// `redis://` or `rediss://`, with the password if there is one.
    pub url: String,
    /// Prefix of every key.
    pub key_prefix: String,
    /// Deadline of a claim, plus [`FLEET_DEADLINE_PER_IDENTITY`] for each identity.
    pub deadline: Duration,
    /// Lifetime of a claim that is neither confirmed nor released.
    pub claim_ttl: Duration,
    /// Lifetime of a confirmed identity.
    pub window: Duration,
    /// Id of this gateway, the same after a restart.
    pub gateway: Uuid,
    /// The secret that scopes identities: written to the store if the store has none, else replaced by the store's.
    pub scopes: Scopes,
    /// Faults of its tasks are raised here.
    pub conditions: Conditions,
}

/// Why the store cannot be used at all. A store that does not answer is not an error.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The URL is invalid. The error does not repeat it, because it may hold a password.
    #[error("the URL of the shared dedup store is not understood: {0}")]
    Url(String),
}

/// The store's verdict on an identity that is fresh here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    /// With the fingerprint of the confirmed payload, if the store has one.
    Duplicate {
        fingerprint: u32,
    },
    InFlight,
    /// The store gave no answer.
    Unchecked,
}

/// The shared store. Clones share it.
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
    /// Without the URL, because it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("gateway", &self.store.protocol.gateway).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Starts connecting, and sending confirmations, in the background. Needs a runtime.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub fn start(config: FleetConfig, metrics: Arc<Metrics>) -> Result<Self, FleetError> {
        // For `rediss://`. The redis crate uses the process's default provider; if one is set already, it is this one.
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
            // Random, because a gateway that was killed must not use the same numbers again.
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

    /// Waits until the first connection attempt has succeeded or failed: about a second at most.
    pub async fn when_tried(&self) {
        self.store.link.when_tried().await;
    }

    /// Why the store is not used at the moment, if it fails.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.store.link.failing()
    }

    /// Confirms identities that were durable before the start. Waits for room in the backlog, so memory stays bounded for any
    /// number of identities. Returns false if the gateway is stopping.
    pub async fn reconfirm(&self, identities: Vec<Identity>) -> bool {
        let is_open = self.store.backlog.when_roomy().await;
        if is_open {
            self.store.confirm(identities);
        }
        is_open
    }

    /// Sends the backlog, for at most `wait` and not to a store that fails, and ends. After that, claims are unchecked.
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

    /// Claims `ids`: one verdict for each, in order, before the deadline. A large batch is sent in portions, so that other
    /// requests do not wait for all of it.
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

    /// Sends claims. Returns no answers if they did not come in time. An unclear answer fails the connection.
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

    /// Sends the backlog to the store; runs until the backlog is closed.
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

    /// Whether the store took all of the portion. The store may take some of it twice.
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
