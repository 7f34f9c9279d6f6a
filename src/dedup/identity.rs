//! An identity with its hash: the key of every table, filter and run of the window.

use std::cmp::{Ordering, Reverse};

use uuid::Uuid;

/// An event's identity, with a fingerprint of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Equal ids make a duplicate.
    pub id: Uuid,
    /// Tells whether a duplicate has another payload. It decides nothing: an equal id is a duplicate in any case.
    /// [`Identity::UNKNOWN`] if there is no fingerprint.
    pub fingerprint: u32,
}

impl Identity {
    /// Means that there is no fingerprint. It is never reported as different. A payload whose fingerprint happens to be this
    /// number is treated the same way: one of four billion.
    pub const UNKNOWN: u32 = 0;

    /// An identity without a fingerprint.
    #[must_use]
    pub fn unknown(id: Uuid) -> Self {
        Self { id, fingerprint: Self::UNKNOWN }
    }
}

/// Whether two fingerprints certainly belong to different payloads.
pub(super) fn differ(one: u32, other: u32) -> bool {
    one != Identity::UNKNOWN && other != Identity::UNKNOWN && one != other
}

/// An identity and its hash, in the order of a run: by hash, then by UUID. For one UUID with several fingerprints, a known one
/// comes first, so that a merge keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) hash: u64,
    pub(super) id: Uuid,
    pub(super) fingerprint: u32,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |key: &Self| (key.id, Reverse(key.fingerprint));
        self.hash.cmp(&other.hash).then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The hash that places identities in the tables in memory, and in the slices, filters and pages of a run.
///
/// One hash for all, computed once for each claim. It is part of the on-disk format, so it is written here and not taken from
/// a crate that may change it. Its seed is random because identities come from outside: without knowing the seed, nobody can
/// choose UUIDs that collide in one bucket, slice or page. Two identities with the same hash are only slower, because the
/// UUIDs are compared in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyedHash {
    pub(super) seed: [u64; 2],
}

impl KeyedHash {
    /// A hash with a random seed.
    pub(super) fn random() -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Self { seed: [high, low] }
    }

    pub(super) fn key(&self, identity: Identity) -> Key {
        let Identity { id, fingerprint } = identity;
        Key { hash: self.of(id), id, fingerprint }
    }

    pub(super) fn of(&self, id: Uuid) -> u64 {
        let (high, low) = id.as_u64_pair();
        let folded = fold(high ^ self.seed[0], low ^ self.seed[1]);
        // The second round spreads small or regular products (identities that count up) over all bits.
        fold(folded ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The slice of `2^slice_bits` that contains `hash`. Slices ascend with the hash, so they cut a sorted run.
pub(super) fn slice_of(hash: u64, slice_bits: u32) -> usize {
    // `checked_shr`: with 0 bits the shift is the full width, and there is only slice 0.
    hash.checked_shr(u64::BITS - slice_bits).unwrap_or(0) as usize
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Identities with the same hash under `hash`: the first round multiplies, so all factor pairs of one number fold alike.
    pub(in crate::dedup) fn colliding(hash: &KeyedHash, at_most: usize) -> Vec<Uuid> {
        let product: u64 = 2 * 2 * 2 * 2 * 3 * 3 * 5 * 7 * 11 * 13 * 17 * 19 * 23 * 29;
        let factors = (1_u64..2_000_000).filter(|factor| product.is_multiple_of(*factor));
        factors.take(at_most).map(|f| Uuid::from_u64_pair(f ^ hash.seed[0], (product / f) ^ hash.seed[1])).collect()
    }

    #[test]
    fn identities_that_share_a_hash_can_be_made_by_who_knows_the_seed() {
        let hash = KeyedHash::random();
        let ids = colliding(&hash, 1000);
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| hash.of(*id) == hash.of(ids[0])));
        let other = KeyedHash::random();
        assert!(ids[1..].iter().all(|id| other.of(*id) != other.of(ids[0])));
    }

    #[test]
    fn a_known_fingerprint_sorts_before_an_unknown_one_and_unknown_ones_differ_from_nothing() {
        let hash = KeyedHash { seed: [5, 6] };
        let id = Uuid::new_v4();
        let mut keys = [0, 7, 3].map(|fingerprint| hash.key(Identity { id, fingerprint }));
        keys.sort_unstable();
        assert_eq!(keys.map(|key| key.fingerprint), [7, 3, 0]);
        assert!(differ(1, 2) && !differ(1, 1) && !differ(0, 2) && !differ(2, 0) && !differ(0, 0));
    }

    #[test]
    fn slices_are_even_for_random_and_for_regular_identities() {
        let hash = KeyedHash::random();
        let kinds: [fn(u64) -> Uuid; 4] = [
            |_| Uuid::new_v4(),
            |_| Uuid::now_v7(),
            |i| Uuid::from_u128(u128::from(i)),
            |i| Uuid::from_u128(u128::from(i) << 64),
        ];
        for (kind, make) in kinds.iter().enumerate() {
            let mut slices = [0_u32; 64];
            for i in 0..64_000 {
                slices[slice_of(hash.of(make(i)), 6)] += 1;
            }
            // 1000 ± 7 standard deviations.
            assert!(slices.iter().all(|n| (780..1220).contains(n)), "kind {kind}: {slices:?}");
        }
    }

    #[test]
    fn without_slice_bits_there_is_one_slice() {
        assert_eq!(slice_of(u64::MAX, 0), 0);
        assert_eq!(slice_of(u64::MAX, 3), 7);
        assert_eq!(slice_of(0, 3), 0);
    }
}
