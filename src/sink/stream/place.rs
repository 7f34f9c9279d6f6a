//! Places: a stream maps the key of a record to a number, and every shard owns a range of these numbers.

/// A place: a 128-bit number in the range of one shard.
pub type HashKey = u128;

/// The range of places that a shard owns. Both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// First place.
    pub first: HashKey,
    /// Last place.
    pub last: HashKey,
}

impl HashRange {
    /// All places.
    pub const WHOLE: Self = Self { first: 0, last: u128::MAX };

    /// Whether `place` is in it.
    #[must_use]
    pub fn contains(&self, place: HashKey) -> bool {
        (self.first..=self.last).contains(&place)
    }
}
