//! Writes one run. Entries come in ascending order; pages are written at once, and their index at the end.

use std::fs::File;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::filter::SliceFilter;
use super::folder::{Folder, Generations};
use super::format::{Footer, Layout, PAGE_BYTES, PAGE_IDS, RunError, SLICE_BITS_MAX, encode_header};
use super::identity::{Entry, KeyedHash, Placed, slice_of};
use super::run::Run;
use crate::limits::{DEDUP_SYNC_BYTES, DEDUP_WRITE_BYTES};

/// Facts about the identities of a run, for its footer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) oldest_millis: i64,
    pub(super) newest_millis: i64,
    /// What the offsets of the places are counted from.
    pub(super) mark_first_inclusive: u64,
    pub(super) mark_end_exclusive: u64,
    /// The history of the spool whose sequence numbers the marks are.
    pub(super) spool_history: Uuid,
}

/// An unfinished run. If it is dropped before [`finish`](Self::finish), it removes its file.
pub(super) struct RunWriter {
    folder: Arc<Folder>,
    generations: Generations,
    file: File,
    slice_bits: u32,
    /// Pages not written yet.
    buffer: Vec<u8>,
    unsynced_bytes: u64,
    fence: Vec<u64>,
    page_crcs: Vec<u32>,
    slices: Vec<SliceFilter>,
    /// Hashes of the unfinished slice.
    slice_hashes: Vec<u64>,
    identities: u64,
    last: Option<Entry>,
    is_installed: bool,
}

impl RunWriter {
    /// Creates a run of at most `identities_max` identities, in slices of at most about `slice_identities`.
    pub(super) fn create(
        folder: &Arc<Folder>,
        generations: Generations,
        hash: &KeyedHash,
        identities_max: u64,
        slice_identities: u64,
    ) -> io::Result<Self> {
        let slice_bits = (0..SLICE_BITS_MAX).find(|bits| identities_max >> bits <= slice_identities).unwrap_or(SLICE_BITS_MAX);
        let mut writer = Self {
            folder: Arc::clone(folder),
            generations,
            file: folder.create(generations)?,
            slice_bits,
            buffer: Vec::with_capacity(DEDUP_WRITE_BYTES),
            unsynced_bytes: 0,
            fence: Vec::new(),
            page_crcs: Vec::new(),
            slices: Vec::new(),
            slice_hashes: Vec::new(),
            identities: 0,
            last: None,
            is_installed: false,
        };
        writer.write(&encode_header(hash))?;
        Ok(writer)
    }

    /// Adds an entry; ignores one with the same identity as the last entry. Returns whether a slice was finished before it.
    pub(super) fn push(&mut self, entry: Entry) -> io::Result<bool> {
        let Entry { hash, placed: Placed { identity, offset } } = entry;
        if self.last.is_some_and(|last| last.placed.identity.id == identity.id) {
            return Ok(false);
        }
        debug_assert!(self.last < Some(entry), "entries ascend");
        self.last = Some(entry);
        let slice = slice_of(hash, self.slice_bits);
        let finishes = self.slices.len() < slice;
        self.finish_slices(slice);
        self.slice_hashes.push(hash);
        if self.identities.is_multiple_of(PAGE_IDS as u64) {
            self.fence.push(hash);
        }
        self.identities += 1;
        self.buffer.extend_from_slice(identity.id.as_bytes());
        self.buffer.extend_from_slice(&identity.fingerprint.to_le_bytes());
        self.buffer.extend_from_slice(&offset.to_le_bytes());
        if self.identities.is_multiple_of(PAGE_IDS as u64) {
            self.pad();
        }
        if self.buffer.len() == DEDUP_WRITE_BYTES {
            self.flush()?;
        }
        Ok(finishes)
    }

    /// Completes the file, reads it back, and installs it. When this returns, the run is durable. `None` if there were no
    /// identities.
    pub(super) fn finish(mut self, facts: Facts) -> Result<Option<Run>, RunError> {
        if self.identities == 0 {
            return Ok(None);
        }
        self.pad();
        self.flush()?;
        self.finish_slices(1 << self.slice_bits);

        let slices = std::mem::take(&mut self.slices);
        let mut tables = Vec::with_capacity(self.fence.len() * 12 + slices.len() * 32);
        tables.extend(self.fence.iter().flat_map(|first| first.to_le_bytes()));
        tables.extend(self.page_crcs.iter().flat_map(|crc| crc.to_le_bytes()));
        let mut filter_bytes = 0;
        for slice in &slices {
            slice.encode(&mut tables);
            filter_bytes += slice.fingerprints().len() as u64;
            self.write(slice.fingerprints())?;
        }
        drop(slices);
        let footer = Footer {
            identities: self.identities,
            slice_bits: self.slice_bits,
            tables_crc: crc32c::crc32c(&tables),
            filter_bytes,
            oldest_millis: facts.oldest_millis,
            newest_millis: facts.newest_millis,
            mark_first_inclusive: facts.mark_first_inclusive,
            mark_end_exclusive: facts.mark_end_exclusive,
            spool_history: facts.spool_history,
            layout: Layout::Placed,
        };
        tables.extend_from_slice(&footer.encode());
        self.write(&tables)?;
        self.folder.sync(self.generations, &self.file)?;
        // Read back first, because an unreadable run must not replace readable ones.
        let run = Run::open(&self.folder.temporary_path(self.generations), self.generations)?;
        self.folder.install(self.generations)?;
        self.is_installed = true;
        Ok(Some(run))
    }

    /// Pads the page with zeros.
    fn pad(&mut self) {
        self.buffer.resize(self.buffer.len().next_multiple_of(PAGE_BYTES), 0);
    }

    /// Builds the filters of all slices before `slice`.
    fn finish_slices(&mut self, slice: usize) {
        while self.slices.len() < slice {
            self.slices.push(SliceFilter::build(&mut self.slice_hashes));
            self.slice_hashes.clear();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let pages = std::mem::take(&mut self.buffer);
        self.page_crcs.extend(pages.chunks_exact(PAGE_BYTES).map(crc32c::crc32c));
        self.write(&pages)?;
        self.buffer = pages;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.folder.write(self.generations, &mut self.file, bytes)?;
        self.unsynced_bytes += bytes.len() as u64;
        if self.unsynced_bytes >= DEDUP_SYNC_BYTES {
            self.folder.sync(self.generations, &self.file)?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.is_installed {
            // Best effort: opening the folder removes a leftover.
            let _ = self.folder.remove_temporary(self.generations);
        }
    }
}
