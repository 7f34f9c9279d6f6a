//! The recipe: from a request's body to one outcome per event.
//!
//! ```text
//! judge    decode ─▶ validate ─▶ enrich        no I/O, no waiting: a pure function of the bytes and the registry
//! store    claim ─▶ append ─▶ confirm          durable before anything is answered (promise P1)
//! answer   outcomes in input order             one per event, by construction (promise P2)
//! ```

mod again;
mod awaited;
mod confirm_again;
mod judge;
mod store;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use uuid::Uuid;

use crate::{
    auth::Source,
    config::UnknownEvents,
    dead_letter::{DeadLetterError, DeadLetters},
    decode::{BodyError, BodyForm, Encoding, InflateError, inflate},
    dedup::Deduplicator,
    limits::BLOCKING_FROM_BYTES,
    outcome::{Counts, Outcome, RetryCause},
    progress::Progress,
    rate_limit::{Payers, RateExceeded},
    schema::Registry,
    spool::Spool,
    telemetry::Metrics,
};
pub use again::{Again, Opinion, Sender, opinion};
pub use awaited::Awaited;
pub use confirm_again::confirm_again;
use judge::{Judge, Judged, Verdict};
use store::Stored;

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
    /// From whose buckets its events are taken.
    pub payers: Payers,
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
    /// The durable queue.
    pub spool: Arc<Spool>,
    /// Where rejected events are kept.
    pub dead_letters: Arc<DeadLetters>,
    /// How far the spool is delivered.
    pub progress: Arc<Progress>,
    /// Where the events lie for which somebody waited in vain.
    pub awaited: Awaited,
    /// How long [`Durability::Delivered`] waits.
    pub delivered_wait: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Ingest {
    /// Takes a request's events: one [`Fate`] per event, in input order.
    ///
    /// Run it to its end: what it has begun to store it also counts, even when the client has gone.
    ///
    /// # Errors
    /// See [`SubmissionError`].
    pub async fn submit(&self, submission: Submission) -> Result<Vec<Fate>, SubmissionError> {
        let started = Instant::now();
        let judged = match submission.encoding {
            Encoding::Identity if submission.body.len() < BLOCKING_FROM_BYTES => self.judge(&submission),
            // JSON of events shrinks to about an eighth.
            _ if submission.body.len() < BLOCKING_FROM_BYTES / 8 => self.judge(&submission),
            _ => tokio::task::block_in_place(|| self.judge(&submission)),
        };
        self.metrics.judge_seconds.observe(started.elapsed().as_secs_f64());
        let judged = judged?;
        submission.payers.take_events(judged.verdicts.len())?;
        let fates = self.decide(judged, &submission).await;
        self.metrics.count_outcomes(&submission.source, fates.iter().map(|fate| &fate.outcome));
        Ok(fates)
    }

    fn judge(&self, submission: &Submission) -> Result<Judged, SubmissionError> {
        let body = inflate(submission.encoding, &submission.body)?;
        let judge = Judge {
            registry: &self.registry.load(),
            unknown_events: self.unknown_events,
            source: &submission.source,
            client_address: submission.client_address.as_deref(),
            sent_events: &submission.sender.events,
            received_millis: submission.received_millis,
            replayed: false,
            metrics: &self.metrics,
        };
        Ok(judge.body(&body, submission.form)?)
    }

    async fn decide(&self, mut judged: Judged, submission: &Submission) -> Vec<Fate> {
        let letters = judged.take_letters(&submission.source).map(|lines| self.dead_letters.append(lines));
        let uuids = judged.uuids();
        let frames = std::mem::take(&mut judged.frames);
        let mut stored = self.store(frames, &uuids, submission.received_millis).await;
        if submission.durability == Durability::Delivered {
            self.await_delivery(&uuids, &mut stored).await;
        }
        let kept = match letters {
            None => Ok(()),
            Some(kept) => kept.await.unwrap_or(Err(DeadLetterError::Unavailable)),
        };
        let mut stored = stored.outcomes.into_iter();
        let mut fates = Vec::with_capacity(judged.verdicts.len());
        for verdict in judged.verdicts {
            fates.push(match verdict {
                Verdict::Valid { event_uuid } => {
                    let outcome = stored.next().unwrap_or(Outcome::Retry(RetryCause::StorageUnavailable));
                    Fate { event_uuid: (outcome != Outcome::Accepted).then(|| event_uuid.to_string()), outcome }
                }
                Verdict::Rejected { event_uuid, rejection } => Fate {
                    event_uuid,
                    // What could not be kept is not rejected yet: its sender still has it, and keeps it.
                    outcome: match kept {
                        Ok(()) => Outcome::Rejected(rejection),
                        Err(DeadLetterError::Full) => Outcome::Retry(RetryCause::DeadLettersFull),
                        Err(DeadLetterError::Busy) => Outcome::Retry(RetryCause::Busy),
                        Err(DeadLetterError::Unavailable) => Outcome::Retry(RetryCause::StorageUnavailable),
                    },
                },
            });
        }
        fates
    }

    /// Waits until the sink has what this request stored, and what of it were duplicates: those alone where their places
    /// are known, else everything that is spooled now.
    async fn await_delivery(&self, uuids: &[Uuid], stored: &mut Stored) {
        let counts = Counts::of(stored.outcomes.iter());
        if counts.accepted + counts.duplicates == 0 {
            return;
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for ((uuid, outcome), place) in uuids.iter().zip(&stored.outcomes).zip(&mut stored.places) {
            if matches!(outcome, Outcome::Accepted | Outcome::Duplicate) {
                *place = place.or_else(|| self.awaited.place(uuid));
                match (*place, ranges.last_mut()) {
                    (None, _) => ranges.push(0..self.spool.durable_end()),
                    (Some(place), Some(last)) if last.end == place => last.end += 1,
                    (Some(place), _) => ranges.push(place..place + 1),
                }
            }
        }
        if self.progress.await_delivered(&ranges, self.delivered_wait).await {
            return;
        }
        for ((uuid, outcome), place) in uuids.iter().zip(&mut stored.outcomes).zip(&stored.places) {
            if matches!(outcome, Outcome::Accepted | Outcome::Duplicate) {
                *outcome = Outcome::Retry(RetryCause::NotDeliveredInTime);
                if let Some(place) = place {
                    self.awaited.remember(*uuid, *place);
                }
            }
        }
    }
}
