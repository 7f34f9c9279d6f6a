//! The request for a replay: which letters, where they are, and what is changed in them.

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

/// What is to be replayed, and how.
#[derive(Debug, Default)]
pub struct Replay {
    /// Which letters.
    pub filter: Filter,
    /// What is changed in each.
    pub patch: Option<Patch>,
    /// Whether it is only said what would become of them.
    pub dry_run: bool,
    /// From where.
    pub letters: Letters,
}
