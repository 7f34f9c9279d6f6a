//! State shared by the writer, the readers and the deliverer of a spool.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    disk::{Disk, DiskLock},
    erased::Erased,
    folder::Folder,
    frame::Salt,
    history::History,
    losses::{LOSSES_NAME, Losses},
    unreadable::Unreadable,
};
use crate::conditions::{Condition, Conditions};

/// Metrics of each durable group.
#[derive(Clone, Debug)]
pub struct GroupMetrics {
    /// Seconds of its `fdatasync`.
    pub sync_seconds: Histogram,
    /// Its bytes.
    pub bytes: Histogram,
}

/// State of an open spool. No lock in here is held during disk I/O.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: Folder,
    pub(super) quarantine: Folder,
    pub(super) id: Uuid,
    pub(super) salt: Salt,
    pub(super) segments: Mutex<Segments>,
    pub(super) durable_end: watch::Sender<u64>,
    pub(super) failed: watch::Sender<bool>,
    /// Copy of the lowest position in the cursor, so that the writer need not wait while the cursor is being written.
    pub(super) delivered: AtomicU64,
    /// Groups that the writer made durable, one `fdatasync` each, since this process opened the spool.
    pub(super) syncs: AtomicU64,
    /// Metrics of each group, once [`Spool::observe_groups`](super::Spool::observe_groups) was called.
    pub(super) groups: OnceLock<GroupMetrics>,
    /// Faults are raised here.
    pub(super) conditions: Conditions,
    /// The file system was seen read-only: no more appends are taken.
    pub(super) is_read_only: AtomicBool,
    /// The events that wait for a sink fill its part of the quota: no more appends are taken.
    pub(super) is_sink_full: AtomicBool,
    /// Places that cannot be read, and their retry times.
    pub(super) unreadable: Unreadable,
    /// The record of lost events.
    pub(super) losses: Losses,
    /// The events that no sink gets any more.
    pub(super) erased: Erased,
    /// The name of the line of sequence numbers.
    pub(super) history: History,
    /// Damaged segments that are not in the quarantine under their final name yet.
    pub(super) damaged: Mutex<BTreeSet<u64>>,
    /// The quarantine, as last seen.
    pub(super) quarantined: Mutex<Quarantined>,
    /// Excludes other processes from the folder for as long as this one could write to it.
    pub(super) lock: Mutex<Box<dyn DiskLock>>,
}

/// Size of a spool's quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// Its files, without the list of losses.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
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

    /// Frames up to `end_seq` are on the disk; `bytes` is the new length of the active segment.
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

    /// Stops all writing to the spool until the process restarts.
    pub(super) fn fail(&self, doing: &str, error: &io::Error) {
        let detail = format!("the spool failed while {doing}: {error}; it takes nothing more until a restart");
        self.conditions.raise(Condition::SpoolFailed, &self.folder.name(), detail);
        self.failed.send_replace(true);
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Acquire)
    }

    /// The file system is read-only. Durable frames are still read and delivered, but no appends are taken, because a write
    /// may vanish although its sync succeeds.
    pub(super) fn note_read_only(&self) {
        let detail = "the file system is mounted read-only: nothing is taken. Mount it for writing and restart the gateway";
        self.conditions.raise(Condition::DiskReadOnly, &self.folder.name(), detail);
        self.is_read_only.store(true, Ordering::Release);
    }

    /// Marks a segment as damaged: it is moved to the quarantine instead of unlinked.
    pub(super) fn note_damaged(&self, first_seq: u64) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(first_seq);
    }

    pub(super) fn is_damaged(&self, first_seq: u64) -> bool {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(&first_seq)
    }

    /// Refreshes the state of the quarantine. Raises a condition while it holds files.
    pub(super) fn look_into_quarantine(&self) {
        let Ok(names) = self.disk.list(self.quarantine.path()) else { return };
        let mut now = Quarantined::default();
        for name in names.iter().filter(|name| *name != LOSSES_NAME) {
            now.files += 1;
            now.bytes += self.disk.size_at(&self.quarantine.join(name)).unwrap_or(0);
        }
        *self.quarantined.lock().unwrap_or_else(PoisonError::into_inner) = now;
        if names.is_empty() {
            self.losses.forget();
        }
        let detail = (!names.is_empty()).then(|| {
            let (lost, files) = (self.losses.events(), now.files);
            format!(
                "{lost} events are written down as lost, {files} damaged files are kept; see `lakegate spool quarantine list`, \
                 and `lakegate spool quarantine remove` when you are done with them"
            )
        });
        self.conditions.set(Condition::SpoolDamaged, &self.folder.name(), detail);
    }

    /// The cursor was written, or the write was refused.
    pub(super) fn note_cursor(&self, refused: Option<&io::Error>) {
        let detail = refused.map(|error| format!("{error}; delivered events stay on disk and may be sent again after a restart"));
        self.conditions.set(Condition::CursorUnwritable, &self.folder.name(), detail);
    }
}

