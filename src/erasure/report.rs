//! The report of an erasure: what was searched, where, how much was erased, when it is gone for good, and what is out of reach.
//! It holds no value that was searched for.

use serde::{Deserialize, Serialize};

use super::criterion::CriterionText;

/// Version of the format.
const FORMAT: u32 = 1;

/// See the module. Counts are of events in one place: an event may be in several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the format.
    pub format: u32,
    /// Name of the erasure.
    pub id: String,
    /// Whether nothing was changed; `erased` then counts what would be erased.
    pub dry_run: bool,
    /// The fields that were compared.
    pub fields: Vec<String>,
    /// How many values were searched for.
    pub values: usize,
    /// SHA-256 of the name of the erasure, a line end, and the criterion as JSON.
    pub criterion_sha256: String,
    /// Patterns of event names; none for every name.
    pub events: Vec<String>,
    /// Events received before this time are covered.
    pub requested_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// How often it was begun: more than once if a stop or a crash interrupted it. What was erased by a step that was
    /// interrupted is not counted.
    pub runs: u32,
    /// The spools.
    pub spools: Vec<SpoolReport>,
    /// The dead letters in files.
    pub dead_letters: LettersReport,
    /// Files in the quarantines of the spools.
    pub quarantine: Vec<QuarantineReport>,
    /// The lakes.
    pub lakes: Vec<LakeReport>,
    /// When that which is erased is gone for good.
    pub gone_for_good: Vec<String>,
    /// Copies that the gateway cannot reach.
    pub out_of_reach: Vec<String>,
    /// Why something may be left; empty if the erasure is complete.
    pub incomplete: Vec<String>,
}

/// A spool: events that wait for the sinks, and delivered ones that are still on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolReport {
    /// `spool` or `dead-letter-spool`.
    pub spool: String,
    /// Events that were searched.
    pub searched: u64,
    /// Events that are erased: no sink gets them any more.
    pub erased: u64,
    /// Those of them that not every sink had.
    pub undelivered: u64,
    /// Files that hold their bytes until every sink has delivered the file.
    pub segments: u64,
    /// Events that could not be read now, so they were not searched.
    pub unreadable: u64,
}

/// The dead letters in files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersReport {
    /// Letters that were searched.
    pub searched: u64,
    /// Letters that were erased.
    pub erased: u64,
    /// Letters that stay although their text contains one of the values, because their event is no JSON, or not whole. Zero if
    /// they were to be erased.
    pub undecided: u64,
    /// Files with damaged bytes that contain one of the values.
    pub damaged_files: Vec<String>,
}

/// A file in the quarantine of a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineReport {
    /// The spool.
    pub spool: String,
    /// The file.
    pub file: String,
    /// Events that were searched.
    pub searched: u64,
    /// Events that were overwritten.
    pub erased: u64,
    /// Damaged bytes that could not be searched.
    pub unsearched_bytes: u64,
    /// Whether the file is still in use by the spool, so that its events are overwritten when every sink has delivered it.
    pub later: bool,
}

/// A lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeReport {
    /// The folder or the bucket.
    pub root: String,
    /// The version of the table that was searched last; `None` if the lake has no table.
    pub version: Option<u64>,
    /// Files that were searched.
    pub files_searched: u64,
    /// Rows that were searched.
    pub searched: u64,
    /// Rows that were erased from the newest version.
    pub erased: u64,
    /// Files that were written anew without them, or removed.
    pub files_changed: u64,
    /// Files of older versions, and files that the table does not know, that held such rows and were removed.
    pub old_files_removed: u64,
    /// Files that could not be read.
    pub unreadable_files: Vec<String>,
    /// Why its search is not complete.
    pub problem: Option<String>,
    /// Its typed tables, which follow it; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed_tables: Option<TypedTablesReport>,
}

/// The typed tables of a lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypedTablesReport {
    /// The folder or the bucket.
    pub root: String,
    /// Tables that followed.
    pub tables: u64,
    /// Rows that left them.
    pub erased: u64,
    /// Files that held such rows, and those of older versions, that were deleted.
    pub old_files_removed: u64,
    /// Whether the gateway may not look which tables there are: in a bucket, it may lack the right.
    #[serde(default)]
    pub forbidden: bool,
    /// Why they did not follow.
    pub problems: Vec<String>,
}

impl Report {
    /// A report of nothing yet.
    #[must_use]
    pub fn new(id: &str, criterion: &CriterionText, dry_run: bool, requested_at: &str) -> Self {
        Self {
            format: FORMAT,
            id: id.to_owned(),
            dry_run,
            fields: criterion.clauses.iter().map(|clause| clause.field.clone()).collect(),
            values: criterion.clauses.iter().map(|clause| clause.values.len()).sum(),
            criterion_sha256: criterion.hash(id),
            events: criterion.events.clone(),
            requested_at: requested_at.to_owned(),
            ..Self::default()
        }
    }

    /// Whether nothing that could be searched is left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// All events that were erased, counted in each place.
    #[must_use]
    pub fn erased(&self) -> u64 {
        let spools: u64 = self.spools.iter().map(|spool| spool.erased).sum();
        let quarantine: u64 = self.quarantine.iter().map(|file| file.erased).sum();
        let lakes: u64 = self.lakes.iter().map(|lake| lake.erased).sum();
        spools + quarantine + lakes + self.dead_letters.erased
    }

    /// The report of the spool of this name.
    pub(super) fn spool(&mut self, name: &str) -> &mut SpoolReport {
        let found = self.spools.iter().position(|spool| spool.spool == name);
        let index = found.unwrap_or_else(|| {
            self.spools.push(SpoolReport { spool: name.to_owned(), ..SpoolReport::default() });
            self.spools.len() - 1
        });
        &mut self.spools[index]
    }

    /// The report of the lake with this root.
    pub(super) fn lake(&mut self, root: &str) -> &mut LakeReport {
        let found = self.lakes.iter().position(|lake| lake.root == root);
        let index = found.unwrap_or_else(|| {
            self.lakes.push(LakeReport { root: root.to_owned(), ..LakeReport::default() });
            self.lakes.len() - 1
        });
        &mut self.lakes[index]
    }
}
