//! The fault policy (promise P7): the prognosis of a system error decides the reaction.
//!
//! | kind | meaning | reaction |
//! |---|---|---|
//! | [`Transient`](FaultKind::Transient) | the process or the system lacks something for a moment | pause and retry |
//! | [`NoSpace`](FaultKind::NoSpace) | there is no space | refuse with 503 until there is |
//! | [`Place`](FaultKind::Place) | this block, file, folder or partition is bad | retry for a time, set it aside, continue with the rest |
//! | [`Medium`](FaultKind::Medium) | the content of the disk is unknown | accept nothing more, report it |
//!
//! Code that gets an [`io::Error`] of the disk must ask [`fault_kind`], and must not match on error codes itself. Code that
//! waits for a fault to end takes its pauses from [`Tries`], within a [`Patience`], whose limits have reasons.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::io::Errno;

/// The prognosis of an error. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Ends by itself: no descriptor, no memory, a signal, a busy device.
    Transient,
    /// Ends when space is freed: the file system, a quota or the inodes are used up.
    NoSpace,
    /// Permanent, but only at this place.
    Place,
    /// Permanent, and for the whole disk: a sync failed, it is read-only, or it does not take writes.
    Medium,
}

/// The operation that failed. The same error means more in a sync than in a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading bytes.
    Read,
    /// Writing or truncating bytes.
    Write,
    /// Making bytes or names durable.
    Sync,
    /// Opening, creating, listing, renaming or removing a file or a folder.
    Name,
}

/// Classifies `error`, which came during `operation`.
#[must_use]
pub fn fault_kind(error: &io::Error, operation: Operation) -> FaultKind {
    if operation == Operation::Sync {
        // The system may have dropped the bytes that it failed to write; a second sync would succeed without them.
        return FaultKind::Medium;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::AGAIN | Errno::BUSY | Errno::TIMEDOUT) => {
            FaultKind::Transient
        }
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => FaultKind::NoSpace,
        Some(Errno::ROFS | Errno::NODEV | Errno::NXIO | Errno::NOTCONN | Errno::STALE) => FaultKind::Medium,
        Some(Errno::IO) if operation == Operation::Write => FaultKind::Medium,
        Some(_) => FaultKind::Place,
        None => match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory | io::ErrorKind::TimedOut => {
                FaultKind::Transient
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => FaultKind::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => FaultKind::Medium,
            _ => FaultKind::Place,
        },
    }
}

/// Retry policy: for how long, and with which pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Pause after the first failure; each further failure doubles it.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Time after the first failure at which retries end. [`Duration::MAX`]: never.
    pub budget: Duration,
}

impl Patience {
    /// The pause after `failures` failures in a row, without jitter.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest)
    }
}

/// Failures in a row at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    failures: u32,
    since: Option<Instant>,
}

impl Tries {
    /// Records a failure at `now`. Returns the pause before the next attempt, or `None` if the budget is used up.
    pub fn failed(&mut self, patience: &Patience, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        (now.duration_since(since) < patience.budget).then(|| patience.pause(self.failures))
    }

    /// Records a success: the next failure counts as the first.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the last try failed.
    #[must_use]
    pub fn are_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether the budget is used up, so that the place counts as lost.
    #[must_use]
    pub fn are_spent(&self, patience: &Patience, now: Instant) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) >= patience.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_the_future_brings() {
        let kind = |errno: Errno, operation| fault_kind(&errno.into(), operation);
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN] {
            assert_eq!(kind(errno, Operation::Name), FaultKind::Transient, "{errno}");
        }
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(kind(errno, Operation::Write), FaultKind::NoSpace, "{errno}");
            assert_eq!(kind(errno, Operation::Name), FaultKind::NoSpace, "{errno}");
        }
        assert_eq!(kind(Errno::IO, Operation::Read), FaultKind::Place, "one sector");
        assert_eq!(kind(Errno::IO, Operation::Write), FaultKind::Medium);
        assert_eq!(kind(Errno::ROFS, Operation::Name), FaultKind::Medium);
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::XDEV, Errno::LOOP] {
            assert_eq!(kind(errno, Operation::Name), FaultKind::Place, "{errno}");
        }
        for errno in [Errno::IO, Errno::NOSPC, Errno::INTR, Errno::MFILE] {
            assert_eq!(kind(errno, Operation::Sync), FaultKind::Medium, "a sync that failed is never tried again: {errno}");
        }
        assert_eq!(fault_kind(&io::ErrorKind::WriteZero.into(), Operation::Write), FaultKind::NoSpace);
    }

    #[test]
    fn pauses_grow_to_the_longest_and_the_budget_counts_from_the_first_failure() {
        let second = Duration::from_secs(1);
        let patience = Patience { first: second, longest: 5 * second, budget: 20 * second };
        let start = Instant::now();
        let mut tries = Tries::default();
        let mut now = start;
        let mut pauses = Vec::new();
        while let Some(pause) = tries.failed(&patience, now) {
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5]);
        assert!(tries.are_spent(&patience, now) && !tries.are_spent(&patience, start + 19 * second));
        tries.succeeded();
        assert!(!tries.are_failing() && tries.failed(&patience, now).is_some(), "a success gives a new budget");
    }
}
