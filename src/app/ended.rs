//! How a gateway ended, and why.

/// How a gateway ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Events that are spooled and not delivered; the next start delivers them. `None` where the end was cut short.
    pub undelivered_events: Option<u64>,
    /// Why, where nobody asked it to.
    pub failure: Option<Failure>,
}

/// Why a gateway ended although nobody asked it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The disk failed, so that a restart is needed.
    Disk,
    /// A thread or a task died: which one, and how.
    Part(String),
}
