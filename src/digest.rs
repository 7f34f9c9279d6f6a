//! SHA-256 as text: the name of bytes in files, metrics and headers.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Bytes of the SHA-256 in an `ETag`; enough to make a collision practically impossible.
const ETAG_BYTES: usize = 16;

/// The SHA-256 of `bytes`, in 64 lower-case hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// The strong `ETag` of a text or a file: it identifies its bytes.
#[must_use]
pub fn etag(bytes: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", hex(&Sha256::digest(bytes)[..ETAG_BYTES]))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_prints_and_an_etag_is_half_of_it_in_quotes() {
        // printf %s s3cret | sha256sum
        let expected = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
        assert_eq!(sha256_hex("s3cret"), expected);
        assert_eq!(etag("s3cret"), format!("\"{}\"", &expected[..32]));
    }
}
