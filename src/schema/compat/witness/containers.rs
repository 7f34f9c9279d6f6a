//! Arrays and objects: one plain value, and variants that differ from it in one thing each.

use std::collections::BTreeSet;

use jsonschema::canonical::{ArrayView, CanonicalSchema, Distinctness, ObjectView, ObjectViolationView};
use serde_json::{Map, Number, Value, json};

use super::{
    super::patterns::{Found, Wanted, find},
    ValueGenerator, odd,
};
use crate::limits::COMPAT_ITEMS_MAX;

/// Number of alternatives tried per member or element.
const EACH: usize = 12;

impl ValueGenerator<'_> {
    pub(super) fn arrays(&mut self, view: &ArrayView, depth: usize) -> Vec<Value> {
        let least = bound(view.min_items.as_ref(), 0);
        let most = bound(view.max_items.as_ref(), usize::MAX);
        if least > COMPAT_ITEMS_MAX {
            return Vec::new();
        }
        let at = |maker: &mut Self, index: usize| match (view.prefix_items.get(index), &view.items) {
            (Some(schema), _) | (None, Some(schema)) => maker.values_below(schema, depth).to_vec(),
            (None, None) => anything(index),
        };
        let held: Vec<(usize, Vec<Value>)> = view
            .contains
            .iter()
            .map(|facet| (bound(facet.min_contains.as_ref(), 1), self.values_below(&facet.schema, depth).to_vec()))
            .collect();
        let longest = if most > COMPAT_ITEMS_MAX { least + 3 } else { most };
        let lengths =
            BTreeSet::from([least, least + 1, least + 2, view.prefix_items.len(), view.prefix_items.len() + 1, longest]);
        let mut arrays = Vec::new();
        for length in lengths.into_iter().filter(|&length| (least..=most).contains(&length)) {
            let choices: Vec<Vec<Value>> = (0..length).map(|index| at(self, index)).collect();
            let plain = |index: usize| -> Option<Value> {
                let choices = &choices[index];
                let pick = if view.distinctness == Distinctness::AllDistinct { index } else { 0 };
                choices.get(pick % choices.len().max(1)).cloned()
            };
            let Some(mut array) = (0..length).map(plain).collect::<Option<Vec<Value>>>() else { continue };
            let needed = held.iter().flat_map(|(count, values)| values.iter().cycle().take(*count));
            for (place, value) in array.iter_mut().zip(needed) {
                *place = value.clone();
            }
            arrays.push(Value::from(array.clone()));
            for (index, choices) in choices.iter().enumerate().take(4) {
                for value in choices.iter().take(EACH) {
                    let mut other = array.clone();
                    other[index] = value.clone();
                    arrays.push(other.clone().into());
                    // The same value twice, and together with another value.
                    if index + 1 < length {
                        other[index + 1] = value.clone();
                        arrays.push(other.into());
                    }
                }
            }
        }
        arrays
    }

    pub(super) fn objects(&mut self, view: &ObjectView, depth: usize) -> Vec<Value> {
        let (least, most) = (bound(view.min_properties.as_ref(), 0), bound(view.max_properties.as_ref(), usize::MAX));
        let mut members: Vec<(String, Vec<Value>)> = Vec::new();
        for name in view.properties.keys().chain(view.required.iter().filter(|name| !view.properties.contains_key(*name))) {
            let values = self.member(view, name, depth);
            if values.is_empty() && view.required.contains(name) {
                return Vec::new();
            }
            members.push((name.clone(), values));
        }
        let mut base: Map<String, Value> = Map::new();
        for (name, values) in members.iter().filter(|(name, _)| view.required.contains(name)) {
            base.insert(name.clone(), values[0].clone());
        }
        let strange = self.strange_members(view, depth);
        let optional = members.iter().filter_map(|(name, values)| Some((name, values.first()?)));
        for (name, value) in optional.chain(strange.iter().map(|(name, value)| (name, value))) {
            if base.len() < least {
                base.insert(name.clone(), value.clone());
            }
        }
        let mut objects: Vec<Map<String, Value>> = vec![base.clone()];
        let with = |object: &Map<String, Value>, name: &String, value: &Value| {
            let mut object = object.clone();
            object.insert(name.clone(), value.clone());
            object
        };
        for (name, values) in &members {
            objects.extend(values.iter().take(EACH).map(|value| with(&base, name, value)));
        }
        objects.extend(strange.iter().map(|(name, value)| with(&base, name, value)));
        let mut full = base.clone();
        for (name, values) in &members {
            if full.len() < most
                && let Some(value) = values.first()
            {
                full.entry(name).or_insert_with(|| value.clone());
            }
        }
        objects.push(full.clone());
        for _ in 0..self.random_values {
            let mut object = base.clone();
            for (name, values) in &members {
                if !values.is_empty() && object.len() < most && (view.required.contains(name) || self.random.bool()) {
                    object.insert(name.clone(), values[self.random.usize(..values.len())].clone());
                }
            }
            objects.push(object);
        }
        for violation in &view.violations {
            let broken = self.breaking(violation, view, depth);
            objects = objects.iter().flat_map(|object| broken.iter().map(|(name, value)| with(object, name, value))).collect();
        }
        objects.into_iter().map(Value::Object).collect()
    }

    fn member(&mut self, view: &ObjectView, name: &str, depth: usize) -> Vec<Value> {
        let patterned = view.pattern_properties.iter().find(|(pattern, _)| self.matches(pattern, name)).map(|(_, schema)| schema);
        match view.properties.get(name).or(patterned).or(view.additional_properties.as_ref()) {
            Some(schema) => self.values_below(schema, depth).to_vec(),
            None => odd(),
        }
    }

    /// Members that the schema does not name.
    fn strange_members(&mut self, view: &ObjectView, depth: usize) -> Vec<(String, Value)> {
        let mut names = vec!["surprise".to_owned(), "x".into(), "a0".into(), "X".into()];
        if let Some(schema) = &view.property_names {
            names.extend(self.texts(schema, depth));
        }
        names.extend(view.pattern_properties.keys().filter_map(|pattern| self.name_matching(pattern)));
        names.retain(|name| !view.properties.contains_key(name));
        let mut members = Vec::new();
        for name in names {
            members.extend(self.member(view, &name, depth).into_iter().take(EACH).map(|value| (name.clone(), value)));
        }
        members
    }

    fn breaking(&mut self, violation: &ObjectViolationView, view: &ObjectView, depth: usize) -> Vec<(String, Value)> {
        match violation {
            ObjectViolationView::NameFails(schema) => {
                let mut names = schema.negate().map_or_else(|_| Vec::new(), |other| self.texts(&other, depth));
                names.extend(["surprise", "X", "x-y", "", "0"].map(String::from));
                names
                    .into_iter()
                    .flat_map(|name| self.member(view, &name, depth).into_iter().take(2).map(move |value| (name.clone(), value)))
                    .collect()
            }
            ObjectViolationView::UndeclaredValueFails { names: declared, patterns, additional } => {
                let mut names = vec!["surprise".to_owned(), "x".into(), "X".into()];
                names.extend(view.properties.keys().cloned());
                names.extend(view.pattern_properties.keys().filter_map(|pattern| self.name_matching(pattern)));
                names.retain(|name| !declared.contains(name) && !patterns.iter().any(|pattern| self.matches(pattern, name)));
                self.failing(&names, additional, view, depth)
            }
            ObjectViolationView::PatternValueFails { pattern, schema } => {
                let mut names: Vec<String> = view.properties.keys().cloned().collect();
                names.retain(|name| self.matches(pattern, name));
                names.extend(self.name_matching(pattern));
                self.failing(&names, schema, view, depth)
            }
        }
    }

    /// Members with these names that the object may have, with values that `schema` refuses.
    fn failing(&mut self, names: &[String], schema: &CanonicalSchema, view: &ObjectView, depth: usize) -> Vec<(String, Value)> {
        let mut members = Vec::new();
        for name in names {
            let allowed = self.member(view, name, depth);
            let refused = self.values_against(schema, depth);
            let both = allowed.iter().filter(|value| refused.contains(value)).chain(&refused);
            members.extend(both.take(EACH).map(|value| (name.clone(), value.clone())));
            if let Some(validator) = super::validator(schema) {
                let more = allowed.iter().filter(|value| !validator.is_valid(value));
                members.extend(more.take(EACH).map(|value| (name.clone(), value.clone())));
            }
        }
        members
    }

    fn texts(&mut self, schema: &CanonicalSchema, depth: usize) -> Vec<String> {
        let values = self.values_below(schema, depth);
        values.iter().filter_map(Value::as_str).take(EACH).map(str::to_owned).collect()
    }

    fn matches(&mut self, pattern: &str, name: &str) -> bool {
        self.patterns.language(pattern).is_some_and(|language| language.contains(name))
    }

    fn name_matching(&mut self, pattern: &str) -> Option<String> {
        let language = self.patterns.language(pattern)?;
        let wanted = Wanted { matching: &[&language], not_matching: &[], chars_min: 0, chars_max: usize::MAX };
        match find(&wanted) {
            Found::String(name) => Some(name),
            Found::Nothing | Found::TooMuch => None,
        }
    }
}

fn bound(number: Option<&Number>, otherwise: usize) -> usize {
    number.map_or(otherwise, |number| number.as_u64().map_or(usize::MAX, |number| number as usize))
}

/// For elements of any kind: all values are different.
fn anything(index: usize) -> Vec<Value> {
    let mut values = vec![json!(index)];
    values.extend(odd());
    values
}
