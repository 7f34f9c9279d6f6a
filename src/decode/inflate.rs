//! `Content-Encoding`: gzip, deflate, br, zstd, each inflated up to a limit.
//!
//! A body is read to its last byte, in all four codings. Senders that append compressed lines to each other produce several
//! streams. All streams are read, as if their contents had been compressed at once. If anything other than a further stream of
//! the same coding follows a stream (a line of text, zeros, a line end), the whole body is refused. So every event that was
//! sent is counted.
//!
//! Memory for the inflated body is taken from the budget of all requests ([`Growth`]) before it is allocated. A body that
//! inflates much further than events do is refused, whatever its content, because repetition costs its sender nothing.

use std::io::{self, Read};

use brotli::reader::StandardAlloc;
use bytes::Bytes;

use crate::limits::{
    COMPRESSED_STREAMS_MAX, HEAVY_FROM_BYTES, HEAVY_FROM_STREAMS, INFLATE_ALLOWANCE_BYTES, INFLATE_STEP_BYTES, INFLATED_BYTES_MAX,
};

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not encoded, or gzip from a client that could not set the header: detected by its magic bytes.
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
    /// The body is damaged.
    #[error("the body is not valid {0}")]
    Damaged(&'static str),
    /// The body ends inside a stream.
    #[error("the body is cut short: its {0} stream does not come to its end")]
    CutShort(&'static str),
    /// Other bytes follow a stream.
    #[error("the last {1} bytes of the body stand behind a {0} stream and are no {0} stream themselves")]
    Behind(&'static str, usize),
    /// More than [`COMPRESSED_STREAMS_MAX`] streams.
    #[error("the body holds more than {COMPRESSED_STREAMS_MAX} {0} streams")]
    TooManyStreams(&'static str),
    /// More than [`INFLATED_BYTES_MAX`] bytes.
    #[error("the body inflates to more than {INFLATED_BYTES_MAX} bytes")]
    TooLarge,
    /// More than the permitted multiple of the body's size: see [`Growth::ratio_max`].
    #[error(
        "the body inflates to more than {0} times its size and {INFLATE_ALLOWANCE_BYTES} bytes; events compress 5 to 15 times: \
         send it uncompressed, or with less padding"
    )]
    RatioTooHigh(usize),
    /// [`Growth::memory`] refused more memory.
    #[error("there is no memory for more of the body")]
    NoMemory,
    /// The body is [heavy](Growth::is_light_only).
    #[error("the body inflates to more than {HEAVY_FROM_BYTES} bytes, or in many streams")]
    Heavy,
}

/// How far a body may inflate.
pub struct Growth<'a> {
    /// How many times its size the body may inflate to, in addition to [`INFLATE_ALLOWANCE_BYTES`].
    pub ratio_max: usize,
    /// Whether to stop if the body needs more than about a millisecond of work.
    pub is_light_only: bool,
    /// Requests memory for this many bytes in total, before they are allocated. `false`: there is not enough.
    pub memory: &'a mut dyn FnMut(usize) -> bool,
}

impl Encoding {
    /// The accepted codings, for `Accept-Encoding` in an answer.
    pub const ACCEPTED: &'static str = "gzip, deflate, br, zstd";

    /// Parses the value of `Content-Encoding`. `None` if the coding is not accepted; several codings together are not.
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

    /// The actual coding of `body`: the coding of the header, or gzip if there is no header and the body begins with gzip's
    /// magic bytes. No JSON begins with them.
    #[must_use]
    pub fn of_body(self, body: &[u8]) -> Self {
        if self == Self::Identity && body.starts_with(&[0x1f, 0x8b]) { Self::Gzip } else { self }
    }
}

/// The inflated bytes of `body`. [`Encoding::Identity`] and an empty body return the body itself, without a copy.
///
/// # Errors
/// See [`InflateError`].
pub fn inflate(encoding: Encoding, body: &Bytes, growth: Growth<'_>) -> Result<Bytes, InflateError> {
    match encoding {
        _ if body.is_empty() => Ok(body.clone()),
        Encoding::Identity => Ok(body.clone()),
        Encoding::Gzip => all_streams(body, "gzip", growth, gzip),
        Encoding::Deflate => all_streams(body, "deflate", growth, deflate),
        Encoding::Brotli => all_streams(body, "br", growth, brotli),
        Encoding::Zstd => all_streams(body, "zstd", growth, zstd),
    }
}

