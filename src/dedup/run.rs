//! A sealed run: one immutable file of sorted identities, with its filters and its index in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use super::filter::SliceFilter;
use super::folder::Generations;
use super::format::{FOOTER_BYTES, Footer, ID_BYTES, PAGE_BYTES, PAGE_IDS, RunError, SLICE_BYTES, decode_header, u32_at, u64_at};
use super::identity::{Key, KeyedHash, slice_of};
use super::stats::Counters;

/// An open run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) generations: Generations,
    pub(super) footer: Footer,
    pub(super) hash: KeyedHash,
    file: File,
    file_bytes: u64,
    slices: Vec<SliceFilter>,
    /// The hash of the first identity of every page.
    fence: Vec<u64>,
    page_crcs: Vec<u32>,
    /// Damage is logged once a run; the counter tells how much there is.
    damage_is_logged: AtomicBool,
}

impl Run {
    /// Reads and checks all of a run's file but its pages, which are checked whenever they are read.
    pub(super) fn open(path: &Path, generations: Generations) -> Result<Self, RunError> {
        // A read that fails is damage: the disk no longer has what was written. A file that cannot be opened is not.
        let unreadable = |_: io::Error| RunError::Damaged("it cannot be read to its end");
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        if file_bytes < (PAGE_BYTES + FOOTER_BYTES) as u64 {
            return Err(RunError::Damaged("it is too short"));
        }
        let mut header = [0; PAGE_BYTES];
        file.read_exact_at(&mut header, 0).map_err(unreadable)?;
        let hash = decode_header(&header)?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, file_bytes - FOOTER_BYTES as u64).map_err(unreadable)?;
        let footer = Footer::decode(&footer, file_bytes)?;

        let mut tables = vec![0; footer.tables_bytes() as usize];
        file.read_exact_at(&mut tables, footer.filters_offset() + footer.filter_bytes).map_err(unreadable)?;
        if crc32c::crc32c(&tables) != footer.tables_crc {
            return Err(RunError::Damaged("its tables"));
        }
        let (fence, rest) = tables.split_at(footer.pages() as usize * 8);
        let (page_crcs, slice_table) = rest.split_at(footer.pages() as usize * 4);

        let mut filters = vec![0; footer.filter_bytes as usize];
        file.read_exact_at(&mut filters, footer.filters_offset()).map_err(unreadable)?;
        let mut section = filters.as_slice();
        let (entries, _) = slice_table.as_chunks::<SLICE_BYTES>();
        let slices = entries.iter().map(|entry| SliceFilter::decode(entry, &mut section)).collect::<Result<_, _>>()?;

        // Lookups read single pages anywhere: reading ahead would only push others out of the page cache.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random) {
            tracing::debug!(%error, "dedup: the kernel takes no advice on a run");
        }
        Ok(Self {
            generations,
            footer,
            hash,
            file,
            file_bytes,
            slices,
            fence: fence.chunks_exact(8).map(|bytes| u64_at(bytes, 0)).collect(),
            page_crcs: page_crcs.chunks_exact(4).map(|bytes| u32_at(bytes, 0)).collect(),
            damage_is_logged: AtomicBool::new(false),
        })
    }

    /// Whether an identity of this hash may be in the run; `false` is certain and needs no disk.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        self.slices.get(slice_of(hash, self.footer.slice_bits)).is_some_and(|slice| slice.may_contain(hash))
    }

    /// Whether the identity is in the run: reads the one page where it can only be. (More than one where a hash that it
    /// shares with others stretches over pages.) A page that is damaged or cannot be read is counted and holds nothing.
    pub(super) fn contains(&self, key: &Key, counters: &Counters) -> bool {
        let after = self.fence.partition_point(|first| *first <= key.hash);
        for page in (0..after).rev() {
            counters.lookups_read_disk.fetch_add(1, Ordering::Relaxed);
            let mut bytes = [0; PAGE_BYTES];
            match self.read_pages(page, &mut bytes) {
                Ok(()) if self.is_intact(page, &bytes) => {
                    if ids(&bytes[..self.ids_in_page(page) * ID_BYTES]).any(|id| id == key.id) {
                        return true;
                    }
                }
                Ok(()) => self.note_damage(page, "its checksum differs", counters),
                Err(error) => self.note_damage(page, &error.to_string(), counters),
            }
            // The page before can end with the hash that this one begins with.
            if self.fence[page] != key.hash {
                return false;
            }
        }
        false
    }

    pub(super) fn pages(&self) -> usize {
        self.fence.len()
    }

    pub(super) fn ids_in_page(&self, page: usize) -> usize {
        (self.footer.identities as usize - page * PAGE_IDS).min(PAGE_IDS)
    }

    /// Fills `bytes`, which are whole pages, from `first_page` on.
    pub(super) fn read_pages(&self, first_page: usize, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, (PAGE_BYTES * (1 + first_page)) as u64)
    }

    pub(super) fn is_intact(&self, page: usize, bytes: &[u8]) -> bool {
        crc32c::crc32c(bytes) == self.page_crcs[page]
    }

    pub(super) fn note_damage(&self, page: usize, reason: &str, counters: &Counters) {
        counters.damaged_pages.fetch_add(1, Ordering::Relaxed);
        if !self.damage_is_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(run = %self.generations, page, reason, "dedup: a page of a run is damaged; its identities are forgotten");
        }
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(super) fn filter_bytes(&self) -> u64 {
        self.footer.filter_bytes
    }

    /// Bytes of its fence and page checksums in memory.
    pub(super) fn index_bytes(&self) -> u64 {
        (self.fence.len() * 8 + self.page_crcs.len() * 4) as u64
    }
}

/// The identities in a part of a page.
pub(super) fn ids(bytes: &[u8]) -> impl Iterator<Item = Uuid> + '_ {
    bytes.as_chunks::<ID_BYTES>().0.iter().map(|id| Uuid::from_bytes(*id))
}
