//! Claims, confirms and releases identities for `ingest`, in the window of this gateway and in the store of the fleet, if
//! configured.

use std::collections::HashMap;

use uuid::Uuid;

use super::claim::{Claim, ClaimError};
use super::claims::Claims;
use super::errors::SealError;
use super::fleet::{Fleet, Verdict};
use super::identity::{Identity, differ};
use super::look_up::{LookUp, Place};
use super::window::Window;
use crate::clock::ConfirmedClock;
use crate::outcome::PerEvent;

/// The dedup window of this gateway, and the store of its fleet if there is one. Clones share both.
#[derive(Clone, Debug)]
pub struct Deduplicator {
    window: Window,
    fleet: Option<Fleet>,
}

impl Deduplicator {
    /// Combines `window` and `fleet`.
    #[must_use]
    pub fn new(window: Window, fleet: Option<Fleet>) -> Self {
        Self { window, fleet }
    }

    /// Confirmed time, for [`claim`](Self::claim).
    #[must_use]
    pub fn clock(&self) -> ConfirmedClock {
        self.window.clock()
    }

    /// Where the events of identities are in this gateway's spool, if they are there: see [`Window::places`].
    #[must_use]
    pub fn places(&self, ids: &[Uuid]) -> Vec<Place> {
        self.window.places(ids)
    }

    /// What the window of this gateway knows of identities: see [`Window::look_up`].
    #[must_use]
    pub fn look_up(&self, ids: &[Uuid]) -> Vec<LookUp> {
        self.window.look_up(ids)
    }

    /// Since when the window knows every accepted event: see [`Window::known_since_millis`].
    #[must_use]
    pub fn known_since_millis(&self) -> i64 {
        self.window.known_since_millis()
    }

    /// Learns that the event of a known identity was stored again: see [`Window::stored_again`].
    pub fn stored_again(&self, identity: Identity, mark: u64) {
        self.window.stored_again(identity, mark);
    }

    /// Seals what the window has in memory, and closes it. Blocks on the disk.
    ///
    /// # Errors
    /// [`SealError`]: the next start must restore the identities from the spool.
    pub fn close_window(&self) -> Result<(), SealError> {
        self.window.close()
    }

    /// The store of the fleet.
    #[must_use]
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Claims a batch of identities: first here, then in the store those that are fresh here.
    ///
    /// An identity that the store knows is released here, not remembered, because a mark of the local window is a position in
    /// this gateway's own spool, and the event is not there. Asking the store again costs one lookup in its memory.
    ///
    /// # Errors
    /// [`ClaimError::Full`]: nothing is claimed.
    pub async fn claim(&self, identities: &[Identity], now_millis: i64) -> Result<Claimed, ClaimError> {
        let mut local = self.window.claim(identities, now_millis)?;
        let outcomes = local.take_outcomes();
        let mut claimed = Claimed { local, outcomes, unchecked: Vec::new(), shared: None };
        let Some(fleet) = self.fleet.as_ref().filter(|_| claimed.fresh_len() > 0) else { return Ok(claimed) };

        let fresh = claimed.outcomes.iter().zip(identities).filter(|(claim, _)| **claim == Claim::Fresh);
        let fresh: Vec<Identity> = fresh.map(|(_, identity)| *identity).collect();
        let ids: Vec<Uuid> = fresh.iter().map(|identity| identity.id).collect();
        let number = fleet.store.number();
        // Owned from now on, so that a drop during the request to the store also releases the claims there.
        claimed.shared = Some(StoreClaims { fleet: fleet.clone(), number, identities: fresh });
        // Boxed, because the future of every request would be two kilobytes larger, and it is copied.
        let verdicts = Box::pin(fleet.store.claim(&ids, number)).await;
        claimed.judge(&verdicts, identities);
        Ok(claimed)
    }
}

