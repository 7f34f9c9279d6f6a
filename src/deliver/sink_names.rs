//! Which events are for a sink, if there are several sinks: all, except those that are replayed for another one.

use std::sync::Arc;

use crate::event::Record;

/// The name of a sink among those of all sinks.
#[derive(Clone, Debug)]
pub struct SinkNames {
    /// All sinks; empty if there is only one.
    all: Arc<[Arc<str>]>,
    own: Arc<str>,
}

impl SinkNames {
    /// The only sink, which gets every event.
    #[must_use]
    pub fn one() -> Self {
        Self { all: Arc::default(), own: "".into() }
    }

    /// The sink `own` of `all`.
    #[must_use]
    pub fn of(own: &Arc<str>, all: &Arc<[Arc<str>]>) -> Self {
        Self { all: all.clone(), own: own.clone() }
    }

    /// The name of this sink, if there are several.
    pub(super) fn only(&self) -> Option<&str> {
        (!self.all.is_empty()).then_some(&self.own)
    }

    /// Whether `record` is for this sink. A record for a sink that is gone is for every sink, so that it is not lost.
    pub(super) fn include(&self, record: &Record) -> bool {
        let Some(sink) = record.only_sink() else { return true };
        sink == &*self.own || !self.all.iter().any(|known| **known == *sink)
    }
}
