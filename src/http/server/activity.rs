//! The activity of a connection: whether a request is open, and since when none is. The timeouts of the connection and the
//! choice of a connection to close depend on it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use super::super::endless::Endless;

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The time without any activity: no request is open, and no head has begun.
    pub idle: Duration,
    /// The time for the head of a request, from its first byte.
    pub head: Duration,
    /// The time for the client to read an answer over HTTP/1, from the moment when it no longer keeps up. Of an answer without an
    /// end: some of it.
    pub answer: Duration,
}

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Requests whose answers are not sent to the end.
    open: AtomicUsize,
    /// When the last request was answered, in nanoseconds from `opened`.
    idle_since: AtomicU64,
    task: OnceLock<AbortHandle>,
    endless: Endless,
}

/// A request that is open until this is dropped.
pub(super) struct OpenRequest(Arc<Activity>);

impl Activity {
    /// The activity of a connection that was opened now.
    pub(super) fn new() -> Arc<Self> {
        let (open, idle_since) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { opened: Instant::now(), open, idle_since, task: OnceLock::new(), endless: Endless::default() })
    }

    /// Whether a request is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed) > 0
    }

    /// Whether a request has ever been open.
    pub(super) fn has_served(&self) -> bool {
        self.is_open() || self.idle_since.load(Relaxed) > 0
    }

    /// Since when no request was open, at the last such time.
    pub(super) fn idle_since(&self) -> Instant {
        self.opened + Duration::from_nanos(self.idle_since.load(Relaxed))
    }

    /// Opens a request where several may be open at one time.
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Relaxed);
        OpenRequest(self.clone())
    }

    /// Opens the only request that can be open.
    pub(super) fn open_only(&self) {
        self.open.store(1, Relaxed);
    }

    /// Records that no request is open from `now` on.
    pub(super) fn is_idle_from(&self, now: Instant) {
        self.idle_since.store(now.saturating_duration_since(self.opened).as_nanos() as u64, Relaxed);
        self.open.store(0, Relaxed);
    }

    /// Waits until no request has been open for `time`, counted from `from` at the earliest.
    pub(super) async fn idle_for(&self, time: Duration, from: Instant) {
        loop {
            let now = Instant::now();
            let deadline = if self.is_open() { now } else { self.idle_since().max(from) } + time;
            if deadline <= now {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    /// Whether its answer has no end.
    pub(super) fn endless(&self) -> &Endless {
        &self.endless
    }

    /// Sets the task that serves the connection.
    pub(super) fn is_served_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Closes the connection by aborting its task. A signal that the task waits for would add a cost to every request.
    pub(super) fn close(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        // A moment too early is harmless, because the time is set before.
        if self.0.open.load(Relaxed) == 1 {
            self.0.idle_since.store(self.0.opened.elapsed().as_nanos() as u64, Relaxed);
        }
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
impl Activity {
    /// Whether the task of the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.task.get().is_some_and(AbortHandle::is_finished)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_counts_as_idle_from_the_end_of_the_last_request() {
        let (activity, started) = (Activity::new(), Instant::now());
        let (first, second) = (activity.open(), activity.open());
        let requests = async {
            sleep(Duration::from_secs(3)).await;
            drop(first);
            sleep(Duration::from_secs(12)).await;
            drop(second);
        };
        tokio::join!(requests, activity.idle_for(Duration::from_secs(10), started));
        assert_eq!(started.elapsed().as_secs(), 25);
        activity.open_only();
        assert!(activity.is_open());
        advance(Duration::from_secs(1)).await;
        activity.is_idle_from(Instant::now());
        assert!(!activity.is_open());
        assert_eq!(activity.idle_since(), Instant::now());
    }
}
