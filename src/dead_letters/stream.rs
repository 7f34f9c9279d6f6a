//! The spool of the dead letters' own stream, and the share of each source.
//!
//! All keys share the spool, so a key that sends only garbage while the stream is down could fill it for all. Letters of a
//! source beyond its share go into its files, with their own quota. Letters in the spool at the start count for no source.
//!
//! Where answers wait for delivery (`http.durability = "delivered"`), files are no place for a letter: what has no room in the
//! spool is not kept, and its event is answered `retry`.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{error::DeadLetterError, lines::Lines};
use crate::{
    bounded_map::BoundedMap,
    config::Durability,
    limits::{DEAD_LETTER_WAITS_MAX, ENDINGS_MAX},
    progress::{Ending, Progress},
    spool::Spool,
};

/// See the module.
#[derive(Clone)]
pub struct LetterStream {
    pub(super) spool: Arc<Spool>,
    progress: Arc<Progress>,
    durability: Durability,
    bytes_per_source_max: u64,
    waiting: Arc<Mutex<Waiting>>,
    /// Where the letters of refused events are.
    refused: Arc<Mutex<BoundedMap<Uuid, u64>>>,
    /// Places for requests whose letters wait.
    places: Arc<Semaphore>,
    /// The end of the letters from before the start.
    old_end_exclusive: u64,
}

impl LetterStream {
    /// For letters that wait in `spool`, with its `progress`; each source may have `bytes_per_source_max`. With the durability
    /// `Delivered`, answers wait for their delivery.
    #[must_use]
    pub fn new(spool: Arc<Spool>, progress: Arc<Progress>, durability: Durability, bytes_per_source_max: u64) -> Self {
        Self {
            old_end_exclusive: spool.durable_end(),
            spool,
            progress,
            durability,
            bytes_per_source_max,
            waiting: Arc::default(),
            refused: Arc::new(Mutex::new(BoundedMap::new(ENDINGS_MAX))),
            places: Arc::new(Semaphore::new(DEAD_LETTER_WAITS_MAX)),
        }
    }

    /// Whether answers wait for the delivery of letters.
    pub(super) fn is_awaited(&self) -> bool {
        self.durability == Durability::Delivered
    }

    /// A place for a request whose letters wait.
    pub(super) fn wait(&self) -> Result<OwnedSemaphorePermit, DeadLetterError> {
        self.places.clone().try_acquire_owned().map_err(|_| DeadLetterError::Busy)
    }

    /// Waits until these letters are settled. Returns whether the stream has all of them.
    pub(super) async fn delivered(&self, mut seqs: Range<u64>) -> bool {
        self.progress.await_settled(std::slice::from_ref(&seqs), Duration::MAX).await;
        seqs.all(|seq| self.progress.ending(seq) == Some(Ending::Delivered))
    }

    /// Where the letter of an event is that the sink refused.
    pub(super) fn refused(&self, event: Uuid) -> Option<u64> {
        self.refused_ones().get(&event).copied()
    }

    /// Whether the letters from before the start are settled.
    pub(super) fn has_delivered_old_ones(&self) -> bool {
        self.progress.settled_exclusive() >= self.old_end_exclusive
    }

    fn refused_ones(&self) -> MutexGuard<'_, BoundedMap<Uuid, u64>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `bytes` more of a source are within its share.
    pub(super) fn has_room_for(&self, source: &str, bytes: usize) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.settle(self.spool.cursor().delivered_exclusive);
        waiting.held(source) + bytes as u64 <= self.bytes_per_source_max
    }

    /// Notes letters that are in the spool now. Call it in the order of the spool.
    pub(super) fn add(&self, lines: &Lines, seqs: Range<u64>) {
        let bytes = lines.text.len() as u64;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).add(&lines.source, bytes, seqs.end);
        if let Some(event) = lines.refused {
            self.refused_ones().insert(event, seqs.start);
        }
    }
}

/// Bytes that wait to be delivered: per range, and in total.
#[derive(Debug, Default)]
struct Waiting {
    stretches: VecDeque<Stretch>,
    held: HashMap<Arc<str>, u64>,
}

#[derive(Debug)]
struct Stretch {
    first_seq: u64,
    end_seq_exclusive: u64,
    by_source: HashMap<Arc<str>, u64>,
}

/// Approximate number of letters settled together: a spool of a million has a thousand entries.
const STRETCH_LETTERS: u64 = 1024;

impl Waiting {
    fn held(&self, source: &str) -> u64 {
        self.held.get(source).copied().unwrap_or(0)
    }

    fn add(&mut self, source: &Arc<str>, bytes: u64, end_seq_exclusive: u64) {
        *self.held.entry(source.clone()).or_default() += bytes;
        match self.stretches.back_mut().filter(|last| end_seq_exclusive - last.first_seq <= STRETCH_LETTERS) {
            Some(last) => {
                last.end_seq_exclusive = end_seq_exclusive;
                *last.by_source.entry(source.clone()).or_default() += bytes;
            }
            None => self.stretches.push_back(Stretch {
                first_seq: end_seq_exclusive,
                end_seq_exclusive,
                by_source: HashMap::from([(source.clone(), bytes)]),
            }),
        }
    }

    fn settle(&mut self, delivered_exclusive: u64) {
        while let Some(first) = self.stretches.pop_front_if(|first| first.end_seq_exclusive <= delivered_exclusive) {
            for (source, bytes) in first.by_source {
                if let Some(held) = self.held.get_mut(&source) {
                    *held = held.saturating_sub(bytes);
                    if *held == 0 {
                        self.held.remove(&source);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_delivered_counts_for_nobody_any_more_and_what_is_remembered_is_bounded() {
        let (web, app): (Arc<str>, Arc<str>) = ("web".into(), "app".into());
        let mut waiting = Waiting::default();
        for seq in 1..=100_000 {
            waiting.add(if seq % 4 == 0 { &app } else { &web }, 10, seq);
        }
        assert_eq!((waiting.held("web"), waiting.held("app"), waiting.held("nobody")), (750_000, 250_000, 0));
        assert!(waiting.stretches.len() < 110, "{}", waiting.stretches.len());
        waiting.settle(50_000);
        assert!((370_000..400_000).contains(&waiting.held("web")), "{}", waiting.held("web"));
        waiting.settle(100_000);
        assert!(waiting.held.is_empty() && waiting.stretches.is_empty());
    }
}
