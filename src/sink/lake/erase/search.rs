//! Searches one file, and lists the partitions.

use std::{cell::Cell, io};

use crate::{
    limits::LAKE_READ_ROWS,
    sink::lake::{
        LakeError,
        columns::{CLIENT_ADDRESS, COLUMNS, DEDUP_SCOPE},
        partition::{Partition, folder_of_type},
        read::LakeFile,
        row::LakeRow,
        rows::each_row,
        store::Store,
    },
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
    let columns: Vec<&str> = COLUMNS.into_iter().chain([CLIENT_ADDRESS, DEDUP_SCOPE]).collect();
    let (rows, selected) = (Cell::new(0), Cell::new(0));
    for batch in file.every_row(&columns, LAKE_READ_ROWS)? {
        each_row(&batch?, partition, &mut |row| {
            rows.set(rows.get() + 1);
            selected.set(selected.get() + u64::from(selects(row)));
            Ok(())
        })?
        .map_err(|error| error.to_string())?;
    }
    Ok(Some(Searched { rows: rows.get(), selected: selected.get() }))
}

/// The partitions in the lake's folders that may have selected rows, sorted.
pub(super) fn partitions(store: &Store, admits_type: &dyn Fn(&str) -> bool) -> Result<Vec<Partition>, LakeError> {
    let mut partitions = Vec::new();
    for name in store.list("")?.folders {
        let Some(event_type) = Partition::type_of_folder(&name).filter(|event_type| admits_type(event_type)) else { continue };
        for name in store.list(&folder_of_type(event_type))?.folders {
            let Some(date) = Partition::date_of_folder(&name) else { continue };
            partitions.push(Partition { event_type: event_type.to_owned(), created_date: date.to_owned() });
        }
    }
    Ok(partitions)
}
