//! Which minute each event of the spool was received in, by its number.

use std::{collections::VecDeque, ops::Range};

use super::accepted::Run;
use crate::{clock::unit_seconds, event::millis_of_iso};

/// Milliseconds of a minute.
const MINUTE_MILLIS: i64 = 60_000;

/// The minute of a time in Unix milliseconds: whole minutes since 1970.
#[must_use]
pub fn minute_of(millis: i64) -> i64 {
    millis.div_euclid(MINUTE_MILLIS)
}

/// The time at which a minute begins, in Unix milliseconds.
#[must_use]
pub fn minute_start(minute: i64) -> i64 {
    minute.saturating_mul(MINUTE_MILLIS)
}

/// Which texts [`time_of`] reads, for messages: "… are times".
pub const TIMES: &str = "2026-11-20, 2026-11-20T18:00:00Z or 12h (ago) are";

/// The time that a text means, in Unix milliseconds: `2026-11-20T18:00:00Z` (or another offset), `2026-11-20` (its beginning), or
/// an age before `now_millis`, such as `12h`.
#[must_use]
pub fn time_of(text: &str, now_millis: i64) -> Option<i64> {
    let ago = text.split_at_checked(text.len().wrapping_sub(1)).and_then(|(number, unit)| {
        let number: u32 = number.parse().ok()?;
        Some(now_millis.saturating_sub(i64::from(number) * i64::from(unit_seconds(unit)?) * 1_000))
    });
    ago.or_else(|| millis_of_iso(text)).or_else(|| millis_of_iso(&format!("{text}T00:00:00Z")))
}

/// The minutes of consecutive events. Events of one minute in a row are one entry, so that a backlog of hours has some hundred.
#[derive(Clone, Debug, Default)]
pub(super) struct MinutesBySeq {
    /// First number, and minute.
    entries: VecDeque<(u64, i64)>,
    end: u64,
}

impl MinutesBySeq {
    /// No events yet; the next has the number `end`.
    pub(super) fn starting_at(end: u64) -> Self {
        Self { entries: VecDeque::new(), end }
    }

    /// One past the last event.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds the next events.
    pub(super) fn push(&mut self, run: &Run) {
        let minute = minute_of(run.received_millis);
        if self.entries.back().is_none_or(|(_, last)| *last != minute) {
            self.entries.push_back((self.end, minute));
        }
        self.end += u64::from(run.events);
    }

    /// The events before `seq` are missing: the next one has this number.
    pub(super) fn skip_to(&mut self, seq: u64) {
        self.end = seq;
    }

    /// Calls `visit` with each minute of `range`, and how many of its events are in it. Events before the first known one belong to
    /// the first known minute, and none beyond the end are visited.
    pub(super) fn visit(&self, range: Range<u64>, mut visit: impl FnMut(i64, u64)) {
        let range = range.start..range.end.min(self.end);
        let mut at = range.start;
        let mut index = self.entries.partition_point(|(first, _)| *first <= at).saturating_sub(1);
        while at < range.end {
            let Some((_, minute)) = self.entries.get(index) else { return };
            let end = self.entries.get(index + 1).map_or(range.end, |(first, _)| (*first).min(range.end));
            if end > at {
                visit(*minute, end - at);
                at = end;
            }
            index += 1;
        }
    }

    /// Forgets events below `seq`.
    pub(super) fn forget_below(&mut self, seq: u64) {
        while self.entries.get(1).is_some_and(|(first, _)| *first <= seq) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(minutes: &mut MinutesBySeq, minute: i64, events: u32) {
        minutes.push(&Run { received_millis: minute * 60_000 + 59_999, key: 1, name: 1, events });
    }

    fn visited(minutes: &MinutesBySeq, range: Range<u64>) -> Vec<(i64, u64)> {
        let mut found = Vec::new();
        minutes.visit(range, |minute, events| found.push((minute, events)));
        found
    }

    #[test]
    fn each_event_has_its_minute_also_after_older_ones_are_forgotten() {
        let mut minutes = MinutesBySeq::starting_at(100);
        for (minute, events) in [(7, 10), (7, 10), (8, 5), (7, 1), (8, 4)] {
            push(&mut minutes, minute, events);
        }
        assert_eq!(minutes.end(), 130);
        assert_eq!(visited(&minutes, 100..130), [(7, 20), (8, 5), (7, 1), (8, 4)]);
        assert_eq!(visited(&minutes, 119..126), [(7, 1), (8, 5), (7, 1)]);
        assert_eq!(visited(&minutes, 129..500), [(8, 1)]);
        assert_eq!(visited(&minutes, 130..131), []);
        assert_eq!(visited(&minutes, 90..101), [(7, 11)], "before the first known one");
        minutes.forget_below(121);
        assert_eq!(visited(&minutes, 121..127), [(8, 4), (7, 1), (8, 1)]);
        let times = ["2026-11-20T00:00:01Z", "2026-11-20T01:00:01+01:00", "2026-11-20", "90s", "2h", "yesterday", "", "5"]
            .map(|text| time_of(text, 100_000_000));
        let day = 1_795_132_800_000;
        assert_eq!(
            times,
            [Some(day + 1_000), Some(day + 1_000), Some(day), Some(99_910_000), Some(92_800_000), None, None, None]
        );
        assert_eq!((minute_of(-1), minute_of(59_999), minute_start(2)), (-1, 0, 120_000));
    }
}
