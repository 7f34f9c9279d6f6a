//! Rows by minute of receipt.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    Filters, Lake, LeftOut,
    file::LakeFile,
    filters::{RowFilter, overlaps},
    minute_report::{RowsByMinute, UncountedFile},
    survey::Place,
};
use crate::sink::lake::{
    LakeError,
    removed_rows::MINUTE_MILLIS,
    rows::{Millis, texts},
    table::{FileStatistics, TableFile},
};

/// What is asked of each file.
struct Wanted<'a> {
    received: &'a Range<i64>,
    filter: RowFilter<'a>,
    by_name: bool,
}

/// The answer of one file.
#[derive(Default)]
struct Counted {
    /// Rows by minute and position in `names`.
    rows: HashMap<(i64, usize), u64>,
    /// The names; empty if they were not asked for.
    names: Vec<Box<str>>,
    is_opened: bool,
    decoded: u64,
}

impl Lake {
    /// Rows of events that the filters admit and that were received in `received` (Unix milliseconds), by minute of receipt, and
    /// by name if `by_name`. A file that lies outside is not opened, nor one with a single minute, unless names matter; of
    /// the others only the columns that matter are decoded.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn rows_by_minute(&self, filters: &Filters, received: Range<i64>, by_name: bool) -> Result<RowsByMinute, LakeError> {
        self.count_by_minute(filters, received, by_name, true)
    }

    /// All rows that were received in `received`, by minute of receipt, as the files have them: each file that may have some is
    /// opened. So a file that somebody changed or removed is noticed, which the log alone does not show.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn rows_in_files_by_minute(&self, received: Range<i64>) -> Result<RowsByMinute, LakeError> {
        self.count_by_minute(&Filters::default(), received, false, false)
    }

    fn count_by_minute(
        &self,
        filters: &Filters,
        received: Range<i64>,
        by_name: bool,
        trusts_log: bool,
    ) -> Result<RowsByMinute, LakeError> {
        let mut result = RowsByMinute { version: self.version(), ..RowsByMinute::default() };
        let wanted = |place: &Place<'_>| Wanted { received: &received, filter: filters.of_rows(place.partition), by_name };
        let logged = |place: &Place<'_>, file: &TableFile| {
            let counted = wanted(place).by_log(&file.statistics);
            counted.filter(|counted| trusts_log || counted.rows.is_empty())
        };
        let look = |place: &Place<'_>, file: &LakeFile| wanted(place).by_file(file);
        let left_out = self.survey(filters, logged, look, |_, counted: Counted| {
            result.files += 1;
            result.files_opened += u64::from(counted.is_opened);
            result.rows_decoded += counted.decoded;
            for ((minute, name), rows) in counted.rows {
                *result.minutes.entry(minute).or_default() += rows;
                if let Some(name) = counted.names.get(name) {
                    *result.names.entry((minute, name.clone())).or_default() += rows;
                }
            }
            Ok(())
        })?;
        result.left_out = self.uncounted(&left_out);
        Ok(result)
    }

    /// With what the log knows of the files.
    fn uncounted(&self, left_out: &[LeftOut]) -> Vec<UncountedFile> {
        let paths: HashSet<&str> = left_out.iter().map(|left_out| left_out.file.as_str()).collect();
        let files = self.table.iter().flat_map(|table| table.files()).filter(|file| paths.contains(file.path.as_str()));
        let known: HashMap<&str, &FileStatistics> = files.map(|file| (file.path.as_str(), &file.statistics)).collect();
        let uncounted = left_out.iter().map(|left_out| {
            let statistics = known.get(left_out.file.as_str());
            UncountedFile {
                file: left_out.file.clone(),
                reason: left_out.reason.clone(),
                rows: statistics.and_then(|statistics| statistics.rows),
                received_millis: statistics.and_then(|statistics| statistics.received_millis),
            }
        });
        uncounted.collect()
    }
}

