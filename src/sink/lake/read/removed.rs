//! Rows that left the lake for good, by minute of receipt.

use std::ops::Range;

use super::{
    Lake,
    filters::overlaps,
    minute_report::{RemovedByMinute, RemovedSpan},
};
use crate::sink::lake::{
    LakeError,
    removed_rows::{MINUTE_MILLIS, RemovedWhy},
    table::removals_up_to,
};

impl Lake {
    /// The rows received in `received` (Unix milliseconds, in whole minutes) that left the lake up to the version that is read.
    /// The log and the sums of its clean-up tell it, so a lake without a log knows nothing.
    ///
    /// # Errors
    /// [`LakeError`] if the log cannot be read.
    pub fn removed_by_minute(&self, received: Range<i64>) -> Result<RemovedByMinute, LakeError> {
        let mut removed = RemovedByMinute::default();
        let Some(table) = &self.table else { return Ok(removed) };
        let history = removals_up_to(&self.store, table)?;
        for (minutes, why, rows) in history.spans() {
            let millis = (minutes.start.saturating_mul(MINUTE_MILLIS), minutes.end.saturating_mul(MINUTE_MILLIS) - 1);
            if !overlaps(&received, millis) {
                continue;
            }
            if minutes.end - minutes.start > 1 {
                removed.spans.push(RemovedSpan { minutes, why, rows });
                continue;
            }
            let minute = removed.minutes.entry(minutes.start).or_default();
            *match why {
                RemovedWhy::Expired => &mut minute.expired,
                RemovedWhy::Erased => &mut minute.erased,
                RemovedWhy::Doubles => &mut minute.doubles,
            } += rows;
        }
        removed.known_since_millis = history.known_since_millis;
        removed.unrecorded = history.unrecorded;
        Ok(removed)
    }
}
