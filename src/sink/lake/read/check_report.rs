//! The result of a check.

use serde::Serialize;

/// What a check found, and what it looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The version of the table; `None` if the lake has no log.
    pub version: Option<u64>,
    /// Partitions that have files.
    pub partitions: u64,
    /// Live files.
    pub files: u64,
    /// Their rows, by their footers.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the rows were decoded.
    pub is_deep: bool,
    /// What does not fit, problems first.
    pub findings: Vec<Finding>,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub code: FindingCode,
    /// The file or partition, below the root.
    pub path: String,
    /// In words.
    pub detail: String,
}

/// Whether something must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The lake is not what its log says, or has lost something.
    Problem,
    /// As it may be.
    Notice,
}

/// Declares the codes: each with its severity and its meaning.
macro_rules! codes {
    ($( $code:ident = $text:literal, $severity:ident, $meaning:literal; )*) => {
        /// What a finding is. The texts are stable: scripts and alerts use them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingCode {
            $( #[doc = $meaning] $code, )*
        }

        impl FindingCode {
            /// All codes.
            pub const ALL: &[Self] = &[$( Self::$code, )*];

            /// The code in JSON and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$code => $text, )* }
            }

            /// Whether something must be done.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $( Self::$code => Severity::$severity, )* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $( Self::$code => $meaning, )* }
            }
        }
    };
}

codes! {
    MissingFile = "missing_file", Problem, "The log has the file; the lake does not. Its events are lost unless a backup has it";
    UnreadableFile = "unreadable_file", Problem, "The file is damaged, or cannot be read";
    WrongSize = "wrong_size", Problem, "The file has another size than the log says";
    WrongRowCount = "wrong_row_count", Problem, "The file has another number of rows than the log says, so that engines count wrong";
    WrongStatistics = "wrong_statistics", Problem, "The file has times beyond those in the log, so that engines skip it wrongly";
    SchemaDrift = "schema_drift", Problem, "A column of the table is missing in the file, or has another type";
    DamagedRows = "damaged_rows", Problem, "Rows whose identity or payload no gateway wrote";
    WrongPartition = "wrong_partition", Problem, "Rows of another type or day than their partition's, so that filters miss them";
    StaleFile = "stale_file", Problem, "The log removed the file long ago, and it is still there: the vacuum does not run";
    OrphanFile = "orphan_file", Problem, "An old file that the log does not know: engines that read the log do not see its events";
    ForeignFile = "foreign_file", Notice, "A file of another kind";
    ExtraColumns = "extra_columns", Notice, "The file has columns that the table does not have";
    NoStatistics = "no_statistics", Notice, "The log does not say how many rows the file has";
    DuplicateEvents = "duplicate_events", Notice, "Events that are there more than once; the view `events` has each once, compaction removes the others";
    RemovedFile = "removed_file", Notice, "The log removed the file a while ago; the vacuum removes it after its grace";
    UncommittedFile = "uncommitted_file", Notice, "A new file that the log does not know: a flush or a compaction that is not finished, or that a crash ended";
}

impl Finding {
    pub(super) fn new(code: FindingCode, path: String, detail: String) -> Self {
        Self { code, path, detail }
    }
}

impl CheckReport {
    pub(super) fn new(version: Option<u64>, is_deep: bool) -> Self {
        Self { version, partitions: 0, files: 0, rows: 0, bytes: 0, is_deep, findings: Vec::new() }
    }

    pub(super) fn sort(&mut self) {
        self.findings
            .sort_by(|a, b| (a.code.severity(), a.code, a.path.as_str()).cmp(&(b.code.severity(), b.code, b.path.as_str())));
    }

    /// Findings of this code.
    #[must_use]
    pub fn count(&self, code: FindingCode) -> usize {
        self.findings.iter().filter(|finding| finding.code == code).count()
    }

    /// Whether something must be done.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.code.severity() == Severity::Problem)
    }
}
