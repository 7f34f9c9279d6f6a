//! A pass over the typed tables: builds what changed in the raw table.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use super::{
    build_state::BuildState,
    changes::{RawChanges, Work},
    commit::Place,
    location::typed_folder,
    partition_build::{PartitionBuild, Task},
    progress::{Built, BuiltTable},
    report::BuildReport,
    tables::{TypedTable, TypedTables},
};
use crate::{
    event::{EventColumns, unix_millis},
    limits::LAKE_TYPED_PASSES_MAX,
    sink::lake::{
        LakeConfig, Pace,
        partition::Partition,
        read::LeftOut,
        table::{OWN_FOLDER, Snapshot, TableError},
        upkeep::{Rules, Upkeep, UpkeepError, VacuumRequest, urgency},
    },
};

/// What a pass is to do.
#[derive(Clone, Copy)]
pub struct BuildRequest<'a> {
    /// The columns of every event name that has a schema. Tables of other names are kept up by what they had last.
    pub definitions: &'a [EventColumns],
    /// Whether to build the table of this event name.
    pub admits: &'a dyn Fn(&str) -> bool,
    /// Whether everything is built anew.
    pub rebuild: bool,
    /// Files at which a partition is rebuilt that still gets events.
    pub files_max: usize,
}

/// The typed tables of one lake. All calls block.
#[derive(Debug)]
pub struct TypedLake {
    pub(super) raw: Upkeep,
    pub(super) tables: TypedTables,
}

/// The partitions of typed tables that are rebuilt in any case, by event name.
pub(super) type Forced = BTreeMap<String, BTreeSet<Partition>>;

/// What the partitions of the raw table need, by event name.
type Plan = BTreeMap<Partition, BTreeMap<String, Work>>;

impl TypedLake {
    /// Opens the typed tables at `typed` of the lake at `lake`. `None` if the lake has no table.
    ///
    /// # Errors
    /// [`TableError`] if a store fails, or the log cannot be read.
    pub fn open(lake: &LakeConfig, typed: &LakeConfig, scratch: PathBuf) -> Result<Option<Self>, TableError> {
        let Some(raw) = Upkeep::open(lake, scratch)? else { return Ok(None) };
        let tables = TypedTables::open(typed, raw.scratch.clone())?;
        Ok(Some(Self { raw, tables }))
    }

    /// The newest version of the raw table.
    ///
    /// # Errors
    /// As [`TypedLake::pass`].
    pub fn raw_version(&self) -> Result<u64, UpkeepError> {
        Ok(self.raw.table.refresh()?.version)
    }

    /// Builds everything that is not built. What failed is in the report; the rest is built all the same.
    ///
    /// # Errors
    /// [`UpkeepError`] if it was stopped, or a log cannot be read or written. What was built until then stays built.
    pub fn pass(&mut self, request: &BuildRequest<'_>, pace: &Pace) -> Result<BuildReport, UpkeepError> {
        self.pass_with(request, &Forced::new(), pace)
    }

    pub(super) fn pass_with(
        &mut self,
        request: &BuildRequest<'_>,
        forced: &Forced,
        pace: &Pace,
    ) -> Result<BuildReport, UpkeepError> {
        let mut report = BuildReport::default();
        let mut done = HashSet::new();
        for _ in 0..LAKE_TYPED_PASSES_MAX {
            let is_idle = Pass { request, forced, pace, done: &mut done, report: &mut report, lake: self }.run()?;
            // The last pass finds nothing to do, and writes down that all is built.
            if is_idle || !report.failed.is_empty() {
                break;
            }
        }
        for table in self.selected(request) {
            let snapshot = table.upkeep.table.known();
            let told = report.table(table.event_name());
            told.table.clone_from(&table.folder);
            told.files = snapshot.files_count() as u64;
            told.rows = snapshot.files().filter_map(|file| file.statistics.rows).sum();
        }
        // Rows of a damaged table have one, although it could not be opened.
        report.without_table.retain(|name, _| !self.tables.damaged.contains_key(&typed_folder(name)));
        Ok(report)
    }

    /// Opens the tables that are there, for [`TypedLake::vacuum`] without a pass before. Returns how many there are.
    ///
    /// # Errors
    /// As [`TypedLake::pass`].
    pub fn open_tables(&mut self) -> Result<usize, UpkeepError> {
        // A program that may not even look never built one.
        if !self.tables.may_list() {
            return Ok(0);
        }
        self.tables.sync(&[])?;
        Ok(self.tables.tables.len())
    }

