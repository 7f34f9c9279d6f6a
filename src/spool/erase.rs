//! Erases events of an open spool, so that no sink gets them any more.

use std::io;

use uuid::Uuid;

use super::{
    erased::{AttemptGuard, EarlierAttempts},
    fault::Fault,
    frame::Frame,
    handle::Spool,
    scrub::{SearchedFile, scrub, scrub_lists},
};

impl Spool {
    /// Begins an attempt to deliver. An event that is erased afterwards may still be delivered by this attempt, and the erasure
    /// waits for the end of it.
    #[must_use]
    pub fn begin_attempt(&self) -> AttemptGuard {
        self.shared.erased.begin_attempt()
    }

    /// Erases the events with these numbers. When this returns, no later attempt delivers them, also after a restart. Their
    /// bytes are on the disk until their segments are unlinked. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's I/O error. Nothing is erased.
    pub fn erase(&self, seqs: &[u64]) -> io::Result<EarlierAttempts> {
        self.may_write()?;
        let added = self.shared.erased.add(&*self.shared.disk, &self.shared.folder, seqs);
        added.map_err(|fault| self.failed("erasing events", fault))
    }

    /// How many erased events have their bytes in segments.
    #[must_use]
    pub fn erased_events(&self) -> u64 {
        self.shared.erased.now().len() as u64
    }

    /// The segments that hold one of these events, which ascend: the first number of each, and how many of the events.
    #[must_use]
    pub fn segments_of(&self, seqs: &[u64]) -> Vec<(u64, u64)> {
        let firsts = self.shared.segments().firsts();
        let bounds = firsts.iter().copied().zip(firsts.iter().skip(1).copied().chain([u64::MAX]));
        let count = |(first, next): (u64, u64)| {
            let within = seqs.partition_point(|seq| *seq < next) - seqs.partition_point(|seq| *seq < first);
            (first, within as u64)
        };
        bounds.map(count).filter(|(_, events)| *events > 0).collect()
    }

    /// Searches the quarantine, and erases the frames that `is_erased` selects there, unless `dry_run` is set. `is_erased` gets
    /// the id of the spool that wrote the frame. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's I/O error. Frames that were erased until then are gone.
    pub fn erase_quarantined(
        &self,
        dry_run: bool,
        is_erased: &mut dyn FnMut(Uuid, &Frame) -> bool,
    ) -> io::Result<Vec<SearchedFile>> {
        self.may_write()?;
        let shared = &self.shared;
        let searched = scrub(&*shared.disk, &shared.quarantine, shared.id, dry_run, is_erased);
        searched.map_err(|fault| self.failed("erasing events from the quarantine", fault))
    }

    /// Removes the identities that `is_erased` selects from the lists of lost and of salvaged events in the quarantine, unless
    /// `dry_run` is set. Returns how many there are. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's I/O error.
    pub fn erase_listed(&self, dry_run: bool, is_erased: &dyn Fn(Uuid) -> bool) -> io::Result<u64> {
        self.may_write()?;
        let shared = &self.shared;
        let erased = shared.losses.locked(|| scrub_lists(&*shared.disk, &shared.quarantine, dry_run, is_erased));
        erased.map_err(|fault| self.failed("erasing events from the list of losses", fault))
    }

    pub(super) fn may_write(&self) -> io::Result<()> {
        if self.shared.has_failed() { Err(io::Error::other("the spool has failed")) } else { Ok(()) }
    }

    pub(super) fn failed(&self, doing: &str, fault: Fault) -> io::Error {
        match fault {
            Fault::Broken(error) => {
                self.shared.fail(doing, &error);
                error
            }
            Fault::Refused(error) | Fault::ReadOnly(error) => error,
        }
    }
}
