//! The names in which two maps differ, for the log of a reload.

use std::collections::BTreeMap;

/// The names that differ.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) changed: Vec<String>,
}

impl Difference {
    pub(super) fn of<T: PartialEq>(before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Self {
        let names = |from: &BTreeMap<String, T>, is_meant: &dyn Fn(&String, &T) -> bool| {
            from.iter().filter(|(name, value)| is_meant(name, value)).map(|(name, _)| name.clone()).collect()
        };
        Self {
            added: names(after, &|name, _| !before.contains_key(name)),
            removed: names(before, &|name, _| !after.contains_key(name)),
            changed: names(after, &|name, value| before.get(name).is_some_and(|before| before != value)),
        }
    }
}