    /// The tables whose log is damaged, after [`TypedLake::open_tables`] or a pass.
    #[must_use]
    pub fn damaged(&self) -> Vec<LeftOut> {
        self.tables.left_out()
    }

    /// The names that have a table, after [`TypedLake::open_tables`] or a pass.
    pub fn event_names(&self) -> impl Iterator<Item = &str> {
        self.tables.tables.keys().map(String::as_str)
    }

    /// Removes files that the tables do not have any more; with `daily` also those that nobody finished.
    ///
    /// # Errors
    /// As [`Upkeep::vacuum`].
    pub fn vacuum(&self, grace_millis: i64, daily: bool, pace: &Pace) -> Result<u64, UpkeepError> {
        let mut removed = 0;
        for upkeep in self.tables.tables.values().map(|table| &table.upkeep) {
            // Most tables need no look at the store.
            if daily || upkeep.table.known().removed().next().is_some() {
                let request = VacuumRequest { grace_millis, list_folders: daily, unknown: false, dry_run: false };
                let done = upkeep.vacuum(request, pace)?;
                removed += done.removed_files + done.leftovers;
            }
        }
        Ok(removed)
    }

    /// Removes files of the logs that are not needed for any version of the last `retention_millis`.
    ///
    /// # Errors
    /// As [`Upkeep::clean_log`].
    pub fn clean_logs(&self, retention_millis: i64, pace: &Pace) -> Result<(), UpkeepError> {
        self.tables.tables.values().try_for_each(|table| table.upkeep.clean_log(retention_millis, false, pace).map(drop))
    }

    pub(super) fn selected(&self, request: &BuildRequest<'_>) -> impl Iterator<Item = &TypedTable> {
        self.tables.tables.values().filter(|table| (request.admits)(table.event_name()))
    }
}

/// One pass.
struct Pass<'a, 'b> {
    request: &'a BuildRequest<'b>,
    forced: &'a Forced,
    pace: &'a Pace,
    /// Partitions that were rebuilt because the request says so, by event name.
    done: &'a mut HashSet<(String, Partition)>,
    report: &'a mut BuildReport,
    lake: &'a mut TypedLake,
}

impl Pass<'_, '_> {
    /// Returns whether there was nothing to do.
    fn run(mut self) -> Result<bool, UpkeepError> {
        self.lake.tables.sync(self.request.definitions)?;
        self.report.damaged = self.lake.tables.left_out();
        // After the tables are there: an erasure looks for them after its commit, so it finds those of a slow builder.
        let raw = self.lake.raw.table.refresh()?;
        self.report.raw_version = raw.version;
        self.report.overtaken = 0;
        let store = Arc::clone(&self.lake.tables.store);
        let built = Built::read(&store, raw.id()).map_err(|error| UpkeepError::files(OWN_FOLDER, error))?;
        let mut states = BTreeMap::new();
        for table in self.lake.selected(self.request) {
            states.insert(table.event_name().to_owned(), BuildState::of(table, &built)?);
        }
        let plan = self.plan(&raw, &states)?;
        let mut behind: HashSet<String> = HashSet::new();
        // The newest days first: they are asked for most.
        let mut partitions: Vec<&Partition> = plan.keys().collect();
        partitions.sort_by(|a, b| b.created_date.cmp(&a.created_date).then(a.event_type.cmp(&b.event_type)));
        for partition in partitions {
            let works = &plan[partition];
            match self.build(&raw, partition, works, &states) {
                Ok(true) => {
                    self.done.extend(works.keys().map(|name| (name.clone(), partition.clone())));
                }
                Ok(false) => {
                    self.report.overtaken += 1;
                    behind.insert(partition.event_type.clone());
                }
                Err(UpkeepError::Stopped) => return Err(UpkeepError::Stopped),
                Err(error) => {
                    tracing::debug!(%partition, %error, "a partition of the typed tables could not be built");
                    self.report.failed.push(LeftOut { file: partition.to_string(), reason: error.to_string() });
                    behind.insert(partition.event_type.clone());
                }
            }
        }
        self.note(&raw, built, &states, &behind);
        Ok(plan.is_empty())
    }

