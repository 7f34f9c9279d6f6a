//! Stores the dead letters of conflicting duplicates: see `conflicts.rs`.

use std::sync::Arc;

use super::{
    components::Ingest,
    conflicts::{FoundConflicts, unkept},
    stored::{Stored, Waiting},
};
use crate::{
    dead_letters::{KnownLetters, Letter, RequestLetters},
    event::Record,
    outcome::{Outcome, RejectCode, Rejection},
};

impl Ingest {
    /// Counts the conflicts among the stored events, and stores dead letters for those that have none.
    pub(super) async fn keep_conflicts(&self, found: FoundConflicts<'_>, waiting: Waiting<'_>, stored: &mut Stored) {
        let Waiting { submission, until, .. } = waiting;
        let FoundConflicts { mut conflicts, .. } = found;
        // A twin of an event that could not be stored is not a conflict, because both must be sent again.
        conflicts.retain(|conflict| stored.outcomes[conflict.index] == Outcome::Duplicate);
        if conflicts.is_empty() {
            return;
        }
        self.metrics.count_conflicts(&submission.source, conflicts.len());
        let (mut letters, mut repeated) = (RequestLetters::default(), Vec::with_capacity(conflicts.len()));
        for conflict in &mut conflicts {
            repeated.push(self.add(std::mem::take(&mut conflict.record), &mut letters));
        }
        // Pass 0 received bytes, because a small compressed body can cause dead letters of this size.
        let (lines, repeats) = letters.finish(&submission.source, 0, submission.may_discard_letters());
        let kept = match lines {
            Some(lines) => self.letters_kept(self.begin_letters(lines), until).await,
            None => Ok(()),
        };
        let mut counted = self.count_repeats(repeats, submission.received_millis, until).await.into_iter();
        for (conflict, is_repeated) in conflicts.into_iter().zip(repeated) {
            let kept = if is_repeated { counted.next().unwrap_or(Ok(())) } else { kept };
            if let Err(error) = kept {
                stored.outcomes[conflict.index] = Outcome::Retry(unkept(error));
            }
        }
    }

    /// Adds the letter of a conflicting event. Returns whether it has a letter already.
    fn add(&self, record: Vec<u8>, letters: &mut RequestLetters) -> bool {
        let Ok(record) = Record::decode(record.into()) else { return false };
        write(&record, letters, self.dead_letters.known())
    }
}

fn write(record: &Record, letters: &mut RequestLetters, known: &Arc<KnownLetters>) -> bool {
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
    letters.add(&letter, known)
}
