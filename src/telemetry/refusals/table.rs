//! The table of what was refused since the last line about each kind.

use std::{collections::HashMap, sync::Arc, time::Instant};

use uuid::Uuid;

use crate::{limits::REFUSALS_LOG_INTERVAL, outcome::KnownPlace};

/// Stands for what is not known: a key, a name, a place, an `event_uuid`.
pub(in crate::telemetry) const UNKNOWN: &str = "-";

/// The code of refusals without room in the table.
const OTHER_CODES: &str = "other";

/// A kind of refusal.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Kind {
    /// Name of the key, if the request had a valid one.
    pub(super) key: Option<Arc<str>>,
    pub(super) code: &'static str,
    /// Of an event: where the fault is. Of a request: `None`.
    pub(super) place: Option<KnownPlace>,
}

/// How many of a kind were refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) count: u64,
    /// The `event_uuid` of one, if any was readable.
    pub(super) example: Option<Uuid>,
    /// The code in words.
    pub(super) meaning: &'static str,
}

/// Refusals of one kind since the last line about it.
#[derive(Debug)]
struct Recent {
    logged_at: Instant,
    refused: Refused,
}

/// A line of the log.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    kind: Kind,
    refused: Refused,
}

impl Line {
    pub(super) fn write(&self) {
        let (key, code) = (self.kind.key.as_deref().unwrap_or(UNKNOWN), self.kind.code);
        let Refused { count, meaning, .. } = self.refused;
        if self.kind.place.is_none() {
            tracing::info!(%key, code, count, "refused: {meaning}");
            return;
        }
        let (event_name, pointer, event_uuid) = (self.event_name(), self.pointer(), self.example());
        tracing::info!(%key, %event_name, code, %pointer, count, %event_uuid, "rejected: {meaning}");
    }

    pub(super) fn event_name(&self) -> &str {
        self.kind.place.as_ref().and_then(|place| place.event_name.as_deref()).unwrap_or(UNKNOWN)
    }

    /// The whole event has an empty pointer, which is hard to see.
    pub(super) fn pointer(&self) -> String {
        let pointer = self.kind.place.as_ref().map(|place| place.pointer.as_str()).filter(|pointer| !pointer.is_empty());
        pointer.unwrap_or(UNKNOWN).to_owned()
    }

    pub(super) fn example(&self) -> String {
        self.refused.example.map_or_else(|| UNKNOWN.to_owned(), |uuid| uuid.to_string())
    }
}

#[cfg(test)]
impl Line {
    pub(super) fn count(&self) -> u64 {
        self.refused.count
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    kinds: HashMap<Kind, Recent>,
    /// How many kinds each key has.
    of_key: HashMap<Option<Arc<str>>, usize>,
    kinds_max: usize,
    per_key_max: usize,
}

impl Table {
    pub(super) fn new(kinds_max: usize, per_key_max: usize) -> Self {
        Self { kinds: HashMap::new(), of_key: HashMap::new(), kinds_max, per_key_max }
    }

    /// Counts refusals. Returns a line if they are the first of their kind for a minute.
    pub(super) fn add(&mut self, kind: Kind, refused: Refused, now: Instant) -> Option<Line> {
        let (kind, refused) = self.placed(kind, refused);
        match self.kinds.get_mut(&kind) {
            Some(recent) => {
                recent.refused.count += refused.count;
                recent.refused.example = recent.refused.example.or(refused.example);
                None
            }
            None => {
                let counted = Refused { count: 0, example: None, ..refused };
                *self.of_key.entry(kind.key.clone()).or_default() += 1;
                self.kinds.insert(kind.clone(), Recent { logged_at: now, refused: counted });
                Some(Line { kind, refused })
            }
        }
    }

    /// The kind under which refusals are counted: less exact if there is no room.
    fn placed(&self, kind: Kind, refused: Refused) -> (Kind, Refused) {
        let has_place = |kind: &Kind| {
            let of_key = self.of_key.get(&kind.key).copied().unwrap_or_default();
            self.kinds.contains_key(kind) || (self.kinds.len() < self.kinds_max && of_key < self.per_key_max)
        };
        if has_place(&kind) {
            return (kind, refused);
        }
        let is_event = kind.place.is_some();
        let by_code = Kind { place: is_event.then(KnownPlace::default), ..kind };
        // A key that has used up its kinds still has one for each code, of which there are few.
        if is_event && (self.kinds.contains_key(&by_code) || self.kinds.len() < self.kinds_max) {
            return (by_code, refused);
        }
        let other = Kind { key: None, code: OTHER_CODES, place: by_code.place };
        (other, Refused { example: None, meaning: "too many kinds of refusals to log each", ..refused })
    }

