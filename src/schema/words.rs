//! Names as two words, to hash and compare them.

/// The first and the last bytes of a name, and its length: enough to hash the names of a schema, or of a registry, and most names
/// have no more bytes. Clients cannot slow this down, because tables hold only the names of schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    head: u64,
    tail: u64,
    bytes: usize,
}

impl Words {
    #[inline]
    pub(super) fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let (head, tail) = match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (bytes.first_chunk(), bytes.last_chunk()) {
                (Some(head), Some(tail)) => (u32::from_le_bytes(*head).into(), u32::from_le_bytes(*tail).into()),
                // Of up to three bytes the first, the middle one and the last are all.
                _ => match (bytes.first(), bytes.get(bytes.len() / 2), bytes.last()) {
                    (Some(first), Some(middle), Some(last)) => (u64::from(*first) << 8 | u64::from(*middle), (*last).into()),
                    _ => (0, 0),
                },
            },
        };
        Self { head, tail, bytes: bytes.len() }
    }

    /// Whether the words contain the whole name.
    #[inline]
    pub(super) fn are_whole(self) -> bool {
        self.bytes <= size_of_val(&self.head) + size_of_val(&self.tail)
    }

    #[inline]
    pub(super) fn hash(self) -> u64 {
        let mixed = (self.head ^ self.tail.rotate_left(29) ^ self.bytes as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The upper half is the better one. Tables begin with the lowest bits.
        mixed.rotate_left(32)
    }
}
