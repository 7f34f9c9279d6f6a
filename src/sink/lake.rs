//! The Parquet lake: the sink that writes it, and the reader behind `lakegate lake …`.
//!
//! # Layout
//!
//! ```text
//! <root>/event_type=menu/created_date=2026-11-20/<identity>-<first:020>-<end:020>.parquet
//! <root>/event_type=menu/created_date=2026-11-20/rewritten-<uuid>.parquet    made of other files (upkeep.rs)
//! <root>/event_type=menu/created_date=late/…        in an old lake: see below
//! <root>/_delta_log/…                           the table's log (table.rs)
//! <root>/_lakegate/…                                what the upkeep remembers: a lease, the last vacuum, sums of removed rows
//! <root>/_tmp/…                                     unfinished files; a local lake only
//! ```
//!
//! `<root>` is a local folder, or `s3://bucket/prefix` in a build with the feature `s3`. One file holds the records of one
//! partition out of one range of the spool, and is named after that range. The identity is the spool's, or a new identity that
//! a copied data folder took instead (`lake_identities.rs`); readers accept any name. If a partition is on another file system,
//! its unfinished files are hidden in it: `.<name>.<writer>.<count>.tmp`.
//!
//! # Columns
//!
//! | column | Parquet type | |
//! |---|---|---|
//! | `event_uuid` | string | lower case, hyphenated; no dictionary |
//! | `event_name` | string | |
//! | `event_subtype` | string or null | second part of the name |
//! | `source` | string | name of the key that sent it |
//! | `schema_version` | int32 or null | null if no schema validated the event |
//! | `created_at` | double | Unix seconds, from the event |
//! | `created_datetime`, `received_datetime` | timestamp(ms), UTC, *without zone* | |
//! | `payload` | string | the event's own JSON object, byte for byte as the client wrote it; no dictionary |
//! | `client_address` | string or null | only in files with events whose addresses are stored (`privacy.client_address`) |
//! | `dedup_scope` | string or null | only in files with events from browser keys: the key; an event can only be a duplicate of this key's events; null: the scope of all server keys |
//! | `event_type`, `created_date` | the partition folders, never inside the file | a string and a date |
//!
//! `created_date` is always a date, so that every reader with hive partitioning reads the column as dates: the day of
//! `created_datetime`, or, for a late event, the day of `received_datetime`. An event is late if it was created further from
//! its receipt than its key allows (`created_days_back`, `created_days_ahead`) at validation. Its `created_date` is then not
//! the day of its `created_datetime`; the views have this as `is_late`. Gateways up to 2026-11 put late events into the folder
//! `created_date=late`, which is still read.
//!
//! Pages are compressed with zstd level 3; in files of less than a thousand rows only those of the payload. The footer names the
//! writer, the spool and the range.
//!
//! # Guarantees
//!
//! - **Visible only when whole.** A local file is written aside, fsynced, renamed into its partition, and every changed folder
//!   is fsynced, before its records count as delivered. An S3 object appears when its upload is complete.
//! - **Never replaced.** A file is created only if its name is free: locally by a rename that does not replace, on S3 by a
//!   conditional put. Another instance of the same data folder (a copy, a backup) loses nothing (`write.rs`).
//! - **Each event once.** A range that is delivered again finds its rows in the lake and adds the missing rows. This needs what
//!   [`Sink::replays_by_range`](super::Sink::replays_by_range) asks of the deliverer: the same sequence numbers after a crash,
//!   and every undelivered record of a range that failed in part.
//! - **A partition fails alone.** All records of a partition succeed or fail together, because they share one file; other
//!   partitions of the batch are not affected.

mod adopt;
mod backup;
mod beside;
mod columns;
mod config;
mod daily;
mod declare;
mod deliver;
mod encode;
mod erase;
mod error;
mod event_key;
mod folders;
mod guarded;
mod kept_lake;
mod lake_identities;
mod late_files;
mod merge;
mod pace;
mod partition;
mod payload_compression;
mod read;
mod removed_rows;
mod row;
mod rows;
mod scratch;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod typed;
mod upkeep;
mod views;
mod write;

pub use adopt::{Adopted, adopt, adopt_lake};
pub use backup::{BackedUp, BackupError, back_up};
pub use columns::{CLIENT_ADDRESS, COLUMNS, DEDUP_SCOPE};
pub use config::{LakeConfig, TableFormat};
pub use daily::{DailyQuery, DailyReport, DailyRequest, DailyTableReport, DuckDb, build_daily, daily_location};
pub use declare::{DeclaredColumn, DeclaredTable, Engine, declarations};
pub use deliver::LakeSink;
pub use erase::{ErasedRows, RowErasure, RowErasureError, erase_rows};
pub use error::LakeError;
pub use kept_lake::KeptLake;
pub use pace::{Pace, StopSignal, Stopped};
pub use partition::{LATE, Partition, parse_date};
pub use read::{
    CheckReport, Count, Counts, Export, Filters, Finding, FindingCode, Found, Hints, Lake, LeftOut, Listing, Located, Near,
    PartitionSummary, RemovedByMinute, RemovedInMinute, RemovedSpan, RowsByMinute, Severity, UncountedFile,
};
pub use removed_rows::RemovedWhy;
pub use rows::LakeRow;
pub use table::{
    AsOf, Change, FileStatistics, Operation, RemovedFile, Snapshot, SpoolRange, Table, TableError, TableFile, UnrecordedRemoval,
    Version,
};
pub use typed::{
    BuildReport, BuildRequest, Definitions, TableReport, TypedErased, TypedErasure, TypedLake, TypedStatus, erase_typed,
    typed_folder, typed_location, typed_status,
};
pub use upkeep::{
    CleanedLog, CompactRequest, Compacted, Expired, NameRetention, Retention, TypedSettings, Upkeep, UpkeepError, UpkeepRun,
    UpkeepSettings, VacuumRequest, Vacuumed,
};
pub use views::{
    CATALOGUE_FORMAT, Catalogue, CatalogueColumn, CatalogueTable, CatalogueView, ColumnType, Dialect, GlueTable, Storage,
    ViewColumn, ViewRequest, ViewSchema, catalogue, glue_tables, views,
};
