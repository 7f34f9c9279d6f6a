//! Conflicting duplicates: events that are refused as duplicates of an event with another payload.
//!
//! A retry of a client has the payload of the first attempt. A different payload means that two events have the same
//! `event_uuid`, or that an event was changed. The answer is still `duplicate`, but the payload is not in the lake. So the
//! conflict is counted by source, and its payload becomes one dead letter, even if it is sent a hundred times. The known
//! conflicts are in memory only: after a restart, or beyond [`CONFLICTS_REMEMBERED_MAX`] others, it makes another dead letter.
//!
//! Like that of a rejected event, the dead letter is durable before the answer; if it cannot be stored, the answer is `retry`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::{
    bounded_map::BoundedMap,
    dead_letters::DeadLetterError,
    dedup::{Claim, Identity},
    limits::CONFLICTS_REMEMBERED_MAX,
    outcome::RetryCause,
};

/// Conflicting duplicates with a stored or pending dead letter: identity and fingerprint. The oldest are forgotten.
#[derive(Debug)]
pub struct Conflicts(Mutex<BoundedMap<(Uuid, u32), ()>>);

impl Default for Conflicts {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(CONFLICTS_REMEMBERED_MAX)))
    }
}

impl Conflicts {
    /// Whether the conflict has no dead letter yet. Marks it as having one.
    pub(super) fn is_new(&self, identity: Identity) -> bool {
        self.kept().insert((identity.id, identity.fingerprint), ()).is_none()
    }

    /// Forgets a conflict whose dead letter could not be written.
    pub(super) fn forget(&self, identity: Identity) {
        self.kept().remove(&(identity.id, identity.fingerprint));
    }

    fn kept(&self) -> MutexGuard<'_, BoundedMap<(Uuid, u32), ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duplicate whose payload differs from that of the original event.
pub(super) struct Conflict {
    /// The index of the event in the body.
    pub(super) index: usize,
    /// The record of the event, until it is known whether it has a dead letter.
    pub(super) record: Vec<u8>,
}

/// The conflicts in a body.
pub(super) struct FoundConflicts<'a> {
    claims: &'a [Claim],
    pub(super) identities: &'a [Identity],
    pub(super) conflicts: Vec<Conflict>,
}

impl<'a> FoundConflicts<'a> {
    /// No conflicts yet, for events with these identities and claims.
    pub(super) fn none(claims: &'a [Claim], identities: &'a [Identity]) -> Self {
        Self { claims, identities, conflicts: Vec::new() }
    }

    /// Keeps the record of the event at `index` if the event conflicts.
    pub(super) fn look_at(&mut self, index: usize, record: &[u8]) {
        let conflicts = match self.claims.get(index) {
            Some(Claim::Duplicate { differs }) => *differs,
            Some(Claim::TwinOf(first)) => self.identities[*first].differs_from(self.identities[index]),
            _ => false,
        };
        if conflicts {
            self.conflicts.push(Conflict { index, record: record.to_vec() });
        }
    }
}

/// The retry cause for an event whose dead letter could not be stored: its sender must keep the event.
pub(super) fn unkept(error: DeadLetterError) -> RetryCause {
    match error {
        DeadLetterError::Full => RetryCause::DeadLettersFull,
        DeadLetterError::Busy => RetryCause::Busy,
        DeadLetterError::Unavailable => RetryCause::StorageUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conflict_is_new_once_and_the_oldest_are_forgotten() {
        let conflicts = Conflicts::default();
        let conflict = |number: u32| Identity { id: Uuid::from_u128(1), fingerprint: number };
        assert!(conflicts.is_new(conflict(1)) && !conflicts.is_new(conflict(1)));
        assert!(conflicts.is_new(Identity { id: Uuid::from_u128(2), ..conflict(1) }));
        conflicts.forget(conflict(1));
        assert!(conflicts.is_new(conflict(1)));
        for number in 2..2 + CONFLICTS_REMEMBERED_MAX as u32 {
            assert!(conflicts.is_new(conflict(number)));
        }
        assert!(conflicts.is_new(conflict(1)));
    }
}
