//! The four queries: list, count, find, export.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use uuid::Uuid;

use super::{
    Count, Counts, Export, Filters, Found, Lake, Listing, PartitionSummary,
    file::{LakeFile, RowPlace},
    filters::RowFilter,
    survey::Place,
};
use crate::sink::lake::{
    LakeError, LakeRow,
    columns::{DEDUP_SCOPE, all_columns},
    event_key::identity,
    partition::Partition,
    rows::{Millis, doubles, each_row, scopes, text_at, texts},
    table::TableFile,
};

impl Lake {
    /// The partitions with their files, rows, bytes and times, from the log or the footers alone: only the type of an
    /// `event_name` filter is used here.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn ls(&self, filters: &Filters) -> Result<Listing, LakeError> {
        let mut partitions: BTreeMap<Partition, PartitionSummary> = BTreeMap::new();
        let look = |_: &Place<'_>, file: &LakeFile| Ok((file.rows(), file.created_range()));
        let logged = |_: &Place<'_>, file: &TableFile| {
            let statistics = &file.statistics;
            Some((statistics.rows?, Some(statistics.created_millis?)))
        };
        let left_out = self.survey(filters, logged, look, |place, (rows, created)| {
            let new = || PartitionSummary {
                partition: place.partition.clone(),
                files: 0,
                rows: 0,
                bytes: 0,
                oldest_millis: None,
                newest_millis: None,
            };
            let summary = partitions.entry(place.partition.clone()).or_insert_with(new);
            summary.files += 1;
            summary.rows += rows;
            summary.bytes += place.entry.bytes;
            if let Some((oldest, newest)) = created {
                summary.oldest_millis = Some(summary.oldest_millis.map_or(oldest, |known| known.min(oldest)));
                summary.newest_millis = Some(summary.newest_millis.map_or(newest, |known| known.max(newest)));
            }
            Ok(())
        })?;
        Ok(Listing { partitions: partitions.into_values().collect(), left_out })
    }

    /// Rows by event type and day, and by name if `by_name`. If no name matters, the log or the footers answer.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed.
    pub fn count(&self, filters: &Filters, by_name: bool) -> Result<Counts, LakeError> {
        let mut counts: BTreeMap<(Partition, Option<String>), u64> = BTreeMap::new();
        let look = |place: &Place<'_>, file: &LakeFile| {
            let filter = filters.of_rows(place.partition);
            if filter.is_all() && !by_name { Ok(vec![(None, file.rows())]) } else { count_rows(file, &filter, by_name) }
        };
        let logged = |place: &Place<'_>, file: &TableFile| {
            let (filter, statistics) = (filters.of_rows(place.partition), &file.statistics);
            if filter.excludes(statistics) {
                return Some(Vec::new());
            }
            if filter.is_all() && !by_name {
                return Some(vec![(None, statistics.rows?)]);
            }
            // All rows have one name. It is the one that is asked for, because it is not excluded.
            let (name, _) = statistics.event_name.as_ref().filter(|(min, max)| min == max && filter.created_millis.is_none())?;
            Some(vec![(by_name.then(|| name.to_string()), statistics.rows?)])
        };
        let left_out = self.survey(filters, logged, look, |place, answer| {
            for (event_name, rows) in answer {
                if rows > 0 {
                    *counts.entry((place.partition.clone(), event_name)).or_default() += rows;
                }
            }
            Ok(())
        })?;
        let counts = counts.into_iter().map(|((partition, event_name), rows)| Count { partition, event_name, rows });
        Ok(Counts { counts: counts.collect(), left_out })
    }

    /// Every row with this identity: more than one if the lake holds it twice. Footers, filters and the `event_uuid` column are
    /// read before anything else.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed, or `visit` fails.
    pub fn find(
        &self,
        event_uuid: Uuid,
        filters: &Filters,
        visit: &mut dyn FnMut(&Found, &LakeRow<'_>) -> io::Result<()>,
    ) -> Result<Vec<super::LeftOut>, LakeError> {
        let text = event_uuid.hyphenated().to_string();
        let mut hits = Vec::new();
        let mut left_out = self.survey(
            filters,
            |place, file| filters.of_rows(place.partition).excludes(&file.statistics).then(Vec::new),
            |_, file| file.rows_of_uuid(&text, None),
            |place, rows| {
                if !rows.is_empty() {
                    hits.push((place.partition.clone(), place.entry.clone(), place.logged.clone(), rows));
                }
                Ok(())
            },
        )?;
        for (partition, entry, logged, rows) in hits {
            let place = Place { partition: &partition, entry, logged };
            let filter = filters.of_rows(&partition);
            let numbers: Vec<u64> = rows.iter().map(|place| place.row).collect();
            let mut places = rows.iter();
            let visited = self.open_file(&place).and_then(|file| {
                for batch in file.rows_at(&all_columns(), &numbers)? {
                    let each = &mut |row: &LakeRow<'_>| {
                        let Some(&RowPlace { row: number, group, .. }) = places.next() else { return Ok(()) };
                        let found = Found { file: place.path(), row: number, row_group: group as u64 };
                        if filter.admits(row.event_name, row.created_millis) { visit(&found, row) } else { Ok(()) }
                    };
                    if let Err(error) = each_row(&batch?, &partition, each)? {
                        return Ok(Err(error));
                    }
                }
                Ok(Ok(()))
            });
            match visited {
                Ok(visited) => visited.map_err(LakeError::Output)?,
                Err(reason) => left_out.push(place.left_out(reason)),
            }
        }
        Ok(left_out)
    }

    /// Passes every row that matches the filters to `visit`, partition by partition, in the order of the file names.
    ///
    /// With `distinct`, only the first received row of each event is passed, as in the view `events`: the identities of each
    /// partition are then held in memory, about 80 bytes each.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed, or `visit` fails.
    pub fn export(
        &self,
        filters: &Filters,
        distinct: bool,
        visit: &mut dyn FnMut(&LakeRow<'_>) -> io::Result<()>,
    ) -> Result<Export, LakeError> {
        let mut export = Export::default();
        for partition in self.partitions(filters)? {
            let filter = filters.of_rows(&partition);
            let (places, others) = self.files(&partition)?;
            export.left_out.extend(others);
            let mut firsts = if distinct { Some(self.first_received(&places, &filter)) } else { None };
            for place in &places {
                let rows = &mut export.rows;
                let each = &mut |row: &LakeRow<'_>| {
                    let admitted = filter.admits(row.event_name, row.created_millis)
                        && firsts.as_mut().is_none_or(|firsts| is_first(firsts, row));
                    if admitted {
                        *rows += 1;
                        visit(row)?;
                    }
                    Ok(())
                };
                let exported = self.open_file(place).and_then(|file| export_file(&file, &partition, &filter, each));
                match exported {
                    Ok(visited) => visited.map_err(LakeError::Output)?,
                    Err(reason) => export.left_out.push(place.left_out(reason)),
                }
            }
        }
        Ok(export)
    }

    /// When each event of a partition was first received. An unreadable file is reported by the export.
    fn first_received(&self, places: &[Place<'_>], filter: &RowFilter<'_>) -> HashMap<EventKey, i64> {
        let mut firsts = HashMap::new();
        for place in places {
            let read = self.open_file(place).and_then(|file| {
                for batch in file.batches(&["event_uuid", "created_at", "received_datetime", DEDUP_SCOPE], filter)? {
                    let batch = batch?;
                    let (uuids, created) = (texts(&batch, "event_uuid")?, doubles(&batch, "created_at")?);
                    let received = Millis::of(&batch, "received_datetime")?;
                    let scopes = scopes(&batch);
                    for row in 0..batch.num_rows() {
                        let scope = text_at(scopes, row);
                        let Some(key) = event_key(uuids.value(row), created.value(row), scope) else { continue };
                        let received = received.value(row);
                        firsts.entry(key).and_modify(|first: &mut i64| *first = received.min(*first)).or_insert(received);
                    }
                }
                Ok(())
            });
            if let Err(reason) = read {
                tracing::debug!(file = place.path(), reason, "looking for duplicates");
            }
        }
        firsts
    }
}

