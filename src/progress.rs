//! The progress of the events in the spool: confirmed in the dedup window, settled by each sink and how, awaited by a request.

mod endings;
mod observer;
mod seq_set;
mod sink;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{bounded_map::BoundedMap, limits::ENDINGS_MAX};
pub use endings::{Ending, Settlement};
pub use observer::{Observer, OnSettled};
pub use seq_set::{SeqSet, ranges};
pub use sink::{SinkProgress, SinkStart};

/// Shared by the code that stores, the deliverers, and the requests that wait. Positions are sequence numbers of the spool.
#[derive(Debug)]
pub struct Progress {
    confirmed_exclusive: Arc<AtomicU64>,
    sinks: Vec<Arc<SinkProgress>>,
    /// Identities of events that the disk lost, until they are stored again.
    lost: Mutex<BoundedMap<Uuid, ()>>,
    has_lost: AtomicBool,
    /// Counts the changes of every sink.
    changes: Arc<watch::Sender<u64>>,
    awaited_exclusive: Arc<watch::Sender<u64>>,
}

impl Progress {
    /// The state at the start with one sink: the dedup window knows everything below `durable_exclusive`, and everything below
    /// `delivered_exclusive` is delivered.
    #[must_use]
    pub fn new(durable_exclusive: u64, delivered_exclusive: u64) -> Self {
        Self::of_sinks(durable_exclusive, [SinkStart { delivered_exclusive, is_awaited: true }])
    }

    /// The same with these sinks.
    #[must_use]
    pub fn of_sinks(durable_exclusive: u64, sinks: impl IntoIterator<Item = SinkStart>) -> Self {
        let confirmed_exclusive = Arc::new(AtomicU64::new(durable_exclusive));
        let (changes, awaited_exclusive) = (Arc::new(watch::Sender::new(0)), Arc::new(watch::Sender::new(0)));
        let sink = |start: SinkStart| {
            // Nobody waits for the other sinks, so nothing makes them hurry.
            let awaited = if start.is_awaited { awaited_exclusive.clone() } else { Arc::new(watch::Sender::new(0)) };
            Arc::new(SinkProgress::new(start, confirmed_exclusive.clone(), changes.clone(), awaited))
        };
        let sinks = sinks.into_iter().map(sink).collect();
        let lost = Mutex::new(BoundedMap::new(ENDINGS_MAX));
        Self { confirmed_exclusive, sinks, lost, has_lost: AtomicBool::new(false), changes, awaited_exclusive }
    }

    /// The progress of each sink, in the order of the configuration.
    #[must_use]
    pub fn sinks(&self) -> &[Arc<SinkProgress>] {
        &self.sinks
    }

    fn awaited(&self) -> impl Iterator<Item = &Arc<SinkProgress>> {
        self.sinks.iter().filter(|sink| sink.is_awaited())
    }

    /// Records that the dedup window knows every identity below `seq_exclusive`. Call in the order of the appends.
    pub fn confirm(&self, seq_exclusive: u64) {
        self.confirmed_exclusive.store(seq_exclusive, Ordering::Release);
    }

    /// How the event `seq` ended in the sinks that requests wait for, the worst of all; `None` while one of them has not settled
    /// it. Of very many events that were not delivered, the oldest are forgotten and count as delivered.
    #[must_use]
    pub fn ending(&self, seq: u64) -> Option<Ending> {
        let mut worst = Ending::Delivered;
        for sink in self.awaited() {
            match (sink.ending(seq)?, &worst) {
                (Ending::Lost, _) => worst = Ending::Lost,
                (refused @ Ending::Refused(_), Ending::Delivered) => worst = refused,
                _ => {}
            }
        }
        Some(worst)
    }

    /// Why a sink that requests wait for refused the event with this identity, if the refusal is remembered.
    #[must_use]
    pub fn refusal(&self, identity: Uuid) -> Option<Arc<str>> {
        self.awaited().find_map(|sink| sink.refusal(identity))
    }

    /// Forgets the refusal of an event, because the event is stored again.
    pub fn forget_refusal(&self, identity: Uuid) {
        self.sinks.iter().for_each(|sink| sink.forget_refusal(identity));
    }

