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

/// An identity and its hash, to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) hash: u64,
    pub(super) id: Uuid,
    pub(super) fingerprint: u32,
}

/// An identity with the place of its event, as a run stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) identity: Identity,
    /// The event's sequence number in the spool, minus the first mark of the generation or run; [`Placed::NOWHERE`] if unknown.
    /// Half as long as the number: see [`crate::limits::DEDUP_PLACE_BYTES`].
    pub(super) offset: u32,
}

impl Placed {
    /// Means that the place is unknown.
    pub(super) const NOWHERE: u32 = u32::MAX;

    /// The offset of the sequence number `place` from `first_mark`, if it is certain and fits.
    pub(super) fn offset_of(place: Option<u64>, first_mark: u64) -> u32 {
        let offset = place.and_then(|place| place.checked_sub(first_mark));
        offset.and_then(|offset| u32::try_from(offset).ok()).unwrap_or(Self::NOWHERE)
    }

    /// The sequence number at `offset` from `first_mark`; `None` if it is unknown.
    pub(super) fn place_of(offset: u32, first_mark: u64) -> Option<u64> {
        if offset == Self::NOWHERE { None } else { first_mark.checked_add(u64::from(offset)) }
    }
}

/// An entry with its hash, in the order of a run: by hash, then by UUID. For one UUID with several fingerprints, a known one
/// comes first, so that a merge keeps it, with its place. Of equal fingerprints the newest known place comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: u64,
    pub(super) placed: Placed,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // One more than the offset, so that an unknown place is the smallest.
        let rest =
            |Placed { identity, offset }: &Placed| (identity.id, Reverse(identity.fingerprint), Reverse(offset.wrapping_add(1)));
        self.hash.cmp(&other.hash).then_with(|| rest(&self.placed).cmp(&rest(&other.placed)))
    }
}

impl PartialOrd for Entry {
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

    pub(super) fn entry(&self, placed: Placed) -> Entry {
        Entry { hash: self.of(placed.identity.id), placed }
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
        let placed = |(fingerprint, offset)| Placed { identity: Identity { id, fingerprint }, offset };
        let mut entries = [(0, 9), (7, Placed::NOWHERE), (3, 5), (7, 0), (7, 4)].map(|entry| hash.entry(placed(entry)));
        entries.sort_unstable();
        let sorted = entries.map(|entry| (entry.placed.identity.fingerprint, entry.placed.offset));
        assert_eq!(sorted, [(7, 4), (7, 0), (7, Placed::NOWHERE), (3, 5), (0, 9)]);
        assert!(differ(1, 2) && !differ(1, 1) && !differ(0, 2) && !differ(2, 0) && !differ(0, 0));
    }

    #[test]
    fn a_place_that_does_not_fit_into_its_offset_is_unknown_and_never_another_place() {
        for (place, first, back) in [
            (Some(7), 7, Some(7)),
            (Some(7 + u64::from(u32::MAX) - 1), 7, Some(7 + u64::from(u32::MAX) - 1)),
            (Some(7 + u64::from(u32::MAX)), 7, None),
            (Some(u64::MAX), 7, None),
            (Some(6), 7, None),
            (None, 0, None),
        ] {
            assert_eq!(Placed::place_of(Placed::offset_of(place, first), first), back, "{place:?} from {first}");
        }
        assert_eq!(Placed::place_of(1, u64::MAX), None);
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