    fn plan(&self, raw: &Snapshot, states: &BTreeMap<String, BuildState>) -> Result<Plan, UpkeepError> {
        let tables = || self.lake.selected(self.request).filter_map(|table| Some((table, states.get(table.event_name())?)));
        let oldest = tables().filter_map(|(table, state)| state.oldest(table.event_type(), raw)).min();
        let changes = RawChanges::read(&self.lake.raw.table, oldest.unwrap_or(raw.version), raw.version)?;
        let rules = Rules { now_millis: unix_millis(SystemTime::now()), files_max: self.request.files_max };
        let mut plan = Plan::new();
        for (table, state) in tables() {
            let (name, event_type) = (table.event_name(), table.event_type());
            let forced = self.forced.get(name).into_iter().flatten();
            let typed = || state.snapshot.partitions();
            let untidy = typed().filter(|(partition, files)| urgency(partition, files, rules).is_some()).map(|(it, _)| it);
            let asked: BTreeSet<&Partition> = forced.chain(untidy).collect();
            let is_known = !self.request.rebuild && state.watermark().is_some_and(|watermark| changes.cover(watermark));
            let candidates: BTreeSet<Partition> = if is_known {
                let changed = changes.partitions().filter(|partition| partition.event_type == event_type).cloned();
                changed.chain(state.recent_partitions(event_type)).chain(asked.iter().copied().cloned()).collect()
            } else {
                let raw = raw.partitions().map(|(partition, _)| partition).filter(|it| it.event_type == event_type);
                raw.chain(typed().map(|(partition, _)| partition)).cloned().collect()
            };
            for partition in candidates {
                let has_files = !state.snapshot.files_of(&partition).is_empty();
                let mut work = changes.work(raw, &partition, state.built(&state.app_id(&partition)), has_files);
                let is_asked = self.request.rebuild || asked.contains(&partition);
                if is_asked && !self.done.contains(&(name.to_owned(), partition.clone())) {
                    let fence = self.forced.get(name).is_some_and(|forced| forced.contains(&partition))
                        || matches!(work, Some(Work::Rebuild { fence: true }));
                    work = Some(Work::Rebuild { fence });
                }
                if let Some(work) = work {
                    plan.entry(partition).or_default().insert(name.to_owned(), work);
                }
            }
        }
        Ok(plan)
    }

    fn build(
        &mut self,
        raw: &Snapshot,
        partition: &Partition,
        works: &BTreeMap<String, Work>,
        states: &BTreeMap<String, BuildState>,
    ) -> Result<bool, UpkeepError> {
        let lake = &*self.lake;
        let mut tasks = Vec::new();
        for table in lake.tables.tables.values().filter(|table| table.event_type() == partition.event_type) {
            // A table that is not to be built is looked at, because it may have an event.
            let snapshot = match states.get(table.event_name()) {
                Some(state) => Arc::clone(&state.snapshot),
                None => table.upkeep.table.known(),
            };
            let app_id = TypedTable::app_id(&snapshot, raw.id(), partition);
            let expected = snapshot.transaction(&app_id);
            let place = Place { table, snapshot, partition, app_id, expected };
            tasks.push(Task { place, work: works.get(table.event_name()).cloned() });
        }
        let Upkeep { store, scratch, .. } = &lake.raw;
        PartitionBuild { raw, raw_store: store, partition, tasks, scratch, pace: self.pace, report: self.report }.run()
    }

    /// Writes down that the tables are built, except those of the event types `behind`.
    fn note(&self, raw: &Snapshot, mut built: Built, states: &BTreeMap<String, BuildState>, behind: &HashSet<String>) {
        let before = built.clone();
        for table in self.lake.selected(self.request).filter(|table| !behind.contains(table.event_type())) {
            let Some(BuildState { snapshot, incarnation, .. }) = states.get(table.event_name()) else { continue };
            let (incarnation, raw_version, version) = (incarnation.clone(), raw.version, snapshot.version);
            built.tables.insert(table.folder.clone(), BuiltTable { incarnation, raw_version, version });
        }
        // Another builder may write it at the same moment. The next pass does it again, and only compares more until then.
        if built != before
            && let Err(error) = built.write(&self.lake.tables.store)
        {
            tracing::debug!(error, "how far the typed tables are built could not be noted");
        }
    }
}
