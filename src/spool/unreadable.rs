//! Retry times of unreadable places: a block, or a whole segment. The time belongs to the place, not to the reader, so that
//! all readers and their clones share it.
//!
//! A block is retried for minutes, because a network disk or a controller may come back. After that it counts as damaged, but
//! only if the disk can be read elsewhere: a disk that cannot be read at all is gone, not damaged, and may come back whole.
//! Errors that say nothing about the block (no descriptor, no memory, no permission) are retried without limit.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::segment::segment_name;
use crate::{
    conditions::{Condition, Conditions},
    fault::{FaultKind, Operation, Patience, Tries, fault_kind},
};

/// The whole segment: its file cannot be opened.
pub(super) const WHOLE_FILE: u64 = u64::MAX;

/// A place: first sequence number of the segment, and offset of the block in it.
type Key = (u64, u64);

/// What to do about a failed read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again later.
    Wait,
    /// The retry time is over.
    Spent,
}

#[derive(Debug)]
struct Waiting {
    /// Errors that concern the place.
    lasting: Tries,
    /// Transient errors.
    passing: Tries,
    pause: Duration,
    last: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Unreadable {
    patience: Patience,
    /// Name of the spool's folder in the conditions.
    folder: String,
    conditions: Conditions,
    waiting: Mutex<BTreeMap<Key, Waiting>>,
    /// Segments whose files did not come back in time.
    given_up: Mutex<BTreeSet<u64>>,
}

impl Unreadable {
    pub(super) fn new(patience: Patience, folder: String, conditions: Conditions) -> Self {
        Self { patience, folder, conditions, waiting: Mutex::default(), given_up: Mutex::default() }
    }

    /// Notes that a read at this place failed at `now`.
    pub(super) fn failed(&self, segment: u64, block: u64, error: &io::Error, now: Instant) -> Verdict {
        let mut waiting = self.lock();
        let fresh = || Waiting { lasting: Tries::default(), passing: Tries::default(), pause: self.patience.first, last: now };
        let at = waiting.entry((segment, block)).or_insert_with(fresh);
        // A long time without an attempt does not count as retry time.
        if now.duration_since(at.last) > 4 * self.patience.longest {
            *at = fresh();
        }
        at.last = now;
        let says_nothing = !concerns_the_place(error);
        let pause = match says_nothing {
            true => at.passing.failed(&Patience { budget: Duration::MAX, ..self.patience }, now),
            false => at.lasting.failed(&self.patience, now),
        };
        let Some(pause) = pause else { return Verdict::Spent };
        at.pause = pause;
        drop(waiting);
        let detail = match says_nothing {
            true => format!("{error}; the events behind it wait"),
            false => format!(
                "{error}; tried again for {} s from the first failure on, then its events are given up and named",
                self.patience.budget.as_secs()
            ),
        };
        self.conditions.raise(Condition::SpoolUnreadable, &self.place((segment, block)), detail);
        Verdict::Wait
    }

    /// Notes that the file of this segment is gone. Its retry time begins with the first read.
    pub(super) fn is_missing(&self, segment: u64, detail: String, now: Instant) {
        if self.given_up.lock().unwrap_or_else(PoisonError::into_inner).contains(&segment) {
            return;
        }
        let key = (segment, WHOLE_FILE);
        let fresh = || Waiting { lasting: Tries::default(), passing: Tries::default(), pause: self.patience.first, last: now };
        self.lock().entry(key).or_insert_with(fresh);
        self.conditions.raise(Condition::SpoolUnreadable, &self.place(key), detail);
    }

    /// Notes that the file of this segment did not come back in time.
    pub(super) fn gave_up(&self, segment: u64) {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).insert(segment);
        self.passed(segment, 0..0);
    }

    /// Notes that everything in `bytes` of this segment was read or given up.
    pub(super) fn passed(&self, segment: u64, bytes: std::ops::Range<u64>) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        let passed = |key: &Key| key.0 == segment && (key.1 == WHOLE_FILE || bytes.contains(&key.1));
        let over: Vec<Key> = waiting.keys().filter(|key| passed(key)).copied().collect();
        waiting.retain(|key, _| !over.contains(key));
        drop(waiting);
        over.into_iter().for_each(|key| self.conditions.clear(Condition::SpoolUnreadable, &self.place(key)));
    }

    /// Forgets segments below `seq`, because they are gone.
    pub(super) fn forget_below(&self, seq: u64) {
        let over: Vec<u64> = self.lock().keys().map(|key| key.0).filter(|segment| *segment < seq).collect();
        over.into_iter().for_each(|segment| self.passed(segment, 0..u64::MAX));
    }

    /// Pause before the next attempt: the shortest pause of all failing places.
    pub(super) fn pause(&self) -> Duration {
        self.lock().values().map(|at| at.pause).min().unwrap_or(self.patience.first)
    }

    fn place(&self, (segment, block): Key) -> String {
        let name = segment_name(segment);
        if block == WHOLE_FILE { format!("{}/{name}", self.folder) } else { format!("{}/{name}@{block}", self.folder) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `error`, of a read or an open, means that the stored data may be lost.
pub(super) fn concerns_the_place(error: &io::Error) -> bool {
    let is_forbidden = matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::ACCESS | Errno::PERM));
    !is_forbidden && fault_kind(error, Operation::Read) == FaultKind::Place
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn unreadable() -> Unreadable {
        let patience = Patience { first: SECOND, longest: 2 * SECOND, budget: 10 * SECOND };
        Unreadable::new(patience, "spool".to_owned(), Conditions::default())
    }

    #[test]
    fn each_place_has_its_own_time_and_shows_until_it_is_passed() {
        let (places, start) = (unreadable(), Instant::now());
        let eio = io::Error::from(Errno::IO);
        assert_eq!(places.failed(7, 4096, &eio, start), Verdict::Wait);
        assert_eq!(places.failed(7, 8192, &eio, start + 9 * SECOND), Verdict::Wait);
        assert_eq!(places.conditions.list().len(), 2);
        // Without an attempt on the first for longer than any pause, its time begins again.
        assert_eq!(places.failed(7, 4096, &eio, start + 9 * SECOND), Verdict::Wait);
        for second in 10..19 {
            assert_eq!(places.failed(7, 4096, &eio, start + second * SECOND), Verdict::Wait);
        }
        assert_eq!(places.failed(7, 4096, &eio, start + 19 * SECOND), Verdict::Spent);
        places.passed(7, 0..8192);
        assert_eq!(places.conditions.list().len(), 1);
        places.forget_below(8);
        assert_eq!(places.conditions.list(), []);
    }

    #[test]
    fn what_says_nothing_of_the_block_is_waited_out_however_long_it_takes() {
        let (places, start) = (unreadable(), Instant::now());
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::PERM, Errno::STALE] {
            for minute in 0..10 {
                assert_eq!(places.failed(7, 0, &errno.into(), start + minute * 60 * SECOND), Verdict::Wait, "{errno}");
            }
        }
        for errno in [Errno::IO, Errno::NOENT, Errno::BADMSG, Errno::ISDIR] {
            assert!(concerns_the_place(&errno.into()), "{errno}");
        }
    }
}
