//! Stand-in.

use super::registry::Registry;
use crate::event::EventColumns;

/// The columns of every event name, sorted.
#[must_use]
pub fn event_columns(registry: &Registry) -> Vec<EventColumns> {
    let columns = |name: &str| EventColumns { event_name: name.into(), description: String::new(), columns: Vec::new() };
    let mut all: Vec<EventColumns> = registry.iter().map(|(name, _)| columns(name)).collect();
    all.sort_by(|a, b| a.event_name.cmp(&b.event_name));
    all
}
