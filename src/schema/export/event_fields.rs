//! The fields of one event's schema, for the exports.

use serde_json::{Map, Value};

use super::inline::inlined;
use crate::{event::is_of_envelope, schema::Schema};

/// The fields of one event's schema, without the common fields.
pub(super) struct EventFields {
    pub(super) description: String,
    /// Each with all its keywords combined, in the schema's order.
    pub(super) properties: Map<String, Value>,
    pub(super) required: Vec<String>,
}

impl EventFields {
    pub(super) fn of(schema: &Schema) -> Self {
        let document = inlined(schema.read());
        let description = document["description"].as_str().unwrap_or_default().to_owned();
        let mut fields = Self { description, properties: Map::new(), required: Vec::new() };
        fields.add(&document);
        fields
    }

    /// Adds the members in `part`, and in its subschemas.
    fn add(&mut self, part: &Value) {
        for (name, property) in part["properties"].as_object().into_iter().flatten().filter(|(name, _)| !is_of_envelope(name)) {
            self.properties.entry(name.as_str()).or_insert_with(|| property.clone());
        }
        let required = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.required.extend(required.filter(|name| !is_of_envelope(name)).map(str::to_owned));
        part["allOf"].as_array().into_iter().flatten().for_each(|part| self.add(part));
    }
}
