//! How far the events of the spool have come: confirmed in the dedup window, delivered, awaited by somebody.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::watch;

/// Shared by those who store, the deliverer, and those who wait for it. Positions are sequence numbers of the spool.
#[derive(Debug)]
pub struct Progress {
    confirmed_exclusive: AtomicU64,
    delivered_exclusive: watch::Sender<u64>,
    awaited_exclusive: watch::Sender<u64>,
}

impl Progress {
    /// At the start: everything below `durable_exclusive` is known to the dedup window, and below `delivered_exclusive`
    /// delivered.
    #[must_use]
    pub fn new(durable_exclusive: u64, delivered_exclusive: u64) -> Self {
        Self {
            confirmed_exclusive: AtomicU64::new(durable_exclusive),
            delivered_exclusive: watch::Sender::new(delivered_exclusive),
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
        self.delivered_exclusive.send_replace(seq_exclusive);
    }

    /// Below what everything is delivered.
    #[must_use]
    pub fn delivered_exclusive(&self) -> u64 {
        *self.delivered_exclusive.borrow()
    }

    /// Up to where somebody waits, so that the deliverer need not let a batch grow old.
    #[must_use]
    pub fn watch_awaited(&self) -> watch::Receiver<u64> {
        self.awaited_exclusive.subscribe()
    }

    /// Waits until everything below `seq_exclusive` is delivered, for at most `wait`. Whether it is.
    pub async fn await_delivered(&self, seq_exclusive: u64, wait: Duration) -> bool {
        self.awaited_exclusive.send_if_modified(|awaited| {
            let further = seq_exclusive > *awaited;
            *awaited = (*awaited).max(seq_exclusive);
            further
        });
        let mut delivered = self.delivered_exclusive.subscribe();
        let reached = delivered.wait_for(|delivered| *delivered >= seq_exclusive);
        matches!(tokio::time::timeout(wait, reached).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_it_is_delivered_or_when_the_time_is_up() {
        let progress = Progress::new(5, 5);
        assert!(progress.await_delivered(5, Duration::ZERO).await);
        assert!(!progress.await_delivered(6, Duration::from_secs(1)).await);
        assert_eq!(*progress.watch_awaited().borrow(), 6);
        let (reached, ()) = tokio::join!(progress.await_delivered(7, Duration::from_secs(1)), async { progress.advance(9) });
        assert!(reached);
        assert_eq!(*progress.watch_awaited().borrow(), 7);
    }
}
