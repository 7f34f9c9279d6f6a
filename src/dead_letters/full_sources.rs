//! Sources at their quota: since when, and which of them have their oldest letters discarded.
//!
//! A sender that reads only the status of an answer sends a whole request again for one bad event that cannot be kept. So that
//! full dead letters do not stop its good events for ever, the gateway makes room after a while (`dead_letters.when_full`), and
//! says so. The while begins anew once a person made room.

use std::{collections::HashMap, path::Path, sync::Arc, time::Instant};

use super::{discard::Discarded, folder};
use crate::{
    conditions::{Condition, Conditions},
    limits::DISCARDED_LETTERS_TOLD,
};

/// What did not fit.
#[derive(Debug)]
struct Full {
    bytes: u64,
    /// The bytes that the source may have with them.
    limit: u64,
    since: Instant,
}

/// The discarded letters of a source.
#[derive(Debug)]
struct Discards {
    sum: Discarded,
    last: Instant,
    /// Bytes of its letters since the last discard: if it has less, a person made room.
    left_bytes: u64,
}

/// See the module.
pub(super) struct FullSources {
    full: HashMap<Arc<str>, Full>,
    discards: HashMap<Arc<str>, Discards>,
    conditions: Conditions,
}

impl FullSources {
    pub(super) fn new(conditions: Conditions) -> Self {
        Self { full: HashMap::new(), discards: HashMap::new(), conditions }
    }

    /// `bytes` do not fit within `limit`, because of `detail`.
    pub(super) fn add(&mut self, source: &Arc<str>, bytes: u64, limit: u64, detail: String) {
        self.conditions.raise(Condition::DeadLettersFull, source, detail);
        let full = self.full.entry(source.clone()).or_insert_with(|| Full { bytes, limit, since: Instant::now() });
        (full.bytes, full.limit) = (bytes, limit);
    }

    /// `bytes` did fit within `limit`.
    pub(super) fn has_taken(&mut self, source: &Arc<str>, bytes: u64, limit: u64) {
        if self.full.get(source).is_some_and(|full| bytes >= full.bytes && limit <= full.limit) {
            self.remove(source);
        }
    }

    /// When the source became full; now, if it only becomes full.
    pub(super) fn since(&self, source: &str) -> Instant {
        self.full.get(source).map_or_else(Instant::now, |full| full.since)
    }

    /// Whether letters of the source were discarded already, and nobody made room since.
    pub(super) fn is_discarding(&self, source: &str) -> bool {
        self.discards.contains_key(source)
    }

    /// Letters of the source were discarded; its letters have `left_bytes` now.
    pub(super) fn discarded(&mut self, source: &Arc<str>, discarded: Discarded, left_bytes: u64) {
        if discarded.letters == 0 {
            // A person had repaired them.
            self.discards.entry(source.clone()).and_modify(|discards| discards.left_bytes = left_bytes);
            return;
        }
        let last = Instant::now();
        let none = || Discards { sum: Discarded::default(), last, left_bytes };
        let discards = self.discards.entry(source.clone()).or_insert_with(none);
        (discards.last, discards.left_bytes) = (last, left_bytes);
        discards.sum.add(discarded);
        let detail = format!("they were full, and nobody made room: {} were discarded, unrepaired", discards.sum);
        self.conditions.raise(Condition::DeadLettersDiscarded, source, detail);
    }

    /// `bytes` of letters were written.
    pub(super) fn wrote(&mut self, source: &str, bytes: u64) {
        if let Some(discards) = self.discards.get_mut(source) {
            discards.left_bytes += bytes;
        }
    }

    /// Clears what is over. `root` has a folder for each source.
    pub(super) fn look(&mut self, root: &Path) {
        let has_room =
            |source: &str, full: &Full| folder::bytes_below(&root.join(source)).unwrap_or(0) + full.bytes <= full.limit;
        let over: Vec<Arc<str>> =
            self.full.iter().filter(|(source, full)| has_room(source, full)).map(|(source, _)| source.clone()).collect();
        over.iter().for_each(|source| self.remove(source));
        let conditions = &self.conditions;
        self.discards.retain(|source, discards| {
            let letters = folder::bytes_of_letters(&root.join(&**source)).unwrap_or(0);
            let is_told = discards.last.elapsed() < DISCARDED_LETTERS_TOLD && letters >= discards.left_bytes;
            if !is_told {
                conditions.clear(Condition::DeadLettersDiscarded, source);
            }
            is_told
        });
    }

    fn remove(&mut self, source: &Arc<str>) {
        self.full.remove(source);
        self.conditions.clear(Condition::DeadLettersFull, source);
    }
}
