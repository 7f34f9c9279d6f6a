//! Builds one partition, in all typed tables of its event type.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
    time::Instant,
};

use super::{
    changes::Work,
    commit::{Place, commit},
    existing::{NewRows, Unsaid},
    report::BuildReport,
    writer::{TypedFiles, TypedWriter},
};
use crate::{
    limits::{LAKE_FILE_BYTES_MAX, LAKE_MERGE_KEYS_MAX, LAKE_SORT_BYTES_MAX},
    sink::lake::{
        merge::{MergeError, MergeInput, MergeRequest, each_sorted},
        pace::Pace,
        partition::Partition,
        read::LeftOut,
        row::LakeRow,
        scratch::Scratch,
        store::Store,
        table::{Operation, Snapshot, TableFile},
        upkeep::{UpkeepError, check_space},
    },
};

/// A partition of one typed table, and what it needs.
pub(super) struct Task<'a> {
    pub(super) place: Place<'a>,
    /// `None` if it is built.
    pub(super) work: Option<Work>,
}

/// A partition.
pub(super) struct PartitionBuild<'a> {
    pub(super) raw: &'a Snapshot,
    pub(super) raw_store: &'a Store,
    pub(super) partition: &'a Partition,
    /// Every typed table of its event type.
    pub(super) tasks: Vec<Task<'a>>,
    pub(super) scratch: &'a Scratch,
    pub(super) pace: &'a Pace,
    pub(super) report: &'a mut BuildReport,
}

/// New files, and the positions of the tasks to which they are new.
type Group<'a> = (&'a [Arc<TableFile>], Vec<usize>);

/// What is read in one go, and for which tasks.
struct Stream<'a> {
    files: &'a [Arc<TableFile>],
    /// By event name, the position of the task.
    tasks: HashMap<&'a str, usize>,
    /// Events of them that are there.
    known: Option<NewRows>,
}

