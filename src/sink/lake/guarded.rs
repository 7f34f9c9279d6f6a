//! Calls of the Parquet reader that may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The Parquet reader panics on some damaged files (60.1 at a negative size in a page's header); such a file is then an error
/// like any other.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("is damaged: the Parquet reader panicked".to_owned()))
}
