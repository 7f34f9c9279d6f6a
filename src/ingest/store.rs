//! The durable half of the recipe: claim, append, confirm.

use std::time::Instant;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::Ingest;
use crate::{
    dedup::{Claim, Claimed},
    event::Record,
    outcome::{Outcome, RetryCause},
    spool::{AppendError, FrameBuffer},
};

/// What became of a body's valid events: one of each per event, in order.
pub(super) struct Stored {
    pub(super) outcomes: Vec<Outcome>,
    /// Their numbers in the spool; `None` for what this body did not store.
    pub(super) places: Vec<Option<u64>>,
}

impl Ingest {
    /// Stores the valid events of a body: their frames, and their identities in the same order.
    pub(super) async fn store(&self, mut frames: FrameBuffer, uuids: &[Uuid], now_millis: i64) -> Stored {
        let nothing = |cause| Stored { outcomes: vec![Outcome::Retry(cause); uuids.len()], places: vec![None; uuids.len()] };
        if uuids.is_empty() {
            return nothing(RetryCause::StorageUnavailable);
        }
        let started = Instant::now();
        let claims = self.dedup.claim(uuids, now_millis).await;
        self.metrics.dedup_claim_seconds.observe(started.elapsed().as_secs_f64());
        let Ok(claims) = claims else {
            return nothing(RetryCause::DedupFull);
        };
        let claimed = claims.outcomes().to_vec();
        frames.retain(|index, record| {
            if claims.is_unchecked(index) {
                Record::set_dedup_unchecked(record);
            }
            claimed.get(index) == Some(&Claim::Fresh)
        });
        // Where nothing is fresh, no claim looks at where the append began.
        let appended = if claims.fresh_len() == 0 { Ok(0) } else { self.append(frames, claims).await };
        let places = appended.map_or_else(|_| vec![None; uuids.len()], |first_seq| places(&claimed, first_seq));
        Stored { outcomes: outcomes(&claimed, appended.map(|_| ())), places }
    }

    /// Makes the frames durable. The claims are confirmed on the spool's own thread, in its order, whether or not anyone
    /// still waits for the answer: an event that is stored is never released to be stored again (promise P4). Says the
    /// number of the first frame.
    async fn append(&self, frames: FrameBuffer, claims: Claimed) -> Result<u64, RetryCause> {
        let (done, appended) = oneshot::channel();
        let (metrics, progress) = (self.metrics.clone(), self.progress.clone());
        let started = Instant::now();
        self.spool.append(frames, move |result| {
            let result = match result {
                Ok(appended) => {
                    metrics.spool_appended_events.inc_by(appended.end_seq_exclusive - appended.first_seq);
                    claims.confirm(appended.first_seq);
                    progress.confirm(appended.end_seq_exclusive);
                    Ok(appended.first_seq)
                }
                Err(error) => {
                    drop(claims);
                    Err(retry_cause(error))
                }
            };
            let _ = done.send(result);
        });
        let result = appended.await.unwrap_or(Err(RetryCause::StorageUnavailable));
        self.metrics.spool_append_seconds.observe(started.elapsed().as_secs_f64());
        result
    }
}

fn retry_cause(error: AppendError) -> RetryCause {
    match error {
        AppendError::Busy => RetryCause::Busy,
        AppendError::QuotaFull => RetryCause::QuotaFull,
        _ => RetryCause::StorageUnavailable,
    }
}

/// One outcome per claim: what is fresh shares the fate of the append, a twin that of the first of its kind.
fn outcomes(claims: &[Claim], appended: Result<(), RetryCause>) -> Vec<Outcome> {
    let fresh = match appended {
        Ok(()) => Outcome::Accepted,
        Err(cause) => Outcome::Retry(cause),
    };
    let twin = match appended {
        Ok(()) => Outcome::Duplicate,
        Err(cause) => Outcome::Retry(cause),
    };
    let outcome = |claim: &Claim| match claim {
        Claim::Fresh => fresh.clone(),
        Claim::TwinOf(_) => twin.clone(),
        Claim::Duplicate => Outcome::Duplicate,
        Claim::InFlight => Outcome::Retry(RetryCause::InFlight),
    };
    claims.iter().map(outcome).collect()
}

/// The numbers of the events: the fresh ones follow each other, and a twin has that of the first of its kind.
fn places(claims: &[Claim], first_seq: u64) -> Vec<Option<u64>> {
    let mut next = first_seq;
    let mut places = Vec::with_capacity(claims.len());
    for claim in claims {
        places.push(match claim {
            Claim::Fresh => {
                next += 1;
                Some(next - 1)
            }
            Claim::TwinOf(first) => places[*first],
            Claim::Duplicate | Claim::InFlight => None,
        });
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_shares_the_fate_of_the_first_and_a_duplicate_does_not() {
        let claims = [Claim::Fresh, Claim::TwinOf(0), Claim::Duplicate, Claim::InFlight];
        let in_flight = Outcome::Retry(RetryCause::InFlight);
        assert_eq!(outcomes(&claims, Ok(())), [Outcome::Accepted, Outcome::Duplicate, Outcome::Duplicate, in_flight.clone()]);
        assert_eq!(places(&claims, 7), [Some(7), Some(7), None, None]);
        let full = Outcome::Retry(RetryCause::QuotaFull);
        assert_eq!(outcomes(&claims, Err(RetryCause::QuotaFull)), [full.clone(), full, Outcome::Duplicate, in_flight]);
    }
}
