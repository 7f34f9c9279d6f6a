//! A fair sample of a stream of unknown length.
//!
//! Each item gets a random rank, and the items with the highest ranks are kept. So each item is as likely to be kept as any
//! other, whatever their order and whoever offers them; and an item whose rank is not above the lowest one kept need not even be
//! made: one comparison of two integers.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Keeps the items with the highest ranks.
#[derive(Debug)]
pub(super) struct Reservoir<T> {
    room: usize,
    /// The lowest rank is on top.
    kept: BinaryHeap<Ranked<T>>,
}

/// An item with its rank.
#[derive(Debug)]
struct Ranked<T> {
    rank: u64,
    item: T,
}

impl<T> Reservoir<T> {
    /// Has room for so many items.
    pub(super) fn new(room: usize) -> Self {
        Self { room, kept: BinaryHeap::new() }
    }

    /// A rank must be higher than this to be kept.
    pub(super) fn floor(&self) -> u64 {
        if self.kept.len() < self.room { 0 } else { self.kept.peek().map_or(u64::MAX, |lowest| lowest.rank) }
    }

    /// Keeps the item, if its rank is high enough.
    pub(super) fn offer(&mut self, rank: u64, item: T) {
        if rank <= self.floor() {
            return;
        }
        if self.kept.len() == self.room {
            self.kept.pop();
        }
        self.kept.push(Ranked { rank, item });
    }

    /// Takes the items with their ranks, in no order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (u64, T)> {
        std::mem::take(&mut self.kept).into_iter().map(|Ranked { rank, item }| (rank, item))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank.cmp(&self.rank)
    }
}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl<T> Eq for Ranked<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_as_likely_to_be_kept_as_any_other() {
        const ITEMS: usize = 100;
        const ROOM: usize = 10;
        const ROUNDS: usize = 20_000;
        let mut rng = fastrand::Rng::with_seed(22);
        let mut kept = [0_u32; ITEMS];
        for _ in 0..ROUNDS {
            let mut reservoir = Reservoir::new(ROOM);
            for item in 0..ITEMS {
                reservoir.offer(rng.u64(..), item);
            }
            let taken: Vec<usize> = reservoir.take().map(|(_, item)| item).collect();
            assert_eq!(taken.len(), ROOM);
            taken.into_iter().for_each(|item| kept[item] += 1);
            assert_eq!(reservoir.floor(), 0, "it is empty again");
        }
        // Chi-square with 99 degrees of freedom: 149 is passed by chance once in a thousand seeds.
        let expected = (ROUNDS * ROOM / ITEMS) as f64;
        let chi_square: f64 = kept.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        assert!(chi_square < 149.0, "{chi_square}: {kept:?}");
    }

    #[test]
    fn fewer_items_than_there_is_room_for_are_all_kept() {
        let mut reservoir = Reservoir::new(3);
        (1..=3).for_each(|rank| reservoir.offer(rank, rank));
        assert_eq!(reservoir.floor(), 1);
        reservoir.offer(1, 0);
        let mut taken: Vec<_> = reservoir.take().collect();
        taken.sort_unstable();
        assert_eq!(taken, [(1, 1), (2, 2), (3, 3)]);
    }
}
