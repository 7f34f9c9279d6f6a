//! The compiled registry, and how it judges.

use std::{collections::BTreeMap, sync::Arc};

use jsonschema::Validator;

use super::quick::Quick;
use crate::{
    json::{Node, TapeJson},
    limits::ERRORS_PER_EVENT_MAX,
    outcome::{Fault, RejectCode, Rejection},
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
    pub(super) validator: Validator<TapeJson>,
    /// Accepts the same events, and says so faster: see `quick.rs`.
    pub(super) quick: Option<Quick>,
}

impl Schema {
    /// Judges an event. `Ok` without a single allocation where it is valid.
    ///
    /// # Errors
    /// A [`Rejection`] with every fault, up to [`ERRORS_PER_EVENT_MAX`].
    pub fn judge(&self, event: Node<'_>) -> Result<(), Rejection> {
        if self.quick.as_ref().is_some_and(|quick| quick.accepts(event)) || self.validator.is_valid(event) {
            return Ok(());
        }
        let errors = self.validator.iter_errors(event).take(ERRORS_PER_EVENT_MAX);
        let faults = errors.map(|error| Fault::new(error.to_string(), error.instance_path().to_string())).collect();
        Err(Rejection::of(RejectCode::SchemaViolation, faults, Some(self.label())))
    }

    /// Whether the schema as it is written accepts an event, without the quick form: the yardstick of that.
    #[must_use]
    pub fn is_valid_as_written(&self, event: Node<'_>) -> bool {
        self.validator.is_valid(event)
    }

    /// As `menu:item:viewed/2`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.event_name, self.version)
    }
}

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
        let similar = self.names.keys().map(|name| (strsim::jaro_winkler(name, event_name), name));
        let nearest = similar.filter(|(similarity, _)| *similarity >= NEAREST_SIMILARITY_MIN);
        nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| &**name)
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
