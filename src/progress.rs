//! How far the events of the spool have come: confirmed in the dedup window, delivered, awaited by somebody.

mod seq_set;

use std::{
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

pub use seq_set::SeqSet;

/// Shared by those who store, the deliverer, and those who wait for it. Positions are sequence numbers of the spool.
#[derive(Debug)]
pub struct Progress {
    confirmed_exclusive: AtomicU64,
    delivered: Mutex<SeqSet>,
    /// Counts the changes of `delivered`.
    changes: watch::Sender<u64>,
    awaited_exclusive: watch::Sender<u64>,
}

impl Progress {
    /// At the start: everything below `durable_exclusive` is known to the dedup window, and below `delivered_exclusive`
    /// delivered.
    #[must_use]
    pub fn new(durable_exclusive: u64, delivered_exclusive: u64) -> Self {
        Self {
            confirmed_exclusive: AtomicU64::new(durable_exclusive),
            delivered: Mutex::new(SeqSet::below(delivered_exclusive)),
            changes: watch::Sender::new(0),
            awaited_exclusive: watch::Sender::new(0),
        }
    }

    /// The dedup window knows the identity of everything below `seq_exclusive`. Called in the order of the appends.
    pub fn confirm(&self, seq_exclusive: u64) {
        self.confirmed_exclusive.store(seq_exclusive, Ordering::Release);
    }

    /// Below what the dedup window knows every identity: a little behind what is durable, and nothing beyond it may be
    /// unlinked even if it is delivered already.
    #[must_use]
    pub fn confirmed_exclusive(&self) -> u64 {
        self.confirmed_exclusive.load(Ordering::Acquire)
    }

    /// Everything below `seq_exclusive` is delivered, durably.
    pub fn advance(&self, seq_exclusive: u64) {
        let from = self.delivered_exclusive();
        self.settle(from..seq_exclusive);
    }

    /// These are delivered, durably, each for itself.
    pub fn settle(&self, seqs: impl IntoIterator<Item = u64>) {
        let mut delivered = self.delivered();
        for seq in seqs {
            delivered.insert(seq);
        }
        drop(delivered);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Below what everything is delivered.
    #[must_use]
    pub fn delivered_exclusive(&self) -> u64 {
        self.delivered().prefix()
    }

    /// How many below `end_exclusive` are not delivered.
    #[must_use]
    pub fn undelivered(&self, end_exclusive: u64) -> u64 {
        let delivered = self.delivered();
        end_exclusive.saturating_sub(delivered.prefix() + delivered.ahead())
    }

    /// What is delivered, as it is now.
    #[must_use]
    pub fn delivered_now(&self) -> SeqSet {
        self.delivered().clone()
    }

    /// Up to where somebody waits, so that the deliverer need not let a batch grow old.
    #[must_use]
    pub fn watch_awaited(&self) -> watch::Receiver<u64> {
        self.awaited_exclusive.subscribe()
    }

    /// Waits until all of `ranges` are delivered, for at most `wait`. Whether they are.
    pub async fn await_delivered(&self, ranges: &[Range<u64>], wait: Duration) -> bool {
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        self.awaited_exclusive.send_if_modified(|awaited| {
            let further = end > *awaited;
            *awaited = (*awaited).max(end);
            further
        });
        let mut changes = self.changes.subscribe();
        let are_delivered = |_: &u64| {
            let delivered = self.delivered();
            ranges.iter().all(|range| delivered.contains_all(range.clone()))
        };
        matches!(tokio::time::timeout(wait, changes.wait_for(are_delivered)).await, Ok(Ok(_)))
    }

    fn delivered(&self) -> MutexGuard<'_, SeqSet> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_it_is_delivered_or_when_the_time_is_up() {
        let progress = Progress::new(5, 5);
        assert!(progress.await_delivered(&[0..5], Duration::ZERO).await);
        assert!(!progress.await_delivered(&[0..6], Duration::from_secs(1)).await);
        assert_eq!(*progress.watch_awaited().borrow(), 6);
        let (reached, ()) =
            tokio::join!(progress.await_delivered(&[0..7], Duration::from_secs(1)), async { progress.advance(9) });
        assert!(reached);
        assert_eq!(*progress.watch_awaited().borrow(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_his_own_does_not_wait_for_what_was_before() {
        let progress = Progress::new(20, 5);
        progress.settle([10, 12]);
        assert!(!progress.await_delivered(&[10..13], Duration::from_secs(1)).await);
        progress.settle([11]);
        assert!(progress.await_delivered(&[10..13], Duration::from_secs(1)).await);
        assert_eq!((progress.delivered_exclusive(), progress.undelivered(20)), (5, 12));
    }
}
