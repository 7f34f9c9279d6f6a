//! The journal: which events beyond the cursor were sent, and which of them the stream confirmed.
//!
//! Calls end in any order, and the cursor moves only over what is settled without a gap. The journal knows what lies
//! beyond, so that a restart sends only what is owed, and knows of which events it cannot know whether they arrived.
//!
//! ```text
//! header   magic "LKGJRNL1" | spool id 16 B | crc u32
//! entry    kind u8 (1 sent, 2 settled) | ranges u32 | (first seq u64 | length u32)* | crc u32
//! ```
//!
//! All numbers are little-endian; a checksum is CRC32C over what is before it in the header or the entry. What is torn at
//! the end is cut. Entries are written, not synced: a killed process leaves them to the system, and after a power cut the
//! events of the last seconds are sent again. The journal never says more than what happened, so nothing is lost by it:
//! what it names beyond the spool's durable end belongs to frames that are gone, and is ignored.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{limits::JOURNAL_BYTES_MAX, progress::SeqSet};

const MAGIC: &[u8; 8] = b"LKGJRNL1";
const HEADER_BYTES: usize = 8 + 16 + 4;
const SENT: u8 = 1;
const SETTLED: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    spool_id: Uuid,
    file: File,
    bytes: u64,
    has_failed: bool,
}

/// What a journal knew at the start.
#[derive(Debug)]
pub(super) struct Journaled {
    /// Everything below the cursor, and what was confirmed beyond it.
    pub(super) settled: SeqSet,
    /// What was sent, whether or not it was confirmed.
    pub(super) sent: SeqSet,
}

impl Journal {
    /// Opens the journal at `path` for the spool with `spool_id`, whose cursor is `cursor` and whose durable end is
    /// `durable_end`. A journal of another spool is replaced.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn open(path: PathBuf, spool_id: Uuid, cursor: u64, durable_end: u64) -> io::Result<(Self, Journaled)> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut known = Journaled { settled: SeqSet::below(cursor), sent: SeqSet::below(cursor) };
        if let Some(mut entries) = bytes.strip_prefix(&header(spool_id)[..]) {
            while let Some((kind, ranges)) = take_entry(&mut entries) {
                let set = if kind == SENT { &mut known.sent } else { &mut known.settled };
                for seq in ranges.into_iter().flat_map(|range| range.start.max(cursor)..range.end.min(durable_end)) {
                    set.insert(seq);
                }
            }
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = write_anew(&path, spool_id, cursor, &known)?;
        let bytes = file.metadata()?.len();
        Ok((Self { path, spool_id, file, bytes, has_failed: false }, known))
    }

    /// These are about to be sent.
    pub(super) fn sent(&mut self, seqs: &[u64]) {
        self.append(SENT, seqs);
    }

    /// These are settled.
    pub(super) fn settled(&mut self, seqs: &[u64]) {
        self.append(SETTLED, seqs);
    }

    /// Whether it is worth while to write it anew.
    pub(super) fn is_long(&self) -> bool {
        self.bytes > JOURNAL_BYTES_MAX
    }

    /// Writes it anew, with what is still of use: what is beyond `cursor`, where the spool's cursor is.
    pub(super) fn shorten(&mut self, cursor: u64, known: &Journaled) {
        match write_anew(&self.path, self.spool_id, cursor, known) {
            Ok(file) => {
                self.bytes = file.metadata().map_or(0, |metadata| metadata.len());
                self.file = file;
            }
            Err(error) => self.fail(&error),
        }
    }

    fn append(&mut self, kind: u8, seqs: &[u64]) {
        let mut bytes = Vec::new();
        write_entry(kind, ranges(seqs), &mut bytes);
        match self.file.write_all(&bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                self.has_failed = false;
            }
            Err(error) => {
                // A torn entry would hide what follows it.
                let _ = self.file.set_len(self.bytes);
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.has_failed {
            tracing::warn!(%error, "the journal of deliveries cannot be written; a crash now would send some events again");
        }
        self.has_failed = true;
    }
}

fn header(spool_id: Uuid) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..24].copy_from_slice(spool_id.as_bytes());
    let crc = crc32c::crc32c(&header[..24]);
    header[24..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn write_anew(path: &Path, spool_id: Uuid, cursor: u64, known: &Journaled) -> io::Result<File> {
    let mut bytes = header(spool_id).to_vec();
    let beyond_cursor = |set: &SeqSet| std::iter::once(cursor..set.prefix()).chain(set.ranges_ahead()).collect::<Vec<_>>();
    write_entry(SENT, beyond_cursor(&known.sent).into_iter(), &mut bytes);
    write_entry(SETTLED, beyond_cursor(&known.settled).into_iter(), &mut bytes);
    let aside = path.with_extension("tmp");
    fs::write(&aside, &bytes)?;
    File::open(&aside)?.sync_all()?;
    fs::rename(&aside, path)?;
    OpenOptions::new().append(true).open(path)
}

/// Numbers in order as ranges.
fn ranges(seqs: &[u64]) -> impl Iterator<Item = Range<u64>> + '_ {
    let runs = seqs.chunk_by(|a, b| a + 1 == *b);
    runs.map(|run| run[0]..run[run.len() - 1] + 1)
}

