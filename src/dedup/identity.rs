//! An identity with its hash: what every table, filter and run of the window is keyed by.

use uuid::Uuid;

/// A UUID and its hash, ordered as a run is: by hash, then by UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) hash: u64,
    pub(super) id: Uuid,
}

/// The hash that places identities: in the tables in memory, in the slices, filters and pages of a run.
///
/// One hash for all, computed once per claim. It is part of the on-disk format, hence spelled out here instead of
/// taken from a crate that may change it. It is keyed with a random seed because the identities come from outside:
/// without the seed nobody can choose UUIDs that pile up in one bucket, one slice or one page.
/// Two identities with the same hash are merely slow, never confused: the UUIDs are compared in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyedHash {
    pub(super) seed: [u64; 2],
}

impl KeyedHash {
    /// A hash that nobody outside knows.
    pub(super) fn random() -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Self { seed: [high, low] }
    }

    pub(super) fn key(&self, id: Uuid) -> Key {
        let (high, low) = id.as_u64_pair();
        let folded = fold(high ^ self.seed[0], low ^ self.seed[1]);
        // The second round spreads products that are small or regular (identities that merely count up) over all bits.
        Key { hash: fold(folded ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93), id }
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The slice of `2^slice_bits` that `hash` falls into. Slices ascend with the hash, so a sorted run is cut by them.
pub(super) fn slice_of(hash: u64, slice_bits: u32) -> usize {
    // `checked_shr`: with 0 bits the shift is the whole width, and there is only slice 0.
    hash.checked_shr(u64::BITS - slice_bits).unwrap_or(0) as usize
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Identities that all have one hash under `hash`: the first round multiplies, so all pairs of factors of one number fold alike.
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
        assert!(ids.iter().all(|id| hash.key(*id).hash == hash.key(ids[0]).hash));
        let other = KeyedHash::random();
        assert!(ids[1..].iter().all(|id| other.key(*id).hash != other.key(ids[0]).hash));
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
                slices[slice_of(hash.key(make(i)).hash, 6)] += 1;
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
