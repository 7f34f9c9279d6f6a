//! A map with a maximum size. Beyond it, the oldest entry is removed for each new one.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// The newest keys with their values, at most `entries_max`.
#[derive(Debug)]
pub struct BoundedMap<K, V> {
    entries_max: usize,
    /// Each value with the number of its insertion.
    by_key: HashMap<K, (u64, V)>,
    /// Every insertion, including keys that were removed or inserted again later.
    oldest_first: VecDeque<(u64, K)>,
    inserted: u64,
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    /// Creates an empty map for at most `entries_max` entries.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, by_key: HashMap::new(), oldest_first: VecDeque::new(), inserted: 0 }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.by_key.get(key).map(|(_, value)| value)
    }

    /// The value of `key`, to change it. The entry keeps its age.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.by_key.get_mut(key).map(|(_, value)| value)
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.by_key.values().map(|(_, value)| value)
    }

    /// Removes every entry whose value `is_kept` does not want.
    pub fn retain(&mut self, is_kept: impl Fn(&V) -> bool) {
        self.by_key.retain(|_, (_, value)| is_kept(value));
    }

    /// Inserts `value` as the newest entry. Returns the value that `key` had before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.inserted += 1;
        let known = self.by_key.insert(key.clone(), (self.inserted, value));
        self.oldest_first.push_back((self.inserted, key));
        while self.oldest_first.len() > self.entries_max
            && let Some((number, oldest)) = self.oldest_first.pop_front()
        {
            if self.by_key.get(&oldest).is_some_and(|(newest, _)| *newest == number) {
                self.by_key.remove(&oldest);
            }
        }
        known.map(|(_, value)| value)
    }

    /// Removes `key`. Returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.by_key.remove(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_what_was_said_again_is_not_the_oldest() {
        let mut recent = BoundedMap::new(3);
        assert_eq!([1, 2, 3].map(|key| recent.insert(key, key * 10)), [None; 3]);
        assert_eq!(recent.insert(1, 11), Some(10));
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).copied()), [Some(11), Some(20), Some(30)]);
        recent.insert(4, 40);
        assert_eq!([1, 2, 3, 4].map(|key| recent.get(&key).copied()), [Some(11), None, Some(30), Some(40)]);
    }

    #[test]
    fn what_is_changed_keeps_its_age_and_what_is_not_wanted_goes() {
        let mut recent = BoundedMap::new(2);
        recent.insert(1, 10);
        recent.insert(2, 20);
        *recent.get_mut(&1).unwrap() += 1;
        recent.insert(3, 30);
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).copied()), [None, Some(20), Some(30)]);
        recent.retain(|value| *value > 20);
        assert_eq!(recent.values().collect::<Vec<_>>(), [&30]);
    }

    #[test]
    fn what_was_removed_and_inserted_again_is_forgotten_in_its_new_turn_and_memory_is_bounded() {
        let mut recent = BoundedMap::new(3);
        recent.insert(1, ());
        assert_eq!((recent.remove(&1), recent.remove(&1)), (Some(()), None));
        for key in [2, 1, 3] {
            recent.insert(key, ());
        }
        assert!(recent.get(&1).is_some());
        for _ in 0..10 {
            recent.insert(7, ());
        }
        assert_eq!((recent.by_key.len(), recent.oldest_first.len()), (1, 3));
    }
}