    /// Takes the lines whose minute is over, and removes kinds that were not refused again.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Line> {
        let (mut lines, of_key) = (Vec::new(), &mut self.of_key);
        self.kinds.retain(|kind, recent| {
            if now.duration_since(recent.logged_at) < REFUSALS_LOG_INTERVAL {
                return true;
            }
            recent.logged_at = now;
            let counted = Refused { count: 0, example: None, ..recent.refused };
            let refused = std::mem::replace(&mut recent.refused, counted);
            let is_kept = refused.count > 0;
            if is_kept {
                lines.push(Line { kind: kind.clone(), refused });
            } else if let Some(count) = of_key.get_mut(&kind.key) {
                *count -= 1;
            }
            is_kept
        });
        of_key.retain(|_, count| *count > 0);
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::{REFUSALS_MAX, REJECTION_KINDS_MAX, REJECTION_KINDS_PER_KEY_MAX};

    fn kind(key: &str, code: &'static str, pointer: Option<&str>) -> Kind {
        let place = pointer.map(|pointer| KnownPlace { event_name: None, pointer: pointer.to_owned() });
        Kind { key: Some(key.into()), code, place }
    }

    fn refused(count: u64) -> Refused {
        Refused { count, example: None, meaning: "why" }
    }

    #[test]
    fn the_first_refusal_is_logged_at_once_and_the_others_together_after_a_minute() {
        let mut table = Table::new(REFUSALS_MAX, usize::MAX);
        let start = Instant::now();
        let at = |after: u64| start + Duration::from_secs(after);
        let line = |code, count| Line { kind: kind("web", code, None), refused: refused(count) };
        let mut add = |after, code| table.add(kind("web", code, None), refused(2), at(after));
        assert_eq!(add(0, "a"), Some(line("a", 2)));
        assert_eq!((add(1, "a"), add(2, "a")), (None, None));
        assert!(add(2, "b").is_some(), "another code");
        assert_eq!(table.due(at(59)), []);
        assert_eq!(table.due(at(60)), [line("a", 4)]);
        assert_eq!(table.due(at(61)), [], "one line a minute");
        assert_eq!(table.add(kind("web", "a", None), refused(2), at(90)), None);
        assert_eq!(table.due(at(119)), []);
        assert_eq!(table.due(at(120))[0].count(), 2);
        assert_eq!(table.due(at(180)), []);
        assert!(table.kinds.is_empty() && table.of_key.is_empty(), "what is not refused any more is forgotten");
        assert!(table.add(kind("web", "a", None), refused(2), at(181)).is_some());
    }

    #[test]
    fn the_table_has_a_limit_and_nothing_is_left_uncounted() {
        let mut table = Table::new(REFUSALS_MAX, usize::MAX);
        let now = Instant::now();
        let lines = (0..5_000).filter_map(|n| table.add(kind(&n.to_string(), "a", None), refused(1), now)).count();
        assert_eq!((lines, table.kinds.len()), (REFUSALS_MAX + 1, REFUSALS_MAX + 1));
        let later = table.due(now + REFUSALS_LOG_INTERVAL);
        assert_eq!(later.len(), 1);
        assert_eq!((later[0].kind.code, later[0].count() as usize), (OTHER_CODES, 5_000 - REFUSALS_MAX - 1));
    }

    #[test]
    fn a_key_with_many_kinds_of_rejections_takes_no_places_of_others() {
        let mut table = Table::new(REJECTION_KINDS_MAX, REJECTION_KINDS_PER_KEY_MAX);
        let now = Instant::now();
        let mut add = |key: &str, at: usize| table.add(kind(key, "a", Some(&format!("/{at}"))), refused(1), now);
        let lines: Vec<Line> = (0..5_000).filter_map(|at| add("public", at)).collect();
        assert_eq!(lines.len(), REJECTION_KINDS_PER_KEY_MAX + 1);
        assert_eq!((lines[REJECTION_KINDS_PER_KEY_MAX].pointer().as_str(), lines[0].pointer().as_str()), ("-", "/0"));
        assert_eq!(add("till", 7).unwrap().pointer(), "/7");
        let later = table.due(now + REFUSALS_LOG_INTERVAL);
        assert_eq!((later.len(), later[0].count() as usize), (1, 5_000 - REJECTION_KINDS_PER_KEY_MAX - 1));
    }
}
