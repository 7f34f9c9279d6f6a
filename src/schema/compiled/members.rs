//! The members of an object: one pass, with one look-up per member.

use serde_json::{Map, Value};

use super::{CompiledSchema, Library, Shared};
use crate::{json::Node, schema::words::Words};

/// A set of members is a bit set by index.
const MEMBERS_MAX: usize = u64::BITS as usize;

/// The allowed members of an object.
#[derive(Debug)]
pub(super) struct Members {
    named: Named,
    /// The schema of all other members; `None`: no other member is allowed.
    others: Option<CompiledSchema>,
    /// The required members.
    required: u64,
    /// If the first member is present, the second must be present too.
    dependent: Box<[(u64, u64)]>,
}

impl Members {
    /// Reads `properties`, `required`, `additionalProperties` and `dependentRequired` of a schema.
    pub(super) fn compile(keywords: &Map<String, Value>, shared: &Shared, library: Library<'_>) -> Option<Self> {
        if keywords.contains_key("patternProperties") {
            return None;
        }
        let none = Map::new();
        let properties = keywords.get("properties").map_or(Some(&none), Value::as_object)?;
        if properties.len() > MEMBERS_MAX {
            return None;
        }
        let compile = |(name, value)| Some((name, CompiledSchema::compile(value, shared, library)?));
        let named = Named::new(properties.iter().map(compile).collect::<Option<_>>()?);
        let bits = |names_in: &Value| -> Option<u64> {
            names_in.as_array()?.iter().try_fold(0, |bits, name| Some(bits | 1 << named.index(name.as_str()?)?))
        };
        let required = keywords.get("required").map_or(Some(0), bits)?;
        let mut dependent = Vec::new();
        for (name, needs) in keywords.get("dependentRequired").map_or(Some(&none), Value::as_object)? {
            dependent.push((1 << named.index(name)?, bits(needs)?));
        }
        let others = match keywords.get("additionalProperties") {
            None => Some(CompiledSchema::Anything),
            Some(Value::Bool(false)) => None,
            Some(schema) => Some(CompiledSchema::compile(schema, shared, library)?),
        };
        Some(Self { named, others, required, dependent: dependent.into() })
    }

    /// If the members of `object` are certainly valid: how many of the members named here it has. Objects that have one of them
    /// twice are left to the written schema.
    pub(super) fn accepted(&self, object: Node<'_>) -> Option<usize> {
        let mut seen: u64 = 0;
        for (name, value) in object.members() {
            let is_valid = match self.named.index(&name) {
                Some(index) => {
                    let bit = 1 << index;
                    let is_first = seen & bit == 0;
                    seen |= bit;
                    is_first && self.named.members[index].value.accepts(value)
                }
                None => self.others.as_ref().is_some_and(|others| others.accepts(value)),
            };
            if !is_valid {
                return None;
            }
        }
        let is_complete = seen & self.required == self.required
            && self.dependent.iter().all(|(one, needs)| seen & one == 0 || seen & needs == *needs);
        is_complete.then_some(seen.count_ones() as usize)
    }
}

/// A member's name and schema, stored together because both are read one after the other.
#[derive(Debug)]
struct Member {
    words: Words,
    value: CompiledSchema,
}

// One cache line.
const _: () = assert!(size_of::<Member>() <= 64);

/// Members by name: a small table, built once and searched for every member of every event.
#[derive(Debug)]
struct Named {
    members: Box<[Member]>,
    /// The names, for those that their words do not identify.
    names: Box<[Box<str>]>,
    /// Indexes by hash; at most a quarter of the slots are used; on a collision the next slot is used.
    places: Box<[u8]>,
}

/// An empty slot.
const FREE: u8 = u8::MAX;

impl Named {
    fn new(members: Vec<(&String, CompiledSchema)>) -> Self {
        let names: Box<[Box<str>]> = members.iter().map(|(name, _)| name.as_str().into()).collect();
        let member = |(name, value): (&String, CompiledSchema)| Member { words: Words::of(name), value };
        let members: Box<[Member]> = members.into_iter().map(member).collect();
        let mut places = vec![FREE; (members.len() * 4).next_power_of_two().max(4)].into_boxed_slice();
        for (index, member) in members.iter().enumerate() {
            let mut place = member.words.hash() as usize & (places.len() - 1);
            while places[place] != FREE {
                place = (place + 1) & (places.len() - 1);
            }
            places[place] = index as u8;
        }
        Self { members, names, places }
    }

    fn index(&self, name: &str) -> Option<usize> {
        let words = Words::of(name);
        let mut place = words.hash() as usize & (self.places.len() - 1);
        loop {
            let index = usize::from(self.places[place]);
            let found = self.members.get(index)?;
            if found.words == words && (words.are_whole() || *self.names[index] == *name) {
                return Some(index);
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_found_where_it_stands_and_no_other_is(
            names in prop::collection::btree_set("[ab]{0,3}|[ab\u{e9}]{6,9}|a{8}[ab]{0,10}b{8}", 0..40),
            other in "[ab]{0,3}|[ab\u{e9}]{6,9}|a{8}[ab]{0,10}b{8}",
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let table = Named::new(names.iter().map(|name| (name, CompiledSchema::Anything)).collect());
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(table.index(name), Some(index));
            }
            prop_assert_eq!(table.index(&other), names.iter().position(|name| *name == other));
        }
    }
}