/// A claimed batch. It owns its fresh identities, here and in the store, until it is confirmed or dropped; dropping it
/// releases them.
#[must_use = "dropping it releases the claims"]
#[derive(Debug)]
pub struct Claimed {
    local: Claims,
    outcomes: PerEvent<Claim>,
    /// Input indices, ascending, of the fresh identities that the store was not asked about, or did not answer.
    unchecked: Vec<usize>,
    shared: Option<StoreClaims>,
}

impl Claimed {
    /// Takes the result for each identity out, in input order.
    #[must_use]
    pub fn take_outcomes(&mut self) -> PerEvent<Claim> {
        std::mem::take(&mut self.outcomes)
    }

    /// Number of fresh identities that it owns.
    #[must_use]
    pub fn fresh_len(&self) -> usize {
        self.local.fresh_len()
    }

    /// Whether another gateway may know the fresh identity at input index `index`, because the store gave no answer.
    #[must_use]
    pub fn is_unchecked(&self, index: usize) -> bool {
        self.unchecked.binary_search(&index).is_ok()
    }

    /// Confirms the fresh identities, which are durable now, in this gateway; see [`Claims::confirm`]. Returns what is left to be
    /// confirmed in the store.
    #[must_use = "dropping it releases the claims in the store"]
    pub fn confirm_here(self, first_mark: u64) -> Option<StoreClaims> {
        let mut next = first_mark;
        self.confirm_each_here(|_| {
            let mark = next;
            next += 1;
            mark
        })
    }

    /// The same, each with the mark that `mark` returns for its input index.
    #[must_use = "dropping it releases the claims in the store"]
    pub fn confirm_each_here(self, mark: impl FnMut(usize) -> u64) -> Option<StoreClaims> {
        let Self { local, unchecked, shared, .. } = self;
        local.confirm_each(mark);
        if let Some(shared) = &shared {
            shared.fleet.store.metrics.dedup_unchecked_events.inc_by(unchecked.len() as u64);
        }
        shared
    }

    /// Gives up the batch without releasing its claims in the store: they expire. For events that may or may not be durable:
    /// if the next start finds them in the spool, it confirms them.
    pub fn leave_to_expire(mut self) {
        if let Some(shared) = self.shared.take() {
            shared.leave_to_expire();
        }
    }

    /// Applies the verdicts of the store on the fresh identities, in their order.
    fn judge(&mut self, verdicts: &[Verdict], identities: &[Identity]) {
        self.unchecked = apply(&mut self.outcomes, verdicts, identities);
        let outcomes = &self.outcomes;
        self.local.retain(|index| outcomes[index] == Claim::Fresh);
        if let Some(shared) = &mut self.shared {
            let fresh = outcomes.iter().zip(identities).filter(|(claim, _)| **claim == Claim::Fresh);
            shared.identities = fresh.map(|(_, identity)| *identity).collect();
        }
    }
}

/// Replaces the fresh outcomes by the store's verdicts, and updates their twins. Returns the indices of the unchecked
/// identities.
fn apply(outcomes: &mut [Claim], verdicts: &[Verdict], identities: &[Identity]) -> Vec<usize> {
    let mut verdicts = verdicts.iter();
    // Fingerprints that the store knows, by the index of the first twin.
    let mut known = HashMap::new();
    let duplicate = |known: u32, index: usize| Claim::Duplicate { differs: differ(known, identities[index].fingerprint) };
    let mut unchecked = Vec::new();
    for index in 0..outcomes.len() {
        outcomes[index] = match outcomes[index] {
            Claim::Fresh => match verdicts.next() {
                Some(Verdict::Fresh) => Claim::Fresh,
                Some(Verdict::Duplicate { fingerprint }) => {
                    known.insert(index, *fingerprint);
                    duplicate(*fingerprint, index)
                }
                Some(Verdict::InFlight) => Claim::InFlight,
                Some(Verdict::Unchecked) | None => {
                    unchecked.push(index);
                    Claim::Fresh
                }
            },
            Claim::TwinOf(first) if outcomes[first] != Claim::Fresh => {
                known.get(&first).map_or(outcomes[first], |fingerprint| duplicate(*fingerprint, index))
            }
            known => known,
        };
    }
    unchecked
}