/// Inflates stream after stream until nothing of `body` is left. `one` appends the content of the first stream of its input, up
/// to one byte above the limit, and returns the bytes after that stream.
fn all_streams(
    body: &[u8],
    name: &'static str,
    growth: Growth<'_>,
    one: for<'a> fn(&'a [u8], &mut Inflated<'_>) -> io::Result<&'a [u8]>,
) -> Result<Bytes, InflateError> {
    let Growth { ratio_max, is_light_only, memory } = growth;
    let by_ratio = body.len().saturating_mul(ratio_max).saturating_add(INFLATE_ALLOWANCE_BYTES);
    let (bytes_max, too_much) = match (by_ratio.min(INFLATED_BYTES_MAX), is_light_only) {
        (bytes, true) if bytes > HEAVY_FROM_BYTES => (HEAVY_FROM_BYTES, InflateError::Heavy),
        (INFLATED_BYTES_MAX, _) => (INFLATED_BYTES_MAX, InflateError::TooLarge),
        (bytes, _) => (bytes, InflateError::RatioTooHigh(ratio_max)),
    };
    let first_step = body.len().saturating_mul(8).clamp(1 << 10, INFLATE_STEP_BYTES);
    let mut inflated = Inflated { bytes: Vec::new(), bytes_max, first_step, memory, is_short: false };
    let mut rest = body;
    for number in 1..=COMPRESSED_STREAMS_MAX {
        let behind = one(rest, &mut inflated).map_err(|error| match error.kind() {
            _ if inflated.is_short => InflateError::NoMemory,
            io::ErrorKind::UnexpectedEof => InflateError::CutShort(name),
            _ if rest.len() < body.len() => InflateError::Behind(name, rest.len()),
            _ => InflateError::Damaged(name),
        })?;
        if inflated.is_too_much() {
            return Err(too_much);
        }
        if behind.is_empty() {
            return Ok(inflated.bytes.into());
        }
        if is_light_only && number == HEAVY_FROM_STREAMS {
            return Err(InflateError::Heavy);
        }
        rest = behind;
    }
    Err(InflateError::TooManyStreams(name))
}

/// The inflated bytes so far.
struct Inflated<'a> {
    bytes: Vec<u8>,
    bytes_max: usize,
    first_step: usize,
    memory: &'a mut dyn FnMut(usize) -> bool,
    /// Whether memory for more was refused.
    is_short: bool,
}

impl Inflated<'_> {
    fn is_too_much(&self) -> bool {
        self.bytes.len() > self.bytes_max
    }

    /// Allocates if the buffer is full, and returns the free room in bytes: 0 after the one byte above the limit.
    fn room(&mut self) -> io::Result<usize> {
        let (length, capacity) = (self.bytes.len(), self.bytes.capacity());
        if length < capacity {
            return Ok((capacity - length).min(self.bytes_max + 1 - length));
        }
        let step = if capacity == 0 { self.first_step } else { INFLATE_STEP_BYTES.max(capacity / 2) };
        let more = step.min(self.bytes_max + 1 - length);
        if !(self.memory)(capacity + more) {
            self.is_short = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.reserve_exact(more);
        Ok(more)
    }

    /// Reads to the end of `reader`, or to the one byte above the limit.
    fn read(&mut self, reader: &mut impl Read) -> io::Result<()> {
        while !self.is_too_much() {
            let room = self.room()?;
            if reader.take(room as u64).read_to_end(&mut self.bytes)? < room {
                break;
            }
        }
        Ok(())
    }
}

fn gzip<'a>(body: &'a [u8], inflated: &mut Inflated<'_>) -> io::Result<&'a [u8]> {
    let mut decoder = flate2::bufread::GzDecoder::new(body);
    inflated.read(&mut decoder)?;
    Ok(decoder.into_inner())
}

fn deflate<'a>(body: &'a [u8], inflated: &mut Inflated<'_>) -> io::Result<&'a [u8]> {
    // A zlib header has compression method 8 and is a multiple of 31 (RFC 1950, 2.2).
    if matches!(body, [cmf, flags, ..] if cmf & 15 == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0) {
        let mut decoder = flate2::bufread::ZlibDecoder::new(body);
        inflated.read(&mut decoder)?;
        Ok(decoder.into_inner())
    } else {
        let mut decoder = flate2::bufread::DeflateDecoder::new(body);
        inflated.read(&mut decoder)?;
        Ok(decoder.into_inner())
    }
}

fn zstd<'a>(body: &'a [u8], inflated: &mut Inflated<'_>) -> io::Result<&'a [u8]> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?.single_frame();
    // A frame may require a window of up to 2 GiB before a byte comes out; the gateway never needs more than the limit.
    decoder.window_log_max(INFLATED_BYTES_MAX.ilog2())?;
    inflated.read(&mut decoder)?;
    Ok(decoder.finish())
}

