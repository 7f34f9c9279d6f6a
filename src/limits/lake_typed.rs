//! Limits of the typed tables of the lake.

use std::time::Duration;

/// Time between two passes of a gateway over its typed tables.
/// Why: no event shall be missing in them for longer than five minutes: a flush takes one, a round of the upkeep comes after one and
/// a half at most, and a pass takes seconds.
pub const LAKE_TYPED_LAG: Duration = Duration::from_secs(2 * 60);

/// Event names without a table that a report counts.
/// Why: senders choose the names; nobody reads a longer list.
pub const LAKE_TYPED_NAMES_REPORTED: usize = 100;

/// Passes that are tried one after the other because other writers were faster.
/// Why: each compaction of files that are being read costs one; the next pass comes anyway.
pub const LAKE_TYPED_PASSES_MAX: u32 = 4;

/// Events of typed tables that a dry run of an erasure counts.
/// Why: 16 bytes each, 64 MiB together; a person has a thousandth of that.
pub const ERASURE_PREVIEW_EVENTS_MAX: usize = 4 * 1024 * 1024;
