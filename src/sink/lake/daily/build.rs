//! Builds the daily tables: what changed, or everything.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use super::{
    daily_table::{DailyTable, DayRows},
    days,
    engine::{DuckDb, RunFolder},
    inputs::{Inputs, files_of},
    query::DailyQuery,
    report::{DailyReport, DailyTableReport},
    result_columns::delta_schema_of,
    script::{COLUMNS_FILE, DAY_FOLDER, InputFiles, ROWS_FOLDER, script},
};
use crate::{
    event::{Date, unix_millis},
    limits::LAKE_DAILY_RESULT_BYTES_MAX,
    sink::lake::{
        LakeConfig, Pace,
        partition::parse_date,
        read::LeftOut,
        scratch::Scratch,
        store::Store,
        table::TableError,
        typed::{OpenedTyped, open_typed},
        upkeep::{UpkeepError, UpkeepSettings},
    },
};

/// What is to be built.
pub struct DailyRequest<'a> {
    /// Where the typed tables are.
    pub typed: &'a LakeConfig,
    /// Where the daily tables are, or shall be.
    pub daily: &'a LakeConfig,
    /// The queries.
    pub queries: &'a [DailyQuery],
    /// Whether everything is made again.
    pub rebuild: bool,
    /// Folder for scratch files.
    pub scratch: PathBuf,
    /// What runs the queries.
    pub engine: &'a DuckDb,
    /// How long old versions stay.
    pub settings: &'a UpkeepSettings,
}

/// Builds the daily tables from the typed tables as they are now. What failed is in the report; the rest is built all the same.
/// Blocks.
///
/// # Errors
/// [`UpkeepError`] if it was stopped, or the typed tables cannot be opened.
pub fn build_daily(request: &DailyRequest<'_>, pace: &Pace) -> Result<DailyReport, UpkeepError> {
    let typed = Store::for_reading(request.typed).map_err(TableError::from)?;
    // Those whose log is damaged are told by the build of the typed tables; queries that name them fail.
    let (opened, _) = open_typed(&typed)?;
    let store = Store::for_building(request.daily).map_err(TableError::from)?;
    let mut report = DailyReport::default();
    for query in request.queries {
        let inputs = Inputs::of(query, &opened);
        if inputs.tables.is_empty() {
            report.without_inputs.push(query.name.clone());
            continue;
        }
        match (Build { request, query, inputs, store: &store, pace }).run() {
            Ok(table) => report.tables.push(table),
            Err(UpkeepError::Stopped) => return Err(UpkeepError::Stopped),
            Err(error) => report.failed.push(LeftOut { file: query.name.clone(), reason: error.to_string() }),
        }
    }
    Ok(report)
}

/// The build of one table.
struct Build<'a> {
    request: &'a DailyRequest<'a>,
    query: &'a DailyQuery,
    inputs: Inputs<'a>,
    store: &'a Store,
    pace: &'a Pace,
}

