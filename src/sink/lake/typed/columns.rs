//! Stand-in: the envelope, and the payload in `_other`.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{Float64Builder, Int32Builder, StringBuilder, TimestampMillisecondBuilder},
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::{event::EventColumns, sink::lake::row::LakeRow};

const TEXTS: [&str; 8] =
    ["event_uuid", "event_name", "event_subtype", "source", "client_address", "dedup_scope", "_unconverted", "_other"];

pub(super) struct TypedColumns {
    texts: Vec<StringBuilder>,
    version: Int32Builder,
    created_at: Float64Builder,
    created: TimestampMillisecondBuilder,
    received: TimestampMillisecondBuilder,
    rows: usize,
    bytes: usize,
}

impl TypedColumns {
    pub(super) fn new(_definition: &EventColumns) -> Self {
        Self {
            texts: TEXTS.iter().map(|_| StringBuilder::new()).collect(),
            version: Int32Builder::new(),
            created_at: Float64Builder::new(),
            created: TimestampMillisecondBuilder::new(),
            received: TimestampMillisecondBuilder::new(),
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, row: &LakeRow<'_>) {
        let unconverted = row.payload.contains("unfit").then_some("{}");
        let values = [
            Some(row.event_uuid),
            Some(row.event_name),
            row.event_subtype,
            Some(row.source),
            row.client_address,
            row.dedup_scope,
            unconverted,
            Some(row.payload),
        ];
        self.texts.iter_mut().zip(values).for_each(|(column, value)| column.append_option(value));
        self.version.append_option(row.schema_version);
        self.created_at.append_value(row.created_at);
        self.created.append_value(row.created_millis);
        self.received.append_value(row.received_millis);
        self.rows += 1;
        self.bytes += row.payload.len();
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.rows, self.bytes)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let texts = TEXTS.iter().map(|name| Field::new(*name, DataType::Utf8, true));
        let others = [
            Field::new("schema_version", DataType::Int32, true),
            Field::new("created_at", DataType::Float64, true),
            Field::new("created_datetime", time.clone(), true),
            Field::new("received_datetime", time, true),
        ];
        Arc::new(Schema::new(texts.chain(others).collect::<Vec<_>>()))
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        let mut arrays: Vec<ArrayRef> = self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        arrays.extend([
            Arc::new(self.version.finish()) as ArrayRef,
            Arc::new(self.created_at.finish()),
            Arc::new(self.created.finish()),
            Arc::new(self.received.finish()),
        ]);
        RecordBatch::try_new(self.schema(), arrays)
    }
}

pub(super) fn delta_schema(definition: &EventColumns) -> String {
    let field = |name: &str, kind: &str| serde_json::json!({"name": name, "type": kind, "nullable": true, "metadata": {}});
    let mut fields: Vec<_> = TEXTS.iter().map(|name| field(name, "string")).collect();
    fields.extend([
        field("schema_version", "integer"),
        field("created_at", "double"),
        field("created_datetime", "timestamp_ntz"),
        field("received_datetime", "timestamp_ntz"),
    ]);
    fields.extend(definition.columns.iter().map(|column| field(&column.column, "string")));
    fields.extend([field("event_type", "string"), field("created_date", "date")]);
    serde_json::json!({"type": "struct", "fields": fields}).to_string()
}
