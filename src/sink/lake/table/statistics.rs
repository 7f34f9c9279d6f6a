//! The statistics of a file: from its Parquet footer, to the text in the log and back.
//!
//! Only columns by which queries select are recorded: a log with all columns would be five times as large.

use parquet::file::{metadata::ParquetMetaData, statistics::Statistics};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::file::FileStatistics;
use crate::event::iso_millis;

impl FileStatistics {
    /// The statistics in the footer of a file that has its timestamps in milliseconds.
    #[must_use]
    pub fn of_footer(footer: &ParquetMetaData) -> Self {
        Self {
            rows: u64::try_from(footer.file_metadata().num_rows()).ok(),
            created_millis: bounds(footer, "created_datetime", int64),
            received_millis: bounds(footer, "received_datetime", int64),
            created_at: bounds(footer, "created_at", |statistics| match statistics {
                Statistics::Double(values) => Some((*values.min_opt()?, *values.max_opt()?)),
                _ => None,
            }),
            event_name: bounds(footer, "event_name", |statistics| match statistics {
                Statistics::ByteArray(values) => Some((text(values.min_opt()?)?, text(values.max_opt()?)?)),
                _ => None,
            }),
        }
    }

    /// The JSON text of the log.
    pub(super) fn to_json(&self) -> String {
        let bounds =
            |take: fn(&(i64, i64)) -> i64, double: fn(&(f64, f64)) -> f64, name: fn(&(Box<str>, Box<str>)) -> &str| Bounds {
                event_name: self.event_name.as_ref().map(|bounds| name(bounds).to_owned()),
                created_at: self.created_at.as_ref().map(double).and_then(|value| serde_json::value::to_raw_value(&value).ok()),
                created_datetime: self.created_millis.as_ref().map(|bounds| without_zone(take(bounds))),
                received_datetime: self.received_millis.as_ref().map(|bounds| without_zone(take(bounds))),
            };
        let log = LogStatistics {
            num_records: self.rows,
            min_values: bounds(|bounds| bounds.0, |bounds| bounds.0, |bounds| &bounds.0),
            max_values: bounds(|bounds| bounds.1, |bounds| bounds.1, |bounds| &bounds.1),
            // None of these columns has nulls: the reader refuses a file that has some.
            null_count: NullCount::default(),
        };
        serde_json::to_string(&log).unwrap_or_default()
    }

    /// Reads the text of the log, from any writer. What it does not have in the expected form is `None`.
    pub(super) fn of_json(text: &str) -> Self {
        let Ok(log) = serde_json::from_str::<LogStatistics>(text) else { return Self::default() };
        let (min, max) = (log.min_values, log.max_values);
        let millis = |min: Option<String>, max: Option<String>| Some((millis_of(&min?, false)?, millis_of(&max?, true)?));
        let double = |raw: Option<Box<RawValue>>| raw?.get().parse::<f64>().ok();
        Self {
            rows: log.num_records,
            created_millis: millis(min.created_datetime, max.created_datetime),
            received_millis: millis(min.received_datetime, max.received_datetime),
            created_at: double(min.created_at).zip(double(max.created_at)),
            event_name: min.event_name.zip(max.event_name).map(|(min, max)| (min.into(), max.into())),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogStatistics {
    num_records: Option<u64>,
    #[serde(default)]
    min_values: Bounds,
    #[serde(default)]
    max_values: Bounds,
    #[serde(default)]
    null_count: NullCount,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Bounds {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_datetime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_datetime: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct NullCount {
    event_name: u64,
    created_at: u64,
    created_datetime: u64,
    received_datetime: u64,
}

fn bounds<T: PartialOrd>(footer: &ParquetMetaData, column: &str, read: impl Fn(&Statistics) -> Option<(T, T)>) -> Option<(T, T)> {
    let leaf = footer.file_metadata().schema_descr().columns().iter().position(|leaf| leaf.path().parts() == [column])?;
    let mut all = footer.row_groups().iter().map(|group| read(group.column(leaf).statistics()?));
    let first = all.next()??;
    all.try_fold(first, |(min, max), group| {
        let (group_min, group_max) = group?;
        Some((if group_min < min { group_min } else { min }, if group_max > max { group_max } else { max }))
    })
}

fn int64(statistics: &Statistics) -> Option<(i64, i64)> {
    match statistics {
        Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    }
}

fn text(value: &parquet::data_type::ByteArray) -> Option<Box<str>> {
    value.as_utf8().ok().map(Box::from)
}

/// `2026-11-20T00:00:00.123`: the form of a timestamp without zone.
fn without_zone(millis: i64) -> String {
    iso_millis(millis).as_str().trim_end_matches('Z').to_owned()
}

/// Milliseconds of a time with or without zone; a maximum that has smaller units is rounded up.
fn millis_of(text: &str, up: bool) -> Option<i64> {
    let plain = text.trim_end_matches('Z').split('+').next()?;
    let time = plain.parse::<jiff::civil::DateTime>().ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let micros = time.as_microsecond();
    Some(micros.div_euclid(1_000) + i64::from(up && micros.rem_euclid(1_000) > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics() -> FileStatistics {
        FileStatistics {
            rows: Some(3),
            created_millis: Some((1_795_219_200_001, 1_795_219_200_999)),
            received_millis: Some((-1, 0)),
            created_at: Some((1_795_219_200.001, 1_795_219_200.999)),
            event_name: Some(("cart:ö".into(), "menu:\"x\"".into())),
        }
    }

    #[test]
    fn statistics_are_read_as_they_were_written() {
        let text = statistics().to_json();
        assert!(text.contains(r#""created_datetime":"2026-11-21T00:00:00.001""#), "{text}");
        assert_eq!(FileStatistics::of_json(&text), statistics());
        let none = FileStatistics::default();
        assert_eq!(FileStatistics::of_json(&none.to_json()), none);
    }

    #[test]
    fn statistics_of_other_writers_are_read_and_a_maximum_is_never_too_small() {
        let text = r#"{"numRecords":7,"minValues":{"created_datetime":"2026-11-21T00:00:00.000001Z","created_at":1e3},
            "maxValues":{"created_datetime":"2026-11-21 00:00:00.001001","created_at":2000},"nullCount":{"payload":0},"tightBounds":true}"#;
        let read = FileStatistics::of_json(text);
        assert_eq!(read.rows, Some(7));
        assert_eq!(read.created_millis, Some((1_795_219_200_000, 1_795_219_200_002)));
        assert_eq!(read.created_at, Some((1_000.0, 2_000.0)));
        assert_eq!(FileStatistics::of_json("no JSON"), FileStatistics::default());
    }
}
