//! How the payloads of a file are compressed: by zstd's fast level, unless that costs bytes.
//!
//! Events that programs write are full of identities and numbers. Among their digits zstd's level 3 finds short matches, which take
//! more room than they save, and twice the time: the fast level makes such payloads 4 to 10 % smaller. Free text is the other way
//! round. The first payloads of a file tell which of the two they are.

use std::io;

use parquet::{
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
};
use zstd::bulk::Compressor;

use crate::limits::{
    LAKE_FAST_LEVEL_LOSS_PERCENT, LAKE_LEVEL_SAMPLE_BYTES, LAKE_LEVEL_SAMPLED_BYTES, LAKE_ZSTD_FAST_LEVEL, LAKE_ZSTD_LEVEL,
};

/// The compression for payloads with so many `bytes` in total, of which `payloads` are the first. The same payloads give the same.
pub(super) fn payload_compression<'a>(
    bytes: usize,
    payloads: impl Iterator<Item = &'a [u8]>,
) -> Result<Compression, ParquetError> {
    // The sample is a part of the work that it saves.
    let is_fast = bytes >= LAKE_LEVEL_SAMPLED_BYTES && is_fast_enough(&sample(payloads))?;
    Ok(Compression::ZSTD(ZstdLevel::try_new(if is_fast { LAKE_ZSTD_FAST_LEVEL } else { LAKE_ZSTD_LEVEL })?))
}

fn sample<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sample = Vec::with_capacity(LAKE_LEVEL_SAMPLE_BYTES);
    for payload in payloads {
        let room = LAKE_LEVEL_SAMPLE_BYTES - sample.len();
        sample.extend_from_slice(&payload[..payload.len().min(room)]);
        if sample.len() == LAKE_LEVEL_SAMPLE_BYTES {
            break;
        }
    }
    sample
}

fn is_fast_enough(sample: &[u8]) -> io::Result<bool> {
    let mut compressor = Compressor::new(LAKE_ZSTD_FAST_LEVEL)?;
    let fast = compressor.compress(sample)?.len();
    compressor.set_compression_level(LAKE_ZSTD_LEVEL)?;
    let good = compressor.compress(sample)?.len();
    Ok(fast * 100 <= good * (100 + LAKE_FAST_LEVEL_LOSS_PERCENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(payloads: &[String]) -> i32 {
        let bytes = payloads.iter().map(String::len).sum();
        match payload_compression(bytes, payloads.iter().map(String::as_bytes)).unwrap() {
            Compression::ZSTD(level) => level.compression_level(),
            other => panic!("{other}"),
        }
    }

    /// As a page sends them: identities, times and prices.
    fn machine_made(events: usize) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(7);
        let event = |number: usize| {
            let (uuid, session) = (uuid::Uuid::from_u128(random.u128(..)), random.u32(..100));
            let (dish, price) = (random.u32(..300), random.u32(100..9_000));
            format!(
                r#"{{"event_uuid":"{uuid}","event_name":"menu:item","created_at":{number}.25,"session":{session},"dish":"dish-{dish}","price":{price}}}"#
            )
        };
        (0..events).map(event).collect()
    }

    #[test]
    fn events_of_programs_take_the_fast_level_and_free_text_takes_the_good_one() {
        assert_eq!(level_of(&machine_made(4_000)), LAKE_ZSTD_FAST_LEVEL);
        // Words that come again, in sentences that do not: what matches of any length are good for.
        let words: Vec<&str> = include_str!("../../../CONTRIBUTING.md").split_whitespace().collect();
        let mut random = fastrand::Rng::with_seed(7);
        let mut text = || (0..40).map(|_| words[random.usize(..words.len())]).collect::<Vec<_>>().join(" ");
        let texts: Vec<String> = (0..2_000).map(|number| format!(r#"{{"number":{number},"text":"{}"}}"#, text())).collect();
        assert_eq!(level_of(&texts), LAKE_ZSTD_LEVEL);
    }

    #[test]
    fn few_payloads_are_not_tried_out_and_a_long_one_is_tried_in_part() {
        assert_eq!(level_of(&machine_made(100)), LAKE_ZSTD_LEVEL);
        let long = [machine_made(10_000).concat()];
        assert_eq!(sample(long.iter().map(String::as_bytes)).len(), LAKE_LEVEL_SAMPLE_BYTES);
        assert_eq!(level_of(&long), LAKE_ZSTD_FAST_LEVEL);
    }
}
