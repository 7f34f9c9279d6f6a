//! A set of sequence numbers that fills from below.

use std::{collections::VecDeque, ops::Range};

const BITS: u64 = u64::BITS as u64;

/// Sorted numbers as ranges.
pub fn ranges(seqs: &[u64]) -> impl Iterator<Item = Range<u64>> + '_ {
    let runs = seqs.chunk_by(|a, b| a + 1 == *b);
    runs.map(|run| run[0]..run[run.len() - 1] + 1)
}

/// Everything below [`SeqSet::prefix`], and one bit for each number above it.
#[derive(Clone, Debug)]
pub struct SeqSet {
    prefix: u64,
    /// The first word contains the prefix; no word is full.
    words: VecDeque<u64>,
    ahead: u64,
}

impl SeqSet {
    /// Everything below `prefix`.
    #[must_use]
    pub fn below(prefix: u64) -> Self {
        let mut set = Self { prefix, words: VecDeque::new(), ahead: 0 };
        set.words.push_back((1 << (prefix % BITS)) - 1);
        set
    }

    /// These ranges, which ascend.
    #[must_use]
    pub fn of(ranges: &[Range<u64>]) -> Self {
        let mut set = Self::below(0);
        for range in ranges {
            set.insert_range(range.clone());
        }
        set
    }

    /// The lowest number that is not in the set.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.prefix
    }

    /// How many numbers above the prefix are in the set.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Whether `seq` is in the set.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        seq < self.prefix || self.words.get(self.index(seq)).is_some_and(|word| word & (1 << (seq % BITS)) != 0)
    }

    /// Whether all of `range` is in the set.
    #[must_use]
    pub fn contains_all(&self, mut range: Range<u64>) -> bool {
        range.end <= self.prefix || (range.start > self.prefix && range.all(|seq| self.contains(seq)))
    }

    /// Inserts `seq`. Returns whether it was missing.
    pub fn insert(&mut self, seq: u64) -> bool {
        if self.contains(seq) {
            return false;
        }
        let index = self.index(seq);
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= 1 << (seq % BITS);
        self.ahead += 1;
        if seq == self.prefix {
            self.advance();
        }
        true
    }

    /// Inserts `range`. Returns the parts of it that were missing, in order.
    pub fn insert_range(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        if self.ahead == 0 && range.start <= self.prefix {
            // The usual case: nothing is ahead, and no bit is touched.
            let new = self.prefix..range.end.max(self.prefix);
            if !new.is_empty() {
                *self = Self::below(new.end);
            }
            return Some(new).filter(|new| !new.is_empty()).into_iter().collect();
        }
        let new: Vec<u64> = (range.start.max(self.prefix)..range.end).filter(|seq| self.insert(*seq)).collect();
        ranges(&new).collect()
    }

    /// The ranges above the prefix that are in the set, in order.
    pub fn ranges_ahead(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let end = (self.prefix / BITS + self.words.len() as u64) * BITS;
        let mut next = self.prefix;
        std::iter::from_fn(move || {
            let start = self.first_from(next, true)?;
            next = self.first_from(start, false).unwrap_or(end);
            Some(start..next)
        })
    }

    /// The first number from `from` on, at or above the prefix, that is in the set (`is_in`) or not in the set.
    fn first_from(&self, from: u64, is_in: bool) -> Option<u64> {
        let mut mask = u64::MAX << (from % BITS);
        (self.index(from)..self.words.len()).find_map(|index| {
            let word = if is_in { self.words[index] } else { !self.words[index] } & mask;
            mask = u64::MAX;
            (word != 0).then(|| (self.prefix / BITS + index as u64) * BITS + u64::from(word.trailing_zeros()))
        })
    }

    fn index(&self, seq: u64) -> usize {
        (seq / BITS - self.prefix / BITS) as usize
    }

    fn advance(&mut self) {
        let before = self.prefix;
        while let Some(word) = self.words.front() {
            let first = self.prefix / BITS * BITS;
            self.prefix = first + u64::from(word.trailing_ones());
            if *word != u64::MAX {
                break;
            }
            self.words.pop_front();
        }
        if self.words.is_empty() {
            self.words.push_back(0);
        }
        self.ahead -= self.prefix - before;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_it_stands_for(first in 0_u64..200, seqs in prop::collection::vec(0_u64..600, 0..500)) {
            let mut set = SeqSet::below(first);
            let mut model: BTreeSet<u64> = (0..first).collect();
            for seq in seqs {
                prop_assert_eq!(set.insert(seq), model.insert(seq));
                let prefix = (0..).find(|seq| !model.contains(seq)).unwrap();
                prop_assert_eq!(set.prefix(), prefix);
                prop_assert_eq!(set.ahead(), model.len() as u64 - prefix);
            }
            prop_assert!((0..700).all(|seq| set.contains(seq) == model.contains(&seq)));
            let ahead: Vec<u64> = set.ranges_ahead().flatten().collect();
            prop_assert!(ahead.iter().eq(model.range(set.prefix()..)));
            prop_assert!(set.contains_all(0..set.prefix()) && !set.contains_all(0..set.prefix() + 1));
        }

        #[test]
        fn ranges_are_inserted_as_their_numbers_are(
            first in 0_u64..200,
            ranges in prop::collection::vec((0_u64..600, 0_u64..90), 0..20),
        ) {
            let mut set = SeqSet::below(first);
            let mut model: BTreeSet<u64> = (0..first).collect();
            for (start, length) in ranges {
                let new: Vec<u64> = set.insert_range(start..start + length).into_iter().flatten().collect();
                let expected: Vec<u64> = (start..start + length).filter(|seq| model.insert(*seq)).collect();
                prop_assert_eq!(new, expected);
            }
            prop_assert!((0..800).all(|seq| set.contains(seq) == model.contains(&seq)));
            let all: Vec<Range<u64>> = std::iter::once(0..set.prefix()).chain(set.ranges_ahead()).collect();
            let copy = SeqSet::of(&all);
            prop_assert_eq!((copy.prefix(), copy.ahead()), (set.prefix(), set.ahead()));
        }
    }
}
