//! Walks through the lake: its partitions, their files, and a few open files at a time.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::{Filters, Lake, LakeError, LeftOut, file::LakeFile};
use crate::limits::LAKE_PARTITIONS_PER_WAVE;
use crate::{
    event::Date,
    sink::lake::{
        partition::{LATE, Partition, folder_of_type, parse_date},
        store::FileEntry,
    },
};

/// A file and its partition.
pub(super) struct Place<'a> {
    pub(super) partition: &'a Partition,
    pub(super) entry: FileEntry,
}

impl Place<'_> {
    /// Path below the root.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.partition, self.entry.name)
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
        let folders = self.store.list("")?.folders;
        let types: Vec<&str> = folders.iter().filter_map(|name| Partition::type_of_folder(name)).collect();
        let types: Vec<&str> = types.into_iter().filter(|event_type| filters.admits_type(event_type)).collect();
        let listed = in_parallel(self.store.readers(), &types, |event_type| self.store.list(&folder_of_type(event_type)));
        let mut partitions = Vec::new();
        for (event_type, listed) in types.iter().zip(listed) {
            let folders = listed?.folders;
            let dates = folders.iter().filter_map(|name| Partition::date_of_folder(name));
            let admitted = dates.filter(|date| filters.admits_date(date));
            partitions
                .extend(admitted.map(|date| Partition { event_type: (*event_type).to_owned(), created_date: date.to_owned() }));
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// The Parquet files of a partition, by name. Files with another kind of name are reported as left out; hidden files are
    /// ignored.
    pub(super) fn files<'a>(&self, partition: &'a Partition) -> Result<(Vec<Place<'a>>, Vec<LeftOut>), LakeError> {
        let entries = self.store.list(&partition.to_string())?.files;
        let visible = entries.into_iter().filter(|entry| !entry.name.starts_with(['.', '_']));
        let (files, others): (Vec<_>, Vec<_>) =
            visible.map(|entry| Place { partition, entry }).partition(|place| place.entry.name.ends_with(".parquet"));
        let others = others.iter().map(|place| place.left_out("is not named *.parquet".to_owned())).collect();
        Ok((files, others))
    }

    /// Reads every file that the filters admit, several at a time, and returns the results in order.
    pub(super) fn survey<R: Send>(
        &self,
        filters: &Filters,
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
            let answers =
                in_parallel(self.store.readers(), &places, |place| self.open_file(place).and_then(|file| look(place, &file)));
            for (place, answer) in places.iter().zip(answers) {
                match answer {
                    Ok(answer) => take(place, answer)?,
                    Err(reason) => left_out.push(place.left_out(reason)),
                }
            }
        }
        Ok(left_out)
    }

    pub(super) fn open_file(&self, place: &Place<'_>) -> Result<LakeFile, String> {
        let source = self.store.open(&place.path(), place.entry.bytes).map_err(|error| error.to_string())?;
        LakeFile::open(source)
    }
}

/// Runs `work` on every item in several threads; the results are in the order of the items.
fn in_parallel<'a, I: Sync, R: Send>(threads: usize, items: &'a [I], work: impl Fn(&'a I) -> R + Sync) -> Vec<R> {
    if threads <= 1 || items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some((index, item)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    let answer = work(item);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push((index, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_unstable_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
