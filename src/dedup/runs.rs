//! The current set of sealed runs. It is replaced as a whole, so that lookups need no lock.

use std::sync::Arc;

use uuid::Uuid;

use super::identity::Key;
use super::look_up::{Doubt, KnownIdentity, LookUp, Place};
use super::merge::{MergeLimits, Size};
use super::run::{Found, Run, Sealed};
use super::stats::Counters;
use crate::outcome::PerEvent;

/// The runs, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RunSet {
    pub(super) runs: Vec<Arc<Run>>,
    /// The newest generation in the runs. A claim uses it to detect that a seal overtook its lookup.
    pub(super) sealed_generation: u64,
}

/// Runs to forget.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// All of their identities are older than the window.
    pub(super) expired: Vec<Arc<Run>>,
    /// Within the window, but there are too many identities.
    pub(super) surplus: Vec<Arc<Run>>,
}

impl RunSet {
    /// Writes into `found` what the runs know of each key.
    pub(super) fn look_up(&self, keys: &[Key], found: &mut PerEvent<Sealed>, counters: &Counters) {
        let is_known = |found: &Sealed| matches!(found, Sealed::Known { .. });
        found.clear();
        found.resize(keys.len(), Sealed::Unknown);
        let mut maybe = Vec::new();
        // The newest first, because most duplicates come soon. All filters of a run before any of its pages, so that the
        // probes of different keys wait for memory side by side, and no probe waits for a read.
        for run in self.runs.iter().rev() {
            let probed = keys.iter().zip(found.iter()).enumerate();
            maybe
                .extend(probed.filter(|(_, (key, found))| !is_known(found) && run.may_contain(key.hash)).map(|(index, _)| index));
            for index in maybe.drain(..) {
                match run.look_up(&keys[index], counters) {
                    // An older run may still know the key, or be unreadable too.
                    Sealed::Unknown => {}
                    known => found[index] = known,
                }
            }
        }
    }

    /// Completes `answers` with what the runs know of the keys that memory does not know. `spool_history` is that of the spool in
    /// use.
    pub(super) fn complete(&self, keys: &[Key], answers: &mut [LookUp], spool_history: Uuid, counters: &Counters) {
        let sealed_below = self.mark_end_exclusive(spool_history);
        // The newest first: if an event was stored again, the newest run knows its newest place.
        for run in self.runs.iter().rev() {
            for (key, answer) in keys.iter().zip(answers.iter_mut()) {
                if matches!(answer, LookUp::Known(_)) || !run.may_contain(key.hash) {
                    continue;
                }
                *answer = match (run.find(key, counters), *answer) {
                    (Found::Entry(known), _) => LookUp::Known(KnownIdentity {
                        place: run.footer.place(known.offset, spool_history).map_or(Place::Before(sealed_below), Place::At),
                        oldest_millis: run.footer.oldest_millis,
                        newest_millis: run.footer.newest_millis,
                    }),
                    (Found::Damaged, LookUp::Unknown) => LookUp::CannotTell(Doubt::PageDamaged),
                    (Found::Unreadable, LookUp::Unknown | LookUp::CannotTell(_)) => LookUp::CannotTell(Doubt::PageUnreadable),
                    (_, before) => before,
                };
            }
        }
    }

    /// The set plus one run, which holds the generation `sealed`.
    pub(super) fn with(&self, run: Option<Run>, sealed: u64) -> Self {
        let mut runs = self.runs.clone();
        runs.extend(run.map(Arc::new));
        Self { runs, sealed_generation: sealed }
    }

    /// The set with `merged` in place of its inputs.
    pub(super) fn replaced(&self, is_input: impl Fn(&Arc<Run>) -> bool, merged: Option<Run>) -> Self {
        let at = self.runs.iter().position(&is_input).unwrap_or(self.runs.len());
        let mut runs: Vec<Arc<Run>> = self.runs.iter().filter(|run| !is_input(run)).map(Arc::clone).collect();
        runs.splice(at..at, merged.map(Arc::new));
        Self { runs, sealed_generation: self.sealed_generation }
    }

    /// The set without the runs to forget now, and those runs.
    pub(super) fn forget(&self, expired_before_millis: i64, identities_max: u64) -> (Self, Forgotten) {
        let mut forgotten = Forgotten::default();
        let (expired, mut kept) =
            self.runs.iter().cloned().partition::<Vec<_>, _>(|run| run.footer.newest_millis < expired_before_millis);
        forgotten.expired = expired;
        let mut identities: u64 = kept.iter().map(|run| run.footer.identities).sum();
        while identities > identities_max {
            let oldest = kept.remove(0);
            identities -= oldest.footer.identities;
            forgotten.surplus.push(oldest);
        }
        (Self { runs: kept, sealed_generation: self.sealed_generation }, forgotten)
    }

    /// The neighbouring runs to merge next.
    pub(super) fn choose_merge(&self, limits: &MergeLimits) -> Option<&[Arc<Run>]> {
        let size = |run: &Arc<Run>| Size {
            identities: run.footer.identities,
            oldest_millis: run.footer.oldest_millis,
            newest_millis: run.footer.newest_millis,
            waits: run.faults().are_waiting(),
        };
        let sizes: Vec<Size> = self.runs.iter().map(size).collect();
        super::merge::choose(&sizes, limits).map(|range| &self.runs[range])
    }

    /// When the next run may be forgotten, minus the window.
    pub(super) fn next_newest_millis(&self) -> Option<i64> {
        self.runs.iter().map(|run| run.footer.newest_millis).min()
    }

    /// Every identity confirmed with a smaller mark in this history of the spool is in the runs, or was there. 0 if the marks
    /// belong to another history.
    pub(super) fn mark_end_exclusive(&self, spool_history: Uuid) -> u64 {
        let newest = self.runs.last().filter(|run| run.footer.spool_history == spool_history);
        newest.map_or(0, |run| run.footer.mark_end_exclusive)
    }

    /// The newest mark, if it is of format 1, which does not name the spool; else 0.
    pub(super) fn unnamed_mark_end_exclusive(&self) -> u64 {
        self.mark_end_exclusive(Uuid::nil())
    }

    pub(super) fn sum(&self, of: impl Fn(&Run) -> u64) -> u64 {
        self.runs.iter().map(|run| of(run)).sum()
    }
}
