//! Which requests are let in where every request waits for delivery (`http.durability = "delivered"`).
//!
//! A sink that takes nothing would hold every request for `http.delivered_wait_seconds`. So while it fails, a request is refused
//! at once and stores nothing, as long as a spooled event shows when the sink is back. And only so many requests wait at one
//! time. The stream of the dead letters is asked in the same way, for rejected events only.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{deliver::SinkState, limits::DELIVERY_WAITS_MAX, outcome::RetryCause, progress::SinkProgress};

/// A sink, and what waits for it.
pub struct AwaitedSink {
    /// Whether it fails.
    pub state: watch::Receiver<SinkState>,
    /// The end of the spool before it.
    pub durable_end: watch::Receiver<u64>,
    /// How far the spool is delivered.
    pub progress: Arc<SinkProgress>,
}

impl AwaitedSink {
    /// Whether the sink fails, and something waits whose delivery will show that it is back.
    fn is_away(&self) -> bool {
        self.state.borrow().failing.is_some() && self.progress.unsettled(*self.durable_end.borrow()) > 0
    }
}

/// See the module.
pub struct DeliveryAdmission {
    places: Arc<Semaphore>,
    sinks: Vec<AwaitedSink>,
    dead_letter_sink: Option<AwaitedSink>,
}

impl DeliveryAdmission {
    /// For requests that wait for these sinks.
    #[must_use]
    pub fn new(sinks: Vec<AwaitedSink>, dead_letter_sink: Option<AwaitedSink>) -> Self {
        Self { places: Arc::new(Semaphore::new(DELIVERY_WAITS_MAX)), sinks, dead_letter_sink }
    }

    /// Lets a request in, which has its place until the permit is dropped.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, RetryCause> {
        if self.sinks.iter().any(AwaitedSink::is_away) {
            return Err(RetryCause::SinkUnavailable);
        }
        self.places.clone().try_acquire_owned().map_err(|_| RetryCause::Busy)
    }

    /// Whether letters may wait for their stream.
    pub(super) fn admits_letters(&self) -> bool {
        !self.dead_letter_sink.as_ref().is_some_and(AwaitedSink::is_away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    struct Rig {
        state: watch::Sender<SinkState>,
        durable_end: watch::Sender<u64>,
        progress: Arc<SinkProgress>,
    }

    impl Rig {
        fn new() -> (Self, AwaitedSink) {
            let (state, seen) = watch::channel(SinkState { name: "script".into(), failing: None, oldest_received_millis: None });
            let (durable_end, end) = watch::channel(0);
            let progress = Progress::new(0, 0).sinks()[0].clone();
            (Self { state, durable_end, progress: progress.clone() }, AwaitedSink { state: seen, durable_end: end, progress })
        }

        fn fails(&self, failing: bool) {
            self.state.send_modify(|state| state.failing = failing.then(|| "away".into()));
        }
    }

    #[test]
    fn a_sink_that_is_away_is_told_at_once_as_long_as_an_event_waits_that_shows_when_it_is_back() {
        let ((sink, watched), (letters, watched_letters)) = (Rig::new(), Rig::new());
        let admission = DeliveryAdmission::new(vec![watched], Some(watched_letters));
        sink.durable_end.send_replace(5);
        assert!(admission.admit().is_ok(), "what waits for a sink that works is on its way");
        sink.fails(true);
        assert_eq!(admission.admit().err(), Some(RetryCause::SinkUnavailable));
        sink.progress.settle(0..5);
        assert!(admission.admit().is_ok(), "the next one finds out");
        letters.fails(true);
        assert!(admission.admits_letters());
        letters.durable_end.send_replace(1);
        assert!(!admission.admits_letters() && admission.admit().is_ok(), "good events do not wait for dead letters");
        letters.fails(false);
        assert!(admission.admits_letters());
    }

    #[test]
    fn so_many_requests_wait_and_one_more_is_told_to_come_again() {
        let admission = DeliveryAdmission::new(vec![Rig::new().1], None);
        let mut waiting: Vec<_> = (0..DELIVERY_WAITS_MAX).map(|_| admission.admit().unwrap()).collect();
        assert_eq!(admission.admit().err(), Some(RetryCause::Busy));
        waiting.pop();
        assert!(admission.admit().is_ok());
    }
}
