//! What the ledger keeps of accepted events: runs of consecutive events with one time of receipt, one key and one name.

use super::names::NameId;

/// Consecutive events in the spool that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When they were received, Unix milliseconds.
    pub received_millis: i64,
    /// Their key.
    pub key: NameId,
    /// Their event name.
    pub name: NameId,
    /// How many they are.
    pub events: u32,
}

/// The events of one append, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedEvents {
    /// Whether they were received before: replayed, or salvaged.
    pub are_replayed: bool,
    // A request with one event needs no memory.
    first: Option<Run>,
    rest: Vec<Run>,
}

impl AcceptedEvents {
    /// No events yet.
    #[must_use]
    pub fn new(are_replayed: bool) -> Self {
        Self { are_replayed, ..Self::default() }
    }

    /// Adds one event.
    pub fn push(&mut self, received_millis: i64, key: NameId, name: NameId) {
        let run = Run { received_millis, key, name, events: 1 };
        match self.rest.last_mut().or(self.first.as_mut()) {
            Some(last) if last.is_like(&run) => last.events += 1,
            Some(_) => self.rest.push(run),
            None => self.first = Some(run),
        }
    }

    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.first.iter().chain(&self.rest)
    }
}

impl Run {
    /// Whether another run can be counted with this one.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.received_millis, self.key, self.name) == (other.received_millis, other.key, other.name)
            && self.events < u32::MAX / 2
            && other.events < u32::MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_events_in_a_row_are_one_run() {
        let mut accepted = AcceptedEvents::default();
        for (millis, key, name) in [(1, 1, 1), (1, 1, 1), (1, 1, 2), (1, 1, 1), (2, 1, 1), (2, 1, 1)] {
            accepted.push(millis, key, name);
        }
        let runs: Vec<_> = accepted.runs().map(|run| (run.received_millis, run.name, run.events)).collect();
        assert_eq!(runs, [(1, 1, 2), (1, 2, 1), (1, 1, 1), (2, 1, 2)]);
    }
}
