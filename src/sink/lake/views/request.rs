//! The request for views: the SQL dialect, the lake, and the schemas.

use crate::event::Date;

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB, over local files or S3.
    Duckdb,
    /// Amazon Athena (Trino, with Hive's DDL), over S3.
    Athena,
}

/// What views are wanted.
#[derive(Clone, Debug)]
pub struct ViewRequest<'a> {
    /// Whose SQL.
    pub dialect: Dialect,
    /// Root of the lake: a folder, or `s3://bucket/prefix`, which Athena needs.
    pub root: &'a str,
    /// Athena's tables begin with this day. A later one would hide events; an earlier one costs listings:
    /// see [`Lake::first_date`](crate::sink::lake::Lake::first_date).
    pub first_date: Date,
    /// The schemas, all versions of all event names.
    pub schemas: &'a [ViewSchema],
    /// Whether there is a column for client addresses, be it that no file has one yet.
    pub has_addresses: bool,
    /// Whether the lake has folders of gateways up to 2026-11: see
    /// [`Lake::has_late_folders`](crate::sink::lake::Lake::has_late_folders). DuckDB reads no files where there are none; to Athena it is
    /// all the same.
    pub has_late_folders: bool,
}

/// One version of the schema of one event name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSchema {
    /// Event name.
    pub event_name: String,
    /// Version.
    pub version: u32,
    /// Its top-level fields. Those that are columns of the lake already are passed over.
    pub columns: Vec<ViewColumn>,
}

/// A top-level field of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewColumn {
    /// Name, as in the JSON.
    pub name: String,
    /// Type of the column.
    pub kind: ColumnType,
}

/// Type of a column, from the `type` and `format` of a field's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A string, or anything that may be more than one type.
    Text,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
    /// A string of the format `date-time`; UTC in the view.
    DateTime,
    /// A string of the format `date`.
    Date,
    /// `object` or `array`, as JSON.
    Json,
}

impl ColumnType {
    /// The type for a JSON schema's `type` (leave `"null"` out of a union) and `format`.
    #[must_use]
    pub fn of(json_type: Option<&str>, format: Option<&str>) -> Self {
        match (json_type, format) {
            (Some("integer"), _) => Self::Integer,
            (Some("number"), _) => Self::Number,
            (Some("boolean"), _) => Self::Boolean,
            (Some("object" | "array"), _) => Self::Json,
            (Some("string"), Some("date-time")) => Self::DateTime,
            (Some("string"), Some("date")) => Self::Date,
            _ => Self::Text,
        }
    }

    /// The type that holds the values of both, where versions of a schema differ.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}
