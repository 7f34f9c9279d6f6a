//! What ingest uses: claim, confirm, release, with or without a fleet.

use uuid::Uuid;

use super::{Fleet, Verdict};
use crate::dedup::{Claim, ClaimError, Claims, Window};

/// The dedup window of this gateway, and the store of its fleet where there is one. Clones are the same.
#[derive(Clone, Debug)]
pub struct Deduplicator {
    window: Window,
    fleet: Option<Fleet>,
}

impl Deduplicator {
    /// Of these parts.
    #[must_use]
    pub fn new(window: Window, fleet: Option<Fleet>) -> Self {
        Self { window, fleet }
    }

    /// The store of the fleet.
    #[must_use]
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Claims a batch of identities: here, and then in the store what is fresh here.
    ///
    /// What the store knows is released here, not remembered: a mark of the local window is a place in this gateway's own
    /// spool, which that event does not have. Asking the store again is one look-up in its memory.
    ///
    /// # Errors
    /// [`ClaimError::Full`]: then nothing is claimed.
    pub async fn claim(&self, ids: &[Uuid], now_millis: i64) -> Result<Claimed, ClaimError> {
        let local = self.window.claim(ids, now_millis)?;
        let outcomes = local.outcomes().to_vec();
        let mut claimed = Claimed { local, outcomes, unchecked: Vec::new(), shared: None };
        let Some(fleet) = self.fleet.as_ref().filter(|_| claimed.fresh_len() > 0) else { return Ok(claimed) };

        let fresh = claimed.outcomes.iter().zip(ids).filter(|(claim, _)| **claim == Claim::Fresh);
        let fresh: Vec<Uuid> = fresh.map(|(_, id)| *id).collect();
        let number = fleet.store.number();
        // Owned from now on, so that what is dropped while it is asked for is released too.
        claimed.shared = Some(Shared { fleet: fleet.clone(), number, ids: fresh.clone() });
        let verdicts = fleet.store.claim(&fresh, number).await;
        claimed.judge(&verdicts, ids);
        Ok(claimed)
    }
}

/// A claimed batch. It owns its fresh identities, here and in the store, until it is confirmed or dropped; dropping it
/// releases them.
#[must_use = "dropping it releases the claims"]
#[derive(Debug)]
pub struct Claimed {
    local: Claims,
    outcomes: Vec<Claim>,
    /// Input indices, ascending, of the fresh ones that the store was not asked about, or did not answer.
    unchecked: Vec<usize>,
    shared: Option<Shared>,
}

impl Claimed {
    /// The fate of every identity, in input order.
    #[must_use]
    pub fn outcomes(&self) -> &[Claim] {
        &self.outcomes
    }

    /// How many fresh identities it owns.
    #[must_use]
    pub fn fresh_len(&self) -> usize {
        self.local.fresh_len()
    }

    /// Whether the fresh identity at input index `index` may be known to another gateway, because the store did not say.
    #[must_use]
    pub fn is_unchecked(&self, index: usize) -> bool {
        self.unchecked.binary_search(&index).is_ok()
    }

    /// Confirms the fresh identities, which are durable now; see [`Claims::confirm`]. The store is told in the background.
    pub fn confirm(self, first_mark: u64) {
        let Self { local, unchecked, shared, .. } = self;
        local.confirm(first_mark);
        if let Some(shared) = shared {
            shared.fleet.store.metrics.dedup_unchecked_events.inc_by(unchecked.len() as u64);
            shared.confirm();
        }
    }

    /// Takes in what the store says of the fresh ones, in their order.
    fn judge(&mut self, verdicts: &[Verdict], ids: &[Uuid]) {
        self.unchecked = apply(&mut self.outcomes, verdicts);
        let outcomes = &self.outcomes;
        self.local.retain(|index| outcomes[index] == Claim::Fresh);
        if let Some(shared) = &mut self.shared {
            let fresh = outcomes.iter().zip(ids).filter(|(claim, _)| **claim == Claim::Fresh);
            shared.ids = fresh.map(|(_, id)| *id).collect();
        }
    }
}

/// Replaces the fresh outcomes that the store knows better, and their twins with them. The indices of the unchecked ones.
fn apply(outcomes: &mut [Claim], verdicts: &[Verdict]) -> Vec<usize> {
    let mut verdicts = verdicts.iter();
    let mut unchecked = Vec::new();
    for index in 0..outcomes.len() {
        outcomes[index] = match outcomes[index] {
            Claim::Fresh => match verdicts.next() {
                Some(Verdict::Fresh) => Claim::Fresh,
                Some(Verdict::Duplicate) => Claim::Duplicate,
                Some(Verdict::InFlight) => Claim::InFlight,
                Some(Verdict::Unchecked) | None => {
                    unchecked.push(index);
                    Claim::Fresh
                }
            },
            Claim::TwinOf(first) if outcomes[first] != Claim::Fresh => outcomes[first],
            known => known,
        };
    }
    unchecked
}

/// What a batch owns in the store.
#[derive(Debug)]
struct Shared {
    fleet: Fleet,
    number: u64,
    ids: Vec<Uuid>,
}

impl Shared {
    fn confirm(mut self) {
        self.fleet.store.confirm(std::mem::take(&mut self.ids));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            self.fleet.store.release(std::mem::take(&mut self.ids), self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_twin_shares_what_the_store_says_of_the_first() {
        let mut outcomes = [
            Claim::Fresh,
            Claim::TwinOf(0),
            Claim::Duplicate,
            Claim::Fresh,
            Claim::Fresh,
            Claim::TwinOf(3),
            Claim::Fresh,
            Claim::TwinOf(6),
            Claim::InFlight,
        ];
        let unchecked = apply(&mut outcomes, &[Verdict::Duplicate, Verdict::InFlight, Verdict::Unchecked, Verdict::Fresh]);
        assert_eq!(unchecked, [4]);
        let expected = [
            Claim::Duplicate,
            Claim::Duplicate,
            Claim::Duplicate,
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
                    (0, _) => Claim::Duplicate,
                    (1, _) => Claim::InFlight,
                    (2, Some(first)) => Claim::TwinOf(first),
                    _ => Claim::Fresh,
                });
            }
            let verdicts = [Verdict::Fresh, Verdict::Duplicate, Verdict::InFlight, Verdict::Unchecked];
            let verdicts: Vec<Verdict> = said.into_iter().map(|said| verdicts[said as usize]).collect();
            let fresh = outcomes.iter().filter(|claim| **claim == Claim::Fresh).count();
            let known = verdicts.iter().take(fresh).filter(|said| matches!(said, Verdict::Duplicate | Verdict::InFlight)).count();
            let unchecked = apply(&mut outcomes, &verdicts);
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
