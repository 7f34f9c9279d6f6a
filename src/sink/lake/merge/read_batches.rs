//! Reads a file of a merge batch by batch.

use arrow_array::RecordBatch;

use super::request::{MergeError, MergeInput, MergeRequest, open};

/// Passes the batches of a file, each with the number of its first row, to `each`, at the pace of the request; the inner error is
/// the file's own fault.
pub(super) fn read_batches(
    request: &MergeRequest<'_>,
    file: &MergeInput,
    columns: &[&str],
    rows_max: usize,
    mut each: impl FnMut(&RecordBatch, u32) -> Result<Result<(), String>, MergeError>,
) -> Result<Result<(), String>, MergeError> {
    let batches = match open(request, file)?.and_then(|file| file.every_row(columns, rows_max)) {
        Ok(batches) => batches,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut first_row = 0;
    for batch in batches {
        let batch = match batch {
            Ok(batch) => batch,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Err(reason) = each(&batch, first_row)? {
            return Ok(Err(reason));
        }
        first_row += batch.num_rows() as u32;
        request.pace.step()?;
    }
    Ok(Ok(()))
}
