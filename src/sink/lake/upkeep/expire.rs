//! Retention: removes the events that are older than their names allow.
//!
//! A file whose events have all expired leaves the table; one with a part of them is rewritten without it. Which names a file
//! has is read from its column `event_name`, unless its statistics have a single one. The spool is not touched: an event that
//! waits for a sink reaches it whatever its age, and the lake drops it then.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Upkeep, UpkeepError,
    retention::Retention,
    rewrite::{Outcome, Rewrite},
};
use crate::{
    event::Date,
    limits::{LAKE_CHUNK_ROWS, LAKE_REWRITE_TRIES_MAX},
    sink::lake::{
        pace::Pace,
        parse_date,
        partition::Partition,
        read::{LakeFile, LeftOut},
        rows::texts,
        table::{Operation, TableFile},
    },
};

/// What expired in a partition, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The partition.
    pub partition: Partition,
    /// Names of the expired events.
    pub event_names: BTreeSet<String>,
    /// Files that leave the table, and those that are rewritten.
    pub files_removed: u64,
    /// Files with other events too, which are rewritten without the expired ones.
    pub files_rewritten: u64,
    /// Expired rows; in a dry run those of the files that leave the table whole, if the log has their number.
    pub rows: u64,
    /// Files that cannot be read: their events stay.
    pub left_out: Vec<LeftOut>,
}

/// The files of a partition with expired events.
#[derive(Default)]
struct Plan {
    names: BTreeSet<String>,
    whole: BTreeSet<String>,
    in_part: BTreeSet<String>,
    left_out: Vec<LeftOut>,
}

impl Upkeep {
    /// The partitions that may have events that have expired on the day `today`, the oldest first.
    ///
    /// # Errors
    /// [`UpkeepError`] if the log cannot be read.
    pub fn to_expire(&self, retention: &Retention, today: Date) -> Result<Vec<Partition>, UpkeepError> {
        let snapshot = self.table.refresh()?;
        let memory = self.memory();
        let may_expire = |partition: &Partition, files: &[Arc<TableFile>]| {
            let first = parse_date(&partition.created_date).and_then(|date| retention.first_expiry(&partition.event_type, date));
            let is_known = |file: &TableFile| memory.expires.get(&file.path).is_some_and(|day| *day > today.days);
            first.is_some_and(|first| first <= today) && !files.iter().all(|file| is_known(file))
        };
        let mut partitions: Vec<Partition> = snapshot
            .partitions()
            .filter(|(partition, files)| may_expire(partition, files))
            .map(|(partition, _)| partition.clone())
            .collect();
        partitions.sort_by(|a, b| a.created_date.cmp(&b.created_date).then(a.event_type.cmp(&b.event_type)));
        Ok(partitions)
    }

    /// Removes the expired events of a partition in one commit; with `dry_run` it only says which. `None` if it has none.
    ///
    /// # Errors
    /// [`UpkeepError`] if it was stopped, or the store or the log fails. Then nothing has changed.
    pub fn expire(
        &self,
        partition: &Partition,
        retention: &Retention,
        today: Date,
        dry_run: bool,
        pace: &Pace,
    ) -> Result<Option<Expired>, UpkeepError> {
        let Some(date) = parse_date(&partition.created_date) else { return Ok(None) };
        let is_expired = |name: &str| retention.expires_on(name, date).is_some_and(|day| day <= today);
        for _ in 0..LAKE_REWRITE_TRIES_MAX {
            // The version is not kept: see `compact`.
            let files = self.table.refresh()?.files_of(partition).to_vec();
            let mut plan = self.plan_expiry(partition, &files, retention, today, pace)?;
            if plan.names.is_empty() && plan.left_out.is_empty() {
                return Ok(None);
            }
            let (files_removed, files_rewritten) = (plan.whole.len() as u64, plan.in_part.len() as u64);
            let expired = |rows: u64, plan: &mut Plan| Expired {
                partition: partition.clone(),
                event_names: std::mem::take(&mut plan.names),
                files_removed,
                files_rewritten,
                rows,
                left_out: std::mem::take(&mut plan.left_out),
            };
            if dry_run || files_removed + files_rewritten == 0 {
                let whole = files.iter().filter(|file| plan.whole.contains(&file.path));
                let rows = whole.filter_map(|file| file.statistics.rows).sum();
                return Ok(Some(expired(rows, &mut plan)));
            }
            let readable: Vec<Arc<TableFile>> = files
                .iter()
                .filter(|file| plan.whole.contains(&file.path) || plan.in_part.contains(&file.path))
                .map(Arc::clone)
                .collect();
            let outcome = Rewrite {
                table: &self.table,
                store: &self.store,
                scratch: &self.scratch,
                pace,
                partition,
                files: &readable,
                must_rewrite: &|_| true,
                drop_doubles: false,
                keep: &|row| !is_expired(row.event_name),
                operation: Operation::Expire,
                data_change: true,
            }
            .run()?;
            let Outcome::Done(done) = outcome else { continue };
            plan.left_out.extend(done.left_out);
            return Ok(Some(expired(done.not_kept, &mut plan)));
        }
        tracing::info!(%partition, "other writers change the partition faster than its events can expire; later again");
        Ok(None)
    }

    fn plan_expiry(
        &self,
        partition: &Partition,
        files: &[Arc<TableFile>],
        retention: &Retention,
        today: Date,
        pace: &Pace,
    ) -> Result<Plan, UpkeepError> {
        let mut plan = Plan::default();
        let Some(date) = parse_date(&partition.created_date) else { return Ok(plan) };
        for file in files {
            if self.memory().expires.get(&file.path).is_some_and(|day| *day > today.days) {
                continue;
            }
            let names = match self.names_in(file) {
                Ok(names) => names,
                Err(reason) => {
                    plan.left_out.push(LeftOut { file: file.path.clone(), reason });
                    continue;
                }
            };
            let days: Vec<Option<Date>> = names.iter().map(|name| retention.expires_on(name, date)).collect();
            let has_expired = |day: &Option<Date>| day.is_some_and(|day| day <= today);
            match days.iter().filter(|day| has_expired(day)).count() {
                0 => {
                    let next = days.iter().flatten().map(|day| day.days).min().unwrap_or(i32::MAX);
                    self.memory().expires.insert(file.path.clone(), next);
                }
                all if all == days.len() => drop(plan.whole.insert(file.path.clone())),
                _ => drop(plan.in_part.insert(file.path.clone())),
            }
            plan.names.extend(names.into_iter().zip(&days).filter(|(_, day)| has_expired(day)).map(|(name, _)| name));
            pace.step()?;
        }
        Ok(plan)
    }

    /// The names of the events in a file.
    fn names_in(&self, file: &TableFile) -> Result<BTreeSet<String>, String> {
        if let Some((min, max)) = &file.statistics.event_name
            && min == max
        {
            return Ok(BTreeSet::from([min.to_string()]));
        }
        let source = self.store.open(&file.path, file.bytes).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        for batch in LakeFile::open(source)?.every_row(&["event_name"], LAKE_CHUNK_ROWS)? {
            let batch = batch?;
            let mut last = "";
            for name in texts(&batch, "event_name")?.iter().flatten() {
                // Sorted files have long stretches of one name.
                if name != last && !names.contains(name) {
                    names.insert(name.to_owned());
                }
                last = name;
            }
        }
        Ok(names)
    }
}
