//! Rewrites files of one partition: fewer files, sorted by `event_name` and `created_at`, each event once, and without the rows
//! that the caller does not keep. The bytes of the payloads do not change.
//!
//! Memory is bounded whatever the size of the partition: see `doubles.rs` and `sort.rs`. The steps:
//!
//! 1. Read the rows of the files to rewrite and the keys of the others, and mark the doubles. If the keys do not fit in memory, all
//!    keys are read first.
//! 2. Read the rows of other files that have doubles, and sort what stays.
//! 3. Write the sorted rows into new files, which get their names when the caller [publishes](Merged::publish) them.
//!
//! A file that cannot be read, or that has columns which this version does not know, is left alone and reported. Then its rows
//! do not count as the first ones of an event either, because they may be lost.

mod doubles;
mod file_writer;
mod output;
mod read_batches;
mod request;
mod row_bytes;
mod sort;

use std::io;

use arrow_array::RecordBatch;

use self::{
    doubles::{Doubles, Finder, KEY_COLUMNS},
    output::Output,
    read_batches::read_batches,
    request::{Input, Unusable},
    row_bytes::Origin,
    sort::Sorter,
};
use super::{
    columns::{Extra, all_columns},
    read::LeftOut,
    row::LakeRow,
    rows::each_row,
};
use crate::limits::{LAKE_CHUNK_ROWS, LAKE_READ_ROWS};
pub(super) use file_writer::{FileWriter, MergedFile, Written, publish};
pub(super) use output::{Gone, Merged};
pub(super) use request::{MergeError, MergeInput, MergeRequest};

/// Rewrites files of a partition.
pub(super) fn merge(request: &MergeRequest<'_>) -> Result<Merged, MergeError> {
    let (sorted, left_out) = sorted(request)?;
    let mut output = Output::new(request, sorted.bytes, sorted.sorter.bytes(), sorted.extra);
    let Sorted { not_kept, .. } = sorted;
    let (replaced, doubles) = (sorted.replaced.clone(), sorted.doubles.count);
    let (rows, gone) = sorted.pass_on(request, |row| output.push(row))?;
    let (partition, written) = (request.partition.clone(), output.finish()?);
    Ok(Merged { partition, written, replaced, rows, doubles, not_kept, gone, left_out })
}

/// Passes the rows of the files to `each`, sorted; writes nothing. Returns the files that could not be read, and whose rows are
/// missing; `check` hears of them before the first row. Both may end the work with [`MergeError::Ended`].
pub(super) fn each_sorted(
    request: &MergeRequest<'_>,
    check: impl FnOnce(&[LeftOut]) -> Result<(), MergeError>,
    each: impl FnMut(&LakeRow<'_>) -> Result<(), MergeError>,
) -> Result<Vec<LeftOut>, MergeError> {
    let (sorted, left_out) = sorted(request)?;
    check(&left_out)?;
    sorted.pass_on(request, each)?;
    Ok(left_out)
}

/// Rows of the files of a request, ready to be read in order.
struct Sorted<'a> {
    sorter: Sorter<'a>,
    extra: Extra,
    /// Bytes of the files.
    bytes: u64,
    /// Positions of the files, ascending.
    replaced: Vec<usize>,
    doubles: Doubles,
    /// Rows that the caller does not keep.
    not_kept: u64,
    gone: Gone,
}

impl<'a> Sorted<'a> {
    fn new(request: &MergeRequest<'a>, doubles: Doubles) -> Self {
        let rows: u64 = request.files.iter().filter(|file| file.rewrite).map(|file| file.rows).sum();
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let sorter = Sorter::new(request.scratch, request.pace, request.sort_bytes_max, rows);
        Self { sorter, extra: Extra::default(), bytes: 0, replaced: Vec::new(), doubles, not_kept: 0, gone: Gone::default() }
    }

    fn replace(&mut self, input: &Input<'_>) {
        self.replaced.push(input.position);
        self.bytes += input.file.bytes;
    }

    fn push(&mut self, row: &LakeRow<'_>, origin: Origin) -> Result<(), MergeError> {
        self.extra.addresses |= row.client_address.is_some();
        self.extra.scopes |= row.dedup_scope.is_some();
        self.sorter.push(row, origin)
    }

    /// Reads the rows of a file whose doubles are known.
    fn read(&mut self, request: &MergeRequest<'_>, number: usize, input: &Input<'_>) -> Result<Result<(), Unusable>, MergeError> {
        self.replace(input);
        let each = |row: &LakeRow<'_>, origin: Origin| {
            if self.doubles.holds(origin) {
                self.gone.doubles.add(row.received_millis);
                return Ok(());
            }
            if !(request.keep)(row) {
                self.not_kept += 1;
                self.gone.not_kept.add(row.received_millis);
                return Ok(());
            }
            self.push(row, origin)
        };
        let read = read_rows(request, number, input.file, |_, _| Ok(()), each)?;
        Ok(read.map_err(|reason| Unusable { input: number, reason }))
    }

    /// Passes the sorted rows to `each`, without doubles, at the pace of the request. Returns how many, and those that are gone.
    fn pass_on(
        self,
        request: &MergeRequest<'_>,
        mut each: impl FnMut(&LakeRow<'_>) -> Result<(), MergeError>,
    ) -> Result<(u64, Gone), MergeError> {
        let Self { sorter, doubles, mut gone, .. } = self;
        let mut rows = 0;
        sorter.finish(|row| {
            let (row, origin) = row_bytes::read(row, request.partition)?;
            if doubles.holds(origin) {
                gone.doubles.add(row.received_millis);
                return Ok(());
            }
            each(&row)?;
            rows += 1;
            if rows % LAKE_READ_ROWS as u64 == 0 { Ok(request.pace.step()?) } else { Ok(()) }
        })?;
        Ok((rows, gone))
    }
}

