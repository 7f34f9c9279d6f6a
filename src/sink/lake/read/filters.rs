//! Selects events, and tells how much the folders alone answer.

use std::ops::Range;

use crate::{
    event::Date,
    sink::lake::{LATE, Partition, table::FileStatistics},
};

/// Selects events; the default selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Only this event type.
    pub event_type: Option<String>,
    /// Only this event name, in full.
    pub event_name: Option<String>,
    /// Only events whose `created_date` is this day or later.
    pub from_inclusive: Option<Date>,
    /// Only events whose `created_date` is this day or earlier.
    pub to_inclusive: Option<Date>,
}

/// The conditions that the rows of a partition must still meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowFilter<'a> {
    pub(super) event_name: Option<&'a str>,
    pub(super) created_millis: Option<Range<i64>>,
}

impl Filters {
    pub(in crate::sink::lake) fn admits_type(&self, event_type: &str) -> bool {
        // The first part of the name is the type.
        let of_name = self.event_name.as_deref().and_then(|name| name.split(':').next());
        self.event_type.as_deref().is_none_or(|wanted| wanted == event_type) && of_name.is_none_or(|wanted| wanted == event_type)
    }

    /// The folder `late` of an old lake may hold events of any day: its rows are filtered by `created_datetime`.
    pub(in crate::sink::lake) fn admits_date(&self, created_date: &str) -> bool {
        let bounded = self.from_inclusive.is_some() || self.to_inclusive.is_some();
        match super::super::parse_date(created_date) {
            Some(date) => self.from_inclusive.is_none_or(|from| from <= date) && self.to_inclusive.is_none_or(|to| date <= to),
            None => created_date == LATE || !bounded,
        }
    }

    pub(super) fn of_rows(&self, partition: &Partition) -> RowFilter<'_> {
        let start = |date: Date, later: i64| (i64::from(date.days) + later) * 86_400_000;
        let bounded = self.from_inclusive.is_some() || self.to_inclusive.is_some();
        let created_millis = (bounded && partition.created_date == LATE).then(|| {
            let from = self.from_inclusive.map_or(i64::MIN, |from| start(from, 0));
            from..self.to_inclusive.map_or(i64::MAX, |to| start(to, 1))
        });
        RowFilter { event_name: self.event_name.as_deref(), created_millis }
    }
}

/// Whether a range has a time from the smallest to the largest one.
pub(super) fn overlaps(range: &Range<i64>, (smallest, largest): (i64, i64)) -> bool {
    smallest < range.end && largest >= range.start
}

impl RowFilter<'_> {
    /// Whether the statistics of a file say that none of its rows matches.
    pub(super) fn excludes(&self, statistics: &FileStatistics) -> bool {
        let by_name = self.event_name.zip(statistics.event_name.as_ref());
        let by_time = self.created_millis.as_ref().zip(statistics.created_millis);
        by_name.is_some_and(|(name, (min, max))| name < min.as_ref() || name > max.as_ref())
            || by_time.is_some_and(|(wanted, found)| !overlaps(wanted, found))
    }

    /// Whether the row count of the footer is the answer.
    pub(super) fn is_all(&self) -> bool {
        self.event_name.is_none() && self.created_millis.is_none()
    }

    pub(super) fn admits(&self, event_name: &str, created_millis: i64) -> bool {
        self.event_name.is_none_or(|wanted| wanted == event_name)
            && self.created_millis.as_ref().is_none_or(|range| range.contains(&created_millis))
    }
}
