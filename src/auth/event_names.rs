//! The event names that a key may send, as patterns.

use wildmatch::WildMatch;

/// A set of event names; all names if there is no pattern.
#[derive(Debug, Default, PartialEq)]
pub struct EventNames {
    patterns: Vec<WildMatch>,
}

impl EventNames {
    /// The names that match `patterns`; `*` is any text, including colons.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self { patterns: patterns.into_iter().map(WildMatch::new).collect() }
    }

    /// Whether `name` is in the set.
    #[must_use]
    pub fn contain(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_allowed_by_any_pattern_and_by_none_at_all() {
        let names = EventNames::new(["menu:*", "heartbeat", "*:completed"]);
        for allowed in ["menu:item:viewed", "menu:x", "heartbeat", "payment:order:completed"] {
            assert!(names.contain(allowed), "{allowed}");
        }
        for refused in ["menu", "menus:x", "heartbeats", "payment:order:completed:late", "account:created"] {
            assert!(!names.contain(refused), "{refused}");
        }
        assert!(EventNames::new([]).contain("anything"));
    }
}
