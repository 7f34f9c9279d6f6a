//! What the sections of the streams have in common.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// The format of one event in a record. Both formats end with a line end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RecordFormat {
    /// The event's own object plus the added fields.
    Flat,
    /// An object with the lake's columns; the event itself is one string in `payload`.
    Envelope,
}

/// How events are packed into records.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// One event, one record.
    None,
    /// The format of the Kinesis Producer Library, which KCL and Firehose unpack automatically when they read a Kinesis stream.
    Kpl,
    /// Several lines in one record, which Firehose splits if configured.
    Ndjson,
}

/// Validates a number of `section`.
pub(super) fn within(section: &str, key: &str, found: usize, range: RangeInclusive<usize>) -> Result<(), (String, String)> {
    let (least, most) = (*range.start(), *range.end());
    let reason = format!("found {found}; {least} to {most} is allowed");
    if range.contains(&found) { Ok(()) } else { Err((format!("{section}.{key}"), reason)) }
}

/// Validates the endpoint of `section`.
pub(super) fn check_endpoint(section: &str, endpoint: &str) -> Result<(), (String, String)> {
    if endpoint.is_empty() || endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        return Ok(());
    }
    Err((format!("{section}.endpoint"), format!("found {endpoint:?}; http://… or https://… is allowed")))
}
