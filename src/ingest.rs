//! The recipe: from a request's body to one outcome per event.
//!
//! ```text
//! pay      inflate ─▶ count ─▶ bytes, events   before any of it is judged (promise P5)
//! judge    decode ─▶ validate ─▶ enrich        no I/O, no waiting: a pure function of the bytes and the registry
//! store    claim ─▶ append ─▶ confirm          durable before anything is answered (promise P1)
//! answer   outcomes in input order             one per event, by construction (promise P2)
//! ```

mod again;
mod awaited;
mod confirm_again;
mod conflicts;
mod judge;
mod recount;
mod store;
mod work;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use uuid::Uuid;

use crate::{
    auth::Source,
    body_budget::{BodyShare, BudgetUsedUp},
    config::UnknownEvents,
    dead_letters::{DeadLetterError, DeadLetters},
    decode::{BodyError, BodyForm, Encoding, InflateError},
    dedup::{Deduplicator, Scopes},
    outcome::{Outcome, RetryCause},
    progress::Progress,
    rate_limit::{Payers, RateExceeded},
    schema::Registry,
    shares::Shares,
    spool::Spool,
    telemetry::Metrics,
    work_pool::{NoTurn, WorkPool},
};
pub use again::{Again, Opinion, Refused, Sender, opinion};
pub use awaited::Awaited;
pub use confirm_again::confirm_again;
pub use conflicts::Conflicts;
use conflicts::unkept;
use judge::Verdict;
pub use recount::recount;
pub use work::Prepared;

/// When an event counts as taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on the gateway's disk.
    #[default]
    Disk,
    /// Once the sink confirmed it.
    Delivered,
}

/// A request that may send, and what it sent.
#[derive(Debug)]
pub struct Submission {
    /// The body as received.
    pub body: Bytes,
    /// How it is encoded: see [`Encoding::of_body`].
    pub encoding: Encoding,
    /// How it says where its events are.
    pub form: BodyForm,
    /// Name of the key.
    pub source: Arc<str>,
    /// The key, and what it may send.
    pub sender: Arc<Source>,
    /// From whose buckets its bytes and events are taken.
    pub payers: Payers,
    /// The memory that it holds.
    pub memory: BodyShare,
    /// Where it comes from, as far as that is kept.
    pub client_address: Option<String>,
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
    /// When its events count as taken.
    pub durability: Durability,
}

/// Why a request was refused as a whole: nothing of it was stored, and no event has an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// It does not inflate.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// Its events cannot be told apart.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its key, or its address, may send no more for now.
    #[error(transparent)]
    Rate(#[from] RateExceeded),
    /// There is no memory for what it is, or would become.
    #[error(transparent)]
    Memory(#[from] BudgetUsedUp),
    /// Too many large requests wait already.
    #[error(transparent)]
    Turn(#[from] NoTurn),
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    /// Its identity as the client wrote it, where it was readable. Not of what was plainly accepted: nobody asks.
    pub event_uuid: Option<String>,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The organs that the recipe uses.
pub struct Ingest {
    /// The schema registry; replaced as a whole.
    pub registry: ArcSwap<Registry>,
    /// What becomes of names that it does not know.
    pub unknown_events: UnknownEvents,
    /// The dedup window, and the store of the fleet where there is one.
    pub dedup: Deduplicator,
    /// The secret that scopes the identities of browser keys.
    pub scopes: Scopes,
    /// The durable queue.
    pub spool: Arc<Spool>,
    /// What each key holds of the spool and of the window.
    pub shares: Arc<Shares>,
    /// Where rejected events are kept.
    pub dead_letters: Arc<DeadLetters>,
    /// Which conflicting duplicates have a dead letter.
    pub conflicts: Conflicts,
    /// How far the spool is delivered.
    pub progress: Arc<Progress>,
    /// Where the events lie for which somebody waited in vain.
    pub awaited: Awaited,
    /// Where large bodies take turns.
    pub pool: Arc<WorkPool>,
    /// How long [`Durability::Delivered`] waits.
    pub delivered_wait: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Ingest {
    /// Stores a request's events: one [`Fate`] per event, in input order.
    ///
    /// Run it to its end: what it has begun to store it also counts, even when the client has gone.
    pub async fn finish(&self, prepared: Prepared) -> Vec<Fate> {
        let Prepared { mut judged, submission } = prepared;
        let submission = &submission;
        let letters = judged.take_letters(&submission.source, submission.body.len());
        let letters = letters.map(|lines| self.dead_letters.append(lines));
        let ids = judged.identities(&self.scopes.secret(), submission.sender.dedup_scope());
        let frames = std::mem::take(&mut judged.frames);
        let mut stored = self.store(frames, &ids, Some(&submission.sender)).await;
        if submission.durability == Durability::Delivered {
            let ids: Vec<Uuid> = ids.iter().map(|identity| identity.id).collect();
            Box::pin(self.await_delivery(&ids, &mut stored)).await;
        }
        let kept = match letters {
            None => Ok(()),
            Some(kept) => kept.await.unwrap_or(Err(DeadLetterError::Unavailable)),
        };
        let mut stored = stored.outcomes.into_iter();
        let mut fates = Vec::with_capacity(judged.verdicts.len());
        for verdict in judged.verdicts {
            fates.push(match verdict {
                Verdict::Valid { event_uuid, .. } => {
                    let outcome = stored.next().unwrap_or(Outcome::Retry(RetryCause::StorageUnavailable));
                    Fate { event_uuid: (outcome != Outcome::Accepted).then(|| event_uuid.to_string()), outcome }
                }
                Verdict::Rejected { event_uuid, rejection } => Fate {
                    event_uuid,
                    // What could not be kept is not rejected yet: its sender still has it, and keeps it.
                    outcome: match kept {
                        Ok(()) => Outcome::Rejected(rejection),
                        Err(error) => Outcome::Retry(unkept(error)),
                    },
                },
            });
        }
        self.metrics.count_outcomes(&submission.source, &submission.sender.accepted, fates.iter().map(|fate| &fate.outcome));
        fates
    }
}
