//! The places of events in the spool that were not delivered while a request waited for them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::{bounded_map::BoundedMap, limits::AWAITED_EVENTS_MAX};

/// Remembers the places of these events. Beyond [`AWAITED_EVENTS_MAX`] the oldest are forgotten.
#[derive(Debug)]
pub struct DeliveryWaiters(Mutex<BoundedMap<Uuid, u64>>);

impl Default for DeliveryWaiters {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(AWAITED_EVENTS_MAX)))
    }
}

impl DeliveryWaiters {
    /// Remembers `place` for an event that was not delivered in time, or that was stored again, so that the dedup window may know
    /// only its earlier place.
    pub fn remember(&self, identity: Uuid, place: u64) {
        self.places().insert(identity, place);
    }

    /// Removes and returns the place of the event. Only the first caller gets it.
    pub(super) fn take_place(&self, identity: &Uuid) -> Option<u64> {
        self.places().remove(identity)
    }

    /// The place of the event.
    #[must_use]
    pub fn place(&self, identity: &Uuid) -> Option<u64> {
        self.places().get(identity).copied()
    }

    fn places(&self) -> MutexGuard<'_, BoundedMap<Uuid, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_nothing_else() {
        let waiters = DeliveryWaiters::default();
        let last = AWAITED_EVENTS_MAX as u64 + 1;
        for place in 0..=last {
            waiters.remember(Uuid::from_u128(place.into()), place);
        }
        assert_eq!([0, 1, 2, last].map(|n| waiters.place(&Uuid::from_u128(n.into()))), [None, None, Some(2), Some(last)]);
    }
}
