//! The public API of the spool.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    cursor::{AssignedPosition, Cursor, CursorCell, CursorError, SinkCursor, SinkPosition},
    disk::{Disk, DiskFile},
    end_mark::EndMarkFile,
    erased::Erased,
    fault::Fault,
    folder::Folder,
    frame::{FrameBuffer, Salt},
    history::History,
    losses::{Loss, Losses, read_losses},
    queue::{AppendError, Appended, Pending, Queue},
    reader::Reader,
    recovery::{LOCK_NAME, OpenError, Recovered, RecoveryReport, recover},
    scrub::forget_unlinked,
    segment::{quarantine_dir, segment_path, set_aside},
    shared::{GroupMetrics, Quarantined, Shared},
    unreadable::Unreadable,
    writer::{DiskBounds, Writer},
};
use crate::{
    conditions::Conditions,
    fault::{Patience, Tries},
    limits::{GROUP_COMMIT_BYTES_MAX, SEGMENT_PIECE_BYTES, SPOOL_LOOK_EVERY, SPOOL_START_PATIENCE},
};

/// Location and limits of a spool.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Its folder; created if it is missing. Only one process may use it at a time.
    pub dir: PathBuf,
    /// Bytes at which a segment is closed and the next one begins.
    pub segment_bytes: u64,
    /// Maximum total bytes of all segments.
    pub quota_bytes: u64,
    /// Bytes that must stay free on the file system.
    pub free_bytes_min: u64,
    /// Maximum bytes that wait for the writer.
    pub queue_bytes_max: usize,
    /// How long an unreadable place is retried before its events are given up.
    pub unreadable: Patience,
    /// Faults are raised here.
    pub conditions: Conditions,
}

/// Statistics of a spool on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolStats {
    /// Segment files, including the active one.
    pub segments: usize,
    /// Their bytes, which the quota limits.
    pub bytes: u64,
    /// First sequence number of the oldest segment.
    pub first_seq: u64,
    /// One past the last durable sequence number.
    pub end_seq_exclusive: u64,
    /// Groups of appends made durable since the spool was opened, with one `fdatasync` each.
    pub syncs: u64,
}

/// An open spool. Dropping it writes the queue and ends the writer.
pub struct Spool {
    pub(super) shared: Arc<Shared>,
    queue: Arc<Queue>,
    cursor: Arc<CursorCell>,
    /// Held while segments are unlinked, so that two callers cannot remove the same file.
    unlinking: Mutex<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens the spool in `config.dir`, recovers from a crash, and starts the writer.
    ///
    /// # Errors
    /// See [`OpenError`]. Damage is not an error; it is in the report.
    pub fn open(disk: Arc<dyn Disk>, config: SpoolConfig) -> Result<(Self, RecoveryReport), OpenError> {
        let (spool, writer, report) = Self::open_without_thread(disk, config)?;
        let thread = spool.shared.conditions.vital("spool-writer").thread(move || writer.run());
        let thread = thread.map_err(|source| OpenError::Io { doing: "starting the writer", source })?;
        *spool.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok((spool, report))
    }

    /// For the simulator, which steps the writer itself so that a seed always gives the same run.
    pub(super) fn open_without_thread(
        disk: Arc<dyn Disk>,
        config: SpoolConfig,
    ) -> Result<(Self, Writer, RecoveryReport), OpenError> {
        // Retry, because a transient error of the system or the folder must not prevent the start.
        let mut tries = Tries::default();
        loop {
            let error = match Self::try_open(disk.clone(), config.clone(), false) {
                Err(error) if error.may_pass() => error,
                opened => return opened,
            };
            let Some(pause) = tries.failed(&SPOOL_START_PATIENCE, Instant::now()) else {
                return Self::try_open(disk, config, true);
            };
            tracing::warn!(dir = %config.dir.display(), %error, "the spool cannot be opened yet; trying again");
            thread::sleep(pause);
        }
    }

