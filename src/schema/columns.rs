//! The columns of every event in a table with types, from all versions of its schema.
//!
//! A field keeps its column while each version's type holds the values of the others: an integer may become a number, an object
//! may get more members. A type that holds no such values begins a column of its own, named after the version: `price_v2`.

mod of_schema;
mod shape;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::{Registry, Schema, export::inlined};
use crate::{
    event::{EventColumn, EventColumns, FieldType, is_of_envelope},
    limits::COLUMN_NAME_BYTES_MAX,
    unique_names::UniqueNames,
};
use shape::Shape;

/// Names that no field's column can have: the envelope's columns, and those of what has no column.
const TAKEN: [&str; 15] = [
    "event_uuid",
    "event_name",
    "event_type",
    "event_subtype",
    "source",
    "schema_version",
    "created_at",
    "created_datetime",
    "created_date",
    "received_datetime",
    "client_address",
    "dedup_scope",
    "is_late",
    "_unconverted",
    "_other",
];

/// The columns of every event name, in the order of the names.
#[must_use]
pub fn event_columns(registry: &Registry) -> Vec<EventColumns> {
    registry.iter().map(|(event_name, versions)| columns_of(event_name, versions)).collect()
}

fn columns_of(event_name: &str, versions: &[Schema]) -> EventColumns {
    let mut fields: Vec<Field> = Vec::new();
    let mut description = String::new();
    for schema in versions {
        let document = inlined(schema.read());
        description = document["description"].as_str().unwrap_or_default().to_owned();
        for (name, property) in own_properties(&document) {
            add(&mut fields, &name, schema.version, &property);
        }
    }
    let mut names = UniqueNames::reserving(&TAKEN);
    let columns = fields.into_iter().map(|field| field.column(&mut names)).collect();
    EventColumns { event_name: event_name.to_owned(), description, columns }
}

/// A column in the making.
struct Field {
    name: String,
    versions: Vec<u32>,
    shape: Shape,
    description: String,
    /// Whether an earlier column has the field's own name.
    is_later: bool,
}

/// Adds what a version says of a field to the column whose type it fits, or begins another column.
fn add(fields: &mut Vec<Field>, name: &str, version: u32, property: &Value) {
    let shape = of_schema::shape(property);
    let described = property["description"].as_str().unwrap_or_default();
    let same = fields.iter_mut().filter(|field| field.name == name);
    let (mut is_later, mut fitting) = (false, None);
    for field in same {
        is_later = true;
        if let Some(joined) = field.shape.widened(&shape) {
            fitting = Some((field, joined));
        }
    }
    match fitting {
        Some((field, joined)) => {
            field.shape = joined;
            field.versions.push(version);
            if !described.is_empty() {
                described.clone_into(&mut field.description);
            }
        }
        None => fields.push(Field {
            name: name.to_owned(),
            versions: vec![version],
            shape,
            description: described.to_owned(),
            is_later,
        }),
    }
}

impl Field {
    fn column(self, names: &mut UniqueNames) -> EventColumn {
        let wanted = match self.versions.first() {
            Some(version) if self.is_later => format!("{}_v{version}", self.name),
            _ => self.name.clone(),
        };
        let kind = kind_of(self.shape);
        EventColumn {
            column: take_name(names, &wanted),
            field: self.name,
            versions: self.versions,
            kind,
            description: self.description,
        }
    }
}

/// The column type of a shape.
fn kind_of(shape: Shape) -> FieldType {
    match shape {
        Shape::Boolean => FieldType::Boolean,
        Shape::Integer => FieldType::Integer,
        Shape::Number => FieldType::Number,
        Shape::Decimal { whole_digits, scale } => match whole_digits {
            // Up to 18 digits a value takes eight bytes, and sixteen with more.
            Some(whole_digits) if usize::from(whole_digits) + usize::from(scale) <= 18 => {
                FieldType::Decimal { precision: 18, scale }
            }
            _ => FieldType::Decimal { precision: 38, scale },
        },
        Shape::Text => FieldType::Text,
        Shape::Timestamp => FieldType::Timestamp,
        Shape::Date => FieldType::Date,
        Shape::Anything | Shape::Mixed => FieldType::Json,
        Shape::List(items) => match *items {
            Shape::Anything => FieldType::Json,
            items => FieldType::List(Box::new(kind_of(items))),
        },
        Shape::Object(members) if members.is_empty() => FieldType::Json,
        Shape::Object(members) => {
            let mut names = UniqueNames::default();
            let member = |(field, shape): (String, Shape)| EventColumn {
                column: take_name(&mut names, &field),
                field,
                versions: Vec::new(),
                kind: kind_of(shape),
                description: String::new(),
            };
            FieldType::Struct(members.into_iter().map(member).collect())
        }
    }
}

/// The event's own fields with the schemas that a version has for them: its own, and those of the parts that apply to all of it.
fn own_properties(document: &Value) -> Map<String, Value> {
    let mut found: Map<String, Value> = Map::new();
    collect(document, &mut found);
    found
}

fn collect(part: &Value, found: &mut Map<String, Value>) {
    for (name, property) in part["properties"].as_object().into_iter().flatten().filter(|(name, _)| !is_of_envelope(name)) {
        match found.get_mut(name) {
            // Both apply to the same value.
            Some(before) => *before = both(before.take(), property.clone()),
            None => drop(found.insert(name.clone(), property.clone())),
        }
    }
    part["allOf"].as_array().into_iter().flatten().for_each(|part| collect(part, found));
    // These apply to some events only, so their members are fields, but what they say of a field that is known does not hold for all.
    for keyword in ["anyOf", "oneOf"] {
        part[keyword].as_array().into_iter().flatten().for_each(|part| collect_new(part, found));
    }
    ["then", "else"].iter().filter_map(|keyword| part.get(*keyword)).for_each(|part| collect_new(part, found));
    part["dependentSchemas"].as_object().into_iter().flatten().for_each(|(_, part)| collect_new(part, found));
}

/// Adds the fields of a part that does not apply to every event.
fn collect_new(part: &Value, found: &mut Map<String, Value>) {
    let mut some = Map::new();
    collect(part, &mut some);
    for (name, property) in some {
        match found.get_mut(&name) {
            // If another such part has the field too, its values are of either.
            Some(Value::Object(before)) if before.contains_key(EITHER) => {
                if let Some(Value::Array(choices)) = before.get_mut(EITHER) {
                    choices.push(property);
                }
            }
            Some(_) => {}
            None => {
                let either = Map::from_iter([(EITHER.to_owned(), Value::Array(vec![property]))]);
                found.insert(name, Value::Object(either));
            }
        }
    }
}

/// Choices for the values of a field.
const EITHER: &str = "anyOf";

fn both(first: Value, second: Value) -> Value {
    let description = [&first, &second].into_iter().find_map(|schema| schema.get("description").cloned());
    let mut all = Map::new();
    all.extend(description.map(|text| ("description".to_owned(), text)));
    all.insert("allOf".to_owned(), Value::Array(vec![first, second]));
    Value::Object(all)
}

/// A name that every engine takes, as like `wanted` as possible.
fn take_name(names: &mut UniqueNames, wanted: &str) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let name: String = wanted.chars().map(keep).take(COLUMN_NAME_BYTES_MAX).collect();
    names.take(if name.is_empty() { "_" } else { &name })
}
