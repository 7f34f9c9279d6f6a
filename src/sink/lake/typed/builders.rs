//! Values in columns: an arrow builder for each type.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray, StructArray,
    builder::{
        BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
        TimestampMicrosecondBuilder,
    },
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, TimeUnit};

use super::{convert, leftovers::Leftovers};
use crate::{
    event::{EventColumn, FieldType},
    json::{Kind, Node},
};

/// The type of a column in the files.
pub(super) fn data_type(kind: &FieldType) -> DataType {
    match kind {
        FieldType::Boolean => DataType::Boolean,
        FieldType::Integer => DataType::Int64,
        FieldType::Number => DataType::Float64,
        FieldType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        FieldType::Text | FieldType::Json => DataType::Utf8,
        FieldType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        FieldType::Date => DataType::Date32,
        FieldType::List(items) => DataType::List(element(items)),
        FieldType::Struct(members) => DataType::Struct(members.iter().map(field).collect()),
    }
}

/// A column, or a member of a struct. Every one may be null.
pub(super) fn field(column: &EventColumn) -> Field {
    Field::new(&column.column, data_type(&column.kind), true)
}

fn element(items: &FieldType) -> FieldRef {
    // The name that the format of Parquet wants for the elements of a list.
    Arc::new(Field::new("element", data_type(items), true))
}

/// The unfinished array of a column.
#[derive(Debug)]
pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Decimal { values: Decimal128Builder, precision: u8, scale: u8 },
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Json(StringBuilder),
    List(ListBuilder),
    Struct(StructBuilder),
}

#[derive(Debug)]
pub(super) struct ListBuilder {
    element: FieldRef,
    items: Box<Builder>,
    lengths: Vec<usize>,
    valid: NullBufferBuilder,
}

#[derive(Debug)]
pub(super) struct StructBuilder {
    fields: Fields,
    members: Members,
    rows: usize,
    valid: NullBufferBuilder,
}

impl Builder {
    pub(super) fn new(kind: &FieldType) -> Self {
        match kind {
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Number => Self::Number(Float64Builder::new()),
            FieldType::Decimal { precision, scale } => Self::Decimal {
                values: Decimal128Builder::new().with_data_type(data_type(kind)),
                precision: *precision,
                scale: *scale,
            },
            FieldType::Text => Self::Text(StringBuilder::new()),
            FieldType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            FieldType::Date => Self::Date(Date32Builder::new()),
            FieldType::Json => Self::Json(StringBuilder::new()),
            FieldType::List(items) => Self::List(ListBuilder {
                element: element(items),
                items: Box::new(Self::new(items)),
                lengths: Vec::new(),
                valid: NullBufferBuilder::new(0),
            }),
            FieldType::Struct(members) => Self::Struct(StructBuilder {
                fields: members.iter().map(field).collect(),
                members: Members::new(members.iter().map(|member| (member.field.as_str(), &member.kind))),
                rows: 0,
                valid: NullBufferBuilder::new(0),
            }),
        }
    }

    /// Appends a value, or null with a note in `left` if the value does not convert.
    pub(super) fn append(&mut self, value: Node<'_>, left: &mut Leftovers) {
        if value.kind() == Kind::Null {
            self.append_null();
            return;
        }
        let appended = match self {
            Self::Boolean(values) => convert::boolean(value).map(|value| values.append_value(value)),
            Self::Integer(values) => convert::integer(value).map(|value| values.append_value(value)),
            Self::Number(values) => convert::number(value).map(|value| values.append_value(value)),
            Self::Decimal { values, precision, scale } => {
                convert::decimal(value, *precision, *scale).map(|value| values.append_value(value))
            }
            Self::Text(values) => text(value).map(|value| values.append_value(value)),
            Self::Timestamp(values) => {
                text(value).and_then(|value| convert::timestamp(&value)).map(|value| values.append_value(value))
            }
            Self::Date(values) => text(value).and_then(|value| convert::date(&value)).map(|value| values.append_value(value)),
            Self::Json(values) => {
                values.append_value(value.raw());
                Ok(())
            }
            Self::List(list) => list.append(value, left),
            Self::Struct(object) => object.append(value, left),
        };
        if let Err(reason) = appended {
            left.unconverted(value.raw(), reason);
            self.append_null();
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Boolean(values) => values.append_null(),
            Self::Integer(values) => values.append_null(),
            Self::Number(values) => values.append_null(),
            Self::Decimal { values, .. } => values.append_null(),
            Self::Text(values) | Self::Json(values) => values.append_null(),
            Self::Timestamp(values) => values.append_null(),
            Self::Date(values) => values.append_null(),
            Self::List(list) => {
                list.lengths.push(0);
                list.valid.append_null();
            }
            Self::Struct(object) => {
                object.members.append_nulls();
                object.rows += 1;
                object.valid.append_null();
            }
        }
    }

