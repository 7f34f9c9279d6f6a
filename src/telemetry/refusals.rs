//! The log of refusals: one line a minute for each key and code, with a count.
//!
//! The first refusal is logged at once, so that a developer sees why a first request failed. Further ones of the same key and
//! code are counted for [`REFUSALS_LOG_INTERVAL`] and logged together. So a client that is refused a thousand times a second
//! writes one line a minute. The table has a limit ([`REFUSALS_MAX`]); beyond it, refusals are counted together, without a
//! key. Only names from the configuration and codes of the gateway are logged, never data that a client sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::limits::{REFUSALS_LOG_INTERVAL, REFUSALS_MAX};

/// The key of a refusal without a key, or without room in the table.
pub(super) const NO_KEY: &str = "-";

/// The code of refusals without room in the table.
const OTHER_CODES: &str = "other";

/// Key and code of a refusal.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Kind {
    /// Name of the key, if the request had a valid one.
    key: Option<Arc<str>>,
    code: &'static str,
}

/// Refusals of one kind since the last line about it.
#[derive(Debug)]
struct Recent {
    logged_at: Instant,
    count: u64,
    meaning: &'static str,
}

/// A line of the log.
#[derive(Debug, PartialEq)]
struct Line {
    key: Arc<str>,
    code: &'static str,
    count: u64,
    meaning: &'static str,
}

impl Line {
    fn new(kind: &Kind, count: u64, meaning: &'static str) -> Self {
        Self { key: kind.key.clone().unwrap_or_else(|| NO_KEY.into()), code: kind.code, count, meaning }
    }

    fn write(&self) {
        let Self { key, code, count, meaning } = self;
        tracing::info!(%key, code, count, "refused: {meaning}");
    }
}

/// Counts refusals and logs them.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Kind, Recent>>);

impl Refusals {
    /// Counts `count` refused requests or events, and logs them if they are the first of their kind for a minute. `meaning`
    /// explains `code` in words.
    pub fn count(&self, key: Option<&Arc<str>>, code: &'static str, count: u64, meaning: &'static str) {
        if let Some(line) = self.add(Kind { key: key.cloned(), code }, count, meaning, Instant::now()) {
            line.write();
        }
    }

    /// Logs refusals that were counted more than a minute ago.
    pub fn log_due(&self) {
        self.due(Instant::now()).iter().for_each(Line::write);
    }

    /// Logs all refusals that are counted but not logged yet.
    pub fn log_all(&self) {
        self.due(Instant::now() + REFUSALS_LOG_INTERVAL).iter().for_each(Line::write);
    }

    fn add(&self, kind: Kind, count: u64, meaning: &'static str, now: Instant) -> Option<Line> {
        let mut table = self.lock();
        let (kind, meaning) = match table.len() < REFUSALS_MAX || table.contains_key(&kind) {
            true => (kind, meaning),
            false => (Kind { key: None, code: OTHER_CODES }, "too many kinds of refusals to log each"),
        };
        match table.get_mut(&kind) {
            Some(recent) => {
                recent.count += count;
                None
            }
            None => {
                let line = Line::new(&kind, count, meaning);
                table.insert(kind, Recent { logged_at: now, count: 0, meaning });
                Some(line)
            }
        }
    }

    /// Takes the lines whose minute is over, and removes kinds that were not refused again.
    fn due(&self, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        self.lock().retain(|kind, recent| {
            if now.duration_since(recent.logged_at) < REFUSALS_LOG_INTERVAL {
                return true;
            }
            let count = std::mem::take(&mut recent.count);
            if count > 0 {
                lines.push(Line::new(kind, count, recent.meaning));
            }
            recent.logged_at = now;
            count > 0
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Recent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kind(key: &str, code: &'static str) -> Kind {
        Kind { key: Some(key.into()), code }
    }

    #[test]
    fn the_first_refusal_is_logged_at_once_and_the_others_together_after_a_minute() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let add = |after: u64, code| refusals.add(kind("web", code), 2, "why", start + Duration::from_secs(after));
        assert_eq!(add(0, "a"), Some(Line { key: "web".into(), code: "a", count: 2, meaning: "why" }));
        assert_eq!((add(1, "a"), add(2, "a")), (None, None));
        assert!(add(2, "b").is_some(), "another code");
        let due = |after: u64| refusals.due(start + Duration::from_secs(after));
        assert_eq!(due(59), []);
        assert_eq!(due(60), [Line { key: "web".into(), code: "a", count: 4, meaning: "why" }]);
        assert_eq!(due(61), [], "one line a minute");
        assert_eq!(add(90, "a"), None);
        assert_eq!(due(119), []);
        assert_eq!(due(120)[0].count, 2);
        assert_eq!(due(180), []);
        assert!(refusals.lock().is_empty(), "what is not refused any more is forgotten");
        assert!(add(181, "a").is_some());
    }

    #[test]
    fn the_table_has_a_limit_and_nothing_is_left_uncounted() {
        let refusals = Refusals::default();
        let now = Instant::now();
        let lines = (0..5_000).filter_map(|n| refusals.add(kind(&n.to_string(), "a"), 1, "why", now)).count();
        assert_eq!((lines, refusals.lock().len()), (REFUSALS_MAX + 1, REFUSALS_MAX + 1));
        let later = refusals.due(now + REFUSALS_LOG_INTERVAL);
        assert_eq!(later.len(), 1);
        assert_eq!((later[0].code, later[0].count as usize), (OTHER_CODES, 5_000 - REFUSALS_MAX - 1));
    }
}
