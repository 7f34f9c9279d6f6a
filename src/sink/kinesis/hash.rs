//! The place of a partition key: Kinesis maps a key to a 128-bit number by MD5.

use md5::{Digest, Md5};

use crate::sink::stream::HashKey;

/// The place of a partition key.
#[must_use]
pub fn hash_key(partition_key: &str) -> HashKey {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_placed_as_kinesis_places_it() {
        // The MD5 sums of "a" and "" are well known.
        assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    }
}
