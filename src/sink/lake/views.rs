//! Views over the lake, as SQL: the raw table, the events each once, and one view per event name with typed columns.
//!
//! `events_raw` is what the files hold. `events` drops what arrived twice (at-least-once delivery, a finite dedup
//! window), by the same identity as the gateway: the UUID within its scope; the partition columns are part of its key, so that a query for one type and day still reads only those
//! files. `menu_item_viewed` and its like add the fields of that event's schemas; a value that is not what the schema
//! says becomes NULL there instead of failing the query, and is still in `payload`. Where client addresses are kept, all of
//! them have that column too; it is NULL for the events of files that have none.
//!
//! `created_date` is a date in every row. `is_late` is true where that is not the day on which the event says that it was
//! created, but the day on which it was received. What an old lake has in `created_date=late` appears so as well.
//!
//! Every name that comes from a schema is quoted; one that no quoting could carry is left out, and a comment says so.

mod athena;
mod duckdb;
mod glue;
mod names;

use std::collections::BTreeSet;

use super::{
    LakeError,
    columns::{CLIENT_ADDRESS, DEDUP_SCOPE},
};
use crate::event::Date;
pub use glue::{GlueTable, glue_tables};
use names::Names;

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
    /// see [`Lake::first_date`](super::Lake::first_date).
    pub first_date: Date,
    /// The schemas, all versions of all event names.
    pub schemas: &'a [ViewSchema],
    /// Whether there is a column for client addresses, be it that no file has one yet.
    pub has_addresses: bool,
    /// Whether the lake has folders of gateways up to 2026-11: see
    /// [`Lake::has_late_folders`](super::Lake::has_late_folders). DuckDB reads no files where there are none; to Athena it is
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
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}

/// The columns of `events_raw`, partitions included: these, behind them perhaps [`CLIENT_ADDRESS`], and [`DEDUP_SCOPE`].
const RAW_COLUMNS: [&str; 12] = [
    "event_uuid",
    "event_name",
    "event_type",
    "event_subtype",
    "source",
    "schema_version",
    "created_at",
    "created_datetime",
    "received_datetime",
    "created_date",
    IS_LATE,
    "payload",
];

/// The column that no file has: it is made of two others. An event may have a field of the same name.
const IS_LATE: &str = "is_late";

impl Dialect {
    /// The day of a time, as `created_date` has it: Athena finds the folders of a range only where it is a text.
    fn day_of(self, column: &str) -> String {
        match self {
            Self::Duckdb => format!("CAST({column} AS date)"),
            Self::Athena => format!("CAST(CAST({column} AS date) AS varchar)"),
        }
    }

    /// How the columns of `events_raw` are selected from files whose folder says the date.
    fn selected(self, columns: &[&str]) -> String {
        list(columns, |name| (name == IS_LATE).then(|| format!("created_date <> {}", self.day_of("created_datetime"))))
    }

    /// The same, from files in `created_date=late`.
    fn selected_late(self, columns: &[&str]) -> String {
        list(columns, |name| match name {
            "created_date" => Some(self.day_of("received_datetime")),
            IS_LATE => Some("true".to_owned()),
            _ => None,
        })
    }
}

/// The columns of a SELECT, some of them made of others.
fn list(columns: &[&str], made: impl Fn(&str) -> Option<String>) -> String {
    let column = |name: &&str| match made(name) {
        Some(value) => format!("{value} AS {}", names::quoted(name)),
        None => names::quoted(name),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn raw_columns(has_addresses: bool) -> Vec<&'static str> {
    RAW_COLUMNS.into_iter().chain(has_addresses.then_some(CLIENT_ADDRESS)).chain([DEDUP_SCOPE]).collect()
}

/// One typed view: the union of the fields of all versions of an event name.
#[derive(Debug)]
struct TypedView {
    view: String,
    event_name: String,
    columns: Vec<TypedColumn>,
    /// Fields that have no column, as a comment may show them.
    left_out: Vec<String>,
}

#[derive(Debug)]
struct TypedColumn {
    column: String,
    field: String,
    kind: ColumnType,
}

/// The statements that make the views, in order, each ended by `;` and an empty line. They may be run again.
///
/// # Errors
/// [`LakeError::Root`] where the dialect cannot read that root.
pub fn views(request: &ViewRequest<'_>) -> Result<String, LakeError> {
    let raw = raw_columns(request.has_addresses);
    let (typed, event_types) = typed_views(request, &raw);
    let mut sql = match request.dialect {
        Dialect::Duckdb => duckdb::raw(request.root, &raw, request.has_late_folders),
        Dialect::Athena => athena::raw(request.root, &event_types, request.first_date, &raw)?,
    };
    sql.push_str(&format!("CREATE OR REPLACE VIEW events AS\n{};\n\n", distinct_select(&raw)));
    for view in &typed {
        sql.push_str(&typed_sql(request.dialect, view, &raw));
    }
    Ok(sql)
}

/// The views of the event names, and the types that these are of.
fn typed_views<'a>(request: &ViewRequest<'a>, raw: &[&str]) -> (Vec<TypedView>, BTreeSet<&'a str>) {
    let mut schemas: Vec<&'a ViewSchema> = request.schemas.iter().collect();
    schemas.sort_by(|a, b| (&a.event_name, a.version).cmp(&(&b.event_name, b.version)));
    let mut view_names = Names::reserving(&["events", "events_raw", "events_dated", "events_late"]);
    let typed = schemas
        .chunk_by(|a, b| a.event_name == b.event_name)
        .map(|versions| typed_view(request.dialect, versions, raw, &mut view_names))
        .collect();
    (typed, schemas.iter().filter_map(|schema| schema.event_name.split(':').next()).collect())
}

