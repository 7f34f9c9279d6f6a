//! Simulates another registry with known events: which events it would newly reject, and which it would accept.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    config::UnknownEvents,
    dead_letters::StoredLetter,
    ingest::{Opinion, opinion},
    limits::DEAD_LETTER_GROUPS_MAX,
    outcome::{RejectCode, Rejection},
    schema::Registry,
};

/// Collects the results of a proposed registry for events, one by one.
pub struct Simulation<'a> {
    proposed: &'a Registry,
    /// The registry to compare with. `None`: compare with the recorded result.
    current: Option<&'a Registry>,
    unknown_events: UnknownEvents,
    changes: HashMap<String, Change>,
    counts: Simulated,
}

/// Events that the proposed registry treats differently from the current one, in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whether the proposed registry accepts these events; otherwise it rejects them.
    pub is_rescue: bool,
    /// Number of events.
    pub count: u64,
    /// Name of the events, if readable.
    pub event_name: Option<String>,
    /// The schema version in the registry that rejects the events; for rescued events, in the registry that accepts them.
    pub schema_version: Option<u32>,
    /// Why the events are rejected.
    pub code: String,
    /// JSON pointer to the fault.
    pub pointer: String,
    /// Name of the key that sent the events, if recorded.
    pub source: Option<String>,
    /// Identity of one of the events.
    pub example_event_uuid: Option<String>,
    /// The reason for that event.
    pub example_detail: String,
}

/// The result. The four counts add up to `events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulated {
    /// Validated events.
    pub events: u64,
    /// Accepted as before.
    pub still_accepted: u64,
    /// Rejected as before.
    pub still_rejected: u64,
    /// Accepted so far, and rejected by the proposed registry.
    pub newly_rejected: u64,
    /// Rejected so far, and accepted by the proposed registry.
    pub rescued: u64,
    /// The changes, the largest first; rejections before rescues.
    pub changes: Vec<Change>,
    /// Events whose change is not listed, because there were too many changes.
    pub ungrouped: u64,
}

impl<'a> Simulation<'a> {
    /// A simulation of `proposed`, compared with `current`, or with the recorded results if `current` is `None`.
    #[must_use]
    pub fn new(proposed: &'a Registry, current: Option<&'a Registry>, unknown_events: UnknownEvents) -> Self {
        Self { proposed, current, unknown_events, changes: HashMap::new(), counts: Simulated::default() }
    }

    /// Validates an event that is recorded as accepted.
    pub fn good(&mut self, raw: &[u8], source: Option<&str>) {
        self.judge(raw, source, self.by_current(raw));
    }

    /// Validates the event of a dead letter.
    pub fn dead_letter(&mut self, letter: &StoredLetter<'_>, raw: &[u8]) {
        // These codes do not depend on a schema.
        let unjudged = [RejectCode::ForbiddenEvent, RejectCode::RefusedBySink, RejectCode::ConflictingDuplicate];
        if unjudged.iter().any(|code| code.as_str() == letter.code) {
            self.counts.events += 1;
            self.counts.still_rejected += 1;
            return;
        }
        let recorded = || Why {
            code: letter.code.clone().into_owned(),
            pointer: letter.pointer.clone().into_owned(),
            detail: letter.detail.clone().into_owned(),
            version: None,
        };
        let before = if self.current.is_some() { self.by_current(raw) } else { Some(recorded()) };
        self.judge(raw, Some(&letter.source), before);
    }

    fn by_current(&self, raw: &[u8]) -> Option<Why> {
        opinion(self.current?, self.unknown_events, raw).verdict.err().map(|rejection| Why::of(&rejection))
    }

    fn judge(&mut self, raw: &[u8], source: Option<&str>, before: Option<Why>) {
        let after = opinion(self.proposed, self.unknown_events, raw);
        self.counts.events += 1;
        match (&after.verdict, before) {
            (Ok(_), None) => self.counts.still_accepted += 1,
            (Err(_), Some(_)) => self.counts.still_rejected += 1,
            (Err(rejection), None) => {
                self.counts.newly_rejected += 1;
                self.note(false, &after, Why::of(rejection), source);
            }
            (Ok(version), Some(why)) => {
                self.counts.rescued += 1;
                self.note(true, &after, Why { version: *version, ..why }, source);
            }
        }
    }

    fn note(&mut self, is_rescue: bool, event: &Opinion, why: Why, source: Option<&str>) {
        let Why { code, pointer, detail, version } = why;
        let name = event.event_name.as_deref();
        let key = format!("{name:?} {version:?} {code} {pointer:?} {source:?} {is_rescue}");
        if let Some(change) = self.changes.get_mut(&key) {
            change.count += 1;
        } else if self.changes.len() < DEAD_LETTER_GROUPS_MAX {
            let change = Change {
                is_rescue,
                count: 1,
                event_name: event.event_name.clone(),
                schema_version: version,
                code,
                pointer,
                source: source.map(str::to_owned),
                example_event_uuid: event.event_uuid.clone(),
                example_detail: detail,
            };
            self.changes.insert(key, change);
        } else {
            self.counts.ungrouped += 1;
        }
    }

    /// The result.
    #[must_use]
    pub fn finish(self) -> Simulated {
        let mut changes: Vec<(String, Change)> = self.changes.into_iter().collect();
        changes.sort_by(|(a_key, a), (b_key, b)| {
            a.is_rescue.cmp(&b.is_rescue).then(b.count.cmp(&a.count)).then_with(|| a_key.cmp(b_key))
        });
        Simulated { changes: changes.into_iter().map(|(_, change)| change).collect(), ..self.counts }
    }
}

/// Why an event is rejected.
struct Why {
    code: String,
    pointer: String,
    detail: String,
    version: Option<u32>,
}

impl Why {
    fn of(rejection: &Rejection) -> Self {
        let (pointer, detail) =
            rejection.faults.first().map_or_else(Default::default, |first| (first.pointer.clone(), first.detail.clone()));
        let version = rejection.schema.as_ref().and_then(|schema| schema.rsplit_once('/')?.1.parse().ok());
        Self { code: rejection.code.as_str().to_owned(), pointer, detail, version }
    }
}
