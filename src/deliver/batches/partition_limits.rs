//! Limits the places (partitions of the lake) that one attempt writes to: in total, and because of one key.

use std::collections::{HashMap, HashSet};

use super::undelivered::Place;

/// The places that this attempt writes to. A place takes all of its records in the range or none, because they share one file.
pub(super) struct PartitionLimits {
    places_max: usize,
    per_key_max: usize,
    places: HashSet<Place>,
    /// Number of places that were chosen because of a key.
    by_key: HashMap<Box<str>, usize>,
}

impl PartitionLimits {
    /// No places yet; at most `places_max`, and at most `per_key_max` because of one key.
    pub(super) fn new(places_max: usize, per_key_max: usize) -> Self {
        Self { places_max, per_key_max, places: HashSet::new(), by_key: HashMap::new() }
    }

    /// A record of the key `source` waits for `place`, which is chosen if the limits allow. Ask for all records first: a place
    /// over the limit of one key may still be chosen because of another key's record.
    pub(super) fn ask(&mut self, place: &Place, source: &str) {
        if self.places.contains(place) || self.places.len() >= self.places_max {
            return;
        }
        match self.by_key.get_mut(source) {
            Some(count) if *count >= self.per_key_max => return,
            Some(count) => *count += 1,
            None => drop(self.by_key.insert(source.into(), 1)),
        }
        self.places.insert(place.clone());
    }

    /// Whether `place` was chosen.
    pub(super) fn has(&self, place: &Place) -> bool {
        self.places.contains(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_many_places_leaves_room_for_the_others_also_in_a_place_of_theirs() {
        let place = |number: usize| -> Place { number.to_string().into() };
        let mut turns = PartitionLimits::new(8, 4);
        (0..100).for_each(|number| turns.ask(&place(number), "greedy"));
        turns.ask(&place(3), "honest");
        turns.ask(&place(50), "honest");
        (200..300).for_each(|number| turns.ask(&place(number), "third"));
        let having: Vec<usize> = (0..300).filter(|number| turns.has(&place(*number))).collect();
        assert_eq!(having, [0, 1, 2, 3, 50, 200, 201, 202]);
    }
}
