//! The log of refusals: of requests one line a minute for each key and code, of events one for each key, event name, code and
//! place of the fault.
//!
//! The first refusal is logged at once, so that a developer sees why a first request failed. Further ones of the same kind are
//! counted for [`REFUSALS_LOG_INTERVAL`] and logged together, with their number and the `event_uuid` of one. So a client that is
//! refused a thousand times a second writes one line a minute. The tables have limits ([`REFUSALS_MAX`],
//! [`REJECTION_KINDS_MAX`]): beyond them, and beyond [`REJECTION_KINDS_PER_KEY_MAX`], rejected events are counted by key and code,
//! and in the end together, without a key.
//!
//! Only names from the configuration and the registry, and codes of the gateway, are logged, never data that a client sent:
//! a name that the registry does not know is `-`, and the place of a fault is a [`KnownPlace`]. Of what a client sent only the
//! `event_uuid` is logged, and only if it is a UUID.

mod table;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use uuid::Uuid;

use crate::{
    limits::{REFUSALS_LOG_INTERVAL, REFUSALS_MAX, REJECTION_KINDS_MAX, REJECTION_KINDS_PER_KEY_MAX},
    outcome::{KnownPlace, Rejection},
};
pub(super) use table::UNKNOWN as NO_KEY;
use table::{Kind, Line, Refused, Table};

/// Counts refusals and logs them.
#[derive(Debug)]
pub struct Refusals {
    requests: Mutex<Table>,
    events: Mutex<Table>,
}

impl Default for Refusals {
    fn default() -> Self {
        // Requests have few kinds for a key, one for each code.
        let requests = Table::new(REFUSALS_MAX, usize::MAX);
        let events = Table::new(REJECTION_KINDS_MAX, REJECTION_KINDS_PER_KEY_MAX);
        Self { requests: Mutex::new(requests), events: Mutex::new(events) }
    }
}

impl Refusals {
    /// Counts a number of refused requests, and logs them if they are the first of their kind for a minute. `meaning` explains
    /// `code` in words.
    pub fn count(&self, key: Option<&Arc<str>>, code: &'static str, count: u64, meaning: &'static str) {
        let kind = Kind { key: key.cloned(), code, place: None };
        let line = lock(&self.requests).add(kind, Refused { count, example: None, meaning }, Instant::now());
        line.iter().for_each(Line::write);
    }

    /// Counts the rejected events of a request, each with its `event_uuid` if that is readable.
    pub fn count_rejected<'a>(&self, key: &Arc<str>, rejected: impl Iterator<Item = (&'a Rejection, Option<&'a str>)>) {
        // Many are of one kind. The table, which all requests share, is locked once.
        let nowhere = KnownPlace::default();
        let mut kinds: HashMap<(&'static str, &KnownPlace), Refused> = HashMap::new();
        for (rejection, event_uuid) in rejected {
            let place = rejection.place.as_deref().unwrap_or(&nowhere);
            let refused = kinds.entry((rejection.code.as_str(), place)).or_insert_with(|| Refused {
                count: 0,
                example: event_uuid.and_then(|text| Uuid::parse_str(text).ok()),
                meaning: rejection.code.meaning(),
            });
            refused.count += 1;
        }
        let now = Instant::now();
        let mut events = lock(&self.events);
        let kind = |code, place: &KnownPlace| Kind { key: Some(key.clone()), code, place: Some(place.clone()) };
        let lines = kinds.into_iter().filter_map(|((code, place), refused)| events.add(kind(code, place), refused, now));
        let lines: Vec<Line> = lines.collect();
        drop(events);
        lines.iter().for_each(Line::write);
    }

    /// Logs refusals that were counted more than a minute ago.
    pub fn log_due(&self) {
        self.log(Instant::now());
    }

    /// Logs all refusals that are counted but not logged yet.
    pub fn log_all(&self) {
        self.log(Instant::now() + REFUSALS_LOG_INTERVAL);
    }

    fn log(&self, now: Instant) {
        for table in [&self.requests, &self.events] {
            let lines = lock(table).due(now);
            lines.iter().for_each(Line::write);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::RejectCode;

    #[test]
    fn rejected_events_are_counted_by_their_place_with_one_of_them_as_an_example() {
        let refusals = Refusals::default();
        let rejection = |pointer: &str| {
            let place = KnownPlace { event_name: Some("a:b".into()), pointer: pointer.into() };
            Rejection { place: Some(Box::new(place)), ..Rejection::new(RejectCode::SchemaViolation, "said", "/s3cret") }
        };
        let (first, second, unplaced) = (rejection("/x"), rejection("/y"), Rejection::new(RejectCode::RefusedBySink, "", ""));
        let uuid = "01A1F059-0e41-719a-b0ae-3071d38cf734";
        let again = [(&first, Some("01a1f059-0e41-719a-b0ae-000000000000")), (&unplaced, Some("no uuid"))];
        let all = [(&first, Some(uuid)), (&second, Some("no uuid")), (&first, None)];
        refusals.count_rejected(&"web".into(), all.into_iter());
        refusals.count_rejected(&"web".into(), again.into_iter());
        refusals.count_rejected(&"web".into(), [(&second, Some(uuid))].into_iter());
        let mut lines = lock(&refusals.events).due(Instant::now() + REFUSALS_LOG_INTERVAL);
        lines.sort_unstable_by_key(Line::pointer);
        let told: Vec<_> = lines.iter().map(|line| (line.event_name(), line.pointer(), line.count(), line.example())).collect();
        // The first of each kind is logged at once; its example is that of its own.
        assert_eq!(
            told,
            [
                ("a:b", "/x".to_owned(), 1, "01a1f059-0e41-719a-b0ae-000000000000".to_owned()),
                ("a:b", "/y".to_owned(), 1, uuid.to_lowercase())
            ]
        );
        assert!(lock(&refusals.requests).due(Instant::now() + REFUSALS_LOG_INTERVAL).is_empty());
    }
}
