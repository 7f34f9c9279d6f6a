//! A claimed batch of identities. It owns the fresh ones until they are confirmed or released.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::claim::Claim;
use super::memtable::Fresh;
use super::shared::Shared;
use crate::outcome::PerEvent;

/// A claimed batch. It owns its fresh identities: until it is confirmed or dropped, other batches see them in flight.
///
/// Dropping it releases them, so that a retry finds them unknown again. It may be sent to another thread.
#[must_use = "dropping the claims releases them"]
#[derive(Debug)]
pub struct Claims {
    shared: Arc<Shared>,
    outcomes: PerEvent<Claim>,
    fresh: PerEvent<Fresh>,
}

impl Claims {
    pub(super) fn new(shared: Arc<Shared>, outcomes: PerEvent<Claim>, fresh: PerEvent<Fresh>) -> Self {
        Self { shared, outcomes, fresh }
    }

    /// The result for each identity, in input order.
    #[must_use]
    pub fn outcomes(&self) -> &[Claim] {
        &self.outcomes
    }

    /// Takes these results out.
    pub(super) fn take_outcomes(&mut self) -> PerEvent<Claim> {
        std::mem::take(&mut self.outcomes)
    }

    /// Number of fresh identities that it still owns.
    #[must_use]
    pub fn fresh_len(&self) -> usize {
        self.fresh.len()
    }

    /// Releases the fresh identities whose input index `keep` rejects. [`outcomes`](Self::outcomes) does not change.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut released = Vec::new();
        self.fresh.retain(|fresh| {
            let is_kept = keep(fresh.index);
            if !is_kept {
                released.push(*fresh);
            }
            is_kept
        });
        if !released.is_empty() {
            self.shared.lock().unsealed.release(&released);
        }
    }

    /// Releases the fresh identity at input index `index`. Returns whether the batch owned it.
    pub fn release(&mut self, index: usize) -> bool {
        let before = self.fresh.len();
        self.retain(|other| other != index);
        self.fresh.len() < before
    }

    /// Confirms the fresh identities, which are durable now. In order, they get the marks `first_mark`, `first_mark + 1`, …
    ///
    /// Marks must ascend from confirmation to confirmation: they are the sequence numbers of the events in the spool,
    /// confirmed in append order. An event must be confirmed before the deliverer may
    /// [`checkpoint`](super::Window::checkpoint) past it.
    pub fn confirm(self, first_mark: u64) {
        let mut next = first_mark;
        self.confirm_each(|_| {
            let mark = next;
            next += 1;
            mark
        });
    }

    /// Confirms the fresh identities, each with the mark that `mark` returns for its input index. See
    /// [`confirm`](Self::confirm).
    pub fn confirm_each(mut self, mut mark: impl FnMut(usize) -> u64) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return;
        }
        // Before the lock is taken, because no code of the caller may run under it.
        let marks: PerEvent<u64> = fresh.iter().map(|one| mark(one.index)).collect();
        // The latest time that a caller gave. A confirmation follows a claim, and reads no clock itself.
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