fn write_entry(kind: u8, ranges: impl Iterator<Item = Range<u64>>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for range in ranges {
        let mut first = range.start;
        while first < range.end {
            let length = u32::try_from(range.end - first).unwrap_or(u32::MAX);
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            first += u64::from(length);
            count += 1;
        }
    }
    out[start + 1..start + 5].copy_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn take_entry(bytes: &mut &[u8]) -> Option<(u8, Vec<Range<u64>>)> {
    let kind = *bytes.first()?;
    let count = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
    let end = 5 + count.checked_mul(12)?;
    let crc = u32::from_le_bytes(bytes.get(end..end + 4)?.try_into().ok()?);
    if crc32c::crc32c(&bytes[..end]) != crc || !matches!(kind, SENT | SETTLED) {
        return None;
    }
    let (chunks, _) = bytes[5..end].as_chunks::<12>();
    let range = |chunk: &[u8; 12]| {
        let first = u64::from_le_bytes(chunk[..8].try_into().unwrap_or_default());
        let length = u32::from_le_bytes(chunk[8..].try_into().unwrap_or_default());
        first..first.saturating_add(length.into())
    };
    let ranges = chunks.iter().map(range).collect();
    *bytes = &bytes[end + 4..];
    Some((kind, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn ahead(set: &SeqSet) -> Vec<u64> {
        set.ranges_ahead().flatten().collect()
    }

    #[test]
    fn what_was_sent_and_settled_is_known_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivery/journal");
        let (mut journal, known) = Journal::open(path.clone(), ID, 10, 100).unwrap();
        assert_eq!((known.settled.prefix(), known.settled.ahead()), (10, 0));
        journal.sent(&[10, 11, 12, 20, 30]);
        journal.settled(&[11, 12, 30]);
        drop(journal);
        let (mut journal, known) = Journal::open(path.clone(), ID, 10, 100).unwrap();
        assert_eq!((ahead(&known.settled), ahead(&known.sent)), (vec![11, 12, 30], vec![20, 30]));
        assert!(known.sent.contains(10));
        journal.settled(&[10]);
        drop(journal);
        // The cursor did not move, and still everything is known, also when it was written anew.
        let (mut journal, known) = Journal::open(path.clone(), ID, 10, 100).unwrap();
        assert_eq!((known.settled.prefix(), ahead(&known.settled), known.sent.prefix()), (13, vec![30], 13));
        journal.shorten(10, &known);
        drop(journal);
        let (_, known) = Journal::open(path, ID, 10, 100).unwrap();
        assert_eq!((known.settled.prefix(), ahead(&known.settled), ahead(&known.sent)), (13, vec![30], vec![20, 30]));
    }

    #[test]
    fn numbers_that_the_spool_gives_again_are_not_taken_for_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(path.clone(), ID, 0, 100).unwrap();
        journal.settled(&[5, 50, 51]);
        drop(journal);
        let (journal, known) = Journal::open(path.clone(), ID, 0, 50).unwrap();
        assert_eq!(ahead(&known.settled), [5], "the frames from 50 on are gone, and what gets their numbers is new");
        drop(journal);
        let (journal, known) = Journal::open(path.clone(), ID, 0, 100).unwrap();
        assert_eq!(ahead(&known.settled), [5], "and stays so");
        drop(journal);
        let (_, known) = Journal::open(path, Uuid::from_u128(8), 0, 100).unwrap();
        assert!(ahead(&known.settled).is_empty(), "the journal of another spool");
    }

    #[test]
    fn a_journal_cut_or_flipped_anywhere_never_says_more_than_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(path.clone(), ID, 0, 1000).unwrap();
        for seq in [3, 9, 27, 81] {
            journal.settled(&[seq, seq + 1]);
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let all = [3, 4, 9, 10, 27, 28, 81, 82];
        let reopened = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            ahead(&Journal::open(path.clone(), ID, 0, 1000).unwrap().1.settled)
        };
        for cut in 0..whole.len() {
            let known = reopened(&whole[..cut]);
            assert!(all.starts_with(&known), "cut at {cut}: {known:?}");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let known = reopened(&damaged);
            assert!(all.starts_with(&known), "bit {bit}: {known:?}");
        }
        assert_eq!(reopened(&whole), all);
    }
}
