//! The settings of a window, and the report of its opening.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::conditions::Conditions;
use crate::limits::{DEDUP_HOT_IDENTITIES, DEDUP_IDENTITIES_MAX, DEDUP_SLICE_IDENTITIES, DEDUP_WINDOW_DAYS};

/// How a window is set up.
#[derive(Clone, Debug)]
pub struct WindowConfig {
    /// The folder of its runs, for this window alone.
    pub dir: PathBuf,
    /// How long an identity is remembered at least, unless there are too many.
    pub window: Duration,
    /// Identities in sealed runs at most; beyond it the oldest are forgotten early.
    pub identities_max: u64,
    /// Identities in the hot generation; twice as many, with the claims in flight, are held in memory at most.
    pub hot_identities: usize,
    /// Identities in one slice of a run, at most, about.
    pub slice_identities: u64,
    /// The spool whose numbers the marks are; nil for one without a name.
    pub spool: Uuid,
    /// One past the last event that the spool holds at the start. A larger mark is of events that it lost.
    pub spool_end_exclusive: u64,
    /// Where its faults are raised.
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
            spool: Uuid::nil(),
            spool_end_exclusive: u64::MAX,
            conditions: Conditions::default(),
        }
    }
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Runs taken.
    pub runs: usize,
    /// Identities in them.
    pub identities: u64,
    /// Files of unfinished seals and merges that were removed. Nothing is lost with them.
    pub leftovers_removed: usize,
    /// Damaged runs, under the name they have now. Their identities are forgotten.
    pub set_aside: Vec<PathBuf>,
    /// Runs that had been taken for expired, and are not.
    pub taken_back: usize,
    /// The time at which the window goes on: that of its newest identity, or the time given where it has none.
    pub now_millis: i64,
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
