//! The request for views: the SQL dialect, the lake, and the schemas.

use crate::event::Date;

/// The SQL dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB, over local files or S3.
    Duckdb,
    /// Amazon Athena (Trino, with Hive's DDL), over S3.
    Athena,
}

/// The requested views.
#[derive(Clone, Debug)]
pub struct ViewRequest<'a> {
    /// The SQL dialect.
    pub dialect: Dialect,
    /// Root of the lake: a folder, or `s3://bucket/prefix`, which Athena needs.
    pub root: &'a str,
    /// First day of Athena's tables. A later day would hide events; an earlier day costs listings: see
    /// [`Lake::first_date`](crate::sink::lake::Lake::first_date).
    pub first_date: Date,
    /// The schemas, all versions of all event names.
    pub schemas: &'a [ViewSchema],
    /// Whether there is a column for client addresses, even if no file has one yet.
    pub has_addresses: bool,
    /// Whether DuckDB reads the table's log rather than the folders. Athena's views read the folders: its tables are declared by
    /// hand (docs/lake.md).
    pub is_table: bool,
    /// Whether the lake has folders of gateways up to 2026-11: see
    /// [`Lake::has_late_folders`](crate::sink::lake::Lake::has_late_folders). DuckDB cannot read a glob without files; Athena
    /// does not need this.
    pub has_late_folders: bool,
}

/// One version of the schema of one event name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSchema {
    /// Event name.
    pub event_name: String,
    /// Version.
    pub version: u32,
    /// Its top-level fields. Fields that are already columns of the lake are skipped.
    pub columns: Vec<ViewColumn>,
}

/// A top-level field of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewColumn {
    /// Name, as in the JSON.
    pub name: String,
    /// Type of the column.
    pub kind: ColumnType,
    /// Description in the schema; may be empty.
    pub description: String,
}

/// Type of a column, from the `type` and `format` of a field's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A string, or a field that may have several types.
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

    /// The type that holds the values of both, if versions of a schema differ.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}
