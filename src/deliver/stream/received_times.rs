//! The times at which events were received, to the second. They give the age of the oldest event without another read of the
//! spool: to find one event there, its segment must be read up to the event.

use std::collections::BTreeMap;

/// Smaller differences, in milliseconds, are not recorded.
const GRAIN_MILLIS: i64 = 1000;

/// From a number in the spool to the time at which the event with that number, and about the events after it, were received;
/// `None` for a frame without a time.
#[derive(Debug, Default)]
pub(super) struct ReceivedTimes(BTreeMap<u64, Option<i64>>);

impl ReceivedTimes {
    /// Records that the event with this number was received at `received_millis`.
    pub(super) fn note(&mut self, seq: u64, received_millis: Option<i64>) {
        let is_like_the_one_before = |(_, before): (&u64, &Option<i64>)| match (before, received_millis) {
            (Some(before), Some(now)) => (now - before).abs() < GRAIN_MILLIS,
            (before, now) => *before == now,
        };
        if !self.0.range(..=seq).next_back().is_some_and(is_like_the_one_before) {
            self.0.insert(seq, received_millis);
        }
    }

    /// When the event with this number was received. Later calls must not ask for an earlier event. `None` if nothing is known.
    pub(super) fn at(&mut self, seq: u64) -> Option<Option<i64>> {
        let (&known, &received_millis) = self.0.range(..=seq).next_back()?;
        self.0 = self.0.split_off(&known);
        Some(received_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_time_of_the_last_one_noted_before_and_forgets_those_before_that() {
        let mut ages = ReceivedTimes::default();
        assert_eq!(ages.at(5), None);
        for (seq, millis) in [(10, 1_000), (20, 1_500), (30, 2_400), (40, 9_000)] {
            ages.note(seq, Some(millis));
        }
        ages.note(25, None);
        assert_eq!(ages.at(9), None);
        assert_eq!(ages.at(24), Some(Some(1_000)), "half a second more is not noted");
        assert_eq!((ages.at(29), ages.at(39), ages.at(99)), (Some(None), Some(Some(2_400)), Some(Some(9_000))));
        assert_eq!(ages.0.len(), 1);
    }
}
