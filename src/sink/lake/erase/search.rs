//! Searches one file.

use std::{cell::Cell, io};

use crate::{
    limits::LAKE_READ_ROWS,
    sink::lake::{columns::all_columns, partition::Partition, read::LakeFile, row::LakeRow, rows::each_row, store::Store},
};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Searched {
    pub(super) rows: u64,
    pub(super) selected: u64,
}

/// Searches the file at `path`; `None` if it is gone.
pub(super) fn search(
    store: &Store,
    partition: &Partition,
    path: &str,
    bytes: u64,
    selects: &dyn Fn(&LakeRow<'_>) -> bool,
) -> Result<Option<Searched>, String> {
    match store.size(path) {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    let source = match store.open(path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        source => source.map_err(|error| error.to_string())?,
    };
    let file = LakeFile::open(source)?;
    let (rows, selected) = (Cell::new(0), Cell::new(0));
    for batch in file.every_row(&all_columns(), LAKE_READ_ROWS)? {
        each_row(&batch?, partition, &mut |row| {
            rows.set(rows.get() + 1);
            selected.set(selected.get() + u64::from(selects(row)));
            Ok(())
        })?
        .map_err(|error| error.to_string())?;
    }
    Ok(Some(Searched { rows: rows.get(), selected: selected.get() }))
}
