//! The bytes of a run file, as described in [the module's doc](super): header, footer and slice table.

use uuid::Uuid;

use super::identity::{Identity, KeyedHash, Placed};
use crate::limits::DEDUP_PLACE_BYTES;

const MAGIC: [u8; 8] = *b"LG-DEDUP";

/// Layout of the entries of a run, by format version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Format 1, which is only read: identities without fingerprints, and marks of an unnamed spool.
    Bare,
    /// Format 2, which is only read: identities without places.
    Fingerprinted,
    /// Format 3, the one that is written.
    Placed,
}

impl Layout {
    const ALL: [Self; 3] = [Self::Bare, Self::Fingerprinted, Self::Placed];

    fn version(self) -> u32 {
        match self {
            Self::Bare => 1,
            Self::Fingerprinted => 2,
            Self::Placed => 3,
        }
    }

    /// Bytes of an entry.
    fn entry_bytes(self) -> usize {
        match self {
            Self::Bare => 16,
            Self::Fingerprinted => 20,
            Self::Placed => ENTRY_BYTES,
        }
    }

    /// Entries in a full page.
    pub(super) fn page_ids(self) -> usize {
        PAGE_BYTES / self.entry_bytes()
    }

    /// Bytes of the footer.
    pub(super) fn footer_bytes(self) -> usize {
        match self {
            Self::Bare => 64,
            Self::Fingerprinted | Self::Placed => 96,
        }
    }

    /// The entries in a page, padding included.
    pub(super) fn entries(self, page: &[u8]) -> impl Iterator<Item = Placed> + use<'_> {
        page.chunks_exact(self.entry_bytes()).map(|entry| {
            let (id, rest) = entry.split_first_chunk().unwrap_or((&[0; 16], &[]));
            // What an older format does not have is unknown.
            let (fingerprint, place) = rest.split_at(rest.len().min(4));
            let fingerprint = fingerprint.first_chunk().map_or(Identity::UNKNOWN, |bytes| u32::from_le_bytes(*bytes));
            let offset = place.first_chunk().map_or(Placed::NOWHERE, |bytes| u32::from_le_bytes(*bytes));
            Placed { identity: Identity { id: Uuid::from_bytes(*id), fingerprint }, offset }
        })
    }
}

/// Bytes of a page, the unit of reading and of damage.
/// Why: disks and the page cache read in this unit anyway.
pub(super) const PAGE_BYTES: usize = 4096;

/// Bytes of an entry of the format that is written: identity, fingerprint, place.
const ENTRY_BYTES: usize = 16 + 4 + DEDUP_PLACE_BYTES;
const _: () = assert!(DEDUP_PLACE_BYTES == size_of::<u32>(), "it is written as a u32");

/// Entries in a full page of the format that is written.
pub(super) const PAGE_IDS: usize = PAGE_BYTES / ENTRY_BYTES;

/// Bytes of one entry in the slice table.
pub(super) const SLICE_BYTES: usize = 32;

/// Maximum number of hash bits that choose the slice.
/// Why: 2^24 slices of the smallest useful size exceed what a run may hold; a larger number is corruption.
pub(super) const SLICE_BITS_MAX: u32 = 24;

/// Why a run file was rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The bytes are not those that were written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// Another version of Lakegate wrote it.
    #[error("written in format {0}; this version reads formats 1 to 3")]
    Version(u32),
    /// The file could not be opened, read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl RunError {
    /// Converts to an I/O error. Keeps the kind if it is one.
    pub(super) fn into_io(self) -> std::io::Error {
        match self {
            Self::Io(error) => error,
            other => std::io::Error::other(other),
        }
    }
}

/// The first page: the format and the seed of the hash.
pub(super) fn encode_header(hash: &KeyedHash) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    page[0..8].copy_from_slice(&MAGIC);
    page[8..12].copy_from_slice(&Layout::Placed.version().to_le_bytes());
    page[12..16].copy_from_slice(&(PAGE_IDS as u32).to_le_bytes());
    page[16..24].copy_from_slice(&hash.seed[0].to_le_bytes());
    page[24..32].copy_from_slice(&hash.seed[1].to_le_bytes());
    seal(&mut page);
    page
}

pub(super) fn decode_header(page: &[u8; PAGE_BYTES]) -> Result<(KeyedHash, Layout), RunError> {
    if !is_sealed(page) || page[0..8] != MAGIC {
        return Err(RunError::Damaged("its header"));
    }
    // After the checksum, because a flipped bit in the version is damage, not another version.
    let version = u32_at(page, 8);
    let Some(layout) = Layout::ALL.into_iter().find(|layout| layout.version() == version) else {
        return Err(RunError::Version(version));
    };
    if u32_at(page, 12) != layout.page_ids() as u32 {
        return Err(RunError::Damaged("its page size"));
    }
    Ok((KeyedHash { seed: [u64_at(page, 16), u64_at(page, 24)] }, layout))
}

/// The last bytes: what the file holds, and the lengths of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) identities: u64,
    pub(super) slice_bits: u32,
    pub(super) tables_crc: u32,
    pub(super) filter_bytes: u64,
    pub(super) oldest_millis: i64,
    pub(super) newest_millis: i64,
    /// The history of the spool whose sequence numbers the marks are; nil if unknown.
    pub(super) spool_history: Uuid,
    /// What the offsets of the places are counted from; `u64::MAX` if the run has no places.
    pub(super) mark_first_inclusive: u64,
    pub(super) mark_end_exclusive: u64,
    pub(super) layout: Layout,
}

