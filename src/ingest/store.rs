//! The durable half of the pipeline: claim, append, confirm.

use std::{ops::Range, sync::Arc, time::Instant};

use smallvec::SmallVec;
use tokio::{runtime::Handle, sync::oneshot};
use uuid::Uuid;

use super::{
    accounting::Collector,
    components::Ingest,
    conflicts::FoundConflicts,
    stored::{Stored, Waiting},
};
use crate::{
    auth::Source,
    config::Durability,
    dedup::{Claim, Claimed, Identity, StoreClaims},
    event::Record,
    key_shares::{Reserved, Resource, ShareUsedUp},
    ledger::AcceptedEvents,
    limits::FLEET_CLAIM_TTL,
    outcome::{Outcome, PerEvent, RetryCause},
    progress::{Ending, Progress},
    spool::{AppendError, FrameBuffer},
};

impl Ingest {
    /// Stores the valid events of a body, given their frames and, in the same order, their identities. Of a request that is
    /// `waiting`, conflicting events become dead letters, and new events count against the share of its sender.
    pub(super) async fn store(&self, mut frames: FrameBuffer, ids: &[Identity], waiting: Option<Waiting<'_>>) -> Stored {
        if ids.is_empty() {
            return Stored { outcomes: PerEvent::new(), places: PerEvent::new() };
        }
        let started = waiting.map_or_else(Instant::now, |waiting| waiting.validated_at);
        let now_millis = self.dedup.clock().millis_at(started);
        let claims = self.dedup.claim(ids, now_millis).await;
        let claimed_at = Instant::now();
        self.metrics.dedup_claim_seconds.observe(claimed_at.duration_since(started).as_secs_f64());
        let Ok(mut claims) = claims else {
            return Stored { outcomes: all(Outcome::Retry(RetryCause::DedupFull), ids), places: all(None, ids) };
        };
        let mut claimed = claims.take_outcomes();
        let revived = self.revive(ids, &mut claimed);
        let mut conflicts = FoundConflicts::none(&claimed, ids);
        let accepted = {
            let mut collector = Collector::new(&self.ledger, waiting);
            frames.retain(|index, record| {
                conflicts.look_at(index, record);
                if claims.is_unchecked(index) {
                    Record::set_dedup_unchecked(record);
                }
                let is_fresh = claimed.get(index) == Some(&Claim::Fresh);
                collector.look_at(record, is_fresh);
                is_fresh
            });
            collector.accepted
        };
        // If nothing is fresh, no claim needs the position of the append.
        let is_nothing_fresh = claims.fresh_len() == 0 && revived.is_empty();
        // Revived events are among the fresh ones, but have no claim of their own.
        let among = (!revived.is_empty()).then(|| claimed.clone());
        let appended = match is_nothing_fresh {
            true => Ok(0),
            false => match self.reserve(&frames, waiting.map(|waiting| &waiting.submission.sender), now_millis) {
                Ok(reserved) => {
                    let reserved = reserved.map(|reserved| (reserved, now_millis));
                    self.append(frames, claims, accepted, among, claimed_at, reserved).await
                }
                // Dropping the claims releases them.
                Err(cause) => Err(cause),
            },
        };
        let places = appended.map_or_else(|_| all(None, ids), |first_seq| places(&claimed, first_seq));
        for (index, uuid) in revived {
            match places[index] {
                None => self.progress.lose(uuid),
                Some(place) => {
                    self.dedup.stored_again(ids[index], place);
                    // The window may have no room to learn it.
                    self.delivery_waiters.remember(uuid, place);
                }
            }
        }
        let mut stored = Stored { outcomes: outcomes(&claimed, appended.map(|_| ())), places };
        if let Some(waiting) = waiting {
            self.keep_conflicts(conflicts, waiting, &mut stored).await;
        }
        stored
    }

    /// Reserves the room for the frames in the share of the sender, if there is a sender.
    fn reserve(
        &self,
        frames: &FrameBuffer,
        sender: Option<&Arc<Source>>,
        now_millis: i64,
    ) -> Result<Option<Reserved>, RetryCause> {
        let Some(sender) = sender else { return Ok(None) };
        let released = || (self.progress.settled_exclusive(), now_millis);
        match sender.share(&self.shares).reserve(frames.size() as u64, frames.frames(), released) {
            Ok(reserved) => Ok(Some(reserved)),
            Err(ShareUsedUp(Resource::Spool)) => Err(RetryCause::KeySpoolShareFull),
            Err(ShareUsedUp(Resource::Dedup)) => Err(RetryCause::KeyDedupShareFull),
        }
    }

    /// Stores records that were stored before in another spool. Events that the window knows are duplicates.
    pub async fn store_again(&self, frames: FrameBuffer, ids: &[Identity]) -> PerEvent<Outcome> {
        self.store(frames, ids, None).await.outcomes
    }

    /// Stores events that the dedup window knows but the disk lost as if they were fresh. They need no claim, because the
    /// window knows them, and only one request learns that they were lost. Returns their indices and identities.
    fn revive(&self, ids: &[Identity], claimed: &mut [Claim]) -> Vec<(usize, Uuid)> {
        let known = ids.iter().zip(claimed).enumerate().filter(|(_, (_, claim))| matches!(claim, Claim::Duplicate { .. }));
        let lost = known.filter(|(_, (identity, _))| self.take_lost(identity.id));
        lost.map(|(index, (identity, claim))| {
            *claim = Claim::Fresh;
            (index, identity.id)
        })
        .collect()
    }