fn sorted<'a>(request: &MergeRequest<'a>) -> Result<(Sorted<'a>, Vec<LeftOut>), MergeError> {
    let mut inputs: Vec<Input<'_>> = request.files.iter().enumerate().map(|(position, file)| Input { position, file }).collect();
    let mut left_out = Vec::new();
    loop {
        match try_sort(request, &inputs)? {
            Ok(sorted) => return Ok((sorted, left_out)),
            // Again without it: other files may have doubles of its rows, which are now the first.
            Err(Unusable { input, reason }) => {
                left_out.push(LeftOut { file: inputs.remove(input).file.path.clone(), reason });
            }
        }
    }
}

fn try_sort<'a>(request: &MergeRequest<'a>, inputs: &[Input<'_>]) -> Result<Result<Sorted<'a>, Unusable>, MergeError> {
    let rows: u64 = inputs.iter().map(|input| input.file.rows).sum();
    if !request.drop_doubles {
        return rows_of(request, inputs, Doubles::none(inputs.len()));
    }
    if rows <= request.keys_max as u64 {
        return rows_with_keys(request, inputs, rows);
    }
    match doubles::find(request, inputs)? {
        Ok(doubles) => rows_of(request, inputs, doubles),
        Err(unusable) => Ok(Err(unusable)),
    }
}

/// Reads the rows, of which the doubles are known.
fn rows_of<'a>(
    request: &MergeRequest<'a>,
    inputs: &[Input<'_>],
    doubles: Doubles,
) -> Result<Result<Sorted<'a>, Unusable>, MergeError> {
    let mut sorted = Sorted::new(request, doubles);
    for (number, input) in inputs.iter().enumerate() {
        if (input.file.rewrite || sorted.doubles.has_any_in(number))
            && let Err(unusable) = sorted.read(request, number, input)?
        {
            return Ok(Err(unusable));
        }
    }
    Ok(Ok(sorted))
}

/// Reads rows and keys together, because most of the work of a small file is to open it.
fn rows_with_keys<'a>(
    request: &MergeRequest<'a>,
    inputs: &[Input<'_>],
    rows: u64,
) -> Result<Result<Sorted<'a>, Unusable>, MergeError> {
    let mut finder = Finder::new(inputs.len(), rows, request.keys_max);
    let mut sorted = Sorted::new(request, Doubles::none(inputs.len()));
    let mut not_kept = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let keys = |batch: &RecordBatch, first_row| finder.add(batch, number as u32, first_row);
        let read = if input.file.rewrite {
            sorted.replace(input);
            read_rows(request, number, input.file, keys, |row, origin| {
                if (request.keep)(row) {
                    return sorted.push(row, origin);
                }
                not_kept.push((origin, row.received_millis));
                Ok(())
            })?
        } else {
            let mut keys = keys;
            read_batches(request, input.file, &KEY_COLUMNS, LAKE_CHUNK_ROWS, |batch, first_row| Ok(keys(batch, first_row)))?
        };
        if let Err(reason) = read {
            return Ok(Err(Unusable { input: number, reason }));
        }
    }
    sorted.doubles = finder.finish();
    for (origin, received_millis) in not_kept {
        if sorted.doubles.holds(origin) {
            sorted.gone.doubles.add(received_millis);
        } else {
            sorted.not_kept += 1;
            sorted.gone.not_kept.add(received_millis);
        }
    }
    for (number, input) in inputs.iter().enumerate().filter(|(_, input)| !input.file.rewrite) {
        if sorted.doubles.has_any_in(number)
            && let Err(unusable) = sorted.read(request, number, input)?
        {
            return Ok(Err(unusable));
        }
    }
    sorted.replaced.sort_unstable();
    Ok(Ok(sorted))
}

/// Passes the rows of a file to `each`, and its batches with the number of their first row to `keys`; the inner error is the file's
/// own fault.
fn read_rows(
    request: &MergeRequest<'_>,
    number: usize,
    file: &MergeInput,
    mut keys: impl FnMut(&RecordBatch, u32) -> Result<(), String>,
    mut each: impl FnMut(&LakeRow<'_>, Origin) -> Result<(), MergeError>,
) -> Result<Result<(), String>, MergeError> {
    read_batches(request, file, &all_columns(), LAKE_READ_ROWS, |batch, first_row| {
        if let Err(reason) = keys(batch, first_row) {
            return Ok(Err(reason));
        }
        let mut failure = None;
        let mut origin = Origin { file: number as u32, row: first_row };
        let visit = &mut |row: &LakeRow<'_>| {
            let visited = each(row, origin);
            origin.row += 1;
            visited.map_err(|error| {
                failure = Some(error);
                io::Error::other("see `failure`")
            })
        };
        let visited = each_row(batch, request.partition, visit);
        match failure {
            Some(failure) => Err(failure),
            None => Ok(visited.map(|_| ())),
        }
    })
}
