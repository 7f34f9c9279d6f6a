//! A change of the table: what one commit does.

use std::{collections::BTreeMap, sync::Arc};

use super::file::{RemovedFile, TableFile};
use crate::sink::lake::removed_rows::RemovedRows;

/// The newest commit of an application in a table, as the table's log remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink::lake) struct TransactionState {
    /// What the application counts.
    pub(in crate::sink::lake) version: i64,
    /// When it was committed, in Unix milliseconds: differs for each commit, also of the same version.
    pub(in crate::sink::lake) updated_millis: Option<i64>,
}

/// What a commit says of the work of an application. It is refused if another writer said something meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink::lake) struct Transaction {
    pub(in crate::sink::lake) app_id: String,
    pub(in crate::sink::lake) version: i64,
    /// What the table must have of this application before.
    pub(in crate::sink::lake) expected: Option<TransactionState>,
}

/// What a commit is for; readers ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Files with new events.
    Write,
    /// Files of a lake without a log.
    Adopt,
    /// The same rows in fewer files.
    Optimize,
    /// Rows are erased.
    Delete,
    /// Rows have expired.
    Expire,
    /// All rows of a partition of a typed table, or of all of it, are written anew.
    Overwrite,
    /// Settings of the table.
    SetProperties,
}

impl Operation {
    /// The name in the log, as Spark would write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Write | Self::Overwrite => "WRITE",
            Self::Adopt => "CONVERT",
            Self::Optimize => "OPTIMIZE",
            Self::Delete | Self::Expire => "DELETE",
            Self::SetProperties => "SET TBLPROPERTIES",
        }
    }
}

/// What one commit does.
#[derive(Clone, Debug)]
pub struct Change {
    /// What it is for.
    pub operation: Operation,
    /// Whether rows join or leave. False if files only take over the rows of others: readers that follow the table skip it.
    pub data_change: bool,
    /// Files that join.
    pub add: Vec<TableFile>,
    /// Files that leave; each must be live.
    pub remove: Vec<Arc<TableFile>>,
    /// Files that were never in the table, and that the log remembers as removed, so that they are never taken for new ones.
    pub set_aside: Vec<RemovedFile>,
    /// Settings to store, or to remove (`None`).
    pub settings: BTreeMap<String, Option<String>>,
    /// Settings that the table must have (`None`: must not have), or the commit is refused.
    pub(in crate::sink::lake) required_settings: BTreeMap<String, Option<String>>,
    /// Other columns: the JSON text of the log.
    pub(in crate::sink::lake) schema_string: Option<String>,
    /// The work of an application that this commit completes.
    pub(in crate::sink::lake) transaction: Option<Transaction>,
    /// Rows that leave for good, by minute of receipt; `None` if nobody counted them.
    pub(in crate::sink::lake) removed_rows: Option<Vec<RemovedRows>>,
    /// For people: shown in the table's history.
    pub parameters: BTreeMap<String, String>,
}

impl Change {
    /// A change that does nothing yet.
    #[must_use]
    pub fn new(operation: Operation, data_change: bool) -> Self {
        let (add, remove, set_aside) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            operation,
            data_change,
            add,
            remove,
            set_aside,
            settings: BTreeMap::new(),
            required_settings: BTreeMap::new(),
            schema_string: None,
            transaction: None,
            removed_rows: None,
            parameters: BTreeMap::new(),
        }
    }
}
