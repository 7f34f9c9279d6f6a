//! Limits of the daily tables of the lake.

/// Days that are made by one run of a query.
/// Why: DuckDB keeps the visits of a run in memory, or writes them to its scratch folder; a month of a million events an hour is
/// some 40 million visits. Fewer days would start it more often.
pub const LAKE_DAILY_DAYS_MAX: i32 = 31;

/// Memory that DuckDB may take, in MiB. What needs more goes to its scratch folder.
/// Why: a month of ten million events needs some 300 MiB, and the smallest machine of the docs has 2 GiB.
pub const LAKE_DAILY_MEMORY_MIB: u64 = 1_024;

/// Bytes of the text of a query.
/// Why: the largest shipped one has 4 KiB; it is kept in memory for each run.
pub const LAKE_DAILY_QUERY_BYTES_MAX: u64 = 64 * 1024;

/// Queries of a folder.
/// Why: each is a table that is looked at each time, and a process for each run.
pub const LAKE_DAILY_QUERIES_MAX: usize = 100;

/// Bytes of what DuckDB returns for one day.
/// Why: it is read into memory to be stored; the sums of a day of a thousand restaurants are some megabytes.
pub const LAKE_DAILY_RESULT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Characters of DuckDB's message that are told on.
/// Why: it says what is wrong in its first lines; a query may hold secrets further down.
pub const LAKE_DAILY_MESSAGE_CHARS: usize = 600;
