//! Conflicting duplicates: events that are refused as duplicates of an event with another payload.
//!
//! A retry of a client has the payload of the first attempt. A different payload means that two events have the same
//! `event_uuid`, or that an event was changed. The answer is still `duplicate`, but the payload is not in the lake. So the
//! conflict is counted by source, and its payload becomes one dead letter, even if it is sent a hundred times a day.
//!
//! Like that of a rejected event, the dead letter is durable before the answer; if it cannot be stored, the answer is `retry`.

use crate::{
    dead_letters::DeadLetterError,
    dedup::{Claim, Identity},
    outcome::RetryCause,
};

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
    identities: &'a [Identity],
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
        DeadLetterError::Unsettled => RetryCause::InFlight,
        DeadLetterError::Unavailable => RetryCause::StorageUnavailable,
        DeadLetterError::NotDelivered => RetryCause::NotDeliveredInTime,
        DeadLetterError::StreamAway => RetryCause::SinkUnavailable,
    }
}
