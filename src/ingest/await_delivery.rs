//! `durability=delivered`: waits until the sink has had the events of a request, and says how each event ended.
//!
//! Each event is answered by how it ended ([`Ending`]):
//!
//! | it | answer |
//! |---|---|
//! | was delivered | as it would be without waiting: `accepted` or `duplicate` |
//! | was refused by the sink, so it is in the dead letters | `rejected`, `refused_by_sink`; also where it is a duplicate of that one |
//! | was lost to a damaged disk | `retry`, `lost`; the next one with this identity is accepted anew |
//! | has not ended in time | `retry`, `not_delivered_in_time`; it will be delivered |
//!
//! The client's retry of the last is a duplicate, and it asks again whether the event is delivered. A duplicate waits for its
//! own event alone, and hurries nothing else: `delivery_waiters.rs` remembers its place, or the dedup window knows it ([`Place`]), which is
//! so for the newest some 250,000 events. Of an older one it is only known before which place it lies: then nobody waits, and
//! the answer is `not_delivered_in_time` unless all up to there is settled.

use std::ops::Range;

use uuid::Uuid;

use super::{components::Ingest, stored::Stored};
use crate::{
    dedup::Place,
    outcome::{Outcome, RejectCode, Rejection, RetryCause},
    progress::Ending,
};

impl Ingest {
    /// Waits until what this request stored is settled, and what of it were duplicates, as far as their places are known. Then
    /// says of each how it ended.
    pub(super) async fn await_delivery(&self, uuids: &[Uuid], stored: &mut Stored) {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut places = Vec::with_capacity(uuids.len());
        for ((uuid, outcome), place) in uuids.iter().zip(&stored.outcomes).zip(&stored.places) {
            let is_asked = matches!(outcome, Outcome::Accepted | Outcome::Duplicate);
            let place = is_asked.then(|| place.map_or_else(|| self.place(*uuid), Place::At));
            places.push(place);
            let Some(Place::At(place)) = place else { continue };
            match ranges.last_mut() {
                Some(last) if last.end == place => last.end += 1,
                _ => ranges.push(place..place + 1),
            }
        }
        if !ranges.is_empty() {
            self.progress.await_settled(&ranges, self.delivered_wait).await;
        }
        let settled_exclusive = self.progress.settled_exclusive();
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
            self.tell(*uuid, place, ending, outcome);
        }
    }

    /// Where the event lies that this one is a duplicate of.
    fn place(&self, uuid: Uuid) -> Place {
        self.delivery_waiters.place(&uuid).map_or_else(|| self.dedup.place(uuid), Place::At)
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

    /// Whether the event with this identity, which the dedup window knows, was lost by the disk, as far as anybody knows. Only
    /// one caller is told so, and stores it again.
    pub(super) fn take_lost(&self, uuid: Uuid) -> bool {
        let was_waited_for =
            || self.delivery_waiters.place(&uuid).is_some_and(|place| self.progress.ending(place) == Some(Ending::Lost));
        self.progress.take_lost(uuid) || (was_waited_for() && self.delivery_waiters.take_place(&uuid).is_some())
    }
}
