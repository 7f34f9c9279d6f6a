//! What a build of daily tables did.

use std::time::Duration;

use crate::sink::lake::read::LeftOut;

/// What a build of daily tables did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DailyReport {
    /// The tables, in the order of the queries, also those that needed nothing.
    pub tables: Vec<DailyTableReport>,
    /// Queries that failed, and why: the next build tries again.
    pub failed: Vec<LeftOut>,
    /// Queries of event names that this lake does not have.
    pub without_inputs: Vec<String>,
}

/// What was done to a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DailyTableReport {
    /// The name of the query, and of the table's folder.
    pub name: String,
    /// Days that were made again, also those without rows.
    pub days_made: u64,
    /// Rows of the table now.
    pub rows: u64,
    /// Files of the table now: one for each day that has rows.
    pub files: u64,
    /// Time that it took.
    pub time: Duration,
}
