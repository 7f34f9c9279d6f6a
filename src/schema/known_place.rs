//! The place of a fault in names that the registry knows, for the log: a log names nothing that a client invented.

use std::collections::HashSet;

use serde_json::Value;

use super::registry::{Registry, Schema};
use crate::{event::REQUIRED_FIELDS, json::pointer_name, outcome::KnownPlace};

/// Stands for any element of an array. Elements look alike, and a client could make a kind of fault of each index.
const ELEMENT: &str = "*";

/// Stands for a name that no schema of the event has.
const UNKNOWN: &str = "?";

/// Fields that each event may have, whatever its schema names.
const OF_EVERY_EVENT: [&str; 1] = ["schema_version"];

impl Registry {
    /// The place of a fault at `pointer` of an event of this name.
    #[must_use]
    pub fn known_place(&self, event_name: Option<&str>, pointer: &str) -> KnownPlace {
        let known = event_name.and_then(|name| self.versions(name));
        let is_field = |name: &str| {
            REQUIRED_FIELDS.contains(&name)
                || OF_EVERY_EVENT.contains(&name)
                || known.is_some_and(|(_, versions)| versions.iter().any(|schema| schema.fields().contains(name)))
        };
        let mut shown = String::new();
        for token in pointer.split('/').skip(1) {
            shown.push('/');
            let name = pointer_name(token);
            shown.push_str(match () {
                () if is_field(&name) => token,
                () if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) => ELEMENT,
                () => UNKNOWN,
            });
        }
        KnownPlace { event_name: known.map(|(name, _)| name.clone()), pointer: shown }
    }
}

impl Schema {
    /// The names of all fields that the schema names, at any depth.
    fn fields(&self) -> &HashSet<Box<str>> {
        self.fields.get_or_init(|| {
            let mut fields = HashSet::new();
            collect(self.read(), &mut fields);
            fields
        })
    }
}

fn collect(schema: &Value, fields: &mut HashSet<Box<str>>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                fields.extend(properties.keys().map(|name| name.as_str().into()));
            }
            members.values().for_each(|member| collect(member, fields));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, fields)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_names_of_the_registry_are_in_a_place() {
        let registry = crate::schema::load(Path::new("schemas")).unwrap();
        let place = |name: Option<&str>, pointer: &str| {
            let KnownPlace { event_name, pointer } = registry.known_place(name, pointer);
            (event_name.as_deref().map(str::to_owned), pointer)
        };
        let known = |pointer: &str| (Some("payment:order:completed".to_owned()), pointer.to_owned());
        let name = Some("payment:order:completed");
        assert_eq!(place(name, "/lines/17/item_id"), known("/lines/*/item_id"));
        assert_eq!(place(name, "/lines/0/s3cret\u{1b}~1/4"), known("/lines/*/?/*"));
        assert_eq!(place(name, ""), known(""));
        assert_eq!(place(name, "/"), known("/?"));
        assert_eq!(place(Some("s3cret"), "/s3cret/0"), (None, "/?/*".into()));
        assert_eq!(place(None, "/event_name"), (None, "/event_name".into()));
        assert_eq!(place(None, "/schema_version"), (None, "/schema_version".into()));
    }
}
