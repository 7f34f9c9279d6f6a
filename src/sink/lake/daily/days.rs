//! Days of rows, and which days of the lake change them.

use std::{collections::BTreeSet, ops::RangeInclusive};

use crate::{event::Date, limits::LAKE_DAILY_DAYS_MAX};

/// The days of rows that a new file in `day` of the lake may change: a visit has the day of its visitor's clock, and goes on for a
/// day at most.
fn changed_by(day: Date) -> RangeInclusive<i32> {
    day.days - 2..=day.days + 1
}

/// The days of the lake that a query for days of rows reads.
pub(super) fn read_by(days: &RangeInclusive<i32>) -> RangeInclusive<i32> {
    days.start() - 1..=days.end() + 2
}

/// The days of rows that changes in these days of the lake change.
pub(super) fn changed(lake_days: impl Iterator<Item = Date>) -> BTreeSet<i32> {
    lake_days.flat_map(changed_by).collect()
}

/// Days in runs without a gap, none longer than [`LAKE_DAILY_DAYS_MAX`].
pub(super) fn runs(days: &BTreeSet<i32>) -> Vec<RangeInclusive<i32>> {
    let mut runs: Vec<RangeInclusive<i32>> = Vec::new();
    for day in days {
        match runs.last_mut() {
            Some(run) if run.end() + 1 == *day && *day < run.start() + LAKE_DAILY_DAYS_MAX => *run = *run.start()..=*day,
            _ => runs.push(*day..=*day),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_changed_are_runs_and_a_long_run_is_several() {
        let changed = changed([10, 12, 30].map(|days| Date { days }).into_iter());
        assert_eq!(runs(&changed), [8..=13, 28..=31]);
        assert_eq!(read_by(&(8..=13)), 7..=15);
        let long: BTreeSet<i32> = (0..LAKE_DAILY_DAYS_MAX * 2 + 1).collect();
        let lengths: Vec<i32> = runs(&long).iter().map(|run| run.end() - run.start() + 1).collect();
        assert_eq!(lengths, [LAKE_DAILY_DAYS_MAX, LAKE_DAILY_DAYS_MAX, 1]);
        assert_eq!(runs(&BTreeSet::new()), []);
    }
}