impl Build<'_> {
    fn run(&self) -> Result<DailyTableReport, UpkeepError> {
        let began = Instant::now();
        let store = Arc::new(self.store.below(&self.query.name).map_err(TableError::from)?);
        let scratch = Scratch::new(self.request.scratch.clone());
        let mut table = DailyTable::open(Arc::clone(&store), &scratch)?;
        let mut stale = self.stale_days(table.as_ref())?;
        let mut days_made = 0;
        let mut runs = days::runs(&stale);
        if table.is_none() && runs.is_empty() {
            // A table without rows has its columns all the same.
            let today = Date::of_millis(unix_millis(std::time::SystemTime::now())).days;
            runs.push(today..=today);
        }
        let mut left = runs.into_iter();
        while let Some(run) = left.next() {
            self.pace.step()?;
            let made = self.make(&run)?;
            let table = match &mut table {
                Some(table) => table,
                None => table.insert(DailyTable::create(&self.query.name, &made.columns, Arc::clone(&store), &scratch)?),
            };
            if !table.has_columns(&made.columns) {
                self.unless_overtaken(table.empty(&made.columns)?)?;
                let all = self.inputs.all_days();
                if !all.is_subset(&stale) {
                    stale = all;
                    left = days::runs(&stale).into_iter();
                    continue;
                }
            }
            let is_last = left.len() == 0;
            let made_from = is_last.then(|| self.inputs.made_from());
            days_made += run.clone().count() as u64;
            self.unless_overtaken(table.replace(&run, made.rows, made_from.as_ref())?)?;
        }
        let (rows, files) = table.as_ref().map_or((0, 0), DailyTable::size);
        if let Some(table) = table {
            let settings = self.request.settings;
            table.tidy(settings.vacuum_grace_millis, settings.log_retention_millis, days_made > 0, self.pace)?;
        }
        Ok(DailyTableReport { name: self.query.name.clone(), days_made, rows, files, time: began.elapsed() })
    }

    /// The days to make again.
    fn stale_days(&self, table: Option<&DailyTable>) -> Result<BTreeSet<i32>, UpkeepError> {
        let changed = match table.filter(|_| !self.request.rebuild) {
            Some(table) => self.inputs.changed_days(table.made_from().as_ref())?,
            None => None,
        };
        let all = || self.inputs.all_days().into_iter().chain(table.map(DailyTable::days).unwrap_or_default()).collect();
        Ok(changed.unwrap_or_else(all))
    }

    fn unless_overtaken(&self, is_done: bool) -> Result<(), UpkeepError> {
        let overtaken = || TableError::Overtaken("another builder made this table meanwhile; repeat the command".to_owned());
        if is_done { Ok(()) } else { Err(overtaken().into()) }
    }

    /// Runs the query for some days.
    fn make(&self, days: &RangeInclusive<i32>) -> Result<Made, UpkeepError> {
        let [first, last] = [days.start(), days.end()].map(|days| Date { days: *days });
        let failed = |reason: String| UpkeepError::files(format!("{first} to {last}"), reason);
        let folder = RunFolder::new(&self.request.scratch).map_err(|error| failed(error.to_string()))?;
        let mut inputs = Vec::new();
        for table in self.inputs.tables.iter().copied() {
            let files = fetched(table, days, &folder.path).map_err(|error| failed(error.to_string()))?;
            inputs.push(InputFiles { table, files });
        }
        self.request.engine.run(&script(self.query, days, &inputs, &folder.path), &folder.path).map_err(failed)?;
        let columns = fs::read(folder.path.join(COLUMNS_FILE)).map_err(|error| failed(error.to_string()))?;
        let columns = delta_schema_of(&Bytes::from(columns)).map_err(failed)?;
        let rows = rows_of(&folder.path.join(ROWS_FOLDER)).map_err(|error| failed(error.to_string()))?;
        Ok(Made { columns, rows })
    }
}

/// What a run returned.
struct Made {
    /// The columns, as the JSON text of the log.
    columns: String,
    rows: Vec<DayRows>,
}

/// The paths of the files of a typed table that a run reads. Those in S3 are copied below `folder`.
fn fetched(table: &OpenedTyped, days: &RangeInclusive<i32>, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for file in files_of(table, &days::read_by(days)) {
        let path = match table.store.local_path(&file.path) {
            Some(path) => path.canonicalize()?,
            None => {
                let path = folder.join("typed").join(&table.folder).join(&file.path);
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(&path, table.store.read(&file.path)?)?;
                path
            }
        };
        paths.push(path);
    }
    Ok(paths)
}

/// The rows that DuckDB wrote, by day.
fn rows_of(folder: &Path) -> io::Result<Vec<DayRows>> {
    let days = match fs::read_dir(folder) {
        Ok(days) => days,
        // No rows, no folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut rows = Vec::new();
    for entry in days {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(DAY_FOLDER));
        let Some(date) = name.and_then(parse_date) else {
            return Err(io::Error::other(format!("{} is no day", path.display())));
        };
        for file in fs::read_dir(&path)? {
            let file = file?;
            if file.metadata()?.len() > LAKE_DAILY_RESULT_BYTES_MAX {
                return Err(io::Error::other(format!("the rows of {date} have more than {LAKE_DAILY_RESULT_BYTES_MAX} bytes")));
            }
            rows.push(DayRows { day: date.days, file: fs::read(file.path())?.into() });
        }
    }
    rows.sort_by_key(|rows| rows.day);
    Ok(rows)
}