impl PartitionBuild<'_> {
    /// Builds. Returns whether all is built: a table is not if another writer was faster.
    pub(super) fn run(mut self) -> Result<bool, UpkeepError> {
        let tasks = std::mem::take(&mut self.tasks);
        let mut works: Vec<Option<Work>> = tasks.iter().map(|task| task.work.clone()).collect();
        let mut is_current = true;
        // Usually one group.
        let mut groups: BTreeMap<Vec<&str>, Group<'_>> = BTreeMap::new();
        for (position, task) in tasks.iter().enumerate() {
            if let Some(Work::Append(files)) = &task.work {
                let paths = files.iter().map(|file| file.path.as_str()).collect();
                groups.entry(paths).or_insert((files, Vec::new())).1.push(position);
            }
        }
        for (files, members) in groups.into_values() {
            match self.new_rows(files, &tasks) {
                Ok(known) => {
                    let stream = Stream { files, tasks: by_name(&tasks, &members), known: Some(known) };
                    is_current &= self.stream(&stream, &tasks, &mut |_| {})?;
                }
                Err(Unsaid::Stopped) => return Err(UpkeepError::Stopped),
                // An event may move from one table to another.
                Err(Unsaid::Outdated) => works.iter_mut().for_each(rebuild),
                Err(Unsaid::Unreadable(reason)) => {
                    tracing::debug!(partition = %self.partition, reason, "a partition of typed tables is rebuilt");
                    members.iter().for_each(|&position| rebuild(&mut works[position]));
                }
            }
        }
        let fences: HashMap<usize, bool> = works
            .iter()
            .enumerate()
            .filter_map(|(at, work)| match work {
                Some(Work::Rebuild { fence }) => Some((at, *fence)),
                _ => None,
            })
            .collect();
        if fences.is_empty() {
            return Ok(is_current);
        }
        let members: Vec<usize> = fences.keys().copied().collect();
        let live = self.raw.files_of(self.partition);
        let stream = Stream { files: live, tasks: by_name(&tasks, &members), known: None };
        let mut met = Vec::new();
        is_current &= self.stream(&stream, &tasks, &mut |position| met.push(position))?;
        for position in members.into_iter().filter(|position| !met.contains(position)) {
            let place = &tasks[position].place;
            let has_files = !place.snapshot.files_of(self.partition).is_empty();
            if has_files || fences[&position] {
                is_current &= self.finish(place, TypedFiles::default(), true, Instant::now())?;
            }
        }
        Ok(is_current)
    }

    /// The events of new files, with those of them that the typed tables have.
    fn new_rows(&self, files: &[Arc<TableFile>], tasks: &[Task<'_>]) -> Result<NewRows, Unsaid> {
        let rows: u64 = files.iter().map(|file| file.statistics.rows.unwrap_or(u64::MAX / 1_024)).fold(0, u64::saturating_add);
        if rows > LAKE_MERGE_KEYS_MAX as u64 {
            return Err(Unsaid::Unreadable(format!("{rows} rows are too many to compare")));
        }
        let has_files = |task: &&Task<'_>| !task.place.snapshot.files_of(self.partition).is_empty();
        if !tasks.iter().any(|task| has_files(&task)) {
            return Ok(NewRows::default());
        }
        let mut new = NewRows::read(self.raw_store, files, self.pace)?;
        for task in tasks.iter().filter(has_files) {
            new.note_known(&task.place.table.upkeep.store, task.place.snapshot.files_of(self.partition), self.pace)?;
        }
        Ok(new)
    }

    /// Reads files in the order of the names, and commits table after table. `met` hears of the tasks that had rows.
    fn stream(&mut self, stream: &Stream<'_>, tasks: &[Task<'_>], met: &mut dyn FnMut(usize)) -> Result<bool, UpkeepError> {
        let (partition, scratch) = (self.partition, self.scratch);
        let failed = |error: &dyn std::fmt::Display| UpkeepError::files(partition, error);
        check_space(scratch, stream.files.iter().map(|file| file.bytes).sum()).map_err(|reason| failed(&reason))?;
        let files: Vec<MergeInput> = stream.files.iter().map(|file| input(file)).collect();
        let has_table: HashSet<&str> = tasks.iter().map(|task| task.place.table.event_name()).collect();
        let unnamed = RefCell::new(BuildReport::default());
        let keep = |row: &LakeRow<'_>| {
            if !has_table.contains(row.event_name) {
                unnamed.borrow_mut().count_without_table(row.event_name);
            }
            stream.tasks.contains_key(row.event_name) && stream.known.as_ref().is_none_or(|known| !known.is_known(row))
        };
        let request = MergeRequest {
            store: self.raw_store,
            partition,
            files: &files,
            drop_doubles: true,
            refuse_unknown_columns: false,
            keep: &keep,
            file_bytes_max: LAKE_FILE_BYTES_MAX,
            sort_bytes_max: LAKE_SORT_BYTES_MAX,
            keys_max: LAKE_MERGE_KEYS_MAX,
            scratch,
            pace: self.pace,
        };
        let (mut open, mut failure, mut is_current): (Option<(usize, TypedWriter<'_>, Instant)>, _, _) = (None, None, true);
        let is_rebuild = stream.known.is_none();
        let mut close = |open: &mut Option<(usize, TypedWriter<'_>, Instant)>, this: &mut Self| -> Result<bool, UpkeepError> {
            let Some((position, writer, began)) = open.take() else { return Ok(true) };
            met(position);
            let files = writer.finish().map_err(|error| failed(&error))?;
            this.finish(&tasks[position].place, files, is_rebuild, began)
        };
        let check = |left_out: &[LeftOut]| left_out.iter().try_for_each(|file| check_damage(self.raw_store, stream.files, file));
        let checked = |left_out: &[LeftOut]| check(left_out).map_err(MergeError::Io);
        let read = each_sorted(&request, checked, |row| {
            let Some(&position) = stream.tasks.get(row.event_name) else { return Ok(()) };
            if open.as_ref().is_none_or(|(current, ..)| *current != position) {
                match close(&mut open, self) {
                    Ok(done) => is_current &= done,
                    Err(error) => {
                        failure = Some(error);
                        return Err(MergeError::Ended);
                    }
                }
                let table = tasks[position].place.table;
                let writer = TypedWriter::new(&table.upkeep.store, scratch, &table.definition);
                open = Some((position, writer, Instant::now()));
            }
            open.as_mut().map_or(Ok(()), |(_, writer, _)| writer.push(row))
        });
        let left_out = match read {
            Ok(left_out) => left_out,
            Err(MergeError::Stopped) => return Err(UpkeepError::Stopped),
            // A compaction and a vacuum were faster.
            Err(MergeError::Gone(_)) => return Ok(false),
            Err(MergeError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failure.unwrap_or_else(|| failed(&error))),
        };
        is_current &= close(&mut open, self)?;
        self.report.left_out.extend(left_out);
        for (name, rows) in unnamed.into_inner().without_table {
            *self.report.without_table.entry(name).or_default() += rows;
        }
        Ok(is_current)
    }

    /// Commits files of a table.
    fn finish(&mut self, place: &Place<'_>, files: TypedFiles, is_rebuild: bool, began: Instant) -> Result<bool, UpkeepError> {
        let removed = if is_rebuild { place.snapshot.files_of(self.partition) } else { &[] };
        let rows_before: u64 = removed.iter().filter_map(|file| file.statistics.rows).sum();
        let (rows, unconverted) = (files.rows, files.unconverted);
        let operation = if is_rebuild { Operation::Overwrite } else { Operation::Write };
        let is_done = commit(place, files, removed, operation, self.raw.version)?;
        if is_done {
            let report = self.report.table(place.table.event_name());
            *(if is_rebuild { &mut report.rebuilt } else { &mut report.appended }) += 1;
            report.rows_written += rows;
            report.unconverted += unconverted;
            report.rows_removed += rows_before.saturating_sub(rows);
            report.time += began.elapsed();
        }
        Ok(is_done)
    }
}

/// Nothing, if a file that cannot be read is damaged: then its events are lost. The error, if it may be read later.
fn check_damage(store: &Store, files: &[Arc<TableFile>], left_out: &LeftOut) -> io::Result<()> {
    let Some(file) = files.iter().find(|file| file.path == left_out.file) else { return Ok(()) };
    match store.open(&file.path, file.bytes).and_then(|source| source.read_through()) {
        Err(error) if store.is_passing(&error) || error.kind() == io::ErrorKind::NotFound => Err(error),
        _ => {
            let LeftOut { file, reason } = left_out;
            tracing::warn!(file, reason, "a file of the lake cannot be read: the typed tables are built without its events");
            Ok(())
        }
    }
}

fn rebuild(work: &mut Option<Work>) {
    if !matches!(work, Some(Work::Rebuild { .. })) {
        *work = Some(Work::Rebuild { fence: false });
    }
}

fn by_name<'a>(tasks: &'a [Task<'_>], members: &[usize]) -> HashMap<&'a str, usize> {
    members.iter().map(|&position| (tasks[position].place.table.event_name(), position)).collect()
}

fn input(file: &TableFile) -> MergeInput {
    let TableFile { path, bytes, statistics, .. } = file;
    MergeInput { path: path.clone(), bytes: *bytes, rows: statistics.rows.unwrap_or_default(), rewrite: true }
}
