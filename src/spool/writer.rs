//! The one writer: takes what waits, writes it with one write and one fsync, and answers in the order of the appends.

use std::{
    io::{self, IoSlice},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    disk::{DiskFile, write_all_at},
    fault::Fault,
    queue::{AppendError, Appended, Group, Pending, Queue},
    segment::{SEGMENT_HEADER_BYTES, create_segment},
    shared::{Shared, Span},
};

/// The segment that frames are written to.
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) first_seq: u64,
    /// Its durable length: where the next group begins.
    pub(super) bytes: u64,
}

/// Bounds of what the writer may put on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) segment_bytes: u64,
    pub(super) quota_bytes: u64,
    pub(super) free_bytes_min: u64,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    pub(super) active: Active,
    pub(super) next_seq: u64,
    pub(super) room: Room,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let mut last_group = Some(0);
            while let Some(appends) = last_group {
                queue.gather(appends);
                last_group = self.step();
            }
        }));
        if worked.is_err() {
            self.shared.fail("writing", &io::Error::other("the writer panicked"));
        }
        queue.abandon();
    }

    /// Waits for one group and writes it. How many appends it had; `None` once there will be no more.
    pub(super) fn step(&mut self) -> Option<usize> {
        let Group { mut appends, roll } = self.queue.next_group()?;
        if roll {
            self.roll_if_delivered();
        }
        if let Err(error) = self.store(&mut appends) {
            for append in appends.iter_mut().filter(|append| append.outcome.is_ok()) {
                append.outcome = Err(error);
            }
        }
        let (count, bytes) = (appends.len(), appends.iter().map(|append| append.frames.size()).sum());
        appends.into_iter().for_each(Pending::answer);
        self.queue.release(bytes);
        Some(count)
    }

    /// Makes the appends durable that there is room for. Each one's outcome is set, to be told when this returns; an
    /// error takes the place of every `Ok` among them.
    fn store(&mut self, appends: &mut [Pending]) -> Result<(), AppendError> {
        if self.shared.has_failed() {
            // Each outcome says so already.
            return Ok(());
        }
        self.admit(appends);
        let accepted = || appends.iter().filter(|append| append.outcome.is_ok());
        let bytes: u64 = accepted().map(|append| append.frames.size() as u64).sum();
        if bytes == 0 {
            return Ok(());
        }
        let end_seq = self.next_seq + accepted().map(|append| append.frames.frames()).sum::<u64>();
        if self.active.bytes >= self.room.segment_bytes && self.next_seq > self.active.first_seq {
            self.roll()?;
        }
        let mut parts: Vec<_> = accepted().map(|append| IoSlice::new(append.frames.as_bytes())).collect();
        if let Err(error) = write_all_at(&*self.active.file, &mut parts, self.active.bytes) {
            return Err(self.take_back(&error));
        }
        let syncing = Instant::now();
        if let Err(error) = self.active.file.sync_data() {
            self.shared.fail("syncing a segment", &error);
            return Err(AppendError::Failed);
        }
        if let Some(groups) = self.shared.groups.get() {
            groups.sync_seconds.observe(syncing.elapsed().as_secs_f64());
            groups.bytes.observe(bytes as f64);
        }
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.active.bytes += bytes;
        self.next_seq = end_seq;
        self.shared.extend(end_seq, self.active.bytes);
        Ok(())
    }

    /// Decides which appends there is room for, and stamps them with their sequence numbers.
    fn admit(&self, appends: &mut [Pending]) {
        let quota_left = self.room.quota_bytes.saturating_sub(self.shared.segments().bytes());
        // Where the disk cannot say, it will refuse the write itself when it is full.
        let free = self.shared.disk.free_bytes(&self.shared.dir).unwrap_or(u64::MAX);
        let free_left = free.saturating_sub(self.room.free_bytes_min);
        // The group may begin a new segment, and its header takes room too.
        let mut needed = SEGMENT_HEADER_BYTES;
        let mut seq = self.next_seq;
        for append in appends {
            let with_this = needed + append.frames.size() as u64;
            append.outcome = if with_this > quota_left {
                Err(AppendError::QuotaFull)
            } else if with_this > free_left {
                Err(AppendError::NoSpace)
            } else {
                append.frames.stamp(self.shared.salt, seq, seq == self.next_seq);
                let first_seq = seq;
                (needed, seq) = (with_this, seq + append.frames.frames());
                Ok(Appended { first_seq, end_seq_exclusive: seq })
            };
        }
    }

    /// After a refused write: cuts what arrived of the group. The cut is made durable, so that no frame that was answered
    /// with an error turns up after a crash, beside the one its client sent again.
    fn take_back(&self, refusal: &io::Error) -> AppendError {
        let file = &self.active.file;
        if let Err(error) = file.truncate(self.active.bytes).and_then(|()| file.sync_data()) {
            self.shared.fail("taking back a write that the disk refused", &error);
            return AppendError::Failed;
        }
        self.refused("a write", refusal)
    }

    fn refused(&self, what: &str, error: &io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => AppendError::NoSpace,
            _ => {
                tracing::error!(dir = %self.shared.dir.display(), %error, "the disk refused {what} of the spool");
                AppendError::WriteFailed
            }
        }
    }

    /// Closes the active segment, which is durable whenever no group is being written, and begins the next.
    fn roll(&mut self) -> Result<(), AppendError> {
        let Shared { disk, dir, id, .. } = &*self.shared;
        match create_segment(&**disk, dir, *id, self.next_seq) {
            Ok(file) => {
                self.active = Active { file, first_seq: self.next_seq, bytes: SEGMENT_HEADER_BYTES };
                let span = Span { first_seq: self.next_seq, end_seq: self.next_seq, bytes: SEGMENT_HEADER_BYTES };
                self.shared.segments().push(span);
                Ok(())
            }
            Err(Fault::Refused(error)) => Err(self.refused("a new segment", &error)),
            Err(Fault::Broken(error)) => {
                self.shared.fail("beginning a segment", &error);
                Err(AppendError::Failed)
            }
        }
    }

    /// A gateway with little traffic would keep its last delivered events for ever in a segment that never fills.
    fn roll_if_delivered(&mut self) {
        let holds_frames = self.next_seq > self.active.first_seq;
        if holds_frames && self.shared.delivered() >= self.next_seq && !self.shared.has_failed() {
            // Refused: it was worth a try, and was logged.
            let _ = self.roll();
        }
    }
}
