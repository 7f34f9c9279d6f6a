//! The only writer: takes the queued appends, writes them with one write and one fsync, and answers in their order.

use std::{
    io::{self, IoSlice},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    cursor::CursorCell,
    disk::{Disk, DiskFile, FileId, Space, write_all_at},
    end_mark::{EndMark, EndMarkFile},
    fault::Fault,
    folder::Folder,
    queue::{AppendError, Appended, Group, Pending, Queue},
    segment::{SEGMENT_HEADER_BYTES, create_segment, segment_path},
    shared::{Shared, Span},
};
use crate::{
    fault::{FaultKind, Operation, Tries, fault_kind},
    limits::SEGMENT_STRETCH_MAX,
};

/// The active segment, to which frames are written.
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) file_id: FileId,
    pub(super) path: PathBuf,
    pub(super) first_seq: u64,
    /// Its durable length: offset of the next group.
    pub(super) bytes: u64,
}

impl Active {
    /// The segment of this file in `folder`.
    pub(super) fn new(folder: &Folder, file: Arc<dyn DiskFile>, first_seq: u64, bytes: u64) -> io::Result<Self> {
        Ok(Self { file_id: file.id()?, file, path: segment_path(folder.path(), first_seq), first_seq, bytes })
    }

    /// Whether its name still leads to its file.
    pub(super) fn is_in_place(&self, disk: &dyn Disk) -> io::Result<bool> {
        Ok(disk.id_at(&self.path)? == Some(self.file_id))
    }
}

/// Limits on the writer's use of the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskBounds {
    pub(super) segment_bytes: u64,
    pub(super) quota_bytes: u64,
    pub(super) free_bytes_min: u64,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    pub(super) active: Active,
    pub(super) next_seq: u64,
    pub(super) bounds: DiskBounds,
    pub(super) cursor: Arc<CursorCell>,
    pub(super) end_mark: EndMarkFile,
    /// Interval between checks of the spool's files; [`Duration::MAX`]: the caller of `step` decides when.
    pub(super) look_every: Duration,
    pub(super) looked_at: Instant,
    /// The spool's files are missing, and have not been made again yet.
    pub(super) missing: Tries,
    /// The next segment could not be created; the writer continues in the current one.
    pub(super) is_stretched: bool,
    /// First closed segment of the next check.
    pub(super) look_from: usize,
}

