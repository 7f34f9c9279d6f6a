//! Files of the spool that vanish while it runs: a folder is removed or replaced, a segment loses its name, or a file system
//! becomes read-only or is unmounted.
//!
//! After each group, before it acknowledges the group, the writer checks that the segment is where a restart will look for
//! it. Twice a second it checks everything else. It makes missing files again from the files that it holds open, so nothing
//! is lost. If the folder is gone with events in closed segments, the writer takes nothing for a while, because somebody may
//! put the folder back. Then it goes on without them, and the reader names the lost events.

use std::{
    io::{self, IoSlice},
    sync::PoisonError,
    time::Instant,
};

use super::{
    cursor::CURSOR_NAME,
    disk::{read_full_at, write_all_at},
    fault::{Fault, TEMP_SUFFIX, create_with, replace_file},
    recovery::{ID_NAME, LOCK_NAME, id_bytes, load_id},
    segment::{segment_name, segment_path, set_aside},
    shared::Shared,
    writer::{Active, Writer},
};
use crate::{
    conditions::Condition,
    limits::{SPOOL_LOOK_SEGMENTS, SPOOL_MISSING_PATIENCE, SPOOL_READ_CHUNK_BYTES, SPOOL_UNREADABLE_BLOCK_BYTES},
};

/// Why a missing file was not made again.
enum Missing {
    /// An I/O error. It is retried.
    Fault(Fault),
    /// The writer waits for a person to put the folder back.
    Waits(String),
}

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Self {
        Self::Fault(Fault::naming(error))
    }
}

impl From<Fault> for Missing {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Writer {
    /// Checks that every file is in place, and makes missing files again.
    pub(super) fn look_after(&mut self, now: Instant) {
        self.looked_at = now;
        if self.shared.has_failed() {
            return;
        }
        let was_read_only = self.shared.is_read_only();
        if self.space().is_none() {
            return;
        }
        if was_read_only {
            let error = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
            self.shared.fail("the disk took no writes; what it dropped meanwhile is not known", &error);
            return;
        }
        let place = self.shared.folder.name();
        match self.make_again(now) {
            Ok(()) => {
                self.missing.succeeded();
                self.shared.conditions.clear(Condition::SpoolMissing, &place);
            }
            Err(Missing::Waits(why)) => {
                let _ = self.missing.failed(&SPOOL_MISSING_PATIENCE, now);
                self.shared.conditions.raise(Condition::SpoolMissing, &place, why);
                return;
            }
            Err(Missing::Fault(Fault::Broken(error))) => self.shared.fail("making again what was removed", &error),
            Err(Missing::Fault(Fault::ReadOnly(_))) => self.shared.note_read_only(),
            Err(Missing::Fault(Fault::Refused(error))) => {
                let _ = self.missing.failed(&SPOOL_MISSING_PATIENCE, now);
                let detail = format!("files of the spool are gone and cannot be made again yet: {error}");
                self.shared.conditions.raise(Condition::SpoolMissing, &place, detail);
                return;
            }
        }
        self.shared.look_into_quarantine();
        self.look_at_closed_segments();
    }