/// The key of an event in a partition: `event_uuid`, the bits of `created_at` (LAKE.md), and the scope of the identity.
type EventKey = (u128, u64, Option<Box<str>>);

/// `None` for an identity in a format that no gateway writes: such rows are never duplicates.
fn event_key(event_uuid: &str, created_at: f64, scope: Option<&str>) -> Option<EventKey> {
    let (event_uuid, created_at) = identity(event_uuid, created_at)?;
    Some((event_uuid, created_at, scope.map(Box::from)))
}

/// Whether this row is the first of its event. Then removes the event, so that only one of two equal rows is passed.
fn is_first(firsts: &mut HashMap<EventKey, i64>, row: &LakeRow<'_>) -> bool {
    let Some(key) = event_key(row.event_uuid, row.created_at, row.dedup_scope) else { return true };
    let first = firsts.get(&key) == Some(&row.received_millis);
    if first {
        firsts.insert(key, i64::MIN);
    }
    first
}

fn export_file(
    file: &LakeFile,
    partition: &Partition,
    filter: &RowFilter<'_>,
    each: &mut dyn FnMut(&LakeRow<'_>) -> io::Result<()>,
) -> Result<io::Result<()>, String> {
    for batch in file.batches(&all_columns(), filter)? {
        if let Err(error) = each_row(&batch?, partition, each)? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn count_rows(file: &LakeFile, filter: &RowFilter<'_>, by_name: bool) -> Result<Vec<(Option<String>, u64)>, String> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut unnamed = 0;
    for batch in file.batches(&["event_name", "created_datetime"], filter)? {
        let batch = batch?;
        let (names, created) = (texts(&batch, "event_name")?, Millis::of(&batch, "created_datetime")?);
        for (row, name) in names.iter().enumerate() {
            let name = name.unwrap_or_default();
            if !filter.admits(name, created.value(row)) {
                continue;
            }
            if !by_name {
                unnamed += 1;
            } else if let Some(count) = counts.get_mut(name) {
                *count += 1;
            } else {
                counts.insert(name.to_owned(), 1);
            }
        }
    }
    let named = counts.into_iter().map(|(name, rows)| (Some(name), rows));
    Ok(named.chain((unnamed > 0).then_some((None, unnamed))).collect())
}
