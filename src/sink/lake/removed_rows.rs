//! Rows that left the lake for good, by minute of receipt: what a commit says of them in its `commitInfo`.
//!
//! ```text
//! "lakegate.removedRows": [{"why": "expired", "rows": 12, "stepMinutes": 1, "minutes": [[29920320, 5, 0, 3], [29921000, 4]]}]
//! ```
//!
//! Each list of `minutes` begins with a minute since 1970; the numbers of rows of this minute and of the following ones come
//! after it. With another `stepMinutes` a number is of so many minutes. A list without entries says that no row left.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

use crate::limits::LAKE_REMOVED_MINUTES_MAX;

/// Milliseconds of a minute.
pub(super) const MINUTE_MILLIS: i64 = 60_000;

/// Minutes without rows that are written as zeros; after more of them a new list begins, which takes as many bytes.
const GAP_MAX: i64 = 5;

/// Why rows left the lake for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovedWhy {
    /// Their retention was over.
    Expired,
    /// Somebody's events were erased.
    Erased,
    /// The same event was received before, and that row stays.
    Doubles,
}

/// Numbers of rows by minute of receipt; of longer spans, if there are many minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MinuteCounts {
    /// Minutes of a span.
    step: i64,
    /// Rows by the first minute of their span.
    spans: BTreeMap<i64, u64>,
    spans_max: usize,
}

impl Default for MinuteCounts {
    fn default() -> Self {
        Self { step: 1, spans: BTreeMap::new(), spans_max: LAKE_REMOVED_MINUTES_MAX }
    }
}

impl MinuteCounts {
    /// Counts a row by the time of its receipt.
    pub(super) fn add(&mut self, received_millis: i64) {
        let minute = received_millis.div_euclid(MINUTE_MILLIS);
        *self.spans.entry(minute.div_euclid(self.step) * self.step).or_default() += 1;
        while self.spans.len() > self.spans_max {
            self.coarsen();
        }
    }

    /// Hours in place of minutes, days in place of hours, twice as long from then on.
    fn coarsen(&mut self) {
        self.step = match self.step {
            1 => 60,
            60 => 24 * 60,
            longer => longer * 2,
        };
        for (minute, rows) in std::mem::take(&mut self.spans) {
            *self.spans.entry(minute.div_euclid(self.step) * self.step).or_default() += rows;
        }
    }

    /// What a commit says; `None` if there is no row.
    pub(super) fn removed(&self, why: RemovedWhy) -> Option<RemovedRows> {
        (!self.spans.is_empty()).then(|| RemovedRows::of(why, self.step, &self.spans))
    }
}

/// Rows that left for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemovedRows {
    /// The reason.
    pub(super) why: RemovedWhy,
    /// How many.
    pub(super) rows: u64,
    /// Minutes of which each number is.
    step_minutes: i64,
    /// Lists of numbers, each behind its first minute.
    minutes: Vec<Vec<i64>>,
}

impl RemovedRows {
    /// Rows by the first minute of their span, which is a multiple of `step`.
    pub(super) fn of(why: RemovedWhy, step: i64, spans: &BTreeMap<i64, u64>) -> Self {
        let mut minutes: Vec<Vec<i64>> = Vec::new();
        let mut next = i64::MIN;
        for (&minute, &rows) in spans {
            let gap = minute.saturating_sub(next) / step;
            match minutes.last_mut() {
                Some(list) if gap <= GAP_MAX => list.extend((0..gap).map(|_| 0)),
                _ => minutes.push(vec![minute]),
            }
            if let Some(list) = minutes.last_mut() {
                list.push(i64::try_from(rows).unwrap_or(i64::MAX));
            }
            next = minute.saturating_add(step);
        }
        Self { why, rows: spans.values().sum(), step_minutes: step, minutes }
    }

    /// Each span of minutes with its rows; `None` if no version of this program wrote them so.
    pub(super) fn spans(&self) -> Option<Vec<(Range<i64>, u64)>> {
        let mut spans = Vec::new();
        if self.step_minutes < 1 {
            return None;
        }
        for list in &self.minutes {
            let (first, numbers) = list.split_first()?;
            let mut start = *first;
            for number in numbers {
                let end = start.checked_add(self.step_minutes)?;
                match u64::try_from(*number).ok()? {
                    0 => {}
                    rows => spans.push((start..end, rows)),
                }
                start = end;
            }
        }
        Some(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(minutes: &[i64], spans_max: usize) -> MinuteCounts {
        let mut counts = MinuteCounts { spans_max, ..MinuteCounts::default() };
        minutes.iter().for_each(|minute| counts.add(minute * MINUTE_MILLIS + 59_999));
        counts
    }

    #[test]
    fn minutes_are_read_as_they_were_counted_and_short_gaps_do_not_begin_a_list() {
        let counted = counts(&[-1, 5, 5, 7, 20, 21], 100);
        let removed = counted.removed(RemovedWhy::Erased).unwrap();
        let text = serde_json::to_string(&removed).unwrap();
        assert_eq!(text, r#"{"why":"erased","rows":6,"stepMinutes":1,"minutes":[[-1,1,0,0,0,0,0,2,0,1],[20,1,1]]}"#);
        let read: RemovedRows = serde_json::from_str(&text).unwrap();
        let found: Vec<(i64, u64)> = read.spans().unwrap().into_iter().map(|(span, rows)| (span.start, rows)).collect();
        assert_eq!(found, [(-1, 1), (5, 2), (7, 1), (20, 1), (21, 1)]);
        assert_eq!(MinuteCounts::default().removed(RemovedWhy::Expired), None);
    }

    #[test]
    fn of_more_minutes_than_a_commit_shall_have_hours_are_kept_and_of_more_hours_days() {
        let spans = |counts: &MinuteCounts| counts.removed(RemovedWhy::Expired).unwrap().spans().unwrap();
        let hours = counts(&[0, 1, 59, 60, 119], 3);
        assert_eq!(spans(&hours), [(0..60, 3), (60..120, 2)]);
        let days = counts(&[-1, 0, 60, 120, 180, 1_440], 3);
        assert_eq!(spans(&days), [(-1_440..0, 1), (0..1_440, 4), (1_440..2_880, 1)]);
        let many: Vec<i64> = (0..100).map(|day| day * 1_440).collect();
        let longer = counts(&many, 3);
        assert_eq!(spans(&longer).iter().map(|(_, rows)| rows).sum::<u64>(), 100, "no row is forgotten");
        assert!(spans(&longer).len() <= 3);
    }

    #[test]
    fn what_nobody_wrote_is_not_taken_for_numbers() {
        let read = |text: &str| serde_json::from_str::<RemovedRows>(text).unwrap().spans();
        let with =
            |step: &str, minutes: &str| format!(r#"{{"why":"doubles","rows":1,"stepMinutes":{step},"minutes":{minutes}}}"#);
        assert_eq!(read(&with("1", "[[7,2]]")), Some(vec![(7..8, 2)]));
        for (step, minutes) in [("0", "[[7,2]]"), ("1", "[[]]"), ("1", "[[7,-2]]"), ("1", "[[9223372036854775807,1]]")] {
            assert_eq!(read(&with(step, minutes)), None, "{step} {minutes}");
        }
    }
}
