//! Rows of the lake as read: the columns of an arrow batch, borrowed.

use std::io;

use arrow_array::{
    Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch, StringArray,
    cast::AsArray,
    types::{
        Float64Type, Int32Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
};
use arrow_schema::{DataType, Schema, TimeUnit};

pub use super::row::LakeRow;
use super::{columns, partition::Partition};

/// Checks that a file has the lake's columns. Additional columns are ignored, and timestamps may have any unit, because
/// Firehose and compaction write with other tools.
pub(super) fn check_schema(schema: &Schema) -> Result<(), String> {
    for wanted in columns::schema(columns::Extra::ALL).fields() {
        let Ok(found) = schema.field_with_name(wanted.name()) else {
            if [columns::CLIENT_ADDRESS, columns::DEDUP_SCOPE].contains(&wanted.name().as_str()) {
                continue;
            }
            return Err(format!("no file of this lake: it has no column `{}`", wanted.name()));
        };
        let fits = match (wanted.data_type(), found.data_type()) {
            (DataType::Timestamp(..), DataType::Timestamp(..)) => true,
            (wanted, found) => wanted == found,
        };
        if !fits {
            return Err(format!("no file of this lake: its column `{}` is {}", wanted.name(), found.data_type()));
        }
    }
    Ok(())
}

/// The columns of a file that the lake does not have.
pub(super) fn extra_columns(schema: &Schema) -> Vec<&str> {
    let known = columns::schema(columns::Extra::ALL);
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.filter(|name| known.field_with_name(name).is_err()).collect()
}

/// Passes each row of a batch with all columns to `visit`.
pub(super) fn each_row(
    batch: &RecordBatch,
    partition: &Partition,
    visit: &mut dyn FnMut(&LakeRow<'_>) -> io::Result<()>,
) -> Result<io::Result<()>, String> {
    let (event_uuid, event_name) = (texts(batch, "event_uuid")?, texts(batch, "event_name")?);
    let (event_subtype, source) = (column(batch, "event_subtype")?.as_string::<i32>(), texts(batch, "source")?);
    let schema_version = column(batch, "schema_version")?.as_primitive::<Int32Type>();
    let created_at = without_nulls(batch, "created_at")?.as_primitive::<Float64Type>();
    let (created, received) = (Millis::of(batch, "created_datetime")?, Millis::of(batch, "received_datetime")?);
    let payload = texts(batch, "payload")?;
    let client_address = batch.column_by_name(columns::CLIENT_ADDRESS).map(AsArray::as_string::<i32>);
    let dedup_scope = scopes(batch);
    for row in 0..batch.num_rows() {
        let visited = visit(&LakeRow {
            event_uuid: event_uuid.value(row),
            event_name: event_name.value(row),
            event_type: &partition.event_type,
            event_subtype: event_subtype.is_valid(row).then(|| event_subtype.value(row)),
            source: source.value(row),
            schema_version: schema_version.is_valid(row).then(|| schema_version.value(row)),
            created_at: created_at.value(row),
            created_millis: created.value(row),
            received_millis: received.value(row),
            created_date: &partition.created_date,
            payload: payload.value(row),
            client_address: text_at(client_address, row),
            dedup_scope: text_at(dedup_scope, row),
        });
        if visited.is_err() {
            return Ok(visited);
        }
    }
    Ok(Ok(()))
}

/// The scopes of the identities, if the file has that column.
pub(super) fn scopes(batch: &RecordBatch) -> Option<&StringArray> {
    batch.column_by_name(columns::DEDUP_SCOPE).map(AsArray::as_string::<i32>)
}

/// The value of a column that may be missing or null.
pub(super) fn text_at(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

/// A text column without nulls.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, String> {
    Ok(without_nulls(batch, name)?.as_string::<i32>())
}

/// `created_at`, a column without nulls.
pub(super) fn doubles<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<Float64Type>, String> {
    Ok(without_nulls(batch, name)?.as_primitive())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, String> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| format!("no column `{name}`"))
}

fn without_nulls<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, String> {
    let column = column(batch, name)?;
    if column.null_count() > 0 { Err(format!("its column `{name}` has nulls")) } else { Ok(column) }
}

/// A timestamp column of any unit, as milliseconds.
pub(super) struct Millis<'a> {
    values: &'a [i64],
    unit: TimeUnit,
}

impl<'a> Millis<'a> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, String> {
        fn values<T: ArrowPrimitiveType<Native = i64>>(column: &dyn Array) -> &[i64] {
            column.as_primitive::<T>().values()
        }
        let column = without_nulls(batch, name)?;
        let DataType::Timestamp(unit, _) = column.data_type() else {
            return Err(format!("its column `{name}` is no timestamp"));
        };
        let values = match unit {
            TimeUnit::Second => values::<TimestampSecondType>(column),
            TimeUnit::Millisecond => values::<TimestampMillisecondType>(column),
            TimeUnit::Microsecond => values::<TimestampMicrosecondType>(column),
            TimeUnit::Nanosecond => values::<TimestampNanosecondType>(column),
        };
        Ok(Self { values, unit: *unit })
    }

    pub(super) fn value(&self, row: usize) -> i64 {
        in_millis(self.values[row], self.unit)
    }
}

/// A timestamp in `unit`, as milliseconds.
pub(super) fn in_millis(value: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => value.saturating_mul(1_000),
        TimeUnit::Millisecond => value,
        TimeUnit::Microsecond => value.div_euclid(1_000),
        TimeUnit::Nanosecond => value.div_euclid(1_000_000),
    }
}
