//! Numbers for the names of events, keys, sinks and shards, so that the ledger stores two bytes instead of a text.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use crate::limits::LEDGER_NAMES_MAX;

/// The number of a name; [`OTHER`] if there were too many.
pub type NameId = u16;

/// The kinds of names: keys, event names, sinks, places in sinks.
pub(super) const KINDS: usize = 4;

/// All names beyond the limit, and names that are not known.
pub const OTHER: NameId = 0;

/// The names of one kind. Numbers are given once and never change.
#[derive(Debug, Default)]
pub struct Names(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    ids: HashMap<Box<str>, NameId>,
    /// The name with the number `index + 1`.
    texts: Vec<Box<str>>,
}

impl Names {
    /// The names with the numbers 1, 2, …
    pub(super) fn of(texts: impl IntoIterator<Item = Box<str>>) -> Self {
        let names = Self::default();
        for text in texts {
            names.id(&text);
        }
        names
    }

    /// The number of `name`, if it has one.
    pub fn known(&self, name: &str) -> Option<NameId> {
        self.read().ids.get(name).copied()
    }

    /// The number of `name`; gives it one, if there is room.
    pub fn id(&self, name: &str) -> NameId {
        if let Some(id) = self.known(name) {
            return id;
        }
        if self.read().texts.len() >= LEDGER_NAMES_MAX {
            return OTHER;
        }
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = table.ids.get(name) {
            return *id;
        }
        if table.texts.len() >= LEDGER_NAMES_MAX {
            return OTHER;
        }
        table.texts.push(name.into());
        let id = table.texts.len() as NameId;
        table.ids.insert(name.into(), id);
        id
    }

    /// The name with this number; `None` for [`OTHER`].
    pub fn text(&self, id: NameId) -> Option<Box<str>> {
        self.read().texts.get(usize::from(id).checked_sub(1)?).cloned()
    }

    /// The names after the first `count`, with their numbers.
    pub(super) fn after(&self, count: usize) -> Vec<(NameId, Box<str>)> {
        let table = self.read();
        let new = table.texts.iter().enumerate().skip(count);
        new.map(|(index, text)| ((index + 1) as NameId, text.clone())).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names that the ledger has numbers for.
#[derive(Debug, Default)]
pub struct LedgerNames {
    /// Keys.
    pub keys: Names,
    /// Event names.
    pub events: Names,
    /// Sinks.
    pub sinks: Names,
    /// Places in sinks: shards.
    pub places: Names,
}

impl LedgerNames {
    /// All kinds, in the order of their numbers on disk.
    pub(super) fn all(&self) -> [&Names; KINDS] {
        [&self.keys, &self.events, &self.sinks, &self.places]
    }

    pub(super) fn of([keys, events, sinks, places]: [Vec<Box<str>>; KINDS]) -> Self {
        Self { keys: Names::of(keys), events: Names::of(events), sinks: Names::of(sinks), places: Names::of(places) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_names_beyond_the_limit_share_one() {
        let names = Names::of(["a".into(), "b".into()]);
        assert_eq!((names.id("b"), names.id("c"), names.id("b")), (2, 3, 2));
        assert_eq!((names.known("d"), names.text(3), names.text(OTHER)), (None, Some("c".into()), None));
        assert_eq!(names.after(2), [(3, "c".into())]);
        for n in 0..LEDGER_NAMES_MAX + 10 {
            names.id(&n.to_string());
        }
        assert_eq!((names.id("one more"), names.text(OTHER), names.after(0).len()), (OTHER, None, LEDGER_NAMES_MAX));
    }
}
