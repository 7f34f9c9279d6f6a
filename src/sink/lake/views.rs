//! Views over the lake, as SQL: the raw table, the events each once, and one view per event name with typed columns.
//!
//! `events_raw` has the rows of the table, or, in a lake without a log, of the files. `events` drops duplicates (at-least-once delivery, a finite dedup window), by the
//! same identity as the gateway: the UUID within its scope. The partition columns are part of its key, so that a query for one
//! type and day still reads only those files. Views such as `menu_item_viewed` add the fields of that event's schemas; a value
//! that does not match the schema becomes NULL there, so that the query does not fail, and is still in `payload`. If client
//! addresses are stored, all views have that column too; it is NULL for events of files without the column.
//!
//! `created_date` is a date in every row. `is_late` is true if that is not the day on which the event says that it was created,
//! but the day on which it was received. Rows in `created_date=late` of an old lake appear in the same way.
//!
//! Every name that comes from a schema is quoted; a name that cannot be quoted is left out, and an SQL comment says so.

mod athena;
mod catalogue;
mod duckdb;
mod glue;
mod names;
mod raw_columns;
mod request;
mod typed;

use super::error::LakeError;
pub(super) use catalogue::glue_comment;
pub use catalogue::{CATALOGUE_FORMAT, Catalogue, CatalogueColumn, CatalogueTable, CatalogueView, Storage, catalogue};
pub use glue::{GlueTable, glue_tables};
pub(super) use names::{literal, plain, quoted};
pub(super) use raw_columns::comment;
use raw_columns::raw_columns;
pub use request::{ColumnType, Dialect, ViewColumn, ViewRequest, ViewSchema};
use typed::{TypedView, distinct_select, typed_select, typed_views};

/// The statements that create the views, in order, each ended by `;` and an empty line. They may be run again.
///
/// # Errors
/// [`LakeError::Root`] if the dialect cannot read that root.
pub fn views(request: &ViewRequest<'_>) -> Result<String, LakeError> {
    let raw = raw_columns(request.has_addresses);
    let (typed, event_types) = typed_views(request, &raw);
    let mut sql = match request.dialect {
        Dialect::Duckdb if request.is_table => duckdb::raw_of_table(request.root, &raw),
        Dialect::Duckdb => duckdb::raw_of_files("events_raw", request.root, &raw, request.has_late_folders),
        Dialect::Athena => athena::raw(request.root, &event_types, request.first_date, &raw)?,
    };
    sql.push_str(&format!("CREATE OR REPLACE VIEW events AS\n{};\n\n", distinct_select(&raw)));
    for view in &typed {
        sql.push_str(&typed_sql(request.dialect, view, &raw));
    }
    Ok(sql)
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
