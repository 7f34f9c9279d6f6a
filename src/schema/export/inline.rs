//! A schema with its references replaced by their targets, for readers, not for validation: keywords beside a reference
//! override those of its target, so that each field has its own description.

use serde_json::{Map, Value};

use crate::limits::{SCHEMA_DEPTH_MAX, SCHEMA_FLAT_NODES_MAX};

/// Keywords whose value is data, not schema.
const DATA: [&str; 3] = ["const", "default", "enum"];

/// Keywords that describe the document, not the data.
const LEFT_OUT: [&str; 5] = ["$ref", "$schema", "$defs", "examples", "title"];

/// `document` with every reference replaced. A reference to an enclosing schema becomes `{}` (anything).
#[must_use]
pub(in crate::schema) fn inlined(document: &Value) -> Value {
    let mut inliner = Inliner { document, open: Vec::new(), nodes_left: SCHEMA_FLAT_NODES_MAX };
    inliner.schema(document)
}

struct Inliner<'a> {
    document: &'a Value,
    /// The references that are being followed.
    open: Vec<&'a str>,
    nodes_left: usize,
}

impl<'a> Inliner<'a> {
    fn schema(&mut self, schema: &'a Value) -> Value {
        self.nodes_left = self.nodes_left.saturating_sub(1);
        match schema {
            Value::Array(items) => items.iter().map(|item| self.schema(item)).collect(),
            Value::Object(members) => {
                let mut out = match members.get("$ref").and_then(Value::as_str) {
                    Some(reference) => self.target(reference),
                    None => Map::new(),
                };
                for (name, value) in members.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
                    let value = match name.as_str() {
                        name if DATA.contains(&name) => value.clone(),
                        // The members are field names, and a field may be named `title`.
                        "properties" | "patternProperties" | "dependentSchemas" => self.by_name(value),
                        _ => self.schema(value),
                    };
                    out.insert(name.clone(), value);
                }
                Value::Object(out)
            }
            scalar => scalar.clone(),
        }
    }

    fn by_name(&mut self, schemas: &'a Value) -> Value {
        let members = schemas.as_object().into_iter().flatten();
        Value::Object(members.map(|(name, schema)| (name.clone(), self.schema(schema))).collect())
    }

    fn target(&mut self, reference: &'a str) -> Map<String, Value> {
        let target = reference.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
        let Some(target) = target.filter(|_| !self.open.contains(&reference)) else { return Map::new() };
        if self.open.len() == SCHEMA_DEPTH_MAX || self.nodes_left == 0 {
            return Map::new();
        }
        self.open.push(reference);
        let inlined = self.schema(target);
        self.open.pop();
        match inlined {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_beside_a_reference_goes_over_what_it_refers_to() {
        let document = json!({
            "title": "T",
            "properties": {
                "title": { "$ref": "#/$defs/id", "description": "Its own." },
                "child": { "properties": { "again": { "$ref": "#" } } },
                "kind": { "enum": [{ "$ref": "kept" }] },
            },
            "$defs": { "id": { "description": "Theirs.", "type": "string", "title": "Id" } },
        });
        let inlined = inlined(&document);
        assert_eq!(inlined["properties"]["title"], json!({ "description": "Its own.", "type": "string" }));
        assert_eq!(inlined["properties"]["kind"]["enum"], json!([{ "$ref": "kept" }]));
        let again = &inlined["properties"]["child"]["properties"]["again"]["properties"];
        assert_eq!(again["child"]["properties"]["again"], json!({}), "it ends");
    }
}
