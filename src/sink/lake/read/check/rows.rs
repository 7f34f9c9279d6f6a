//! The rows of a file, one by one: whether each is an event, and belongs where it is.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use serde::de::IgnoredAny;
use uuid::Uuid;

use super::super::{
    check_report::{Finding, FindingCode},
    file::LakeFile,
};
use crate::{
    event::Date,
    limits::{LAKE_CHECK_IDENTITIES_MAX, LAKE_READ_ROWS},
    sink::lake::{
        LATE, LakeRow,
        columns::all_columns,
        partition::{Partition, parse_date},
        rows::each_row,
    },
};

/// The identity of an event in a partition: its UUID, and a hash of `created_at` and its scope.
type Identity = (u128, u64);

/// What is wrong with the rows of a file, and the identities of the others.
#[derive(Default)]
pub(super) struct RowFaults {
    damaged: u64,
    misplaced: u64,
    identities: Vec<Identity>,
}

impl RowFaults {
    /// Decodes every row.
    pub(super) fn of(file: &LakeFile, partition: &Partition) -> Result<Self, String> {
        let mut faults = Self::default();
        for batch in file.every_row(&all_columns(), LAKE_READ_ROWS)? {
            let visited = each_row(&batch?, partition, &mut |row| {
                faults.look_at(row);
                Ok(())
            });
            visited?.map_err(|error: io::Error| error.to_string())?;
        }
        Ok(faults)
    }

    fn look_at(&mut self, row: &LakeRow<'_>) {
        let is_json = serde_json::from_str::<IgnoredAny>(row.payload).is_ok();
        let Some(uuid) = Uuid::try_parse(row.event_uuid).ok().filter(|_| is_json) else {
            self.damaged += 1;
            return;
        };
        self.misplaced += u64::from(!is_in_place(row));
        let mut hasher = DefaultHasher::new();
        (row.created_at.to_bits(), row.dedup_scope).hash(&mut hasher);
        self.identities.push((uuid.as_u128(), hasher.finish()));
    }

    pub(super) fn findings(&self, path: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.damaged > 0 {
            let detail = format!("{} rows have no valid identity or payload", self.damaged);
            findings.push(Finding::new(FindingCode::DamagedRows, path.to_owned(), detail));
        }
        if self.misplaced > 0 {
            let detail = format!("{} rows are of another type or day", self.misplaced);
            findings.push(Finding::new(FindingCode::WrongPartition, path.to_owned(), detail));
        }
        findings
    }
}

/// Whether type and day of a row are those of its partition. The day is that of its creation, or, if it was late, of its receipt.
fn is_in_place(row: &LakeRow<'_>) -> bool {
    let day = parse_date(row.created_date);
    let days = [row.created_millis, row.received_millis].map(|millis| Some(Date::of_millis(millis)));
    row.event_name.split(':').next() == Some(row.event_type) && (row.created_date == LATE || days.contains(&day))
}

/// How often each event of a partition is there.
#[derive(Default)]
pub(super) struct PartitionRows {
    seen: HashMap<Identity, u32>,
    /// Rows whose event was not looked for, because there were too many.
    unchecked: u64,
}

impl PartitionRows {
    pub(super) fn add(&mut self, faults: RowFaults) {
        for identity in faults.identities {
            if self.seen.len() >= LAKE_CHECK_IDENTITIES_MAX && !self.seen.contains_key(&identity) {
                self.unchecked += 1;
            } else {
                *self.seen.entry(identity).or_default() += 1;
            }
        }
    }

    pub(super) fn finding(&self, partition: &Partition) -> Option<Finding> {
        let doubled = self.seen.values().filter(|&&rows| rows > 1).count();
        let extra: u64 = self.seen.values().map(|&rows| u64::from(rows) - 1).sum();
        let unchecked = match self.unchecked {
            0 => String::new(),
            rows => format!("; {rows} rows were not looked for"),
        };
        let detail = format!("{doubled} events are there more than once, in {extra} rows too many{unchecked}");
        (doubled > 0 || self.unchecked > 0).then(|| Finding::new(FindingCode::DuplicateEvents, partition.to_string(), detail))
    }
}
