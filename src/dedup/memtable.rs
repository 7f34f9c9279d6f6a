//! The identities that are not on disk yet: claims in flight, the hot generation, and the generation that is being sealed.
//! Memory only; takes no locks.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use uuid::Uuid;

use super::claim::{Claim, ClaimError};
use super::folder::Generations;
use super::identity::{Identity, Key, KeyedHash, Placed, differ};
use super::look_up::{KnownIdentity, LookUp, Place};
use super::run::Sealed;
use crate::outcome::PerEvent;

/// Identities confirmed in one period of time, which become one run on disk.
#[derive(Debug)]
pub(super) struct Generation {
    /// Its number in the order of generations, and the name of its file.
    pub(super) number: u64,
    pub(super) ids: HashTable<Placed>,
    /// Confirmation times, Unix milliseconds.
    pub(super) oldest_millis: i64,
    pub(super) newest_millis: i64,
    /// The first mark that was confirmed, from which the offsets of the places are counted. It never changes, whatever follows.
    pub(super) first_mark: u64,
    pub(super) mark_first_inclusive: u64,
    pub(super) mark_end_exclusive: u64,
}

impl Generation {
    fn new(number: u64, capacity: usize) -> Self {
        Self {
            number,
            // Allocated at once, because growing under the window's lock would stall every claim for milliseconds.
            ids: HashTable::with_capacity(capacity),
            oldest_millis: i64::MAX,
            newest_millis: i64::MIN,
            first_mark: u64::MAX,
            mark_first_inclusive: u64::MAX,
            mark_end_exclusive: 0,
        }
    }

    /// The range of this generation alone.
    pub(super) fn generations(&self) -> Generations {
        Generations { first_inclusive: self.number, last_inclusive: self.number }
    }

    /// The fingerprint with which the identity was confirmed; `None` if it was not.
    fn fingerprint(&self, key: &Key) -> Option<u32> {
        self.find(key).map(|known| known.identity.fingerprint)
    }

    fn find(&self, key: &Key) -> Option<&Placed> {
        self.ids.find(key.hash, |known| known.identity.id == key.id)
    }

    /// What is known of the identity; `None` if it was not confirmed.
    fn look_up(&self, key: &Key) -> Option<KnownIdentity> {
        let place = Placed::place_of(self.find(key)?.offset, self.first_mark);
        Some(KnownIdentity {
            place: place.map_or(Place::Before(self.mark_end_exclusive), Place::At),
            oldest_millis: self.oldest_millis,
            newest_millis: self.newest_millis,
        })
    }

    fn note(&mut self, mark: u64, now_millis: i64) {
        if self.ids.is_empty() {
            self.first_mark = mark;
        }
        self.oldest_millis = self.oldest_millis.min(now_millis);
        self.newest_millis = self.newest_millis.max(now_millis);
        self.mark_first_inclusive = self.mark_first_inclusive.min(mark);
        self.mark_end_exclusive = self.mark_end_exclusive.max(mark.saturating_add(1));
    }
}

/// A claimed identity. Its batch tells a twin in the same batch from one in another batch.
#[derive(Debug)]
struct InFlight {
    id: Uuid,
    batch: u64,
    index: usize,
}

/// A fresh claim of a batch: the index in the input, and the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub(super) index: usize,
    pub(super) key: Key,
}

/// Every identity that is not in a sealed run. The window's only lock protects it.
#[derive(Debug)]
pub(super) struct Memtable {
    hash: KeyedHash,
    hot: Generation,
    /// Shared with the background thread, which reads it without the lock while claims still look it up.
    sealing: Option<Arc<Generation>>,
    in_flight: HashTable<InFlight>,
    /// Number of confirmed identities at which the hot generation is sealed.
    hot_identities: usize,
    /// The newest generation in the runs. A lookup in an older set of runs must be repeated.
    sealed_generation: u64,
    /// Confirmed identities with a smaller mark must be sealed soon, even in a generation that is not full.
    seal_below_mark: u64,
    /// One past the largest mark confirmed.
    mark_end_exclusive: u64,
    batches: u64,
}

impl Memtable {
    pub(super) fn new(hash: KeyedHash, hot_identities: usize, sealed_generation: u64) -> Self {
        Self {
            hash,
            hot: Generation::new(sealed_generation + 1, hot_identities),
            sealing: None,
            in_flight: HashTable::new(),
            hot_identities,
            sealed_generation,
            seal_below_mark: 0,
            mark_end_exclusive: 0,
            batches: 0,
        }
    }

    pub(super) fn sealed_generation(&self) -> u64 {
        self.sealed_generation
    }

    pub(super) fn sealing(&self) -> Option<&Arc<Generation>> {
        self.sealing.as_ref()
    }

