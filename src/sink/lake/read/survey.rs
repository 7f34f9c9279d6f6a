//! Walks through the lake: its partitions, their files, and a few open files at a time.

use std::sync::Arc;

use super::{Filters, Lake, LakeError, LeftOut, file::LakeFile};
use crate::limits::LAKE_PARTITIONS_PER_WAVE;
use crate::{
    event::Date,
    sink::lake::{
        folders::{self, in_parallel},
        partition::{LATE, Partition, parse_date},
        store::FileEntry,
        table::TableFile,
    },
};

/// A file and its partition.
pub(super) struct Place<'a> {
    pub(super) partition: &'a Partition,
    pub(super) entry: FileEntry,
    /// The file in the table's log; `None` in a lake without a log.
    pub(super) logged: Option<Arc<TableFile>>,
}

impl<'a> Place<'a> {
    fn of_log(partition: &'a Partition, file: &Arc<TableFile>) -> Self {
        let entry = FileEntry { name: file.name().to_owned(), bytes: file.bytes, modified_millis: file.modified_millis };
        Self { partition, entry, logged: Some(Arc::clone(file)) }
    }

    /// Path below the root.
    pub(super) fn path(&self) -> String {
        match &self.logged {
            Some(file) => file.path.clone(),
            None => format!("{}/{}", self.partition, self.entry.name),
        }
    }

    pub(super) fn left_out(&self, reason: String) -> LeftOut {
        LeftOut { file: self.path(), reason }
    }
}

impl Lake {
    /// First day with a partition.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn first_date(&self) -> Result<Option<Date>, LakeError> {
        let partitions = self.partitions(&Filters::default())?;
        Ok(partitions.iter().filter_map(|partition| parse_date(&partition.created_date)).min())
    }

    /// Whether the lake has folders `created_date=late`, which gateways up to 2026-11 created.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn has_late_folders(&self) -> Result<bool, LakeError> {
        let partitions = self.partitions(&Filters::default())?;
        Ok(partitions.iter().any(|partition| partition.created_date == LATE))
    }

    /// The partitions that the filters admit, sorted.
    pub(super) fn partitions(&self, filters: &Filters) -> Result<Vec<Partition>, LakeError> {
        if let Some(table) = &self.table {
            let partitions = table.partitions().map(|(partition, _)| partition);
            let admitted = partitions
                .filter(|partition| filters.admits_type(&partition.event_type) && filters.admits_date(&partition.created_date));
            return Ok(admitted.cloned().collect());
        }
        self.folders(filters)
    }

    /// The partitions that have a folder, sorted.
    fn folders(&self, filters: &Filters) -> Result<Vec<Partition>, LakeError> {
        let (is_type, is_date) = (|name: &str| filters.admits_type(name), |date: &str| filters.admits_date(date));
        folders::partitions(&self.store, is_type, is_date)
    }

    /// The files of a partition, by name. In a lake without a log, files that are not named `*.parquet` are reported as left
    /// out, and hidden files are ignored.
    pub(super) fn files<'a>(&self, partition: &'a Partition) -> Result<(Vec<Place<'a>>, Vec<LeftOut>), LakeError> {
        if let Some(table) = &self.table {
            let mut files: Vec<_> = table.files_of(partition).iter().map(|file| Place::of_log(partition, file)).collect();
            files.sort_unstable_by(|a, b| a.entry.name.cmp(&b.entry.name));
            return Ok((files, Vec::new()));
        }
        let entries = self.store.list(&partition.to_string())?.files;
        let visible = entries.into_iter().filter(|entry| !entry.name.starts_with(['.', '_']));
        let (files, others): (Vec<_>, Vec<_>) = visible
            .map(|entry| Place { partition, entry, logged: None })
            .partition(|place| place.entry.name.ends_with(".parquet"));
        let others = others.iter().map(|place| place.left_out("is not named *.parquet".to_owned())).collect();
        Ok((files, others))
    }

    /// Answers for every file that the filters admit: by `logged` from what the log says of it, if that is enough, otherwise by
    /// `look` from the file itself. Several files are read at a time; the results are in order.
    pub(super) fn survey<R: Send>(
        &self,
        filters: &Filters,
        logged: impl Fn(&Place<'_>, &TableFile) -> Option<R> + Sync,
        look: impl Fn(&Place<'_>, &LakeFile) -> Result<R, String> + Sync,
        mut take: impl FnMut(&Place<'_>, R) -> Result<(), LakeError>,
    ) -> Result<Vec<LeftOut>, LakeError> {
        let mut left_out = Vec::new();
        for wave in self.partitions(filters)?.chunks(LAKE_PARTITIONS_PER_WAVE) {
            let mut places = Vec::new();
            for listed in in_parallel(self.store.readers(), wave, |partition| self.files(partition)) {
                let (files, others) = listed?;
                places.extend(files);
                left_out.extend(others);
            }
            let answers = in_parallel(self.store.readers(), &places, |place| {
                match place.logged.as_ref().and_then(|file| logged(place, file)) {
                    Some(answer) => Ok(answer),
                    None => self.open_file(place).and_then(|file| look(place, &file)),
                }
            });
            for (place, answer) in places.iter().zip(answers) {
                match answer {
                    Ok(answer) => take(place, answer)?,
                    Err(reason) => left_out.push(place.left_out(reason)),
                }
            }
        }
        Ok(left_out)
    }

    /// Runs `work` on every file, several at a time; the results are in order.
    pub(super) fn each<'a, 'p: 'a, R: Send>(&self, places: &'a [Place<'p>], work: impl Fn(&'a Place<'p>) -> R + Sync) -> Vec<R> {
        in_parallel(self.store.readers(), places, work)
    }

    /// Opens a Parquet file, whatever its columns.
    pub(super) fn open_unchecked(&self, place: &Place<'_>) -> Result<LakeFile, String> {
        let source = self.store.open(&place.path(), place.entry.bytes).map_err(|error| error.to_string())?;
        LakeFile::open_unchecked(source)
    }

    pub(super) fn open_file(&self, place: &Place<'_>) -> Result<LakeFile, String> {
        let source = self.store.open(&place.path(), place.entry.bytes).map_err(|error| error.to_string())?;
        LakeFile::open(source)
    }
}
