//! Bounds and patterns shared by several programs of a registry, each stored once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    bounds::Bounds,
    text::{self, Pattern, Text},
};

/// See the module.
#[derive(Debug, Default)]
pub(in crate::schema) struct Shared {
    patterns: Mutex<HashMap<String, Option<Pattern>>>,
    texts: Mutex<Vec<Arc<Text>>>,
    bounds: Mutex<Vec<Arc<Bounds>>>,
}

impl Shared {
    /// The table of an ECMA-262 pattern; `None` if it would be too large.
    pub(super) fn pattern(&self, pattern: &str) -> Option<Pattern> {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = patterns.get(pattern) {
            return known.clone();
        }
        let built = text::build(pattern);
        patterns.insert(pattern.to_owned(), built.clone());
        built
    }

    /// The stored value equal to `text`.
    pub(super) fn text(&self, text: Text) -> Arc<Text> {
        one_of(&self.texts, text)
    }

    /// The stored value equal to `bounds`.
    pub(super) fn bounds(&self, bounds: Bounds) -> Arc<Bounds> {
        one_of(&self.bounds, bounds)
    }
}

/// A linear search, because there are only some hundred values, even for a thousand schemas.
fn one_of<T: PartialEq>(known: &Mutex<Vec<Arc<T>>>, new: T) -> Arc<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = known.iter().find(|one| ***one == new) {
        return same.clone();
    }
    let new = Arc::new(new);
    known.push(new.clone());
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_there_once() {
        let shared = Shared::default();
        let text = |pattern| shared.text(Text { chars_max: 9, pattern: shared.pattern(pattern), ..Text::default() });
        assert!(Arc::ptr_eq(&text("^a"), &text("^a")));
        assert!(!Arc::ptr_eq(&text("^a"), &text("^b")));
        let bounds = |at_least| shared.bounds(Bounds { at_least, ..Bounds::default() });
        assert!(Arc::ptr_eq(&bounds(Some(0.0)), &bounds(Some(0.0))));
        assert!(!Arc::ptr_eq(&bounds(Some(0.0)), &bounds(None)));
    }
}
