//! What the writer, the readers and the deliverer of one spool share.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;
use uuid::Uuid;

use super::{disk::Disk, frame::Salt};

/// What is noted of each group that is made durable.
#[derive(Clone, Debug)]
pub struct GroupMetrics {
    /// Seconds of its `fdatasync`.
    pub sync_seconds: Histogram,
    /// Its bytes.
    pub bytes: Histogram,
}

/// Durable facts of an open spool. No lock in here is held while the disk works.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) id: Uuid,
    pub(super) salt: Salt,
    pub(super) segments: Mutex<Segments>,
    pub(super) durable_end: watch::Sender<u64>,
    pub(super) failed: watch::Sender<bool>,
    /// Copy of the cursor, so that the writer need not wait for a cursor that is being written.
    pub(super) delivered: AtomicU64,
    /// Groups that the writer made durable, one `fdatasync` each, since this process opened the spool.
    pub(super) syncs: AtomicU64,
    /// Where seconds and bytes of each group are noted, once somebody wants to know.
    pub(super) groups: OnceLock<GroupMetrics>,
    /// Keeps other processes out of the folder for as long as anybody here could write to it.
    pub(super) _lock: Box<dyn Send + Sync>,
}

impl Shared {
    pub(super) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn durable_end(&self) -> u64 {
        *self.durable_end.borrow()
    }

    pub(super) fn watch_durable_end(&self) -> watch::Receiver<u64> {
        self.durable_end.subscribe()
    }

    /// Frames up to `end_seq` are on the disk; `bytes` is the active segment's length with them.
    pub(super) fn extend(&self, end_seq: u64, bytes: u64) {
        self.segments().extend_last(end_seq, bytes);
        self.durable_end.send_replace(end_seq);
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    pub(super) fn set_delivered(&self, seq: u64) {
        self.delivered.store(seq, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        *self.failed.borrow()
    }

    pub(super) fn watch_failed(&self) -> watch::Receiver<bool> {
        self.failed.subscribe()
    }

    /// Ends the spool's writing for the life of this process.
    pub(super) fn fail(&self, doing: &str, error: &io::Error) {
        tracing::error!(dir = %self.dir.display(), %error, "the spool failed while {doing}: it takes nothing more until a restart");
        self.failed.send_replace(true);
    }
}

/// One segment on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first_seq: u64,
    /// Sequence number after its last frame: where the next segment begins, or the durable end.
    pub(super) end_seq: u64,
    /// Durable length of its file.
    pub(super) bytes: u64,
}

/// Where a sequence number is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    In(Span),
    /// In no segment, though the next one begins here.
    Before(u64),
    /// Not written yet.
    End,
}

/// The live segments, oldest first, the last one active. Each ends where the next begins.
#[derive(Debug, Default)]
pub(super) struct Segments {
    spans: VecDeque<Span>,
    bytes: u64,
}

impl Segments {
    pub(super) fn push(&mut self, span: Span) {
        debug_assert!(self.spans.back().is_none_or(|last| last.end_seq == span.first_seq && last.first_seq < span.first_seq));
        self.bytes += span.bytes;
        self.spans.push_back(span);
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn first_seq(&self) -> u64 {
        self.spans.front().map_or(0, |first| first.first_seq)
    }

    pub(super) fn end_seq(&self) -> u64 {
        self.spans.back().map_or(0, |last| last.end_seq)
    }

    fn extend_last(&mut self, end_seq: u64, bytes: u64) {
        if let Some(last) = self.spans.back_mut() {
            self.bytes += bytes - last.bytes;
            *last = Span { end_seq, bytes, ..*last };
        }
    }

    pub(super) fn place(&self, seq: u64) -> Place {
        let after = self.spans.partition_point(|span| span.first_seq <= seq);
        match (after.checked_sub(1).and_then(|index| self.spans.get(index)), self.spans.get(after)) {
            (Some(span), _) if seq < span.end_seq => Place::In(*span),
            (_, Some(next)) => Place::Before(next.first_seq),
            _ => Place::End,
        }
    }

    /// Segments that lie wholly below `seq`, oldest first; never the active one.
    pub(super) fn below(&self, seq: u64) -> Vec<u64> {
        let closed = self.spans.len().saturating_sub(1);
        self.spans.iter().take(closed).take_while(|span| span.end_seq <= seq).map(|span| span.first_seq).collect()
    }

    /// Forgets the oldest segment, if it is this one.
    pub(super) fn remove_first(&mut self, first_seq: u64) {
        if let Some(first) = self.spans.front().copied().filter(|first| first.first_seq == first_seq) {
            self.bytes -= first.bytes;
            self.spans.pop_front();
        }
    }

    pub(super) fn is_live(&self, first_seq: u64) -> bool {
        self.spans.iter().any(|span| span.first_seq == first_seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        let mut segments = Segments::default();
        for (first_seq, end_seq) in [(10, 20), (20, 25), (25, 25)] {
            segments.push(Span { first_seq, end_seq, bytes: 100 });
        }
        segments
    }

    #[test]
    fn every_sequence_number_has_one_place() {
        let segments = segments();
        assert_eq!(segments.place(3), Place::Before(10));
        assert_eq!(segments.place(10), Place::In(Span { first_seq: 10, end_seq: 20, bytes: 100 }));
        assert_eq!(segments.place(24), Place::In(Span { first_seq: 20, end_seq: 25, bytes: 100 }));
        assert_eq!(segments.place(25), Place::End);
    }

    #[test]
    fn only_closed_and_wholly_delivered_segments_may_go() {
        let mut segments = segments();
        assert!(segments.below(19).is_empty());
        assert_eq!(segments.below(20), [10]);
        assert_eq!(segments.below(1000), [10, 20]);
        segments.remove_first(10);
        assert_eq!((segments.len(), segments.bytes(), segments.first_seq(), segments.end_seq()), (2, 200, 20, 25));
    }
}
