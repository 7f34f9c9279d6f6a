//! Merging: many small runs become a few large ones, so that a lookup probes few filters.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::folder::{Folder, Generations};
use super::format::PAGE_BYTES;
use super::identity::{Entry, Placed};
use super::run::Run;
use super::stats::Counters;
use super::unreadable_pages::PageState;
use super::writer::{Facts, RunWriter};
use crate::limits::{DEDUP_MERGE_FACTOR, DEDUP_READ_PAGES};

/// Why a merge was given up. Its inputs stay.
#[derive(Debug)]
pub(super) enum MergeError {
    /// A page of an input cannot be read at the moment.
    Waits,
    /// The merged run cannot be written.
    Disk(io::Error),
}

impl From<io::Error> for MergeError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Maximum size of a merged run.
#[derive(Clone, Copy, Debug)]
pub(super) struct MergeLimits {
    /// Identities in a run of tier 0.
    pub(super) hot_identities: u64,
    /// A quarter of the identities in the window, because a run is forgotten as a whole.
    pub(super) identities_max: u64,
    /// A quarter of the window, for the same reason.
    pub(super) span_millis_max: i64,
}

/// The facts about a run that the choice of a merge needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) identities: u64,
    pub(super) oldest_millis: i64,
    pub(super) newest_millis: i64,
    /// A page of the run cannot be read at the moment: the run is not merged until the page is readable or lost.
    pub(super) waits: bool,
}

/// Chooses neighbours to merge among runs in order of age: of the first four of a tier, as many as the limits allow.
///
/// Only neighbours, so that a run's generations stay one range. New runs enter at tier 0, and four of a tier become one of the
/// next, so tiers descend with age and runs of one tier are neighbours.
pub(super) fn choose(runs: &[Size], limits: &MergeLimits) -> Option<Range<usize>> {
    let tier = |run: &Size| {
        let mut tier = 0;
        let mut size = limits.hot_identities;
        while size < run.identities {
            size = size.saturating_mul(DEDUP_MERGE_FACTOR as u64);
            tier += 1;
        }
        tier
    };
    let fits = |group: &[Size]| {
        let identities: u64 = group.iter().map(|run| run.identities).sum();
        let oldest = group.iter().map(|run| run.oldest_millis).min().unwrap_or(0);
        let newest = group.iter().map(|run| run.newest_millis).max().unwrap_or(0);
        identities <= limits.identities_max && newest.saturating_sub(oldest) <= limits.span_millis_max
    };
    let mut start = 0;
    for peers in runs.chunk_by(|a, b| tier(a) == tier(b) && !a.waits && !b.waits) {
        if peers.len() >= DEDUP_MERGE_FACTOR {
            let candidates =
                (0..peers.len() - 1).flat_map(|from| (2..=DEDUP_MERGE_FACTOR).rev().map(move |length| from..from + length));
            let mut possible = candidates.filter(|range| range.end <= peers.len());
            if let Some(range) = possible.find(|range| fits(&peers[range.clone()])) {
                return Some(start + range.start..start + range.end);
            }
        }
        start += peers.len();
    }
    None
}

/// Reads one run from front to back.
struct Cursor {
    run: Arc<Run>,
    /// Of the merged run, for which the places are converted.
    facts: Facts,
    next_page: usize,
    /// Entries that were read and not yet returned, in reverse.
    entries: Vec<Entry>,
    pages: Vec<u8>,
}

impl Cursor {
    fn next(&mut self, counters: &Counters) -> Result<Option<Entry>, MergeError> {
        while self.entries.is_empty() && self.next_page < self.run.pages() {
            self.fill(counters)?;
        }
        Ok(self.entries.pop())
    }

    /// The entry as it is in the merged run. A place of another history than that of the merged run becomes unknown.
    fn converted(run: &Run, facts: &Facts, known: Placed) -> Entry {
        let place = run.footer.place(known.offset, facts.spool_history).filter(|place| *place < facts.mark_end_exclusive);
        run.hash.entry(Placed { offset: Placed::offset_of(place, facts.mark_first_inclusive), ..known })
    }

    fn fill(&mut self, counters: &Counters) -> Result<(), MergeError> {
        let count = DEDUP_READ_PAGES.min(self.run.pages() - self.next_page);
        self.pages.resize(count * PAGE_BYTES, 0);
        // All pages in one read. If that fails, one by one, so that a bad page costs only itself.
        let are_read = self.run.read_pages(self.next_page, &mut self.pages).is_ok();
        for (page, bytes) in (self.next_page..).zip(self.pages.chunks_exact_mut(PAGE_BYTES)) {
            let is_intact = are_read && self.run.is_intact(page, bytes);
            let state = if is_intact { PageState::Intact } else { self.run.read_page(page, bytes, counters) };
            match state {
                PageState::Intact => {
                    let (run, facts) = (&self.run, &self.facts);
                    self.entries.extend(run.entries(page, bytes).map(|known| Self::converted(run, facts, known)));
                }
                // Its identities are lost with or without the merge.
                PageState::Damaged => {}
                // The page may be read later, so the merge fails and the run stays.
                PageState::Unreadable => return Err(MergeError::Waits),
            }
        }
        self.entries.reverse();
        self.next_page += count;
        Ok(())
    }
}

/// A merge in progress. Its memory is one unfinished slice and the filters built so far, for inputs of any size.
pub(super) struct Merge {
    inputs: Vec<Cursor>,
    /// The next entry of every input that is not exhausted, with the input's index.
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
    writer: RunWriter,
    facts: Facts,
}

