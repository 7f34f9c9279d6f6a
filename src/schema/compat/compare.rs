//! Compares one version with another.

use std::collections::HashMap;

use jsonschema::canonical::{CanonicalSchema, Containment};
use serde_json::Value;

use super::{
    mutate::Hints,
    patterns::Patterns,
    version::{Refusal, Version},
    witness::ValueGenerator,
};
use crate::limits::{COMPAT_DOUBTS_MAX, COMPAT_EVENTS_TRIED_MAX};

/// Whether one version accepts every event of another, as far as known.
#[derive(Debug)]
pub enum Verdict {
    /// It does.
    Proved,
    /// It does not.
    Refuted(Box<Witness>),
    /// Neither could be shown; the reason.
    Undecided(String),
}

/// An event that one version accepts and the other refuses, confirmed by both validators.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The event.
    pub event: Value,
    /// The origin of the event.
    pub origin: Origin,
    /// JSON pointer to the refused value.
    pub pointer: String,
    /// Why the event is refused.
    pub reason: String,
}

/// The origin of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Generated.
    Made,
    /// An example of one of the schemas, without the members that do not matter.
    Example,
    /// Recorded traffic: the file and its line.
    Recorded(String),
}

/// Compares versions; knowledge about patterns is shared between comparisons.
#[derive(Default)]
pub struct Comparer {
    patterns: Patterns,
}

/// The result from the canonical form.
enum Proof {
    /// Every event is accepted.
    Contained,
    /// Some events may be refused; with the difference, if it is known.
    Open { difference: Option<CanonicalSchema>, from: Option<CanonicalSchema>, why: String },
}

impl Comparer {
    /// Whether `to` accepts every event that `from` accepts.
    pub fn compare(&mut self, from: &Version, to: &Version) -> Verdict {
        if from.flat == to.flat {
            return Verdict::Proved;
        }
        let search = Search { from, to };
        let proof = self.prove(from, to);
        // An event outranks a proof, because the gateway validates with the validators.
        if let Some(witness) = search.among_examples() {
            return Verdict::Refuted(Box::new(witness));
        }
        let (difference, whole, why) = match proof {
            Proof::Contained => {
                let doubt = search.among_mutations(&from.examples, COMPAT_DOUBTS_MAX);
                return doubt.map_or(Verdict::Proved, |witness| Verdict::Refuted(Box::new(witness)));
            }
            Proof::Open { difference, from, why } => (difference, from, why),
        };
        let mut maker = ValueGenerator::new(&mut self.patterns, 7, 4);
        let made = difference.as_ref().and_then(|difference| {
            ValueGenerator::branches(difference).iter().find_map(|branch| search.among_made(&maker.values(branch)))
        });
        let made = made.or_else(|| search.among_mutations(&from.examples, COMPAT_EVENTS_TRIED_MAX));
        let made = made.or_else(|| {
            let whole = ValueGenerator::branches(whole.as_ref()?);
            whole.iter().find_map(|branch| {
                let values = maker.values(branch);
                search.among_made(&values).or_else(|| search.among_mutations(&values, COMPAT_EVENTS_TRIED_MAX))
            })
        });
        made.map_or(Verdict::Undecided(why), |witness| Verdict::Refuted(Box::new(witness)))
    }

    /// A witness from an event of recorded traffic, if the event is one.
    #[must_use]
    pub fn recorded(from: &Version, to: &Version, event: &str, place: &str) -> Option<Witness> {
        let value: Value = serde_json::from_str(event).ok()?;
        let refusal = Search { from, to }.refusal(event)?;
        Some(Witness {
            event: value,
            origin: Origin::Recorded(place.to_owned()),
            pointer: refusal.pointer,
            reason: refusal.reason,
        })
    }

