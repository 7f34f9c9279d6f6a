//! Packs letters of one request: many lines, or a large line, become one line.
//!
//! ```text
//! {"packed_letters":312,"source":"web","unpacked_bytes":190234,"zstd":"<base64 of a zstd frame: the lines with their line ends>"}
//! ```
//!
//! Otherwise a compressed request would fill the disk inflated: 58 bytes of brotli become 16 MiB of letters. A few letters, and
//! letters of about the size of the request, stay unpacked, so that people can read them with `tail` and `jq`. Read packed
//! letters with `lakegate dead-letters show`, or with `jq -r .zstd | base64 -d | zstd -d`.
//!
//! A letter keeps its line inside the pack, and with the line its name ([`LetterId`]). Readers of single
//! letters unpack ([`unpack`]); the size of a pack is limited, so that no line takes more memory than
//! [`DEAD_LETTER_UNPACKED_BYTES_MAX`].

use std::{io::Read, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    known::Claims,
    letter::{Letter, write_letter},
    lines::Lines,
    stored::LetterId,
};
use crate::limits::{
    DEAD_LETTER_PACK_BYTES, DEAD_LETTER_PLAIN_BYTES, DEAD_LETTER_PLAIN_BYTES_MAX, DEAD_LETTER_PLAIN_RATIO,
    DEAD_LETTER_UNPACKED_BYTES_MAX, DEAD_LETTERS_PLAIN_BYTES,
};

/// zstd's own default: some 300 MB/s, and letters of one kind shrink to a twentieth.
const LEVEL: i32 = 3;

/// The beginning of a packed line. Letters begin differently.
const BEGINNING: &[u8] = b"{\"packed_letters\":";

#[derive(Serialize, Deserialize)]
struct Pack<'a> {
    packed_letters: usize,
    source: &'a str,
    unpacked_bytes: usize,
    zstd: &'a str,
}

/// Collects letters and packs them on arrival, so that at most [`DEAD_LETTER_PACK_BYTES`] and one letter wait.
#[derive(Debug, Default)]
pub struct LetterLines {
    /// Whole lines: packed and unpacked.
    done: Vec<u8>,
    /// Letters that are not packed yet.
    waiting: Vec<u8>,
    waiting_count: usize,
    count: usize,
}

impl LetterLines {
    /// Adds a letter. Returns its name.
    pub fn add(&mut self, letter: &Letter<'_>) -> LetterId {
        let start = self.waiting.len();
        write_letter(letter, &mut self.waiting);
        let id = LetterId::of(&self.waiting[start..]);
        self.added(letter.source);
        id
    }

    /// Adds the existing line of a letter, without its line end.
    pub(super) fn add_line(&mut self, line: &[u8], source: &str) {
        self.waiting.extend_from_slice(line);
        self.waiting.push(b'\n');
        self.added(source);
    }

    /// Bytes of memory of the letters.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.done.capacity() + self.waiting.capacity()
    }

    fn added(&mut self, source: &str) {
        self.count += 1;
        self.waiting_count += 1;
        if self.waiting.len() >= DEAD_LETTER_PACK_BYTES {
            self.pack(source);
        }
    }

    /// The letters of a request with `received_bytes` received bytes; `None` if there are none.
    #[must_use]
    pub fn finish(mut self, source: &Arc<str>, received_bytes: usize) -> Option<Lines> {
        if self.count == 0 {
            return None;
        }
        let in_proportion = received_bytes.saturating_mul(DEAD_LETTER_PLAIN_RATIO).min(DEAD_LETTER_PLAIN_BYTES_MAX);
        let few = if self.count == 1 { DEAD_LETTER_PLAIN_BYTES } else { DEAD_LETTERS_PLAIN_BYTES };
        let is_plain = self.done.is_empty() && self.waiting.len() <= in_proportion.max(few);
        let count = self.count;
        let text = if is_plain { self.waiting } else { self.packed(source) };
        Some(Lines {
            source: source.clone(),
            text,
            count,
            within_quota: true,
            may_discard: false,
            refused: None,
            claims: Claims::default(),
        })
    }

    /// All letters, packed.
    pub(super) fn packed(&mut self, source: &str) -> Vec<u8> {
        self.pack(source);
        self.count = 0;
        std::mem::take(&mut self.done)
    }

    /// Packs the waiting letters; keeps them unpacked if packing gains too little, because unpacked letters are readable.
    fn pack(&mut self, source: &str) {
        let (waiting, letters) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.waiting_count));
        if waiting.is_empty() {
            return;
        }
        let before = self.done.len();
        if waiting.len() <= DEAD_LETTER_UNPACKED_BYTES_MAX
            && let Ok(frame) = zstd::bulk::compress(&waiting, LEVEL)
        {
            let zstd = STANDARD.encode(frame);
            let pack = Pack { packed_letters: letters, source, unpacked_bytes: waiting.len(), zstd: &zstd };
            // Strings and numbers written to memory cannot fail.
            let written = serde_json::to_writer(&mut self.done, &pack);
            debug_assert!(written.is_ok());
            self.done.push(b'\n');
        }
        let gained = waiting.len().saturating_sub(self.done.len() - before);
        if self.done.len() == before || gained < waiting.len() / 4 {
            self.done.truncate(before);
            self.done.extend_from_slice(&waiting);
        }
    }
}

