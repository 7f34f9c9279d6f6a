//! The actions of Delta Lake's log: one JSON object per line of a commit.
//!
//! Source: the protocol, `PROTOCOL.md` of delta-io/delta. Actions that this table does not use are ignored; a table whose
//! protocol makes them matter is refused ([`Protocol::check`]).

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    error::TableError,
    file::{FileStatistics, RemovedFile, SpoolRange, TableFile},
};
use crate::sink::lake::partition::Partition;

/// Tag of a rewritten file: `<identity>:<first>-<end>`, separated by commas.
const RANGES_TAG: &str = "lakegate.ranges";

/// Setting of a table that is not the raw one: its kind. Such a table has columns of its own.
pub(in crate::sink::lake) const TABLE_KIND: &str = "lakegate.table";

/// Features that a table may require of this build.
const READER_FEATURES: [&str; 1] = ["timestampNtz"];
/// `invariants` and `appendOnly` only matter with settings that [`Metadata::check`] refuses.
const WRITER_FEATURES: [&str; 3] = ["timestampNtz", "appendOnly", "invariants"];

/// What a path keeps as it is; everything else is encoded as in a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'=');

/// One line of a commit.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit_info: Option<CommitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta_data: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remove: Option<Remove>,
}

/// Who committed what, for people.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CommitInfo {
    /// Unix milliseconds.
    pub(super) timestamp: i64,
    pub(super) operation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine_info: Option<String>,
    /// Identifies the commit, so that its writer recognises it after a lost answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn_id: Option<String>,
    pub(super) operation_parameters: BTreeMap<String, serde_json::Value>,
    /// Rows that left for good ([`RemovedRows`](crate::sink::lake::removed_rows::RemovedRows)). Read only when it is asked for, so
    /// that a form of a later version is no damage.
    #[serde(rename = "lakegate.removedRows", skip_serializing_if = "Option::is_none")]
    pub(super) removed_rows: Option<Box<RawValue>>,
}

/// What readers and writers must be able to do.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// The protocol of a new table.
    pub(super) fn new() -> Self {
        let features = || Some(vec!["timestampNtz".to_owned()]);
        Self { min_reader_version: 3, min_writer_version: 7, reader_features: features(), writer_features: features() }
    }

    /// Refuses a table that needs a feature which this build does not have.
    pub(super) fn check(&self) -> Result<(), TableError> {
        let unknown = |found: &Option<Vec<String>>, known: &[&str]| {
            found.iter().flatten().find(|feature| !known.contains(&feature.as_str())).cloned()
        };
        let too_new = self.min_reader_version > 3 || self.min_writer_version > 7;
        // The versions between the first two and the last one have fixed features, column mapping among them.
        let fixed = (self.min_reader_version == 2, (3..7).contains(&self.min_writer_version));
        if too_new || fixed.0 || fixed.1 {
            let Self { min_reader_version, min_writer_version, .. } = self;
            let versions = format!("it needs reader version {min_reader_version} and writer version {min_writer_version}");
            return Err(TableError::Unsupported(format!("{versions}; this build has 1 and 2, or 3 and 7")));
        }
        let feature =
            unknown(&self.reader_features, &READER_FEATURES).or_else(|| unknown(&self.writer_features, &WRITER_FEATURES));
        match feature {
            Some(feature) => {
                Err(TableError::Unsupported(format!("it needs the feature `{feature}`, which this build does not have")))
            }
            None => Ok(()),
        }
    }
}

/// The table: its columns and settings.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) format: Format,
    pub(super) schema_string: String,
    pub(super) partition_columns: Vec<String>,
    #[serde(default)]
    pub(super) configuration: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
}

impl Metadata {
    /// Refuses settings under which this build must not write.
    pub(super) fn check(&self) -> Result<(), TableError> {
        let is_raw = !self.configuration.contains_key(TABLE_KIND);
        super::schema::check_schema(&self.schema_string, &self.partition_columns, is_raw)?;
        let set = |key: &str, harmless: &str| self.configuration.get(key).filter(|value| value.as_str() != harmless);
        for (key, harmless) in [("delta.appendOnly", "false"), ("delta.columnMapping.mode", "none")] {
            if let Some(value) = set(key, harmless) {
                return Err(TableError::Unsupported(format!("its setting {key} is {value:?}; only {harmless:?} is supported")));
            }
        }
        Ok(())
    }
}

/// The format of the files: always Parquet.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub(super) struct Format {
    pub(super) provider: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

