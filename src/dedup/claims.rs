//! Claims: the fate of a batch of identities, and the ownership of those that are fresh.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::memtable::Fresh;
use super::shared::Shared;

/// What became of one identity of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Unknown until now. The batch's [`Claims`] own it.
    Fresh,
    /// Confirmed before, within the window.
    Duplicate {
        /// Certainly with another payload: both fingerprints are known, and they differ.
        differs: bool,
    },
    /// Claimed by another batch that is neither confirmed nor released yet.
    InFlight,
    /// The same identity is earlier in this batch, at that index, and fresh there: it shares that one's fate.
    /// Whether their payloads differ, the caller sees for himself.
    TwinOf(usize),
    /// It may be a duplicate, but the place on disk that tells cannot be read at the moment: to be retried.
    Unreadable,
}

/// Why a batch could not be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Sealing to disk cannot keep up with the confirmations, or fails: see [`Stats::sealing`](super::Stats::sealing).
    #[error("the dedup window is full until its hot generation is sealed to disk")]
    Full,
}

/// A claimed batch. It owns its fresh identities: until it is confirmed or dropped they are in flight to everybody else.
///
/// Dropping it releases them, so that a retry finds them unknown again. It may be sent to another thread.
#[must_use = "dropping the claims releases them"]
#[derive(Debug)]
pub struct Claims {
    shared: Arc<Shared>,
    outcomes: Vec<Claim>,
    fresh: Vec<Fresh>,
}

impl Claims {
    pub(super) fn new(shared: Arc<Shared>, outcomes: Vec<Claim>, fresh: Vec<Fresh>) -> Self {
        Self { shared, outcomes, fresh }
    }

    /// The fate of every identity, in input order.
    #[must_use]
    pub fn outcomes(&self) -> &[Claim] {
        &self.outcomes
    }

    /// How many fresh identities it still owns.
    #[must_use]
    pub fn fresh_len(&self) -> usize {
        self.fresh.len()
    }

    /// Releases the fresh identities whose input index `keep` declines. [`outcomes`](Self::outcomes) stays as it was.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let released: Vec<Fresh> = self.fresh.extract_if(.., |fresh| !keep(fresh.index)).collect();
        if !released.is_empty() {
            self.shared.lock().unsealed.release(&released);
        }
    }

    /// Releases the fresh identity at input index `index`; whether it owned one there.
    pub fn release(&mut self, index: usize) -> bool {
        let before = self.fresh.len();
        self.retain(|other| other != index);
        self.fresh.len() < before
    }

    /// Confirms the fresh identities, which are durable now: in order they get the marks `first_mark`, `first_mark + 1`, …
    ///
    /// Marks must ascend from confirmation to confirmation (they are the events' sequence numbers in the spool, confirmed
    /// in append order), and an event must be confirmed before the deliverer may [`checkpoint`](super::Window::checkpoint) past it.
    pub fn confirm(self, first_mark: u64) {
        let mut next = first_mark;
        self.confirm_each(|_| {
            let mark = next;
            next += 1;
            mark
        });
    }

    /// Confirms the fresh identities, each with the mark that `mark` gives for its input index. See [`confirm`](Self::confirm).
    pub fn confirm_each(mut self, mut mark: impl FnMut(usize) -> u64) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return;
        }
        // Asked for before the lock is taken: nothing of the caller's runs under it.
        let marks: Vec<u64> = fresh.iter().map(|one| mark(one.index)).collect();
        // The latest time that anybody told: confirming comes after claiming, and takes no time of its own.
        let now_millis = self.shared.now_millis.load(Ordering::Relaxed);
        let mut rotated = false;
        let mut state = self.shared.lock();
        for (one, mark) in fresh.iter().zip(marks) {
            rotated |= state.unsealed.confirm(one, mark, now_millis);
        }
        if rotated {
            self.shared.wake(&mut state);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if !self.fresh.is_empty() {
            self.shared.lock().unsealed.release(&self.fresh);
        }
    }
}
