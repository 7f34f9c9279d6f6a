//! Stores the dead letters of conflicting duplicates: see `conflicts.rs`.

use std::sync::Arc;

use super::{
    components::Ingest,
    conflicts::{FoundConflicts, unkept},
    stored::Stored,
};
use crate::{
    dead_letters::{DeadLetterError, Letter, LetterLines},
    event::Record,
    outcome::{Outcome, RejectCode, Rejection},
};

impl Ingest {
    /// Counts the conflicts among the stored events, and stores dead letters for those that have none.
    pub(super) async fn keep_conflicts(&self, found: FoundConflicts<'_>, source: &Arc<str>, stored: &mut Stored) {
        let FoundConflicts { mut conflicts, identities, .. } = found;
        // A twin of an event that could not be stored is not a conflict, because both must be sent again.
        conflicts.retain(|conflict| stored.outcomes[conflict.index] == Outcome::Duplicate);
        if conflicts.is_empty() {
            return;
        }
        self.metrics.count_conflicts(source, conflicts.len());
        conflicts.retain(|conflict| self.conflicts.is_new(identities[conflict.index]));
        let mut letters = LetterLines::default();
        for conflict in &mut conflicts {
            write(std::mem::take(&mut conflict.record), &mut letters);
        }
        // Pass 0 received bytes, because a small compressed body can cause dead letters of this size.
        let Some(lines) = letters.finish(source, 0) else { return };
        let kept = self.dead_letters.append(lines).await.unwrap_or(Err(DeadLetterError::Unavailable));
        let Err(error) = kept else { return };
        for conflict in conflicts {
            self.conflicts.forget(identities[conflict.index]);
            stored.outcomes[conflict.index] = Outcome::Retry(unkept(error));
        }
    }
}

fn write(record: Vec<u8>, letters: &mut LetterLines) {
    let Ok(record) = Record::decode(record.into()) else { return };
    let envelope = record.envelope();
    let detail = "an event with this event_uuid and another payload was accepted before; this one is stored nowhere else";
    let letter = Letter {
        source: envelope.source,
        received_millis: envelope.received_millis,
        event_uuid: Some(&envelope.event_uuid.to_string()),
        event_name: Some(envelope.event_name.as_str()),
        rejection: &Rejection::new(RejectCode::ConflictingDuplicate, detail, "/event_uuid"),
        raw: record.payload(),
    };
    letters.add(&letter);
}
