//! How far delivery has come: what the deliverer tells, and what requests with `durability=delivered` wait for.

use std::time::Duration;

use tokio::sync::watch;

/// Shared by the deliverer and those who wait for it. Positions are sequence numbers of the spool.
#[derive(Debug)]
pub struct Progress {
    delivered_exclusive: watch::Sender<u64>,
    awaited_exclusive: watch::Sender<u64>,
}

impl Progress {
    /// Everything below `delivered_exclusive` was delivered before the start.
    #[must_use]
    pub fn new(delivered_exclusive: u64) -> Self {
        Self { delivered_exclusive: watch::Sender::new(delivered_exclusive), awaited_exclusive: watch::Sender::new(0) }
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
        let progress = Progress::new(5);
        assert!(progress.await_delivered(5, Duration::ZERO).await);
        assert!(!progress.await_delivered(6, Duration::from_secs(1)).await);
        assert_eq!(*progress.watch_awaited().borrow(), 6);
        let (reached, ()) = tokio::join!(progress.await_delivered(7, Duration::from_secs(1)), async { progress.advance(9) });
        assert!(reached);
        assert_eq!(*progress.watch_awaited().borrow(), 7);
    }
}
