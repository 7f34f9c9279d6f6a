//! Daily tables: the results of queries over the typed tables, kept as tables of their own, one row group of days at a time.
//!
//! ```text
//! <lake>-daily/visits/_delta_log/…                                            one table per query
//! <lake>-daily/visits/event_type=daily/created_date=2026-11-20/day-<uuid>.parquet   the rows of one day
//! ```
//!
//! A query is a text of SQL, and DuckDB runs it: its program is started for so many days, in a process of its own, with the files of
//! the typed tables as they are in one version. What it returns is committed here, so a daily table has what the lake's tables have:
//! whole versions for readers, and no half of a day after a kill.
//!
//! # Which days
//!
//! A row has a `day`. A table remembers for each typed table that its query reads the version that it was made from. New files in
//! the day `D` of such a table change the days from two before `D` to one behind it (`queries/README.md` says why): these are made
//! again, and replace what the table had. Everything is made again if the text of the query is another one, or if nobody knows any
//! more what changed.
//!
//! # The modules
//!
//! - `query.rs`: the texts · `inputs.rs`: the typed tables that they read · `days.rs`: days, and what changes them
//! - `script.rs`: what DuckDB is told · `engine.rs`: runs it · `result_columns.rs`: the columns of what it returns
//! - `location.rs`: where the tables are · `daily_table.rs`: a table · `build.rs`: all of it · `report.rs`: what was done

mod build;
mod daily_table;
mod days;
mod engine;
mod inputs;
mod location;
mod query;
mod report;
mod result_columns;
mod script;

pub use build::{DailyRequest, build_daily};
pub use engine::DuckDb;
pub use location::daily_location;
pub use query::DailyQuery;
pub use report::{DailyReport, DailyTableReport};
