//! Compares the lake with its table's log, and, if asked, every row with what it should be.
//!
//! The store is listed before the log is read, so that a file that joins meanwhile is not taken for one that the log does not
//! know. What looks wrong with a live file is looked at once more at the end: a gateway may have replaced and removed the file.

mod rows;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Filters, Lake,
    check_report::{CheckReport, Finding, FindingCode},
    file::LakeFile,
    survey::Place,
};
use crate::{
    limits::{LAKE_CHECK_REMOVED_AGE, LAKE_CHECK_UNKNOWN_AGE},
    sink::lake::{
        LakeError,
        folders::stored_files,
        partition::Partition,
        store::FileEntry,
        table::{Snapshot, Table, TableFile},
    },
};
use rows::{PartitionRows, RowFaults};

/// What a file turned out to be.
struct Looked {
    rows: u64,
    findings: Vec<Finding>,
    in_rows: Option<RowFaults>,
}

impl Lake {
    /// Checks the lake: that the log's files are there, whole, and as the log says, and that there are no others. With
    /// `is_deep`, every row is decoded too: this finds damaged pages, rows in the wrong partition, and events that are there
    /// more than once.
    ///
    /// # Errors
    /// [`LakeError`] if a folder cannot be listed, or the log cannot be read.
    pub fn check(&self, is_deep: bool, now_millis: i64) -> Result<CheckReport, LakeError> {
        let stored = self.stored()?;
        // Read after the listing; only a lake that is read by its log is checked against it.
        let table = self.table.as_ref().map(|_| Table::open_in(Arc::clone(&self.store))).transpose()?.flatten();
        let table = table.map(|table| table.known());
        let lake = Self { store: Arc::clone(&self.store), table };
        let mut report = CheckReport::new(lake.version(), is_deep);
        if let Some(table) = &lake.table {
            unknown_files(table, &stored, now_millis, &mut report);
        }
        for partition in lake.partitions(&Filters::default())? {
            lake.check_partition(&partition, &stored, &mut report)?;
        }
        lake.confirm(&mut report)?;
        report.sort();
        Ok(report)
    }

    /// Every file in the folders of partitions, by its path.
    fn stored(&self) -> Result<BTreeMap<String, FileEntry>, LakeError> {
        let files = stored_files(&self.store)?.into_iter();
        Ok(files.map(|(partition, entry)| (format!("{partition}/{}", entry.name), entry)).collect())
    }

    fn check_partition(
        &self,
        partition: &Partition,
        stored: &BTreeMap<String, FileEntry>,
        report: &mut CheckReport,
    ) -> Result<(), LakeError> {
        report.partitions += 1;
        let (places, others) = self.files(partition)?;
        report.findings.extend(others.into_iter().map(|other| Finding::new(FindingCode::ForeignFile, other.file, other.reason)));
        let is_deep = report.is_deep;
        let looked = self.each(&places, |place| self.look_at(place, stored.get(&place.path()), is_deep));
        let mut in_rows = PartitionRows::default();
        for (place, looked) in places.iter().zip(looked) {
            report.files += 1;
            report.bytes += place.entry.bytes;
            report.rows += looked.rows;
            report.findings.extend(looked.findings);
            if let Some(faults) = looked.in_rows {
                report.findings.extend(faults.findings(&place.path()));
                in_rows.add(faults);
            }
        }
        report.findings.extend(in_rows.finding(partition));
        Ok(())
    }

    /// Looks at one file: its size, its footer, and, if asked, its rows.
    fn look_at(&self, place: &Place<'_>, stored: Option<&FileEntry>, is_deep: bool) -> Looked {
        let mut looked = Looked { rows: 0, findings: Vec::new(), in_rows: None };
        let mut find = |code, detail: String| looked.findings.push(Finding::new(code, place.path(), detail));
        // A file that joined after the listing is asked for by itself.
        let bytes = match stored {
            Some(stored) => Ok(Some(stored.bytes)),
            None => self.store.size(&place.path()),
        };
        match bytes {
            Ok(Some(bytes)) if bytes == place.entry.bytes => {}
            Ok(Some(bytes)) => find(FindingCode::WrongSize, format!("{bytes} bytes; the log says {}", place.entry.bytes)),
            Ok(None) => {
                find(FindingCode::MissingFile, "the log has this file, the lake does not".to_owned());
                return looked;
            }
            Err(error) => {
                find(FindingCode::UnreadableFile, error.to_string());
                return looked;
            }
        }
        let file = match self.open_unchecked(place) {
            Ok(file) => file,
            Err(reason) => {
                find(FindingCode::UnreadableFile, reason);
                return looked;
            }
        };
        looked.rows = file.rows();
        if let Err(reason) = file.check_columns() {
            looked.findings.push(Finding::new(FindingCode::SchemaDrift, place.path(), reason));
            return looked;
        }
        looked.findings.extend(against_log(place, &file));
        if is_deep {
            match RowFaults::of(&file, place.partition) {
                Ok(faults) => looked.in_rows = Some(faults),
                Err(reason) => looked.findings.push(Finding::new(FindingCode::UnreadableFile, place.path(), reason)),
            }
        }
        looked
    }

