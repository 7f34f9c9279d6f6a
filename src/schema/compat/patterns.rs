//! Patterns as sets of strings: which set contains which, and a string that distinguishes two patterns.
//!
//! The canonical form compares patterns as texts. This module compares them as automata, and writes the results into the
//! schemas: if every match of `^[a-z]+$` also matches `^[a-z0-9]+$`, the second pattern is added to the first. This does not
//! change what the schema accepts, and the canonical form can then compare the texts.

mod language;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::{Map, Value, json};

pub(super) use language::{Found, Language, Wanted, find};

use super::super::flatten::DATA;

/// The patterns of all comparisons, with cached results.
#[derive(Default)]
pub(super) struct Patterns {
    languages: BTreeMap<String, Option<Rc<Language>>>,
    /// Whether all strings of the first match the second.
    held: BTreeMap<(String, String), bool>,
    /// Characters of the shortest string that matches.
    shortest: BTreeMap<String, Option<usize>>,
    /// Whether no matching string has more characters.
    bounded: BTreeMap<(String, u64), bool>,
}

/// Conditions that every string that matches a pattern also meets.
#[derive(Default)]
struct Implied {
    patterns: Vec<String>,
    min_length: Option<u64>,
    max_length: Option<u64>,
}

impl Patterns {
    /// The automaton of a pattern; `None` if it cannot be built, or would be too large.
    pub(super) fn language(&mut self, pattern: &str) -> Option<Rc<Language>> {
        let make = || Language::new(pattern).map(Rc::new);
        self.languages.entry(pattern.to_owned()).or_insert_with(make).clone()
    }

    /// Adds to both schemas what their patterns imply about each other and about the lengths in the schemas.
    pub(super) fn spell_out(&mut self, schemas: [&mut Value; 2]) {
        let mut named = Named::default();
        schemas.iter().for_each(|schema| named.collect(schema));
        if named.patterns.len() + named.min_lengths.len() + named.max_lengths.len() < 2 {
            return;
        }
        let implied: BTreeMap<&String, Implied> =
            named.patterns.iter().map(|pattern| (pattern, self.implied(pattern, &named))).collect();
        for schema in schemas {
            write(schema, &implied);
        }
    }

    fn implied(&mut self, pattern: &str, named: &Named) -> Implied {
        let Some(own) = self.language(pattern) else { return Implied::default() };
        let others = named.patterns.iter().filter(|other| *other != pattern);
        let patterns = others.filter(|other| self.is_held(pattern, &own, other)).cloned().collect();
        let shortest = *self.shortest.entry(pattern.to_owned()).or_insert_with(|| match look_for(&own, &[], 0) {
            Found::String(string) => Some(string.chars().count()),
            Found::Nothing | Found::TooMuch => None,
        });
        let is_fulfilled = |bound: &u64| shortest.is_some_and(|shortest| *bound <= shortest as u64);
        let min_length = named.min_lengths.iter().rev().copied().find(is_fulfilled);
        // If the widest bound is exceeded, the others are too.
        let widest = named.max_lengths.last().is_some_and(|&bound| self.is_bounded(pattern, &own, bound));
        let mut bounds = named.max_lengths.iter().copied().filter(|_| widest);
        let max_length = bounds.find(|&bound| self.is_bounded(pattern, &own, bound));
        Implied { patterns, min_length, max_length }
    }

    fn is_held(&mut self, pattern: &str, own: &Language, other: &str) -> bool {
        let key = (pattern.to_owned(), other.to_owned());
        if let Some(&known) = self.held.get(&key) {
            return known;
        }
        let is_held = self.language(other).is_some_and(|other| look_for(own, &[&other], 0) == Found::Nothing);
        self.held.insert(key, is_held);
        is_held
    }

    fn is_bounded(&mut self, pattern: &str, own: &Language, bound: u64) -> bool {
        let more = usize::try_from(bound).unwrap_or(usize::MAX).saturating_add(1);
        let look = || !own.is_endless && look_for(own, &[], more) == Found::Nothing;
        *self.bounded.entry((pattern.to_owned(), bound)).or_insert_with(look)
    }
}

fn look_for(own: &Language, barred: &[&Language], chars_min: usize) -> Found {
    find(&Wanted { matching: &[own], not_matching: barred, chars_min, chars_max: usize::MAX })
}

/// The string keywords of two schemas.
#[derive(Default)]
struct Named {
    patterns: BTreeSet<String>,
    min_lengths: BTreeSet<u64>,
    max_lengths: BTreeSet<u64>,
}

impl Named {
    fn collect(&mut self, schema: &Value) {
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("pattern", Value::String(pattern)) => drop(self.patterns.insert(pattern.clone())),
                        ("minLength", Value::Number(bound)) => self.min_lengths.extend(bound.as_u64()),
                        ("maxLength", Value::Number(bound)) => self.max_lengths.extend(bound.as_u64()),
                        (name, _) if DATA.contains(&name) => {}
                        (_, value) => self.collect(value),
                    }
                }
            }
            _ => {}
        }
    }
}

fn write(schema: &mut Value, implied: &BTreeMap<&String, Implied>) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| write(item, implied)),
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if !DATA.contains(&name.as_str()) {
                    write(value, implied);
                }
            }
            let Some(Value::String(pattern)) = members.get("pattern") else { return };
            let Some(implied) = implied.get(pattern) else { return };
            add(members, implied);
        }
        _ => {}
    }
}

fn add(members: &mut Map<String, Value>, implied: &Implied) {
    let mut parts: Vec<Value> = implied.patterns.iter().map(|pattern| json!({ "pattern": pattern })).collect();
    parts.extend(implied.min_length.map(|bound| json!({ "minLength": bound })));
    parts.extend(implied.max_length.map(|bound| json!({ "maxLength": bound })));
    if parts.is_empty() {
        return;
    }
    if let Value::Array(all) = members.entry("allOf").or_insert_with(|| json!([])) {
        all.extend(parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_implies_is_written_beside_it() {
        let mut narrow = json!({ "pattern": "^[a-z]{3}$", "examples": [{ "pattern": "^x" }] });
        let mut wide = json!({ "properties": { "a": { "pattern": "^[a-z0-9]+$", "maxLength": 3 } }, "minLength": 1 });
        let wide_before = wide.clone();
        Patterns::default().spell_out([&mut narrow, &mut wide]);
        let more = json!([{ "pattern": "^[a-z0-9]+$" }, { "minLength": 1 }, { "maxLength": 3 }]);
        assert_eq!(narrow, json!({ "pattern": "^[a-z]{3}$", "examples": [{ "pattern": "^x" }], "allOf": more }));
        assert_eq!(wide["properties"]["a"]["allOf"], json!([{ "minLength": 1 }]));
        assert_eq!(wide["minLength"], wide_before["minLength"]);
    }
}
