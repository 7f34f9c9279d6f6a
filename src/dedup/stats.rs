//! Statistics of the window.

use std::sync::atomic::AtomicU64;

/// Counts since the window was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) lookups_read_disk: AtomicU64,
    pub(super) damaged_pages: AtomicU64,
    pub(super) identities_damaged: AtomicU64,
    pub(super) identities_forgotten_early: AtomicU64,
    pub(super) batches_refused: AtomicU64,
}

/// State of sealing the hot generation to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Nothing waits to be sealed.
    Idle,
    /// A generation is being written.
    Busy,
    /// The last attempt failed for this reason. It is retried until it succeeds. Meanwhile nothing is lost, and claims are
    /// refused once there is no room.
    Failing(String),
    /// The background thread has ended: the window was closed, or the thread panicked.
    Stopped,
}

/// The window at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Confirmed identities in memory, not yet sealed.
    pub identities_hot: u64,
    /// Identities claimed and neither confirmed nor released.
    pub identities_in_flight: u64,
    /// Identities in sealed runs.
    pub identities_sealed: u64,
    /// Sealed runs.
    pub runs: u64,
    /// Bytes of the sealed runs on disk.
    pub disk_bytes: u64,
    /// Bytes of the runs' filters in memory.
    pub filter_bytes: u64,
    /// Bytes of the runs' indexes (fences and page checksums) in memory.
    pub index_bytes: u64,
    /// When the oldest remembered identity was confirmed, Unix milliseconds.
    pub oldest_millis: Option<i64>,
    /// For how long an identity is certainly remembered, as of now. Less than the configured window after identities were
    /// forgotten early because there were too many.
    pub effective_window_seconds: u64,
    /// Identities forgotten before their time because there were too many.
    pub identities_forgotten_early: u64,
    /// Pages that lookups read: nearly one for each sealed duplicate, and 0.4 % of the other lookups for each run.
    pub lookups_read_disk: u64,
    /// Pages that were damaged, or unreadable for too long. Their identities count as unknown.
    pub damaged_pages: u64,
    /// Identities in those pages.
    pub identities_damaged: u64,
    /// Damaged runs in the folder. They stay until a person removes them.
    pub runs_set_aside: u64,
    /// Batches refused because the window was full.
    pub batches_refused: u64,
    /// State of sealing.
    pub sealing: Sealing,
}
