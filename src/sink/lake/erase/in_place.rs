//! Writes a file that is in no table anew, under its own name, without some of its rows.

use bytes::Bytes;
use parquet::arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions};

use crate::{
    limits::LAKE_READ_ROWS,
    sink::lake::{
        columns::{CLIENT_ADDRESS, Columns, DEDUP_SCOPE, Extra, all_columns, schema},
        encode::properties_of_any_file,
        partition::Partition,
        read::LakeFile,
        row::LakeRow,
        rows::each_row,
        store::{FileEntry, Store},
    },
};

/// Returns how many rows were erased, or would be. A file whose rows are all erased is deleted.
pub(super) fn rewrite_in_place(
    store: &Store,
    partition: &Partition,
    entry: &FileEntry,
    selects: &dyn Fn(&LakeRow<'_>) -> bool,
    dry_run: bool,
) -> Result<u64, String> {
    let path = format!("{partition}/{}", entry.name);
    let file = LakeFile::open(store.open(&path, entry.bytes).map_err(|error| error.to_string())?)?;
    if let Some(column) = file.extra_columns().first() {
        return Err(format!("has the column `{column}`, which this version would drop"));
    }
    let extra = file_extra(&file);
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let rows = usize::try_from(file.rows()).unwrap_or(usize::MAX);
    let properties = properties_of_any_file(&[], rows).map_err(|error| failed(&error))?.build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema(extra), options).map_err(|error| failed(&error))?;
    let (mut kept, mut erased) = (0_u64, 0_u64);
    for batch in file.every_row(&all_columns(), LAKE_READ_ROWS)? {
        let batch = batch?;
        let mut columns = Columns::with_capacity(batch.num_rows(), 0, extra);
        each_row(&batch, partition, &mut |row| {
            if selects(row) {
                erased += 1;
            } else {
                kept += 1;
                columns.push_row(row);
            }
            Ok(())
        })?
        .map_err(|error| failed(&error))?;
        writer.write(&columns.finish().map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    }
    if erased == 0 || dry_run {
        return Ok(erased);
    }
    if kept == 0 {
        store.remove(&path).map_err(|error| failed(&error))?;
    } else {
        let bytes = writer.into_inner().map_err(|error| failed(&error))?;
        store.replace(&partition.to_string(), &entry.name, Bytes::from(bytes))?;
    }
    Ok(erased)
}

fn file_extra(file: &LakeFile) -> Extra {
    Extra { addresses: file.has_column(CLIENT_ADDRESS), scopes: file.has_column(DEDUP_SCOPE) }
}
