//! When the holdings of a key are released: its bytes of the spool by position, its identities by time.

use std::{collections::VecDeque, ops::Range, time::Duration};

use crate::limits::DEDUP_SHARE_BUCKETS;

/// Bytes of a key in the spool, summed up in ranges; the oldest are settled first. A range counts until all of it is settled,
/// so the count is too high by at most one range, or by what arrived between two deliveries.
#[derive(Debug, Default)]
pub(super) struct AppendedRanges {
    open: Option<AppendedRange>,
    closed: VecDeque<AppendedRange>,
}

#[derive(Debug)]
struct AppendedRange {
    seqs: Range<u64>,
    bytes: u64,
}

impl AppendedRanges {
    /// Adds frames with these numbers, which follow all that were added before. A range ends at `stretch_bytes`.
    pub(super) fn add(&mut self, seqs: Range<u64>, bytes: u64, stretch_bytes: u64) {
        match &mut self.open {
            Some(open) => {
                open.seqs.end = open.seqs.end.max(seqs.end);
                open.bytes += bytes;
            }
            None => self.open = Some(AppendedRange { seqs, bytes }),
        }
        if self.open.as_ref().is_some_and(|open| open.bytes >= stretch_bytes) {
            self.closed.extend(self.open.take());
        }
    }

    /// Settles everything below `settled_exclusive`. Returns the bytes of the ranges that end there or before.
    pub(super) fn settle(&mut self, settled_exclusive: u64) -> u64 {
        // Close the open range when delivery has entered it, because a key that keeps sending would move the end of the range
        // forever. While nothing is delivered, no range is closed early, so that the number of ranges stays bounded.
        if self.open.as_ref().is_some_and(|open| open.seqs.start < settled_exclusive) {
            self.closed.extend(self.open.take());
        }
        let mut bytes = 0;
        while let Some(range) = self.closed.pop_front_if(|range| range.seqs.end <= settled_exclusive) {
            bytes += range.bytes;
        }
        bytes
    }
}

/// Identities of a key, by the time at which the window learned them.
#[derive(Debug, Default)]
pub(super) struct Buckets(VecDeque<(i64, u64)>);

impl Buckets {
    /// Adds `identities` to the bucket `number`, or to the newest bucket if that is newer.
    pub(super) fn add(&mut self, number: i64, identities: u64) {
        match self.0.back_mut() {
            Some((newest, count)) if *newest >= number => *count += identities,
            _ => self.0.push_back((number, identities)),
        }
    }

    /// Removes the buckets before `oldest`, and returns the number of their identities.
    pub(super) fn expire(&mut self, oldest: i64) -> u64 {
        let mut identities = 0;
        while let Some((_, count)) = self.0.pop_front_if(|(number, _)| *number < oldest) {
            identities += count;
        }
        identities
    }
}

/// The length of a bucket in milliseconds.
pub(super) fn bucket_millis(window: Duration) -> i64 {
    i64::try_from(window.as_millis()).map_or(i64::MAX, |window| window / DEDUP_SHARE_BUCKETS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_counts_until_all_of_it_is_settled() {
        let mut ranges = AppendedRanges::default();
        for seq in 0..10 {
            ranges.add(seq..seq + 1, 50, 100);
        }
        assert_eq!((ranges.settle(1), ranges.settle(3), ranges.settle(3)), (0, 100, 0));
        assert_eq!((ranges.settle(10), ranges.settle(u64::MAX)), (400, 0));
    }

    #[test]
    fn a_key_that_sends_a_little_without_end_is_released_with_every_delivery() {
        let mut ranges = AppendedRanges::default();
        let (mut held, mut most) = (0, 0);
        for seq in 0..1000 {
            ranges.add(seq..seq + 1, 1, 1_000_000);
            held += 1;
            // Every ten events, a delivery settles all but the last five.
            if seq % 10 == 0 {
                held -= ranges.settle(seq.saturating_sub(5));
                most = most.max(held);
            }
        }
        assert!(most <= 40, "{most} of 1000 were held at once");
        assert_eq!(ranges.settle(1000), held);
    }

    #[test]
    fn while_nothing_is_delivered_there_are_no_more_stretches_than_their_bytes_make() {
        let mut ranges = AppendedRanges::default();
        for seq in 0..100_000 {
            ranges.add(seq..seq + 1, 1, 1000);
            assert_eq!(ranges.settle(0), 0);
        }
        assert_eq!(ranges.closed.len(), 100);
        assert_eq!(ranges.settle(u64::MAX), 100_000);
    }

    #[test]
    fn identities_expire_with_their_bucket_and_a_time_that_goes_back_makes_none() {
        let mut buckets = Buckets::default();
        for (number, count) in [(5, 1), (5, 2), (7, 4), (6, 8), (9, 16)] {
            buckets.add(number, count);
        }
        assert_eq!(buckets.0.len(), 3);
        assert_eq!([5, 6, 7, 8, 9, 10].map(|oldest| buckets.expire(oldest)), [0, 3, 0, 12, 0, 16]);
        assert_eq!((bucket_millis(Duration::from_secs(16)), bucket_millis(Duration::ZERO)), (1000, 1));
    }
}