impl Footer {
    /// Encodes in format 3.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; Layout::Placed.footer_bytes()];
        bytes[0..8].copy_from_slice(&self.identities.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.slice_bits.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.tables_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.filter_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.oldest_millis.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.newest_millis.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.mark_end_exclusive.to_le_bytes());
        bytes[48..64].copy_from_slice(self.spool_history.as_bytes());
        bytes[64..72].copy_from_slice(&self.mark_first_inclusive.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Reads the footer of a file of `file_bytes`. If this succeeds, every length in the footer fits the file.
    pub(super) fn decode(bytes: &[u8], layout: Layout, file_bytes: u64) -> Result<Self, RunError> {
        let footer = Self {
            identities: u64_at(bytes, 0),
            slice_bits: u32_at(bytes, 8),
            tables_crc: u32_at(bytes, 12),
            filter_bytes: u64_at(bytes, 16),
            oldest_millis: u64_at(bytes, 24) as i64,
            newest_millis: u64_at(bytes, 32) as i64,
            mark_end_exclusive: u64_at(bytes, 40),
            spool_history: match layout {
                Layout::Bare => Uuid::nil(),
                Layout::Fingerprinted | Layout::Placed => Uuid::from_bytes(bytes[48..64].try_into().unwrap_or_default()),
            },
            mark_first_inclusive: match layout {
                Layout::Bare | Layout::Fingerprinted => u64::MAX,
                Layout::Placed => u64_at(bytes, 64),
            },
            layout,
        };
        let plausible = is_sealed(bytes)
            && (1..=file_bytes).contains(&footer.identities)
            && footer.filter_bytes <= file_bytes
            && footer.slice_bits <= SLICE_BITS_MAX;
        if plausible && footer.file_bytes() == file_bytes { Ok(footer) } else { Err(RunError::Damaged("its footer")) }
    }

    /// The sequence number at `offset` in the spool of this history; `None` if it is not certain. Without a name, one spool
    /// cannot be told from another.
    pub(super) fn place(&self, offset: u32, spool_history: Uuid) -> Option<u64> {
        let is_ours = self.spool_history == spool_history && !spool_history.is_nil();
        let place = Placed::place_of(offset, self.mark_first_inclusive).filter(|_| is_ours);
        place.filter(|place| *place < self.mark_end_exclusive)
    }

    pub(super) fn pages(&self) -> u64 {
        self.identities.div_ceil(self.layout.page_ids() as u64)
    }

    pub(super) fn filters_offset(&self) -> u64 {
        PAGE_BYTES as u64 * (1 + self.pages())
    }

    pub(super) fn tables_bytes(&self) -> u64 {
        self.pages() * (8 + 4) + ((SLICE_BYTES as u64) << self.slice_bits)
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.filters_offset() + self.filter_bytes + self.tables_bytes() + self.layout.footer_bytes() as u64
    }
}

/// Writes the CRC32C of all other bytes into the last four.
pub(super) fn seal(bytes: &mut [u8]) {
    let (body, crc) = bytes.split_at_mut(bytes.len() - 4);
    crc.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
}

pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    let (body, crc) = bytes.split_at(bytes.len() - 4);
    crc32c::crc32c(body) == u32_at(crc, 0)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_version_is_damage_and_only_an_intact_one_is_another_version() {
        let hash = KeyedHash { seed: [1, 2] };
        let mut page = encode_header(&hash);
        assert_eq!(decode_header(&page).unwrap(), (hash, Layout::Placed));
        page[8] = 4;
        assert!(matches!(decode_header(&page), Err(RunError::Damaged(_))));
        seal(&mut page);
        assert!(matches!(decode_header(&page), Err(RunError::Version(4))));
    }

    #[test]
    fn a_footer_is_taken_only_with_a_file_of_its_length() {
        let footer = Footer {
            identities: 300,
            slice_bits: 2,
            tables_crc: 7,
            filter_bytes: 400,
            oldest_millis: -5,
            newest_millis: 5,
            mark_first_inclusive: 3,
            mark_end_exclusive: 9,
            spool_history: Uuid::from_u128(77),
            layout: Layout::Placed,
        };
        let file_bytes = 4096 * 3 + 400 + 2 * 12 + 4 * 32 + 96;
        let decode = |footer: &Footer, file_bytes| Footer::decode(&footer.encode(), Layout::Placed, file_bytes);
        assert_eq!(decode(&footer, file_bytes).unwrap(), footer);
        assert!(decode(&footer, file_bytes - 1).is_err());
        let absurd = Footer { identities: u64::MAX, ..footer };
        assert!(decode(&absurd, file_bytes).is_err());
    }

    #[test]
    fn a_place_is_told_only_of_the_same_named_history_and_below_the_last_mark() {
        let history = Uuid::from_u128(77);
        let footer = Footer {
            identities: 1,
            slice_bits: 0,
            tables_crc: 0,
            filter_bytes: 0,
            oldest_millis: 0,
            newest_millis: 0,
            mark_first_inclusive: 100,
            mark_end_exclusive: 110,
            spool_history: history,
            layout: Layout::Placed,
        };
        assert_eq!((footer.place(0, history), footer.place(9, history)), (Some(100), Some(109)));
        assert_eq!((footer.place(10, history), footer.place(Placed::NOWHERE, history)), (None, None));
        assert_eq!(footer.place(0, Uuid::from_u128(78)), None, "another spool");
        let nameless = Footer { spool_history: Uuid::nil(), ..footer };
        assert_eq!(nameless.place(0, Uuid::nil()), None, "any spool");
    }
}
