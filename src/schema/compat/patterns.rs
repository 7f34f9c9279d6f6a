//! Patterns as the sets of strings they match: which holds which, and a string that tells two of them apart.
//!
//! The canonical form compares patterns as texts. Here they are compared as automata, and what is found is written into the
//! schemas: where everything that matches `^[a-z]+$` matches `^[a-z0-9]+$` too, the first is given the second beside it. That
//! changes nothing of what it accepts, and lets the texts be compared after all.

mod language;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::{Map, Value, json};

pub(super) use language::{Found, Language, Wanted, find};

use super::DATA;

/// The patterns of a comparison.
#[derive(Default)]
pub(super) struct Patterns {
    languages: BTreeMap<String, Option<Rc<Language>>>,
}

/// What else every string that matches a pattern fulfils.
#[derive(Default)]
struct Implied {
    patterns: Vec<String>,
    min_length: Option<u64>,
    max_length: Option<u64>,
}

impl Patterns {
    /// The automaton of a pattern; `None` where it cannot be made, or would be too large.
    pub(super) fn language(&mut self, pattern: &str) -> Option<Rc<Language>> {
        let make = || Language::new(pattern).map(Rc::new);
        self.languages.entry(pattern.to_owned()).or_insert_with(make).clone()
    }

    /// Writes into both schemas what their patterns imply of each other and of the lengths that stand in them.
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
        let is_in = |barred: &[&Language], chars_min: usize, chars_max: usize| {
            find(&Wanted { matching: &[&own], not_matching: barred, chars_min, chars_max }) == Found::Nothing
        };
        let others = named.patterns.iter().filter(|other| *other != pattern);
        let patterns =
            others.filter(|other| self.language(other).is_some_and(|other| is_in(&[&other], 0, usize::MAX))).cloned().collect();
        let length = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        // The sharpest bound first.
        let min_length = named.min_lengths.iter().rev().copied().find(|&bound| bound > 0 && is_in(&[], 0, length(bound) - 1));
        let max_length = named.max_lengths.iter().copied().find(|&bound| is_in(&[], length(bound).saturating_add(1), usize::MAX));
        Implied { patterns, min_length, max_length }
    }
}

/// What two schemas say of strings.
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