impl Wanted<'_> {
    /// The answer of the log, if it is enough.
    fn by_log(&self, statistics: &FileStatistics) -> Option<Counted> {
        if self.filter.excludes(statistics) {
            return Some(Counted::default());
        }
        let bounds = statistics.received_millis?;
        if !overlaps(self.received, bounds) {
            return Some(Counted::default());
        }
        let minute = self.only_minute(bounds)?;
        let only_name = statistics.event_name.as_ref().filter(|(min, max)| min == max).map(|(name, _)| name);
        let names = if self.by_name { vec![only_name?.clone()] } else { Vec::new() };
        // A name that is asked for is not excluded, so it is the only one.
        if self.filter.created_millis.is_some() || (self.filter.event_name.is_some() && only_name.is_none()) {
            return None;
        }
        Some(Counted { rows: HashMap::from([((minute, 0), statistics.rows?)]), names, ..Counted::default() })
    }

    /// The minute of all rows between these bounds, if it is one and all of it is wanted.
    fn only_minute(&self, (smallest, largest): (i64, i64)) -> Option<i64> {
        let minute = smallest.div_euclid(MINUTE_MILLIS);
        let is_wanted = self.received.contains(&smallest) && self.received.contains(&largest);
        (is_wanted && largest.div_euclid(MINUTE_MILLIS) == minute).then_some(minute)
    }

    /// The answer of the file itself.
    fn by_file(&self, file: &LakeFile) -> Result<Counted, String> {
        let mut counted = Counted { is_opened: true, ..Counted::default() };
        let needs_names = self.by_name || self.filter.event_name.is_some();
        let needs_rows = needs_names || self.filter.created_millis.is_some();
        let mut groups = Vec::new();
        for (group, (rows, bounds)) in file.received_of_groups().into_iter().enumerate() {
            match bounds {
                Some(bounds) if !overlaps(self.received, bounds) => {}
                Some(bounds) if !needs_rows && self.only_minute(bounds).is_some() => {
                    let minute = bounds.0.div_euclid(MINUTE_MILLIS);
                    *counted.rows.entry((minute, 0)).or_default() += rows;
                }
                _ => groups.push(group),
            }
        }
        if groups.is_empty() {
            return Ok(counted);
        }
        let mut columns = vec!["received_datetime"];
        columns.extend(needs_names.then_some("event_name"));
        columns.extend(self.filter.created_millis.is_some().then_some("created_datetime"));
        let mut positions: HashMap<Box<str>, usize> = HashMap::new();
        for batch in file.groups(&columns, groups)? {
            let batch = batch?;
            counted.decoded += batch.num_rows() as u64;
            let received = Millis::of(&batch, "received_datetime")?;
            let names = if needs_names { Some(texts(&batch, "event_name")?) } else { None };
            let created = if self.filter.created_millis.is_some() { Some(Millis::of(&batch, "created_datetime")?) } else { None };
            // Rows come in stretches of a name, and of a minute.
            let (mut run, mut run_name) = (Run::default(), None);
            for row in 0..batch.num_rows() {
                let millis = received.value(row);
                let name = names.map_or("", |names| names.value(row));
                let created = created.as_ref().map_or(0, |created| created.value(row));
                if !self.received.contains(&millis) || !self.filter.admits(name, created) {
                    continue;
                }
                if self.by_name && run_name != Some(name) {
                    run_name = Some(name);
                    run.end(&mut counted);
                    run.name = position(name, &mut positions, &mut counted.names);
                }
                let minute = millis.div_euclid(MINUTE_MILLIS);
                if minute != run.minute {
                    run.end(&mut counted);
                    run.minute = minute;
                }
                run.rows += 1;
            }
            run.end(&mut counted);
        }
        Ok(counted)
    }
}

/// Rows of one minute and one name that follow each other.
#[derive(Default)]
struct Run {
    minute: i64,
    name: usize,
    rows: u64,
}

impl Run {
    fn end(&mut self, counted: &mut Counted) {
        if self.rows > 0 {
            *counted.rows.entry((self.minute, self.name)).or_default() += std::mem::take(&mut self.rows);
        }
    }
}

/// The position of a name among those seen.
fn position(name: &str, positions: &mut HashMap<Box<str>, usize>, names: &mut Vec<Box<str>>) -> usize {
    if let Some(position) = positions.get(name) {
        return *position;
    }
    positions.insert(name.into(), names.len());
    names.push(name.into());
    names.len() - 1
}