    pub(super) fn confirmed_len(&self) -> usize {
        self.hot.ids.len() + self.sealing.as_ref().map_or(0, |sealing| sealing.ids.len())
    }

    pub(super) fn in_flight_len(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn oldest_millis(&self) -> Option<i64> {
        let sealing = self.sealing.as_ref().map_or(i64::MAX, |sealing| sealing.oldest_millis);
        Some(self.hot.oldest_millis.min(sealing)).filter(|oldest| *oldest != i64::MAX)
    }

    /// Whether there is no room for another claim. A claim takes its room at once, so that its confirmation always has room.
    /// The limit is two generations: the one being sealed, and the one that fills meanwhile.
    fn is_full(&self) -> bool {
        self.confirmed_len() + self.in_flight.len() >= 2 * self.hot_identities
    }

    /// The fingerprint of an identity that is confirmed but not yet in a run.
    fn confirmed(&self, key: &Key) -> Option<u32> {
        self.hot.fingerprint(key).or_else(|| self.sealing.as_ref()?.fingerprint(key))
    }

    /// What memory knows of an identity.
    pub(super) fn look_up(&self, key: &Key) -> LookUp {
        let known = self.hot.look_up(key).or_else(|| self.sealing.as_ref()?.look_up(key));
        let is_in_flight = || self.in_flight.find(key.hash, |other| other.id == key.id).is_some();
        match known {
            Some(known) => LookUp::Known(known),
            None if is_in_flight() => LookUp::InFlight,
            None => LookUp::Unknown,
        }
    }

    /// Claims a batch, all or nothing; `sealed[i]` is what the runs know of `keys[i]`.
    pub(super) fn claim(&mut self, keys: &[Key], sealed: &[Sealed]) -> Result<(PerEvent<Claim>, PerEvent<Fresh>), ClaimError> {
        debug_assert_eq!(keys.len(), sealed.len());
        self.batches += 1;
        let mut outcomes = PerEvent::with_capacity(keys.len());
        let mut fresh = PerEvent::with_capacity(keys.len());
        for (index, (key, sealed)) in keys.iter().zip(sealed).enumerate() {
            let known = match sealed {
                Sealed::Known { fingerprint } => Some(*fingerprint),
                Sealed::Unknown | Sealed::Unreadable => self.confirmed(key),
            };
            if let Some(known) = known {
                outcomes.push(Claim::Duplicate { differs: differ(known, key.fingerprint) });
                continue;
            }
            if *sealed == Sealed::Unreadable {
                outcomes.push(Claim::Unreadable);
                continue;
            }
            let full = self.is_full();
            let hash = self.hash;
            match self.in_flight.entry(key.hash, |other| other.id == key.id, |other| hash.of(other.id)) {
                Entry::Occupied(other) if other.get().batch == self.batches => outcomes.push(Claim::TwinOf(other.get().index)),
                Entry::Occupied(_) => outcomes.push(Claim::InFlight),
                Entry::Vacant(_) if full => {
                    self.release(&fresh);
                    return Err(ClaimError::Full);
                }
                Entry::Vacant(place) => {
                    place.insert(InFlight { id: key.id, batch: self.batches, index });
                    fresh.push(Fresh { index, key: *key });
                    outcomes.push(Claim::Fresh);
                }
            }
        }
        Ok((outcomes, fresh))
    }

    /// Releases claims: their identities are unknown again.
    pub(super) fn release(&mut self, fresh: &[Fresh]) {
        for Fresh { key, .. } in fresh {
            if let Ok(claimed) = self.in_flight.find_entry(key.hash, |other| other.id == key.id) {
                claimed.remove();
            }
        }
    }

    /// Confirms a claimed identity. Returns whether a generation now waits to be sealed because of it.
    pub(super) fn confirm(&mut self, fresh: &Fresh, mark: u64, now_millis: i64) -> bool {
        self.release(std::slice::from_ref(fresh));
        self.insert(&fresh.key, mark, mark, now_millis)
    }

    /// Restores an identity that was confirmed before the restart, or long ago, or whose event was stored again. `None` if there
    /// is no room until a seal is done.
    pub(super) fn restore(&mut self, key: &Key, place: u64, now_millis: i64) -> Option<bool> {
        if self.is_full() {
            return None;
        }
        // An identity that could be read only later gets a mark behind younger ones.
        let mark = place.max(self.mark_end_exclusive.saturating_sub(1));
        Some(self.insert(key, mark, place, now_millis))
    }

    fn insert(&mut self, key: &Key, mark: u64, place: u64, now_millis: i64) -> bool {
        debug_assert!(mark + 1 >= self.mark_end_exclusive, "identities are confirmed in the order of their marks");
        self.mark_end_exclusive = self.mark_end_exclusive.max(mark.saturating_add(1));
        let hash = self.hash;
        self.hot.note(mark, now_millis);
        let identity = Identity { id: key.id, fingerprint: key.fingerprint };
        let offset = Placed::offset_of(Some(place), self.hot.first_mark);
        match self.hot.ids.entry(key.hash, |known| known.identity.id == key.id, |known| hash.of(known.identity.id)) {
            Entry::Vacant(free) => {
                free.insert(Placed { identity, offset });
            }
            // The event was stored again, because the disk had lost it.
            Entry::Occupied(mut known) => known.get_mut().offset = offset,
        }
        self.rotate_if_due()
    }

    /// Requests that identities confirmed so far with a mark below `mark_exclusive` be sealed. Returns the mark to wait for.
    pub(super) fn seal_below(&mut self, mark_exclusive: u64) -> u64 {
        // Later confirmations are not part of the request; without this bound a busy window could never fulfil it.
        let mark = mark_exclusive.min(self.mark_end_exclusive);
        self.seal_below_mark = self.seal_below_mark.max(mark);
        self.rotate_if_due();
        mark
    }

    /// Whether identities confirmed with a smaller mark are only in memory.
    pub(super) fn has_below(&self, mark_exclusive: u64) -> bool {
        let sealing = self.sealing.as_ref().is_some_and(|sealing| sealing.mark_first_inclusive < mark_exclusive);
        sealing || self.hot.mark_first_inclusive < mark_exclusive
    }

    /// Drops the generation that has become a run, and hands over the next one if it is due already.
    pub(super) fn sealed(&mut self) -> Option<Arc<Generation>> {
        let done = self.sealing.take()?;
        self.sealed_generation = done.number;
        self.rotate_if_due();
        Some(done)
    }

    fn rotate_if_due(&mut self) -> bool {
        let due = self.hot.ids.len() >= self.hot_identities || self.hot.mark_first_inclusive < self.seal_below_mark;
        if !due || self.sealing.is_some() {
            return false;
        }
        let next = Generation::new(self.hot.number + 1, self.hot_identities);
        self.sealing = Some(Arc::new(std::mem::replace(&mut self.hot, next)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: KeyedHash = KeyedHash { seed: [3, 4] };

    fn keys(range: std::ops::Range<u128>) -> Vec<Key> {
        range.map(|n| HASH.key(Identity::unknown(Uuid::from_u128(n)))).collect()
    }

    fn claim(unsealed: &mut Memtable, keys: &[Key]) -> Result<(PerEvent<Claim>, PerEvent<Fresh>), ClaimError> {
        unsealed.claim(keys, &vec![Sealed::Unknown; keys.len()])
    }

    #[test]
    fn twins_in_a_batch_point_to_the_first_and_twins_in_another_are_in_flight() {
        let mut unsealed = Memtable::new(HASH, 8, 0);
        let k = keys(0..3);
        let (outcomes, _) = claim(&mut unsealed, &[k[0], k[1], k[0], k[0]]).unwrap();
        assert_eq!(outcomes[..], [Claim::Fresh, Claim::Fresh, Claim::TwinOf(0), Claim::TwinOf(0)]);
        let (outcomes, _) = claim(&mut unsealed, &[k[2], k[1], k[1], k[2]]).unwrap();
        assert_eq!(outcomes[..], [Claim::Fresh, Claim::InFlight, Claim::InFlight, Claim::TwinOf(0)]);
    }

    #[test]
    fn claims_in_flight_take_room_so_that_confirming_never_has_to_ask() {
        let mut unsealed = Memtable::new(HASH, 4, 0);
        let (_, fresh) = claim(&mut unsealed, &keys(0..8)).unwrap();
        assert!(matches!(claim(&mut unsealed, &keys(8..9)), Err(ClaimError::Full)));
        for (mark, fresh) in fresh.iter().enumerate() {
            unsealed.confirm(fresh, mark as u64, 0);
        }
        assert_eq!((unsealed.confirmed_len(), unsealed.in_flight_len()), (8, 0));
        assert_eq!(unsealed.sealing().map(|sealing| sealing.ids.len()), Some(4));
        assert!(matches!(claim(&mut unsealed, &keys(8..9)), Err(ClaimError::Full)));
        unsealed.sealed();
        assert!(claim(&mut unsealed, &keys(8..12)).is_ok());
    }

    #[test]
    fn a_full_window_refuses_the_batch_whole_but_still_knows_its_duplicates() {
        let mut unsealed = Memtable::new(HASH, 2, 0);
        let (_, fresh) = claim(&mut unsealed, &keys(0..2)).unwrap();
        for (mark, fresh) in fresh.iter().enumerate() {
            unsealed.confirm(fresh, mark as u64, 0);
        }
        assert!(matches!(claim(&mut unsealed, &keys(2..5)), Err(ClaimError::Full)));
        assert_eq!(unsealed.in_flight_len(), 0, "the part that fitted is given back");
        let (outcomes, _) = claim(&mut unsealed, &keys(0..2)).unwrap();
        assert_eq!(outcomes[..], [Claim::Duplicate { differs: false }; 2]);
    }

    #[test]
    fn what_the_runs_cannot_tell_is_neither_fresh_nor_a_duplicate_unless_memory_knows_it() {
        let mut unsealed = Memtable::new(HASH, 8, 0);
        let k = keys(0..2);
        let (_, fresh) = claim(&mut unsealed, &k[..1]).unwrap();
        unsealed.confirm(&fresh[0], 0, 0);
        let (outcomes, fresh) = unsealed.claim(&k, &[Sealed::Unreadable; 2]).unwrap();
        assert_eq!(outcomes[..], [Claim::Duplicate { differs: false }, Claim::Unreadable]);
        assert!(fresh.is_empty() && unsealed.in_flight_len() == 0);
    }

    #[test]
    fn the_place_of_an_event_is_known_until_its_generation_is_sealed() {
        let mut unsealed = Memtable::new(HASH, 2, 0);
        let k = keys(0..5);
        let (_, fresh) = claim(&mut unsealed, &k[..3]).unwrap();
        assert_eq!(unsealed.look_up(&k[0]), LookUp::InFlight);
        for (fresh, (mark, now_millis)) in fresh.iter().zip([(70, 5), (71, 6), (90, 8)]) {
            unsealed.confirm(fresh, mark, now_millis);
        }
        let known = |place, oldest_millis, newest_millis| LookUp::Known(KnownIdentity { place, oldest_millis, newest_millis });
        assert_eq!(unsealed.sealing().map(|sealing| sealing.ids.len()), Some(2));
        let sealing = [0, 1].map(|n| unsealed.look_up(&k[n]));
        assert_eq!(sealing, [known(Place::At(70), 5, 6), known(Place::At(71), 5, 6)]);
        assert_eq!(unsealed.look_up(&k[2]), known(Place::At(90), 8, 8));
        // An identity that could be read only later lies before the mark that it gets.
        assert_eq!(unsealed.restore(&k[3], 12, 9), Some(false));
        assert_eq!(unsealed.look_up(&k[3]), known(Place::Before(91), 8, 9));
        unsealed.sealed();
        assert_eq!((unsealed.look_up(&k[0]), unsealed.look_up(&k[2])), (LookUp::Unknown, known(Place::At(90), 8, 9)));
    }

    #[test]
    fn an_event_that_was_stored_again_has_its_new_place_also_behind_younger_ones() {
        let mut unsealed = Memtable::new(HASH, 8, 0);
        let k = keys(0..2);
        let (_, fresh) = claim(&mut unsealed, &k).unwrap();
        for (fresh, mark) in fresh.iter().zip([70, 75]) {
            unsealed.confirm(fresh, mark, 0);
        }
        let place = |unsealed: &Memtable, n: usize| match unsealed.look_up(&k[n]) {
            LookUp::Known(known) => known.place,
            other => panic!("{other:?}"),
        };
        // Its copy was appended as 74, and 75 was confirmed meanwhile.
        unsealed.restore(&k[0], 74, 0);
        assert_eq!((place(&unsealed, 0), place(&unsealed, 1)), (Place::At(74), Place::At(75)));
        // A number before the generation's first does not fit, so the old place must go.
        unsealed.restore(&k[0], 3, 0);
        assert_eq!((place(&unsealed, 0), place(&unsealed, 1)), (Place::Before(76), Place::At(75)));
    }

    #[test]
    fn a_request_to_seal_covers_what_is_confirmed_by_then_and_no_more() {
        let mut unsealed = Memtable::new(HASH, 100, 0);
        let (_, fresh) = claim(&mut unsealed, &keys(0..3)).unwrap();
        unsealed.confirm(&fresh[0], 10, 0);
        assert!(!unsealed.has_below(10) && unsealed.has_below(11));
        assert_eq!(unsealed.seal_below(u64::MAX), 11);
        assert!(unsealed.sealing().is_some());
        unsealed.confirm(&fresh[1], 11, 0);
        unsealed.sealed();
        assert!(unsealed.sealing().is_none() && !unsealed.has_below(11), "the identity with mark 11 stays hot");
    }
}
