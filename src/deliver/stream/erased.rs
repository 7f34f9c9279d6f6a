//! Leaves erased events out of a call. They were read before the erasure, and waited in memory.

use super::Flow;
use crate::{sink::stream::StreamRecord, spool::AttemptGuard};

impl Flow {
    /// The records without erased events, which are settled.
    pub(super) fn without_erased(&mut self, records: Vec<StreamRecord>, under_way: &AttemptGuard) -> Vec<StreamRecord> {
        let has_erased = |record: &StreamRecord| record.entries.iter().any(|entry| under_way.is_erased(entry.seq));
        if !under_way.has_erased() || !records.iter().any(has_erased) {
            return records;
        }
        let (mut left, mut gone) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            if !has_erased(&record) {
                left.push(record);
                continue;
            }
            let (erased, kept): (Vec<_>, Vec<_>) = record.entries.into_iter().partition(|entry| under_way.is_erased(entry.seq));
            gone.extend(erased.iter().map(|entry| entry.seq));
            erased.iter().for_each(|entry| self.release(entry));
            if !kept.is_empty() {
                left.push(self.settings.packing.record(kept));
            }
        }
        gone.sort_unstable();
        self.journal.settled(&gone);
        self.shared.leave_out_erased(&gone);
        left
    }
}
