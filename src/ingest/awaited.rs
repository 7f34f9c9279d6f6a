//! Where the events lie for which somebody waited in vain.
//!
//! `Prefer: durability=delivered` may be answered `not_delivered_in_time`. The client's retry is then a duplicate, and it
//! asks again whether the event is delivered; with its place in the spool at hand it waits for that event alone, not for
//! everything that was spooled before it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::limits::AWAITED_EVENTS_MAX;

/// See the module. The oldest are forgotten beyond [`AWAITED_EVENTS_MAX`]; who asks for one then waits for everything.
#[derive(Debug, Default)]
pub struct Awaited(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    by_uuid: HashMap<Uuid, u64>,
    oldest_first: VecDeque<Uuid>,
}

impl Awaited {
    /// The event lies at `place`, and was not delivered in time.
    pub fn remember(&self, event_uuid: Uuid, place: u64) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.by_uuid.insert(event_uuid, place).is_none() {
            places.oldest_first.push_back(event_uuid);
        }
        if places.oldest_first.len() > AWAITED_EVENTS_MAX
            && let Some(oldest) = places.oldest_first.pop_front()
        {
            places.by_uuid.remove(&oldest);
        }
    }

    /// Where the event lies.
    #[must_use]
    pub fn place(&self, event_uuid: &Uuid) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_uuid.get(event_uuid).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_nothing_else() {
        let awaited = Awaited::default();
        let last = AWAITED_EVENTS_MAX as u64 + 1;
        for place in 0..=last {
            awaited.remember(Uuid::from_u128(place.into()), place);
        }
        assert_eq!([0, 1, 2, last].map(|n| awaited.place(&Uuid::from_u128(n.into()))), [None, None, Some(2), Some(last)]);
    }
}
