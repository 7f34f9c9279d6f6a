//! The shards of a stream, and the places that each owns: a range of them, or in a stream of topics a remainder.

use super::place::{HashKey, HashRange};

/// In a stream with topics, the upper half of a place is the number of its topic.
const TOPIC_SHIFT: u32 = 64;

/// The place of a key with the place `key`, in the topic number `topic`.
#[must_use]
pub fn place_in_topic(topic: u32, key: HashKey) -> HashKey {
    HashKey::from(topic) << TOPIC_SHIFT | key
}

/// The number of the topic of a place.
#[must_use]
pub fn topic_of(place: HashKey) -> u32 {
    (place >> TOPIC_SHIFT) as u32
}

/// A shard that takes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The range that it owns. All places, if the shards own remainders.
    pub range: HashRange,
}

/// Why the shards of a stream are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsUnknown {
    /// The reason, for a person.
    pub reason: String,
    /// Whether only the request for the shard list is forbidden, which says nothing about sending.
    pub is_denied: bool,
}

/// How soon the shards must be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapNeed {
    /// The map has all that records need.
    None,
    /// It lacked some when it was read.
    Soon,
    /// Records need shards that have not been looked for yet.
    Now,
}

/// The open shards of a stream; together they own every place exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    /// Sorted by their ranges, or in the order of the topics.
    shards: Vec<Shard>,
    /// Of each topic the index of its first shard, and the number of its shards; `None` if the shards own ranges.
    topics: Option<Vec<(usize, usize)>>,
}

impl ShardMap {
    /// A stream whose shards are not known, or cannot be distinguished: one shard that owns everything, with an empty id.
    #[must_use]
    pub fn unknown() -> Self {
        Self::one("")
    }

    /// A stream without shards, as one with the name `lane`.
    #[must_use]
    pub fn one(lane: &str) -> Self {
        Self { shards: vec![Shard { id: lane.to_owned(), range: HashRange::WHOLE }], topics: None }
    }

    /// The map of a stream with topics: of each its name and the number of its partitions, if that is known. A topic with
    /// unknown partitions is one shard. One more shard, with the name `others`, owns the places of all further topics.
    #[must_use]
    pub fn of_topics<'a>(topics: impl IntoIterator<Item = (&'a str, Option<usize>)>, others: &str) -> Self {
        let (mut shards, mut parts) = (Vec::new(), Vec::new());
        let mut add = |id: String| shards.push(Shard { id, range: HashRange::WHOLE });
        let mut first = 0;
        for (name, partitions) in topics {
            match partitions.filter(|count| *count > 0) {
                Some(count) => (0..count).for_each(|partition| add(format!("{name}/{partition}"))),
                None => add(name.to_owned()),
            }
            let count = partitions.unwrap_or(1).max(1);
            parts.push((first, count));
            first += count;
        }
        add(others.to_owned());
        parts.push((first, 1));
        Self { shards, topics: Some(parts) }
    }

    /// The map of these open shards; `None` if they do not own every place exactly once, as in the middle of a reshard.
    #[must_use]
    pub fn new(mut shards: Vec<Shard>) -> Option<Self> {
        shards.sort_by_key(|shard| shard.range.first);
        let mut next = Some(0);
        for shard in &shards {
            if next != Some(shard.range.first) || shard.range.last < shard.range.first {
                return None;
            }
            next = shard.range.last.checked_add(1);
        }
        (next.is_none() && !shards.is_empty()).then_some(Self { shards, topics: None })
    }

    /// Whether the shards can be distinguished.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.shards.iter().all(|shard| !shard.id.is_empty())
    }

    /// The shards.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Index of the shard that owns `place`.
    #[must_use]
    pub fn owner(&self, place: HashKey) -> usize {
        let Some(topics) = &self.topics else { return self.shards.partition_point(|shard| shard.range.last < place) };
        let topic = ((place >> TOPIC_SHIFT) as usize).min(topics.len() - 1);
        let (first, count) = topics[topic];
        // Only the lower half of a place is the hash of its key.
        first + (place as u64 % count as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, first: HashKey, last: HashKey) -> Shard {
        Shard { id: id.into(), range: HashRange { first, last } }
    }

    #[test]
    fn a_map_owns_every_place_once_or_is_none() {
        let half = 1 << 127;
        let map = ShardMap::new(vec![shard("b", half, u128::MAX), shard("a", 0, half - 1)]).unwrap();
        assert_eq!([0, half - 1, half, u128::MAX].map(|place| map.owner(place)), [0, 0, 1, 1]);
        assert_eq!(ShardMap::new(vec![shard("a", 0, half - 1)]), None, "a gap at the end");
        assert_eq!(ShardMap::new(vec![shard("a", 1, u128::MAX)]), None, "a gap at the start");
        assert_eq!(ShardMap::new(vec![shard("a", 0, half), shard("b", half, u128::MAX)]), None, "an overlap");
        assert_eq!(ShardMap::new(vec![]), None);
        assert_eq!(ShardMap::unknown().owner(half), 0);
    }

    #[test]
    fn a_topic_has_its_own_shards_and_what_is_not_known_yet_has_the_last() {
        let map = ShardMap::of_topics([("a", Some(3)), ("b", None), ("c", Some(2))], "others");
        let ids: Vec<&str> = map.shards().iter().map(|shard| &*shard.id).collect();
        assert_eq!(ids, ["a/0", "a/1", "a/2", "b", "c/0", "c/1", "others"]);
        let owner = |topic, key| ids[map.owner(place_in_topic(topic, key))];
        assert_eq!(
            [owner(0, 7), owner(0, 9), owner(1, 7), owner(2, 7), owner(3, 7), owner(99, 0)],
            ["a/1", "a/0", "b", "c/1", "others", "others"]
        );
        assert_eq!(topic_of(place_in_topic(2, u128::from(u32::MAX))), 2);
    }
}
