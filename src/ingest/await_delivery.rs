//! `durability=delivered`: waits until every sink that may not drop events has the events of a request, and reports how each
//! event ended.
//!
//! The answer for an event depends on its ending ([`Ending`]):
//!
//! | event | answer |
//! |---|---|
//! | delivered | the same as without waiting: `accepted` or `duplicate` |
//! | refused by the sink, so it is in the dead letters | `rejected`, `refused_by_sink`; also for a duplicate of that event |
//! | lost by a damaged disk | `retry`, `lost`; the next event with this identity is accepted as new |
//! | refused, and its dead letter must be delivered (`http.durability = "delivered"`) and is not | as if not settled in time |
//! | not settled in time | `retry`, `not_delivered_in_time`; it will be delivered |
//!
//! If the client retries the last kind, the retry is a duplicate and waits again for the delivery. A duplicate waits only for
//! its own event, and does not hurry other events. Its place is known from `delivery_waiters.rs`, or from the dedup window
//! ([`Place`]). Where the window knows only an upper bound of it, as of events that an older release sealed, the request does not
//! wait, and the answer is `not_delivered_in_time` unless everything up to that bound is settled.

use std::ops::Range;

use tokio::time::Instant;
use uuid::Uuid;

use super::{components::Ingest, stored::Stored};
use crate::{
    dedup::Place,
    outcome::{Outcome, RejectCode, Rejection, RetryCause},
    progress::Ending,
};

impl Ingest {
    /// Waits until the events that this request stored are settled, and also the originals of its duplicates if their places
    /// are known. Then sets the outcome of each event by its ending.
    pub(super) async fn await_delivery(&self, uuids: &[Uuid], stored: &mut Stored, until: Instant) {
        let places = self.places(uuids, stored);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for place in &places {
            let Some(Place::At(place)) = *place else { continue };
            match ranges.last_mut() {
                Some(last) if last.end == place => last.end += 1,
                _ => ranges.push(place..place + 1),
            }
        }
        if !ranges.is_empty() {
            self.progress.await_settled(&ranges, until.saturating_duration_since(Instant::now())).await;
        }
        let settled_exclusive = self.progress.awaited_settled_exclusive();
        for ((uuid, outcome), place) in uuids.iter().zip(&mut stored.outcomes).zip(places) {
            let ending = match place {
                None => continue,
                Some(Place::At(place)) => self.progress.ending(place),
                Some(Place::Before(end)) => {
                    let is_settled = end <= settled_exclusive;
                    self.progress.refusal(*uuid).map(Ending::Refused).or(is_settled.then_some(Ending::Delivered))
                }
            };
            let place = match place {
                Some(Place::At(place)) => Some(place),
                _ => None,
            };
            let ending = self.with_its_letter(*uuid, ending, outcome, until).await;
            self.tell(*uuid, place, ending, outcome);
        }
    }

    /// The ending, or `None` if the event may be a dead letter that answers wait for, and that is not delivered until `until`.
    async fn with_its_letter(&self, uuid: Uuid, ending: Option<Ending>, outcome: &Outcome, until: Instant) -> Option<Ending> {
        let is_kept = match &ending {
            Some(Ending::Refused(_)) => self.dead_letters.is_refused_one_kept(uuid, until).await,
            // What was refused before the start is no longer known as such.
            Some(Ending::Delivered) if *outcome == Outcome::Duplicate => self.dead_letters.are_old_ones_kept(),
            _ => true,
        };
        ending.filter(|_| is_kept)
    }

    /// The places of the events to wait for, those of the originals of duplicates included; `None` for the other events.
    fn places(&self, uuids: &[Uuid], stored: &Stored) -> Vec<Option<Place>> {
        let mut sought = Vec::new();
        let mut places = Vec::with_capacity(uuids.len());
        for (index, ((uuid, outcome), place)) in uuids.iter().zip(&stored.outcomes).zip(&stored.places).enumerate() {
            let is_asked = matches!(outcome, Outcome::Accepted | Outcome::Duplicate);
            let place = place.or_else(|| self.delivery_waiters.place(uuid)).filter(|_| is_asked);
            sought.extend((is_asked && place.is_none()).then_some(index));
            places.push(place.map(Place::At));
        }
        let originals: Vec<Uuid> = sought.iter().map(|index| uuids[*index]).collect();
        for (index, place) in sought.into_iter().zip(self.dedup.places(&originals)) {
            places[index] = Some(place);
        }
        places
    }

    fn tell(&self, uuid: Uuid, place: Option<u64>, ending: Option<Ending>, outcome: &mut Outcome) {
        match ending {
            Some(Ending::Delivered) => {}
            Some(Ending::Refused(reason)) => {
                *outcome = Outcome::Rejected(Box::new(Rejection::new(RejectCode::RefusedBySink, &*reason, "")));
            }
            Some(Ending::Lost) => {
                self.progress.lose(uuid);
                *outcome = Outcome::Retry(RetryCause::Lost);
            }
            None => {
                place.inspect(|place| self.delivery_waiters.remember(uuid, *place));
                *outcome = Outcome::Retry(RetryCause::NotDeliveredInTime);
            }
        }
    }

    /// Whether the event with this identity, which the dedup window knows, was lost by the disk, as far as is known. Only one
    /// caller gets `true`, and stores the event again.
    pub(super) fn take_lost(&self, uuid: Uuid) -> bool {
        let was_waited_for =
            || self.delivery_waiters.place(&uuid).is_some_and(|place| self.progress.ending(place) == Some(Ending::Lost));
        self.progress.take_lost(uuid) || (was_waited_for() && self.delivery_waiters.take_place(&uuid).is_some())
    }
}
