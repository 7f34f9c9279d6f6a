//! The view of one event name, with its fields as typed columns; and the view of all events without duplicates.

use std::collections::BTreeSet;

use super::{
    athena, duckdb, names,
    raw_columns::IS_LATE,
    request::{ColumnType, Dialect, ViewRequest, ViewSchema},
};
use crate::unique_names::UniqueNames;

/// One typed view: the union of the fields of all versions of an event name.
#[derive(Debug)]
pub(super) struct TypedView {
    pub(super) view: String,
    pub(super) event_name: String,
    pub(super) columns: Vec<TypedColumn>,
    /// Fields without a column, in a form for SQL comments.
    pub(super) left_out: Vec<String>,
}

#[derive(Debug)]
pub(super) struct TypedColumn {
    pub(super) column: String,
    pub(super) field: String,
    pub(super) kind: ColumnType,
    /// Description in the latest version that has one.
    pub(super) description: String,
}

/// The views of the event names, and their event types.
pub(super) fn typed_views<'a>(request: &ViewRequest<'a>, raw: &[&str]) -> (Vec<TypedView>, BTreeSet<&'a str>) {
    let mut schemas: Vec<&'a ViewSchema> = request.schemas.iter().collect();
    schemas.sort_by(|a, b| (&a.event_name, a.version).cmp(&(&b.event_name, b.version)));
    let mut view_names = UniqueNames::reserving(&["events", "events_raw", "events_dated", "events_late"]);
    let typed = schemas
        .chunk_by(|a, b| a.event_name == b.event_name)
        .map(|versions| typed_view(request.dialect, versions, raw, &mut view_names))
        .collect();
    (typed, schemas.iter().filter_map(|schema| schema.event_name.split(':').next()).collect())
}

/// The events without duplicates: of the same event in the same partition, the row received first. Events of two scopes are
/// never the same; null, the scope of all server keys, is one group.
pub(super) fn distinct_select(raw: &[&str]) -> String {
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

pub(super) fn typed_select(dialect: Dialect, view: &TypedView, raw: &[&str]) -> String {
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

fn typed_view(dialect: Dialect, versions: &[&ViewSchema], raw: &[&str], view_names: &mut UniqueNames) -> TypedView {
    let event_name = versions[0].event_name.clone();
    let mut fields: Vec<(&str, ColumnType, &str)> = Vec::new();
    for column in versions.iter().flat_map(|version| &version.columns) {
        match fields.iter_mut().find(|(name, ..)| *name == column.name) {
            Some((_, kind, description)) => {
                *kind = kind.or(column.kind);
                if !column.description.is_empty() {
                    *description = &column.description;
                }
            }
            None => fields.push((&column.name, column.kind, &column.description)),
        }
    }
    let mut taken = UniqueNames::reserving(raw);
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    for (field, kind, description) in fields {
        if raw.contains(&field) && field != IS_LATE {
            continue;
        }
        if names::is_unquotable(field) {
            left_out.push(field.escape_default().to_string());
            continue;
        }
        let wanted = match dialect {
            Dialect::Duckdb => field.to_owned(),
            // Glue, where Athena stores its views, accepts no other characters.
            Dialect::Athena => names::plain(field),
        };
        let description = description.to_owned();
        columns.push(TypedColumn { column: taken.take(&wanted), field: field.to_owned(), kind, description });
    }
    TypedView { view: view_names.take(&names::plain(&event_name)), event_name, columns, left_out }
}
