//! A draft of a schema: a first version with the conventions of schemas/README.md, or the next version of an existing schema.

use serde_json::{Value, json};
use uuid::Uuid;

/// Common pieces of a first schema, for a folder without them.
pub const PIECES: [(&str, &str); 2] = [
    ("common/envelope.json", include_str!("../../schemas/common/envelope.json")),
    ("common/id.json", include_str!("../../schemas/common/id.json")),
];

/// The texts of two files.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// `N.json`
    pub schema: String,
    /// `N.examples.json`
    pub examples: String,
}

/// One version of one event.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// As `menu:item:viewed`.
    pub event_name: &'a str,
    /// From 1.
    pub number: u32,
}

impl Draft {
    /// A first schema, with one field as an example.
    #[must_use]
    pub fn first(event_name: &str, now_seconds: i64) -> Self {
        let parts: Vec<&str> = event_name.split(':').collect();
        let thing = parts[parts.len().saturating_sub(2)].replace('-', "_").to_lowercase();
        let field = format!("{thing}_id");
        let event = |value: Value| {
            let mut event = json!({ "event_uuid": Uuid::now_v7(), "event_name": event_name, "created_at": now_seconds });
            event[&field] = value;
            event
        };
        let versioned = |value: &str| {
            let mut event = event(value.into());
            event["schema_version"] = 1.into();
            event
        };
        let without = || {
            let mut event = event(Value::Null);
            event.as_object_mut().map(|members| members.remove(&field));
            event
        };
        let unknown = || {
            let mut event = event("first".into());
            event["surprise"] = true.into();
            event
        };
        let bad = |why: String, pointer: &str, event: Value| json!({ "why": why, "pointer": pointer, "code": "schema_violation", "event": event });
        let pointer = format!("/{field}");
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": sentence(&parts),
            "description": "Say what happened, and what the event is good for.",
            "type": "object",
            "allOf": [{ "$ref": "/common/envelope.json" }],
            "required": [&field],
            "properties": { &field: { "$ref": "/common/id.json", "description": format!("Which {}.", thing.replace('_', " ")) } },
            "unevaluatedProperties": false,
            "examples": [versioned("first"), event("second".into())],
        });
        let examples = json!({
            "good": [event("a".into()), event("b-2".into())],
            "bad": [
                bad(format!("{field} is missing"), "", without()),
                bad(format!("{field} is a number"), &pointer, event(5.into())),
                bad(format!("{field} has a space in it"), &pointer, event("two words".into())),
                bad("a field that the schema does not know".into(), "", unknown()),
            ],
        });
        Self { schema: pretty(&schema), examples: pretty(&examples) }
    }

    /// The texts of version `from` as version `to`: only the name of the event and the version change.
    ///
    /// # Errors
    /// If a text is not JSON.
    pub fn next(schema: &str, examples: &str, from: Version<'_>, to: Version<'_>) -> serde_json::Result<Self> {
        Ok(Self { schema: renamed(schema, from, to)?, examples: renamed(examples, from, to)? })
    }
}

/// The text with its events renamed, and, if possible, with the author's layout.
fn renamed(text: &str, from: Version<'_>, to: Version<'_>) -> serde_json::Result<String> {
    let mut wanted: Value = serde_json::from_str(text)?;
    rename(&mut wanted, from, to);
    let member = |name: &str, value: Value| format!("\"{name}\": {value}");
    let name = |version: Version<'_>| member("event_name", version.event_name.into());
    let number = |version: Version<'_>| member("schema_version", version.number.into());
    let mut laid_out = text.replace(&name(from), &name(to));
    // A number has no closing quote: `1` is also the beginning of `10`.
    for end in [",", "\n", " ", "}"] {
        laid_out = laid_out.replace(&format!("{}{end}", number(from)), &format!("{}{end}", number(to)));
    }
    let is_it = serde_json::from_str::<Value>(&laid_out).is_ok_and(|read| read == wanted);
    Ok(if is_it { laid_out } else { pretty(&wanted) })
}

/// Renames the events in `value`: objects with both an identity and a name.
fn rename(value: &mut Value, from: Version<'_>, to: Version<'_>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, from, to)),
        Value::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "event_name" if member == from.event_name => *member = to.event_name.into(),
                    "schema_version" if *member == from.number => *member = to.number.into(),
                    _ => rename(member, from, to),
                }
            }
        }
        _ => {}
    }
}

/// `Kitchen order started`
fn sentence(parts: &[&str]) -> String {
    let words = parts.join(" ").replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn pretty(value: &Value) -> String {
    // Writing a value cannot fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Version<'_> = Version { event_name: "a:b", number: 1 };

    #[test]
    fn the_next_version_is_laid_out_as_the_last_one_and_names_itself() {
        let text = "{ \"examples\": [{ \"event_name\": \"a:b\", \"schema_version\": 1, \"n\": { \"$comment\": \"a:b\" } }],\n  \"schema_version\": 10 }\n";
        let to = Version { event_name: "a:b", number: 2 };
        let next = Draft::next(text, "{\"event_name\":\"a:b\"}", FROM, to).unwrap();
        assert_eq!(next.schema, text.replace("\"schema_version\": 1,", "\"schema_version\": 2,"));
        let other = Draft::next(text, "{\"event_name\":\"a:b\"}", FROM, Version { event_name: "a:c", number: 1 }).unwrap();
        assert_eq!(other.schema, text.replace("\"event_name\": \"a:b\"", "\"event_name\": \"a:c\""));
        assert_eq!(other.examples, "{\n  \"event_name\": \"a:c\"\n}\n", "laid out anew where its layout is not known");
        assert!(Draft::next("{", "", FROM, to).is_err());
    }

    #[test]
    fn a_first_one_has_the_name_of_what_it_is_about() {
        let draft = Draft::first("kitchen:big-order:started", 1_795_000_000);
        let schema: Value = serde_json::from_str(&draft.schema).unwrap();
        assert_eq!(schema["title"], "Kitchen big order started");
        assert_eq!(schema["required"][0], "big_order_id");
        let alone: Value = serde_json::from_str(&Draft::first("ping", 0).schema).unwrap();
        assert_eq!(alone["required"][0], "ping_id");
    }
}
