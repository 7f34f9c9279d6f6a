//! The part of the spool's quota that the events waiting for one sink may take.

use crate::{
    limits::SINK_KEEP_PERCENT,
    spool::{SinkCursor, Spool},
};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkQuota {
    /// Bytes of the spool that may be kept for the sink.
    pub bytes: u64,
    /// Whether the oldest events are dropped for this sink beyond that; otherwise new events are refused.
    pub drops_oldest: bool,
}

impl SinkQuota {
    /// `percent` of a spool's `quota_bytes`. A sink that drops does so before the spool is full, because the spool counts in
    /// segments of `segment_bytes`.
    #[must_use]
    pub fn of(quota_bytes: u64, segment_bytes: u64, percent: u8, drops_oldest: bool) -> Self {
        let bytes = (u128::from(quota_bytes) * u128::from(percent) / 100) as u64;
        let room = if drops_oldest { 2 * segment_bytes } else { 0 };
        Self { bytes: bytes.min(quota_bytes.saturating_sub(room)), drops_oldest }
    }

    /// Bytes of the spool that are kept for the sink with this cursor.
    #[must_use]
    pub fn used(spool: &Spool, cursor: &SinkCursor) -> u64 {
        spool.bytes_from(cursor.get().delivered_exclusive)
    }

    /// Whether the events that wait for the sink fill its part.
    #[must_use]
    pub fn is_full(&self, spool: &Spool, cursor: &SinkCursor) -> bool {
        Self::used(spool, cursor) >= self.bytes
    }

    /// Where the sink must go on so that its part has room again. `None` if nothing needs to be dropped.
    pub(super) fn drop_below(&self, spool: &Spool, cursor: &SinkCursor) -> Option<u64> {
        let is_due = self.drops_oldest && self.is_full(spool, cursor);
        let below = || spool.newest_within(self.bytes / 100 * SINK_KEEP_PERCENT);
        is_due.then(below).filter(|below| *below > cursor.get().delivered_exclusive)
    }
}
