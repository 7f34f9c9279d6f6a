//! The shards of a stream, and the range of places that each owns.

use super::place::{HashKey, HashRange};

/// A shard that takes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The range that it owns.
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

/// The open shards of a stream, sorted by their ranges; together they own every place exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap(Vec<Shard>);

impl ShardMap {
    /// A stream whose shards are not known, or cannot be distinguished: one shard that owns everything, with an empty id.
    #[must_use]
    pub fn unknown() -> Self {
        Self::one("")
    }

    /// A stream without shards, as one with the name `lane`.
    #[must_use]
    pub fn one(lane: &str) -> Self {
        Self(vec![Shard { id: lane.to_owned(), range: HashRange::WHOLE }])
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
        (next.is_none() && !shards.is_empty()).then_some(Self(shards))
    }

    /// Whether the shards can be distinguished.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.iter().all(|shard| !shard.id.is_empty())
    }

    /// The shards.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.0
    }

    /// Index of the shard that owns `place`.
    #[must_use]
    pub fn owner(&self, place: HashKey) -> usize {
        self.0.partition_point(|shard| shard.range.last < place)
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
}
