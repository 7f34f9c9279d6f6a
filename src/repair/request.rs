//! The request for a replay: which letters, from where, and the changes to them.

use crate::{dead_letters::Filter, json::Patch};

/// Where the letters of a replay come from.
#[derive(Debug, Clone, Default)]
pub enum Letters {
    /// From the files of this gateway.
    #[default]
    Kept,
    /// From elsewhere, one per line: read back from a stream, or from another gateway.
    Given(Vec<u8>),
}

/// A replay to run.
#[derive(Debug, Default)]
pub struct Replay {
    /// Selects the letters.
    pub filter: Filter,
    /// The patch for each event.
    pub patch: Option<Patch>,
    /// Whether only to report the results, without changes.
    pub dry_run: bool,
    /// The source of the letters.
    pub letters: Letters,
}
