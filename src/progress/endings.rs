//! The events that ended without being delivered. They are few; of very many the oldest are forgotten.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{bounded_map::BoundedMap, limits::ENDINGS_MAX};

/// How an event of the spool ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The sink has the event durably.
    Delivered,
    /// The sink permanently refused the event, for this reason. The event is in the dead letters.
    Refused(Arc<str>),
    /// The disk lost the event.
    Lost,
}

/// How a sink settled an event, for the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Settlement {
    /// The sink has the event durably.
    Delivered,
    /// The sink permanently refused the event. It is in the dead letters.
    Refused,
    /// The disk lost the event.
    Lost,
    /// The event was erased before the sink got it.
    Erased,
    /// The event is for another sink only.
    Skipped,
    /// The event was dropped for this sink, because those that waited for it filled its part of the spool.
    Dropped,
}

impl Settlement {
    /// All of them; the position of each is its number on disk.
    pub const ALL: [Self; 6] = [Self::Delivered, Self::Refused, Self::Lost, Self::Erased, Self::Skipped, Self::Dropped];

    /// The one with this number.
    #[must_use]
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// As written in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Erased => "erased",
            Self::Skipped => "skipped",
            Self::Dropped => "dropped",
        }
    }
}

impl Ending {
    /// The same for the accounts.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        match self {
            Self::Delivered => Settlement::Delivered,
            Self::Refused(_) => Settlement::Refused,
            Self::Lost => Settlement::Lost,
        }
    }
}

/// The remembered endings: see the module.
#[derive(Debug)]
pub(super) struct Endings {
    by_seq: BTreeMap<u64, Ending>,
    /// The number and the reason of refused events, by identity.
    refused: BoundedMap<Uuid, (u64, Arc<str>)>,
}

impl Default for Endings {
    fn default() -> Self {
        Self { by_seq: BTreeMap::new(), refused: BoundedMap::new(ENDINGS_MAX) }
    }
}

impl Endings {
    pub(super) fn note(&mut self, seq: u64, identity: Option<Uuid>, ending: Ending) {
        if let (Some(identity), Ending::Refused(reason)) = (identity, &ending) {
            self.refused.insert(identity, (seq, reason.clone()));
        }
        if ending != Ending::Delivered {
            self.by_seq.insert(seq, ending);
        }
        if self.by_seq.len() > ENDINGS_MAX {
            self.by_seq.pop_first();
        }
    }

    pub(super) fn at(&self, seq: u64) -> Option<Ending> {
        self.by_seq.get(&seq).cloned()
    }

    pub(super) fn refusal(&self, identity: Uuid) -> Option<Arc<str>> {
        self.refused.get(&identity).map(|(_, reason)| reason.clone())
    }

    /// The event is stored again, so how its first copy ended says nothing any more.
    pub(super) fn forget_refusal(&mut self, identity: Uuid) {
        if let Some((seq, _)) = self.refused.remove(&identity) {
            self.by_seq.remove(&seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_stored_again_is_refused_no_more_also_by_the_number_of_its_first_copy() {
        let mut endings = Endings::default();
        let [replayed, other] = [1, 2].map(Uuid::from_u128);
        endings.note(5, Some(replayed), Ending::Refused("why".into()));
        endings.note(6, Some(other), Ending::Refused("why".into()));
        endings.forget_refusal(replayed);
        assert_eq!((endings.at(5), endings.refusal(replayed)), (None, None));
        assert!(endings.at(6).is_some() && endings.refusal(other).is_some());
    }

    #[test]
    fn of_very_many_the_oldest_are_forgotten_and_memory_is_bounded() {
        let mut endings = Endings::default();
        let last = ENDINGS_MAX as u64;
        for seq in 0..=last {
            endings.note(seq, Some(Uuid::from_u128(seq.into())), Ending::Refused("why".into()));
        }
        assert_eq!((endings.at(0), endings.refusal(Uuid::from_u128(0))), (None, None));
        assert!(endings.at(1).is_some() && endings.refusal(Uuid::from_u128(last.into())).is_some());
        assert_eq!(endings.by_seq.len(), ENDINGS_MAX);
    }
}
