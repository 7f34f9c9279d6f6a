//! Searches a lake.

use std::{
    cell::RefCell,
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io,
    path::Path,
};

use super::{
    criterion::{Criterion, Subject, Verdict},
    parts::{ErasureLake, ErasureParts},
    report::{LakeReport, TypedTablesReport},
};
use crate::limits::ERASURE_PREVIEW_EVENTS_MAX;
use crate::sink::lake::{
    ErasedRows, LakeRow, RowErasure, RowErasureError, StopSignal, TypedErasure, TypedLake, UpkeepError, erase_rows, erase_typed,
};

/// Searches a lake, and erases unless `dry_run` is set. Blocks. A lake that cannot be searched is told in the report: the erasure
/// ends without it, and is not complete. Returns the files that the table does not know and that a writer may still commit;
/// `unclaimed` are those of the last call, before deliveries under way ended.
pub(super) fn erase(
    lake: &ErasureLake,
    parts: &ErasureParts,
    criterion: &Criterion,
    stop: &StopSignal,
    dry_run: bool,
    unclaimed: Vec<String>,
    report: &mut LakeReport,
) -> io::Result<Vec<String>> {
    let typed = if dry_run { TypedPreview::of(lake, parts) } else { None };
    let selects = |row: &LakeRow<'_>| {
        let is_selected = criterion.judge(&Subject {
            event_uuid: Some(row.event_uuid),
            event_name: Some(row.event_name),
            client_address: row.client_address,
            payload: Some(row.payload.as_bytes()),
        }) == Verdict::Selected;
        if let Some(typed) = typed.as_ref().filter(|_| is_selected) {
            typed.meet(row);
        }
        is_selected
    };
    let erasure = RowErasure {
        selects: &selects,
        admits_type: &|event_type| criterion.may_have_type(event_type),
        dry_run,
        is_quiet: !parts.is_running && lake.is_local(),
        memory: (&lake.memory, parts.spool.id()),
        unclaimed: HashSet::from_iter(unclaimed),
        scratch: parts.data_dir.join("scratch"),
        stop: stop.clone(),
    };
    let mut done = ErasedRows {
        erased: report.erased,
        files_changed: report.files_changed,
        old_files_removed: report.old_files_removed,
        ..ErasedRows::default()
    };
    let ended = erase_rows(&lake.location, &erasure, &mut done);
    *report = LakeReport {
        root: std::mem::take(&mut report.root),
        version: done.version,
        files_searched: done.files_searched,
        searched: done.rows_searched,
        erased: done.erased,
        files_changed: done.files_changed,
        old_files_removed: done.old_files_removed,
        unreadable_files: done.unreadable_files,
        problem: done.problem,
        typed_tables: report.typed_tables.take(),
    };
    if let Some(typed) = typed {
        report.typed_tables = Some(typed.report());
    }
    match ended {
        Ok(()) => return Ok(done.unclaimed),
        Err(RowErasureError::Stopped) => return Err(io::Error::new(io::ErrorKind::Interrupted, "the gateway stops")),
        // There is nothing yet.
        Err(_) if lake.is_missing() => {}
        Err(error) => report.problem = Some(format!("{error}; repeat the erasure")),
    }
    Ok(Vec::new())
}

/// Counts the rows of typed tables that an erasure would reach: there each event is once.
struct TypedPreview {
    root: String,
    tables: HashSet<String>,
    hasher: RandomState,
    /// Hashes of the events, so that few bytes tell them apart.
    met: RefCell<HashSet<u64>>,
}

impl TypedPreview {
    /// `None` if the lake has no typed tables, or they cannot be read.
    fn of(lake: &ErasureLake, parts: &ErasureParts) -> Option<Self> {
        let typed = lake.typed.as_ref().filter(|typed| typed.root.contains("://") || Path::new(&typed.root).is_dir())?;
        let mut opened = TypedLake::open(&lake.location, typed, parts.data_dir.join("scratch")).ok().flatten()?;
        opened.open_tables().ok().filter(|tables| *tables > 0)?;
        let tables = opened.event_names().map(str::to_owned).collect();
        Some(Self { root: typed.root.clone(), tables, hasher: RandomState::new(), met: RefCell::default() })
    }

    fn meet(&self, row: &LakeRow<'_>) {
        let mut met = self.met.borrow_mut();
        if self.tables.contains(row.event_name) && met.len() < ERASURE_PREVIEW_EVENTS_MAX {
            met.insert(self.hasher.hash_one((row.event_uuid, row.created_at.to_bits(), row.dedup_scope, row.created_date)));
        }
    }

    fn report(self) -> TypedTablesReport {
        let erased = self.met.into_inner().len() as u64;
        TypedTablesReport { root: self.root, tables: self.tables.len() as u64, erased, ..TypedTablesReport::default() }
    }
}

/// Makes the typed tables of a lake follow what was erased from it. Blocks.
pub(super) fn erase_from_typed(
    lake: &ErasureLake,
    parts: &ErasureParts,
    criterion: &Criterion,
    stop: &StopSignal,
    report: &mut LakeReport,
) -> io::Result<()> {
    let Some(typed) = &lake.typed else { return Ok(()) };
    let is_local = !typed.root.contains("://");
    if is_local && !Path::new(&typed.root).exists() {
        return Ok(());
    }
    let erasure = TypedErasure {
        admits_type: &|event_type| criterion.may_have_type(event_type),
        scratch: parts.data_dir.join("scratch"),
        stop: stop.clone(),
    };
    let mut told = report.typed_tables.take().unwrap_or_default();
    told.root.clone_from(&typed.root);
    match erase_typed(&lake.location, typed, &erasure) {
        Ok(done) => {
            told.tables = done.tables;
            told.erased += done.rows;
            told.old_files_removed += done.files_removed;
            told.forbidden = done.is_forbidden;
            told.problems = done.problems;
        }
        Err(UpkeepError::Stopped) => {
            report.typed_tables = Some(told);
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the gateway stops"));
        }
        Err(error) => told.problems = vec![error.to_string()],
    }
    let is_something = told.tables > 0 || told.forbidden || !told.problems.is_empty();
    report.typed_tables = is_something.then_some(told);
    Ok(())
}
