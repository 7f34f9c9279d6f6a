//! The compiled registry, and validation.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

use hashbrown::HashTable;
use jsonschema::Validator;
use serde_json::Value;

use super::{
    compiled::CompiledSchema,
    explain::Explainer,
    suggestions::{Suggestions, most_like},
    words::Words,
};
use crate::{
    digest::etag,
    json::{Node, TapeJson},
    limits::{ERRORS_PER_EVENT_MAX, EVENT_NAME_BYTES_MAX, SUGGESTION_NEIGHBOURS},
    outcome::{Fault, RejectCode, Rejection},
};

/// One version of one event's schema, compiled.
#[derive(Debug)]
pub struct Schema {
    /// As `menu:item:viewed`.
    pub event_name: Arc<str>,
    /// From 1.
    pub version: u32,
    /// The standalone schema as served: all referenced parts are in its `$defs`.
    pub document: Arc<str>,
    /// The title, for lists.
    pub title: Arc<str>,
    pub(super) validator: Validator<TapeJson>,
    /// Accepts the same events, but faster: see `compiled.rs`.
    pub(super) compiled: Option<CompiledSchema>,
    /// The parsed document, created when the first fault must be explained.
    pub(super) read: OnceLock<Value>,
    /// The document's `ETag`, computed when it is first served.
    pub(super) etag: OnceLock<String>,
    /// The names of its fields, collected when an event is rejected: see `known_place.rs`.
    pub(super) fields: OnceLock<HashSet<Box<str>>>,
    /// See [`Schema::name_number`].
    pub(super) name_number: AtomicU16,
}

impl Schema {
    /// Validates an event. A valid event causes no allocation.
    ///
    /// # Errors
    /// A [`Rejection`] with every fault, up to [`ERRORS_PER_EVENT_MAX`].
    pub fn validate(&self, event: Node<'_>) -> Result<(), Rejection> {
        self.validate_in_body(event, &mut Suggestions::default())
    }

    /// If an event is certainly valid: whether its schema names all its members, so that none of them is there twice. `None`
    /// decides nothing.
    #[must_use]
    pub fn accepted(&self, event: Node<'_>) -> Option<bool> {
        self.compiled.as_ref().and_then(|compiled| compiled.accepted(event))
    }

    /// Validates an event of a body; all events of the body share `suggestions`.
    ///
    /// # Errors
    /// Like [`Schema::validate`]; after [`FAULTS_EXPLAINED_PER_BODY`](crate::limits::FAULTS_EXPLAINED_PER_BODY) faults only the
    /// first fault, with a short text.
    pub fn validate_in_body(&self, event: Node<'_>, suggestions: &mut Suggestions) -> Result<(), Rejection> {
        if self.compiled.as_ref().is_some_and(|compiled| compiled.accepts(event)) {
            return Ok(());
        }
        if !suggestions.are_faults_left() {
            // One pass up to the first fault instead of three passes, and no suggestions.
            let Err(error) = self.validator.validate(event) else { return Ok(()) };
            let mut nothing_more = Suggestions::none();
            let mut explainer = Explainer { event, document: self.read(), suggestions: &mut nothing_more };
            return Err(self.rejection(vec![explainer.fault(&error)]));
        }
        if self.validator.is_valid(event) {
            return Ok(());
        }
        let errors = self.validator.iter_errors(event).take(ERRORS_PER_EVENT_MAX);
        let mut explainer = Explainer { event, document: self.read(), suggestions };
        let faults = errors.map(|error| explainer.fault(&error)).collect();
        Err(self.rejection(faults))
    }

    fn rejection(&self, faults: Vec<Fault>) -> Rejection {
        Rejection::of(RejectCode::SchemaViolation, faults, Some(self.label()))
    }

    /// Whether the written schema accepts an event. Does not use the compiled form; tests use this as the reference.
    #[must_use]
    pub fn is_valid_as_written(&self, event: Node<'_>) -> bool {
        self.validator.is_valid(event)
    }

    /// The served document, parsed.
    #[must_use]
    pub fn read(&self) -> &Value {
        // The document was written from a value, so it can be parsed.
        self.read.get_or_init(|| serde_json::from_str(&self.document).unwrap_or_default())
    }

    /// The `ETag` of the document.
    #[must_use]
    pub fn etag(&self) -> &str {
        self.etag.get_or_init(|| etag(&*self.document))
    }

    /// The number that the ledger of this process has for the event name: asked once, and kept here, because each event needs it
    /// and a look-up by name costs 1 % of its way. 0, for a name without a number, is asked again.
    pub fn name_number(&self, ask: impl FnOnce(&str) -> u16) -> u16 {
        match self.name_number.load(Ordering::Relaxed) {
            0 => {
                let number = ask(&self.event_name);
                self.name_number.store(number, Ordering::Relaxed);
                number
            }
            number => number,
        }
    }

