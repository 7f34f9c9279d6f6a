//! The registry in other people's terms: types for who writes a client, a catalogue for who asks what there is.

mod catalogue;
mod inline;
mod typescript;

use serde_json::{Map, Value};

use super::registry::Schema;
use crate::event::{REQUIRED_FIELDS, RESERVED_FIELDS};
pub use catalogue::catalogue;
pub(super) use inline::inlined;
pub use typescript::typescript;

/// The fields of one event's schema, without those that every event has.
struct EventFields {
    description: String,
    /// Each with all that is said of it in one place, in the schema's order.
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl EventFields {
    fn of(schema: &Schema) -> Self {
        let document = inlined(schema.read());
        let description = document["description"].as_str().unwrap_or_default().to_owned();
        let mut fields = Self { description, properties: Map::new(), required: Vec::new() };
        fields.add(&document);
        fields
    }

    /// Adds what `part` says of the event's members, and what it is put together from does.
    fn add(&mut self, part: &Value) {
        let is_own =
            |name: &str| name != "schema_version" && !REQUIRED_FIELDS.contains(&name) && !RESERVED_FIELDS.contains(&name);
        for (name, property) in part["properties"].as_object().into_iter().flatten().filter(|(name, _)| is_own(name)) {
            self.properties.entry(name.as_str()).or_insert_with(|| property.clone());
        }
        let required = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.required.extend(required.filter(|name| is_own(name)).map(str::to_owned));
        part["allOf"].as_array().into_iter().flatten().for_each(|part| self.add(part));
    }
}
