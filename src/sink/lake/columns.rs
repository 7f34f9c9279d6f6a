//! The columns of a file: their schema, and arrays built directly from the bytes of the records.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{Float64Builder, Int32Builder, StringBuilder, TimestampMillisecondBuilder},
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::row::LakeRow;
use crate::event::{CLIENT_ADDRESS_FIELD, DEDUP_SCOPE_FIELD, Record};

/// Names of the columns inside every file, in its order.
pub const COLUMNS: [&str; 9] = [
    "event_uuid",
    "event_name",
    "event_subtype",
    "source",
    "schema_version",
    "created_at",
    "created_datetime",
    "received_datetime",
    "payload",
];

/// An additional last column in files with events whose addresses are stored.
pub const CLIENT_ADDRESS: &str = CLIENT_ADDRESS_FIELD;

/// An additional last column in files with events from browser keys: the scope of their identity.
pub const DEDUP_SCOPE: &str = DEDUP_SCOPE_FIELD;

/// Every column; a reader skips those that a file does not have.
pub(super) fn all_columns() -> Vec<&'static str> {
    COLUMNS.into_iter().chain([CLIENT_ADDRESS, DEDUP_SCOPE]).collect()
}

/// The optional columns of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    pub(super) addresses: bool,
    pub(super) scopes: bool,
}

impl Extra {
    pub(super) const ALL: Self = Self { addresses: true, scopes: true };

    /// The columns that at least one record needs. The records decide this, not the configuration, so that a delivery after a
    /// restart writes the same file.
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        records.fold(Self::default(), |extra, record| Self {
            addresses: extra.addresses || record.has_client_address(),
            scopes: extra.scopes || record.is_scoped(),
        })
    }
}

/// The schema of a file.
pub(super) fn schema(extra: Extra) -> SchemaRef {
    static SCHEMAS: LazyLock<[SchemaRef; 4]> = LazyLock::new(|| {
        // Without a zone: with one, DuckDB's Python wants pytz, and Athena has no such column type (LAKE.md).
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
        let types = [
            (DataType::Utf8, false),
            (DataType::Utf8, false),
            (DataType::Utf8, true),
            (DataType::Utf8, false),
            (DataType::Int32, true),
            (DataType::Float64, false),
            (timestamp.clone(), false),
            (timestamp, false),
            (DataType::Utf8, false),
        ];
        let fields = COLUMNS.iter().zip(types).map(|(name, (kind, nullable))| Field::new(*name, kind, nullable));
        let always: Vec<Field> = fields.collect();
        [&[][..], &[CLIENT_ADDRESS], &[DEDUP_SCOPE], &[CLIENT_ADDRESS, DEDUP_SCOPE]].map(|extra| {
            let extra = extra.iter().map(|name| Field::new(*name, DataType::Utf8, true));
            Arc::new(Schema::new(always.iter().cloned().chain(extra).collect::<Vec<_>>()))
        })
    });
    SCHEMAS[usize::from(extra.addresses) + 2 * usize::from(extra.scopes)].clone()
}

/// Unfinished arrays.
pub(super) struct Columns {
    event_uuid: StringBuilder,
    event_name: StringBuilder,
    event_subtype: StringBuilder,
    source: StringBuilder,
    schema_version: Int32Builder,
    created_at: Float64Builder,
    created_datetime: TimestampMillisecondBuilder,
    received_datetime: TimestampMillisecondBuilder,
    payload: StringBuilder,
    /// `Some` if the file has this column.
    client_address: Option<StringBuilder>,
    /// `Some` if the file has this column.
    dedup_scope: Option<StringBuilder>,
    extra: Extra,
    rows: usize,
    payload_bytes: usize,
}