    /// As `menu:item:viewed/2`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.event_name, self.version)
    }
}

/// Which schema validates an event.
#[derive(Debug)]
pub enum Resolution<'a> {
    /// This schema.
    Known(&'a Schema),
    /// No schema has this name.
    UnknownName,
    /// No schema has this version of the name; the newest existing version.
    UnknownVersion(&'a Schema),
}

/// All schemas, by name and version.
#[derive(Debug, Default)]
pub struct Registry {
    /// Each name with its versions, both ascending; never without a version.
    names: Vec<(Arc<str>, Vec<Schema>)>,
    /// Indexes of the names by hash, for the look-up of every event.
    places: HashTable<(Words, usize)>,
    /// The names sorted by their endings, created when the first unknown name is looked up.
    endings: OnceLock<BTreeMap<String, Arc<str>>>,
    /// The list of all schemas, written at the first request.
    list: OnceLock<List>,
}

/// The list of all schemas, as served.
#[derive(Debug)]
pub struct List {
    /// The text.
    pub text: Arc<str>,
    /// Its `ETag`.
    pub etag: String,
}

impl Registry {
    /// A registry of names; each has at least one version, ascending.
    pub(super) fn new(names: BTreeMap<Arc<str>, Vec<Schema>>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let mut places = HashTable::with_capacity(names.len());
        for (index, (name, _)) in names.iter().enumerate() {
            let words = Words::of(name);
            places.insert_unique(words.hash(), (words, index), |(words, _)| words.hash());
        }
        Self { names, places, endings: OnceLock::new(), list: OnceLock::new() }
    }

    /// A name with its versions.
    pub(super) fn versions(&self, event_name: &str) -> Option<(&Arc<str>, &[Schema])> {
        let words = Words::of(event_name);
        let is_it = |(found, index): &(Words, usize)| *found == words && *self.names[*index].0 == *event_name;
        let (_, index) = self.places.find(words.hash(), is_it)?;
        let (name, versions) = &self.names[*index];
        Some((name, versions))
    }

    /// The schema for an event of this name, with or without a version.
    #[must_use]
    pub fn resolve(&self, event_name: &str, version: Option<u32>) -> Resolution<'_> {
        let Some((_, versions)) = self.versions(event_name) else { return Resolution::UnknownName };
        let Some(newest) = versions.last() else { return Resolution::UnknownName };
        match version {
            None => Resolution::Known(newest),
            Some(version) => match versions.binary_search_by_key(&version, |schema| schema.version) {
                Ok(index) => Resolution::Known(&versions[index]),
                Err(_) => Resolution::UnknownVersion(newest),
            },
        }
    }

    /// The known name most similar to `event_name`, if any is similar enough. It compares only neighbours in the order of names
    /// and in the order of endings, so that ten thousand names take as long as a hundred. A typo leaves the beginning or the
    /// ending intact.
    #[must_use]
    pub fn nearest(&self, event_name: &str) -> Option<&str> {
        if event_name.len() > EVENT_NAME_BYTES_MAX {
            return None;
        }
        if self.names.len() <= 4 * SUGGESTION_NEIGHBOURS {
            return most_like(event_name, self.names.iter().map(|(name, _)| &**name));
        }
        fn before_it(name: &str) -> (Bound<&str>, Bound<&str>) {
            (Bound::Unbounded, Bound::Excluded(name))
        }
        fn from_it(name: &str) -> (Bound<&str>, Bound<&str>) {
            (Bound::Included(name), Bound::Unbounded)
        }
        let reversed = |name: &str| name.chars().rev().collect::<String>();
        let endings = self.endings.get_or_init(|| self.names.iter().map(|(name, _)| (reversed(name), name.clone())).collect());
        let ending = reversed(event_name);
        let (before, after) = self.names.split_at(self.names.partition_point(|(name, _)| **name < *event_name));
        let (before, after) = (before.iter().rev().take(SUGGESTION_NEIGHBOURS), after.iter().take(SUGGESTION_NEIGHBOURS));
        let by_name = before.chain(after).map(|(name, _)| &**name);
        let before = endings.range::<str, _>(before_it(&ending)).rev().take(SUGGESTION_NEIGHBOURS);
        let after = endings.range::<str, _>(from_it(&ending)).take(SUGGESTION_NEIGHBOURS);
        let by_ending = before.chain(after).map(|(_, name)| &**name);
        most_like(event_name, by_name.chain(by_ending))
    }

    /// The list of all schemas; `write` creates it the first time.
    pub fn list(&self, write: impl FnOnce(&Self) -> String) -> &List {
        self.list.get_or_init(|| {
            let text = write(self);
            List { etag: etag(&text), text: text.into() }
        })
    }

    /// All names with their versions, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Schema])> {
        self.names.iter().map(|(name, versions)| (&**name, versions.as_slice()))
    }

    /// Number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
