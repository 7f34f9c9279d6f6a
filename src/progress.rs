//! The progress of the events in the spool: confirmed in the dedup window, settled and how, awaited by a request.

mod endings;
mod seq_set;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

pub use endings::Ending;
use endings::Endings;
pub use seq_set::SeqSet;

/// Shared by the code that stores, the deliverer, and the requests that wait. Positions are sequence numbers of the spool.
#[derive(Debug)]
pub struct Progress {
    confirmed_exclusive: AtomicU64,
    settled: Mutex<Settled>,
    /// Whether any event ended without being delivered.
    has_endings: AtomicBool,
    /// Counts the changes of `settled`.
    changes: watch::Sender<u64>,
    awaited_exclusive: watch::Sender<u64>,
}

#[derive(Debug)]
struct Settled {
    seqs: SeqSet,
    otherwise: Endings,
}

impl Progress {
    /// The state at the start: the dedup window knows everything below `durable_exclusive`, and everything below
    /// `delivered_exclusive` is delivered.
    #[must_use]
    pub fn new(durable_exclusive: u64, delivered_exclusive: u64) -> Self {
        Self {
            confirmed_exclusive: AtomicU64::new(durable_exclusive),
            settled: Mutex::new(Settled { seqs: SeqSet::below(delivered_exclusive), otherwise: Endings::default() }),
            has_endings: AtomicBool::new(false),
            changes: watch::Sender::new(0),
            awaited_exclusive: watch::Sender::new(0),
        }
    }

    /// Records that the dedup window knows every identity below `seq_exclusive`. Call in the order of the appends.
    pub fn confirm(&self, seq_exclusive: u64) {
        self.confirmed_exclusive.store(seq_exclusive, Ordering::Release);
    }

    /// The dedup window knows every identity below this number. It is slightly behind the durable end. Nothing at or beyond it
    /// may be unlinked, even if delivered.
    #[must_use]
    pub fn confirmed_exclusive(&self) -> u64 {
        self.confirmed_exclusive.load(Ordering::Acquire)
    }