impl Merge {
    /// Begins to merge neighbouring runs, the oldest first.
    pub(super) fn start(
        folder: &Arc<Folder>,
        runs: &[Arc<Run>],
        slice_identities: u64,
        counters: &Counters,
    ) -> Result<Option<Self>, MergeError> {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(None) };
        let generations =
            Generations { first_inclusive: first.generations.first_inclusive, last_inclusive: last.generations.last_inclusive };
        let of_last = || runs.iter().filter(|run| run.footer.spool_history == last.footer.spool_history);
        let facts = Facts {
            oldest_millis: runs.iter().map(|run| run.footer.oldest_millis).min().unwrap_or(0),
            newest_millis: runs.iter().map(|run| run.footer.newest_millis).max().unwrap_or(0),
            mark_first_inclusive: of_last().map(|run| run.footer.mark_first_inclusive).min().unwrap_or(u64::MAX),
            // The mark of the newest run, not the largest mark: if the spool was replaced by an empty one, marks began again
            // at 0.
            mark_end_exclusive: last.footer.mark_end_exclusive,
            spool_history: last.footer.spool_history,
        };
        let identities = runs.iter().map(|run| run.footer.identities).sum();
        let writer = RunWriter::create(folder, generations, &first.hash, identities, slice_identities)?;
        let cursor =
            |run: &Arc<Run>| Cursor { run: Arc::clone(run), facts, next_page: 0, entries: Vec::new(), pages: Vec::new() };
        let mut inputs: Vec<Cursor> = runs.iter().map(cursor).collect();
        let mut heads = BinaryHeap::new();
        for (index, input) in inputs.iter_mut().enumerate() {
            heads.extend(input.next(counters)?.map(|entry| Reverse((entry, index))));
        }
        Ok(Some(Self { inputs, heads, writer, facts }))
    }

    /// The runs that the merge replaces.
    pub(super) fn inputs(&self) -> Vec<Arc<Run>> {
        self.inputs.iter().map(|input| Arc::clone(&input.run)).collect()
    }

    /// Merges about one slice. Returns whether there is more.
    pub(super) fn step(&mut self, counters: &Counters) -> Result<bool, MergeError> {
        // The head is replaced in place, which is half the work of a pop and a push.
        while let Some(mut head) = self.heads.peek_mut() {
            let Reverse((entry, input)) = *head;
            match self.inputs[input].next(counters)? {
                Some(next) => *head = Reverse((next, input)),
                None => drop(PeekMut::pop(head)),
            }
            if self.writer.push(entry)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the merged run durable. `None` if damage left no identities of the inputs.
    pub(super) fn finish(self) -> Result<Option<Run>, MergeError> {
        self.writer.finish(self.facts).map_err(|error| MergeError::Disk(error.into_io()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MergeLimits = MergeLimits { hot_identities: 10, identities_max: 250, span_millis_max: 100 };

    fn sizes(identities: &[u64]) -> Vec<Size> {
        identities.iter().map(|&identities| Size { identities, oldest_millis: 0, newest_millis: 0, waits: false }).collect()
    }

    #[test]
    fn four_of_a_tier_become_one_of_the_next_and_three_stay() {
        assert_eq!(choose(&sizes(&[10, 10, 10]), &LIMITS), None);
        assert_eq!(choose(&sizes(&[10, 10, 10, 10]), &LIMITS), Some(0..4));
        assert_eq!(choose(&sizes(&[40, 40, 40, 10, 10, 3, 10]), &LIMITS), Some(3..7));
        assert_eq!(choose(&sizes(&[40, 40, 40, 10, 10, 3]), &LIMITS), None);
    }

    #[test]
    fn a_run_that_cannot_be_read_is_left_alone_and_the_others_are_merged() {
        let mut runs = sizes(&[10; 9]);
        runs[4].waits = true;
        assert_eq!(choose(&runs, &LIMITS), Some(0..4));
        runs[3].waits = true;
        assert_eq!(choose(&runs, &LIMITS), Some(5..9));
        runs[6].waits = true;
        assert_eq!(choose(&runs, &LIMITS), None);
    }

    #[test]
    fn the_largest_run_is_bounded_in_identities_and_in_time() {
        assert_eq!(choose(&sizes(&[160, 160, 160, 160]), &LIMITS), None);
        assert_eq!(choose(&sizes(&[80, 80, 80, 80]), &LIMITS), Some(0..3), "as many as fit");
        assert_eq!(choose(&sizes(&[160, 160, 80, 80]), &LIMITS), Some(1..3), "from the first where any fit");
        let mut apart = sizes(&[10, 10, 10, 10]);
        for (day, run) in apart.iter_mut().enumerate() {
            run.oldest_millis = 60 * day as i64;
            run.newest_millis = run.oldest_millis + 10;
        }
        assert_eq!(choose(&apart, &LIMITS), Some(0..2));
    }

    #[test]
    fn a_window_filled_at_any_pace_ends_in_few_runs() {
        let limits = MergeLimits { hot_identities: 262_144, identities_max: 25_000_000, span_millis_max: i64::MAX };
        for seal in [262_144, 200_000, 1_000, 77] {
            let mut runs = Vec::new();
            for _ in 0..3_000_u32 {
                runs.push(seal);
                while let Some(range) = choose(&sizes(&runs), &limits) {
                    let merged = runs[range.clone()].iter().sum();
                    runs.splice(range, [merged]);
                }
                while runs.iter().sum::<u64>() > 100_000_000 {
                    runs.remove(0);
                }
                assert!(runs.len() <= 17, "{seal}: {runs:?}");
            }
        }
    }
}
