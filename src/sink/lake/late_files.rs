//! Files of the folders `created_date=late`, which gateways up to 2026-11 wrote: their rows go to the days of their receipt.

use std::{collections::BTreeSet, time::SystemTime};

use super::{
    encode::{FileName, REWRITTEN_PREFIX},
    merge::{MergeInput, MergeRequest, merge},
    pace::{Pace, StopSignal},
    partition::Partition,
    read::LakeFile,
    row::LakeRow,
    rows::Millis,
    scratch::Scratch,
    store::{FileEntry, Store},
    table::{FileStatistics, TableFile},
};
use crate::{
    event::{Date, unix_millis},
    limits::{LAKE_FILE_BYTES_MAX, LAKE_MERGE_KEYS_MAX, LAKE_READ_ROWS, LAKE_SORT_BYTES_MAX},
};

/// Writes the rows of the file at `path` into one new file for each day on which some were received.
///
/// # Errors
/// Why the file cannot be read, or the new ones cannot be written. Then some of them may lie there, and the vacuum removes them.
pub(super) fn split_by_receipt(store: &Store, event_type: &str, path: &str, entry: &FileEntry) -> Result<Vec<TableFile>, String> {
    let (days, rows) = days_of_receipt(store, path, entry)?;
    let input = MergeInput { path: path.to_owned(), bytes: entry.bytes, rows, rewrite: true };
    let (scratch, pace) = (Scratch::new(std::env::temp_dir()), Pace::full(StopSignal::default()));
    let mut files = Vec::new();
    for day in days {
        let partition = Partition::new(event_type, day);
        let merged = merge(&MergeRequest {
            store,
            partition: &partition,
            files: std::slice::from_ref(&input),
            drop_doubles: false,
            refuse_unknown_columns: true,
            keep: &|row: &LakeRow<'_>| Date::of_millis(row.received_millis) == day,
            file_bytes_max: LAKE_FILE_BYTES_MAX,
            sort_bytes_max: LAKE_SORT_BYTES_MAX,
            keys_max: LAKE_MERGE_KEYS_MAX,
            scratch: &scratch,
            pace: &pace,
        });
        let mut merged = merged.map_err(|error| error.to_string())?;
        if let Some(left_out) = merged.left_out.first() {
            return Err(left_out.reason.clone());
        }
        for file in merged.publish(store).map_err(|error| error.to_string())? {
            files.push(TableFile {
                path: format!("{partition}/{}", file.name),
                partition: partition.clone(),
                bytes: file.bytes,
                modified_millis: unix_millis(SystemTime::now()),
                statistics: FileStatistics::of_footer(&file.footer),
                ranges: FileName::parse(&entry.name).map(|name| name.range()).into_iter().collect(),
            });
        }
    }
    debug_assert!(files.iter().all(|file| file.name().starts_with(REWRITTEN_PREFIX)), "an adoption takes them for its own");
    Ok(files)
}

/// The days, and the number of rows.
fn days_of_receipt(store: &Store, path: &str, entry: &FileEntry) -> Result<(BTreeSet<Date>, u64), String> {
    let source = store.open(path, entry.bytes).map_err(|error| error.to_string())?;
    let file = LakeFile::open(source)?;
    let mut days = BTreeSet::new();
    for batch in file.every_row(&["received_datetime"], LAKE_READ_ROWS)? {
        let batch = batch?;
        let received = Millis::of(&batch, "received_datetime")?;
        days.extend((0..batch.num_rows()).map(|row| Date::of_millis(received.value(row))));
    }
    Ok((days, file.rows()))
}