impl Columns {
    /// Capacity for `rows` rows with `payload_bytes` of payload in total; grows if needed.
    pub(super) fn with_capacity(rows: usize, payload_bytes: usize, extra: Extra) -> Self {
        Self {
            event_uuid: StringBuilder::with_capacity(rows, rows * uuid::fmt::Hyphenated::LENGTH),
            event_name: StringBuilder::with_capacity(rows, rows * 24),
            event_subtype: StringBuilder::with_capacity(rows, rows * 8),
            source: StringBuilder::with_capacity(rows, rows * 8),
            schema_version: Int32Builder::with_capacity(rows),
            created_at: Float64Builder::with_capacity(rows),
            created_datetime: TimestampMillisecondBuilder::with_capacity(rows),
            received_datetime: TimestampMillisecondBuilder::with_capacity(rows),
            payload: StringBuilder::with_capacity(rows, payload_bytes),
            client_address: extra.addresses.then(|| StringBuilder::with_capacity(rows, rows * 16)),
            dedup_scope: extra.scopes.then(|| StringBuilder::with_capacity(rows, rows * 8)),
            extra,
            rows: 0,
            payload_bytes: 0,
        }
    }

    /// Appends one record.
    ///
    /// # Errors
    /// Why the columns cannot hold the record; then nothing was appended.
    pub(super) fn push(&mut self, record: &Record) -> Result<(), String> {
        let envelope = record.envelope();
        let payload = std::str::from_utf8(record.payload()).map_err(|error| format!("its payload is not UTF-8: {error}"))?;
        let schema_version = envelope
            .schema_version
            .map(i32::try_from)
            .transpose()
            .map_err(|_| "its schema_version is beyond the lake's int32 column".to_owned())?;
        let mut uuid = uuid::Uuid::encode_buffer();
        self.event_uuid.append_value(envelope.event_uuid.hyphenated().encode_lower(&mut uuid));
        self.event_name.append_value(envelope.event_name.as_str());
        self.event_subtype.append_option(envelope.event_name.event_subtype());
        self.source.append_value(envelope.source);
        self.schema_version.append_option(schema_version);
        self.created_at.append_value(envelope.created_at.seconds);
        self.created_datetime.append_value(envelope.created_at.millis);
        self.received_datetime.append_value(envelope.received_millis);
        self.payload.append_value(payload);
        if let Some(client_address) = &mut self.client_address {
            client_address.append_option(envelope.client_address);
        }
        if let Some(dedup_scope) = &mut self.dedup_scope {
            dedup_scope.append_option(envelope.dedup_scope());
        }
        self.rows += 1;
        self.payload_bytes += payload.len();
        Ok(())
    }

    /// Appends a row of another file. It must need no optional column that this file does not have.
    pub(super) fn push_row(&mut self, row: &LakeRow<'_>) {
        self.event_uuid.append_value(row.event_uuid);
        self.event_name.append_value(row.event_name);
        self.event_subtype.append_option(row.event_subtype);
        self.source.append_value(row.source);
        self.schema_version.append_option(row.schema_version);
        self.created_at.append_value(row.created_at);
        self.created_datetime.append_value(row.created_millis);
        self.received_datetime.append_value(row.received_millis);
        self.payload.append_value(row.payload);
        if let Some(client_address) = &mut self.client_address {
            client_address.append_option(row.client_address);
        }
        if let Some(dedup_scope) = &mut self.dedup_scope {
            dedup_scope.append_option(row.dedup_scope);
        }
        self.rows += 1;
        self.payload_bytes += row.payload.len();
    }

    /// Rows appended since the last [`Columns::finish`], and the bytes of their payloads.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.rows, self.payload_bytes)
    }

    /// Returns the appended rows as one batch; then the columns are empty.
    ///
    /// # Errors
    /// Arrow's error, if the arrays do not fit the schema.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.payload_bytes) = (0, 0);
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.event_uuid.finish()),
            Arc::new(self.event_name.finish()),
            Arc::new(self.event_subtype.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.schema_version.finish()),
            Arc::new(self.created_at.finish()),
            Arc::new(self.created_datetime.finish()),
            Arc::new(self.received_datetime.finish()),
            Arc::new(self.payload.finish()),
        ];
        let extra = [&mut self.client_address, &mut self.dedup_scope];
        arrays.extend(extra.into_iter().flatten().map(|column| Arc::new(column.finish()) as ArrayRef));
        RecordBatch::try_new(schema(self.extra), arrays)
    }
}
