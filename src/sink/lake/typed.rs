//! Typed tables: one table per event name, with a column for each field of its schemas.
//!
//! - `columns.rs`: the columns of a table · `delta_schema.rs`: the same in the words of the log
//! - `convert.rs`: a value as the type of its column · `builders.rs`: values in columns
//! - `leftovers.rs`: what has no column, or does not convert

mod builders;
mod columns;
mod convert;
mod delta_schema;
mod leftovers;
#[cfg(test)]
mod tests;

pub(super) use columns::TypedColumns;
pub(super) use delta_schema::delta_schema;
