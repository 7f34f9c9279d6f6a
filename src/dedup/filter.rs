//! The filter of one slice: tells without a disk read that an identity is absent.

use xorf::{BinaryFuse8, Descriptor, Filter};

use super::format::{RunError, SLICE_BYTES, u32_at, u64_at};

/// What memory holds of one slice.
#[derive(Debug)]
pub(super) enum SliceFilter {
    /// No identities in it.
    Empty,
    /// A binary fuse filter over the hashes: about 9 bits for each, false positive for 1 of 256 absent identities.
    Fuse(BinaryFuse8),
    /// The filter could not be built. Every lookup reads the page instead: slower, but correct.
    Unfiltered,
}

impl SliceFilter {
    /// Builds the filter of a slice from its sorted hashes.
    pub(super) fn build(hashes: &mut Vec<u64>) -> Self {
        // Distinct identities may share a hash, but the construction needs distinct keys.
        hashes.dedup();
        if hashes.is_empty() {
            return Self::Empty;
        }
        BinaryFuse8::try_from(&*hashes).map_or_else(
            |reason| {
                tracing::warn!(reason, hashes = hashes.len(), "dedup: a slice gets no filter; its lookups read the disk");
                Self::Unfiltered
            },
            Self::Fuse,
        )
    }

    /// Whether an identity with this hash may be in the slice. `false` is certain.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        match self {
            Self::Fuse(filter) => filter.contains(&hash),
            Self::Empty => false,
            Self::Unfiltered => true,
        }
    }

    /// The filter's bytes in the file's filter section and in memory.
    pub(super) fn fingerprints(&self) -> &[u8] {
        if let Self::Fuse(filter) = self { &filter.fingerprints } else { &[] }
    }

    /// Appends the filter's entry to the slice table.
    pub(super) fn encode(&self, table: &mut Vec<u8>) {
        let descriptor = match self {
            Self::Fuse(filter) => filter.descriptor.clone(),
            _ => Descriptor { seed: 0, segment_length: 0, segment_length_mask: 0, segment_count_length: 0 },
        };
        let kind: u32 = match self {
            Self::Empty => 0,
            Self::Fuse(_) => 1,
            Self::Unfiltered => 2,
        };
        table.extend_from_slice(&kind.to_le_bytes());
        table.extend_from_slice(&(self.fingerprints().len() as u32).to_le_bytes());
        table.extend_from_slice(&crc32c::crc32c(self.fingerprints()).to_le_bytes());
        table.extend_from_slice(&descriptor.segment_length.to_le_bytes());
        table.extend_from_slice(&descriptor.segment_count_length.to_le_bytes());
        table.extend_from_slice(&[0; 4]);
        table.extend_from_slice(&descriptor.seed.to_le_bytes());
    }

    /// Reads a slice's entry and takes its fingerprints from the front of `section`.
    pub(super) fn decode(entry: &[u8; SLICE_BYTES], section: &mut &[u8]) -> Result<Self, RunError> {
        let damaged = Err(RunError::Damaged("a filter"));
        let (kind, length, crc) = (u32_at(entry, 0), u32_at(entry, 4) as usize, u32_at(entry, 8));
        let Some((fingerprints, rest)) = section.split_at_checked(length) else { return damaged };
        *section = rest;
        if crc32c::crc32c(fingerprints) != crc {
            return damaged;
        }
        match kind {
            0 => Ok(Self::Empty),
            1 => {
                let (segment_length, segment_count_length) = (u32_at(entry, 12), u32_at(entry, 16));
                // A probe relies on these relations to stay inside the fingerprints.
                let sound = segment_length.is_power_of_two()
                    && segment_count_length.is_multiple_of(segment_length)
                    && u64::from(segment_count_length) + 2 * u64::from(segment_length) == length as u64;
                if !sound {
                    return damaged;
                }
                let descriptor = Descriptor {
                    seed: u64_at(entry, 24),
                    segment_length,
                    segment_length_mask: segment_length - 1,
                    segment_count_length,
                };
                Ok(Self::Fuse(BinaryFuse8 { descriptor, fingerprints: fingerprints.into() }))
            }
            2 => Ok(Self::Unfiltered),
            _ => damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(count: u64) -> Vec<u64> {
        let mut hashes: Vec<u64> = (0..count).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn a_filter_of_any_size_finds_all_of_its_own_and_survives_the_file() {
        for count in (0..40).chain([63, 64, 65, 100, 1000, 5000]) {
            let mut own = hashes(count);
            let filter = SliceFilter::build(&mut own);
            let mut entry = Vec::new();
            filter.encode(&mut entry);
            let mut section = filter.fingerprints();
            let read = SliceFilter::decode(entry.as_slice().try_into().unwrap(), &mut section).unwrap();
            assert!(section.is_empty());
            assert!(own.iter().all(|hash| filter.may_contain(*hash) && read.may_contain(*hash)), "{count}");
        }
    }

    #[test]
    fn equal_hashes_are_no_obstacle() {
        let mut twice: Vec<u64> = hashes(500).into_iter().flat_map(|hash| [hash, hash, hash]).collect();
        assert!(matches!(SliceFilter::build(&mut twice), SliceFilter::Fuse(_)));
    }

    #[test]
    fn a_descriptor_that_would_lead_outside_its_fingerprints_is_refused() {
        let filter = SliceFilter::build(&mut hashes(100));
        let mut entry = Vec::new();
        filter.encode(&mut entry);
        for (at, value) in [(12, 0_u32), (12, 3), (16, u32::MAX), (16, 8), (0, 9)] {
            let mut bad = entry.clone();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let mut section = filter.fingerprints();
            assert!(SliceFilter::decode(bad.as_slice().try_into().unwrap(), &mut section).is_err(), "{at} {value}");
        }
    }
}