/// One segment on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first_seq: u64,
    /// One past its last sequence number: where the next segment begins, or the durable end.
    pub(super) end_seq: u64,
    /// Durable length of its file.
    pub(super) bytes: u64,
    /// How often its file was made again, because it lost its name. A reader then opens it again.
    pub(super) remade: u32,
}

impl Span {
    pub(super) fn new(first_seq: u64, end_seq: u64, bytes: u64) -> Self {
        Self { first_seq, end_seq, bytes, remade: 0 }
    }
}

/// Position of a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    In(Span),
    /// In no segment; the next segment begins here.
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

    /// The first number of each segment, oldest first.
    pub(super) fn firsts(&self) -> Vec<u64> {
        self.spans.iter().map(|span| span.first_seq).collect()
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

    /// Bytes of the segments that are not fully below `seq`.
    pub(super) fn bytes_from(&self, seq: u64) -> u64 {
        self.spans.iter().rev().take_while(|span| span.end_seq > seq).map(|span| span.bytes).sum()
    }

    /// The first number of the newest segments that have at most `bytes` together, at least the active one.
    pub(super) fn newest_within(&self, bytes: u64) -> u64 {
        let mut sum = 0;
        let fits = |span: &&Span| {
            sum += span.bytes;
            sum <= bytes
        };
        let first = self.spans.iter().rev().take_while(fits).last().or(self.spans.back());
        first.map_or(0, |span| span.first_seq)
    }

    pub(super) fn remade_last(&mut self) {
        if let Some(last) = self.spans.back_mut() {
            last.remade += 1;
        }
    }

    /// The closed segments that are not fully below `seq`.
    pub(super) fn closed_from(&self, seq: u64) -> Vec<Span> {
        let closed = self.spans.len().saturating_sub(1);
        self.spans.iter().take(closed).filter(|span| span.end_seq > seq).copied().collect()
    }

    pub(super) fn place(&self, seq: u64) -> Place {
        let after = self.spans.partition_point(|span| span.first_seq <= seq);
        match (after.checked_sub(1).and_then(|index| self.spans.get(index)), self.spans.get(after)) {
            (Some(span), _) if seq < span.end_seq => Place::In(*span),
            (_, Some(next)) => Place::Before(next.first_seq),
            _ => Place::End,
        }
    }

    /// Segments fully below `seq`, oldest first; never the active one.
    pub(super) fn below(&self, seq: u64) -> Vec<u64> {
        let closed = self.spans.len().saturating_sub(1);
        self.spans.iter().take(closed).take_while(|span| span.end_seq <= seq).map(|span| span.first_seq).collect()
    }

    /// Removes the oldest segment from the list, if it is this one.
    pub(super) fn remove_first(&mut self, first_seq: u64) {
        if let Some(first) = self.spans.front().copied().filter(|first| first.first_seq == first_seq) {
            self.bytes -= first.bytes;
            self.spans.pop_front();
        }
    }

    /// Whether this segment is the active one, which the writer holds open.
    pub(super) fn is_active(&self, span: Span) -> bool {
        self.spans.back().is_some_and(|active| active.first_seq == span.first_seq)
    }

    /// Whether this segment still exists, with this file.
    pub(super) fn is_live(&self, span: Span) -> bool {
        self.spans.iter().any(|live| (live.first_seq, live.remade) == (span.first_seq, span.remade))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        let mut segments = Segments::default();
        for (first_seq, end_seq) in [(10, 20), (20, 25), (25, 25)] {
            segments.push(Span::new(first_seq, end_seq, 100));
        }
        segments
    }

    #[test]
    fn every_sequence_number_has_one_place() {
        let segments = segments();
        assert_eq!(segments.place(3), Place::Before(10));
        assert_eq!(segments.place(10), Place::In(Span::new(10, 20, 100)));
        assert_eq!(segments.place(24), Place::In(Span::new(20, 25, 100)));
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

    #[test]
    fn what_a_sink_needs_is_counted_in_segments() {
        let segments = segments();
        assert_eq!([0, 10, 19, 20, 25].map(|seq| segments.bytes_from(seq)), [300, 300, 300, 200, 0]);
        assert_eq!([0, 100, 199, 200, 300].map(|bytes| segments.newest_within(bytes)), [25, 25, 25, 20, 10]);
    }
}