/// What a batch owns in the store. Dropping it releases it.
#[must_use = "dropping it releases the claims in the store"]
#[derive(Debug)]
pub struct StoreClaims {
    fleet: Fleet,
    number: u64,
    identities: Vec<Identity>,
}

impl StoreClaims {
    /// Confirms the identities in the store, in the background.
    pub fn confirm(mut self) {
        self.fleet.store.confirm(std::mem::take(&mut self.identities));
    }

    /// Gives the claims up without releasing them: they expire.
    pub fn leave_to_expire(mut self) {
        self.identities.clear();
    }
}

impl Drop for StoreClaims {
    fn drop(&mut self) {
        if !self.identities.is_empty() {
            let ids = self.identities.drain(..).map(|identity| identity.id);
            self.fleet.store.release(ids, self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DUPLICATE: Claim = Claim::Duplicate { differs: false };

    #[test]
    fn a_twin_shares_what_the_store_says_of_the_first() {
        let mut outcomes = [
            Claim::Fresh,
            Claim::TwinOf(0),
            DUPLICATE,
            Claim::Fresh,
            Claim::Fresh,
            Claim::TwinOf(3),
            Claim::Fresh,
            Claim::TwinOf(6),
            Claim::InFlight,
        ];
        let said = [Verdict::Duplicate { fingerprint: 7 }, Verdict::InFlight, Verdict::Unchecked, Verdict::Fresh];
        // The first has the payload that the store knows; its twin has another payload.
        let fingerprints = [7, 8, 0, 1, 1, 1, 1, 1, 1];
        let identities = fingerprints.map(|fingerprint| Identity { id: Uuid::nil(), fingerprint });
        let unchecked = apply(&mut outcomes, &said, &identities);
        assert_eq!(unchecked, [4]);
        let expected = [
            DUPLICATE,
            Claim::Duplicate { differs: true },
            DUPLICATE,
            Claim::InFlight,
            Claim::Fresh,
            Claim::InFlight,
            Claim::Fresh,
            Claim::TwinOf(6),
            Claim::InFlight,
        ];
        assert_eq!(outcomes, expected);
    }

    proptest! {
        #[test]
        fn whatever_the_store_says_no_twin_is_left_of_what_is_not_fresh(
            kinds in prop::collection::vec(0..4u8, 0..40),
            said in prop::collection::vec(0..4u8, 0..40),
        ) {
            let mut outcomes: Vec<Claim> = Vec::new();
            for (index, kind) in kinds.into_iter().enumerate() {
                let first = (0..index).rev().find(|at| outcomes[*at] == Claim::Fresh);
                outcomes.push(match (kind, first) {
                    (0, _) => DUPLICATE,
                    (1, _) => Claim::InFlight,
                    (2, Some(first)) => Claim::TwinOf(first),
                    _ => Claim::Fresh,
                });
            }
            let verdicts = [Verdict::Fresh, Verdict::Duplicate { fingerprint: 0 }, Verdict::InFlight, Verdict::Unchecked];
            let verdicts: Vec<Verdict> = said.into_iter().map(|said| verdicts[said as usize]).collect();
            let fresh = outcomes.iter().filter(|claim| **claim == Claim::Fresh).count();
            let known = verdicts.iter().take(fresh).filter(|said| matches!(said, Verdict::Duplicate { .. } | Verdict::InFlight)).count();
            let identities = vec![Identity::unknown(Uuid::nil()); outcomes.len()];
            let unchecked = apply(&mut outcomes, &verdicts, &identities);
            prop_assert!(unchecked.iter().all(|index| outcomes[*index] == Claim::Fresh));
            prop_assert_eq!(outcomes.iter().filter(|claim| **claim == Claim::Fresh).count(), fresh - known);
            for claim in &outcomes {
                if let Claim::TwinOf(first) = claim {
                    prop_assert_eq!(outcomes[*first], Claim::Fresh);
                }
            }
        }
    }
}
