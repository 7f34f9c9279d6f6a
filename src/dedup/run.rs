//! A sealed run: one immutable file of sorted identities, with its filters and its index in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::filter::SliceFilter;
use super::folder::Generations;
use super::format::{Footer, Layout, PAGE_BYTES, RunError, SLICE_BYTES, decode_header, u32_at, u64_at};
use super::identity::{Key, KeyedHash, Placed, slice_of};
use super::stats::Counters;
use super::unreadable_pages::{PageState, UnreadablePages};
use crate::limits::DEDUP_READ_PATIENCE;

/// What the runs know of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealed {
    Unknown,
    Known {
        fingerprint: u32,
    },
    /// No readable page holds the identity, but a page that may hold it cannot be read at the moment.
    Unreadable,
}

/// What one run knows of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Entry(Placed),
    Absent,
    /// No readable page holds the identity, but a page that may hold it is damaged, or cannot be read at the moment.
    Damaged,
    Unreadable,
}

/// An open run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) generations: Generations,
    pub(super) footer: Footer,
    pub(super) hash: KeyedHash,
    layout: Layout,
    file: File,
    file_bytes: u64,
    slices: Vec<SliceFilter>,
    /// The hash of the first identity of every page.
    fence: Vec<u64>,
    page_crcs: Vec<u32>,
    faults: UnreadablePages,
}

impl Run {
    /// Opens a run's file and checks everything but the pages; each read checks its page.
    pub(super) fn open(path: &Path, generations: Generations) -> Result<Self, RunError> {
        let file = File::open(path)?;
        let (hash, layout, footer) = read_ends(&file)?;
        let file_bytes = footer.file_bytes();

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

        // Lookups read single pages at random positions, so read-ahead would only evict other pages from the page cache.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random) {
            tracing::debug!(%error, "dedup: the kernel takes no advice on a run");
        }
        Ok(Self {
            generations,
            footer,
            hash,
            layout,
            file,
            file_bytes,
            slices,
            fence: fence.chunks_exact(8).map(|bytes| u64_at(bytes, 0)).collect(),
            page_crcs: page_crcs.chunks_exact(4).map(|bytes| u32_at(bytes, 0)).collect(),
            faults: UnreadablePages::default(),
        })
    }

    /// Reads the footer of a run's file. Nothing else is read of an expired run.
    pub(super) fn read_footer(path: &Path) -> Result<Footer, RunError> {
        let file = File::open(path)?;
        Ok(read_ends(&file)?.2)
    }

    /// Whether an identity of this hash may be in the run. `false` is certain and needs no disk read.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        self.slices.get(slice_of(hash, self.footer.slice_bits)).is_some_and(|slice| slice.may_contain(hash))
    }

    /// Looks the identity up in the run, for a claim. A damaged page holds nothing.
    pub(super) fn look_up(&self, key: &Key, counters: &Counters) -> Sealed {
        match self.find(key, counters) {
            Found::Entry(known) => Sealed::Known { fingerprint: known.identity.fingerprint },
            Found::Absent | Found::Damaged => Sealed::Unknown,
            Found::Unreadable => Sealed::Unreadable,
        }
    }

    /// Finds the identity in the run: reads the only page where it can be. (More than one, if several identities share its hash
    /// and lie on several pages.) A damaged page is counted.
    pub(super) fn find(&self, key: &Key, counters: &Counters) -> Found {
        let after = self.fence.partition_point(|first| *first <= key.hash);
        let mut otherwise = Found::Absent;
        for page in (0..after).rev() {
            counters.lookups_read_disk.fetch_add(1, Ordering::Relaxed);
            let mut bytes = [0; PAGE_BYTES];
            match self.read_page(page, &mut bytes, counters) {
                PageState::Intact => {
                    if let Some(known) = self.entries(page, &bytes).find(|known| known.identity.id == key.id) {
                        return Found::Entry(known);
                    }
                }
                PageState::Damaged if otherwise == Found::Absent => otherwise = Found::Damaged,
                PageState::Damaged => {}
                PageState::Unreadable => otherwise = Found::Unreadable,
            }
            // The page before can end with the same hash that this page begins with.
            if self.fence[page] != key.hash {
                break;
            }
        }
        otherwise
    }

    /// Fills `bytes` with a page, and returns whether they are valid. A page that cannot be read is retried for
    /// [`DEDUP_READ_PATIENCE`], but not at every lookup.
    pub(super) fn read_page(&self, page: usize, bytes: &mut [u8], counters: &Counters) -> PageState {
        if self.faults.exist()
            && let Some(known) = self.faults.known(page, Instant::now())
        {
            return known;
        }
        let (state, is_lost) = match self.read_pages(page, bytes) {
            Ok(()) if self.is_intact(page, bytes) => {
                if self.faults.exist() {
                    self.faults.intact(page);
                }
                return PageState::Intact;
            }
            Ok(()) => (PageState::Damaged, self.faults.damaged(page, &DEDUP_READ_PATIENCE, Instant::now())),
            Err(error) => self.faults.unreadable(page, &error, &DEDUP_READ_PATIENCE, Instant::now()),
        };
        if is_lost {
            counters.damaged_pages.fetch_add(1, Ordering::Relaxed);
            counters.identities_damaged.fetch_add(self.ids_in_page(page) as u64, Ordering::Relaxed);
        }
        state
    }

    /// Retries the unreadable pages that are due.
    pub(super) fn try_again(&self, now: Instant, counters: &Counters) {
        let mut bytes = [0; PAGE_BYTES];
        for page in self.faults.due(now) {
            self.read_page(page, &mut bytes, counters);
        }
    }

    pub(super) fn pages(&self) -> usize {
        self.fence.len()
    }

    /// The entries in the bytes of a page.
    pub(super) fn entries<'a>(&self, page: usize, bytes: &'a [u8]) -> impl Iterator<Item = Placed> + use<'a> {
        self.layout.entries(bytes).take(self.ids_in_page(page))
    }

    fn ids_in_page(&self, page: usize) -> usize {
        (self.footer.identities as usize - page * self.layout.page_ids()).min(self.layout.page_ids())
    }

    /// Reads whole pages into `bytes`, from `first_page` on.
    pub(super) fn read_pages(&self, first_page: usize, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, (PAGE_BYTES * (1 + first_page)) as u64)
    }

    pub(super) fn is_intact(&self, page: usize, bytes: &[u8]) -> bool {
        crc32c::crc32c(bytes) == self.page_crcs[page]
    }

    pub(super) fn faults(&self) -> &UnreadablePages {
        &self.faults
    }

    /// Reads raw bytes of the file, even if it has lost its name.
    pub(super) fn read_piece(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    /// Whether `path` names this file.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(super) fn filter_bytes(&self) -> u64 {
        self.footer.filter_bytes
    }

    /// Bytes of the fence and the page checksums in memory.
    pub(super) fn index_bytes(&self) -> u64 {
        (self.fence.len() * 8 + self.page_crcs.len() * 4) as u64
    }
}

