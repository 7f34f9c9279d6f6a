//! Where a running builder gets the columns of the event names from.

use std::{fmt, sync::Arc};

use crate::event::EventColumns;

/// The columns of every event name, as the schemas are now.
#[derive(Clone)]
pub struct Definitions(Arc<dyn Fn() -> Arc<Vec<EventColumns>> + Send + Sync>);

impl Definitions {
    /// Calls `read` before each pass. The same list, if nothing changed.
    pub fn new(read: impl Fn() -> Arc<Vec<EventColumns>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The columns now.
    #[must_use]
    pub fn read(&self) -> Arc<Vec<EventColumns>> {
        (self.0)()
    }
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Definitions")
    }
}
