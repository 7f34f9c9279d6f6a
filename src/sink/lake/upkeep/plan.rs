//! Which files of a partition to merge, and when.

use std::sync::Arc;

use crate::{
    event::Date,
    limits::{LAKE_FILE_BYTES_MAX, LAKE_PARTITION_QUIET},
    sink::lake::{
        encode::{FileName, REWRITTEN_PREFIX},
        parse_date,
        partition::Partition,
        table::TableFile,
    },
};

/// Below this size a file is merged again.
pub(super) const SMALL_BYTES: u64 = LAKE_FILE_BYTES_MAX / 4;

/// How urgent a compaction is; the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sink::lake) enum Urgency {
    /// No more events are expected: the day is over, and the last file is some time old.
    Settled,
    /// It gets events, and has too many files.
    Crowded,
}

/// A moment, and the rules.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink::lake) struct Rules {
    pub(in crate::sink::lake) now_millis: i64,
    /// Files to merge at which a partition is compacted that still gets events.
    pub(in crate::sink::lake) files_max: usize,
}

/// Whether a merge shall rewrite the file even if it has no doubles.
pub(super) fn is_to_rewrite(file: &TableFile) -> bool {
    !file.name().starts_with(REWRITTEN_PREFIX) || file.bytes < SMALL_BYTES
}

/// Whether the partition with these files needs a compaction.
pub(in crate::sink::lake) fn urgency(partition: &Partition, files: &[Arc<TableFile>], rules: Rules) -> Option<Urgency> {
    let to_rewrite = files.iter().filter(|file| is_to_rewrite(file)).count();
    let has_new = files.iter().any(|file| !file.name().starts_with(REWRITTEN_PREFIX));
    let gains = match files {
        [] => false,
        // The batch of a gateway has each event once. A file of another tool may have doubles.
        [only] => has_new && FileName::parse(only.name()).is_none(),
        _ => has_new || to_rewrite > 1,
    };
    if !gains {
        return None;
    }
    if is_settled(partition, files, rules.now_millis) {
        return Some(Urgency::Settled);
    }
    (to_rewrite >= rules.files_max.max(2)).then_some(Urgency::Crowded)
}

fn is_settled(partition: &Partition, files: &[Arc<TableFile>], now_millis: i64) -> bool {
    let is_over = parse_date(&partition.created_date).is_some_and(|date| date < Date::of_millis(now_millis));
    let newest = files.iter().map(|file| file.modified_millis).max().unwrap_or(i64::MAX);
    is_over && now_millis.saturating_sub(newest) >= LAKE_PARTITION_QUIET.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::lake::table::FileStatistics;

    const NOW: i64 = 1_795_219_200_000;
    const HOUR: i64 = 3_600_000;

    fn file(name: &str, bytes: u64, modified_millis: i64) -> Arc<TableFile> {
        Arc::new(TableFile {
            partition: partition("2026-11-20"),
            path: format!("event_type=menu/created_date=2026-11-20/{name}.parquet"),
            bytes,
            modified_millis,
            statistics: FileStatistics::default(),
            ranges: Vec::new(),
        })
    }

    fn partition(date: &str) -> Partition {
        Partition { event_type: "menu".into(), created_date: date.into() }
    }

    #[test]
    fn closed_partitions_become_few_files_open_ones_only_when_they_are_many_and_good_ones_are_left_alone() {
        let rules = Rules { now_millis: NOW, files_max: 4 };
        let old = NOW - 2 * HOUR;
        let flushed = |number: u64, modified| {
            let name = format!("00000000-0000-0000-0000-000000000001-{number:020}-{:020}", number + 1);
            file(&name, 1_000, modified)
        };
        let good = || file("rewritten-a", SMALL_BYTES, old);
        let small = || file("rewritten-b", SMALL_BYTES - 1, old);
        let on = |date: &str, files: &[Arc<TableFile>]| urgency(&partition(date), files, rules);
        let closed = |files: &[Arc<TableFile>]| on("2026-11-20", files);
        // 2026-11-21 begins at NOW.
        let open = |files: &[Arc<TableFile>]| on("2026-11-21", files);
        assert_eq!(closed(&[flushed(0, old), flushed(1, old)]), Some(Urgency::Settled));
        assert_eq!(closed(&[flushed(0, old), flushed(1, NOW - 1)]), None, "more may come");
        assert_eq!(closed(&[good(), flushed(1, old)]), Some(Urgency::Settled), "it may be a double");
        assert_eq!(closed(&[flushed(0, old)]), None);
        assert_eq!(closed(&[file("firehose", 1_000, old)]), Some(Urgency::Settled));
        assert_eq!((closed(&[good()]), closed(&[small()]), closed(&[good(), small()]), closed(&[])), (None, None, None, None));
        assert_eq!(closed(&[small(), small()]), Some(Urgency::Settled));
        assert_eq!(open(&[flushed(0, old), flushed(1, old), small()]), None);
        assert_eq!(open(&[flushed(0, old), flushed(1, old), flushed(2, NOW), small()]), Some(Urgency::Crowded));
        assert_eq!(open(&[flushed(0, old), flushed(1, old), flushed(2, NOW), good()]), None);
    }
}