/// The lines in a packed line; `None` for any other line, and for a damaged pack.
pub(super) fn unpack(line: &[u8]) -> Option<Vec<u8>> {
    if !line.starts_with(BEGINNING) {
        return None;
    }
    let pack: Pack<'_> = serde_json::from_slice(line).ok()?;
    if pack.unpacked_bytes > DEAD_LETTER_UNPACKED_BYTES_MAX {
        return None;
    }
    let frame = STANDARD.decode(pack.zstd).ok()?;
    let mut lines = Vec::with_capacity(pack.unpacked_bytes);
    let decoder = zstd::stream::read::Decoder::with_buffer(&frame[..]).ok()?;
    decoder.take(pack.unpacked_bytes as u64 + 1).read_to_end(&mut lines).ok()?;
    (lines.len() == pack.unpacked_bytes && lines.ends_with(b"\n")).then_some(lines)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::{
        limits::DEAD_LETTER_EVENT_BYTES_MAX,
        outcome::{RejectCode, Rejection},
    };

    fn letters(raws: &[Vec<u8>]) -> LetterLines {
        let rejection = Rejection::new(RejectCode::NotAnObject, "expected an object, got 1", "");
        let mut letters = LetterLines::default();
        for raw in raws {
            letters.add(&Letter {
                source: "web",
                received_millis: 0,
                event_uuid: None,
                event_name: None,
                rejection: &rejection,
                raw,
            });
        }
        letters
    }

    fn raws(text: &[u8]) -> Vec<Vec<u8>> {
        let mut raws = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match unpack(line) {
                Some(lines) => raws.extend(self::raws(&lines)),
                None => raws.push(super::super::StoredLetter::parse(line).unwrap().raw().unwrap()),
            }
        }
        raws
    }

    #[test]
    fn a_few_letters_stay_as_they_are_and_so_do_those_in_proportion_to_what_was_received() {
        let source: Arc<str> = "web".into();
        assert!(LetterLines::default().finish(&source, 0).is_none());
        let lines_of = |lines: &Lines| lines.text.iter().filter(|byte| **byte == b'\n').count();
        let few = vec![b"1".to_vec(); 5];
        let lines = letters(&few).finish(&source, 500).unwrap();
        assert_eq!((lines_of(&lines), lines.count), (5, 5));
        let lines = letters(&few).finish(&source, 10).unwrap();
        assert_eq!((lines_of(&lines), lines.count), (1, 5), "ten bytes are not worth five letters");
        let only = letters(&[vec![b'x'; 1_000]]).finish(&source, 10).unwrap();
        assert!(only.text.starts_with(b"{\"received_datetime\""), "one is read with `tail`");
        let hundred = vec![vec![b'x'; 200]; 100];
        assert_eq!(letters(&hundred).finish(&source, 20_000).unwrap().text.iter().filter(|byte| **byte == b'\n').count(), 100);
        let packed = letters(&hundred).finish(&source, 2_000).unwrap();
        assert_eq!((packed.text.iter().filter(|byte| **byte == b'\n').count(), packed.count), (1, 100));
        assert_eq!(raws(&packed.text), hundred);
    }

    #[test]
    fn what_inflates_from_nothing_takes_next_to_nothing_on_disk() {
        let source: Arc<str> = "web".into();
        let ones = vec![b"1".to_vec(); 10_000];
        let lines = letters(&ones).finish(&source, 58).unwrap();
        assert!(lines.text.len() < 16 * 1_000, "{} bytes", lines.text.len());
        assert_eq!(raws(&lines.text), ones);
        let spaces = vec![[&b"{"[..], &vec![b' '; 1_000_000]].concat(); 16];
        let lines = letters(&spaces).finish(&source, 58).unwrap();
        assert!(lines.text.len() < 20_000, "{} bytes", lines.text.len());
        assert_eq!(raws(&lines.text), spaces);
    }

    #[test]
    fn what_does_not_pack_stays_as_it_is_and_the_largest_letter_packs_and_unpacks() {
        let source: Arc<str> = "web".into();
        let mut rng = Rng::with_seed(1);
        let mut noise = vec![0; 300_000];
        rng.fill(&mut noise);
        let lines = letters(std::slice::from_ref(&noise)).finish(&source, 300_000).unwrap();
        assert!(lines.text.starts_with(b"{\"received_datetime\""));
        assert_eq!(raws(&lines.text), [noise]);
        let largest = [vec![b'"'; DEAD_LETTER_PACK_BYTES / 2 - 300], vec![b'"'; DEAD_LETTER_EVENT_BYTES_MAX]];
        let lines = letters(&largest).finish(&source, 0).unwrap();
        assert!(lines.text.starts_with(BEGINNING) && lines.text.len() < 10_000);
        assert_eq!(raws(&lines.text), largest);
    }

    #[test]
    fn what_only_looks_like_a_pack_is_none() {
        let source: Arc<str> = "web".into();
        let lines = letters(&vec![b"1".to_vec(); 100]).finish(&source, 0).unwrap();
        let line = String::from_utf8(lines.text).unwrap();
        assert!(unpack(line.as_bytes()).is_some());
        let bytes = 100 * unpack(line.as_bytes()).unwrap().len() / 100;
        let with = |wrong: usize| line.replace(&format!("\"unpacked_bytes\":{bytes}"), &format!("\"unpacked_bytes\":{wrong}"));
        assert!(unpack(with(bytes).as_bytes()).is_some());
        for wrong in [0, bytes - 1, bytes + 1, DEAD_LETTER_UNPACKED_BYTES_MAX + 1, usize::MAX] {
            assert!(unpack(with(wrong).as_bytes()).is_none(), "{wrong}");
        }
        assert!(unpack(line.replace("\"zstd\":\"", "\"zstd\":\"AAAA").as_bytes()).is_none());
        assert!(unpack(&line.as_bytes()[..line.len() / 2]).is_none());
    }
}
