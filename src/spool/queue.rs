//! The queue of appends before the writer. It is bounded in bytes, and each append is answered exactly once.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::frame::FrameBuffer;
use crate::limits::{GROUP_GATHER_FROM, GROUP_GATHER_TIME, SPOOL_LOOK_EVERY};

/// Position of the frames of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence number of the first frame.
    pub first_seq: u64,
    /// One past the sequence number of the last frame.
    pub end_seq_exclusive: u64,
}

/// Why an append was not acknowledged. Except after [`AppendError::Failed`], its frames will never be read.
///
/// After `Failed` they may be read, because it is unknown how much of the group reached the disk. The next start finds whole
/// frames of it or none, and delivers those that it finds. So until that start, the identity of such an append is in doubt. A
/// store that outlives this process (the one that a fleet shares) must not release it before, or the event is delivered twice.
/// The window in this process is restored from the spool at that start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too many bytes already wait for the writer; try again soon.
    #[error("too many bytes wait for the disk")]
    Busy,
    /// The segments have reached the quota; there is room again when some are delivered.
    #[error("the spool's quota is used up")]
    QuotaFull,
    /// The file system has reached its limit, or is full.
    #[error("the disk is full")]
    NoSpace,
    /// The disk refused the bytes for another reason. Bytes already written are cut off again, and the next append may
    /// succeed.
    #[error("the disk refused the write")]
    WriteFailed,
    /// The file system is mounted read-only. Restart the gateway on a writable disk.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The spool's folder or its file was removed or replaced at runtime. The spool continues once they are there again.
    #[error("the spool's files are missing")]
    Missing,
    /// The spool has failed and takes nothing more before a restart. That start may find the frames, whole, or not at all.
    #[error("the spool has failed")]
    Failed,
    /// The spool is closing.
    #[error("the spool is closed")]
    Closed,
}

type Done = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// A queued append. Its `done` is called exactly once, even if the writer panics.
pub(super) struct Pending {
    pub(super) frames: FrameBuffer,
    /// The outcome, reported only after the group is written. Before that, `Ok` is provisional.
    pub(super) outcome: Result<Appended, AppendError>,
    done: Option<Done>,
}

impl Pending {
    pub(super) fn new(frames: FrameBuffer, done: Done) -> Self {
        Self { frames, outcome: Err(AppendError::Failed), done: Some(done) }
    }

    /// Reports the outcome.
    pub(super) fn answer(mut self) {
        let outcome = self.outcome;
        self.call_done(outcome);
    }

    fn call_done(&mut self, outcome: Result<Appended, AppendError>) {
        if let Some(done) = self.done.take() {
            // A panic in one callback must not end the writer for all others.
            if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
                tracing::error!(is_appended = outcome.is_ok(), "the callback of an append panicked: this is a bug");
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.call_done(Err(AppendError::Failed));
    }
}

/// The next work of the writer.
#[derive(Default)]
pub(super) struct Group {
    /// Appends that share one write and one fsync.
    pub(super) appends: Vec<Pending>,
    /// The active segment should be closed, if it is fully delivered.
    pub(super) roll: bool,
}

/// The queue between the callers of append and the writer.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    bytes_max: usize,
    group_bytes_max: usize,
}

#[derive(Default)]
struct State {
    appends: VecDeque<Pending>,
    /// Bytes of appends that wait or are being written: all memory that the spool holds for them.
    bytes: usize,
    roll: bool,
    is_closed: bool,
    /// Number of appends at which the writer wants to be woken; 0 while it works. Every wake-up costs a system call.
    wake_at: usize,
}

impl State {
    fn has_work(&self) -> bool {
        !self.appends.is_empty() || self.roll || self.is_closed
    }
}

impl Queue {
    pub(super) fn new(bytes_max: usize, group_bytes_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), bytes_max, group_bytes_max }
    }

    /// Queues an append, or reports at once on this thread why not.
    pub(super) fn push(&self, mut append: Pending) {
        let refusal = {
            let mut state = self.lock();
            let bytes = state.bytes.saturating_add(append.frames.size());
            if state.is_closed {
                AppendError::Closed
            } else if state.bytes > 0 && bytes > self.bytes_max {
                // An append that finds the queue empty always fits. Otherwise one larger than the queue would always be
                // refused.
                AppendError::Busy
            } else {
                state.bytes = bytes;
                state.appends.push_back(append);
                let is_awaited = state.appends.len() == state.wake_at;
                drop(state);
                if is_awaited {
                    self.wake.notify_one();
                }
                return;
            }
        };
        append.outcome = Err(refusal);
        append.answer();
    }

    pub(super) fn ask_to_roll(&self) {
        self.lock().roll = true;
        self.wake.notify_one();
    }

    /// Takes no more appends. Queued appends are still written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// If the last group had many appends, waits a moment for that many and a quarter more. Under load, fewer and larger
    /// groups save fsyncs; a single caller does not wait for others.
    pub(super) fn gather(&self, last_group: usize) {
        if last_group < GROUP_GATHER_FROM {
            return;
        }
        let enough = last_group + last_group / 4;
        let mut state = self.wait_for_work();
        state.wake_at = enough;
        let bytes_max = self.group_bytes_max;
        let is_short =
            |state: &mut State| state.appends.len() < enough && state.bytes < bytes_max && !state.roll && !state.is_closed;
        let waited = self.wake.wait_timeout_while(state, GROUP_GATHER_TIME, is_short);
        waited.unwrap_or_else(PoisonError::into_inner).0.wake_at = 0;
    }

    fn wait_for_work(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.wake_at = 1;
        let waited = self.wake.wait_timeout_while(state, SPOOL_LOOK_EVERY, |state| !state.has_work());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.wake_at = 0;
        state
    }

    /// Waits for work, for at most [`SPOOL_LOOK_EVERY`]; after that the group is empty. `None` once the queue is closed and
    /// empty.
    pub(super) fn next_group(&self) -> Option<Group> {
        let mut state = self.wait_for_work();
        let mut group = Group { appends: Vec::new(), roll: std::mem::take(&mut state.roll) };
        let mut group_bytes = 0;
        while let Some(append) = state.appends.pop_front() {
            group_bytes += append.frames.size();
            if group_bytes > self.group_bytes_max && !group.appends.is_empty() {
                state.appends.push_front(append);
                break;
            }
            group.appends.push(append);
        }
        (group.roll || !group.appends.is_empty() || !state.is_closed).then_some(group)
    }

    /// Frees the memory of `bytes`.
    pub(super) fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
    }

    /// Closes the queue and answers all waiting appends with [`AppendError::Failed`], because the writer has ended.
    pub(super) fn abandon(&self) {
        let abandoned = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.appends)
        };
        drop(abandoned);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
