//! The columns of a typed table, filled from rows of the raw lake.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{Float64Builder, Int32Builder, StringBuilder, TimestampMillisecondBuilder},
};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};

use super::{
    builders::{Members, field},
    leftovers::{Leftovers, in_json},
};
use crate::{
    event::{EventColumns, is_of_envelope},
    json::{Kind, Parser, Tape},
    limits::EVENT_NODES_MAX,
    sink::lake::{
        columns::{CLIENT_ADDRESS, Extra, all_columns, schema as raw_schema},
        row::LakeRow,
    },
};

/// A column with what does not convert: a JSON object by place (a JSON pointer), with value and reason; or null.
pub(in crate::sink::lake) const UNCONVERTED: &str = "_unconverted";

/// A column with the members that no schema names: a JSON object by place; or null.
pub(in crate::sink::lake) const OTHER: &str = "_other";

/// What the two columns hold, for people; `None` for other columns.
pub(in crate::sink::lake) fn comment_of_leftovers(column: &str) -> Option<&'static str> {
    match column {
        UNCONVERTED => Some("Values that do not fit their column, by place, each with the reason (JSON)."),
        OTHER => Some("Members that no schema names, by place (JSON)."),
        _ => None,
    }
}

/// The envelope's columns inside a file, in order: those of the raw lake, without the payload.
pub(super) fn envelope_fields() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
        let raw = raw_schema(Extra::ALL);
        let kept = all_columns().into_iter().filter(|name| *name != "payload");
        kept.filter_map(|name| raw.field_with_name(name).ok()).map(|field| field.clone().with_nullable(true)).collect()
    });
    &FIELDS
}

/// The schema of the files of a typed table.
pub(in crate::sink::lake) fn schema(definition: &EventColumns) -> SchemaRef {
    let left = [UNCONVERTED, OTHER].map(|name| Field::new(name, arrow_schema::DataType::Utf8, true));
    let fields = envelope_fields().iter().cloned().chain(definition.columns.iter().map(field)).chain(left);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Unfinished columns of one event name.
#[derive(Debug)]
pub(in crate::sink::lake) struct TypedColumns {
    schema: SchemaRef,
    envelope: Envelope,
    fields: Members,
    /// Fields with several columns, because their type changed: the columns by version.
    changed: Vec<Changed>,
    unconverted: StringBuilder,
    other: StringBuilder,
    left: Leftovers,
    tape: Tape,
    rows: usize,
    payload_bytes: usize,
    unconverted_rows: u64,
}

#[derive(Debug)]
struct Changed {
    field: Box<str>,
    /// The versions that a column takes, and its position; ascending.
    columns: Vec<(Vec<u32>, usize)>,
}

#[derive(Debug, Default)]
struct Envelope {
    event_uuid: StringBuilder,
    event_name: StringBuilder,
    event_subtype: StringBuilder,
    source: StringBuilder,
    schema_version: Int32Builder,
    created_at: Float64Builder,
    created_datetime: TimestampMillisecondBuilder,
    received_datetime: TimestampMillisecondBuilder,
    client_address: StringBuilder,
    dedup_scope: StringBuilder,
}

impl TypedColumns {
    /// Empty columns.
    pub(in crate::sink::lake) fn new(definition: &EventColumns) -> Self {
        Self {
            schema: schema(definition),
            envelope: Envelope::default(),
            fields: Members::new(definition.columns.iter().map(|column| (column.field.as_str(), &column.kind))),
            changed: changed(definition),
            unconverted: StringBuilder::new(),
            other: StringBuilder::new(),
            left: Leftovers::default(),
            tape: Tape::new(),
            rows: 0,
            payload_bytes: 0,
            unconverted_rows: 0,
        }
    }

    /// The schema of the batches.
    pub(in crate::sink::lake) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Rows appended since the last [`TypedColumns::finish`], and the bytes of their payloads.
    pub(in crate::sink::lake) fn size(&self) -> (usize, usize) {
        (self.rows, self.payload_bytes)
    }

    /// Rows so far with something that did not convert.
    pub(in crate::sink::lake) fn unconverted_rows(&self) -> u64 {
        self.unconverted_rows
    }

    /// Appends a row. Always possible: what has no column, or does not convert, is kept in the last two columns.
    pub(in crate::sink::lake) fn push(&mut self, row: &LakeRow<'_>) {
        self.envelope.push(row);
        self.left.clear();
        self.fields.begin();
        self.push_payload(row);
        self.fields.end();
        let (unconverted, other) = self.left.texts();
        self.unconverted_rows += u64::from(unconverted.is_some());
        self.unconverted.append_option(unconverted);
        self.other.append_option(other);
        self.rows += 1;
        self.payload_bytes += row.payload.len();
    }

    fn push_payload(&mut self, row: &LakeRow<'_>) {
        let mut parser = Parser::new(row.payload, EVENT_NODES_MAX);
        if parser.value(&mut self.tape).is_err() || parser.peek().is_some() || self.tape.is_overflown() {
            // No gateway writes such a payload, but a lake may be written by others.
            self.left.unconverted(&in_json(row.payload), "not an event in JSON");
            return;
        }
        let event = self.tape.root(row.payload);
        if event.kind() != Kind::Object {
            self.left.unconverted(event.raw(), "not an object");
            return;
        }
        for (name, value) in event.members() {
            let Some(position) = self.fields.find(&name) else {
                // Where the gateway keeps the address, the column has it.
                if is_of_envelope(&name) || (name == CLIENT_ADDRESS && row.client_address.is_some()) {
                    continue;
                }
                let before = self.left.place.enter(&name);
                self.left.other(value.raw());
                self.left.place.leave(before);
                continue;
            };
            let position = column_for(&self.changed, &name, row.schema_version).unwrap_or(position);
            let before = self.left.place.enter(&name);
            self.fields.append(position, value, &mut self.left);
            self.left.place.leave(before);
        }
    }

    /// Returns the appended rows as one batch; then the columns are empty.
    ///
    /// # Errors
    /// Arrow's error, if the arrays do not fit the schema.
    pub(in crate::sink::lake) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.payload_bytes) = (0, 0);
        let mut arrays = self.envelope.finish();
        arrays.extend(self.fields.finish()?);
        arrays.push(Arc::new(self.unconverted.finish()));
        arrays.push(Arc::new(self.other.finish()));
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }
}

