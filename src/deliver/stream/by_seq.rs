//! Entries in the order of their numbers. Entries nearly always arrive in order and leave from the front, so that a tree would
//! only cost time; returned entries go to the front, the latest first.

use std::collections::VecDeque;

use crate::sink::stream::Entry;

/// See the module. Each number occurs at most once.
#[derive(Default)]
pub(super) struct BySeq(VecDeque<Entry>);

impl BySeq {
    pub(super) fn insert(&mut self, entry: Entry) {
        match (self.0.front(), self.0.back()) {
            (Some(first), _) if entry.seq < first.seq => self.0.push_front(entry),
            (_, Some(last)) if entry.seq <= last.seq => {
                let at = self.0.partition_point(|other| other.seq < entry.seq);
                debug_assert!(self.0[at].seq != entry.seq, "an event waits once");
                self.0.insert(at, entry);
            }
            _ => self.0.push_back(entry),
        }
    }

    pub(super) fn first(&self) -> Option<&Entry> {
        self.0.front()
    }

    pub(super) fn pop_first(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for BySeq {
    type Item = Entry;
    type IntoIter = std::collections::vec_deque::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_order_they_come_in_they_leave_in_that_of_their_numbers(seqs in prop::collection::hash_set(0_u64..500, 0..200)) {
            let mut entries = BySeq::default();
            for seq in &seqs {
                entries.insert(Entry { seq: *seq, key: "".into(), place: 0, data: [].into(), headers_bytes: 0, is_maybe_sent: false });
            }
            prop_assert_eq!((entries.len(), entries.is_empty()), (seqs.len(), seqs.is_empty()));
            prop_assert_eq!(entries.first().map(|entry| entry.seq), seqs.iter().min().copied());
            let mut expected: Vec<u64> = seqs.into_iter().collect();
            expected.sort_unstable();
            let left: Vec<u64> = std::iter::from_fn(|| entries.pop_first()).map(|entry| entry.seq).collect();
            prop_assert_eq!(left, expected);
        }
    }
}
