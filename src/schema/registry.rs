//! The compiled registry, and how it judges.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use jsonschema::Validator;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{explain::Explainer, quick::Quick};
use crate::{
    json::{Node, TapeJson},
    limits::{ERRORS_PER_EVENT_MAX, FIELD_SUGGESTIONS_PER_BODY, SUGGESTIONS_PER_BODY},
    outcome::{RejectCode, Rejection},
};

/// One version of one event's schema, compiled.
#[derive(Debug)]
pub struct Schema {
    /// As `menu:item:viewed`.
    pub event_name: Arc<str>,
    /// From 1.
    pub version: u32,
    /// The schema on its own, as it is served: what it refers to is in its `$defs`.
    pub document: Arc<str>,
    /// What it is called, for a list.
    pub title: Arc<str>,
    pub(super) validator: Validator<TapeJson>,
    /// Accepts the same events, and says so faster: see `quick.rs`.
    pub(super) quick: Option<Quick>,
    /// The document, read when the first event has to be told what is wrong with it.
    pub(super) read: OnceLock<Value>,
    /// The document's `ETag`, reckoned when it is first served.
    pub(super) etag: OnceLock<String>,
}

/// How often the names nearest to a wrong one are still looked for: a body of nothing but slips must not be slow.
#[derive(Clone, Copy, Debug)]
pub struct Suggestions {
    names_left: usize,
    fields_left: usize,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self { names_left: SUGGESTIONS_PER_BODY, fields_left: FIELD_SUGGESTIONS_PER_BODY }
    }
}

impl Suggestions {
    /// Whether an event's name may still be looked for.
    pub fn take_name(&mut self) -> bool {
        take(&mut self.names_left)
    }

    /// Whether a field, or a value, may still be looked for.
    pub(super) fn take_field(&mut self) -> bool {
        take(&mut self.fields_left)
    }
}

fn take(left: &mut usize) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

impl Schema {
    /// Judges an event. `Ok` without a single allocation where it is valid.
    ///
    /// # Errors
    /// A [`Rejection`] with every fault, up to [`ERRORS_PER_EVENT_MAX`].
    pub fn judge(&self, event: Node<'_>) -> Result<(), Rejection> {
        self.judge_of_many(event, &mut Suggestions::default())
    }

    /// Judges an event of a body, whose events share the `suggestions`.
    ///
    /// # Errors
    /// As [`Schema::judge`].
    pub fn judge_of_many(&self, event: Node<'_>, suggestions: &mut Suggestions) -> Result<(), Rejection> {
        if self.quick.as_ref().is_some_and(|quick| quick.accepts(event)) || self.validator.is_valid(event) {
            return Ok(());
        }
        let errors = self.validator.iter_errors(event).take(ERRORS_PER_EVENT_MAX);
        let mut explainer = Explainer { event, document: self.read(), suggestions };
        let faults = errors.map(|error| explainer.fault(&error)).collect();
        Err(Rejection::of(RejectCode::SchemaViolation, faults, Some(self.label())))
    }

    /// Whether the schema as it is written accepts an event, without the quick form: the yardstick of that.
    #[must_use]
    pub fn is_valid_as_written(&self, event: Node<'_>) -> bool {
        self.validator.is_valid(event)
    }

    /// The document as it is served, read.
    #[must_use]
    pub fn read(&self) -> &Value {
        // It was written from a value, so it can be read as one.
        self.read.get_or_init(|| serde_json::from_str(&self.document).unwrap_or_default())
    }

    /// The `ETag` of the document.
    #[must_use]
    pub fn etag(&self) -> &str {
        self.etag.get_or_init(|| etag(&self.document))
    }

    /// As `menu:item:viewed/2`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.event_name, self.version)
    }
}

/// The strong `ETag` of a text: as good as the text itself.
#[must_use]
pub fn etag(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..ETAG_BYTES].iter().fold(String::from("\""), |tag, byte| tag + &format!("{byte:02x}")) + "\""
}

/// Bytes of the SHA-256 that an `ETag` says: no two texts that anyone meets share as many.
const ETAG_BYTES: usize = 16;

/// Which schema judges an event.
#[derive(Debug)]
pub enum Resolution<'a> {
    /// This one.
    Known(&'a Schema),
    /// None has this name.
    UnknownName,
    /// None has this version of the name; the newest there is.
    UnknownVersion(&'a Schema),
}

/// All schemas, by name and version.
#[derive(Debug, Default)]
pub struct Registry {
    /// Versions of each name, ascending; never empty.
    pub(super) names: BTreeMap<Arc<str>, Vec<Schema>>,
}

/// Similarity from which a name is worth suggesting; 1.0 is equality.
/// `menu:item:view` for `menu:item:viewed` has 0.98, a different event of the same type below 0.9.
const NEAREST_SIMILARITY_MIN: f64 = 0.85;

/// The one of `known` that is most like `name`, where one is like it at all.
pub(super) fn most_like<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similar = known.map(|known| (strsim::jaro_winkler(known, name), known));
    let nearest = similar.filter(|(similarity, _)| *similarity >= NEAREST_SIMILARITY_MIN);
    nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

impl Registry {
    /// The schema for an event of this name, which may name its version.
    #[must_use]
    pub fn resolve(&self, event_name: &str, version: Option<u32>) -> Resolution<'_> {
        let Some(versions) = self.names.get(event_name) else { return Resolution::UnknownName };
        let Some(newest) = versions.last() else { return Resolution::UnknownName };
        match version {
            None => Resolution::Known(newest),
            Some(version) => match versions.binary_search_by_key(&version, |schema| schema.version) {
                Ok(index) => Resolution::Known(&versions[index]),
                Err(_) => Resolution::UnknownVersion(newest),
            },
        }
    }

    /// The known name most like `event_name`, where one is like it at all. Compares with every name: not for every event.
    #[must_use]
    pub fn nearest(&self, event_name: &str) -> Option<&str> {
        most_like(event_name, self.names.keys().map(|name| &**name))
    }

    /// All names with their versions, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Schema])> {
        self.names.iter().map(|(name, versions)| (&**name, versions.as_slice()))
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