    /// Makes the frames durable. The spool's own thread confirms the claims, in spool order, even if the request no longer
    /// waits for the answer, so that a stored event is never released to be stored again (promise P4). Returns the number of
    /// the first frame. `among` gives the claim of each event, if some frames have no claim in `claims`; `started` is the start
    /// time for the metric; `reserved` is the reserved part of the sender's share, and the time of the window.
    async fn append(
        &self,
        frames: FrameBuffer,
        claims: Claimed,
        accepted: AcceptedEvents,
        among: Option<PerEvent<Claim>>,
        started: Instant,
        reserved: Option<(Reserved, i64)>,
    ) -> Result<u64, RetryCause> {
        let (done, appended) = oneshot::channel();
        let (metrics, progress, ledger) = (self.metrics.clone(), self.progress.clone(), self.ledger.clone());
        // A disk that is lost takes spooled events with it, so other gateways may know only of delivered ones.
        let awaiting = (self.durability() == Durability::Delivered).then(Handle::current);
        self.spool.append(frames, move |result| {
            let result = match result {
                Ok(appended) => {
                    metrics.spool_appended_events.inc_by(appended.end_seq_exclusive - appended.first_seq);
                    let seqs = appended.first_seq..appended.end_seq_exclusive;
                    let in_store = match among.map(|among| places(&among, seqs.start)) {
                        None => claims.confirm_here(seqs.start),
                        Some(places) => claims.confirm_each_here(|index| places[index].unwrap_or(seqs.start)),
                    };
                    ledger.accepted(seqs.start, &accepted);
                    progress.confirm(seqs.end);
                    match (in_store, awaiting) {
                        (Some(in_store), None) => in_store.confirm(),
                        (Some(in_store), Some(runtime)) => {
                            runtime.spawn(confirm_when_delivered(progress, seqs.clone(), in_store));
                        }
                        (None, _) => {}
                    }
                    if let Some((reserved, now_millis)) = reserved {
                        reserved.store(seqs, now_millis);
                    }
                    Ok(appended.first_seq)
                }
                Err(error) => {
                    match error {
                        // The frames may still be found at the next start, which then confirms them.
                        AppendError::Failed => claims.leave_to_expire(),
                        _ => drop(claims),
                    }
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

/// Confirms events in the store of the fleet once they are delivered. What takes longer than a claim lives expires there, and may
/// be accepted by another gateway.
async fn confirm_when_delivered(progress: Arc<Progress>, seqs: Range<u64>, in_store: StoreClaims) {
    let is_settled = progress.await_settled(std::slice::from_ref(&seqs), FLEET_CLAIM_TTL).await;
    if is_settled && seqs.into_iter().all(|seq| progress.ending(seq) != Some(Ending::Lost)) {
        in_store.confirm();
    } else {
        in_store.leave_to_expire();
    }
}

fn retry_cause(error: AppendError) -> RetryCause {
    match error {
        AppendError::Busy => RetryCause::Busy,
        AppendError::QuotaFull => RetryCause::QuotaFull,
        _ => RetryCause::StorageUnavailable,
    }
}

/// The same for each of the events with these identities.
fn all<T: Clone>(each: T, ids: &[Identity]) -> PerEvent<T> {
    SmallVec::from_elem(each, ids.len())
}

/// One outcome per claim: a fresh event has the result of the append, a twin that of its first copy.
fn outcomes(claims: &[Claim], appended: Result<(), RetryCause>) -> PerEvent<Outcome> {
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
        Claim::Duplicate { .. } => Outcome::Duplicate,
        Claim::InFlight => Outcome::Retry(RetryCause::InFlight),
        Claim::Unreadable => Outcome::Retry(RetryCause::DedupUnavailable),
    };
    claims.iter().map(outcome).collect()
}

/// The numbers of the events: fresh ones are consecutive, and a twin has the number of its first copy.
fn places(claims: &[Claim], first_seq: u64) -> PerEvent<Option<u64>> {
    let mut next = first_seq;
    let mut places = PerEvent::with_capacity(claims.len());
    for claim in claims {
        places.push(match claim {
            Claim::Fresh => {
                next += 1;
                Some(next - 1)
            }
            Claim::TwinOf(first) => places[*first],
            Claim::Duplicate { .. } | Claim::InFlight | Claim::Unreadable => None,
        });
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_shares_the_fate_of_the_first_and_a_duplicate_does_not() {
        let claims = [Claim::Fresh, Claim::TwinOf(0), Claim::Duplicate { differs: true }, Claim::InFlight];
        let in_flight = Outcome::Retry(RetryCause::InFlight);
        assert_eq!(outcomes(&claims, Ok(()))[..], [Outcome::Accepted, Outcome::Duplicate, Outcome::Duplicate, in_flight.clone()]);
        assert_eq!(places(&claims, 7)[..], [Some(7), Some(7), None, None]);
        let full = Outcome::Retry(RetryCause::QuotaFull);
        assert_eq!(outcomes(&claims, Err(RetryCause::QuotaFull))[..], [full.clone(), full, Outcome::Duplicate, in_flight]);
    }
}