    /// Marks the event with this identity as lost: the next event with it is stored, although the dedup window knows it.
    pub fn lose(&self, identity: Uuid) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, ());
        self.has_lost.store(true, Ordering::Release);
    }

    /// Whether the event with this identity was lost. Only one caller gets `true`: store the event, or call [`Progress::lose`].
    #[must_use]
    pub fn take_lost(&self, identity: Uuid) -> bool {
        let take = || self.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity).is_some();
        self.has_lost.load(Ordering::Acquire) && take()
    }

    /// Every sink has settled everything below this number.
    #[must_use]
    pub fn settled_exclusive(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.settled_exclusive()).min().unwrap_or(0)
    }

    /// The sinks that requests wait for have settled everything below this number.
    #[must_use]
    pub fn awaited_settled_exclusive(&self) -> u64 {
        self.awaited().map(|sink| sink.settled_exclusive()).min().unwrap_or(0)
    }

    /// How many events below `end_exclusive` the sink that is furthest behind has not settled.
    #[must_use]
    pub fn unsettled(&self, end_exclusive: u64) -> u64 {
        self.sinks.iter().map(|sink| sink.unsettled(end_exclusive)).max().unwrap_or(0)
    }

    /// Waits until all of `ranges` are settled by the sinks that requests wait for, for at most `wait`. Returns whether they
    /// are.
    pub async fn await_settled(&self, ranges: &[Range<u64>], wait: Duration) -> bool {
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        self.awaited_exclusive.send_if_modified(|awaited| {
            let further = end > *awaited;
            *awaited = (*awaited).max(end);
            further
        });
        let mut changes = self.changes.subscribe();
        let are_settled = |_: &u64| self.awaited().all(|sink| sink.has_settled_all(ranges));
        matches!(tokio::time::timeout(wait, changes.wait_for(are_settled)).await, Ok(Ok(_)))
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
        assert_eq!(*progress.sinks()[0].watch_awaited().borrow(), 6);
        let (reached, ()) =
            tokio::join!(progress.await_settled(&[0..7], Duration::from_secs(1)), async { progress.sinks()[0].settle(5..9) });
        assert!(reached);
        assert_eq!(*progress.sinks()[0].watch_awaited().borrow(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_his_own_does_not_wait_for_what_was_before() {
        let progress = Progress::new(20, 5);
        progress.sinks()[0].settle([10, 12]);
        assert!(!progress.await_settled(&[10..13], Duration::from_secs(1)).await);
        progress.sinks()[0].settle([11]);
        assert!(progress.await_settled(&[10..13], Duration::from_secs(1)).await);
        assert_eq!((progress.settled_exclusive(), progress.unsettled(20)), (5, 12));
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_that_is_waited_for_has_its_own_ending() {
        let progress = Progress::new(9, 5);
        let refused = Uuid::from_u128(1);
        progress.sinks()[0].settle([5]);
        progress.sinks()[0].settle_as(&[6], Some(refused), &Ending::Refused("too large".into()));
        progress.sinks()[0].settle_as(&[7], None, &Ending::Lost);
        assert!(progress.await_settled(&[5..8], Duration::ZERO).await);
        let endings = [5, 6, 7, 8].map(|seq| progress.ending(seq));
        let refusal: Arc<str> = "too large".into();
        let expected = [Some(Ending::Delivered), Some(Ending::Refused(refusal.clone())), Some(Ending::Lost), None];
        assert_eq!((endings, progress.settled_exclusive()), (expected, 8));
        assert_eq!(progress.refusal(refused), Some(refusal));
        progress.forget_refusal(refused);
        assert_eq!(progress.refusal(refused), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_has_ended_when_every_sink_that_requests_wait_for_has_settled_it() {
        let start = |is_awaited| SinkStart { delivered_exclusive: 5, is_awaited };
        let progress = Progress::of_sinks(9, [start(true), start(true), start(false)]);
        let [lake, kinesis, archive] = progress.sinks() else { panic!() };
        lake.settle(5..9);
        assert!(!progress.await_settled(&[5..6], Duration::from_secs(1)).await);
        assert_eq!((progress.ending(5), progress.unsettled(9)), (None, 4));
        kinesis.settle_as(&[5], Some(Uuid::from_u128(1)), &Ending::Refused("why".into()));
        kinesis.settle([6]);
        assert!(progress.await_settled(&[5..7], Duration::ZERO).await, "nobody waits for the third");
        assert_eq!(
            [5, 6, 7].map(|seq| progress.ending(seq)),
            [Some(Ending::Refused("why".into())), Some(Ending::Delivered), None]
        );
        assert_eq!((progress.settled_exclusive(), progress.awaited_settled_exclusive()), (5, 7));
        assert_eq!(progress.refusal(Uuid::from_u128(1)), Some("why".into()));
        archive.settle_as(&[5], None, &Ending::Lost);
        assert_eq!(progress.ending(5), Some(Ending::Refused("why".into())));
        assert_eq!([lake, archive].map(|sink| *sink.watch_awaited().borrow()), [7, 0], "only the first is hurried");
    }
}
