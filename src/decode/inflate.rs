//! `Content-Encoding`: gzip, deflate, br, zstd, each inflated under a cap.

use std::io::Read;

use bytes::Bytes;

use crate::limits::INFLATED_BYTES_MAX;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not encoded, or gzip that a client could not name: told by its magic bytes.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950 (zlib), or the bare RFC 1951 that some clients send under this name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Why a body could not be inflated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Damaged or cut short.
    #[error("the body is not valid {0}")]
    Damaged(&'static str),
    /// More than [`INFLATED_BYTES_MAX`].
    #[error("the body inflates to more than {INFLATED_BYTES_MAX} bytes")]
    TooLarge,
}

impl Encoding {
    /// What is accepted, as `Accept-Encoding` in an answer says it.
    pub const ACCEPTED: &'static str = "gzip, deflate, br, zstd";

    /// Reads the value of `Content-Encoding`. `None` where it is not accepted; several codings one over another are not.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        let value = value.trim();
        let is = |name: &str| value.eq_ignore_ascii_case(name);
        match () {
            () if value.is_empty() || is("identity") => Some(Self::Identity),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("br") => Some(Self::Brotli),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    /// The coding that `body` really has: what its header said, or gzip where there was none and the magic bytes are there.
    /// No JSON begins with them.
    #[must_use]
    pub fn of_body(self, body: &[u8]) -> Self {
        if self == Self::Identity && body.starts_with(&[0x1f, 0x8b]) { Self::Gzip } else { self }
    }
}

/// The bytes behind `encoding`: of [`Encoding::Identity`] the body itself, without a copy.
///
/// # Errors
/// See [`InflateError`].
pub fn inflate(encoding: Encoding, body: &Bytes) -> Result<Bytes, InflateError> {
    let bytes: &[u8] = body;
    match encoding {
        Encoding::Identity => Ok(body.clone()),
        Encoding::Gzip => read_capped(flate2::read::MultiGzDecoder::new(bytes), "gzip"),
        // A zlib header has compression method 8 and is a multiple of 31 (RFC 1950, 2.2).
        Encoding::Deflate if matches!(bytes, [cmf, flags, ..] if cmf & 15 == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0) => {
            read_capped(flate2::read::ZlibDecoder::new(bytes), "deflate")
        }
        Encoding::Deflate => read_capped(flate2::read::DeflateDecoder::new(bytes), "deflate"),
        Encoding::Brotli => read_capped(brotli::Decompressor::new(bytes, 4096), "br"),
        Encoding::Zstd => {
            let damaged = |_| InflateError::Damaged("zstd");
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(damaged)?;
            // A frame may ask for a window of up to 2 GiB before a byte comes out; ours never needs more than the cap.
            decoder.window_log_max(INFLATED_BYTES_MAX.ilog2()).map_err(damaged)?;
            read_capped(decoder, "zstd")
        }
    }
}

fn read_capped(reader: impl Read, name: &'static str) -> Result<Bytes, InflateError> {
    let mut inflated = Vec::new();
    reader.take(INFLATED_BYTES_MAX as u64 + 1).read_to_end(&mut inflated).map_err(|_| InflateError::Damaged(name))?;
    if inflated.len() > INFLATED_BYTES_MAX { Err(InflateError::TooLarge) } else { Ok(inflated.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn encoded(encoding: Encoding, data: &[u8]) -> Bytes {
        let level = flate2::Compression::fast();
        let encoded = match encoding {
            Encoding::Identity => data.to_vec(),
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 3, 20).write_all(data).unwrap();
                out
            }
            Encoding::Zstd => zstd::encode_all(data, 1).unwrap(),
        };
        encoded.into()
    }

    const ALL: [Encoding; 4] = [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd];

    #[test]
    fn every_coding_comes_back_and_a_cut_or_flipped_body_is_refused() {
        let data: Vec<u8> = (0..50_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
        for encoding in ALL {
            let body = encoded(encoding, &data);
            assert_eq!(inflate(encoding, &body).unwrap(), data, "{encoding:?}");
            assert!(matches!(inflate(encoding, &body.slice(..body.len() / 2)), Err(InflateError::Damaged(_))), "{encoding:?}");
            assert!(inflate(encoding, &Bytes::from_static(b"{\"not\":\"encoded\"}")).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_encoded_is_not_copied() {
        let body = Bytes::from_static(b"[1]");
        assert_eq!(inflate(Encoding::Identity, &body).unwrap().as_ptr(), body.as_ptr());
    }

    #[test]
    fn bare_deflate_is_read_too() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"[1,2,3]").unwrap();
        assert_eq!(inflate(Encoding::Deflate, &encoder.finish().unwrap().into()).unwrap(), b"[1,2,3]".as_slice());
    }

    #[test]
    fn a_bomb_is_refused_at_the_cap() {
        let zeros = vec![0; INFLATED_BYTES_MAX + 1];
        for encoding in ALL {
            assert_eq!(inflate(encoding, &encoded(encoding, &zeros)), Err(InflateError::TooLarge), "{encoding:?}");
            assert_eq!(inflate(encoding, &encoded(encoding, &zeros[1..])).unwrap().len(), INFLATED_BYTES_MAX, "{encoding:?}");
        }
    }

    #[test]
    fn gzip_is_known_by_its_magic_bytes_where_no_header_names_it() {
        assert_eq!(Encoding::Identity.of_body(&encoded(Encoding::Gzip, b"{}")), Encoding::Gzip);
        assert_eq!(Encoding::Identity.of_body(b"{}"), Encoding::Identity);
        assert_eq!(Encoding::from_header(" GZIP "), Some(Encoding::Gzip));
        assert_eq!(Encoding::from_header("gzip, br"), None);
    }
}
