//! Rewrites files of one partition: fewer files, sorted by `event_name` and `created_at`, each event once, and without the rows
//! that the caller does not keep. The bytes of the payloads do not change.
//!
//! Memory is bounded whatever the size of the partition: see `doubles.rs` and `sort.rs`. The steps:
//!
//! 1. Read the keys of all files, and mark the doubles.
//! 2. Read the rows of the files to rewrite, and of others that have doubles, and sort what stays.
//! 3. Write the sorted rows into new files, which get their names when the caller [publishes](Merged::publish) them.
//!
//! A file that cannot be read, or that has columns which this version does not know, is left alone and reported. Then its rows
//! do not count as the first ones of an event either, because they may be lost.

mod doubles;
mod file_writer;
mod output;
mod request;
mod row_bytes;
mod sort;

use std::{cell::RefCell, io};

use self::{
    doubles::Doubles,
    output::Output,
    request::{Input, Unusable, open},
    sort::Sorter,
};
use super::{
    columns::{Extra, all_columns},
    read::LeftOut,
    row::LakeRow,
    rows::each_row,
};
use crate::limits::{LAKE_MERGE_KEYS_MAX, LAKE_READ_ROWS};
pub(super) use file_writer::{FileWriter, MergedFile, Written, publish};
pub(super) use output::Merged;
pub(super) use request::{MergeError, MergeInput, MergeRequest};

/// Rewrites files of a partition.
pub(super) fn merge(request: &MergeRequest<'_>) -> Result<Merged, MergeError> {
    let Sorted { sorter, extra, bytes, replaced, counts, left_out } = sorted(request)?;
    let mut output = Output::new(request, bytes, extra);
    pass_on(request, sorter, |row| output.push(row))?;
    let Counts { rows, doubles, not_kept } = counts;
    Ok(Merged { partition: request.partition.clone(), written: output.finish()?, replaced, rows, doubles, not_kept, left_out })
}

/// Passes the rows of the files to `each`, sorted; writes nothing. Returns the files that could not be read, and whose rows are
/// missing; `check` hears of them before the first row. Both may end the work with [`MergeError::Ended`].
pub(super) fn each_sorted(
    request: &MergeRequest<'_>,
    check: impl FnOnce(&[LeftOut]) -> Result<(), MergeError>,
    each: impl FnMut(&LakeRow<'_>) -> Result<(), MergeError>,
) -> Result<Vec<LeftOut>, MergeError> {
    let Sorted { sorter, left_out, .. } = sorted(request)?;
    check(&left_out)?;
    pass_on(request, sorter, each)?;
    Ok(left_out)
}

/// Rows of the files of a request, ready to be read in order.
struct Sorted<'a> {
    sorter: Sorter<'a>,
    extra: Extra,
    /// Bytes of the files.
    bytes: u64,
    replaced: Vec<usize>,
    counts: Counts,
    left_out: Vec<LeftOut>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    rows: u64,
    doubles: u64,
    not_kept: u64,
}

fn sorted<'a>(request: &MergeRequest<'a>) -> Result<Sorted<'a>, MergeError> {
    let mut inputs: Vec<Input<'_>> = request.files.iter().enumerate().map(|(position, file)| Input { position, file }).collect();
    let mut left_out = Vec::new();
    loop {
        match try_sort(request, &inputs)? {
            Ok(sorted) => return Ok(Sorted { left_out, ..sorted }),
            // Again without it: other files may have doubles of its rows, which are now the first.
            Err(Unusable { input, reason }) => {
                left_out.push(LeftOut { file: inputs.remove(input).file.path.clone(), reason });
            }
        }
    }
}

/// The number of doubles, with at most `keys_max` keys in memory.
#[cfg(test)]
pub(super) fn find_doubles(request: &MergeRequest<'_>, keys_max: usize) -> Result<u64, MergeError> {
    let inputs: Vec<Input<'_>> = request.files.iter().enumerate().map(|(position, file)| Input { position, file }).collect();
    let found = doubles::find(request, &inputs, keys_max)?;
    found.map(|doubles| doubles.count).map_err(|unusable| io::Error::other(unusable.reason).into())
}

fn try_sort<'a>(request: &MergeRequest<'a>, inputs: &[Input<'_>]) -> Result<Result<Sorted<'a>, Unusable>, MergeError> {
    let doubles = match request.drop_doubles {
        true => match doubles::find(request, inputs, LAKE_MERGE_KEYS_MAX)? {
            Ok(doubles) => doubles,
            Err(unusable) => return Ok(Err(unusable)),
        },
        false => Doubles::none(inputs.len()),
    };
    let mut counts = Counts { doubles: doubles.count, ..Counts::default() };
    let (mut bytes, mut replaced) = (0, Vec::new());
    let mut extra = Extra::default();
    let mut sorter = Sorter::new(request.scratch, request.pace, request.sort_bytes_max);
    for (number, input) in inputs.iter().enumerate() {
        if !input.file.rewrite && !doubles.has_any_in(number) {
            continue;
        }
        replaced.push(input.position);
        bytes += input.file.bytes;
        let mut row_number = 0;
        let each = |row: &LakeRow<'_>| {
            let is_double = doubles.holds(number, row_number);
            row_number += 1;
            if is_double {
                return Ok(());
            }
            if !(request.keep)(row) {
                counts.not_kept += 1;
                return Ok(());
            }
            counts.rows += 1;
            extra.addresses |= row.client_address.is_some();
            extra.scopes |= row.dedup_scope.is_some();
            sorter.push(row)
        };
        if let Err(reason) = read_rows(request, input.file, each)? {
            return Ok(Err(Unusable { input: number, reason }));
        }
    }
    Ok(Ok(Sorted { sorter, extra, bytes, replaced, counts, left_out: Vec::new() }))
}

/// Passes the sorted rows to `each`, at the pace of the request.
fn pass_on(
    request: &MergeRequest<'_>,
    sorter: Sorter<'_>,
    mut each: impl FnMut(&LakeRow<'_>) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let mut rows = 0;
    sorter.finish(|row| {
        each(&row_bytes::read(row, request.partition)?)?;
        rows += 1;
        if rows % LAKE_READ_ROWS == 0 { Ok(request.pace.step()?) } else { Ok(()) }
    })
}

/// Passes the rows of a file to `each`; the inner error is the file's own fault.
fn read_rows(
    request: &MergeRequest<'_>,
    file: &MergeInput,
    mut each: impl FnMut(&LakeRow<'_>) -> Result<(), MergeError>,
) -> Result<Result<(), String>, MergeError> {
    let batches = match open(request, file)?.and_then(|file| file.every_row(&all_columns(), LAKE_READ_ROWS)) {
        Ok(batches) => batches,
        Err(reason) => return Ok(Err(reason)),
    };
    for batch in batches {
        let failure = RefCell::new(None);
        let visit = &mut |row: &LakeRow<'_>| {
            each(row).map_err(|error| {
                *failure.borrow_mut() = Some(error);
                io::Error::other("see `failure`")
            })
        };
        if let Err(reason) = batch.and_then(|batch| each_row(&batch, request.partition, visit)) {
            return Ok(Err(reason));
        }
        if let Some(failure) = failure.into_inner() {
            return Err(failure);
        }
        request.pace.step()?;
    }
    Ok(Ok(()))
}