    fn prove(&mut self, from: &Version, to: &Version) -> Proof {
        let (mut from_flat, mut to_flat) = (from.flat.clone(), to.flat.clone());
        self.patterns.spell_out([&mut from_flat, &mut to_flat]);
        let (from, to) = match (from.canonical(&from_flat), to.canonical(&to_flat)) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(why), other) => return Proof::Open { difference: None, from: other.ok(), why },
            (Ok(from), Err(why)) => return Proof::Open { difference: None, from: Some(from), why },
        };
        match to.covers(&from) {
            Ok(Containment::Yes) => Proof::Contained,
            Ok(Containment::No | Containment::Unknown) => {
                let difference = from.subtract(&to);
                let why = match &difference {
                    Ok(_) => "the schemas differ, and no event was found that shows it".to_owned(),
                    Err(error) => format!("the canonical form cannot say what the difference is: {error}"),
                };
                Proof::Open { difference: difference.ok(), from: Some(from), why }
            }
            Err(error) => {
                let why = format!("the two have no common canonical form: {error}");
                Proof::Open { difference: None, from: Some(from), why }
            }
        }
    }
}

struct Search<'a> {
    from: &'a Version,
    to: &'a Version,
}

impl Search<'_> {
    fn refusal(&self, event: &str) -> Option<Refusal> {
        if !self.from.accepts(event) || self.to.accepts(event) {
            return None;
        }
        self.to.refusal(event)
    }

    fn witness(&self, event: &Value, origin: Origin) -> Option<Witness> {
        let Refusal { pointer, reason } = self.refusal(&event.to_string())?;
        Some(Witness { event: event.clone(), origin, pointer, reason })
    }

    fn among_examples(&self) -> Option<Witness> {
        let examples = self.from.examples.iter().chain(&self.to.examples);
        let found = examples.into_iter().find_map(|event| self.witness(event, Origin::Example))?;
        Some(self.smallest(found))
    }

    /// Searches generated events; the difference is then put into an example, because people know the example.
    fn among_made(&self, made: &[Value]) -> Option<Witness> {
        let found = made.iter().find_map(|event| self.witness(event, Origin::Made))?;
        let known = self.from.examples.iter().flat_map(|example| overlaid(example, &found.event));
        let known = known.into_iter().find_map(|event| self.witness(&event, Origin::Made));
        Some(self.smallest(known.unwrap_or(found)))
    }

    fn among_mutations(&self, events: &[Value], tried_max: usize) -> Option<Witness> {
        let hints = Hints::of(&[&self.from.flat, &self.to.flat]);
        let mutations = events.iter().flat_map(|event| hints.mutations(event)).take(tried_max);
        let mut seen = HashMap::new();
        let mut fresh = mutations.filter(|event| seen.insert(event.to_string(), ()).is_none());
        let found = fresh.find_map(|event| self.witness(&event, Origin::Made))?;
        Some(self.smallest(found))
    }

    /// The witness without the members that do not matter, removed one by one or in pairs.
    fn smallest(&self, mut witness: Witness) -> Witness {
        let names: Vec<String> = witness.event.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        for name in &names {
            let pairs = names.iter().filter(|other| *other != name).map(|other| [name, other]);
            let smaller = std::iter::once([name, name]).chain(pairs).find_map(|gone| {
                let mut event = witness.event.clone();
                event.as_object_mut()?.retain(|name, _| !gone.contains(&name));
                let is_smaller = event.as_object()?.len() < witness.event.as_object()?.len();
                if is_smaller { self.witness(&event, witness.origin.clone()) } else { None }
            });
            witness = smaller.unwrap_or(witness);
        }
        witness
    }
}

/// The example with one member changed or removed as in `made`, or with all of them.
fn overlaid(example: &Value, made: &Value) -> Vec<Value> {
    let (Some(example), Some(made)) = (example.as_object(), made.as_object()) else { return Vec::new() };
    let mut out = Vec::new();
    let mut all = example.clone();
    for (name, value) in made.iter().filter(|(name, _)| !super::version::IDENTITY.contains(&name.as_str())) {
        let mut one = example.clone();
        one.insert(name.clone(), value.clone());
        out.push(Value::Object(one));
        all.insert(name.clone(), value.clone());
    }
    for name in example.keys().filter(|name| !made.contains_key(*name)) {
        let mut one = example.clone();
        one.shift_remove(name);
        out.push(Value::Object(one));
    }
    out.push(Value::Object(all.clone()));
    all.retain(|name, _| made.contains_key(name));
    out.push(Value::Object(all));
    out
}