impl Default for Format {
    fn default() -> Self {
        Self { provider: "parquet".to_owned(), options: BTreeMap::new() }
    }
}

/// The newest transaction of an application: the raw table's own writes are recognised by their files instead, those of a typed
/// table by this.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_updated: Option<i64>,
}

/// A file joins the table.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    /// Relative to the root, encoded as a URL.
    pub(super) path: String,
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    pub(super) size: i64,
    pub(super) modification_time: i64,
    #[serde(default)]
    pub(super) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stats: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tags: Option<BTreeMap<String, Option<String>>>,
}

impl Add {
    pub(super) fn of(file: &TableFile, data_change: bool) -> Self {
        let ranges: Vec<String> = file.ranges.iter().map(range_text).collect();
        Self {
            path: encode_path(&file.path),
            partition_values: values_of(&file.partition),
            size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
            modification_time: file.modified_millis,
            data_change,
            stats: Some(file.statistics.to_json()),
            tags: (!ranges.is_empty()).then(|| BTreeMap::from([(RANGES_TAG.to_owned(), Some(ranges.join(",")))])),
        }
    }

    /// The file, or why it cannot be one of this table.
    pub(super) fn file(self) -> Result<TableFile, String> {
        let path = decode_path(&self.path)?;
        let partition = partition_of(&self.partition_values).ok_or_else(|| format!("{path}: no partition values"))?;
        let ranges = self.tags.as_ref().and_then(|tags| tags.get(RANGES_TAG)?.as_deref()).unwrap_or_default();
        Ok(TableFile {
            partition,
            bytes: u64::try_from(self.size).map_err(|_| format!("{path}: its size is {}", self.size))?,
            modified_millis: self.modification_time,
            statistics: self.stats.as_deref().map(FileStatistics::of_json).unwrap_or_default(),
            ranges: ranges.split(',').filter_map(parse_range).collect(),
            path,
        })
    }
}

/// A file leaves the table.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_timestamp: Option<i64>,
    #[serde(default)]
    pub(super) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) extended_file_metadata: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) partition_values: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
}

impl Remove {
    pub(super) fn of(removed: &RemovedFile) -> Self {
        Self {
            path: encode_path(&removed.path),
            deletion_timestamp: Some(removed.removed_millis),
            data_change: removed.data_change,
            extended_file_metadata: Some(removed.partition.is_some() && removed.bytes.is_some()),
            partition_values: removed.partition.as_ref().map(values_of),
            size: removed.bytes.and_then(|bytes| i64::try_from(bytes).ok()),
        }
    }

    pub(super) fn file(self) -> Result<RemovedFile, String> {
        Ok(RemovedFile {
            path: decode_path(&self.path)?,
            removed_millis: self.deletion_timestamp.unwrap_or(0),
            partition: self.partition_values.as_ref().and_then(partition_of),
            bytes: self.size.and_then(|size| u64::try_from(size).ok()),
            data_change: self.data_change,
        })
    }
}

/// The partition values of the log.
fn values_of(partition: &Partition) -> BTreeMap<String, Option<String>> {
    let Partition { event_type, created_date } = partition;
    BTreeMap::from([("created_date".to_owned(), Some(created_date.clone())), ("event_type".to_owned(), Some(event_type.clone()))])
}

fn partition_of(values: &BTreeMap<String, Option<String>>) -> Option<Partition> {
    let value = |name: &str| values.get(name)?.clone();
    Some(Partition { event_type: value("event_type")?, created_date: value("created_date")? })
}

fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Decodes a path below the root. An absolute path is of a table that shares files with another one.
fn decode_path(text: &str) -> Result<String, String> {
    let path = percent_decode_str(text).decode_utf8().map_err(|_| format!("{text:?}: the path is not UTF-8"))?;
    let outside = path.starts_with('/') || path.contains("://") || path.split('/').any(|part| part == "..");
    if outside { Err(format!("{text:?}: the file is not below the lake's root")) } else { Ok(path.into_owned()) }
}

fn range_text(range: &SpoolRange) -> String {
    format!("{}:{}-{}", range.identity, range.first_inclusive, range.end_exclusive)
}

fn parse_range(text: &str) -> Option<SpoolRange> {
    let (identity, numbers) = text.split_once(':')?;
    let (first, end) = numbers.split_once('-')?;
    Some(SpoolRange { identity: identity.parse().ok()?, first_inclusive: first.parse().ok()?, end_exclusive: end.parse().ok()? })
}
