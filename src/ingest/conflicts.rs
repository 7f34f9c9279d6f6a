//! Conflicting duplicates: events that are refused as duplicates of one with another payload.
//!
//! A client's retry has the payload of its first try. One that differs says that two events got the same `event_uuid`, or
//! that one was changed: the answer is `duplicate` all the same, but the payload is nowhere in the lake. So it is counted by
//! source, and kept as a dead letter, once: who sends it a hundred times makes one letter. Which ones are kept is in memory
//! only: after a restart, or beyond [`CONFLICTS_REMEMBERED_MAX`] others, it makes one more.
//!
//! The letter is durable before the answer, as that of a rejected event is; where it cannot be kept the answer is `retry`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::{
    bounded_map::BoundedMap,
    dead_letters::DeadLetterError,
    dedup::{Claim, Identity},
    limits::CONFLICTS_REMEMBERED_MAX,
    outcome::RetryCause,
};

/// The conflicting duplicates whose letters are kept, or being written: identity and fingerprint. The oldest are forgotten.
#[derive(Debug)]
pub struct Conflicts(Mutex<BoundedMap<(Uuid, u32), ()>>);

impl Default for Conflicts {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(CONFLICTS_REMEMBERED_MAX)))
    }
}

impl Conflicts {
    /// Whether it has no letter yet; it has one from now on.
    pub(super) fn is_new(&self, identity: Identity) -> bool {
        self.kept().insert((identity.id, identity.fingerprint), ()).is_none()
    }

    /// Its letter could not be written.
    pub(super) fn forget(&self, identity: Identity) {
        self.kept().remove(&(identity.id, identity.fingerprint));
    }

    fn kept(&self) -> MutexGuard<'_, BoundedMap<(Uuid, u32), ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duplicate with another payload than the event that it is one of.
pub(super) struct Conflict {
    /// Its place in the body.
    pub(super) index: usize,
    /// Its record, as long as it is not known whether it has a letter.
    pub(super) record: Vec<u8>,
}

/// The conflicts of a body.
pub(super) struct FoundConflicts<'a> {
    claims: &'a [Claim],
    pub(super) identities: &'a [Identity],
    pub(super) conflicts: Vec<Conflict>,
}

impl<'a> FoundConflicts<'a> {
    /// None yet, among events with these identities that these claims were made for.
    pub(super) fn none(claims: &'a [Claim], identities: &'a [Identity]) -> Self {
        Self { claims, identities, conflicts: Vec::new() }
    }

    /// Takes the record of the event at `index`, if it conflicts.
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

/// What is told of an event whose letter could not be kept: its sender still has it, and keeps it.
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