/// The events, each once: of the same event in the same partition, the row first received. Events of two scopes are never
/// the same; null, the scope of all server keys, is one group.
fn distinct_select(raw: &[&str]) -> String {
    let columns = raw.join(", ");
    format!(
        "SELECT {columns}\n\
         FROM (\n  \
           SELECT *, row_number() OVER (\n    \
             PARTITION BY event_type, created_date, dedup_scope, event_uuid, created_at ORDER BY received_datetime\n  \
           ) AS arrival\n  \
           FROM events_raw\n\
         ) AS arrivals\n\
         WHERE arrival = 1"
    )
}

fn typed_view(dialect: Dialect, versions: &[&ViewSchema], raw: &[&str], view_names: &mut Names) -> TypedView {
    let event_name = versions[0].event_name.clone();
    let mut fields: Vec<(&str, ColumnType)> = Vec::new();
    for column in versions.iter().flat_map(|version| &version.columns) {
        match fields.iter_mut().find(|(name, _)| *name == column.name) {
            Some((_, kind)) => *kind = kind.or(column.kind),
            None => fields.push((&column.name, column.kind)),
        }
    }
    let mut taken = Names::reserving(raw);
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    for (field, kind) in fields {
        if raw.contains(&field) && field != IS_LATE {
            continue;
        }
        if names::is_unquotable(field) {
            left_out.push(field.escape_default().to_string());
            continue;
        }
        let wanted = match dialect {
            Dialect::Duckdb => field.to_owned(),
            // Glue, where Athena keeps its views, takes nothing else.
            Dialect::Athena => names::plain(field),
        };
        columns.push(TypedColumn { column: taken.take(&wanted), field: field.to_owned(), kind });
    }
    TypedView { view: view_names.take(&names::plain(&event_name)), event_name, columns, left_out }
}

fn typed_sql(dialect: Dialect, view: &TypedView, raw: &[&str]) -> String {
    let mut sql = String::new();
    for field in &view.left_out {
        sql.push_str(&format!("-- the field \"{field}\" of the next view has a name that SQL cannot carry\n"));
    }
    let (name, select) = (names::quoted(&view.view), typed_select(dialect, view, raw));
    sql.push_str(&format!("CREATE OR REPLACE VIEW {name} AS\n{select};\n\n"));
    sql
}

fn typed_select(dialect: Dialect, view: &TypedView, raw: &[&str]) -> String {
    let envelope = raw.iter().filter(|column| **column != "payload").map(|column| format!("  {column}"));
    let fields = view.columns.iter().map(|column| {
        let value = match dialect {
            Dialect::Duckdb => duckdb::field(&column.field, column.kind),
            Dialect::Athena => athena::field(&column.field, column.kind),
        };
        format!("  {value} AS {}", names::quoted(&column.column))
    });
    let columns: Vec<String> = envelope.chain(fields).chain(["  payload".to_owned()]).collect();
    let event_type = view.event_name.split(':').next().unwrap_or_default();
    format!(
        "SELECT\n{}\nFROM events\nWHERE event_type = {} AND event_name = {}",
        columns.join(",\n"),
        names::literal(event_type),
        names::literal(&view.event_name),
    )
}
