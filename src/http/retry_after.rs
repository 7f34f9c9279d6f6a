//! `Retry-After`: how long a refused client waits, by the cause, with a random part.
//!
//! Many clients are refused at the same moment, for the same cause. The random part keeps them from coming back in the same
//! second. The wait is never shorter than what is known to be true.

use std::time::Duration;

use crate::{
    limits::{
        RETRY_DEAD_LETTERS_SECONDS, RETRY_RATE_JITTER_PERCENT, RETRY_SHORTLY_SECONDS, RETRY_SOON_SECONDS, RETRY_STORAGE_SECONDS,
    },
    outcome::RetryCause,
};

/// How long a cause lasts, the shortest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// Until other requests are answered.
    Soon,
    /// Until the dedup window or the sink keeps up again.
    Shortly,
    /// Until the spool or the disk has room.
    Storage,
    /// Until somebody makes room in the dead letters.
    DeadLetters,
}

impl Wait {
    /// The wait for one cause.
    pub(super) fn of(cause: RetryCause) -> Self {
        match cause {
            RetryCause::Busy | RetryCause::InFlight => Self::Soon,
            RetryCause::DedupFull
            | RetryCause::KeyDedupShareFull
            | RetryCause::DedupUnavailable
            | RetryCause::NotDeliveredInTime => Self::Shortly,
            RetryCause::StorageUnavailable
            | RetryCause::SinkUnavailable
            | RetryCause::Lost
            | RetryCause::QuotaFull
            | RetryCause::KeySpoolShareFull => Self::Storage,
            RetryCause::DeadLettersFull => Self::DeadLetters,
        }
    }

    /// The wait for the causes of one request: the longest, but full dead letters count only where they are the only cause,
    /// because good events must not wait for bad ones.
    pub(super) fn of_all(causes: impl Iterator<Item = RetryCause> + Clone) -> Self {
        let good = causes.clone().filter(|cause| *cause != RetryCause::DeadLettersFull);
        good.map(Self::of).max().or_else(|| causes.map(Self::of).max()).unwrap_or(Self::Storage)
    }

    /// Whole seconds, at random within the bounds of the wait.
    pub(super) fn seconds(self) -> u64 {
        let (least, most) = match self {
            Self::Soon => RETRY_SOON_SECONDS,
            Self::Shortly => RETRY_SHORTLY_SECONDS,
            Self::Storage => RETRY_STORAGE_SECONDS,
            Self::DeadLetters => RETRY_DEAD_LETTERS_SECONDS,
        };
        fastrand::u64(least..=most)
    }
}

/// The wait until a rate allows the request again, at random longer than `after`, never shorter.
pub(super) fn prolonged(after: Duration) -> Duration {
    after + after * fastrand::u32(..=RETRY_RATE_JITTER_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_thousand_clients_with_the_same_refusal_do_not_come_back_in_the_same_second() {
        for (wait, (least, most)) in [
            (Wait::Soon, RETRY_SOON_SECONDS),
            (Wait::Shortly, RETRY_SHORTLY_SECONDS),
            (Wait::Storage, RETRY_STORAGE_SECONDS),
            (Wait::DeadLetters, RETRY_DEAD_LETTERS_SECONDS),
        ] {
            let mut per_second = BTreeMap::<u64, usize>::new();
            (0..1_000).for_each(|_| *per_second.entry(wait.seconds()).or_default() += 1);
            assert!(per_second.keys().all(|second| (least..=most).contains(second)), "{per_second:?}");
            let fair = 1_000 / (most - least + 1) as usize;
            // Chance: of sixty seconds with sixteen clients each, one has 32 once in a thousand runs, and 42 never.
            assert!(per_second.values().all(|clients| *clients < 2 * fair + 10), "{wait:?}: {per_second:?}");
        }
        let prolonged: Vec<u64> = (0..1_000).map(|_| prolonged(Duration::from_secs(40)).as_secs()).collect();
        assert!(prolonged.iter().all(|seconds| (40..=50).contains(seconds)));
        assert!((40..50).all(|second| prolonged.iter().filter(|found| **found == second).count() < 200));
    }

    #[test]
    fn the_longest_cause_counts_and_full_dead_letters_only_where_nothing_else_is_the_matter() {
        let of = |causes: &[RetryCause]| Wait::of_all(causes.iter().copied());
        assert_eq!(of(&[RetryCause::Busy, RetryCause::QuotaFull, RetryCause::DedupFull]), Wait::Storage);
        assert_eq!(of(&[RetryCause::InFlight, RetryCause::DeadLettersFull]), Wait::Soon);
        assert_eq!(of(&[RetryCause::DeadLettersFull]), Wait::DeadLetters);
    }
}