    fn make_again(&mut self, now: Instant) -> Result<(), Missing> {
        let shared = self.shared.clone();
        let Shared { disk, folder, quarantine, id, .. } = &*shared;
        let disk = &**disk;
        if !folder.is_in_place(disk)? {
            self.may_go_on_without_the_folder(now)?;
            tracing::error!(dir = %folder.path().display(), "the spool's folder is gone; it is made again");
            folder.make_again(disk)?;
        }
        if !quarantine.is_in_place(disk)? {
            quarantine.make_again(disk)?;
        }
        match load_id(disk, folder.path()) {
            Ok(Some(there)) if there == *id => {}
            Ok(Some(there)) => {
                let error = io::Error::other(format!("the spool {there} is in its place"));
                return Err(Missing::Fault(Fault::Broken(error)));
            }
            Ok(None) => replace_file(disk, folder, ID_NAME, &id_bytes(*id))?,
            // The id cannot be read now, but the file is there.
            Err(_) => {}
        }
        let lock_path = folder.join(LOCK_NAME);
        let locked = shared.lock.lock().unwrap_or_else(PoisonError::into_inner).id()?;
        if disk.id_at(&lock_path)? != Some(locked) {
            let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => Fault::Broken(io::Error::other("another process has its folder")),
                _ => Fault::naming(error),
            })?;
            *shared.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
        }
        if disk.id_at(&folder.join(CURSOR_NAME))?.is_none() {
            self.cursor.restore(&shared)?;
        }
        self.end_mark.look_after(disk, folder)?;
        shared.history.look_after(disk, folder)?;
        if !self.active.is_in_place(disk)? {
            self.make_segment_again()?;
        }
        Ok(())
    }

    /// Whether the writer may continue in a new folder, because nothing is lost by that, or because the time to put the old
    /// one back is over.
    fn may_go_on_without_the_folder(&self, now: Instant) -> Result<(), Missing> {
        let shared = &self.shared;
        if !shared.folder.is_mounted(&*shared.disk)? {
            return Err(Missing::Waits("its file system is not mounted any more; mount it again".to_owned()));
        }
        let delivered = shared.delivered();
        let gone: u64 =
            shared.segments().closed_from(delivered).iter().map(|span| span.end_seq - delivered.max(span.first_seq)).sum();
        if gone == 0 || self.missing.are_spent(&SPOOL_MISSING_PATIENCE, now) {
            return Ok(());
        }
        let seconds = SPOOL_MISSING_PATIENCE.budget.as_secs();
        Err(Missing::Waits(format!(
            "the folder is gone, and in it {gone} events that are not delivered; put it back within {seconds} s, or they are \
             given up and named"
        )))
    }

    /// Copies the active segment, which is open but has lost its name, into a file with that name.
    fn make_segment_again(&mut self) -> Result<(), Missing> {
        let Shared { disk, folder, quarantine, .. } = &*self.shared;
        let Active { file: old, path, first_seq, bytes, .. } = &self.active;
        let temp = folder.join(format!("{}{TEMP_SUFFIX}", segment_name(*first_seq)));
        let new = create_with(&**disk, &temp, &[])?;
        let mut offset = 0;
        let mut chunk = vec![0; SPOOL_READ_CHUNK_BYTES];
        while offset < *bytes {
            let size = (*bytes - offset).min(chunk.len() as u64) as usize;
            let chunk = &mut chunk[..size];
            if read_full_at(&**old, chunk, offset).is_err() {
                // Unreadable blocks stay zero: the reader reports them as damage.
                for (index, block) in chunk.chunks_mut(SPOOL_UNREADABLE_BLOCK_BYTES).enumerate() {
                    let at = offset + (index * SPOOL_UNREADABLE_BLOCK_BYTES) as u64;
                    if read_full_at(&**old, block, at).is_err() {
                        block.fill(0);
                    }
                }
            }
            write_all_at(&*new, &mut [IoSlice::new(chunk)], offset).map_err(Fault::writing)?;
            offset += size as u64;
        }
        new.sync_data().map_err(Fault::Broken)?;
        if disk.id_at(path)?.is_some() {
            set_aside(&**disk, folder.path(), quarantine, *first_seq)?;
        }
        disk.rename(&temp, path)?;
        folder.sync().map_err(Fault::Broken)?;
        let segment = segment_name(*first_seq);
        tracing::error!(segment, bytes, "the segment lost its name while it was written; all of it is in a new file");
        self.active = Active::new(folder, new, *first_seq, *bytes)?;
        self.shared.segments().remade_last();
        Ok(())
    }

    /// Reports closed segments that are gone. Their events are not lost before the reader has waited for them.
    fn look_at_closed_segments(&mut self) {
        let Shared { disk, folder, unreadable, .. } = &*self.shared;
        let closed = self.shared.segments().closed_from(self.shared.delivered());
        if self.look_from >= closed.len() {
            self.look_from = 0;
        }
        for span in closed.iter().skip(self.look_from).take(SPOOL_LOOK_SEGMENTS) {
            if let Ok(None) = disk.id_at(&segment_path(folder.path(), span.first_seq)) {
                let events = span.end_seq - span.first_seq;
                let detail = format!("the segment was removed, and in it {events} events; put it back, or they are given up");
                unreadable.is_missing(span.first_seq, detail, self.looked_at);
            }
        }
        self.look_from += SPOOL_LOOK_SEGMENTS;
    }
}