    fn try_open(disk: Arc<dyn Disk>, config: SpoolConfig, gives_up: bool) -> Result<(Self, Writer, RecoveryReport), OpenError> {
        let SpoolConfig { dir, segment_bytes, quota_bytes, free_bytes_min, queue_bytes_max, unreadable, conditions } = config;
        let at = |doing| move |source| OpenError::Io { doing, source };
        let folder = Folder::make(&*disk, &dir).map_err(at("making the spool's folder"))?;
        let lock = disk.lock(&dir.join(LOCK_NAME)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked(dir.clone()),
            _ => at("locking the spool")(error),
        })?;
        let quarantine = Folder::make(&*disk, &quarantine_dir(&dir)).map_err(at("making the quarantine folder"))?;
        let Recovered { id, cursors, segments, active, report } = recover(&*disk, &folder, &quarantine, gives_up)?;
        let next_seq = segments.end_seq();
        let losses = Losses::load(&*disk, quarantine.path(), id);
        let erased = Erased::load(&*disk, &folder, id, next_seq);
        let history = History::load(&*disk, &folder, id);
        let shared = Arc::new(Shared {
            disk,
            id,
            salt: Salt::of(id),
            segments: Mutex::new(segments),
            durable_end: watch::Sender::new(next_seq),
            failed: watch::Sender::new(false),
            delivered: AtomicU64::new(cursors.lowest().delivered_exclusive),
            syncs: AtomicU64::new(0),
            groups: OnceLock::new(),
            unreadable: Unreadable::new(unreadable, folder.name(), conditions.clone()),
            conditions,
            is_read_only: AtomicBool::new(false),
            is_sink_full: AtomicBool::new(false),
            losses,
            erased,
            history,
            damaged: Mutex::default(),
            quarantined: Mutex::default(),
            lock: Mutex::new(lock),
            folder,
            quarantine,
        });
        shared.look_into_quarantine();
        settle_erasures(&shared);
        let queue = Arc::new(Queue::new(queue_bytes_max, GROUP_COMMIT_BYTES_MAX));
        let bounds = DiskBounds { segment_bytes, quota_bytes, free_bytes_min };
        let cursor = Arc::new(CursorCell::new(cursors));
        let writer = Writer {
            shared: Arc::clone(&shared),
            queue: Arc::clone(&queue),
            active,
            next_seq,
            bounds,
            cursor: Arc::clone(&cursor),
            end_mark: EndMarkFile::new(id),
            look_every: SPOOL_LOOK_EVERY,
            looked_at: Instant::now(),
            missing: Tries::default(),
            is_stretched: false,
            look_from: 0,
        };
        Ok((Self { shared, queue, cursor, unlinking: Mutex::default(), writer: Mutex::default() }, writer, report))
    }

    /// From now on, records metrics of each group. Only the first call counts.
    pub fn observe_groups(&self, metrics: GroupMetrics) {
        let _ = self.shared.groups.set(metrics);
    }

    /// Id of this spool, created once with its folder.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// Appends all of `frames` or none. `done` is called exactly once, with `Ok` only when the frames are durable. The
    /// writer's thread calls it, in the order of the appends, so `done` must be short and must not block. Only
    /// [`AppendError::Busy`] and [`AppendError::Closed`] are reported at once, on the calling thread.
    pub fn append(&self, frames: FrameBuffer, done: impl FnOnce(Result<Appended, AppendError>) + Send + 'static) {
        self.queue.push(Pending::new(frames, Box::new(done)));
    }

    /// One past the last durable sequence number.
    #[must_use]
    pub fn durable_end(&self) -> u64 {
        self.shared.durable_end()
    }

    /// Watches [`Spool::durable_end`], to wait for new frames.
    #[must_use]
    pub fn watch_durable_end(&self) -> watch::Receiver<u64> {
        self.shared.watch_durable_end()
    }

    /// Becomes true after a disk fault that only a restart can recover from, such as a failed fsync. After that, nothing is
    /// appended or committed; durable frames can still be read. The process must restart.
    #[must_use]
    pub fn watch_failed(&self) -> watch::Receiver<bool> {
        self.shared.watch_failed()
    }

    /// Current statistics.
    #[must_use]
    pub fn stats(&self) -> SpoolStats {
        let segments = self.shared.segments();
        SpoolStats {
            segments: segments.len(),
            bytes: segments.bytes(),
            first_seq: segments.first_seq(),
            end_seq_exclusive: segments.end_seq(),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
        }
    }

    /// A reader that begins at the frame with `seq`, or at the next frame after it.
    #[must_use]
    pub fn reader(&self, seq: u64) -> Reader {
        Reader::new(Arc::clone(&self.shared), seq)
    }

    /// Position up to which every sink has the events. Durable.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor.lowest()
    }

    /// The cursor of the only sink, or of the first one.
    #[must_use]
    pub fn first_sink(&self) -> SinkCursor {
        self.sink(0)
    }

    /// The positions that `sinks` have from now on, if [`Spool::take_positions`] stores them.
    #[must_use]
    pub fn positions_of(&self, sinks: &[SinkPosition]) -> Vec<AssignedPosition> {
        let stats = self.stats();
        self.cursor.assign(sinks, stats.first_seq..stats.end_seq_exclusive)
    }

    /// Durably stores these positions, all or none, and returns the cursor of each sink. Call it once, before any cursor is
    /// used. Blocks on the disk.
    ///
    /// # Errors
    /// See [`CursorError`].
    pub fn take_positions(&self, assigned: &[AssignedPosition]) -> Result<Vec<SinkCursor>, CursorError> {
        self.cursor.take(&self.shared, assigned)?;
        Ok((0..assigned.len()).map(|index| self.sink(index)).collect())
    }

    fn sink(&self, index: usize) -> SinkCursor {
        SinkCursor { shared: Arc::clone(&self.shared), cell: Arc::clone(&self.cursor), index }
    }

    /// Bytes of the segments that hold events from `seq` on.
    #[must_use]
    pub fn bytes_from(&self, seq: u64) -> u64 {
        self.shared.segments().bytes_from(seq)
    }

    /// The first number of the newest segments that have at most `bytes` together, at least the active one.
    #[must_use]
    pub fn newest_within(&self, bytes: u64) -> u64 {
        self.shared.segments().newest_within(bytes)
    }

    /// Whether appends are refused because the events that wait for a sink fill its part of the quota.
    pub fn set_sink_full(&self, is_full: bool) {
        self.shared.is_sink_full.store(is_full, Ordering::Release);
    }

    /// Asks the writer to close the active segment, if it holds frames and all of them are delivered, so that
    /// [`Spool::unlink_delivered`] may unlink it too. The deliverer calls this when it is idle.
    pub fn roll_if_delivered(&self) {
        self.queue.ask_to_roll();
    }

    /// Whether [`Spool::unlink_delivered`] has a segment to unlink.
    #[must_use]
    pub fn has_delivered_segments(&self) -> bool {
        !self.shared.segments().below(self.shared.delivered()).is_empty()
    }

    /// Unlinks the fully delivered segments. Returns their number. Blocks on the disk, but no append waits for it.
    ///
    /// # Errors
    /// The disk's I/O error. The next call unlinks the remaining segments.
    pub fn unlink_delivered(&self) -> io::Result<usize> {
        let _unlinking = self.unlinking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.has_failed() {
            return Err(io::Error::other("the spool has failed"));
        }
        let Shared { disk, folder, quarantine, .. } = &*self.shared;
        let delivered = self.cursor.lowest().delivered_exclusive;
        let segments = self.shared.segments().below(delivered);
        let mut nameless = Vec::new();
        for first_seq in &segments {
            let path = segment_path(folder.path(), *first_seq);
            // A damaged segment is kept until a person removes it.
            let removed = if self.shared.is_damaged(*first_seq) && disk.id_at(&path)?.is_some() {
                self.keep_damaged(*first_seq)
            } else {
                // Held open, so that its blocks are not freed all at once: see `give_back`.
                nameless.extend(disk.open(&path).ok());
                disk.remove(&path)
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.shared.segments().remove_first(*first_seq),
            }
        }
        if !segments.is_empty() {
            folder.sync().inspect_err(|error| self.shared.fail("syncing the folder after an unlink", error))?;
            self.shared.unreadable.forget_below(self.shared.segments().first_seq());
            if quarantine.is_in_place(&**disk).unwrap_or(false) {
                self.shared.look_into_quarantine();
            }
            settle_erasures(&self.shared);
        }
        // A file that has another name, in the quarantine, is not cut.
        let is_nameless = |file: &Arc<dyn DiskFile>| file.links().is_ok_and(|links| links == 0);
        nameless.iter().filter(|file| is_nameless(file)).for_each(|file| give_back(&**file));
        Ok(segments.len())
    }

    /// Takes a damaged segment out of the spool. If the quarantine already has the file under another name, removes the name
    /// here; otherwise moves the file there.
    fn keep_damaged(&self, first_seq: u64) -> io::Result<()> {
        let Shared { disk, folder, quarantine, .. } = &*self.shared;
        let path = segment_path(folder.path(), first_seq);
        if disk.open(&path)?.links()? > 1 {
            return disk.remove(&path);
        }
        match set_aside(&**disk, folder.path(), quarantine, first_seq) {
            Ok(_) => Ok(()),
            Err(Fault::Broken(error)) => {
                self.shared.fail("setting a damaged segment aside", &error);
                Err(error)
            }
            Err(Fault::Refused(error) | Fault::ReadOnly(error)) => Err(error),
        }
    }

    /// The events of this spool that are written down as lost, until a person removes the list. Blocks on the disk.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        let losses = read_losses(&*self.shared.disk, self.shared.quarantine.path());
        losses.into_iter().filter(|loss| loss.spool_id == self.shared.id).collect()
    }

    /// How long to wait before an unreadable place is read again.
    #[must_use]
    pub fn unreadable_pause(&self) -> Duration {
        self.shared.unreadable.pause()
    }

    /// The quarantine, as last seen.
    #[must_use]
    pub fn quarantined(&self) -> Quarantined {
        *self.shared.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more appends, writes the queue and waits for the writer to end. After that, durable frames can still be read,
    /// and the cursor can be moved.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last owner may be the callback of an append, on the writer's own thread, which cannot join itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id())
            && writer.join().is_err()
        {
            tracing::error!(dir = %self.shared.folder.path().display(), "the spool's writer panicked");
        }
    }
}

