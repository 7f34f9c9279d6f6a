//! The typed tables: for each event name a table with a column for each field of its schemas, each event once, derived from the raw
//! table of the lake.
//!
//! ```text
//! <lake>-typed/menu_item_viewed/_delta_log/…                        one table per event name
//! <lake>-typed/menu_item_viewed/event_type=menu/created_date=2026-11-20/rewritten-<uuid>.parquet
//! <lake>-typed/_lakegate/built.json                                 up to which raw version every table was found to be built
//! ```
//!
//! Everything here may be deleted at any time: it is built again.
//!
//! # What is built
//!
//! The partitions are those of the raw table. A pass reads what the commits of the raw table changed since a partition was built:
//!
//! - Files with new events: their rows are *appended*, except events that the typed table has.
//! - Files that left with their rows (erased, expired), and files that a compaction replaced before they were built: the partition
//!   is *rebuilt* from all files of the raw table.
//! - A compaction of files that were built: nothing, because the same events are there.
//!
//! # Exactly once
//!
//! Each commit that touches a partition says up to which raw version it is built, as a transaction of Delta Lake
//! (`<raw table>/<created_date>`), and is refused if another builder said something meanwhile. So neither a kill nor a second
//! builder leaves out rows, or adds them twice. Partitions that got no event need no commit: `built.json` says for all of them.
//!
//! # The modules
//!
//! - `columns.rs`: the columns of a table · `delta_schema.rs`: the same in the words of the log
//! - `convert.rs`: a value as the type of its column · `builders.rs`: values in columns
//! - `leftovers.rs`: what has no column, or does not convert
//! - `definition.rs`, `definitions.rs`: which columns, and how they change
//! - `changes.rs`: what changed in raw · `progress.rs`, `build_state.rs`: how far a table is built · `tables.rs`: the tables
//! - `existing.rs`: events that a table has · `writer.rs`: files · `partition_build.rs`, `commit.rs`: one partition · `build.rs`: a pass
//! - `erase.rs`: what an erasure does · `opened.rs`, `status.rs`: what is there · `location.rs`: where they are · `report.rs`: what was done

mod build;
mod build_state;
mod builders;
mod changes;
mod columns;
mod commit;
mod convert;
mod definition;
mod definitions;
mod delta_schema;
mod erase;
mod existing;
mod leftovers;
mod location;
mod opened;
mod partition_build;
mod progress;
mod report;
mod status;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

pub use build::{BuildRequest, TypedLake};
pub(super) use columns::{comment_of_leftovers, schema as table_schema};
pub use definitions::Definitions;
pub(super) use delta_schema::{delta_field, delta_type};
pub use erase::{TypedErased, TypedErasure, erase_typed};
pub use location::{typed_folder, typed_location};
pub(super) use opened::{OpenedTyped, open_typed};
pub use report::{BuildReport, TableReport};
pub use status::{TypedStatus, typed_status};
