//! Generates values for a schema from its canonical form, beginning with values at its bounds. A value that one version accepts
//! and another refuses is a witness.
//!
//! The values are only candidates, because the real validators check each one. So this module need not be complete. A mistake
//! here can miss a witness, but never makes a wrong one.

mod containers;
mod scalars;

use std::{collections::HashMap, rc::Rc};

use jsonschema::{
    JsonType, Validator,
    canonical::{CanonicalKind, CanonicalSchema, CanonicalView},
};
use serde_json::{Value, json};

use super::{options::options, patterns::Patterns};
use crate::limits::{COMPAT_DEPTH_MAX, COMPAT_NODES_MAX, COMPAT_VALUES_MAX};

/// Generates values.
pub(super) struct ValueGenerator<'a> {
    patterns: &'a mut Patterns,
    random: fastrand::Rng,
    /// Number of random values in addition to the values at the bounds.
    random_values: usize,
    nodes_left: usize,
    made: HashMap<CanonicalSchema, Rc<[Value]>>,
}

impl<'a> ValueGenerator<'a> {
    /// Generates the same values for the same `seed`.
    pub(super) fn new(patterns: &'a mut Patterns, seed: u64, random_values: usize) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { patterns, random, random_values, nodes_left: COMPAT_NODES_MAX, made: HashMap::new() }
    }

    /// The branches of a choice; for any other schema, the schema itself.
    pub(super) fn branches(schema: &CanonicalSchema) -> Vec<CanonicalSchema> {
        match schema.view() {
            CanonicalView::AnyOf(branches) | CanonicalView::OneOf(branches) => branches.iter().flat_map(Self::branches).collect(),
            _ => vec![schema.clone()],
        }
    }

    /// Values that `schema` accepts, as far as they can be generated; the plainest first.
    pub(super) fn values(&mut self, schema: &CanonicalSchema) -> Rc<[Value]> {
        self.values_below(schema, COMPAT_DEPTH_MAX)
    }

    fn values_below(&mut self, schema: &CanonicalSchema, depth_left: usize) -> Rc<[Value]> {
        if let Some(known) = self.made.get(schema) {
            return Rc::clone(known);
        }
        let (Some(depth_left), Some(nodes_left)) = (depth_left.checked_sub(1), self.nodes_left.checked_sub(1)) else {
            return Rc::new([]);
        };
        self.nodes_left = nodes_left;
        let mut values = self.proposals(schema, depth_left);
        let is_plain =
            matches!(schema.kind(), CanonicalKind::Const | CanonicalKind::Enum | CanonicalKind::MultiType | CanonicalKind::True);
        if !is_plain && let Some(validator) = validator(schema) {
            values.retain(|value| validator.is_valid(value));
        }
        let values = distinct(values);
        self.made.insert(schema.clone(), Rc::clone(&values));
        values
    }

    fn proposals(&mut self, schema: &CanonicalSchema, depth: usize) -> Vec<Value> {
        match schema.view() {
            CanonicalView::False => Vec::new(),
            CanonicalView::True | CanonicalView::Not(_) | CanonicalView::Raw(_) => odd(),
            CanonicalView::MultiType(types) => types.iter().flat_map(samples).collect(),
            CanonicalView::TypedGroup(group) => self.values_below(&group.body, depth).to_vec(),
            CanonicalView::String(view) => self.strings(&view),
            CanonicalView::Integer(view) => self.integers(&view),
            CanonicalView::Number(view) => self.numbers(&view),
            CanonicalView::Array(view) => self.arrays(&view, depth),
            CanonicalView::Object(view) => self.objects(&view, depth),
            CanonicalView::Const(value) => vec![value],
            CanonicalView::Enum(values) => values,
            CanonicalView::AllOf(branches) | CanonicalView::AnyOf(branches) | CanonicalView::OneOf(branches) => {
                let each: Vec<_> = branches.iter().map(|branch| self.values_below(branch, depth)).collect();
                alternating(&each)
            }
            CanonicalView::Reference(uri) => {
                let target = schema.definition(&uri);
                target.map_or_else(Vec::new, |target| self.values_below(&target, depth).to_vec())
            }
        }
    }

    /// Values that `schema` refuses.
    fn values_against(&mut self, schema: &CanonicalSchema, depth: usize) -> Vec<Value> {
        let mut values = schema.negate().map_or_else(|_| Vec::new(), |other| self.values_below(&other, depth).to_vec());
        values.extend(odd());
        if let Some(validator) = validator(schema) {
            values.retain(|value| !validator.is_valid(value));
        }
        values
    }
}

fn validator(schema: &CanonicalSchema) -> Option<Validator> {
    options().build(&schema.to_json_schema()).ok()
}

/// The first value of each list, then the second of each, and so on.
fn alternating(each: &[Rc<[Value]>]) -> Vec<Value> {
    let longest = each.iter().map(|values| values.len()).max().unwrap_or(0);
    (0..longest).flat_map(|index| each.iter().filter_map(move |values| values.get(index))).cloned().collect()
}

fn distinct(values: Vec<Value>) -> Rc<[Value]> {
    let mut seen = std::collections::HashSet::new();
    values.into_iter().filter(|value| seen.insert(value.to_string())).take(COMPAT_VALUES_MAX).collect()
}

/// One value of each kind.
pub(super) fn odd() -> Vec<Value> {
    vec![json!("x"), json!(0), json!(null), json!(true), json!(1.5), json!(-1), json!(""), json!([]), json!({})]
}

fn samples(kind: JsonType) -> Vec<Value> {
    match kind {
        JsonType::Null => vec![json!(null)],
        JsonType::Boolean => vec![json!(true), json!(false)],
        JsonType::Integer => vec![json!(0), json!(1), json!(-1)],
        JsonType::Number => vec![json!(0.5), json!(0), json!(-1.5)],
        JsonType::String => vec![json!("x"), json!("")],
        JsonType::Array => vec![json!([]), json!(["x"]), json!([0, 0])],
        JsonType::Object => vec![json!({}), json!({ "x": 0 })],
    }
}