/// Uses the decoder's own loop, because its `Read` does not report how much of the input it used.
fn brotli<'a>(body: &'a [u8], inflated: &mut Inflated<'_>) -> io::Result<&'a [u8]> {
    use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
    let mut state = BrotliState::new(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default());
    let (mut unread, mut read, mut written) = (body.len(), 0, 0);
    let mut output = vec![0; BROTLI_PIECE_BYTES];
    loop {
        let (mut room, mut filled) = (output.len(), 0);
        let result =
            BrotliDecompressStream(&mut unread, &mut read, body, &mut room, &mut filled, &mut output, &mut written, &mut state);
        inflated.read(&mut &output[..filled])?;
        match result {
            BrotliResult::ResultSuccess => return Ok(&body[read..]),
            BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
            BrotliResult::NeedsMoreInput => return Err(io::ErrorKind::UnexpectedEof.into()),
            BrotliResult::NeedsMoreOutput if inflated.is_too_much() => return Ok(&[]),
            BrotliResult::NeedsMoreOutput => {}
        }
    }
}

/// Bytes that brotli inflates at a time.
const BROTLI_PIECE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Inflates without limits.
    fn inflate(encoding: Encoding, body: &Bytes) -> Result<Bytes, InflateError> {
        let growth = Growth { ratio_max: usize::MAX, is_light_only: false, memory: &mut |_| true };
        super::inflate(encoding, body, growth)
    }

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
            assert!(matches!(inflate(encoding, &body.slice(..body.len() / 2)), Err(InflateError::CutShort(_))), "{encoding:?}");
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
        let bare = encoder.finish().unwrap();
        assert_eq!(inflate(Encoding::Deflate, &bare.clone().into()).unwrap(), b"[1,2,3]".as_slice());
        let with = |behind: &[u8]| inflate(Encoding::Deflate, &[&bare, behind].concat().into());
        assert_eq!(with(&bare).unwrap(), b"[1,2,3][1,2,3]".as_slice());
        assert_eq!(with(&encoded(Encoding::Deflate, b"4")).unwrap(), b"[1,2,3]4".as_slice());
        assert!(with(b"{}\n").is_err() && with(b"\n").is_err() && with(&bare[..5]).is_err());
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

    #[test]
    fn one_stream_for_each_event_is_read_and_more_are_refused_before_they_cost() {
        for encoding in ALL {
            let many = encoded(encoding, b"{}\n").repeat(COMPRESSED_STREAMS_MAX);
            assert_eq!(inflate(encoding, &many.clone().into()).unwrap(), "{}\n".repeat(COMPRESSED_STREAMS_MAX), "{encoding:?}");
            let more = [many, encoded(encoding, b"").to_vec()].concat();
            let refused = inflate(encoding, &more.into());
            assert!(matches!(refused, Err(InflateError::TooManyStreams(_))), "{encoding:?}");
        }
    }

    #[test]
    fn the_cap_holds_over_all_streams() {
        let half = vec![b' '; INFLATED_BYTES_MAX / 2];
        for encoding in ALL {
            let two = encoded(encoding, &half).repeat(2);
            assert_eq!(inflate(encoding, &two.clone().into()).unwrap().len(), INFLATED_BYTES_MAX, "{encoding:?}");
            let three = [two, encoded(encoding, b" ").to_vec()].concat();
            assert_eq!(inflate(encoding, &three.into()), Err(InflateError::TooLarge), "{encoding:?}");
        }
    }

    #[test]
    fn what_is_behind_a_stream_and_is_none_refuses_the_body() {
        for encoding in ALL {
            let stream = encoded(encoding, b"{}");
            for behind in
                [&b"{\"event\":1}\n"[..], b"\n", b"\r\n", b"\0", &[0; 512], b"\xef\xbb\xbf", &stream[..stream.len() - 1]]
            {
                let body = [&stream, behind].concat();
                let refused = inflate(encoding, &body.into());
                let is_told = matches!(refused, Err(InflateError::Behind(..) | InflateError::CutShort(_)));
                assert!(is_told, "{encoding:?} {behind:?}: {refused:?}");
            }
            assert_eq!(inflate(encoding, &Bytes::new()).unwrap(), Bytes::new(), "{encoding:?}");
            assert_eq!(inflate(encoding, &encoded(encoding, b"")).unwrap(), Bytes::new(), "{encoding:?}");
        }
    }

    #[test]
    fn what_inflates_much_further_than_events_do_is_refused() {
        let ratio = |encoding, body: &Bytes, ratio_max| {
            super::inflate(encoding, body, Growth { ratio_max, is_light_only: false, memory: &mut |_| true })
        };
        let event = |n: u32| format!("{{\"event_uuid\":\"{}\",\"n\":{n},\"event_name\":\"a:b\"}}\n", uuid::Uuid::new_v4());
        let honest: String = (0..10_000).map(event).collect();
        for encoding in ALL {
            let body = encoded(encoding, honest.as_bytes());
            assert_eq!(ratio(encoding, &body, 16).unwrap(), honest, "{encoding:?}");
            let padded = encoded(encoding, &vec![b' '; 1 << 20]);
            assert_eq!(ratio(encoding, &padded, 16), Err(InflateError::RatioTooHigh(16)), "{encoding:?}");
            // However the data is divided into streams.
            let streams = encoded(encoding, &[b' '; 1 << 15]).repeat(32);
            assert_eq!(ratio(encoding, &streams.into(), 16), Err(InflateError::RatioTooHigh(16)), "{encoding:?}");
            let short = encoded(encoding, &[b' '; INFLATE_ALLOWANCE_BYTES]);
            assert_eq!(ratio(encoding, &short, 0).unwrap().len(), INFLATE_ALLOWANCE_BYTES, "{encoding:?}");
        }
    }

    #[test]
    fn memory_is_asked_for_before_it_is_used_and_a_body_for_which_there_is_none_is_refused() {
        let data: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        for encoding in ALL {
            let body = encoded(encoding, &data);
            let mut asked = vec![0];
            let mut memory = |bytes| {
                asked.push(bytes);
                true
            };
            let growth = Growth { ratio_max: usize::MAX, is_light_only: false, memory: &mut memory };
            let inflated = super::inflate(encoding, &body, growth).unwrap();
            assert_eq!(inflated, data, "{encoding:?}");
            let last = *asked.last().unwrap();
            assert!((data.len()..=data.len() * 3 / 2 + INFLATE_STEP_BYTES).contains(&last), "{encoding:?}: {last}");
            let is_in_steps =
                asked.windows(2).all(|two| two[0] < two[1] && two[1] - two[0] <= INFLATE_STEP_BYTES.max(two[0] / 2));
            assert!(is_in_steps, "{encoding:?}: {asked:?}");
            let mut memory = |bytes| bytes <= 100_000;
            let growth = Growth { ratio_max: usize::MAX, is_light_only: false, memory: &mut memory };
            assert_eq!(super::inflate(encoding, &body, growth), Err(InflateError::NoMemory), "{encoding:?}");
        }
    }

    #[test]
    fn what_turns_out_to_be_heavy_is_stopped() {
        let light = |encoding, body: &Bytes| {
            super::inflate(encoding, body, Growth { ratio_max: usize::MAX, is_light_only: true, memory: &mut |_| true })
        };
        for encoding in ALL {
            let zeros = |count| encoded(encoding, &vec![0; count]);
            assert_eq!(light(encoding, &zeros(HEAVY_FROM_BYTES)).unwrap().len(), HEAVY_FROM_BYTES, "{encoding:?}");
            assert_eq!(light(encoding, &zeros(HEAVY_FROM_BYTES + 1)), Err(InflateError::Heavy), "{encoding:?}");
            let streams = |count| zeros(1).repeat(count).into();
            assert_eq!(light(encoding, &streams(HEAVY_FROM_STREAMS)).unwrap().len(), HEAVY_FROM_STREAMS, "{encoding:?}");
            assert_eq!(light(encoding, &streams(HEAVY_FROM_STREAMS + 1)), Err(InflateError::Heavy), "{encoding:?}");
        }
    }

    proptest! {
        /// In every coding, streams give their contents in order, and a prefix of a body is a valid body only where a stream
        /// ends.
        #[test]
        fn streams_are_read_to_the_last_and_a_body_cut_anywhere_is_refused(
            encoding in prop::sample::select(ALL.to_vec()),
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let (mut body, mut ends) = (Vec::new(), vec![0]);
            for part in &parts {
                body.extend_from_slice(&encoded(encoding, part));
                ends.push(body.len());
            }
            prop_assert_eq!(inflate(encoding, &Bytes::from(body.clone())).unwrap(), parts.concat());
            let cut = cut.index(body.len());
            match ends.iter().position(|end| *end == cut) {
                Some(whole) => prop_assert_eq!(inflate(encoding, &body[..cut].to_vec().into()).unwrap(), parts[..whole].concat()),
                None => prop_assert!(inflate(encoding, &body[..cut].to_vec().into()).is_err()),
            }
        }

        #[test]
        fn garbage_behind_a_stream_is_refused_or_read_but_never_dropped(
            encoding in prop::sample::select(ALL.to_vec()),
            garbage in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut body = encoded(encoding, b"{}").to_vec();
            body.extend_from_slice(&garbage);
            if let Ok(inflated) = inflate(encoding, &body.into()) {
                // Only if the garbage is itself a stream.
                let alone = inflate(encoding, &garbage.into()).unwrap();
                prop_assert_eq!(inflated, [b"{}", &alone[..]].concat());
            }
        }
    }
}
