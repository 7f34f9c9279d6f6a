//! What is known of an event, and where its rows are.

use std::ops::Range;

use crate::{event::Date, sink::lake::partition::Partition};

/// What is known of an event. Files and row groups that cannot have it are not read, so a wrong hint hides it: then search again
/// without hints (`Hints::default()`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The first part of its name.
    pub event_type: Option<String>,
    /// Its name, in full.
    pub event_name: Option<String>,
    /// When it was received, in Unix milliseconds.
    pub received_millis: Option<Range<i64>>,
    /// The days that its `created_date` may be, in any order; empty: any day.
    pub created_dates: Vec<Date>,
}

/// A row of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file, below the root.
    pub file: String,
    /// Row number in the file, from 0.
    pub row: u64,
    /// The row group that has it, from 0.
    pub row_group: u64,
    /// The partition.
    pub partition: Partition,
    /// The event's name.
    pub event_name: String,
    /// Name of the key that sent it.
    pub source: String,
    /// `created_datetime`, Unix milliseconds.
    pub created_millis: i64,
    /// `received_datetime`, Unix milliseconds.
    pub received_millis: i64,
    /// The scope of its identity; `None`: the scope that all server keys share.
    pub dedup_scope: Option<String>,
}