/// The hash of a run's file. The rest of the file may be damaged.
pub(super) fn read_hash(path: &Path) -> Result<KeyedHash, RunError> {
    let mut header = [0; PAGE_BYTES];
    File::open(path)?.read_exact_at(&mut header, 0).map_err(unreadable)?;
    Ok(decode_header(&header)?.0)
}

/// The header and the footer of a run's file.
fn read_ends(file: &File) -> Result<(KeyedHash, Layout, Footer), RunError> {
    let file_bytes = file.metadata()?.len();
    let mut header = [0; PAGE_BYTES];
    if file_bytes < header.len() as u64 {
        return Err(RunError::Damaged("it is too short"));
    }
    file.read_exact_at(&mut header, 0).map_err(unreadable)?;
    let (hash, layout) = decode_header(&header)?;
    let mut footer = vec![0; layout.footer_bytes()];
    let Some(footer_at) = file_bytes.checked_sub((PAGE_BYTES + footer.len()) as u64) else {
        return Err(RunError::Damaged("it is too short"));
    };
    file.read_exact_at(&mut footer, footer_at + PAGE_BYTES as u64).map_err(unreadable)?;
    Ok((hash, layout, Footer::decode(&footer, layout, file_bytes)?))
}

/// A failed read may succeed later, but a file that ends too soon has lost data.
fn unreadable(error: io::Error) -> RunError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => RunError::Damaged("it cannot be read to its end"),
        _ => RunError::Io(error),
    }
}
