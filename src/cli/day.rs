//! A day as an argument.

use crate::{event::Date, sink::lake::parse_date};

/// Parses `YYYY-MM-DD`.
pub(super) fn day(text: &str) -> Result<Date, String> {
    parse_date(text).ok_or_else(|| "a day such as 2026-11-20 is expected".into())
}
