//! The input of the typed views: the top-level fields of every schema with their types.

use serde_json::Value;

use crate::{
    schema::Registry,
    sink::lake::{ColumnType, ViewColumn, ViewSchema},
};

/// References that are followed from a property to its type.
const REFERENCES_MAX: usize = 16;

/// The fields of every version of every event.
///
/// # Errors
/// If a schema's document is not JSON, which the registry never holds.
pub(super) fn view_schemas(registry: &Registry) -> serde_json::Result<Vec<ViewSchema>> {
    let mut schemas = Vec::new();
    for (event_name, versions) in registry.iter() {
        for schema in versions {
            let document: Value = serde_json::from_str(&schema.document)?;
            let columns = document["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, property)| column(&document, name, property));
            schemas.push(ViewSchema { event_name: event_name.to_owned(), version: schema.version, columns: columns.collect() });
        }
    }
    Ok(schemas)
}

fn column(document: &Value, name: &str, property: &Value) -> ViewColumn {
    let description = property["description"].as_str().unwrap_or_default().to_owned();
    ViewColumn { name: name.to_owned(), kind: kind(document, property), description }
}

/// The type of a property, which may be defined by references within the document.
fn kind<'a>(document: &'a Value, mut property: &'a Value) -> ColumnType {
    for _ in 0..REFERENCES_MAX {
        let types: Vec<&str> = match &property["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
            _ => Vec::new(),
        };
        match (types.as_slice(), property["$ref"].as_str()) {
            ([one], _) => return ColumnType::of(Some(one), property["format"].as_str()),
            ([], Some(reference)) => match document.pointer(reference.trim_start_matches('#')) {
                Some(target) => property = target,
                None => break,
            },
            _ => break,
        }
    }
    ColumnType::of(None, None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_type_is_found_behind_references() {
        let document =
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": ["integer", "null"]}, "loop": {"$ref": "#/$defs/loop"}}});
        assert_eq!(kind(&document, &json!({"$ref": "#/$defs/a"})), ColumnType::Integer);
        assert_eq!(kind(&document, &json!({"type": "string", "format": "date-time"})), ColumnType::DateTime);
        for unclear in
            [json!({"$ref": "#/$defs/loop"}), json!({"$ref": "#/x"}), json!({"type": ["string", "integer"]}), json!(true)]
        {
            assert_eq!(kind(&document, &unclear), ColumnType::Text);
        }
    }
}
