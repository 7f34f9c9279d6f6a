//! The settings of a window, and the report of its opening.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::conditions::Conditions;
use crate::limits::{DEDUP_HOT_IDENTITIES, DEDUP_IDENTITIES_MAX, DEDUP_SLICE_IDENTITIES, DEDUP_WINDOW_DAYS};

/// Settings of a window.
#[derive(Clone, Debug)]
pub struct WindowConfig {
    /// The folder of its runs. No other window uses it.
    pub dir: PathBuf,
    /// Minimum time for which an identity is remembered, unless there are too many identities.
    pub window: Duration,
    /// Maximum number of identities in sealed runs; beyond it the oldest are forgotten early.
    pub identities_max: u64,
    /// Identities in the hot generation. Memory holds at most twice as many, claims in flight included.
    pub hot_identities: usize,
    /// Approximate maximum of identities in one slice of a run.
    pub slice_identities: u64,
    /// The history of the spool whose sequence numbers the marks are; nil for a spool without a name, of which no place outlasts
    /// memory.
    pub spool_history: Uuid,
    /// One past the last event that the spool holds at the start. Larger marks of the same history mean that the spool is older
    /// than the window, because it was restored from a backup: a new history begins ([`OpenReport::spool_history`]).
    pub spool_end_exclusive: u64,
    /// Faults are raised here.
    pub conditions: Conditions,
}

impl WindowConfig {
    /// The defaults, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            window: Duration::from_secs(u64::from(DEDUP_WINDOW_DAYS) * 86_400),
            identities_max: DEDUP_IDENTITIES_MAX,
            hot_identities: DEDUP_HOT_IDENTITIES,
            slice_identities: DEDUP_SLICE_IDENTITIES,
            spool_history: Uuid::nil(),
            spool_end_exclusive: u64::MAX,
            conditions: Conditions::default(),
        }
    }
}

/// What opening the window found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Runs in use.
    pub runs: usize,
    /// Identities in them.
    pub identities: u64,
    /// Files of unfinished seals and merges that were removed. No identity is lost with them.
    pub leftovers_removed: usize,
    /// Damaged runs, under their new names. Their identities are forgotten.
    pub set_aside: Vec<PathBuf>,
    /// Runs that were marked as expired, but have not expired.
    pub taken_back: usize,
    /// The time at which the window continues: that of its newest identity, or the given time if it is empty.
    pub now_millis: i64,
    /// The history of the spool from now on. Another one than that of the configuration if the spool is older than the window. The
    /// caller must store it with the spool, durably, before an identity is confirmed.
    pub spool_history: Uuid,
}

/// For the log: what was found.
impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities in {} files", self.identities, self.runs)?;
        if self.leftovers_removed > 0 {
            write!(f, "; {} unfinished files were removed", self.leftovers_removed)?;
        }
        if self.taken_back > 0 {
            write!(f, "; {} files that had been taken for expired are in use again", self.taken_back)?;
        }
        for path in &self.set_aside {
            write!(f, "; {} is damaged and was set aside", path.display())?;
        }
        Ok(())
    }
}
