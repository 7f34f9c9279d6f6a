//! The progress of one sink.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    endings::{Ending, Endings, Settlement},
    observer::Observer,
    seq_set::{SeqSet, ranges},
};

/// The state of a sink at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkStart {
    /// Everything below this number is delivered.
    pub delivered_exclusive: u64,
    /// Whether requests with `durability=delivered` wait for this sink.
    pub is_awaited: bool,
}

/// What one sink has settled. Its deliverer records it; requests wait for it.
#[derive(Debug)]
pub struct SinkProgress {
    confirmed_exclusive: Arc<AtomicU64>,
    settled: Mutex<Settled>,
    /// Whether any event ended without being delivered.
    has_endings: AtomicBool,
    observer: OnceLock<Observer>,
    /// Whether the observer was told of endings that a cursor or a journal must not be ahead of.
    has_volatile_endings: AtomicBool,
    is_awaited: bool,
    changes: Arc<watch::Sender<u64>>,
    awaited_exclusive: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Settled {
    seqs: SeqSet,
    otherwise: Endings,
}

impl SinkProgress {
    pub(super) fn new(
        start: SinkStart,
        confirmed_exclusive: Arc<AtomicU64>,
        changes: Arc<watch::Sender<u64>>,
        awaited_exclusive: Arc<watch::Sender<u64>>,
    ) -> Self {
        let settled = Settled { seqs: SeqSet::below(start.delivered_exclusive), otherwise: Endings::default() };
        Self {
            confirmed_exclusive,
            settled: Mutex::new(settled),
            has_endings: AtomicBool::new(false),
            observer: OnceLock::new(),
            has_volatile_endings: AtomicBool::new(false),
            is_awaited: start.is_awaited,
            changes,
            awaited_exclusive,
        }
    }

    /// Whether requests with `durability=delivered` wait for this sink.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The dedup window knows every identity below this number. It is slightly behind the durable end. Nothing at or beyond it
    /// may be unlinked, even if delivered.
    #[must_use]
    pub fn confirmed_exclusive(&self) -> u64 {
        self.confirmed_exclusive.load(Ordering::Acquire)
    }

    /// Tells `observer` what is settled from now on. Only the first call counts.
    pub fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// Records that these events are durably delivered, each on its own.
    pub fn settle(&self, seqs: impl IntoIterator<Item = u64>) {
        self.settle_at("", seqs);
    }

    /// The same, where the sink has them at `place`: the shard of a stream.
    pub fn settle_at(&self, place: &str, seqs: impl IntoIterator<Item = u64>) {
        self.settle_quietly(Settlement::Delivered, place, seqs);
    }

    /// Records that the sink does not get these events: they are erased, or for another sink.
    pub fn leave_out(&self, settlement: Settlement, seqs: impl IntoIterator<Item = u64>) {
        self.settle_quietly(settlement, "", seqs);
    }

    fn settle_quietly(&self, settlement: Settlement, place: &str, seqs: impl IntoIterator<Item = u64>) {
        let mut settled = self.settled();
        let new: Vec<u64> = seqs.into_iter().filter(|seq| settled.seqs.insert(*seq)).collect();
        drop(settled);
        self.tell(settlement, place, &new);
        self.changed();
    }

    /// Records that events durably ended in another way. `identity` is the identity in the dedup window, if known; then there is
    /// only one event.
    pub fn settle_as(&self, seqs: &[u64], identity: Option<Uuid>, ending: &Ending) {
        if ending.settlement() != Settlement::Delivered {
            self.has_volatile_endings.store(self.observer.get().is_some(), Ordering::Release);
        }
        self.tell(ending.settlement(), "", seqs);
        let mut settled = self.settled();
        for seq in seqs {
            settled.otherwise.note(*seq, identity, ending.clone());
            settled.seqs.insert(*seq);
        }
        drop(settled);
        self.has_endings.store(true, Ordering::Release);
        self.changed();
    }

    /// Whether [`make_endings_durable`](Self::make_endings_durable) has something to do.
    #[must_use]
    pub fn has_volatile_endings(&self) -> bool {
        self.has_volatile_endings.load(Ordering::Acquire)
    }

    /// Makes endings durable with the observer, before a cursor or a journal says that the events are settled: they do not say
    /// how. Blocks on the disk if there are any.
    pub fn make_endings_durable(&self) {
        if self.has_volatile_endings.swap(false, Ordering::AcqRel) {
            self.before_unlink(0);
        }
    }

    /// Makes everything durable that the observer was told, before events below `seq` are unlinked. Blocks on the disk.
    pub fn before_unlink(&self, seq: u64) {
        if let Some(observer) = self.observer.get() {
            (observer.make_durable)(seq);
        }
    }

    /// Tells the observer, durably, that the events below `seq` that are not settled are about to be dropped. Blocks on the disk.
    pub fn announce_drop(&self, seq: u64) {
        if self.observer.get().is_some() {
            self.tell(Settlement::Dropped, "", &self.unsettled_in(self.settled_exclusive()..seq));
            self.before_unlink(0);
        }
    }

    /// Settles all events below `seq`. Returns how many were not settled yet.
    pub fn drop_below(&self, seq: u64) -> u64 {
        let mut settled = self.settled();
        let prefix = settled.seqs.prefix();
        let missing = settled.seqs.insert_range(prefix..seq.max(prefix));
        drop(settled);
        self.changed();
        missing.into_iter().map(|range| range.end - range.start).sum()
    }

    fn tell(&self, settlement: Settlement, place: &str, seqs: &[u64]) {
        if let Some(observer) = self.observer.get()
            && !seqs.is_empty()
        {
            (observer.settled)(settlement, place, ranges(seqs).collect());
        }
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

    /// Forgets the refusal of an event.
    pub fn forget_refusal(&self, identity: Uuid) {
        if self.has_endings.load(Ordering::Acquire) {
            self.settled().otherwise.forget_refusal(identity);
        }
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

    /// Whether all events in `ranges` are settled.
    #[must_use]
    pub fn has_settled_all(&self, ranges: &[Range<u64>]) -> bool {
        let settled = self.settled();
        ranges.iter().all(|range| settled.seqs.contains_all(range.clone()))
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

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