    /// Records that these events are durably delivered, each on its own.
    pub fn settle(&self, seqs: impl IntoIterator<Item = u64>) {
        let mut settled = self.settled();
        for seq in seqs {
            settled.seqs.insert(seq);
        }
        drop(settled);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Records that an event durably ended in another way. `identity` is its identity in the dedup window, if known.
    pub fn settle_as(&self, seq: u64, identity: Option<Uuid>, ending: Ending) {
        let mut settled = self.settled();
        settled.otherwise.note(seq, identity, ending);
        settled.seqs.insert(seq);
        drop(settled);
        self.has_endings.store(true, Ordering::Release);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// How the event `seq` ended; `None` while it is not settled. Of very many events that were not delivered, the oldest are
    /// forgotten and count as delivered.
    #[must_use]
    pub fn ending(&self, seq: u64) -> Option<Ending> {
        let settled = self.settled();
        settled.seqs.contains(seq).then(|| settled.otherwise.at(seq).unwrap_or(Ending::Delivered))
    }

    /// Why the sink refused the event with this identity, if the refusal is remembered.
    #[must_use]
    pub fn refusal(&self, identity: Uuid) -> Option<Arc<str>> {
        self.has_endings.load(Ordering::Acquire).then(|| self.settled().otherwise.refusal(identity)).flatten()
    }

    /// Forgets the refusal of an event, because the event is stored again.
    pub fn forget_refusal(&self, identity: Uuid) {
        if self.has_endings.load(Ordering::Acquire) {
            self.settled().otherwise.forget_refusal(identity);
        }
    }

    /// Marks the event with this identity as lost: the next event with it is stored, although the dedup window knows it.
    pub fn lose(&self, identity: Uuid) {
        self.settled().otherwise.lose(identity);
        self.has_endings.store(true, Ordering::Release);
    }

    /// Whether the event with this identity was lost. Only one caller gets `true`: store the event, or call [`Progress::lose`].
    #[must_use]
    pub fn take_lost(&self, identity: Uuid) -> bool {
        self.has_endings.load(Ordering::Acquire) && self.settled().otherwise.take_lost(identity)
    }

    /// Everything below this number is settled.
    #[must_use]
    pub fn settled_exclusive(&self) -> u64 {
        self.settled().seqs.prefix()
    }

    /// How many events below `end_exclusive` are not settled.
    #[must_use]
    pub fn unsettled(&self, end_exclusive: u64) -> u64 {
        let settled = self.settled();
        end_exclusive.saturating_sub(settled.seqs.prefix() + settled.seqs.ahead())
    }

    /// Whether the event `seq` is settled.
    #[must_use]
    pub fn is_settled(&self, seq: u64) -> bool {
        self.settled().seqs.contains(seq)
    }

    /// The numbers in `range` that are not settled, in order.
    #[must_use]
    pub fn unsettled_in(&self, range: Range<u64>) -> Vec<u64> {
        let settled = self.settled();
        range.filter(|seq| !settled.seqs.contains(*seq)).collect()
    }

    /// A copy of the set of settled events.
    #[must_use]
    pub fn settled_now(&self) -> SeqSet {
        self.settled().seqs.clone()
    }

    /// The position up to which requests wait for delivery, so that the deliverer flushes a batch early.
    #[must_use]
    pub fn watch_awaited(&self) -> watch::Receiver<u64> {
        self.awaited_exclusive.subscribe()
    }

    /// Waits until all of `ranges` are settled, for at most `wait`. Returns whether they are.
    pub async fn await_settled(&self, ranges: &[Range<u64>], wait: Duration) -> bool {
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        self.awaited_exclusive.send_if_modified(|awaited| {
            let further = end > *awaited;
            *awaited = (*awaited).max(end);
            further
        });
        let mut changes = self.changes.subscribe();
        let are_settled = |_: &u64| {
            let settled = self.settled();
            ranges.iter().all(|range| settled.seqs.contains_all(range.clone()))
        };
        matches!(tokio::time::timeout(wait, changes.wait_for(are_settled)).await, Ok(Ok(_)))
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_it_is_settled_or_when_the_time_is_up() {
        let progress = Progress::new(5, 5);
        assert!(progress.await_settled(&[0..5], Duration::ZERO).await);
        assert!(!progress.await_settled(&[0..6], Duration::from_secs(1)).await);
        assert_eq!(*progress.watch_awaited().borrow(), 6);
        let (reached, ()) =
            tokio::join!(progress.await_settled(&[0..7], Duration::from_secs(1)), async { progress.settle(5..9) });
        assert!(reached);
        assert_eq!(*progress.watch_awaited().borrow(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_his_own_does_not_wait_for_what_was_before() {
        let progress = Progress::new(20, 5);
        progress.settle([10, 12]);
        assert!(!progress.await_settled(&[10..13], Duration::from_secs(1)).await);
        progress.settle([11]);
        assert!(progress.await_settled(&[10..13], Duration::from_secs(1)).await);
        assert_eq!((progress.settled_exclusive(), progress.unsettled(20)), (5, 12));
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_that_is_waited_for_has_its_own_ending() {
        let progress = Progress::new(9, 5);
        let refused = Uuid::from_u128(1);
        progress.settle([5]);
        progress.settle_as(6, Some(refused), Ending::Refused("too large".into()));
        progress.settle_as(7, None, Ending::Lost);
        assert!(progress.await_settled(&[5..8], Duration::ZERO).await);
        let endings = [5, 6, 7, 8].map(|seq| progress.ending(seq));
        let refusal: Arc<str> = "too large".into();
        let expected = [Some(Ending::Delivered), Some(Ending::Refused(refusal.clone())), Some(Ending::Lost), None];
        assert_eq!((endings, progress.settled_exclusive()), (expected, 8));
        assert_eq!(progress.refusal(refused), Some(refusal));
        progress.forget_refusal(refused);
        assert_eq!(progress.refusal(refused), None);
    }
}
