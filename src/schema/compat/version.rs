//! One version, prepared for comparisons.

use jsonschema::{Validator, canonical::CanonicalSchema};
use serde_json::{Value, json};

use super::super::{flatten::flatten, load::build_alone};
use crate::{
    decode::with_numeric_created_at,
    json::{Parser, Tape, TapeJson},
    limits::{CREATED_AT_END, SCHEMA_VERSION_MAX},
};

/// One version of an event's schema.
#[derive(Debug)]
pub struct Version {
    /// As `menu:item:viewed/2`.
    pub label: String,
    /// As written, but without the requirement for `schema_version`, and with references replaced where possible.
    pub(super) flat: Value,
    /// Complete events among its examples.
    pub(super) examples: Vec<Value>,
    /// Why a proof is impossible.
    pub(super) obstacle: Option<String>,
    event_name: String,
    validator: Validator<TapeJson>,
    domain: Validator<TapeJson>,
}

/// Why and where an event is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) pointer: String,
    pub(super) reason: String,
}

/// Members of every event, regardless of its type.
pub(super) const IDENTITY: [&str; 3] = ["event_uuid", "event_name", "created_at"];

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

impl Version {
    /// A version with a standalone `document`, as the gateway serves it.
    ///
    /// # Errors
    /// If the document is not a schema.
    pub fn new(event_name: &str, version: u32, document: &Value) -> Result<Self, String> {
        let mut document = document.clone();
        if let Some(demanded) = document.pointer_mut("/properties/schema_version") {
            *demanded = true.into();
        }
        let dialect = document["$schema"].as_str().unwrap_or(DIALECT).trim_end_matches('#');
        let is_known = dialect == DIALECT;
        let obstacle = (!is_known).then(|| format!("it is written in another dialect, {dialect}"));
        let mut flat = is_known.then(|| flatten(&document)).flatten();
        if let Some(Value::Object(flat)) = &mut flat
            && let Some(definitions) = flat.remove("$defs")
            && Value::Object(flat.clone()).to_string().contains("\"$ref\"")
        {
            // Other parts still refer to them.
            flat.insert("$defs".into(), definitions);
        }
        let validator = build_alone(&document)?;
        let domain = build_alone(&domain(event_name, true))?;
        let examples = document["examples"].as_array().cloned().unwrap_or_default();
        Ok(Self {
            label: format!("{event_name}/{version}"),
            flat: flat.unwrap_or(document),
            examples,
            obstacle,
            event_name: event_name.to_owned(),
            validator,
            domain,
        })
    }

    /// Whether `event` is an event of this name that the version accepts.
    #[must_use]
    pub fn accepts(&self, event: &str) -> bool {
        with_tape(event, |node| self.domain.is_valid(node) && self.validator.is_valid(node)).unwrap_or(false)
    }

    pub(super) fn refusal(&self, event: &str) -> Option<Refusal> {
        with_tape(event, |node| {
            let error = self.validator.iter_errors(node).next()?;
            Some(Refusal { pointer: error.instance_path().to_string(), reason: error.to_string() })
        })?
    }

    /// The canonical form of `flat`, which accepts the same events as this version, restricted to events of its name.
    pub(super) fn canonical(&self, flat: &Value) -> Result<CanonicalSchema, String> {
        if let Some(obstacle) = &self.obstacle {
            return Err(obstacle.clone());
        }
        let canonicalize = |schema: &Value| {
            let options = jsonschema::canonical::options()
                .should_validate_formats(true)
                .with_pattern_options(jsonschema::PatternOptions::regex())
                .offline();
            options.canonicalize(schema).map_err(|error| format!("{} has no canonical form: {error}", self.label))
        };
        let own = canonicalize(flat)?;
        if let jsonschema::canonical::CanonicalView::Raw(raw) = own.view() {
            let place = raw
                .pointer
                .map_or_else(String::new, |pointer| format!(" at {}", if pointer.is_empty() { "its top" } else { &pointer }));
            return Err(format!("{} has no canonical form: {}{place}", self.label, raw.reason.as_str().replace('_', " ")));
        }
        let domain = canonicalize(&domain(&self.event_name, false))?;
        own.intersect(&domain).map_err(|error| format!("{} has no canonical form: {error}", self.label))
    }
}

/// The events of this name that reach the schemas in the gateway. `is_exact` for validation; for a proof, conditions that only
/// make the forms larger are omitted, and the proof then holds for more events than exist.
fn domain(event_name: &str, is_exact: bool) -> Value {
    let mut event_uuid = json!({ "type": "string", "format": "uuid" });
    let mut properties = json!({
        "event_name": { "const": event_name },
        "created_at": { "type": "number", "minimum": 0, "exclusiveMaximum": CREATED_AT_END },
    });
    if is_exact {
        event_uuid["not"] = json!({ "pattern": "^([0-]*|[fF-]*)$" });
        properties["schema_version"] = json!({ "type": "integer", "minimum": 1, "maximum": SCHEMA_VERSION_MAX });
    }
    properties["event_uuid"] = event_uuid;
    json!({ "type": "object", "required": IDENTITY, "properties": properties })
}

fn with_tape<T>(text: &str, judge: impl FnOnce(crate::json::Node<'_>) -> T) -> Option<T> {
    let mut tape = Tape::new();
    Parser::new(text, usize::MAX).value(&mut tape).ok()?;
    Some(with_numeric_created_at(tape.root(text), judge))
}
