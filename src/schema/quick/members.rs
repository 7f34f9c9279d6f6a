//! The members of an object: one pass, one look-up each.

use serde_json::{Map, Value};

use super::{Library, Patterns, Quick};
use crate::json::Node;

/// A set of members by their index has a bit for each.
const MEMBERS_MAX: usize = u64::BITS as usize;

/// What an object may hold.
#[derive(Debug)]
pub(super) struct Members {
    names: Names,
    values: Vec<Quick>,
    /// What any other member must be; `None`: there may be no other.
    others: Option<Quick>,
    /// Those that must be there.
    required: u64,
    /// Where the first is there, the second must be.
    dependent: Vec<(u64, u64)>,
}

impl Members {
    /// Reads `properties`, `required`, `additionalProperties` and `dependentRequired` of a schema.
    pub(super) fn compile(keywords: &Map<String, Value>, patterns: &Patterns, library: Library<'_>) -> Option<Self> {
        if keywords.contains_key("patternProperties") {
            return None;
        }
        let none = Map::new();
        let properties = keywords.get("properties").map_or(Some(&none), Value::as_object)?;
        if properties.len() > MEMBERS_MAX {
            return None;
        }
        let names = Names::new(properties.keys());
        let bits = |names_in: &Value| -> Option<u64> {
            names_in.as_array()?.iter().try_fold(0, |bits, name| Some(bits | 1 << names.index(name.as_str()?)?))
        };
        let required = keywords.get("required").map_or(Some(0), bits)?;
        let mut dependent = Vec::new();
        for (name, needs) in keywords.get("dependentRequired").map_or(Some(&none), Value::as_object)? {
            dependent.push((1 << names.index(name)?, bits(needs)?));
        }
        let values = properties.values().map(|value| Quick::compile(value, patterns, library)).collect::<Option<_>>()?;
        let others = match keywords.get("additionalProperties") {
            None => Some(Quick::Anything),
            Some(Value::Bool(false)) => None,
            Some(schema) => Some(Quick::compile(schema, patterns, library)?),
        };
        Some(Self { names, values, others, required, dependent })
    }

    /// Whether the members of `object` are surely valid. A member that stands twice is left to the written schema.
    pub(super) fn accept(&self, object: Node<'_>) -> bool {
        let mut seen: u64 = 0;
        for (name, value) in object.members() {
            let is_valid = match self.names.index(&name) {
                Some(index) => {
                    let bit = 1 << index;
                    let is_first = seen & bit == 0;
                    seen |= bit;
                    is_first && self.values[index].accepts(value)
                }
                None => self.others.as_ref().is_some_and(|others| others.accepts(value)),
            };
            if !is_valid {
                return false;
            }
        }
        seen & self.required == self.required
            && self.dependent.iter().all(|(one, needs)| seen & one == 0 || seen & needs == *needs)
    }
}

/// Names and their indexes: a small table that is built once and looked up for every member of every event.
#[derive(Debug)]
struct Names {
    names: Vec<(Words, Box<str>)>,
    /// Indexes by hash, at most a quarter of them taken; a name that finds its place taken stands behind it.
    places: Box<[u8]>,
}

/// A place that no name has.
const FREE: u8 = u8::MAX;

impl Names {
    fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let names: Vec<(Words, Box<str>)> = names.map(|name| (Words::of(name), name.as_str().into())).collect();
        let mut places = vec![FREE; (names.len() * 4).next_power_of_two().max(4)].into_boxed_slice();
        for (index, (words, _)) in names.iter().enumerate() {
            let mut place = words.hash() & (places.len() - 1);
            while places[place] != FREE {
                place = (place + 1) & (places.len() - 1);
            }
            places[place] = index as u8;
        }
        Self { names, places }
    }

    fn index(&self, name: &str) -> Option<usize> {
        let words = Words::of(name);
        let mut place = words.hash() & (self.places.len() - 1);
        loop {
            let index = usize::from(self.places[place]);
            let (found_words, found) = self.names.get(index)?;
            if *found_words == words && (words.are_whole() || **found == *name) {
                return Some(index);
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }
}

/// The first and the last eight bytes of a name, and its length: they tell the names of a schema apart well enough to hash
/// them, and are all there is of most. Clients cannot make it slow: the table holds only the schema's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words {
    head: u64,
    tail: u64,
    bytes: usize,
}

impl Words {
    fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (word(bytes), 0),
        };
        Self { head, tail, bytes: bytes.len() }
    }

    /// Whether there is nothing between the two.
    fn are_whole(self) -> bool {
        self.bytes <= 16
    }

    fn hash(self) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(29) ^ self.bytes as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize
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
            let table = Names::new(names.iter());
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(table.index(name), Some(index));
            }
            prop_assert_eq!(table.index(&other), names.iter().position(|name| *name == other));
        }
    }
}