/// Forgets the erased events whose segments are gone.
fn settle_erasures(shared: &Shared) {
    match forget_unlinked(shared) {
        Ok(()) => {}
        Err(Fault::Broken(error)) => shared.fail("forgetting erased events", &error),
        // The next unlink, or the next start, tries again.
        Err(Fault::Refused(error) | Fault::ReadOnly(error)) => {
            tracing::warn!(%error, "the quarantine cannot be searched for erased events yet");
        }
    }
}

/// Frees the blocks of a file without a name in pieces. If they were freed all at once, as when the last descriptor is closed,
/// the file system would be busy for about 50 ms, and the next `fdatasync` would wait for it.
fn give_back(file: &dyn DiskFile) {
    let mut size = file.size().unwrap_or(0);
    while size > 0 {
        size = size.saturating_sub(SEGMENT_PIECE_BYTES);
        if let Err(error) = file.truncate(size) {
            // Closing the file frees the rest.
            tracing::debug!(%error, "a segment is given back at once");
            return;
        }
    }
}

#[cfg(test)]
impl Spool {
    pub(super) fn conditions(&self) -> &Conditions {
        &self.shared.conditions
    }

    pub(super) fn shared_has_failed(&self) -> bool {
        self.shared.has_failed()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::{super::disk::FileId, *};

    /// Records the sizes to which the file is truncated.
    #[derive(Default)]
    struct Cut(Mutex<Vec<u64>>);

    impl DiskFile for Cut {
        fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
            unreachable!("nothing is written any more")
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            unreachable!("nobody reads it any more")
        }

        fn size(&self) -> io::Result<u64> {
            Ok(SEGMENT_PIECE_BYTES * 5 / 2)
        }

        fn links(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn id(&self) -> io::Result<FileId> {
            unreachable!("it has no name any more")
        }

        fn truncate(&self, size: u64) -> io::Result<()> {
            self.0.lock().unwrap().push(size);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            unreachable!("nothing of it has to last")
        }

        fn forget_cached(&self) -> io::Result<()> {
            unreachable!("nobody reads it any more")
        }
    }

    #[test]
    fn a_delivered_segment_is_given_back_in_pieces() {
        let file = Cut::default();
        give_back(&file);
        assert_eq!(file.0.into_inner().unwrap(), [SEGMENT_PIECE_BYTES * 3 / 2, SEGMENT_PIECE_BYTES / 2, 0]);
    }
}
