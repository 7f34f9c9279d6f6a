//! How a gateway ended, and why.

/// How a gateway ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Events that are spooled and not delivered; the next start delivers them. `None` if the stop was interrupted.
    pub undelivered_events: Option<u64>,
    /// The reason, if the stop was not requested.
    pub failure: Option<Failure>,
}

/// Why a gateway stopped without a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The disk failed, so that a restart is needed.
    Disk,
    /// A thread or a task ended: its name, and how.
    Part(String),
}
