//! A partition: the records of one `event_type` and one `created_date`, and its two folders.

use std::{collections::HashMap, fmt};

use crate::event::{Date, Record};

/// The `created_date` that gateways up to 2026-11 gave to events created too long before, or too far after, their receipt. It
/// is still read, but no longer written.
pub const LATE: &str = "late";

const TYPE_FOLDER: &str = "event_type=";
const DATE_FOLDER: &str = "created_date=";

/// A partition of the lake. Its text form is its path below the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// First part of the event's name.
    pub event_type: String,
    /// `2026-11-20`, or [`LATE`] in an old lake.
    pub created_date: String,
}

impl Partition {
    /// The partition of a day.
    pub(super) fn new(event_type: &str, date: Date) -> Self {
        Self { event_type: event_type.to_owned(), created_date: date.to_string() }
    }

    /// The partition of `record`.
    pub(super) fn of(record: &Record) -> Self {
        let envelope = record.envelope();
        Self::new(envelope.event_name.event_type(), envelope.created_date())
    }

    /// The event type in the name of an outer folder.
    pub(super) fn type_of_folder(name: &str) -> Option<&str> {
        name.strip_prefix(TYPE_FOLDER)
    }

    /// The date in the name of an inner folder.
    pub(super) fn date_of_folder(name: &str) -> Option<&str> {
        name.strip_prefix(DATE_FOLDER)
    }
}

/// Name of the outer folder of an event type.
pub(super) fn folder_of_type(event_type: &str) -> String {
    format!("{TYPE_FOLDER}{event_type}")
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event_type, created_date } = self;
        write!(f, "{TYPE_FOLDER}{event_type}/{DATE_FOLDER}{created_date}")
    }
}

/// Sorts records into partitions: each with the positions of its records, in order.
pub(super) fn group(records: &[Record]) -> Vec<(Partition, Vec<usize>)> {
    let mut partitions: HashMap<(&str, Date), Vec<usize>> = HashMap::new();
    for (position, record) in records.iter().enumerate() {
        let envelope = record.envelope();
        partitions.entry((envelope.event_name.event_type(), envelope.created_date())).or_default().push(position);
    }
    let named = partitions.into_iter().map(|((event_type, date), positions)| (Partition::new(event_type, date), positions));
    named.collect()
}

/// Parses a day such as `2026-11-20`.
#[must_use]
pub fn parse_date(text: &str) -> Option<Date> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let days = date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days();
    // Only the format of the folders: jiff also parses others.
    Some(Date { days }).filter(|date| date.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_reads_back_as_it_was_written_and_nothing_else_is_a_date() {
        for days in [0, 1, 20_413, 20_778, 400_000] {
            assert_eq!(parse_date(&Date { days }.to_string()), Some(Date { days }));
        }
        for odd in ["late", "", "2026-11-31", "2026-1-1", "20261120", "2026-11-20T00:00:00", " 2026-11-20"] {
            assert_eq!(parse_date(odd), None, "{odd:?}");
        }
    }
}