impl Envelope {
    fn push(&mut self, row: &LakeRow<'_>) {
        self.event_uuid.append_value(row.event_uuid);
        self.event_name.append_value(row.event_name);
        self.event_subtype.append_option(row.event_subtype);
        self.source.append_value(row.source);
        self.schema_version.append_option(row.schema_version);
        self.created_at.append_value(row.created_at);
        self.created_datetime.append_value(row.created_millis);
        self.received_datetime.append_value(row.received_millis);
        self.client_address.append_option(row.client_address);
        self.dedup_scope.append_option(row.dedup_scope);
    }

    /// The arrays, in the order of [`envelope_fields`].
    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.event_uuid.finish()),
            Arc::new(self.event_name.finish()),
            Arc::new(self.event_subtype.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.schema_version.finish()),
            Arc::new(self.created_at.finish()),
            Arc::new(self.created_datetime.finish()),
            Arc::new(self.received_datetime.finish()),
            Arc::new(self.client_address.finish()),
            Arc::new(self.dedup_scope.finish()),
        ]
    }
}

fn changed(definition: &EventColumns) -> Vec<Changed> {
    let mut changed: Vec<Changed> = Vec::new();
    for (position, column) in definition.columns.iter().enumerate() {
        match changed.iter_mut().find(|changed| *changed.field == *column.field) {
            Some(changed) => changed.columns.push((column.versions.clone(), position)),
            None => {
                changed.push(Changed { field: column.field.as_str().into(), columns: vec![(column.versions.clone(), position)] });
            }
        }
    }
    changed.retain(|changed| changed.columns.len() > 1);
    changed
}

/// The column for a field whose type changed: that of the version that accepted the event, else the newest.
fn column_for(changed: &[Changed], name: &str, version: Option<i32>) -> Option<usize> {
    let columns = &changed.iter().find(|changed| *changed.field == *name)?.columns;
    let version = version.and_then(|version| u32::try_from(version).ok());
    let takes_it = |(versions, _): &&(Vec<u32>, usize)| version.is_some_and(|version| versions.contains(&version));
    columns.iter().find(takes_it).or(columns.last()).map(|(_, position)| *position)
}
