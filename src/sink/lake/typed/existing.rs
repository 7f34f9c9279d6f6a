//! Finds the events of new files that the typed tables have already.
//!
//! Memory holds the identities of the new rows, which are bounded by
//! [`LAKE_MERGE_KEYS_MAX`](crate::limits::LAKE_MERGE_KEYS_MAX). Of the typed files, only row groups are read in which the times and
//! the Bloom filter allow one of them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    limits::LAKE_CHUNK_ROWS,
    sink::lake::{
        columns::DEDUP_SCOPE,
        event_key::identity,
        pace::{Pace, Stopped},
        read::{Batches, LakeFile},
        row::LakeRow,
        rows::{Millis, doubles, scopes, text_at, texts},
        store::Store,
        table::TableFile,
    },
};

/// `event_uuid`, the bits of `created_at`, and the number of the scope.
type Key = (u128, u64, u32);

/// Why it cannot be said which events are there. Then the partition is rebuilt.
pub(super) enum Unsaid {
    /// A row that is there was received after a new row of the same event, which is to replace it.
    Outdated,
    /// A file cannot be read.
    Unreadable(String),
    /// The work was told to stop.
    Stopped,
}

impl From<Stopped> for Unsaid {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The rows of new files.
#[derive(Default)]
pub(super) struct NewRows {
    /// When each was received first.
    received: HashMap<Key, i64>,
    /// By `created_at`, ascending.
    by_time: Vec<(f64, u128)>,
    /// 0 is the scope that all server keys share.
    scopes: HashMap<Box<str>, u32>,
    known: HashSet<Key>,
}

impl NewRows {
    /// Reads the identities in files of the raw table.
    pub(super) fn read(store: &Store, files: &[Arc<TableFile>], pace: &Pace) -> Result<Self, Unsaid> {
        let mut new = Self::default();
        for file in files {
            let source = store.open(&file.path, file.bytes).map_err(|error| Unsaid::Unreadable(error.to_string()))?;
            let opened = LakeFile::open(source).map_err(Unsaid::Unreadable)?;
            let columns = ["event_uuid", "created_at", "received_datetime", DEDUP_SCOPE];
            let batches = opened.every_row(&columns, LAKE_CHUNK_ROWS).map_err(Unsaid::Unreadable)?;
            new.each_key(batches, pace, |new, key, created_at, received| {
                let first = new.received.entry(key).or_insert(received);
                *first = received.min(*first);
                new.by_time.push((created_at, key.0));
                Ok(())
            })?;
        }
        new.by_time.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Ok(new)
    }

    /// Takes note of those that are in files of a typed table.
    pub(super) fn note_known(&mut self, store: &Store, files: &[Arc<TableFile>], pace: &Pace) -> Result<(), Unsaid> {
        for file in files {
            if file.statistics.created_at.is_some_and(|bounds| self.between(bounds).is_empty()) {
                continue;
            }
            let source = store.open(&file.path, file.bytes).map_err(|error| Unsaid::Unreadable(error.to_string()))?;
            let opened = LakeFile::open_unchecked(source).map_err(Unsaid::Unreadable)?;
            let may_have = &mut |bounds: Option<(f64, f64)>, has_uuid: &dyn Fn(&str) -> bool| {
                let rows = bounds.map_or(self.by_time.as_slice(), |bounds| self.between(bounds));
                let mut text = Uuid::encode_buffer();
                rows.iter().any(|(_, uuid)| has_uuid(Uuid::from_u128(*uuid).hyphenated().encode_lower(&mut text)))
            };
            if let Some(batches) = opened.keys_of_groups(may_have).map_err(Unsaid::Unreadable)? {
                self.each_key(batches, pace, |new, key, _, received| match new.received.get(&key) {
                    None => Ok(()),
                    Some(first) if *first < received => Err(Unsaid::Outdated),
                    Some(_) => {
                        new.known.insert(key);
                        Ok(())
                    }
                })?;
            }
            pace.step()?;
        }
        Ok(())
    }

    /// Whether the event of a row is in a typed table.
    pub(super) fn is_known(&self, row: &LakeRow<'_>) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let Some((event_uuid, created_at)) = identity(row.event_uuid, row.created_at) else { return false };
        let scope = row.dedup_scope.map_or(Some(0), |scope| self.scopes.get(scope).copied());
        scope.is_some_and(|scope| self.known.contains(&(event_uuid, created_at, scope)))
    }

    fn between(&self, (min, max): (f64, f64)) -> &[(f64, u128)] {
        let start = self.by_time.partition_point(|(time, _)| *time < min);
        let end = self.by_time.partition_point(|(time, _)| *time <= max);
        &self.by_time[start..end.max(start)]
    }

    fn each_key(
        &mut self,
        batches: Batches,
        pace: &Pace,
        mut each: impl FnMut(&mut Self, Key, f64, i64) -> Result<(), Unsaid>,
    ) -> Result<(), Unsaid> {
        for batch in batches {
            let batch = batch.map_err(Unsaid::Unreadable)?;
            let (uuids, created) = texts(&batch, "event_uuid")
                .and_then(|uuids| Ok((uuids, doubles(&batch, "created_at")?)))
                .map_err(Unsaid::Unreadable)?;
            let received = Millis::of(&batch, "received_datetime").map_err(Unsaid::Unreadable)?;
            let scopes = scopes(&batch);
            for row in 0..batch.num_rows() {
                let created_at = created.value(row);
                let Some((event_uuid, bits)) = identity(uuids.value(row), created_at) else { continue };
                let scope = text_at(scopes, row).map_or(0, |scope| self.scope(scope));
                each(self, (event_uuid, bits, scope), created_at, received.value(row))?;
            }
            pace.step()?;
        }
        Ok(())
    }

    fn scope(&mut self, scope: &str) -> u32 {
        if let Some(number) = self.scopes.get(scope) {
            return *number;
        }
        let number = self.scopes.len() as u32 + 1;
        self.scopes.insert(scope.into(), number);
        number
    }
}