    /// Drops findings about files that are no longer live: a compaction, an expiry or an erasure replaced them meanwhile.
    fn confirm(&self, report: &mut CheckReport) -> Result<(), LakeError> {
        let may_pass = |code| matches!(code, FindingCode::MissingFile | FindingCode::UnreadableFile | FindingCode::WrongSize);
        if self.table.is_none() || !report.findings.iter().any(|finding| may_pass(finding.code)) {
            return Ok(());
        }
        let Some(table) = Table::open_in(Arc::clone(&self.store))? else { return Ok(()) };
        let snapshot = table.known();
        let live: HashSet<&str> = snapshot.files().map(|file| file.path.as_str()).collect();
        report.findings.retain(|finding| !may_pass(finding.code) || live.contains(finding.path.as_str()));
        Ok(())
    }
}

/// What the footer says against what the log says.
fn against_log(place: &Place<'_>, file: &LakeFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, detail: String| findings.push(Finding::new(code, place.path(), detail));
    let extra = file.extra_columns();
    if !extra.is_empty() {
        find(FindingCode::ExtraColumns, format!("it also has {}", extra.join(", ")));
    }
    let Some(logged) = &place.logged else { return findings };
    match logged.statistics.rows {
        Some(rows) if rows != file.rows() => {
            find(FindingCode::WrongRowCount, format!("{} rows; the log says {rows}", file.rows()));
        }
        Some(_) => {}
        None => find(FindingCode::NoStatistics, "the log does not say how many rows it has".to_owned()),
    }
    if let Some(reason) = beyond_bounds(logged, file) {
        find(FindingCode::WrongStatistics, reason);
    }
    findings
}

/// Why a reader that trusts the bounds of the log would skip rows of the file.
fn beyond_bounds(logged: &TableFile, file: &LakeFile) -> Option<String> {
    let (oldest, newest) = file.created_range()?;
    let (min, max) = logged.statistics.created_millis?;
    (oldest < min || newest > max).then(|| "it has events beyond the created_datetime that the log says".to_owned())
}

/// The files that the log does not know, and those that it removed and that are still there.
fn unknown_files(table: &Snapshot, stored: &BTreeMap<String, FileEntry>, now_millis: i64, report: &mut CheckReport) {
    // By path alone: a file may lie in another folder than that of its partition.
    let live: HashSet<&str> = table.files().map(|file| file.path.as_str()).collect();
    for (path, file) in stored {
        // Engines ignore hidden files; these are unfinished ones.
        let is_hidden = file.name.starts_with(['.', '_']);
        if is_hidden || live.contains(path.as_str()) {
            continue;
        }
        let age = |since: i64| now_millis.saturating_sub(since) / 1_000;
        if let Some(removed) = table.removed_file(path) {
            let seconds = age(removed.removed_millis);
            let is_stale = seconds > LAKE_CHECK_REMOVED_AGE.as_secs().cast_signed();
            let code = if is_stale { FindingCode::StaleFile } else { FindingCode::RemovedFile };
            let erased = if removed.data_change { "; rows left the table with it" } else { "" };
            report.findings.push(Finding::new(
                code,
                path.clone(),
                format!("the log removed it {} ago{erased}", duration(seconds)),
            ));
        } else if !file.name.ends_with(".parquet") {
            report.findings.push(Finding::new(FindingCode::ForeignFile, path.clone(), "is not named *.parquet".to_owned()));
        } else {
            let seconds = age(file.modified_millis);
            let is_orphan = seconds > LAKE_CHECK_UNKNOWN_AGE.as_secs().cast_signed();
            let code = if is_orphan { FindingCode::OrphanFile } else { FindingCode::UncommittedFile };
            report.findings.push(Finding::new(
                code,
                path.clone(),
                format!("the log does not know it; {} old", duration(seconds)),
            ));
        }
    }
}

/// Seconds in words.
fn duration(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