    /// The array of what was appended; then the builder is empty.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(values) => Arc::new(values.finish()),
            Self::Integer(values) => Arc::new(values.finish()),
            Self::Number(values) => Arc::new(values.finish()),
            Self::Decimal { values, .. } => Arc::new(values.finish()),
            Self::Text(values) | Self::Json(values) => Arc::new(values.finish()),
            Self::Timestamp(values) => Arc::new(values.finish()),
            Self::Date(values) => Arc::new(values.finish()),
            Self::List(list) => Arc::new(list.finish()?),
            Self::Struct(object) => Arc::new(object.finish()?),
        })
    }
}

fn text(value: Node<'_>) -> Result<std::borrow::Cow<'_, str>, &'static str> {
    value.string().ok_or("not a string")
}

impl ListBuilder {
    fn append(&mut self, value: Node<'_>, left: &mut Leftovers) -> Result<(), &'static str> {
        if value.kind() != Kind::Array {
            return Err("not an array");
        }
        let mut length = 0;
        for item in value.elements() {
            let before = left.place.enter_element(length);
            self.items.append(item, left);
            left.place.leave(before);
            length += 1;
        }
        self.lengths.push(length);
        self.valid.append_non_null();
        Ok(())
    }

    fn finish(&mut self) -> Result<ListArray, ArrowError> {
        let offsets = OffsetBuffer::from_lengths(self.lengths.drain(..));
        ListArray::try_new(Arc::clone(&self.element), offsets, self.items.finish()?, self.valid.finish())
    }
}

impl StructBuilder {
    fn append(&mut self, value: Node<'_>, left: &mut Leftovers) -> Result<(), &'static str> {
        if value.kind() != Kind::Object {
            return Err("not an object");
        }
        self.members.begin();
        for (name, member) in value.members() {
            let before = left.place.enter(&name);
            match self.members.find(&name) {
                Some(position) => self.members.append(position, member, left),
                None => left.other(member.raw()),
            }
            left.place.leave(before);
        }
        self.members.end();
        self.rows += 1;
        self.valid.append_non_null();
        Ok(())
    }

    fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        StructArray::try_new_with_length(self.fields.clone(), self.members.finish()?, self.valid.finish(), rows)
    }
}

/// The builders of an object's members. Each object appends one value to each.
#[derive(Debug)]
pub(super) struct Members {
    members: Vec<Member>,
    /// Where the next member probably is: senders write members in one order.
    next: usize,
}

#[derive(Debug)]
struct Member {
    name: Box<str>,
    builder: Builder,
    is_filled: bool,
}

impl Members {
    pub(super) fn new<'a>(members: impl Iterator<Item = (&'a str, &'a FieldType)>) -> Self {
        let member =
            |(name, kind): (&str, &FieldType)| Member { name: name.into(), builder: Builder::new(kind), is_filled: false };
        Self { members: members.map(member).collect(), next: 0 }
    }

    /// Begins an object.
    pub(super) fn begin(&mut self) {
        self.next = 0;
        self.members.iter_mut().for_each(|member| member.is_filled = false);
    }

    /// The first member with this name, from where the one before was found.
    pub(super) fn find(&mut self, name: &str) -> Option<usize> {
        let (before, from) = self.members.split_at(self.next.min(self.members.len()));
        let is_it = |member: &Member| *member.name == *name;
        let found =
            from.iter().position(is_it).map(|position| position + before.len()).or_else(|| before.iter().position(is_it))?;
        self.next = found + 1;
        Some(found)
    }

    /// Appends a value of the current object. A second one of the same name has no place.
    pub(super) fn append(&mut self, position: usize, value: Node<'_>, left: &mut Leftovers) {
        let member = &mut self.members[position];
        if std::mem::replace(&mut member.is_filled, true) {
            left.unconverted(value.raw(), "a second member of this name");
        } else {
            member.builder.append(value, left);
        }
    }

    /// Ends an object: what it did not have is null.
    pub(super) fn end(&mut self) {
        self.members.iter_mut().filter(|member| !member.is_filled).for_each(|member| member.builder.append_null());
    }

    /// Appends null to all.
    pub(super) fn append_nulls(&mut self) {
        self.members.iter_mut().for_each(|member| member.builder.append_null());
    }

    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.members.iter_mut().map(|member| member.builder.finish()).collect()
    }
}