impl Writer {
    /// Works until the queue is closed and empty. After a panic, no caller stays waiting, and the panic continues.
    pub(super) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let mut last_group = Some(0);
            while let Some(appends) = last_group {
                queue.gather(appends);
                last_group = self.step();
            }
            self.rest();
        }));
        queue.abandon();
        if let Err(panic) = worked {
            resume_unwind(panic);
        }
    }

    /// Waits for one group and writes it. Returns its number of appends; `None` once the queue has ended.
    pub(super) fn step(&mut self) -> Option<usize> {
        let Group { mut appends, roll } = self.queue.next_group()?;
        let is_idle = appends.is_empty() && !roll;
        if self.looked_at.elapsed() >= self.look_every || (is_idle && self.look_every < Duration::MAX) {
            self.look_after(Instant::now());
            if is_idle {
                self.rest();
            }
        }
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

    /// Makes the appends durable that fit. Sets the outcome of each, to be reported when this returns. An error replaces every
    /// `Ok` among them.
    fn store(&mut self, appends: &mut [Pending]) -> Result<(), AppendError> {
        if self.shared.has_failed() {
            // Each outcome says so already.
            return Ok(());
        }
        if self.shared.is_read_only() {
            return self.refuse_all(appends, AppendError::ReadOnly);
        }
        if self.missing.are_failing() {
            return self.refuse_all(appends, AppendError::Missing);
        }
        let Some(space) = self.space() else { return self.refuse_all(appends, AppendError::ReadOnly) };
        self.admit(appends, space);
        let accepted = || appends.iter().filter(|append| append.outcome.is_ok());
        let bytes: u64 = accepted().map(|append| append.frames.size() as u64).sum();
        if bytes == 0 {
            return Ok(());
        }
        let end_seq = self.next_seq + accepted().map(|append| append.frames.frames()).sum::<u64>();
        if self.active.bytes >= self.bounds.segment_bytes && self.next_seq > self.active.first_seq {
            self.roll_or_go_on()?;
        }
        let mut parts: Vec<_> = accepted().map(|append| IoSlice::new(append.frames.as_bytes())).collect();
        if let Err(error) = write_all_at(&*self.active.file, &mut parts, self.active.bytes) {
            return Err(self.take_back(error));
        }
        let syncing = Instant::now();
        if let Err(error) = self.active.file.sync_data() {
            self.shared.fail("syncing a segment", &error);
            return Err(AppendError::Failed);
        }
        self.is_still_there()?;
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

    fn refuse_all(&self, appends: &mut [Pending], error: AppendError) -> Result<(), AppendError> {
        appends.iter_mut().for_each(|append| append.outcome = Err(error));
        Ok(())
    }

    /// State of the file system; `None` if it is read-only.
    pub(super) fn space(&self) -> Option<Space> {
        // If the disk cannot tell its free space, a full disk will refuse the write itself.
        let unknown = Space { free_bytes: u64::MAX, is_read_only: false };
        let space = self.shared.folder.space().unwrap_or(unknown);
        if space.is_read_only {
            self.shared.note_read_only();
            return None;
        }
        Some(space)
    }

    /// Checks after a sync whether the sync counts. The file may have lost its name, so that a restart would not find it, or
    /// the file system may have become read-only, so that the sync did nothing.
    fn is_still_there(&mut self) -> Result<(), AppendError> {
        match self.is_in_place() {
            Ok(true) => {}
            Ok(false) => {
                let refused = self.take_back(io::ErrorKind::NotFound.into());
                self.look_after(Instant::now());
                return Err(if refused == AppendError::Failed { refused } else { AppendError::Missing });
            }
            Err(error) => return Err(self.take_back(error)),
        }
        match self.space() {
            Some(_) => Ok(()),
            None => Err(AppendError::Failed),
        }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.active.is_in_place(&*self.shared.disk)
    }

    /// Decides which appends fit, and stamps them with their sequence numbers.
    fn admit(&self, appends: &mut [Pending], space: Space) {
        let is_sink_full = self.shared.is_sink_full.load(Ordering::Acquire);
        let quota_bytes = if is_sink_full { 0 } else { self.bounds.quota_bytes };
        let quota_left = quota_bytes.saturating_sub(self.shared.segments().bytes());
        let free_left = space.free_bytes.saturating_sub(self.bounds.free_bytes_min);
        // The group may begin a new segment, whose header needs room too.
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

    /// After a refused write: cuts off the part of the group that was written. The cut is made durable, so that no frame that
    /// was answered with an error reappears after a crash, beside the client's retry.
    fn take_back(&mut self, refusal: io::Error) -> AppendError {
        let fault = Fault::writing(refusal);
        if matches!(fault, Fault::Refused(_)) {
            let file = &self.active.file;
            let cut = || loop {
                match file.truncate(self.active.bytes) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    cut => return cut,
                }
            };
            if let Err(error) = cut().and_then(|()| file.sync_data()) {
                self.shared.fail("taking back a write that the disk refused", &error);
                return AppendError::Failed;
            }
        }
        match self.refused("a write", &fault) {
            // Bytes that a read-only disk took before it refused cannot be taken back.
            AppendError::ReadOnly => AppendError::Failed,
            refused => refused,
        }
    }

    fn refused(&self, what: &str, fault: &Fault) -> AppendError {
        match fault {
            Fault::ReadOnly(_) => {
                self.shared.note_read_only();
                AppendError::ReadOnly
            }
            Fault::Broken(error) => {
                self.shared.fail(&format!("the disk was given {what}"), error);
                AppendError::Failed
            }
            Fault::Refused(error) if fault_kind(error, Operation::Write) == FaultKind::NoSpace => AppendError::NoSpace,
            Fault::Refused(error) => {
                tracing::error!(dir = %self.shared.folder.path().display(), %error, "the disk refused {what} of the spool");
                AppendError::WriteFailed
            }
        }
    }

    /// Begins the next segment. If that fails for now (no descriptor, no room for another file), continues in the current
    /// segment, up to a limit.
    fn roll_or_go_on(&mut self) -> Result<(), AppendError> {
        let Err(fault) = self.roll() else {
            self.is_stretched = false;
            return Ok(());
        };
        let may_stretch = self.active.bytes < self.bounds.segment_bytes.saturating_mul(SEGMENT_STRETCH_MAX);
        if matches!(fault, Fault::Refused(_)) && may_stretch {
            if !self.is_stretched {
                let (dir, error) = (self.shared.folder.path().display(), fault.error());
                tracing::warn!(%dir, %error, "the next segment cannot be begun; the present one is written on");
            }
            self.is_stretched = true;
            return Ok(());
        }
        Err(self.refused("a new segment", &fault))
    }

    /// Closes the active segment, which is durable between groups, and begins the next.
    fn roll(&mut self) -> Result<(), Fault> {
        // The file will not be held open any longer, so it must have its name now.
        if !self.is_in_place().map_err(Fault::naming)? {
            self.look_after(Instant::now());
            if self.shared.has_failed() || !self.is_in_place().map_err(Fault::naming)? {
                return Err(Fault::Refused(io::ErrorKind::NotFound.into()));
            }
        }
        let Shared { disk, folder, id, .. } = &*self.shared;
        let file = create_segment(&**disk, folder, *id, self.next_seq)?;
        self.active = Active::new(folder, file, self.next_seq, SEGMENT_HEADER_BYTES).map_err(Fault::Broken)?;
        self.shared.segments().push(Span::new(self.next_seq, self.next_seq, SEGMENT_HEADER_BYTES));
        Ok(())
    }

    /// Closes a delivered segment. Without this, a gateway with little traffic would keep its last delivered events for ever.
    fn roll_if_delivered(&mut self) {
        let holds_frames = self.next_seq > self.active.first_seq;
        let may_write = !self.shared.has_failed() && !self.shared.is_read_only() && !self.missing.are_failing();
        if holds_frames && self.shared.delivered() >= self.next_seq && may_write {
            match self.roll() {
                Ok(()) => self.is_stretched = false,
                // A refusal does no harm here.
                Err(Fault::Refused(error)) => tracing::debug!(%error, "a delivered segment is not closed yet"),
                Err(fault) => _ = self.refused("a new segment", &fault),
            }
        }
    }

    /// Records the durable position while the spool is idle.
    pub(super) fn rest(&mut self) {
        if self.shared.has_failed() || self.shared.is_read_only() || self.missing.are_failing() {
            return;
        }
        let mark = EndMark { segment: self.active.first_seq, bytes: self.active.bytes, end_seq: self.next_seq };
        let Shared { disk, folder, .. } = &*self.shared;
        match self.end_mark.write(&**disk, folder, mark) {
            Ok(()) => {}
            Err(Fault::Refused(error)) => tracing::debug!(%error, "the end of the spool is not noted yet"),
            Err(fault) => _ = self.refused("a note of its end", &fault),
        }
    }
}
