//! The columns of a typed table in the words of Delta Lake's log.

use arrow_schema::{DataType, Field, TimeUnit};
use serde_json::{Map, Value, json};

use super::columns::{comment_of_leftovers, schema};
use crate::event::EventColumns;

/// The schema of a typed table, as the JSON text of the log, with the partition columns at the end.
pub(in crate::sink::lake) fn delta_schema(definition: &EventColumns) -> String {
    let schema = schema(definition);
    let described = |field: &Field| {
        let own = definition.columns.iter().find(|column| column.column == *field.name());
        let comment = comment_of_leftovers(field.name()).or(own.map(|column| column.description.as_str())).unwrap_or_default();
        delta_field(field.name(), &delta_type(field.data_type()), comment)
    };
    let partitions = [("event_type", "string"), ("created_date", "date")].map(|(name, kind)| delta_field(name, &kind.into(), ""));
    let fields: Vec<Value> = schema.fields().iter().map(|field| described(field)).chain(partitions).collect();
    json!({ "type": "struct", "fields": fields }).to_string()
}

/// A column in the words of the log.
pub(in crate::sink::lake) fn delta_field(name: &str, kind: &Value, comment: &str) -> Value {
    let mut metadata = Map::new();
    if !comment.is_empty() {
        metadata.insert("comment".to_owned(), comment.into());
    }
    json!({ "name": name, "type": kind, "nullable": true, "metadata": metadata })
}

/// A type in the words of the log; text for what it has no word for.
pub(in crate::sink::lake) fn delta_type(kind: &DataType) -> Value {
    match kind {
        DataType::Boolean => "boolean".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "long".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})").into(),
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, None) => "timestamp_ntz".into(),
        DataType::Date32 => "date".into(),
        DataType::List(element) => {
            json!({ "type": "array", "elementType": delta_type(element.data_type()), "containsNull": true })
        }
        DataType::Struct(members) => {
            let members = members.iter().map(|member| delta_field(member.name(), &delta_type(member.data_type()), ""));
            json!({ "type": "struct", "fields": members.collect::<Vec<_>>() })
        }
        _ => "string".into(),
    }
}
