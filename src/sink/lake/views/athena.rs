//! The views for Athena: tables with partition projection, so that no crawler and no `MSCK REPAIR` is needed.

use std::collections::BTreeSet;

use super::{
    names::literal,
    request::{ColumnType, Dialect},
};
use crate::{
    event::Date,
    limits::CREATED_DATE_DAYS_AHEAD_MAX,
    sink::lake::{
        LakeError,
        columns::{CLIENT_ADDRESS, DEDUP_SCOPE},
        partition::LATE,
    },
};

/// Folder of a partition, relative to the root of the lake.
pub(super) const LOCATION_TEMPLATE: &str = "event_type=${event_type}/created_date=${created_date}/";

/// `events_raw` over two tables.
pub(super) fn raw(root: &str, event_types: &BTreeSet<&str>, first_date: Date, columns: &[&str]) -> Result<String, LakeError> {
    let root = s3_root(root)?;
    // Athena finds a file's columns by name; a missing column is NULL.
    let extra = [CLIENT_ADDRESS, DEDUP_SCOPE].into_iter().filter(|name| columns.contains(name));
    let extra: String = extra.map(|name| format!(",\n  `{name}` string")).collect();
    let location = ("storage.location.template", format!("{root}/{LOCATION_TEMPLATE}"));
    let tables = tables(event_types, first_date).map(|table| {
        let properties = [table.properties, vec![location.clone()]].concat();
        statement(table.name, root, &extra, &properties)
    });
    let union = union_select(columns);
    Ok(format!("-- Athena runs one statement at a time.\n{}CREATE OR REPLACE VIEW events_raw AS\n{union};\n\n", tables.concat(),))
}

/// The root without its last slash, if Athena can read it.
pub(super) fn s3_root(root: &str) -> Result<&str, LakeError> {
    let bare = root.trim_end_matches('/');
    match bare.strip_prefix("s3://") {
        Some(path) if !path.is_empty() && !path.contains(char::is_control) => Ok(bare),
        _ => Err(LakeError::Root { root: bare.to_owned(), reason: "Athena reads s3://bucket/prefix, nothing else".to_owned() }),
    }
}

/// Both tables combined.
pub(super) fn union_select(columns: &[&str]) -> String {
    let (dated, late) = (Dialect::Athena.selected(columns), Dialect::Athena.selected_late(columns));
    // The projections already separate the tables; an engine without projections sees all files in both.
    format!(
        "SELECT {dated} FROM events_dated WHERE created_date <> '{LATE}'\n\
         UNION ALL\nSELECT {late} FROM events_late WHERE created_date = '{LATE}'"
    )
}

/// A table over the files.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) comment: &'static str,
    /// All but its location.
    pub(super) properties: Vec<(&'static str, String)>,
}

/// A projected date must be a date, and `late` is not: so the late events of an old lake, whose folder is one per type, have
/// their own table. In a lake without such folders, this costs one listing.
pub(super) fn tables(event_types: &BTreeSet<&str>, first_date: Date) -> [Table; 2] {
    let dates = vec![
        ("projection.created_date.type", "date".to_owned()),
        ("projection.created_date.format", "yyyy-MM-dd".to_owned()),
        ("projection.created_date.range", format!("{first_date},NOW+{CREATED_DATE_DAYS_AHEAD_MAX}DAYS")),
        ("projection.created_date.interval", "1".to_owned()),
        ("projection.created_date.interval.unit", "DAYS".to_owned()),
    ];
    let late = vec![("projection.created_date.type", "enum".to_owned()), ("projection.created_date.values", "late".to_owned())];
    let own = [("parquet.compression", "ZSTD".to_owned()), ("projection.enabled", "true".to_owned())];
    let properties = |projection| [own.to_vec(), projected_types(event_types), projection].concat();
    [
        Table { name: "events_dated", comment: "The files of the lake, by event type and day.", properties: properties(dates) },
        Table {
            name: "events_late",
            comment: "Late events of gateways up to 2026-11, which are in a folder of their own.",
            properties: properties(late),
        },
    ]
}

/// The projected event types: those of the schemas; without schemas, a query must name its type.
fn projected_types(event_types: &BTreeSet<&str>) -> Vec<(&'static str, String)> {
    if event_types.is_empty() {
        return vec![("projection.event_type.type", "injected".to_owned())];
    }
    vec![
        ("projection.event_type.type", "enum".to_owned()),
        ("projection.event_type.values", event_types.iter().copied().collect::<Vec<_>>().join(",")),
    ]
}

/// The statement of a table, with the optional columns last. Dropped first: only its definition is lost, and a new list of event types takes
/// effect.
fn statement(name: &str, root: &str, extra: &str, properties: &[(&str, String)]) -> String {
    let properties = properties.iter().map(|(key, value)| format!("  '{key}' = {}", hive_literal(value)));
    let properties = properties.collect::<Vec<_>>().join(",\n");
    format!(
        "DROP TABLE IF EXISTS {name};\n\n\
         CREATE EXTERNAL TABLE {name} (\n  \
           `event_uuid` string,\n  \
           `event_name` string,\n  \
           `event_subtype` string,\n  \
           `source` string,\n  \
           `schema_version` int,\n  \
           `created_at` double,\n  \
           `created_datetime` timestamp,\n  \
           `received_datetime` timestamp,\n  \
           `payload` string{extra}\n\
         )\n\
         PARTITIONED BY (`event_type` string, `created_date` string)\n\
         STORED AS PARQUET\n\
         LOCATION {}\n\
         TBLPROPERTIES (\n{properties}\n);\n\n",
        hive_literal(&format!("{root}/")),
    )
}

/// A text in Hive's DDL, which escapes with backslashes.
fn hive_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A field of the payload. In brackets and quotes, a JSON path can name any key.
pub(super) fn field(field: &str, kind: ColumnType) -> String {
    let path = literal(&format!("$[\"{}\"]", field.replace('\\', "\\\\").replace('"', "\\\"")));
    let text = format!("json_extract_scalar(payload, {path})");
    match kind {
        ColumnType::Text => text,
        // JSON Schema accepts `1.0` as an integer, but a cast does not.
        ColumnType::Integer => {
            format!("COALESCE(TRY_CAST({text} AS bigint), TRY_CAST(TRY_CAST({text} AS double) AS bigint))")
        }
        ColumnType::Number => format!("TRY_CAST({text} AS double)"),
        ColumnType::Boolean => format!("TRY_CAST({text} AS boolean)"),
        ColumnType::DateTime => {
            format!("TRY(CAST(from_iso8601_timestamp({text}) AT TIME ZONE 'UTC' AS timestamp(3)))")
        }
        ColumnType::Date => format!("TRY_CAST({text} AS date)"),
        ColumnType::Json => format!("json_format(json_extract(payload, {path}))"),
    }
}
